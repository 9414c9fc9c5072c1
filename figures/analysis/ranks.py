"""Ranks on every task among algorithms that learned from the same reward, as far as the seeds distinguish them.

Two algorithms differ where Welch's 95 % interval of the difference of their means over seeds excludes 0, the test that
sets scores in bold (`scores.leaders`). The rank of an algorithm is a range: from 1 + the number of significantly better
algorithms to the number of algorithms minus that of significantly worse ones. The relation need not be transitive:
three algorithms may overlap in pairs while the outer two differ.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from figures.analysis.bootstrap import Estimate, mean_ranks
from figures.analysis.scores import BOOTSTRAP_SEED, Score
from figures.analysis.statistics import (
    Friedman,
    Summary,
    Values,
    friedman,
    prediction_half_width,
    ranks,
    welch_half_width,
)
from results.checks import algorithm_order
from results.paper import COMPARED_ALGORITHMS

DASH = "\u2013"
ROUNDING = 1e-7
"""Relative difference below which means count as equal, because returns are rounded to float32."""
UNFINISHED, NOT_FINITE, ALONE, COLLAPSED = "unfinished", "not finite", "no competitor", "collapsed"
"""Reasons why an algorithm with runs has no rank."""


@dataclass(frozen=True, slots=True)
class Rank:
    """The rank of one algorithm on one task, 1 for the best."""

    place: float
    """Rank by the mean over seeds alone; equal means share the mean of their ranks."""
    first: int
    last: int
    """Ranks from `first` to `last` are those that Welch's intervals leave open."""
    seeds: int
    below_random: bool = False
    """Whether it is no better than random play."""

    @property
    def text(self) -> str:
        """The rank in words: `2`, or `1-3` (with an en dash) where it is shared."""
        return str(self.first) if self.first == self.last else f"{self.first}{DASH}{self.last}"


@dataclass(frozen=True, slots=True)
class Lead:
    """Difference between the best mean and the next, in units of return."""

    best: str
    second: str
    difference: float
    half_width: float | None
    """Half width of Welch's 95 % interval; None where either has a single seed."""
    new_half_width: float | None
    """Half width of the 95 % prediction interval for the difference of one new seed of each."""

    @property
    def sure(self) -> bool:
        """Whether the interval excludes 0."""
        return self.half_width is not None and self.difference > self.half_width


@dataclass(frozen=True, slots=True)
class RankRow:
    """The algorithms that learned from the same reward on one task and variant: those with a rank, and the reasons why
    the others have none."""

    task: str
    variant: str
    learned_from: str
    ranks: dict[str, Rank]
    lead: Lead | None
    """None where fewer than two algorithms have a rank."""
    unranked: dict[str, str]
    """Algorithm -> `UNFINISHED`, `NOT_FINITE`, `COLLAPSED` or `ALONE`."""
    equal_steps: bool
    """Whether the ranked scores were reached after the same number of environment steps."""
    finals: dict[str, Values]
    """Algorithm -> final scores of its seeds, for ranked algorithms and headline policies."""

    @property
    def winner(self) -> str | None:
        """The algorithm that is significantly better than every other after the same number of steps, and better than
        random play; None where there is none."""
        first = [name for name, rank in self.ranks.items() if rank.last == 1 and not rank.below_random]
        return first[0] if first and self.equal_steps else None

    @property
    def names(self) -> set[str]:
        """All algorithms with runs."""
        return set(self.ranks) | set(self.unranked)


@dataclass(frozen=True, slots=True)
class MeanRanks:
    """Mean rank of each algorithm over the tasks on which all of them have a rank."""

    learned_from: str
    tasks: tuple[tuple[str, str], ...]
    """Task and variant."""
    ranks: dict[str, Estimate]
    seeds: int
    """Smallest number of seeds of an algorithm on one of the tasks; a single seed has no spread and gives no
    interval."""
    test: Friedman | None
    """None for a single task."""


def rank_rows(task: str, variant: str, scores: Sequence[Score]) -> list[RankRow]:
    """Rows of one task and variant, one for each learning signal; none for an algorithm that was run alone."""
    if len(scores) < 2:
        return []
    signals = dict.fromkeys(score.learned_from for score in scores)
    return [rank_row(task, variant, [score for score in scores if score.learned_from == signal]) for signal in signals]


def rank_row(task: str, variant: str, scores: Sequence[Score]) -> RankRow:
    """The row of algorithms that learned from the same reward.

    A provisional score (no seed has finished) gets no rank, and neither does a score with a seed whose final score is
    not finite: leaving out the seed that diverged would flatter the algorithm. An algorithm whose policy collapsed has
    no rank either.
    """
    unranked = {score.algorithm: reason for score in scores if (reason := _unranked(score)) is not None}
    ranked = [score for score in scores if score.algorithm not in unranked]
    if len(ranked) < 2:
        unranked |= {score.algorithm: ALONE for score in ranked}
        ranked = []
    summaries = {score.algorithm: score.summary for score in ranked if score.summary is not None}
    useless = {score.algorithm for score in ranked if score.below_random}
    equal_steps = len({score.steps for score in ranked}) <= 1
    finals = {score.algorithm: np.array(score.finals) for score in ranked}
    places = _ranks(summaries, useless)
    return RankRow(task, variant, scores[0].learned_from, places, _lead(summaries), unranked, equal_steps, finals)


def mean_rank_groups(rows: Sequence[RankRow]) -> list[MeanRanks]:
    """Mean ranks of the paper's algorithms over rows of the same reward.

    For each reward there are two groups: the algorithms present in every row, and those present in any row, over the
    rows in which all of them have a rank. Empty without such a row, or with a single algorithm.
    """
    found: list[MeanRanks] = []
    for signal in dict.fromkeys(row.learned_from for row in rows):
        alike = [row for row in rows if row.learned_from == signal]
        sets = [row.names & set(COMPARED_ALGORITHMS) for row in alike]
        for names in dict.fromkeys((frozenset(set.intersection(*sets)), frozenset(set.union(*sets)))):
            means = _mean_ranks(alike, algorithm_order(set(names)))
            found += [means] if means is not None else []
    return found


def _mean_ranks(rows: Iterable[RankRow], names: Sequence[str]) -> MeanRanks | None:
    complete = [row for row in rows if all(name in row.finals for name in names)]
    if len(names) < 2 or not complete:
        return None
    tasks = [{name: row.finals[name] for name in names} for row in complete]
    estimates = mean_ranks(tasks, np.random.default_rng(BOOTSTRAP_SEED))
    seeds = min(row.ranks[name].seeds for row in complete for name in names)
    places = tuple((row.task, row.variant) for row in complete)
    test = friedman([{name: float(values.mean()) for name, values in finals.items()} for finals in tasks])
    return MeanRanks(complete[0].learned_from, places, estimates, seeds, test)


def _unranked(score: Score) -> str | None:
    if score.provisional or score.summary is None:
        return UNFINISHED
    if score.diverged or not np.isfinite(score.finals).all():
        return NOT_FINITE
    return COLLAPSED if score.collapsed else None


def _ranks(summaries: dict[str, Summary], useless: set[str]) -> dict[str, Rank]:
    places = ranks(np.array([summary.mean for summary in summaries.values()], dtype=np.float32))
    found = {}
    for (name, summary), place in zip(summaries.items(), places, strict=True):
        better = sum(_surely_better(other, summary) for other in summaries.values())
        worse = sum(_surely_better(summary, other) for other in summaries.values())
        found[name] = Rank(float(place), 1 + better, len(summaries) - worse, summary.count, name in useless)
    return found


def _surely_better(summary: Summary, other: Summary) -> bool:
    half_width = welch_half_width(summary, other)
    equal = math.isclose(summary.mean, other.mean, rel_tol=ROUNDING)
    return half_width is not None and not equal and summary.mean - other.mean > half_width


def _lead(summaries: dict[str, Summary]) -> Lead | None:
    if not summaries:
        return None
    best, second = sorted(summaries, key=lambda name: -summaries[name].mean)[:2]
    first, other = summaries[best], summaries[second]
    widths = welch_half_width(first, other), prediction_half_width(first, other)
    return Lead(best, second, first.mean - other.mean, *widths)
