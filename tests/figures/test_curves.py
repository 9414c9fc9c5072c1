"""What the drawings contain: bands, hairlines, marks, labels and colours."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from figures.curves import draw_learning_curves, panels_of
from figures.panels import draw_curve, seeds_text, spread_labels, value_range
from figures.style import (
    KNOWN_STYLES,
    PAPER,
    algorithm_styles,
    figure_style,
    legend_shape,
    row_major,
    short_number,
    svg_text,
    task_title,
)
from results.runs import load_runs
from tests.figures.synthetic import rising, write_references, write_run, write_study


def curve(counts: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"step": range(len(counts)), "mean": 1.0, "std": 0.5, "count": counts})


def test_one_seed_has_no_band_and_several_have() -> None:
    for count, bands in ((1, 0), (3, 1)):
        axes = Figure().add_subplot()
        draw_curve(axes, curve([count] * 4), KNOWN_STYLES["ip"])
        assert len(axes.collections) == bands
        assert len(axes.lines) == 1


def test_hairline_where_seeds_are_missing() -> None:
    axes = Figure().add_subplot()
    draw_curve(axes, curve([3, 3, 1, 1]), KNOWN_STYLES["ip"])
    thin, full = sorted(axes.lines, key=lambda line: line.get_linewidth())
    assert list(thin.get_ydata()) == [1.0] * 4
    assert [math.isnan(value) for value in full.get_ydata()] == [False, False, True, True]


def test_figure_marks_unfinished_runs_and_names_references(tmp_path: Path) -> None:
    write_study(tmp_path)
    results = load_runs(tmp_path)
    with figure_style():
        figure = draw_learning_curves(results, "mpe", "greedy")
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "Cooperative navigation, N = 3",
        "Cooperative navigation, N = 3 (difference)",
    ]
    axes = figure.axes[0]
    circles = [line for line in axes.lines if line.get_marker() == "o" and to_hex(line.get_color()) == PAPER]
    assert sorted(float(line.get_xdata()[0]) for line in circles) == [500.0, 2000.0]  # pic failed, qmix goes on
    texts = {text.get_text() for text in axes.texts}
    assert {"random", "stay", "assignment"} <= texts
    assert "3 seeds; QMIX 1, PIC 1" in texts
    colours = {to_hex(line.get_color()) for line in axes.lines}
    assert {KNOWN_STYLES[name].colour for name in ("ip", "iql", "qmix", "pic")} <= colours


def test_policy_without_evaluations_says_so(tmp_path: Path) -> None:
    write_run(tmp_path, {"greedy": rising(-10, 0, 4000, 1000)})
    results = load_runs(tmp_path)
    with figure_style():
        figure = draw_learning_curves(results, "mpe", "sampled")
    assert "no sampled evaluation yet" in {text.get_text() for text in figure.axes[0].texts}
    with pytest.raises(ValueError, match="expected one of greedy, sampled"):
        draw_learning_curves(results, "mpe", "best")


def test_seed_counts_are_spelled_out(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path, {"greedy": rising(-10, 0, 4000, 1000)}, seed=seed)
    (panel,) = panels_of(load_runs(tmp_path), "mpe", "greedy")
    assert seeds_text(panel.frames(), algorithm_styles(["ip"])) == "3 seeds"


def test_a_far_reference_does_not_squash_the_curves() -> None:
    low, high = value_range([-400.0, -300.0], {"random": -470.0, "assignment": -190.0, "nearest": -7000.0})
    assert low == pytest.approx(-484.0)
    assert high == pytest.approx(-176.0)
    assert value_range([-400.0, -300.0], {"stay": -420.0})[0] < -420.0
    assert value_range([], {}) == (0.0, 1.0)
    assert value_range([0.0], {}) == pytest.approx((-0.05, 0.05))


def test_labels_are_spread_without_overlap() -> None:
    places = spread_labels([0.0, 0.01, 0.02, 0.9], gap=0.1)
    assert all(b - a >= 0.1 - 1e-6 for a, b in pairwise(places))
    assert min(places) >= -1e-6
    assert spread_labels([0.2, 0.8], gap=0.1) == [0.2, 0.8]
    assert spread_labels([], gap=0.1) == []


def test_names_numbers_and_legends_read_well() -> None:
    assert task_title("mpe/cooperative_navigation_30") == "Cooperative navigation, N = 30"
    assert task_title("cityflow/synthetic_49", "full_graph") == "CityFlow: Synthetic, N = 49 (full graph)"
    assert task_title("magent/jungle_20") == "Jungle, N = 20"
    assert [short_number(value) for value in (-9500, -17000, 1.25e6, 0.5)] == [
        "\u22129500",
        "\u221217k",
        "1.25M",
        "0.5",
    ]
    assert legend_shape(7, width=4.0, entry_width=1.0) == (4, 2)
    assert row_major(list("abcdefg"), 4) == list("aebfcgd")


def test_every_algorithm_keeps_its_colour_and_new_ones_get_another() -> None:
    styles = algorithm_styles(["zeta", "iql", "ip", "alpha"])
    assert list(styles) == ["ip", "iql", "alpha", "zeta"]
    assert styles["ip"] == KNOWN_STYLES["ip"]
    assert len({style.colour for style in styles.values()}) == 4


def test_svg_is_the_same_each_time(tmp_path: Path) -> None:
    write_run(tmp_path, {"greedy": rising(-10, 0, 4000, 1000)})
    write_references(tmp_path, random=[-10.0, -10.0])
    results = load_runs(tmp_path)
    with figure_style():
        first, second = (svg_text(draw_learning_curves(results, "mpe", "greedy")) for _ in range(2))
    assert first == second
    assert "<dc:date>" not in first
    assert PAPER in first
