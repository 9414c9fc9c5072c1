"""Every formula against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from figures.statistics import (
    Summary,
    across_seeds,
    final_score,
    gap_scale,
    interquartile_mean,
    sample_std,
    stratified_bootstrap_interval,
    summarise,
    welch_half_width,
)


def test_sample_deviation_divides_by_n_minus_one() -> None:
    assert sample_std([1.0, 3.0]) == pytest.approx(math.sqrt(2.0))
    assert sample_std([5.0]) is None
    assert summarise([1.0, 2.0, 6.0]) == Summary(3.0, pytest.approx(math.sqrt(7.0)), 3)
    with pytest.raises(ValueError, match="no values"):
        summarise([])


def test_curve_meets_only_at_shared_steps() -> None:
    rows = [(0, 0, 1.0), (0, 10, 2.0), (0, 20, 3.0), (1, 0, 3.0), (1, 15, 9.0), (1, 20, 7.0)]
    curve = across_seeds(pd.DataFrame(rows, columns=["seed", "step", "value"])).set_index("step")
    assert list(curve.index) == [0, 10, 15, 20]
    assert list(curve["mean"]) == [2.0, 2.0, 9.0, 5.0]
    assert list(curve["count"]) == [2, 1, 1, 2]
    assert curve["std"][0] == pytest.approx(math.sqrt(2.0))
    assert math.isnan(curve["std"][10])


def test_final_score_takes_the_last_three_in_step_order() -> None:
    assert final_score([30, 10, 20, 40], [3.0, 100.0, 2.0, 7.0]) == pytest.approx(4.0)
    assert final_score([10], [5.0]) == 5.0


def test_gap_closed_is_zero_for_random_and_hundred_for_the_top() -> None:
    scale = gap_scale(random=-470.0, top=-190.0)
    assert scale is not None
    assert Summary(-470.0, None, 1).scaled(*scale).mean == 0.0
    assert Summary(-190.0, None, 1).scaled(*scale).mean == pytest.approx(100.0)
    assert Summary(-330.0, 28.0, 2).scaled(*scale) == Summary(pytest.approx(50.0), pytest.approx(10.0), 2)
    assert gap_scale(random=-5.0, top=-5.0) is None
    assert gap_scale(random=-5.0, top=-6.0) is None


def test_interquartile_mean_cuts_a_quarter_at_each_end() -> None:
    assert interquartile_mean([100.0, 1.0, 2.0, -50.0]) == pytest.approx(1.5)
    assert interquartile_mean([1.0, 2.0, 6.0]) == pytest.approx(3.0)


def test_welch_interval() -> None:
    # n = 2 each and equal deviations: 2 degrees of freedom, t = 4.3027, standard error of the difference 1
    assert welch_half_width(Summary(0, 1.0, 2), Summary(0, 1.0, 2)) == pytest.approx(4.3027, abs=1e-4)
    assert welch_half_width(Summary(0, None, 1), Summary(0, 1.0, 2)) is None
    assert welch_half_width(Summary(0, 0.0, 2), Summary(1, 0.0, 2)) == 0.0


def test_bootstrap_redraws_within_strata() -> None:
    constant = [np.array([1.0, 1.0]), np.array([3.0, 3.0])]
    assert stratified_bootstrap_interval(constant, np.mean, np.random.default_rng(0)) == (2.0, 2.0)
    spread = [np.array([0.0, 10.0])]
    low, high = stratified_bootstrap_interval(spread, np.mean, np.random.default_rng(0))
    assert (low, high) == (0.0, 10.0)
