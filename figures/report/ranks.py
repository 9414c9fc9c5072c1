"""Tables of ranks: the winner, its lead and significance, on each task and over all tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from figures.analysis import Analysis
from figures.analysis.policies import COLLAPSED_WORDS, LEARNED_WORDS, POLICY_WORDS
from figures.analysis.ranks import MeanRanks, RankRow
from figures.analysis.scores import task_scale
from figures.names import algorithm_label, listed, task_title
from figures.style import algorithm_styles
from figures.tables import ABSENT, DASH, Cell, Table, decimals, interval, number, plus_minus
from results.paper import COMPARED_TASKS
from results.words import counted

BELOW = "\u2193"


def table(analysis: Analysis) -> Table:
    """Ranks on the tasks of the paper."""
    rows = analysis.headline_rows
    return rank_table(rows, " ".join([missing_words(analysis), *([CAPTION] if rows else [])]))


def other_table(analysis: Analysis) -> Table | None:
    """Ranks on all other tasks and variants with two or more algorithms; None where there is none."""
    rows = analysis.other_rows
    caption = f"Tasks that are not in the paper, and other settings of those that are. {CAPTION}"
    return rank_table(rows, caption) if rows else None


def rank_table(rows: Sequence[RankRow], caption: str = "") -> Table:
    """Table with one row for each task, variant and learning signal."""
    names = list(algorithm_styles(name for row in rows for name in row.names))
    header = (
        "Task",
        "Learned from",
        *map(algorithm_label, names),
        "Seeds",
        "Best \u2212 next",
        "95 % interval",
        "95 % of new seeds",
    )
    cells: list[list[Cell]] = []
    bold = set()
    for index, row in enumerate(rows):
        title = task_title(row.task, row.variant) + ("" if row.equal_steps else " \u2021")
        ranks = [_rank_cell(row, name) for name in names]
        cells.append(
            [(title, title), (row.learned_from, row.learned_from), *ranks, _seeds_cell(row), *_lead_cells(row)]
        )
        if row.winner is not None:
            bold.add((index, 2 + names.index(row.winner)))
    return Table(header, cells, caption, bold, words=2, matrix=True)


def mean_table(analysis: Analysis) -> Table:
    """Mean ranks over tasks, with a test of whether they differ by more than chance."""
    groups = analysis.mean_ranks
    names = list(algorithm_styles(name for group in groups for name in group.ranks))
    header = (
        "Learned from",
        "Tasks",
        *map(algorithm_label, names),
        "Friedman p",
        "Critical difference",
        "Pairs that differ",
    )
    rows: list[list[Cell]] = []
    for group in groups:
        tasks = counted(len(group.tasks), "task")
        row: list[Cell] = [(group.learned_from, group.learned_from), (tasks, len(group.tasks))]
        row += [_mean_cell(group, name) for name in names]
        rows.append([*row, *_test_cells(group)])
    return Table(header, rows, _mean_caption(groups), words=1)


def verdict_table(analysis: Analysis) -> Table:
    """The winner of each task of the paper, its lead and significance; the first table of the report."""
    rows: list[list[Cell]] = []
    bold = set()
    for row in analysis.headline_rows:
        title = task_title(row.task, row.variant)
        if row.winner is not None:
            bold.add((len(rows), 1))
        words = winner_words(row)
        rows.append([(f"{title}\n{row.learned_from}", title), (words, words), *_normalised_cells(analysis, row)])
    return Table(("Task, learned from", "Who wins", "Score %", "Lead (95 %)"), rows, VERDICT_CAPTION, bold, words=2)


VERDICT_CAPTION = (
    "The best of the algorithms that learned from the same reward, its normalised score (0 %: random play, 100 %: a "
    "reference policy), and its lead over the next in percentage points, with Welch's 95 % interval. Bold: "
    "significantly ahead of every other."
)


def _normalised_cells(analysis: Analysis, row: RankRow) -> list[Cell]:
    """Normalised score of the best mean, and its lead in percentage points."""
    if row.lead is None:
        return [ABSENT] * 2
    score = analysis.scores_by_cell[row.task, row.variant, row.lead.best]
    scale = task_scale(analysis.results.references.get(row.task))
    if score.normalised is None or scale is None:
        return [ABSENT] * 2
    lead, half = row.lead.difference * scale[1], row.lead.half_width
    digits = 0 if lead + (half or 0.0) * scale[1] >= 10 else 1
    span = "" if half is None else f"\n({interval(lead, half * scale[1], digits)})"
    return [(plus_minus(score.normalised, 0), score.normalised.mean), (f"{number(lead, digits)}{span}", lead)]


def pairs_apart(group: MeanRanks) -> list[tuple[str, str]]:
    """Pairs (better, worse) whose mean ranks differ by more than Nemenyi's critical difference."""
    if group.test is None:
        return []
    places = group.test.ranks
    return [
        (one, other)
        for one in places
        for other in places
        if places[other] - places[one] > group.test.critical_difference
    ]


def missing_words(analysis: Analysis) -> str:
    """The paper's tasks without a row, in one sentence."""
    present = {row.task for row in analysis.headline_rows}
    absent = [task for task in COMPARED_TASKS if task not in present]
    if not absent:
        return f"All {len(COMPARED_TASKS)} tasks of the paper are included."
    titles = "; ".join(task_title(task) for task in absent)
    return (
        f"{len(absent)} of the paper's {len(COMPARED_TASKS)} tasks are missing, because fewer than two algorithms "
        f"were run with the settings shown: {titles}."
    )


def winner_words(row: RankRow) -> str:
    """The winner of a row in a few words: `IP`, `no significant difference: IP and DGN`, `none ranked: ...`."""
    if not row.ranks:
        reasons = listed(sorted(set(row.unranked.values())))
        return f"none ranked ({reasons})"
    if row.winner is not None:
        return algorithm_label(row.winner)
    first = [name for name, rank in row.ranks.items() if rank.first == 1]
    if all(row.ranks[name].below_random for name in first):
        return "none better than random play"
    names = listed([algorithm_label(name) for name in sorted(first, key=lambda name: row.ranks[name].place)])
    if not row.equal_steps:
        return f"unequal steps: {names}"
    tested = row.lead is None or row.lead.half_width is not None
    return f"{'no significant difference' if tested else 'single seed, not tested'}: {names}"


CAPTION = (
    f"Rank of each algorithm by its final score among those that learned from the same reward. {POLICY_WORDS} Score: "
    "mean over the last 3 evaluations of a seed, then over finished seeds. A range contains the ranks that the seeds "
    "leave open: an algorithm counts as better than another only where Welch's 95 % interval of the difference of "
    "their means excludes 0; the intervals are not widened for the number of pairs. Bold: better than every other "
    "algorithm of the row, and than random play. The last columns give the difference between the best mean and the "
    "next, in units of return, with that interval, and with the wider prediction interval for the difference of one "
    f"new seed of each. \u2193: no better than random play. {LEARNED_WORDS} {COLLAPSED_WORDS} Words in brackets name "
    "settings other than the paper's. A dash marks a cell that was not run or is in another row; unfinished: no "
    "finished seed was evaluated; not finite: a seed diverged; no competitor: no other algorithm has a score to "
    "compare with. "
    "\u2021: scores were reached after unequal numbers of steps, so that nothing is bold."
)
MEAN_CAPTION = (
    "Rank of the mean over seeds, averaged over the tasks other than matrix and toy games on which every algorithm of "
    "the row has a rank and all learned from the same reward; in brackets its 95 % interval, a bootstrap that "
    "resamples the seeds of each algorithm within each task (none where one has a single seed; with few seeds it is "
    "too narrow, and it does not extend to other tasks). Friedman: the probability of ranks that differ at least as "
    "much if all algorithms are equal, with the correction of Iman and Davenport and tasks as units. Nemenyi's "
    "critical difference: mean ranks further apart differ at 5 %, with all pairs taken into account; with few tasks "
    "hardly any ranks do."
)


def _mean_caption(groups: Sequence[MeanRanks]) -> str:
    if not groups:
        return "No two algorithms have ranks on the same task."
    listed_tasks = "; ".join(
        f"{group.learned_from}, {counted(len(group.ranks), 'algorithm')}: "
        f"{', '.join(task_title(*task) for task in group.tasks)}"
        for group in groups
    )
    return f"{MEAN_CAPTION} Tasks: {listed_tasks}."


def _rank_cell(row: RankRow, name: str) -> Cell:
    if name in row.ranks:
        rank = row.ranks[name]
        return rank.text + (f" {BELOW}" if rank.below_random else ""), rank.place
    return row.unranked.get(name, DASH), -math.inf


def _seeds_cell(row: RankRow) -> Cell:
    counts = sorted({rank.seeds for rank in row.ranks.values()})
    return (DASH.join(map(str, (counts[0], counts[-1])[: len(counts)])), counts[0]) if counts else ABSENT


def _lead_cells(row: RankRow) -> list[Cell]:
    if row.lead is None:
        return [ABSENT] * 3
    difference, half_width = row.lead.difference, row.lead.half_width
    size = difference + (half_width or 0.0)
    digits = decimals(size) if size > 0 else 0
    cells: list[Cell] = [(number(difference, digits), difference)]
    for half in (half_width, row.lead.new_half_width):
        text = interval(difference, half, digits)
        cells.append((text, -math.inf if half is None else difference - half))
    return cells


def _mean_cell(group: MeanRanks, name: str) -> Cell:
    if name not in group.ranks:
        return ABSENT
    rank = group.ranks[name]
    spread = f" ({rank.low:.1f}{DASH}{rank.high:.1f})" if group.seeds > 1 else ""
    return f"{rank.value:.1f}{spread}", rank.value


def _test_cells(group: MeanRanks) -> list[Cell]:
    if group.test is None:
        return [ABSENT, ABSENT, (DASH, DASH)]
    apart = (
        ", ".join(f"{algorithm_label(one)} < {algorithm_label(other)}" for one, other in pairs_apart(group)) or "none"
    )
    test = group.test
    return [(f"{test.p:.2g}", test.p), (f"{test.critical_difference:.1f}", test.critical_difference), (apart, apart)]
