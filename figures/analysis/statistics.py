"""Statistics over seeds in all figures and tables: pure functions, one formula each.

The unit of replication is the seed: episodes are averaged within a seed first, and deviations are over seeds.

Formulas over tasks with intervals from a bootstrap are in `figures.analysis.bootstrap`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from figures import LEVEL
from results.checks import SCORED_EVALUATIONS

FINAL_EVALUATIONS = SCORED_EVALUATIONS
"""The final score of a seed is its mean over this many last evaluations."""
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Summary:
    """Mean over seeds, sample standard deviation (None for a single seed), and number of seeds."""

    mean: float
    std: float | None
    count: int

    def scaled(self, offset: float, factor: float) -> Summary:
        """The summary of (x - offset) * factor."""
        return Summary((self.mean - offset) * factor, None if self.std is None else self.std * abs(factor), self.count)


def sample_std(values: ArrayLike) -> float | None:
    """sqrt(sum (x - mean)^2 / (n - 1)); None for fewer than two values, because one value has no spread."""
    array = np.asarray(values, dtype=float)
    return float(array.std(ddof=1)) if array.size > 1 else None


def summarise(values: ArrayLike) -> Summary:
    """Mean, sample standard deviation and count of one value for each seed. Raises ValueError when there is none."""
    array = np.asarray(values, dtype=float)
    if not array.size:
        raise ValueError("no values to summarise: expected one for each seed")
    return Summary(float(array.mean()), sample_std(array), array.size)


@dataclass(frozen=True, slots=True)
class SeedMeans:
    """A curve over seeds; every array has one number for each step."""

    steps: Values
    mean: Values
    std: Values
    """Sample standard deviation; NaN for a single seed."""
    count: Values
    """Number of seeds with a value at that step."""
    lowest: Values
    highest: Values
    """Smallest and largest value of a seed."""

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Whether a step has as many seeds as the fullest step."""
        return np.asarray(self.count == self.count.max(initial=0))


def across_seeds(seeds: Sequence[tuple[ArrayLike, ArrayLike]]) -> SeedMeans:
    """Mean curve over seeds on the union of their steps.

    Seeds are averaged only at identical steps; nothing is interpolated. Values that are not finite are left out.

    Args:
        seeds: steps and values of each seed, with no step twice.
    """
    pairs = [(np.asarray(steps, dtype=float), np.asarray(values, dtype=float)) for steps, values in seeds]
    pairs = [(steps[finite], values[finite]) for steps, values in pairs if (finite := np.isfinite(values)).any()]
    steps = np.unique(np.concatenate([seed_steps for seed_steps, _ in pairs])) if pairs else np.empty(0)
    table = np.full((len(pairs), steps.size), np.nan)
    for row, (seed_steps, values) in zip(table, pairs, strict=True):
        row[np.searchsorted(steps, seed_steps)] = values
    present = ~np.isnan(table)
    count = present.sum(axis=0)
    mean = np.where(present, table, 0.0).sum(axis=0) / np.maximum(count, 1)
    squares = (np.where(present, table - mean, 0.0) ** 2).sum(axis=0)
    std = np.where(count > 1, np.sqrt(squares / np.maximum(count - 1, 1)), np.nan)
    lowest, highest = (reduce(table, axis=0, initial=np.nan) for reduce in (np.fmin.reduce, np.fmax.reduce))
    return SeedMeans(steps, mean, std, count.astype(float), lowest, highest)


def final_score(steps: ArrayLike, values: ArrayLike, last: int = FINAL_EVALUATIONS) -> float:
    """Mean over the `last` evaluations of one seed, or over all of them when there are fewer."""
    order = np.argsort(np.asarray(steps), kind="stable")
    return float(np.asarray(values, dtype=float)[order][-last:].mean())


def normalisation(random: float, top: float) -> tuple[float, float] | None:
    """(offset, factor) such that normalised score in % = (R - offset) * factor = 100 (R - random) / (top - random).

    0 % is the random policy, 100 % the reference policy at the top. None when the two do not differ, or when the top
    is the worse one.
    """
    difference = top - random
    return (random, 100.0 / difference) if difference > 0 else None


def welch_half_width(a: Summary, b: Summary, level: float = LEVEL) -> float | None:
    """Half the width of Welch's confidence interval of mean(a) - mean(b); None when either has a single seed."""
    if a.std is None or b.std is None:
        return None
    error_a, error_b = a.std**2 / a.count, b.std**2 / b.count
    if error_a + error_b == 0:
        return 0.0
    freedom = welch_freedom(a, b, 1 / a.count, 1 / b.count)
    return float(stats.t.ppf(0.5 + level / 2, freedom)) * math.sqrt(error_a + error_b)


def welch_freedom(a: Summary, b: Summary, share_a: float, share_b: float) -> float:
    """Satterthwaite's degrees of freedom of share_a var(a) + share_b var(b); both with two or more seeds, and not both
    with zero variance."""
    part_a, part_b = (a.std or 0.0) ** 2 * share_a, (b.std or 0.0) ** 2 * share_b
    return (part_a + part_b) ** 2 / (part_a**2 / (a.count - 1) + part_b**2 / (b.count - 1))


def mean_difference(a: Summary, b: Summary, level: float = LEVEL) -> tuple[float, float, float] | None:
    """Mean of a minus mean of b, half the width of Welch's interval, and its two-sided p; None when either has a single
    seed."""
    half_width, difference = welch_half_width(a, b, level), a.mean - b.mean
    if half_width is None:
        return None
    if half_width == 0:
        return difference, 0.0, 0.0 if difference else 1.0
    p = float(stats.ttest_ind_from_stats(a.mean, a.std, a.count, b.mean, b.std, b.count, equal_var=False)[1])
    return difference, half_width, p


def prediction_half_width(a: Summary, b: Summary, level: float = LEVEL) -> float | None:
    """Half the width of the prediction interval for the difference of one new seed of either side; None when either has
    a single seed.

    t sqrt(s_a^2 (1 + 1/n_a) + s_b^2 (1 + 1/n_b)) with Satterthwaite's degrees of freedom, for normally distributed
    seeds.
    """
    if a.std is None or b.std is None:
        return None
    share_a, share_b = 1 + 1 / a.count, 1 + 1 / b.count
    variance = a.std**2 * share_a + b.std**2 * share_b
    if variance == 0:
        return 0.0
    freedom = welch_freedom(a, b, share_a, share_b)
    return float(stats.t.ppf(0.5 + level / 2, freedom)) * math.sqrt(variance)


def mean_half_width(summary: Summary, level: float = LEVEL) -> float | None:
    """Half the width of Student's confidence interval of the mean over seeds: t s / sqrt(n); None for one seed."""
    if summary.std is None:
        return None
    return float(stats.t.ppf(0.5 + level / 2, summary.count - 1)) * summary.std / math.sqrt(summary.count)


def new_seed_half_width(summary: Summary, level: float = LEVEL) -> float | None:
    """Half the width of the prediction interval for one new seed: t s sqrt(1 + 1/n), for normally distributed seeds;
    None for one seed."""
    if summary.std is None:
        return None
    return float(stats.t.ppf(0.5 + level / 2, summary.count - 1)) * summary.std * math.sqrt(1 + 1 / summary.count)


def holm(values: Sequence[float]) -> list[float]:
    """p values adjusted by Holm (1979), so that the chance of any false finding stays below the level.

    The i-th smallest of m becomes max over j <= i of min(1, (m - j + 1) p_j), counted from 1.
    """
    adjusted = [0.0] * len(values)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(values)), key=lambda index: values[index])):
        largest = max(largest, min(1.0, (len(values) - place) * values[index]))
        adjusted[index] = largest
    return adjusted


@dataclass(frozen=True, slots=True)
class Trend:
    """A straight line through the values of all seeds over an ordered factor."""

    slope: float
    """Change of the value for one unit of the factor."""
    half_width: float
    """Half width of the 95 % interval of the slope."""
    p: float
    """Two-sided p value of the hypothesis of no slope."""
    count: int
    """Number of values."""


def trend(factor: ArrayLike, values: ArrayLike, level: float = LEVEL) -> Trend | None:
    """Least squares, with Student's t of n - 2 degrees of freedom for the slope.

    None for fewer than three values or two levels of the factor. Where all values lie on the line the interval has no
    width, and p is 0, or 1 for a level line.
    """
    x, y = np.asarray(factor, dtype=float), np.asarray(values, dtype=float)
    if x.size < 3 or np.unique(x).size < 2:
        return None
    if np.ptp(y) == 0:
        return Trend(0.0, 0.0, 1.0, x.size)
    fit = stats.linregress(x, y)
    half_width = float(stats.t.ppf(0.5 + level / 2, x.size - 2)) * float(fit.stderr)
    return Trend(float(fit.slope), half_width, float(fit.pvalue), x.size)


@dataclass(frozen=True, slots=True)
class Friedman:
    """Mean ranks over tasks, with a test of whether they differ by more than chance."""

    ranks: dict[str, float]
    """Mean rank over tasks, 1 for the best."""
    p: float
    """p value under equal algorithms: Friedman's chi square with Iman and Davenport's correction."""
    critical_difference: float
    """Nemenyi's critical difference: mean ranks further apart differ at 5 %, with all pairs taken into account."""


NEMENYI = (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164)
"""Quantiles of the studentised range over sqrt(2) at 5 % for 2 to 10 algorithms (Demsar 2006, Table 5a)."""


def friedman(tasks: Sequence[Mapping[str, float]]) -> Friedman | None:
    """Friedman's test (Demsar 2006) of the means of the same algorithms on several tasks, larger is better.

    chi^2 = 12 N / (k (k + 1)) (sum_j R_j^2 - k (k + 1)^2 / 4),  F = (N - 1) chi^2 / (N (k - 1) - chi^2)

    with N tasks, k algorithms and mean ranks R_j. None for fewer than two tasks or algorithms, or more than 10.

    Raises:
        ValueError: tasks that do not have the same algorithms.
    """
    names = list(tasks[0]) if tasks else []
    if any(set(task) != set(names) for task in tasks):
        raise ValueError("Friedman's test needs tasks that all have the same algorithms: leave out the others")
    count, size = len(tasks), len(names)
    if count < 2 or not 2 <= size <= len(NEMENYI) + 1:
        return None
    values = np.array([[task[name] for name in names] for task in tasks], dtype=np.float32)  # sums in any order tie
    means = ranks(values).mean(axis=0)
    chi = 12 * count / (size * (size + 1)) * (float((means**2).sum()) - size * (size + 1) ** 2 / 4)
    left = count * (size - 1) - chi
    p = float(stats.f.sf((count - 1) * chi / left, size - 1, (size - 1) * (count - 1))) if left > 1e-12 else 0.0
    difference = NEMENYI[size - 2] * math.sqrt(size * (size + 1) / (6 * count))
    return Friedman(dict(zip(names, map(float, means), strict=True)), p, difference)


def ranks(values: ArrayLike) -> Values:
    """Ranks along the last axis, 1 for the largest; ties share the mean of their ranks.

    rank_a = 1 + sum_b [x_b > x_a] + 1/2 sum_(b != a) [x_b = x_a]. Raises ValueError where a value is NaN.
    """
    array = np.asarray(values, dtype=float)
    if np.isnan(array).any():
        raise ValueError("a value to rank is not a number: leave the algorithm out of the comparison")
    mine, other = array[..., :, None], array[..., None, :]
    return np.asarray((other > mine).sum(axis=-1) + 0.5 * (other == mine).sum(axis=-1) + 0.5)
