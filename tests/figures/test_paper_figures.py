"""The paper's Figures 3, 4, 5, 6 and 8: their panels are the paper's, their curves are the runs', and they say what is
missing."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from matplotlib.colors import to_hex

from figures import figure_3, figure_4, figure_5, figure_6, figure_8
from figures.figure_6 import ABLATIONS, ablated_runs
from figures.panels import Panel
from figures.selection import shown_runs, shown_variant
from figures.style import KNOWN_STYLES, figure_style
from figures.tables import DASH
from results.files import read_json
from results.paper import COMPARED_ALGORITHMS, COMPARED_TASKS
from results.records import Results
from results.runs import load_runs
from tests.beside import PAPER, needs_paper
from tests.figures.synthetic import rising, write_json, write_references, write_run

FIGURES = {3: figure_3, 4: figure_4, 5: figure_5, 8: figure_8}
AGENTS = {
    3: [96, 225, 1225],
    4: [30, 100, 100],
    5: [16, 49, 96, 100, 225, 1225],
    8: [15, 30, 200, 20, 100, 100],
}
"""Numbers of agents in the captions of the paper's figures, in their order."""
TASK = "cityflow/hangzhou_16"


def run_all(root: Path, task: str = TASK, variant: str = "default", seeds: int = 2, **extra: object) -> Results:
    for place, algorithm in enumerate(COMPARED_ALGORITHMS):
        for seed in range(seeds):
            curve = rising(-900.0, -300.0 - 50 * place, 4000, 1000, shift=10.0 * seed)
            write_run(root, {"greedy": curve}, task=task, algorithm=algorithm, variant=variant, seed=seed, **extra)  # type: ignore[arg-type]
    return load_runs(root)


@needs_paper
@pytest.mark.parametrize("number", FIGURES)
def test_numbers_of_agents_are_those_of_the_captions(number: int) -> None:
    (caption,) = (line for line in PAPER.read_text().splitlines() if line.startswith(f"Figure {number}:"))
    assert [int(count) for count in re.findall(r"N ?= ?(\d+)", caption.replace("$", ""))] == AGENTS[number]


@pytest.mark.parametrize("number", FIGURES)
def test_panels_are_those_of_the_paper(number: int) -> None:
    titles = FIGURES[number].TITLES
    assert set(titles) <= set(COMPARED_TASKS)
    assert [title[:3] for title in titles.values()] == ["(a)", "(b)", "(c)", "(d)", "(e)", "(f)"][: len(titles)]
    for task, title in titles.items():
        assert f"N = {task.rpartition('_')[2]}" in title
    assert [int(task.rpartition("_")[2]) for task in titles] == AGENTS[number]


def test_every_task_of_the_paper_has_a_panel() -> None:
    assert {task for module in FIGURES.values() for task in module.TITLES} == set(COMPARED_TASKS)


def test_curves_are_the_means_of_the_runs_and_dashed_lines_the_references(tmp_path: Path) -> None:
    write_references(tmp_path, TASK, random=[-800.0, -900.0], max_pressure=[-320.0, -300.0])
    results = run_all(tmp_path)
    with figure_style():
        figure = figure_5.draw(results)
    assert figure is not None
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == "(a) Hangzhou, N = 16"
    assert axes.get_ylabel() == "\u2212 average travel time, s"
    assert axes.get_xlabel() == "environment steps (thousands)"
    lines = {to_hex(line.get_color()): line for line in axes.lines if len(line.get_xdata()) == 5}
    for name in COMPARED_ALGORITHMS:
        runs = [run for run in results.runs if run.key.algorithm == name]
        by_hand = np.mean([[np.mean(own.returns) for own in run.evaluations] for run in runs], axis=0)
        np.testing.assert_allclose(lines[KNOWN_STYLES[name].colour].get_ydata(), by_hand)
    broken = [line for line in axes.lines if line.get_linestyle() == "--" and len(set(line.get_ydata())) == 1]
    assert sorted(float(line.get_ydata()[0]) for line in broken) == [-850.0, -310.0]
    assert "2 seeds" in {text.get_text() for text in axes.texts}
    for other in figure.axes[1:]:
        assert "not run" in {text.get_text() for text in other.texts}
    assert "Not run: (b) all; (c) all; (d) all; (e) all; (f) all." in figure_5.caption(results)


def test_other_settings_than_the_papers_are_named(tmp_path: Path) -> None:
    results = run_all(tmp_path, variant="signals")
    with figure_style():
        figure = figure_5.draw(results)
    assert figure is not None
    assert "variant signals · 2 seeds" in {text.get_text() for text in figure.axes[0].texts}
    assert "Not the paper's settings" in figure_5.caption(results)


def test_the_papers_settings_come_first_then_the_fullest(tmp_path: Path) -> None:
    run_all(tmp_path, variant="small")
    write_run(tmp_path, {"greedy": rising(-9, -1, 4000, 1000)}, task=TASK, variant="many", seed=0)
    results = load_runs(tmp_path)
    assert shown_variant(results, TASK) == "small"
    write_run(tmp_path, {"greedy": rising(-9, -1, 4000, 1000)}, task=TASK, seed=0)
    results = load_runs(tmp_path)
    assert shown_variant(results, TASK) == "default"
    assert [run.key.variant for run in shown_runs(results, TASK)] == ["default"]
    assert shown_variant(results, "magent/jungle_20") is None


@pytest.mark.parametrize("module", [*FIGURES.values(), figure_6])
def test_nothing_is_drawn_where_nothing_was_run(module: ModuleType, tmp_path: Path) -> None:
    write_run(tmp_path, {"greedy": rising(-9, -1, 4000, 1000)}, task="mpe/cooperative_navigation_3")
    assert module.draw(load_runs(tmp_path)) is None


def ablate(
    root: Path, variant: str, end: float, seed: int = 0, neighbours: int | None = None, **settings: object
) -> None:
    curve = {"greedy": rising(-900.0, end, 4000, 1000)}
    folder = write_run(root, curve, task=ABLATIONS[2].task, variant=variant, seed=seed, **settings)
    config = read_json(folder / "config.json")
    write_json(folder / "config.json", config | {"environment": {"num_envs": 4, "num_neighbours": neighbours}})


def test_ablations_compare_runs_that_differ_in_one_setting_only(tmp_path: Path) -> None:
    """Settings come from configs: a variant that differs in two settings, or in another, is no part of the panel."""
    neighbours, hops = ABLATIONS[2:]
    for seed in (0, 1):
        ablate(tmp_path, "default", -300.0, seed, hops=2)
        ablate(tmp_path, "neighbours-10", -280.0, seed, neighbours=10, hops=2)
        ablate(tmp_path, "neighbours-3", -350.0, seed, neighbours=3, hops=2)
    ablate(tmp_path, "hops-1", -400.0, hops=1)
    ablate(tmp_path, "neighbours-5-and-slow", -200.0, neighbours=5, hops=2, learning_rate=0.001)
    results = load_runs(tmp_path)
    found = ablated_runs(results, neighbours)
    assert [neighbours.label(value) for value in found] == ["k = 3", "k = 8", "k = 10"]
    assert [len(runs) for runs in found.values()] == [2, 2, 2]
    assert {name: [run.key.variant for run in runs] for name, runs in ablated_runs(results, hops).items()} == {
        1: ["hops-1"],
        2: ["default", "default"],
    }
    assert ablated_runs(results, ABLATIONS[0]) == {}
    with figure_style():
        figure = figure_6.draw(results)
    assert figure is not None
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title[:3] for title in titles] == ["(a)", "(b)", "(c)", "(d)"]
    legend = figure.axes[2].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["k = 3", "k = 8", "k = 10"]
    texts = {text.get_text() for text in figure.axes[3].texts}
    assert "2 seeds; 1 hop 1" in texts
    assert "Not run: (a), (b)." in figure_6.caption(results)
    rows = {row[1][0]: [text for text, _ in row[2:]] for row in figure_6.table(results).rows}
    finals = [np.mean([end for _, own in rising(-900.0, end, 4000, 1000)[-3:] for end in own]) for end in (-300, -350)]
    assert rows["k = 8"] == [f"\u2212{-finals[0]:.1f} ± 0.0", "2", DASH, DASH]
    assert rows["k = 3"][2] == f"\u2212{finals[0] - finals[1]:.1f}"
    assert rows["1 hop"][1::2] == ["1", DASH]  # one seed has no interval


def test_seeds_that_are_not_finite_are_not_counted(tmp_path: Path) -> None:
    write_run(tmp_path, {"greedy": [(0, [-5.0]), (1000, [-3.0])]}, seed=0, total_steps=1000)
    write_run(tmp_path, {"greedy": [(0, [-7.0]), (1000, [float("nan")])]}, seed=1, total_steps=1000)
    runs = load_runs(tmp_path).runs
    values = Panel("", {"ip": runs}, "greedy", {}).frames()["ip"]
    assert values.to_numpy().tolist() == [[0, 0, -5.0], [0, 1000, -3.0], [1, 0, -7.0]]
