"""The headline table: who ranks where on which task, as far as the seeds can tell algorithms apart.

Two algorithms are told apart where Welch's 95 % interval of the difference of their means over seeds excludes 0, the
test that sets scores in bold (`scores.leaders`). The rank of an algorithm is then a range: from 1 + the number of
algorithms that are surely better, to the number of algorithms - those that are surely worse. Nothing is assumed to be
transitive: three algorithms may overlap in pairs and the outer two still differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from figures.scores import BOOTSTRAP_SEED, Score, final_scores
from figures.selection import shown_variant
from figures.statistics import Estimate, Summary, Values, mean_ranks, ranks, welch_half_width
from figures.style import algorithm_label, algorithm_styles, task_title
from figures.tables import DASH, Cell, Table, decimals, number
from results.checks import algorithm_order, group_runs
from results.paper import COMPARED_ALGORITHMS, COMPARED_TASKS
from results.records import Results

NAME, HEADING = "ranks", "Ranks by final score"
POLICY = "greedy"
ROUNDING = 1e-7
"""Means that differ by less than this part of their size are equal: returns are rounded to float32."""
UNFINISHED, NOT_FINITE, ALONE = "unfinished", "not finite", "alone"
"""Why an algorithm that has runs has no rank."""


@dataclass(frozen=True, slots=True)
class Rank:
    """The rank of one algorithm on one task, 1 for the best."""

    place: float
    """By the mean over seeds alone; equal means share the mean of their places."""
    first: int
    last: int
    """``first`` to ``last``: the ranks that Welch's intervals leave open."""
    seeds: int

    @property
    def text(self) -> str:
        """``2``, or ``1-3`` (with an en dash) where the rank is shared."""
        return str(self.first) if self.first == self.last else f"{self.first}{DASH}{self.last}"


@dataclass(frozen=True, slots=True)
class Lead:
    """By how much the best mean exceeds the next, in units of return."""

    best: str
    second: str
    difference: float
    half_width: float | None
    """Of Welch's 95 % interval; None where either has a single seed."""


@dataclass(frozen=True, slots=True)
class RankRow:
    """Every algorithm that has runs on one task and variant: those with a rank, and why the others have none."""

    task: str
    variant: str
    ranks: dict[str, Rank]
    lead: Lead | None
    """None where fewer than two algorithms have a rank."""
    unranked: dict[str, str]
    """Algorithm to `UNFINISHED`, `NOT_FINITE` or `ALONE`."""
    equal_steps: bool
    """Whether the scores that are ranked were reached after the same number of environment steps."""
    finals: dict[str, Values]
    """Final score of each seed of the algorithms that have a rank."""

    @property
    def winner(self) -> str | None:
        """The one algorithm that is surely better than every other, after the same number of steps."""
        first = [name for name, own in self.ranks.items() if own.last == 1]
        return first[0] if first and self.equal_steps else None


@dataclass(frozen=True, slots=True)
class MeanRanks:
    """Mean rank of each algorithm over the tasks on which all of them have a rank."""

    tasks: tuple[str, ...]
    ranks: dict[str, Estimate]
    seeds: int
    """The fewest seeds of an algorithm on one of the tasks; a single one has no spread, and gives no interval."""


def headline_rows(results: Results, scores: Sequence[Score]) -> list[RankRow]:
    """A row for each task of the paper whose shown variant has runs of two or more algorithms, in the paper's order."""
    return [row for task, variant in _shown(results) if (row := _row_of(task, variant, scores))]


def other_rows(results: Results, scores: Sequence[Score]) -> list[RankRow]:
    """The same for every other task and variant."""
    shown = _shown(results)
    cells = [cell for cell in group_runs(results) if cell not in shown]
    return [row for task, variant in cells if (row := _row_of(task, variant, scores))]


def rank_row(task: str, variant: str, scores: Sequence[Score]) -> RankRow:
    """The row of one task and variant from the scores of its algorithms.

    A provisional score (no seed has finished) and one with a seed whose final score is not finite get no rank: to leave
    out the seed that diverged would make the algorithm look better than it is.
    """
    unranked = {own.algorithm: reason for own in scores if (reason := _unranked(own)) is not None}
    ranked = [own for own in scores if own.algorithm not in unranked]
    if len(ranked) < 2:
        unranked |= {own.algorithm: ALONE for own in ranked}
        ranked = []
    summaries = {own.algorithm: own.summaries[POLICY] for own in ranked}
    equal_steps = len({own.steps for own in ranked}) <= 1
    finals = {own.algorithm: np.array(own.seed_finals[POLICY]) for own in ranked}
    return RankRow(task, variant, _ranks(summaries), _lead(summaries), unranked, equal_steps, finals)


def row_mean_ranks(rows: Sequence[RankRow]) -> MeanRanks | None:
    """Mean ranks over the rows in which every algorithm of the paper that appears in any row has a rank.

    Ranks are taken among these algorithms alone, whichever others a row holds. None without such a row, or with a
    single algorithm.
    """
    present = {name for row in rows for name in (*row.ranks, *row.unranked)}
    names = algorithm_order(present & set(COMPARED_ALGORITHMS))
    complete = [row for row in rows if all(name in row.finals for name in names)]
    if len(names) < 2 or not complete:
        return None
    tasks = [{name: row.finals[name] for name in names} for row in complete]
    estimates = mean_ranks(tasks, np.random.default_rng(BOOTSTRAP_SEED))
    seeds = min(row.ranks[name].seeds for row in complete for name in names)
    return MeanRanks(tuple(row.task for row in complete), estimates, seeds)


def table(results: Results, scores: Sequence[Score] | None = None) -> Table:
    """The tasks of the paper, then the mean rank over those on which all algorithms have a rank."""
    rows = headline_rows(results, final_scores(results) if scores is None else scores)
    means = row_mean_ranks(rows)
    header, cells, bold = rank_rows(rows, means)
    parts = [missing_words(rows), *([CAPTION] if rows else []), *([MEAN_CAPTION] if means else [])]
    return Table(tuple(header), cells, " ".join(parts), bold)


def other_table(results: Results, scores: Sequence[Score] | None = None) -> Table | None:
    """Every other task and variant with two or more algorithms; None where there is none."""
    rows = other_rows(results, final_scores(results) if scores is None else scores)
    if not rows:
        return None
    header, cells, bold = rank_rows(rows)
    caption = f"Tasks that the paper does not have, and further settings of those that it has. {CAPTION}"
    return Table(tuple(header), cells, caption, bold)


def rank_rows(
    rows: Sequence[RankRow], means: MeanRanks | None = None
) -> tuple[list[str], list[list[Cell]], set[tuple[int, int]]]:
    """Header, rows of (text, sort value) with the mean ranks last, and the (row, column) of bold cells."""
    names = list(algorithm_styles(name for row in rows for name in (*row.ranks, *row.unranked)))
    header = ["Task", *map(algorithm_label, names), "Seeds", "Best \u2212 next", "95 % interval"]
    cells: list[list[Cell]] = []
    bold = set()
    for index, row in enumerate(rows):
        title = task_title(row.task, row.variant) + ("" if row.equal_steps else " \u2021")
        cells.append([(title, title), *(_rank_cell(row, name) for name in names), _seeds_cell(row), *_lead_cells(row)])
        if row.winner is not None:
            bold.add((index, 1 + names.index(row.winner)))
    if means is not None:
        title = f"Mean rank, {_count(len(means.tasks), 'task')}"
        own = [_mean_cell(means, name) for name in names]
        cells.append([(title, title), *own, *[(DASH, -math.inf)] * 3])
    return header, cells, bold


def missing_words(rows: Sequence[RankRow]) -> str:
    """Which of the paper's tasks have no row, in one sentence."""
    present = {row.task for row in rows}
    absent = [task for task in COMPARED_TASKS if task not in present]
    if not absent:
        return f"All {len(COMPARED_TASKS)} tasks of the paper are here."
    listed = "; ".join(task_title(task) for task in absent)
    return (
        f"Missing are {len(absent)} of the paper's {len(COMPARED_TASKS)} tasks, of whose shown settings there are no "
        f"runs of two algorithms: {listed}."
    )


CAPTION = (
    "Rank of each algorithm by its final score under the greedy policy: its mean over the last 3 evaluations of a "
    "seed, then over finished seeds. A range holds the ranks that the seeds leave open: an algorithm counts as better "
    "than another only where Welch's 95 % interval of the difference of their means excludes 0; the intervals are not "
    "widened for the number of pairs. Bold: better than every other algorithm of the row. The last columns give the "
    "difference between the best mean and the next, in units of return, with that interval. Words in brackets name "
    "settings other than the paper's. A dash is a cell that nobody ran; unfinished: no finished seed was evaluated; "
    "not finite: a seed diverged; alone: no other algorithm has a score to compare with. \u2021: scores were reached "
    "after unequal numbers of steps, nothing is bold."
)
MEAN_CAPTION = (
    "Last row: rank of the mean over seeds, averaged over the tasks on which every algorithm of the paper that appears "
    "here has a rank; in brackets its 95 % interval, a bootstrap that redraws the seeds of each algorithm within each "
    "task; none where one has a single seed. With few seeds that interval is too narrow, and it says nothing of tasks "
    "that are not here."
)


def _shown(results: Results) -> list[tuple[str, str]]:
    """Tasks of the paper that were run, each with the variant that is shown."""
    variants = [(task, shown_variant(results, task)) for task in COMPARED_TASKS]
    return [(task, variant) for task, variant in variants if variant is not None]


def _row_of(task: str, variant: str, scores: Sequence[Score]) -> RankRow | None:
    own = [score for score in scores if (score.task, score.variant) == (task, variant)]
    return rank_row(task, variant, own) if len(own) > 1 else None


def _unranked(score: Score) -> str | None:
    if score.provisional or POLICY not in score.summaries:
        return UNFINISHED
    return NOT_FINITE if score.diverged or not np.isfinite(score.seed_finals[POLICY]).all() else None


def _ranks(summaries: dict[str, Summary]) -> dict[str, Rank]:
    places = ranks(np.array([own.mean for own in summaries.values()], dtype=np.float32))
    found = {}
    for (name, own), place in zip(summaries.items(), places, strict=True):
        better = sum(_surely_better(other, own) for other in summaries.values())
        worse = sum(_surely_better(own, other) for other in summaries.values())
        found[name] = Rank(float(place), 1 + better, len(summaries) - worse, own.count)
    return found


def _surely_better(own: Summary, other: Summary) -> bool:
    half_width = welch_half_width(own, other)
    equal = math.isclose(own.mean, other.mean, rel_tol=ROUNDING)
    return half_width is not None and not equal and own.mean - other.mean > half_width


def _lead(summaries: dict[str, Summary]) -> Lead | None:
    if not summaries:
        return None
    best, second = sorted(summaries, key=lambda name: -summaries[name].mean)[:2]
    own, other = summaries[best], summaries[second]
    return Lead(best, second, own.mean - other.mean, welch_half_width(own, other))


def _rank_cell(row: RankRow, name: str) -> Cell:
    if name in row.ranks:
        return row.ranks[name].text, row.ranks[name].place
    return row.unranked.get(name, DASH), -math.inf


def _seeds_cell(row: RankRow) -> Cell:
    counts = sorted({own.seeds for own in row.ranks.values()})
    return (DASH.join(map(str, (counts[0], counts[-1])[: len(counts)])), counts[0]) if counts else (DASH, -math.inf)


def _lead_cells(row: RankRow) -> list[Cell]:
    if row.lead is None:
        return [(DASH, -math.inf)] * 2
    difference, half_width = row.lead.difference, row.lead.half_width
    size = difference + (half_width or 0.0)
    digits = decimals(size) if size > 0 else 0
    if half_width is None:
        return [(number(difference, digits), difference), (DASH, -math.inf)]
    low, high = difference - half_width, difference + half_width
    return [(number(difference, digits), difference), (f"{number(low, digits)} to {number(high, digits)}", low)]


def _mean_cell(means: MeanRanks, name: str) -> Cell:
    if name not in means.ranks:
        return DASH, -math.inf
    own = means.ranks[name]
    interval = f" ({own.low:.1f}{DASH}{own.high:.1f})" if means.seeds > 1 else ""
    return f"{own.value:.1f}{interval}", own.value


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
