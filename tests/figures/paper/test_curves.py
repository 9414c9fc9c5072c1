"""The paper's Figures 3, 4, 5, 6 and 8: their panels are the paper's, their curves are the runs', and they say what is
missing."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from figures.analysis import Analysis
from figures.analysis.ablations import ABLATIONS, ablated_runs
from figures.analysis.curves import learning_curve, run_evaluations
from figures.paper import ablations
from figures.paper.curves import FIGURE_3, FIGURE_4, FIGURE_5, FIGURE_8, Titles, draw_tasks, tasks_caption
from figures.style import KNOWN_STYLES, figure_style
from figures.tables import DASH
from results.files import read_json
from results.paper import COMPARED_ALGORITHMS, COMPARED_TASKS
from results.records import Results
from results.runs import load_runs
from tests.beside import PAPER, needs_paper
from tests.figures.synthetic import both, rising, write_json, write_references, write_run

FIGURES: dict[int, Titles] = {3: FIGURE_3, 4: FIGURE_4, 5: FIGURE_5, 8: FIGURE_8}
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
            write_run(root, both(curve), task=task, algorithm=algorithm, variant=variant, seed=seed, **extra)  # type: ignore[arg-type]
    return load_runs(root)


@needs_paper
@pytest.mark.parametrize("number", FIGURES)
def test_numbers_of_agents_are_those_of_the_captions(number: int) -> None:
    (caption,) = (line for line in PAPER.read_text().splitlines() if line.startswith(f"Figure {number}:"))
    assert [int(count) for count in re.findall(r"N ?= ?(\d+)", caption.replace("$", ""))] == AGENTS[number]


@pytest.mark.parametrize("number", FIGURES)
def test_panels_are_those_of_the_paper(number: int) -> None:
    titles = FIGURES[number]
    assert set(titles) <= set(COMPARED_TASKS)
    assert [title[:3] for title in titles.values()] == ["(a)", "(b)", "(c)", "(d)", "(e)", "(f)"][: len(titles)]
    for task, title in titles.items():
        assert f"N = {task.rpartition('_')[2]}" in title
    assert [int(task.rpartition("_")[2]) for task in titles] == AGENTS[number]


def test_every_task_of_the_paper_has_a_panel() -> None:
    assert {task for titles in FIGURES.values() for task in titles} == set(COMPARED_TASKS)


def test_curves_are_the_means_of_the_runs_and_dashed_lines_the_references(tmp_path: Path) -> None:
    write_references(tmp_path, TASK, random=[-800.0, -900.0], max_pressure=[-320.0, -300.0])
    results = run_all(tmp_path)
    with figure_style():
        figure = draw_tasks(Analysis(results), FIGURE_5)
    assert figure is not None
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == "(a) Hangzhou, N = 16"
    assert axes.get_ylabel() == "\u2212 average travel time, s"
    assert axes.get_xlabel() == "environment steps (thousands)"
    lines = {to_hex(line.get_color()): line for line in axes.lines if len(line.get_xdata()) == 5}
    for name in COMPARED_ALGORITHMS:
        runs = [run for run in results.runs if run.key.algorithm == name]
        by_hand = np.mean(
            [
                [np.mean(evaluation.returns) for evaluation in run.evaluations if evaluation.policy == "greedy"]
                for run in runs
            ],
            axis=0,
        )
        np.testing.assert_allclose(lines[KNOWN_STYLES[name].colour].get_ydata(), by_hand)
    broken = [line for line in axes.lines if line.get_linestyle() == "--" and len(set(line.get_ydata())) == 1]
    assert sorted(float(line.get_ydata()[0]) for line in broken) == [-850.0, -310.0]
    assert "2 seeds" in {text.get_text() for text in axes.texts}
    for other in figure.axes[1:]:
        assert "not run" in {text.get_text() for text in other.texts}
    assert "Not run: (b) all; (c) all; (d) all; (e) all; (f) all." in tasks_caption(Analysis(results), FIGURE_5)


def test_other_settings_than_the_papers_are_named(tmp_path: Path) -> None:
    results = run_all(tmp_path, variant="signals")
    with figure_style():
        figure = draw_tasks(Analysis(results), FIGURE_5)
    assert figure is not None
    assert "variant signals · 2 seeds" in {text.get_text() for text in figure.axes[0].texts}
    assert "Not the paper's settings" in tasks_caption(Analysis(results), FIGURE_5)


def test_the_papers_settings_come_first_then_the_fullest(tmp_path: Path) -> None:
    run_all(tmp_path, variant="small")
    write_run(tmp_path, {"greedy": rising(-9, -1, 4000, 1000)}, task=TASK, variant="many", seed=0)
    results = load_runs(tmp_path)
    assert Analysis(results).shown[TASK] == "small"
    write_run(tmp_path, {"greedy": rising(-9, -1, 4000, 1000)}, task=TASK, seed=0)
    results = load_runs(tmp_path)
    assert Analysis(results).shown[TASK] == "default"
    assert [run.key.variant for run in Analysis(results).shown_runs(TASK)] == ["default"]
    assert "magent/jungle_20" not in Analysis(results).shown
    assert Analysis(results).shown_runs("magent/jungle_20") == ()


def test_nothing_is_drawn_where_nothing_was_run(tmp_path: Path) -> None:
    write_run(tmp_path, {"greedy": rising(-9, -1, 4000, 1000)}, task="mpe/cooperative_navigation_3")
    analysis = Analysis(load_runs(tmp_path))
    assert [draw_tasks(analysis, titles) for titles in FIGURES.values()] == [None] * len(FIGURES)
    assert ablations.draw(analysis) is None
    assert ablations.table(analysis).rows == []


def ablate(
    root: Path, variant: str, end: float, seed: int = 0, neighbours: int | None = None, **settings: object
) -> None:
    curve = both(rising(-900.0, end, 4000, 1000))
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
        figure = ablations.draw(Analysis(results))
    assert figure is not None
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title[:3] for title in titles] == ["(a)", "(b)", "(c)", "(d)"]
    legend = figure.axes[2].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["k = 3", "k = 8", "k = 10"]
    texts = {text.get_text() for text in figure.axes[3].texts}
    assert "2 seeds; 1 hop 1" in texts
    assert "Not run: (a), (b)." in ablations.caption(Analysis(results))
    table = ablations.table(Analysis(results))
    rows = {row[1][0]: dict(zip(table.header, (text for text, _ in row), strict=True)) for row in table.rows}
    finals = [
        np.mean([end for _, returns in rising(-900.0, end, 4000, 1000)[-3:] for end in returns]) for end in (-300, -350)
    ]
    mean = f"\u2212{-finals[0]:.1f} ± 0.0"
    assert [rows["k = 8"][name] for name in ("Sampled", "Greedy", "Seeds")] == [mean, mean, "2"]
    assert rows["k = 8"]["Difference from the default"] == DASH == rows["k = 8"]["Random play"]
    assert rows["k = 3"]["Difference from the default"] == f"\u2212{finals[0] - finals[1]:.1f}"
    assert (rows["1 hop"]["Seeds"], rows["1 hop"]["95 % interval"]) == ("1", DASH)  # one seed has no interval


def test_hops_with_messages_are_preferred_to_those_without(tmp_path: Path) -> None:
    for hops in (1, 2):
        ablate(tmp_path, f"rounds-{hops}-deaf", -400.0, hops=hops, messages=[])
        ablate(tmp_path, f"rounds-{hops}", -300.0, hops=hops)
    result = Analysis(load_runs(tmp_path)).ablations[3]
    assert [run.key.variant for setting in result.settings for run in setting.runs] == ["rounds-1", "rounds-2"]
    assert result.base == "rounds-2"
    assert "those of smaller runs (variants): (d) rounds-2." in ablations.caption(Analysis(load_runs(tmp_path)))


def test_ordered_settings_are_tested_by_a_trend(tmp_path: Path) -> None:
    """Neighbours 3, 4 and 8 with two seeds each: 10 more a neighbour, give or take one."""
    for seed in (0, 1):
        for neighbours in (3, 4, None):
            end = -500.0 + 10 * (neighbours or 8) + (1 if seed else -1)
            ablate(tmp_path, f"neighbours-{neighbours}", end, seed, neighbours=neighbours)
    graphs, _, found, hops = Analysis(load_runs(tmp_path)).ablations
    share = np.mean([(end + 900) / 10 for _, returns in rising(-900.0, -890.0, 4000, 1000)[-3:] for end in returns])
    assert set(found.trends) == {"sampled", "greedy"}
    assert found.trends["sampled"].slope == pytest.approx(10 * share)
    assert found.trends["sampled"].p < 1e-4
    assert found.adjusted == {name: trend.p for name, trend in found.trends.items()}, "the only trend of its policy"
    assert graphs.trends == hops.trends == {}
    caption = ablations.table(Analysis(load_runs(tmp_path))).caption
    assert "corrected by Holm for 1 trend of each policy" in caption
    assert "(c) Neighbours: sampled 8.74 per neighbour (8.18 to 9.30)" in caption


def test_random_play_is_shown_and_what_is_below_it_is_marked(tmp_path: Path) -> None:
    for seed in (0, 1):
        ablate(tmp_path, "default", -300.0, seed)
        ablate(tmp_path, "neighbours-3", -600.0, seed, neighbours=3)
    write_references(tmp_path, ABLATIONS[2].task, random=[-550.0, -450.0], assignment=[-100.0, -100.0])
    analysis = Analysis(load_runs(tmp_path))
    table = ablations.table(analysis)
    rows = {row[1][0]: dict(zip(table.header, (text for text, _ in row), strict=True)) for row in table.rows}
    assert rows["k = 3"]["Sampled"].endswith("\u2193")
    assert not rows["k = 8"]["Sampled"].endswith("\u2193")
    assert rows["k = 3"]["Random play"] == "\u2212500.0"
    with figure_style():
        figure = ablations.draw(analysis)
    assert figure is not None
    assert "random" in {text.get_text() for text in figure.axes[2].texts}


def test_captions_say_which_policy_counts_and_what_was_learned_from(tmp_path: Path) -> None:
    results = run_all(tmp_path)
    words = tasks_caption(Analysis(results), FIGURE_5)
    assert "sampled for those that learn a stochastic policy" in words
    assert "Learned from (a) team reward (IP, QMIX, MADDPG, MADDPGS, PIC, DGN, IQL)." in words


def test_evaluations_that_are_not_finite_are_not_averaged(tmp_path: Path) -> None:
    write_run(tmp_path, {"greedy": [(0, [-5.0]), (1000, [-3.0])]}, seed=0, total_steps=1000)
    write_run(tmp_path, {"greedy": [(0, [-7.0]), (1000, [float("nan")])]}, seed=1, total_steps=1000)
    results = load_runs(tmp_path)
    curve = learning_curve(results.runs, "greedy", run_evaluations(results))
    assert curve.seeds == 2
    assert list(curve.means.mean) == [-6.0, -3.0]
    assert list(curve.means.count) == [2, 1]
