"""The statistics of every figure and table: pure functions, one formula each.

The unit of replication is the seed: episodes are averaged within a seed first, deviations are over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

FINAL_EVALUATIONS = 3
"""The final score of a seed is its mean over this many last evaluations."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Mean over seeds, sample standard deviation (None for a single seed), and how many seeds."""

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


def across_seeds(values: pd.DataFrame) -> pd.DataFrame:
    """Mean curve over seeds on the union of their steps.

    Seeds meet only where they have the very same step; nothing is interpolated.

    Args:
        values: columns seed, step, value; one row for each seed and step.

    Returns:
        Columns step, mean, std (sample, NaN where a single seed is left), count (seeds at that step).
    """
    grouped = values.groupby("step", sort=True)["value"]
    return pd.DataFrame({"mean": grouped.mean(), "std": grouped.std(ddof=1), "count": grouped.size()}).reset_index()


def final_score(steps: ArrayLike, values: ArrayLike, last: int = FINAL_EVALUATIONS) -> float:
    """Mean over the ``last`` evaluations of one seed, or over all of them when there are fewer."""
    order = np.argsort(np.asarray(steps), kind="stable")
    return float(np.asarray(values, dtype=float)[order][-last:].mean())


def gap_scale(random: float, top: float) -> tuple[float, float] | None:
    """(offset, factor) such that gap closed in % = (R - offset) * factor = 100 (R - random) / (top - random).

    0 % is the random policy, 100 % the reference policy at the top. None when the two do not differ, or when the top
    is the worse one: then there is no gap to close.
    """
    gap = top - random
    return (random, 100.0 / gap) if gap > 0 else None


def interquartile_mean(values: ArrayLike) -> float:
    """Mean of what is left after floor(n / 4) values are cut from each end."""
    array = np.sort(np.asarray(values, dtype=float))
    cut = array.size // 4
    return float(array[cut : array.size - cut].mean())


def welch_half_width(a: Summary, b: Summary, level: float = 0.95) -> float | None:
    """Half the width of Welch's confidence interval of mean(a) - mean(b); None when either has a single seed."""
    if a.std is None or b.std is None:
        return None
    error_a, error_b = a.std**2 / a.count, b.std**2 / b.count
    if error_a + error_b == 0:
        return 0.0
    freedom = (error_a + error_b) ** 2 / (error_a**2 / (a.count - 1) + error_b**2 / (b.count - 1))
    return float(stats.t.ppf(0.5 + level / 2, freedom)) * math.sqrt(error_a + error_b)


def stratified_bootstrap_interval(
    strata: Sequence[NDArray[np.float64]],
    statistic: Callable[[NDArray[np.float64]], float],
    generator: np.random.Generator,
    replications: int = 2000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of ``statistic`` over the pooled values, seeds being redrawn within each stratum (task)."""
    draws = np.concatenate(
        [stratum[generator.integers(0, stratum.size, (replications, stratum.size))] for stratum in strata], axis=1
    )
    values = np.apply_along_axis(statistic, 1, draws)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
