"""The small charts of logged metrics: the right curves, each metric once, nothing hidden."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from figures.small_multiples import BINS, binned_curve, diagnostic_series, metric_order, small_multiples
from figures.statistics import across_seeds
from figures.style import algorithm_styles
from results.runs import load_runs
from tests.figures.synthetic import rising, write_run, write_study


def test_every_metric_but_counters_has_a_chart(tmp_path: Path) -> None:
    write_study(tmp_path)
    runs = [run for run in load_runs(tmp_path).runs if run.key.variant == "default"]
    html = small_multiples(runs, algorithm_styles(run.key.algorithm for run in runs))
    assert html is not None
    assert re.findall(r"<figcaption>(.*?)</figcaption>", html) == [
        "policy/entropy",
        "environment steps per second",
        "evaluation/collisions",
        "loss/q",
    ]
    assert re.findall(r"<li>.*?</svg>(.*?)</li>", html) == ["IP", "QMIX", "PIC", "IQL"]


def test_metrics_come_in_order() -> None:
    assert metric_order({"b", "policy/entropy", "a", "train/return"}) == ["train/return", "policy/entropy", "a", "b"]


def test_bins_average_within_a_seed_first() -> None:
    curve = binned_curve([([0, 10, 11], [1.0, 3.0, 7.0]), ([5], [9.0])], 10)
    assert curve.steps.tolist() == [10, 20]
    assert curve.mean.tolist() == [(2 + 9) / 2, 7]
    assert curve.std[0] == pytest.approx(np.std([2, 9], ddof=1))
    assert np.isnan(curve.std[1])
    assert curve.complete.tolist() == [True, False]


def test_binned_curves_agree_with_the_statistics_of_every_other_figure() -> None:
    generator = np.random.default_rng(3)
    seeds = [
        (np.sort(generator.choice(1000, 60, replace=False)).tolist(), generator.normal(0, 1, 60).tolist())
        for _ in range(4)
    ]
    rows = [
        (seed, max(np.ceil(step / 20), 1) * 20, value)
        for seed, own in enumerate(seeds)
        for step, value in zip(*own, strict=True)
    ]
    frame = (
        pd.DataFrame(rows, columns=["seed", "step", "value"]).groupby(["seed", "step"])["value"].mean().reset_index()
    )
    expected, found = across_seeds(frame), binned_curve(seeds, 20)
    np.testing.assert_array_equal(found.steps, expected["step"])
    np.testing.assert_allclose(found.mean, expected["mean"])
    np.testing.assert_allclose(found.std, expected["std"])
    np.testing.assert_array_equal(found.complete, expected["count"] == 4)


def test_what_is_not_finite_is_left_out_and_constants_can_be_drawn(tmp_path: Path) -> None:
    metrics = [{"step": 1000, "loss/q": float("nan"), "same": 0.0}, {"step": 2000, "loss/q": 2.0, "same": 0.0}]
    metrics.insert(1, {"step": 1500, "loss/q": -1e300, "same": 0.0})
    write_run(tmp_path, {"greedy": rising(-1, 0, 2000, 1000)}, metrics=metrics, total_steps=2000)
    (run,) = load_runs(tmp_path).runs
    series = diagnostic_series([run])
    assert series["loss/q"]["ip"][0] == ([2000], [2.0])
    html = small_multiples([run], algorithm_styles(["ip"]))
    assert html is not None
    assert not re.search(r"nan|inf\b", html)
    assert "l0 0" in html  # a single value is a dot


def test_charts_place_the_ends_of_the_axes(tmp_path: Path) -> None:
    """The value at the last step is at the right edge, and a line that rises goes up the page."""
    metrics = [{"step": step, "loss/q": step / 1000} for step in range(800, 4001, 800)]
    write_run(tmp_path, {}, metrics=metrics)
    (run,) = load_runs(tmp_path).runs
    html = small_multiples([run], algorithm_styles(["ip"])) or ""
    chart = re.findall(r"<figure>.*?</figure>", html)[0]
    assert ">4000</text>" in chart or ">4k</text>" in chart
    path = re.findall(r'<path d="(M[^H"]*)"/></g>', chart)[0]
    numbers = [int(own) for own in re.findall(r"-?\d+", path)]
    x, y = np.cumsum(numbers[::2]), np.cumsum(numbers[1::2])
    assert x[-1] == 900 - 24
    assert x[0] == 160 + round((900 - 24 - 160) / 5)
    assert (np.diff(y) < 0).all()
    assert BINS == 50


def test_runs_that_logged_nothing_have_no_charts() -> None:
    assert small_multiples([], {}) is None
