"""The scaling law of N: which runs are shown, and slopes by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from figures.analysis import Analysis
from figures.analysis.selection import shown_variants
from figures.report.scaling import caption, draw, table
from figures.style import figure_style
from results.runs import load_runs
from tests.figures.synthetic import both, write_references, write_run


def write_normalised(
    root: Path,
    agents: int,
    normalised_scores: list[float],
    algorithm: str = "iql",
    variant: str = "default",
    reward: str = "shared",
    steps: int = 4000,
    **environment: str,
) -> None:
    """Runs with these normalised scores in %, one a seed."""
    task = f"mpe/cooperative_navigation_{agents}"
    if not (root / task / "references.json").exists():
        write_references(root, task, random=[-1.0, 1.0], assignment=[99.0, 101.0])
    for seed, normalised in enumerate(normalised_scores):
        folder = write_run(
            root, both([(steps, [normalised])]), task=task, algorithm=algorithm, variant=variant, seed=seed
        )
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(
            json.dumps(config | {"environment": environment | {"reward": reward}, "total_steps": steps})
        )


def test_slopes_are_for_a_doubling_of_n(tmp_path: Path) -> None:
    """70, 60 and 50 % with 3, 6 and 12 agents, two seeds one point to either side: ten points lost a doubling."""
    for agents, normalised in ((3, 70.0), (6, 60.0), (12, 50.0)):
        write_normalised(tmp_path, agents, [normalised - 1, normalised + 1])
    (panel,) = Analysis(load_runs(tmp_path)).scaling
    assert (panel.series, panel.reward) == ("cooperative navigation", "shared")
    (curve,) = panel.curves
    assert [(point.agents, point.normalised.mean) for point in curve.points] == [(3, 70.0), (6, 60.0), (12, 50.0)]
    assert curve.trend is not None
    assert curve.trend.slope == pytest.approx(-10.0)
    # six residuals of size 1, four degrees of freedom; places -1, -1, 0, 0, 1, 1: sum of squares 4
    assert curve.trend.half_width == pytest.approx(2.7764 * math.sqrt(6 / 4 / 4), rel=1e-4)
    assert curve.adjusted_p == curve.trend.p, "the only trend"
    row = table(Analysis(load_runs(tmp_path))).rows[0]
    assert [text for text, _ in row[:4]] == ["cooperative navigation", "team reward", "IQL", "\u221210.0"]
    assert row[-1][0].startswith("3: 70 ± 1, 4,000; 6: 60 ± 1")


def test_rewards_are_kept_apart_and_the_fullest_variant_is_shown(tmp_path: Path) -> None:
    """Among those with the default actions."""
    for agents in (3, 6):
        write_normalised(tmp_path, agents, [10.0], variant="one")
        for name in ("ip", "iql"):
            write_normalised(tmp_path, agents, [20.0], algorithm=name, variant="two")
        write_normalised(tmp_path, agents, [30.0], variant="difference", reward="difference")
        for name in ("ip", "iql", "dgn"):
            write_normalised(tmp_path, agents, [40.0], algorithm=name, variant="forces", actions="continuous")
    panels = Analysis(load_runs(tmp_path)).scaling
    assert [(panel.reward, [curve.algorithm for curve in panel.curves]) for panel in panels] == [
        ("difference", ["iql"]),
        ("shared", ["ip", "iql"]),
    ]
    assert {point.variant for point in panels[1].curves[0].points} == {"two"}
    with figure_style():
        figure = draw(Analysis(load_runs(tmp_path)))
    assert figure is not None
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["Cooperative navigation, difference rewards", "Cooperative navigation, team reward"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["3", "6"]
    assert "4,000 environment steps long" in caption(Analysis(load_runs(tmp_path)))


def test_of_equally_full_variants_the_longest_is_shown(tmp_path: Path) -> None:
    """Arms of a short comparison of settings do not stand for an algorithm that was also run for longer."""
    for agents in (3, 6):
        write_normalised(tmp_path, agents, [10.0], variant="arm")
        write_normalised(tmp_path, agents, [20.0], variant="long", steps=8000)
    analysis = Analysis(load_runs(tmp_path))
    assert {point.variant for point in analysis.scaling[0].curves[0].points} == {"long"}
    assert set(shown_variants(analysis.groups).values()) == {"long"}


def test_one_number_of_agents_is_no_law(tmp_path: Path) -> None:
    write_normalised(tmp_path, 3, [10.0, 20.0])
    analysis = Analysis(load_runs(tmp_path))
    assert analysis.scaling == []
    assert draw(analysis) is None
