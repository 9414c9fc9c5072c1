"""Every formula over tasks against numbers worked out by hand, and against scipy or rliable where they have it."""

from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from figures.analysis.bootstrap import (
    Estimate,
    improvement_interval,
    improvement_probability,
    interquartile_mean,
    mean_ranks,
    performance_profile,
    performance_profile_band,
    rank_distribution,
    redrawn,
    redrawn_weights,
    stratified_bootstrap_interval,
)
from figures.analysis.statistics import (
    Values,
)


def uneven_strata(seed: int, counts: tuple[int, ...] = (3, 5, 1, 8)) -> list[Values]:
    """Values of tasks with unequal numbers of seeds, rounded so that some of them tie."""
    generator = np.random.default_rng(seed)
    return [np.round(generator.normal(task, 2.0, count)) for task, count in enumerate(counts)]


def test_interquartile_mean_cuts_a_quarter_at_each_end() -> None:
    assert interquartile_mean([100.0, 1.0, 2.0, -50.0]) == pytest.approx(1.5)
    assert interquartile_mean([1.0, 2.0, 6.0]) == pytest.approx(3.0)


def test_bootstrap_redraws_within_strata() -> None:
    constant = [np.array([1.0, 1.0]), np.array([3.0, 3.0])]
    assert stratified_bootstrap_interval(constant, np.mean, np.random.default_rng(0)) == (2.0, 2.0)
    spread = [np.array([0.0, 10.0])]
    low, high = stratified_bootstrap_interval(spread, np.mean, np.random.default_rng(0))
    assert (low, high) == (0.0, 10.0)


def test_interquartile_mean_is_scipys_trimmed_mean() -> None:
    generator = np.random.default_rng(1)
    for count in range(1, 24):
        table = generator.normal(size=(4, count))
        assert interquartile_mean(table[0]) == pytest.approx(stats.trim_mean(table[0], 0.25))
        assert interquartile_mean(table, axis=1) == pytest.approx(stats.trim_mean(table, 0.25, axis=1))
        assert interquartile_mean(table, axis=0) == pytest.approx(stats.trim_mean(table, 0.25, axis=0))
        assert interquartile_mean(table) == pytest.approx(stats.trim_mean(table, 0.25, axis=None))


def test_bootstrap_of_all_replications_at_once_is_that_of_one_after_the_other() -> None:
    strata = uneven_strata(2)
    generator = np.random.default_rng(3)
    pooled = np.concatenate([redrawn(values, generator, 500) for values in strata], axis=1)
    expected = np.quantile([stats.trim_mean(row, 0.25) for row in pooled], [0.025, 0.975])
    found = stratified_bootstrap_interval(strata, interquartile_mean, np.random.default_rng(3), replications=500)
    assert found == pytest.approx(tuple(expected))


def test_bootstrap_of_one_stratum_agrees_with_scipy() -> None:
    values = np.random.default_rng(4).normal(10.0, 3.0, 12)
    interval = stratified_bootstrap_interval(
        [values], interquartile_mean, np.random.default_rng(5), replications=20_000
    )
    other = stats.bootstrap(
        (values,),
        lambda draws, axis: stats.trim_mean(draws, 0.25, axis=axis),
        n_resamples=20_000,
        method="percentile",
        vectorized=True,
        random_state=np.random.default_rng(6),
    ).confidence_interval
    assert interval == pytest.approx((other.low, other.high), abs=0.2)  # of a width of 3.9; draws differ


def test_bootstrap_of_a_mean_has_the_width_of_its_standard_error() -> None:
    """Strata add up as independent means do: the variance over draws is 1/M^2 sum of s_m^2 / n_m, all of size n."""
    strata = [np.random.default_rng(seed).normal(0.0, scale, 40) for seed, scale in enumerate((1.0, 4.0, 9.0))]
    error = math.sqrt(sum(values.var() / values.size for values in strata)) / len(strata)
    low, high = stratified_bootstrap_interval(strata, np.mean, np.random.default_rng(7), replications=20_000)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.03)


@pytest.mark.parametrize(
    "interval",
    [
        lambda sample, generator: stratified_bootstrap_interval(sample, interquartile_mean, generator),
        lambda sample, generator: performance_profile_band(sample, np.linspace(-1, 3, 9), generator),
        lambda sample, generator: improvement_interval(sample, [values + 0.5 for values in sample], generator, 100),
        lambda sample, generator: rank_distribution(sample, generator).mean(axis=0),
    ],
)
def test_same_generator_same_interval_and_another_gives_another(
    interval: Callable[[list[Values], np.random.Generator], object],
) -> None:
    strata = [np.random.default_rng(seed).normal(size=5) for seed in range(4)]
    first, again, other = (np.array(interval(strata, np.random.default_rng(seed))) for seed in (8, 8, 9))
    assert (first == again).all()
    assert (first != other).any()


def test_weights_are_the_same_draws() -> None:
    values = np.array([1.0, 20.0, 300.0])
    weights = redrawn_weights(3, np.random.default_rng(10), 50)
    assert weights.sum(axis=1) == pytest.approx(1.0)
    assert weights @ values == pytest.approx(redrawn(values, np.random.default_rng(10), 50).mean(axis=1))


def test_profile_by_hand() -> None:
    strata = [np.array([0.0, 10.0]), np.array([5.0, 5.0, 20.0])]
    profile = performance_profile(strata, [-1.0, 0.0, 5.0, 10.0, 20.0])
    assert profile == pytest.approx([1.0, (1 / 2 + 1) / 2, (1 / 2 + 1 / 3) / 2, (0 + 1 / 3) / 2, 0.0])


def test_every_task_weighs_the_same_in_a_profile() -> None:
    few, many = np.array([1.0, 4.0]), np.array([2.0])
    levels = np.linspace(0, 5, 11)
    expected = performance_profile([few, many], levels)
    assert performance_profile([np.repeat(few, 7), many], levels) == pytest.approx(expected)
    assert (np.diff(expected) <= 0).all()


def test_profile_band_by_hand() -> None:
    """Two seeds, 0 and 1: the share above 0.5 is 0, 1/2 or 1 with chances 1/4, 1/2 and 1/4; a task that all seeds
    close adds nothing to the width."""
    low, high = performance_profile_band([np.array([0.0, 1.0])], [-1.0, 0.0, 0.5, 1.0], np.random.default_rng(11))
    assert low == pytest.approx([1.0, 0.0, 0.0, 0.0])
    assert high == pytest.approx([1.0, 1.0, 1.0, 0.0])
    strata = [np.array([0.0, 1.0]), np.array([3.0, 3.0, 3.0])]
    low, high = performance_profile_band(strata, [0.5], np.random.default_rng(12))
    assert (low[0], high[0]) == pytest.approx((0.5, 1.0))
    middle_low, middle_high = performance_profile_band(strata, [0.5], np.random.default_rng(12), level=0.4)
    assert (middle_low[0], middle_high[0]) == pytest.approx((0.75, 0.75))


def test_probability_of_improvement_by_hand() -> None:
    x, y = np.array([1.0, 3.0]), np.array([2.0, 3.0])  # pairs: 0, 0, 1 and a tie
    assert improvement_probability([x], [y]) == pytest.approx(1.5 / 4)
    assert improvement_probability([x, np.array([9.0])], [y, np.array([1.0, 2.0])]) == pytest.approx((1.5 / 4 + 1) / 2)
    assert improvement_interval([np.array([5.0, 6.0])], [np.array([1.0])], np.random.default_rng(0)) == (1.0, 1.0)


def test_probability_of_improvement_is_mann_whitneys() -> None:
    first, second = uneven_strata(13), uneven_strata(14, (4, 2, 6, 3))
    expected = [
        stats.mannwhitneyu(x, y, alternative="greater").statistic / (x.size * y.size)
        for x, y in zip(first, second, strict=True)
    ]
    assert improvement_probability(first, second) == pytest.approx(np.mean(expected))
    assert improvement_probability(first, second) + improvement_probability(second, first) == pytest.approx(1.0)
    assert improvement_probability(first, first) == pytest.approx(0.5)


def test_improvement_interval_redraws_both_algorithms() -> None:
    """Against every equally likely pair of redrawn samples of two tasks with two seeds each."""
    first, second = [np.array([0.0, 2.0]), np.array([5.0, 9.0])], [np.array([1.0, 2.0]), np.array([7.0, 8.0])]
    samples = [[np.array(pair) for pair in itertools.product(values, repeat=2)] for values in (*first, *second)]
    exact = [
        improvement_probability(draw[: len(first)], draw[len(first) :])
        for draw in map(list, itertools.product(*samples))
    ]
    for level in (0.5, 0.8, 0.95):
        expected = np.quantile(exact, [(1 - level) / 2, (1 + level) / 2])
        found = improvement_interval(first, second, np.random.default_rng(15), replications=40_000, level=level)
        assert found == pytest.approx(tuple(expected), abs=1e-9)


def test_expected_rank_by_hand() -> None:
    """Redrawn means of X are 0, 1 and 2 with chances 1/4, 1/2 and 1/4, against 1: behind, tied or ahead."""
    found = rank_distribution([np.array([0.0, 2.0]), np.array([1.0])], np.random.default_rng(17), replications=40_000)
    assert set(found[:, 0]) == {1.0, 1.5, 2.0}
    assert [np.mean(found[:, 0] == rank) for rank in (1.0, 1.5, 2.0)] == pytest.approx([0.25, 0.5, 0.25], abs=0.01)
    assert (found.sum(axis=1) == 3.0).all()


def test_rounding_of_a_sum_breaks_no_tie() -> None:
    equal = [np.full(count, 0.1) for count in (3, 7, 10)]
    assert len({float(values.mean()) for values in equal}) > 1  # in float64 they do differ
    assert (rank_distribution(equal, np.random.default_rng(18)) == 2.0).all()
    assert mean_ranks([dict(zip("abc", equal, strict=True))], np.random.default_rng(18))["a"] == Estimate(2.0, 2.0, 2.0)


def test_mean_ranks_by_hand() -> None:
    tasks = [
        {"a": np.array([9.0, 9.0]), "b": np.array([5.0, 5.0, 5.0]), "c": np.array([1.0])},
        {"c": np.array([8.0]), "b": np.array([6.0]), "a": np.array([7.0, 7.0])},
    ]
    found = mean_ranks(tasks, np.random.default_rng(0))
    assert found == {"a": Estimate(1.5, 1.5, 1.5), "b": Estimate(2.5, 2.5, 2.5), "c": Estimate(2.0, 2.0, 2.0)}
    overlapping = {"a": np.array([0.0, 10.0]), "b": np.array([4.0, 5.0])}
    estimate = mean_ranks([overlapping], np.random.default_rng(0))["a"]
    assert estimate == Estimate(1.0, 1.0, 2.0)  # ahead, but by a seed


def test_what_is_missing_is_never_filled_in() -> None:
    values, generator = np.array([1.0, 2.0]), np.random.default_rng(0)
    with pytest.raises(ValueError, match="the same algorithms"):
        mean_ranks([{"a": values, "b": values}, {"a": values}], generator)
    with pytest.raises(ValueError, match="the same algorithms"):
        mean_ranks([], generator)
    with pytest.raises(ValueError, match="got 2 and 1 tasks"):
        improvement_probability([values, values], [values])
    for broken in ([], [np.array([])], [values, np.array([math.nan])], [np.array([math.inf])]):
        with pytest.raises(ValueError, match="all finite"):
            performance_profile(broken, [0.0])
        with pytest.raises(ValueError, match="all finite"):
            stratified_bootstrap_interval(broken, np.mean, generator)
        with pytest.raises(ValueError, match="all finite"):
            rank_distribution(broken, generator)


def test_formulas_agree_with_rliable() -> None:
    """Only if that library, which is no dependency, is installed. It needs equal numbers of seeds (rows) on all
    tasks."""
    try:
        metrics = importlib.import_module("rliable.metrics")
    except Exception as error:  # an installed one may fail at import with other versions of what it needs
        pytest.skip(f"rliable cannot be imported: {type(error).__name__}: {error}")
    first, second = np.random.default_rng(19).normal(0.0, 2.0, (2, 5, 6)).round(1)
    assert interquartile_mean(first) == pytest.approx(metrics.aggregate_iqm(first))
    expected = metrics.probability_of_improvement(first, second)
    assert improvement_probability(list(first.T), list(second.T)) == pytest.approx(expected)
