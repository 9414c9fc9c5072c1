"""Every formula over seeds against numbers worked out by hand, and against scipy where it has the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from figures.analysis.statistics import (
    NEMENYI,
    Summary,
    across_seeds,
    final_score,
    friedman,
    mean_difference,
    mean_half_width,
    new_seed_half_width,
    normalisation,
    prediction_half_width,
    ranks,
    sample_std,
    summarise,
    trend,
    welch_half_width,
)


def test_sample_deviation_divides_by_n_minus_one() -> None:
    assert sample_std([1.0, 3.0]) == pytest.approx(math.sqrt(2.0))
    assert sample_std([5.0]) is None
    assert summarise([1.0, 2.0, 6.0]) == Summary(3.0, pytest.approx(math.sqrt(7.0)), 3)
    with pytest.raises(ValueError, match="no values"):
        summarise([])


def test_curve_meets_only_at_shared_steps() -> None:
    curve = across_seeds([([0, 10, 20], [1.0, 2.0, 3.0]), ([0, 15, 17, 20], [3.0, 9.0, math.nan, 7.0])])
    assert list(curve.steps) == [0, 10, 15, 20]
    assert list(curve.mean) == [2.0, 2.0, 9.0, 5.0]
    assert list(curve.count) == [2, 1, 1, 2]
    assert list(curve.complete) == [True, False, False, True]
    assert list(curve.lowest) == [1.0, 2.0, 9.0, 3.0]
    assert list(curve.highest) == [3.0, 2.0, 9.0, 7.0]
    assert curve.std[0] == pytest.approx(math.sqrt(2.0))
    assert math.isnan(curve.std[1])
    assert not across_seeds([]).steps.size
    assert not across_seeds([([0, 1], [math.nan, math.inf])]).steps.size


def test_final_score_takes_the_last_three_in_step_order() -> None:
    assert final_score([30, 10, 20, 40], [3.0, 100.0, 2.0, 7.0]) == pytest.approx(4.0)
    assert final_score([10], [5.0]) == 5.0


def test_normalised_score_is_zero_for_random_and_hundred_for_the_top() -> None:
    scale = normalisation(random=-470.0, top=-190.0)
    assert scale is not None
    assert Summary(-470.0, None, 1).scaled(*scale).mean == 0.0
    assert Summary(-190.0, None, 1).scaled(*scale).mean == pytest.approx(100.0)
    assert Summary(-330.0, 28.0, 2).scaled(*scale) == Summary(pytest.approx(50.0), pytest.approx(10.0), 2)
    assert normalisation(random=-5.0, top=-5.0) is None
    assert normalisation(random=-5.0, top=-6.0) is None


def test_welch_interval() -> None:
    # n = 2 each and equal deviations: 2 degrees of freedom, t = 4.3027, standard error of the difference 1
    assert welch_half_width(Summary(0, 1.0, 2), Summary(0, 1.0, 2)) == pytest.approx(4.3027, abs=1e-4)
    assert welch_half_width(Summary(0, None, 1), Summary(0, 1.0, 2)) is None
    assert welch_half_width(Summary(0, 0.0, 2), Summary(1, 0.0, 2)) == 0.0


def test_ranks_are_scipys() -> None:
    values = np.round(np.random.default_rng(16).normal(0, 2, (6, 5, 7)))
    assert (ranks(values) == stats.rankdata(-values, axis=-1)).all()
    assert list(ranks([3.0, 8.0, 3.0, -1.0])) == [2.5, 1.0, 2.5, 4.0]
    with pytest.raises(ValueError, match="not a number"):
        ranks([1.0, math.nan])


def test_intervals_of_a_mean_and_of_a_new_seed_by_hand() -> None:
    """Seeds 1, 2 and 3: deviation 1, t of two degrees of freedom 4.3027."""
    summary = summarise([1.0, 2.0, 3.0])
    assert mean_half_width(summary) == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert new_seed_half_width(summary) == pytest.approx(4.3027 * math.sqrt(4 / 3), rel=1e-4)
    assert mean_half_width(summarise([1.0])) is None is new_seed_half_width(summarise([1.0]))
    assert stats.t.interval(0.95, 2, 2.0, 1 / math.sqrt(3))[1] == pytest.approx(2.0 + (mean_half_width(summary) or 0.0))


def test_an_interval_of_a_new_seed_holds_19_of_20() -> None:
    generator = np.random.default_rng(0)
    draws = generator.normal(0, 1, (4000, 4))
    held = [abs(row[3] - row[:3].mean()) <= (new_seed_half_width(summarise(row[:3])) or 0.0) for row in draws]
    assert np.mean(held) == pytest.approx(0.95, abs=0.012)


def test_an_interval_of_the_difference_of_new_seeds_holds_19_of_20() -> None:
    generator = np.random.default_rng(1)
    held = []
    for row in generator.normal(0, 1, (4000, 22)):
        half = prediction_half_width(summarise(row[:10]), summarise(row[10:20]))
        held.append(abs(row[20] - row[21] - row[:10].mean() + row[10:20].mean()) <= (half or 0.0))
    assert np.mean(held) == pytest.approx(0.95, abs=0.012), "wider with few seeds, as Satterthwaite's freedom is"
    assert prediction_half_width(summarise([1.0]), summarise([1.0, 2.0])) is None
    assert prediction_half_width(summarise([1.0, 1.0]), summarise([2.0, 2.0])) == 0.0


def test_mean_difference_is_welchs_test() -> None:
    a, b = [4.0, 6.0, 8.0], [1.0, 2.0, 3.0]
    found = mean_difference(summarise(a), summarise(b))
    assert found is not None
    expected = stats.ttest_ind(a, b, equal_var=False)
    assert found == pytest.approx((4.0, 4.0 - expected.confidence_interval().low, expected.pvalue))
    assert mean_difference(summarise([1.0]), summarise(b)) is None
    assert mean_difference(summarise([1.0, 1.0]), summarise([1.0, 1.0])) == (0.0, 0.0, 1.0)
    assert mean_difference(summarise([2.0, 2.0]), summarise([1.0, 1.0])) == (1.0, 0.0, 0.0)


def test_a_trend_by_hand() -> None:
    """Through (0, 0), (1, 2), (2, 1): slope 1/2, residuals -1/2, 1, -1/2, one degree of freedom."""
    found = trend([0, 1, 2], [0.0, 2.0, 1.0])
    assert found is not None
    assert found.slope == pytest.approx(0.5)
    error = math.sqrt(1.5 / 1 / 2)
    assert found.half_width == pytest.approx(12.7062 * error, rel=1e-4)
    assert found.p == pytest.approx(2 * float(stats.t.sf(0.5 / error, 1)))
    flat = trend([0, 1, 2], [3.0, 3.0, 3.0])
    assert flat is not None
    assert (flat.slope, flat.half_width, flat.p) == (0.0, 0.0, 1.0)
    assert trend([1, 1, 1], [0.0, 1.0, 2.0]) is None, "one level has no trend"
    assert trend([0, 1], [0.0, 1.0]) is None


def test_an_ordered_effect_shows_in_a_trend_that_no_pair_shows() -> None:
    """Four levels of three seeds, each 0.6 above the one before with deviation 1."""
    seeds = np.array([-1.0, 0.0, 1.0])
    levels = [summarise(0.6 * level + seeds) for level in range(4)]
    assert all(abs(a.mean - b.mean) < (welch_half_width(a, b) or 0.0) for a in levels for b in levels)
    found = trend(np.repeat(range(4), 3), np.concatenate([0.6 * level + seeds for level in range(4)]))
    assert found is not None
    assert found.p < 0.05
    assert found.slope - found.half_width > 0


def test_friedmans_test_agrees_with_scipy_and_with_demsar() -> None:
    generator = np.random.default_rng(4)
    table = generator.normal(np.arange(4) * 0.6, 1, (9, 4))
    found = friedman([dict(zip("abcd", row, strict=True)) for row in table])
    assert found is not None
    chi = stats.friedmanchisquare(*table.T).statistic
    corrected = (9 - 1) * chi / (9 * 3 - chi)
    assert found.p == pytest.approx(float(stats.f.sf(corrected, 3, 24)))
    assert found.ranks == pytest.approx(dict(zip("abcd", ranks(table).mean(axis=0), strict=True)))
    assert found.critical_difference == pytest.approx(2.569 * math.sqrt(4 * 5 / (6 * 9)))


def test_nemenyis_quantiles_are_those_of_the_studentised_range() -> None:
    expected = [stats.studentized_range.ppf(0.95, count, 1e6) / math.sqrt(2) for count in range(2, 2 + len(NEMENYI))]
    assert pytest.approx(expected, abs=2e-3) == list(NEMENYI)


def test_the_same_order_on_every_task_is_no_chance() -> None:
    found = friedman([{"a": 3.0, "b": 2.0, "c": 1.0}] * 6)
    assert found is not None
    assert (found.p, found.ranks) == (0.0, {"a": 1.0, "b": 2.0, "c": 3.0})


def test_friedmans_test_needs_tasks_and_algorithms() -> None:
    assert friedman([{"a": 1.0, "b": 2.0}]) is None
    assert friedman([{"a": 1.0}] * 3) is None
    assert friedman([]) is None
    with pytest.raises(ValueError, match="the same algorithms"):
        friedman([{"a": 1.0, "b": 2.0}, {"a": 1.0, "c": 2.0}])
