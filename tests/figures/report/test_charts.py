"""The small charts of logged metrics: the right curves, each metric once, nothing hidden."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from figures.analysis.statistics import across_seeds
from figures.report.charts import BINS, binned_curve, chart_data, diagnostic_series, metric_order
from figures.style import algorithm_styles
from results.runs import load_runs
from tests.figures.synthetic import rising, write_run, write_study


def test_every_metric_but_counters_has_a_chart(tmp_path: Path) -> None:
    write_study(tmp_path)
    runs = [run for run in load_runs(tmp_path).runs if run.key.variant == "default"]
    data = json.loads(chart_data(runs, algorithm_styles(run.key.algorithm for run in runs)) or "")
    assert [chart["name"] for chart in data["charts"]] == [
        "policy/entropy",
        "environment steps per second",
        "evaluation/collisions",
        "loss/q",
    ]
    assert [label for label, _ in data["algorithms"]] == ["IP", "QMIX", "PIC", "IQL"]
    assert data["steps"] == [80 * place for place in range(1, BINS + 1)]


def test_metrics_come_in_order() -> None:
    assert metric_order({"b", "policy/entropy", "a", "train/return"}) == ["train/return", "policy/entropy", "a", "b"]


def test_bins_average_within_a_seed_first() -> None:
    curve = binned_curve([(np.array([0, 10, 11]), np.array([1.0, 3.0, 7.0])), (np.array([5]), np.array([9.0]))], 10)
    assert curve.steps.tolist() == [10, 20]
    assert curve.mean.tolist() == [(2 + 9) / 2, 7]
    assert curve.std[0] == pytest.approx(np.std([2, 9], ddof=1))
    assert np.isnan(curve.std[1])
    assert curve.complete.tolist() == [True, False]


def test_binned_curves_agree_with_the_statistics_of_every_other_figure() -> None:
    generator = np.random.default_rng(3)
    seeds = [
        (np.sort(generator.choice(1000, 60, replace=False)).astype(float), generator.normal(0, 1, 60)) for _ in range(4)
    ]
    means = []
    for steps, values in seeds:
        ends = np.maximum(np.ceil(steps / 20), 1) * 20
        means.append((np.unique(ends), [values[ends == end].mean() for end in np.unique(ends)]))
    expected, found = across_seeds(means), binned_curve(seeds, 20)
    np.testing.assert_array_equal(found.steps, expected.steps)
    np.testing.assert_allclose(found.mean, expected.mean)
    np.testing.assert_allclose(found.std, expected.std)
    np.testing.assert_array_equal(found.complete, expected.complete)


def test_what_is_not_finite_is_left_out_and_constants_can_be_drawn(tmp_path: Path) -> None:
    metrics = [{"step": 1000, "loss/q": float("nan"), "same": 0.0}, {"step": 2000, "loss/q": 2.0, "same": 0.0}]
    metrics.insert(1, {"step": 1500, "loss/q": -1e300, "same": 0.0})
    write_run(tmp_path, {"greedy": rising(-1, 0, 2000, 1000)}, metrics=metrics, total_steps=2000)
    (run,) = load_runs(tmp_path).runs
    ((steps, values),) = diagnostic_series([run])["loss/q"]["ip"][0]
    assert (steps.tolist(), values.tolist()) == ([2000], [2.0])
    text = chart_data([run], algorithm_styles(["ip"])) or ""
    assert "nan" not in text.lower()
    (loss,) = (chart for chart in json.loads(text)["charts"] if chart["name"] == "loss/q")
    assert loss["curves"] == [[0, [None] * (BINS - 1) + [2], [None] * BINS, [0] * (BINS - 1) + [1]]]


def test_bands_and_completeness_by_hand(tmp_path: Path) -> None:
    """Seed 0 logs at the middle and the end, seed 1 at the end alone."""
    write_run(tmp_path, {}, metrics=[{"step": 2000, "loss/q": 1.0}, {"step": 4000, "loss/q": 2.0}], seed=0)
    write_run(tmp_path, {}, metrics=[{"step": 4000, "loss/q": 4.0}], seed=1)
    data = json.loads(chart_data(load_runs(tmp_path).runs, algorithm_styles(["ip"])) or "")
    ((place, mean, std, complete),) = data["charts"][0]["curves"]
    assert (place, mean[24], mean[49], std[24], std[49]) == (0, 1, 3, None, 1.414)
    assert complete == [0] * 49 + [1]


@pytest.mark.parametrize("last", [57, 69, 1824])
def test_the_last_step_is_in_the_last_bin(tmp_path: Path, last: int) -> None:
    """Although last / (last / 50) may exceed 50."""
    write_run(tmp_path, {}, metrics=[{"step": last, "loss/q": 2.0}], total_steps=last)
    data = json.loads(chart_data(load_runs(tmp_path).runs, algorithm_styles(["ip"])) or "")
    ((_, mean, _, _),) = data["charts"][0]["curves"]
    assert mean == [None] * (BINS - 1) + [2]


def test_names_cannot_end_the_script_that_holds_them(tmp_path: Path) -> None:
    write_run(tmp_path, {}, metrics=[{"step": 4000, "</script><b>": 2.0}])
    text = chart_data(load_runs(tmp_path).runs, algorithm_styles(["ip"])) or ""
    assert "<" not in text
    assert json.loads(text)["charts"][0]["name"] == "</script><b>"


def test_runs_that_logged_nothing_have_no_charts() -> None:
    assert chart_data([], {}) is None
