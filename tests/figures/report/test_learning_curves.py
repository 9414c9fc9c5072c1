"""What the drawings contain: bands, hairlines, marks, labels and colours."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from figures.analysis import Analysis
from figures.analysis.statistics import SeedMeans
from figures.drawing import svg_text
from figures.names import task_title
from figures.panels import draw_curve, seeds_text, spread_labels, value_range
from figures.report.learning_curves import budget_caption, draw_budget, draw_platform, panels_of, platform_caption
from figures.style import (
    KNOWN_STYLES,
    PAPER,
    algorithm_styles,
    figure_style,
    legend_shape,
    row_major,
    short_number,
)
from results.runs import load_runs
from tests.figures.synthetic import TASK, both, rising, write_lines, write_references, write_run, write_study


def curve(counts: list[int]) -> SeedMeans:
    size = len(counts)
    return SeedMeans(
        np.arange(size, dtype=float),
        np.ones(size),
        np.full(size, 0.5),
        np.array(counts, dtype=float),
        np.zeros(size),
        np.ones(size),
    )


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
        figure = draw_platform(Analysis(results), "mpe")
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
    """IP is judged by its sampled policy, which was not evaluated here."""
    write_run(tmp_path, {"greedy": rising(-10, 0, 4000, 1000)})
    analysis = Analysis(load_runs(tmp_path))
    with figure_style():
        figure = draw_platform(analysis, "mpe")
    assert "no evaluation yet" in {text.get_text() for text in figure.axes[0].texts}
    with pytest.raises(ValueError, match="expected one of greedy, sampled"):
        analysis.curve(TASK, "default", "ip", "best")


def test_each_algorithm_is_drawn_by_its_headline_policy(tmp_path: Path) -> None:
    for name in ("ip", "iql"):
        write_run(
            tmp_path, {"greedy": [(0, [1.0]), (4000, [2.0])], "sampled": [(0, [3.0]), (4000, [4.0])]}, algorithm=name
        )
    with figure_style():
        figure = draw_platform(Analysis(load_runs(tmp_path)), "mpe")
    lines = {
        to_hex(line.get_color()): list(line.get_ydata()) for line in figure.axes[0].lines if len(line.get_xdata()) == 2
    }
    assert lines == {KNOWN_STYLES["ip"].colour: [3.0, 4.0], KNOWN_STYLES["iql"].colour: [1.0, 2.0]}
    assert "sampled for those that learn a stochastic policy" in platform_caption("mpe")


def test_other_axes_by_hand(tmp_path: Path) -> None:
    """IP took 80 gradient steps of 256 transitions in 1,000 environment steps and 4 seconds of them, IQL half."""
    for place, name in enumerate(("ip", "iql")):
        metrics = [{"step": step, "update": step * 8 // (100 * (1 + place))} for step in (500, 1000)]
        folder = write_run(tmp_path, both(rising(-10, 0, 1000, 500)), algorithm=name, total_steps=1000, metrics=metrics)
        timing = [{"step": 1000, "seconds": {"update": 4.0 / (1 + place)}}]
        write_lines(folder / "timing.jsonl", timing)
    analysis = Analysis(load_runs(tmp_path))
    for axis, label, ends in (
        ("transitions", "transitions in gradient steps (thousands)", [20_480, 10_240]),
        ("compute", "seconds of updates", [4.0, 2.0]),
    ):
        with figure_style():
            figure = draw_budget(analysis, axis)
        assert figure is not None
        (axes,) = figure.axes
        assert axes.get_xlabel() == label
        lines = {to_hex(line.get_color()): line.get_xdata() for line in axes.lines}
        found = [list(lines[KNOWN_STYLES[name].colour]) for name in ("ip", "iql")]
        assert found == [pytest.approx([0, end / 2, end]) for end in ends]
        assert "The same curves over" in budget_caption(axis)


def test_nothing_is_drawn_over_other_axes_without_what_they_need(tmp_path: Path) -> None:
    write_run(tmp_path, both(rising(-10, 0, 1000, 500)))
    write_run(tmp_path, both(rising(-10, 0, 1000, 500)), algorithm="iql")
    assert draw_budget(Analysis(load_runs(tmp_path)), "transitions") is None


def test_seed_counts_are_spelled_out(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path, both(rising(-10, 0, 4000, 1000)), seed=seed)
    (panel,) = panels_of(Analysis(load_runs(tmp_path)), "mpe")
    assert seeds_text(panel.curves, algorithm_styles(["ip"])) == "3 seeds"


def test_a_far_reference_does_not_squash_the_curves() -> None:
    low, high = value_range([-400.0, -300.0], {"random": -470.0, "assignment": -190.0, "nearest": -7000.0})
    assert low == pytest.approx(-484.0)
    assert high == pytest.approx(-176.0)
    assert value_range([-400.0, -300.0], {"stay": -420.0})[0] < -420.0
    assert value_range([-400.0, -300.0], {"random": -410.0, "assignment": 90.0}, ends=())[1] < 0.0, "fitted to curves"
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
    assert task_title("cityflow/newyork_16") == "CityFlow: New York, N = 16"
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
    write_run(tmp_path, both(rising(-10, 0, 4000, 1000)))
    write_references(tmp_path, random=[-10.0, -10.0])
    analysis = Analysis(load_runs(tmp_path))
    with figure_style():
        first, second = (svg_text(draw_platform(analysis, "mpe")) for _ in range(2))
    assert first == second
    assert "<dc:date>" not in first
