"""Statistics over tasks and their bootstrap intervals: pure functions, one formula each.

Every formula takes one array of seeds for each task, a stratum. Tasks may have different numbers of seeds; a task that
an algorithm lacks is never filled in, but left out by the caller or rejected here. Definitions follow Agarwal et al.
(2021), "Deep reinforcement learning at the edge of the statistical precipice". Every interval is a percentile bootstrap
that resamples seeds with replacement within each stratum, with random numbers from the given generator. With few seeds
such intervals are too narrow: resampling two seeds gives only three means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import ArrayLike

from figures import LEVEL
from figures.analysis.statistics import Values, ranks

REPLICATIONS = 2000
"""Replications of a bootstrap over seeds."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate and the two ends of its interval."""

    value: float
    low: float
    high: float


@overload
def interquartile_mean(values: ArrayLike, axis: None = None) -> float: ...
@overload
def interquartile_mean(values: ArrayLike, axis: int) -> Values: ...
def interquartile_mean(values: ArrayLike, axis: int | None = None) -> float | Values:
    """Mean of the remaining values after the floor(n / 4) smallest and largest are cut off, over all values or along
    one axis."""
    array = np.asarray(values, dtype=float)
    ordered = np.sort(array.reshape(-1) if axis is None else np.moveaxis(array, axis, -1), axis=-1)
    cut = ordered.shape[-1] // 4
    means = ordered[..., cut : ordered.shape[-1] - cut].mean(axis=-1)
    return float(means) if axis is None else np.asarray(means)


def redrawn(values: Values, generator: np.random.Generator, replications: int = REPLICATIONS) -> Values:
    """Resamples of the seeds with replacement, of the same size; shape (replication, seed)."""
    return values[generator.integers(0, values.size, (replications, values.size))]


def redrawn_weights(count: int, generator: np.random.Generator, replications: int = REPLICATIONS) -> Values:
    """Resamples as the weight of each of `count` seeds; shape (replication, seed)."""
    indices = generator.integers(0, count, (replications, count))
    return np.asarray((indices[:, :, None] == np.arange(count)).mean(axis=1))


def percentile_interval(replicates: ArrayLike, level: float = LEVEL) -> tuple[Values, Values]:
    """Bounds that leave (1 - level) / 2 of the replicates, along the first axis, below and above."""
    low, high = np.quantile(np.asarray(replicates, dtype=float), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def stratified_bootstrap_interval(
    strata: Sequence[Values],
    statistic: Callable[..., ArrayLike],
    generator: np.random.Generator,
    replications: int = REPLICATIONS,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Percentile interval of `statistic` over the pooled values of all strata.

    Args:
        strata: the values of each task, one for each seed.
        statistic: called as `statistic(draws, axis=1)` with shape (replication, value); one number a replication.

    Raises:
        ValueError: no stratum, an empty one, or a value that is not finite.
    """
    draws = np.concatenate([redrawn(values, generator, replications) for values in _checked(strata)], axis=1)
    low, high = percentile_interval(statistic(draws, axis=1), level)
    return float(low), float(high)


def performance_profile(strata: Sequence[Values], thresholds: ArrayLike) -> Values:
    """Share of seeds with a value above each threshold, mean over tasks: every task weighs the same.

    F(t) = 1/M sum_m 1/N_m sum_n [x_mn > t], with M tasks and N_m seeds of task m.
    """
    levels = np.asarray(thresholds, dtype=float)
    return np.mean([(values[:, None] > levels).mean(axis=0) for values in _checked(strata)], axis=0)


def performance_profile_band(
    strata: Sequence[Values],
    thresholds: ArrayLike,
    generator: np.random.Generator,
    replications: int = REPLICATIONS,
    level: float = LEVEL,
) -> tuple[Values, Values]:
    """Lower and upper end of the pointwise interval of the performance profile at each threshold."""
    levels = np.asarray(thresholds, dtype=float)
    shares = np.zeros((replications, levels.size))
    for values in _checked(strata):
        shares += redrawn_weights(values.size, generator, replications) @ (values[:, None] > levels) / len(strata)
    return percentile_interval(shares, level)


def improvement_probability(first: Sequence[Values], second: Sequence[Values]) -> float:
    """P(X > Y) + P(X = Y) / 2 for a seed of the first algorithm and one of the second, mean over tasks.

    Args:
        first: values of algorithm X on each task, one for each seed.
        second: values of algorithm Y on the same tasks in the same order.

    Raises:
        ValueError: unequal numbers of tasks, no task, a task without seeds, or a value that is not finite.
    """
    return float(np.mean([_wins(x, y).mean() for x, y in _paired(first, second)]))


def improvement_interval(
    first: Sequence[Values],
    second: Sequence[Values],
    generator: np.random.Generator,
    replications: int = REPLICATIONS,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Interval of `improvement_probability`: in each task the seeds of both algorithms are resampled independently."""
    shares = np.zeros(replications)
    for x, y in _paired(first, second):
        rows = redrawn_weights(x.size, generator, replications)
        columns = redrawn_weights(y.size, generator, replications)
        shares += (rows @ _wins(x, y) * columns).sum(axis=1) / len(first)
    low, high = percentile_interval(shares, level)
    return float(low), float(high)


def rank_distribution(
    groups: Sequence[Values], generator: np.random.Generator, replications: int = REPLICATIONS
) -> Values:
    """Sampling distribution of the rank of each algorithm on one task: ranks of the means of resampled seeds.

    Means are compared in float32, the precision of the returns, so that the order of summation breaks no tie.

    Args:
        groups: values of each algorithm, one for each seed.

    Returns:
        Ranks of shape (replication, algorithm); their mean over replications is the expected rank.

    Raises:
        ValueError: no algorithm, one without seeds, or a value that is not finite.
    """
    means = [redrawn(values, generator, replications).mean(axis=1) for values in _checked(groups)]
    return ranks(np.stack(means, axis=1).astype(np.float32))


def mean_ranks(
    tasks: Sequence[Mapping[str, Values]],
    generator: np.random.Generator,
    replications: int = REPLICATIONS,
    level: float = LEVEL,
) -> dict[str, Estimate]:
    """Mean over tasks of the rank of each algorithm's mean over seeds, with its bootstrap interval.

    Args:
        tasks: for each task the algorithms by name, with one value for each seed.

    Raises:
        ValueError: no task, or one that lacks an algorithm that another has: a missing rank cannot be made up.
    """
    names = list(tasks[0]) if tasks else []
    if not names or any(set(task) != set(names) for task in tasks):
        raise ValueError("mean ranks need tasks that all have the same algorithms: leave out the tasks that lack one")
    groups = [_checked([task[name] for name in names]) for task in tasks]
    means = np.array([[values.mean() for values in group] for group in groups], dtype=np.float32)
    replicates = np.mean([rank_distribution(group, generator, replications) for group in groups], axis=0)
    low, high = percentile_interval(replicates, level)
    columns = zip(names, ranks(means).mean(axis=0), low, high, strict=True)
    return {name: Estimate(float(value), float(below), float(above)) for name, value, below, above in columns}


def _checked(strata: Sequence[Values]) -> list[Values]:
    arrays = [np.asarray(values, dtype=float) for values in strata]
    if not arrays or not all(values.size and np.isfinite(values).all() for values in arrays):
        raise ValueError(
            f"got {len(arrays)} strata of {[values.size for values in arrays]} values: expected at least one, each "
            "with at least one value, all finite; leave out tasks without seeds and runs that diverged"
        )
    return arrays


def _paired(first: Sequence[Values], second: Sequence[Values]) -> list[tuple[Values, Values]]:
    if len(first) != len(second):
        raise ValueError(f"got {len(first)} and {len(second)} tasks: expected the same tasks for both algorithms")
    return list(zip(_checked(first), _checked(second), strict=True))


def _wins(x: Values, y: Values) -> Values:
    """1 where the row's value is larger, 1/2 where both are equal, 0 otherwise; shape (x, y)."""
    return np.asarray((1 + np.sign(x[:, None] - y[None, :])) / 2)
