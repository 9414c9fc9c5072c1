"""The figure of Jungle's dilemma draws the scores of the evaluations, and nothing else."""

from __future__ import annotations

from pathlib import Path

from matplotlib.colors import to_hex

from figures.all_figures import draw_all
from figures.analysis import Analysis
from figures.report.dilemma import PANELS, dilemma_curves, draw_dilemma
from figures.style import KNOWN_STYLES, figure_style
from results.runs import load_runs
from tests.figures.synthetic import TASK, both, write_run

JUNGLE = "magent/jungle_20"


def scores(attacks: float) -> dict[str, float]:
    return {"return_per_agent": 5.0, "attacks_per_agent": attacks, "food_per_agent": 7.0, "misses_per_agent": 0.0}


def write(root: Path, algorithm: str, seed: int, attacks: float) -> None:
    curves = {policy: [(step, [100.0, 120.0]) for step in (0, 1000, 2000)] for policy in ("greedy", "sampled")}
    write_run(root, curves, task=JUNGLE, algorithm=algorithm, seed=seed, variant="individual", scores=scores(attacks))


def test_panels_show_means_over_seeds(tmp_path: Path) -> None:
    write(tmp_path, "iql", 0, attacks=2.0)
    write(tmp_path, "iql", 1, attacks=4.0)
    write(tmp_path, "ip", 0, attacks=1.0)
    with figure_style():
        figure = draw_dilemma(Analysis(load_runs(tmp_path)), JUNGLE, "individual")
    assert figure is not None
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == list(PANELS.values())
    attacks = figure.axes[titles.index(PANELS["attacks_per_agent"])]
    values = {to_hex(line.get_color()): list(line.get_ydata()) for line in attacks.lines if len(line.get_ydata()) == 3}
    assert values == {KNOWN_STYLES["iql"].colour: [3.0] * 3, KNOWN_STYLES["ip"].colour: [1.0] * 3}


def test_only_jungle_has_it(tmp_path: Path) -> None:
    write_run(tmp_path, both([(0, [1.0]), (1000, [2.0])]))
    analysis = Analysis(load_runs(tmp_path))
    assert dilemma_curves(analysis, TASK, "default") == {}
    assert draw_dilemma(analysis, TASK, "default") is None


def test_it_is_drawn_with_all_else(tmp_path: Path) -> None:
    write(tmp_path / "runs", "iql", 0, attacks=2.0)
    written = list(draw_all(Analysis(load_runs(tmp_path / "runs")), tmp_path / "output"))
    assert f"wrote {tmp_path / 'output' / 'dilemma-magent-jungle_20-individual.png'}" in written
    report = (tmp_path / "output/report.html").read_text()
    assert "The dilemma: Jungle, N = 20 (individual)" in report
