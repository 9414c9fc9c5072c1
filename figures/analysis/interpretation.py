"""Match of signals and traffic (paper, C.3): the share of each movement among the vehicles and among the greens.

A movement is a heading of arrival and a turn, such as `east_left`. Runs count `present`, the vehicles that want to make
it, `arrived`, those that have come since the last decision, and `greens`, the sampled decisions that let them pass, in
rows of sums since the previous row (`envs/traffic/account.py`; DEVIATIONS.md, traffic-movements). Right turns need no
green and have no phase: movements that were not opened in any run of a task are left out, and the shares of the others
add up to one. Rows also hold divergences at each intersection, computed from the counts of an episode there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from figures.analysis.statistics import Summary, summarise
from results.errors import ResultsError
from results.keys import RunKey
from results.records import Run

PRESENT, ARRIVED, GREENS = "interpretation/present/", "interpretation/arrived/", "interpretation/greens/"
AT_INTERSECTIONS = "interpretation/at_intersections/"
Traffic = Literal["present", "arrived"]
"""Kinds of vehicles that are counted."""
BINS, KEPT_BINS = 80, 69
"""The paper's 69 intervals of about 20,000 steps are the last of 80 equal parts of its 1,600,000 steps."""
LAST_PARTS = 4
"""Number of equal parts of the intervals of which the last is shown beside the mean over all."""
HALF_COUNT = 0.5
"""Added to the vehicles and to the greens of every movement before divergences are taken: a movement that has vehicles
and no green in an interval would make the divergence infinite. Distances are taken without it."""

PAPER_TASK = "cityflow/synthetic_49"
PLATFORM = "cityflow"

Shares = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """Counts of environment steps `start` + 1 to `end`."""

    start: int
    end: int
    volumes: dict[str, float]
    """Movement -> vehicles, counted once per vehicle and decision."""
    greens: dict[str, float]
    """Movement -> decisions that open it, in equal shares."""
    arrivals: dict[str, float] = field(default_factory=dict)
    """Movement -> vehicles, counted once per vehicle and road; empty in runs without these counts."""
    at_intersections: dict[str, float] = field(default_factory=dict)
    """Sums of divergences at each intersection, and the number of `episodes` in them; empty in runs without these
    counts."""

    def traffic(self, kind: Traffic) -> dict[str, float]:
        """Movement -> vehicles of one kind."""
        return self.volumes if kind == "present" else self.arrivals


@dataclass(frozen=True, slots=True)
class Match:
    """Distances between the greens and the traffic of one interval."""

    end: int
    divergence: float
    """KL(volumes || greens), nats."""
    reverse: float
    """KL(greens || volumes), nats."""
    distance: float
    """Euclidean distance between the two."""
    even_divergence: float
    """KL(volumes || equal green for every movement) in nats, the divergence of a policy that ignores traffic."""
    even_distance: float
    infinite: bool
    """Whether a movement had vehicles and no green, so that only `HALF_COUNT` keeps the divergence finite."""


@dataclass(frozen=True, slots=True)
class Account:
    """Traffic statistics of the shown variant's runs on one task."""

    task: str
    variant: str
    runs: tuple[Run, ...]
    """Runs with at least one interval."""
    movements: tuple[str, ...]
    intervals: dict[RunKey, list[Interval]]
    matched: dict[Traffic, dict[RunKey, list[Match]]]
    """Kind of vehicles -> run -> matches by interval; empty lists where a run did not count such vehicles."""

    def matches(self, run: Run, traffic: Traffic = "present") -> list[Match]:
        """The matches of one run by interval."""
        return self.matched[traffic][run.key]

    def counts(self, traffic: Traffic) -> bool:
        """Whether any run counted such vehicles."""
        return any(self.matched[traffic].values())

    def counted(self, algorithm: str) -> tuple[Run, ...]:
        """The finished runs of an algorithm, or its unfinished ones where none has finished: early intervals differ
        from late ones, so that unfinished and finished runs must not be averaged."""
        runs = tuple(run for run in self.runs if run.key.algorithm == algorithm)
        return tuple(run for run in runs if run.status.finished) or runs


@dataclass(frozen=True, slots=True)
class MatchSummaries:
    """The matches of one algorithm: means over the intervals of a run, summarised over seeds."""

    distance: Summary
    pooled_distance: Summary
    """Distance over all intervals of a run added up."""
    even_distance: Summary
    divergence: Summary
    reverse: Summary
    even_divergence: Summary
    last_distance: Summary
    """Mean over the last quarter of a run's intervals, at least one, which describes the trained policy."""
    last_divergence: Summary
    last_even_divergence: Summary
    """Divergence of equal greens in the same intervals."""

    def __iter__(self) -> Iterator[Summary]:
        """The summaries in the order of declaration."""
        return iter(getattr(self, summary.name) for summary in fields(self))


@dataclass(frozen=True, slots=True)
class LocalSummaries:
    """Divergences at each intersection in nats, computed from the counts of an episode there: means over intersections
    and episodes, then over the intervals of a run, summarised over seeds."""

    divergence: Summary
    even_divergence: Summary
    last_divergence: Summary
    last_even_divergence: Summary


def account_of(task: str, variant: str, shown: Sequence[Run]) -> Account | None:
    """Traffic statistics of the shown runs of one task; None where they have no intervals."""
    runs = [run for run in shown if any(_named(row.values, GREENS) for row in run.metrics)]
    intervals = {run.key: joined(intervals_of(run), episode_steps(run)) for run in runs}
    movements = opened_movements(runs)
    kinds: tuple[Traffic, ...] = get_args(Traffic)
    matched = {kind: {run.key: matches(intervals[run.key], movements, kind) for run in runs} for kind in kinds}
    counted = tuple(run for run in runs if matched["present"][run.key])
    return Account(task, variant, counted, movements, intervals, matched) if counted else None


def episode_steps(run: Run) -> int:
    """Environment steps of one episode of all copies of a traffic task. Raises ResultsError where the settings are
    missing."""
    try:
        environment, training = run.config["environment"], run.config["training"]
        decisions = int(environment["episode_seconds"]) // int(environment["decision_seconds"])
        return decisions * int(training["num_envs"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ResultsError(
            f"{run.key}: config.json does not say how long an episode is; expected environment.episode_seconds, "
            "environment.decision_seconds and training.num_envs; rerun it"
        ) from error


def summaries_of(account: Account, algorithm: str, traffic: Traffic = "present") -> MatchSummaries:
    """Summaries of one algorithm over the seeds that count. Raises ValueError where it has no run in the account."""
    rows = []
    for run in account.counted(algorithm):
        whole = pooled(account.intervals[run.key])
        together = match(whole, account.movements, traffic) if whole else None
        if together is not None:
            numbers = np.array([_numbers(one, together) for one in account.matches(run, traffic)])
            last = _last_quarter(numbers).mean(axis=0)
            rows.append([*numbers.mean(axis=0), last[0], last[3], last[5]])
    if not rows:
        raise ValueError(f"no run of {algorithm} recorded movements on {account.task}")
    return MatchSummaries(*map(summarise, np.array(rows).T))


def local_summaries_of(account: Account, algorithm: str, traffic: Traffic) -> LocalSummaries | None:
    """Divergences of one algorithm at each intersection over the seeds that count; None where they were not counted, or
    no episode ended in the intervals."""
    rows = []
    for run in account.counted(algorithm):
        sums = [one.at_intersections for one in account.intervals[run.key] if one.at_intersections.get("episodes")]
        if sums:
            means = np.array(
                [[one[traffic] / one["episodes"], one[f"{traffic}_even"] / one["episodes"]] for one in sums]
            )
            rows.append([*means.mean(axis=0), *_last_quarter(means).mean(axis=0)])
    return LocalSummaries(*map(summarise, np.array(rows).T)) if rows else None


def _last_quarter(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The last of `LAST_PARTS` equal parts of the rows, at least one row."""
    return rows[-max(1, len(rows) // LAST_PARTS) :]


def _numbers(one: Match, together: Match) -> tuple[float, ...]:
    """The first fields of `MatchSummaries`, in order."""
    return one.distance, together.distance, one.even_distance, one.divergence, one.reverse, one.even_divergence


def intervals_of(run: Run) -> list[Interval]:
    """The intervals of one run that the paper examines: the last 69 of 80 parts of its planned steps.

    A row counts where it starts within them; a run that logs less often than 80 times has fewer and wider intervals,
    and an unfinished one ends early. Intervals without counts are left out. Raises ResultsError where volumes and
    greens have different movements.
    """
    rows = [row for row in run.metrics if any(name.startswith((PRESENT, GREENS)) for name in row.values)]
    starts = [0, *(row.step for row in rows)]
    kept = []
    for start, row in zip(starts, rows, strict=False):
        volumes, greens = _named(row.values, PRESENT), _named(row.values, GREENS)
        if set(volumes) != set(greens):
            raise ResultsError(
                f"{run.key}, step {row.step}: vehicles are counted for {sorted(volumes)}, greens for "
                f"{sorted(greens)}; expected the same movements: rerun it"
            )
        if in_the_papers_part(start, run.total_steps) and any(volumes.values()) and any(greens.values()):
            arrivals, local = _named(row.values, ARRIVED), _named(row.values, AT_INTERSECTIONS)
            kept.append(Interval(start, row.step, volumes, greens, arrivals, local))
    return kept


def in_the_papers_part(start: int, total_steps: int) -> bool:
    """Whether an interval that starts at step `start` lies in the last 69 of 80 parts of a run."""
    return start * BINS >= (BINS - KEPT_BINS) * total_steps


def joined(intervals: Sequence[Interval], steps: int) -> list[Interval]:
    """Adjacent intervals merged until each has at least `steps` steps; an incomplete rest is left out.

    Traffic builds up during an episode, so that an interval must hold whole episodes to be representative.
    """
    done: list[Interval] = []
    open_ones: list[Interval] = []
    for interval in intervals:
        open_ones.append(interval)
        if interval.end - open_ones[0].start >= steps:
            done.append(_sum(open_ones))
            open_ones = []
    return done


def pooled(intervals: Sequence[Interval]) -> Interval | None:
    """All intervals added up; None where there are none."""
    return _sum(intervals) if intervals else None


def opened_movements(runs: Iterable[Run]) -> tuple[str, ...]:
    """The movements that got green in any row of any run, in the order of the first row that names them."""
    names: dict[str, bool] = {}
    for run in runs:
        for row in run.metrics:
            for name, value in _named(row.values, GREENS).items():
                names[name] = names.get(name, False) or value > 0
    return tuple(name for name, opened in names.items() if opened)


def shares(counts: ArrayLike, added: float = 0.0) -> Shares:
    """Counts as shares of their sum, after adding `added` to each. Raises ValueError where the sum is 0."""
    values = np.asarray(counts, dtype=float) + added
    if values.ndim != 1 or (values < 0).any() or not values.sum() > 0:
        raise ValueError(f"counts are {values.tolist()}: expected a list of numbers from 0 on, not all 0")
    return np.asarray(values / values.sum())


def divergence(p: Shares, q: Shares) -> float:
    """KL(p || q) = sum of p log(p / q) in nats, at least 0; infinite where q is 0 and p is not."""
    present = p > 0
    if (q[present] == 0).any():
        return float("inf")
    return max(0.0, float((p[present] * np.log(p[present] / q[present])).sum()))


def distance(p: Shares, q: Shares) -> float:
    """Euclidean distance: the root of the sum of (p - q)^2, from 0 to the root of 2."""
    return float(np.sqrt(((p - q) ** 2).sum()))


def match(interval: Interval, movements: Sequence[str], kind: Traffic = "present") -> Match | None:
    """The match of an interval's greens with its traffic over `movements`; None without vehicles or without greens.

    A movement missing from the interval counts as 0.
    """
    volumes = np.array([interval.traffic(kind).get(name, 0.0) for name in movements])
    greens = np.array([interval.greens.get(name, 0.0) for name in movements])
    if not volumes.any() or not greens.any():
        return None
    traffic, signals = shares(volumes, HALF_COUNT), shares(greens, HALF_COUNT)
    even = np.full(len(movements), 1 / len(movements))
    return Match(
        end=interval.end,
        divergence=divergence(traffic, signals),
        reverse=divergence(signals, traffic),
        distance=distance(shares(volumes), shares(greens)),
        even_divergence=divergence(traffic, even),
        even_distance=distance(shares(volumes), even),
        infinite=bool(((volumes > 0) & (greens == 0)).any()),
    )


def matches(intervals: Iterable[Interval], movements: Sequence[str], kind: Traffic = "present") -> list[Match]:
    """The matches of all intervals, without those that had no vehicle or no green."""
    return [matched for interval in intervals if (matched := match(interval, movements, kind)) is not None]


def widths(intervals: Iterable[Interval]) -> list[int]:
    """The distinct lengths of intervals in environment steps, the shortest first."""
    return sorted({interval.end - interval.start for interval in intervals})


def _named(values: dict[str, float], prefix: str) -> dict[str, float]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def _sum(intervals: Sequence[Interval]) -> Interval:
    for one, following in pairwise(intervals):
        if one.end > following.start:
            raise ValueError(f"intervals overlap: one ends at step {one.end}, the next starts at {following.start}")
    totals: list[dict[str, float]] = [{}, {}, {}, {}]
    for interval in intervals:
        parts = interval.volumes, interval.greens, interval.arrivals, interval.at_intersections
        for total, counts in zip(totals, parts, strict=True):
            for name, value in counts.items():
                total[name] = total.get(name, 0.0) + value
    return Interval(intervals[0].start, intervals[-1].end, *totals)
