"""Policies elsewhere: normalised score by hand, paired falls, and what is drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from figures.analysis import Analysis
from figures.analysis.transfer import fall
from figures.report import transfer
from figures.style import figure_style
from results.load import load_results
from tests.figures.synthetic import TASK, write_run

REFERENCES = {"random": [-400.0, -400.0], "stay": [-300.0, -300.0], "assignment": [-200.0, -200.0]}


def trial(task: str, returns: list[float], references: dict[str, Any] = REFERENCES, **more: Any) -> dict[str, Any]:
    agents = int(task.rpartition("_")[2])
    row = {"task": task, "agents": agents, "policy": "sampled", "seed": 7, "steps": 25, "returns": returns}
    return row | {"references": references} | more


@pytest.fixture
def analysis(tmp_path: Path) -> Analysis:
    """Two seeds of IP, tried at 3 and 9 agents and with messages lost; one of IQL without reference policies."""
    for seed, gain in ((0, 0.0), (1, 20.0)):
        folder = write_run(tmp_path, {"sampled": [(4000, [-250.0])], "greedy": [(4000, [-250.0])]}, seed=seed)
        rows = [
            trial(TASK, [-300.0 + gain, -300.0 + gain]),
            trial("mpe/cooperative_navigation_9", [-260.0 + gain, -240.0 + gain]),
            trial(TASK, [-310.0 + gain] * 2, drop=0.5),
            trial(TASK, [-320.0 + gain / 2] * 2, delay=1),
        ]
        (folder / "transfer.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = write_run(tmp_path, {"greedy": [(4000, [-250.0])]}, algorithm="iql")
    (folder / "transfer.jsonl").write_text(json.dumps(trial(TASK, [-1.0, -1.0], references={})) + "\n")
    return Analysis(load_results(tmp_path))


def test_normalised_scores_by_hand(analysis: Analysis) -> None:
    scores = {
        (score.algorithm, score.trial.agents, score.trial.drop, score.trial.delay): score
        for score in analysis.trial_scores
    }
    there, elsewhere = scores["ip", 3, 0.0, 0], scores["ip", 9, 0.0, 0]
    assert there.normalised_seeds == {0: pytest.approx(50.0), 1: pytest.approx(60.0)}
    assert elsewhere.normalised is not None
    assert (elsewhere.normalised.mean, elsewhere.normalised.count) == (pytest.approx(80.0), 2)
    assert elsewhere.normalised_references == {"random": 0.0, "stay": 50.0, "assignment": 100.0}
    assert scores["iql", 3, 0.0, 0].normalised is None
    late = fall(there, scores["ip", 3, 0.0, 1])
    assert late is not None
    assert (late.mean, late.std) == (pytest.approx(12.5), pytest.approx(5 / 2**0.5))
    lost = fall(there, scores["ip", 3, 0.5, 0])
    assert lost is not None
    assert (lost.mean, lost.std) == (pytest.approx(5.0), pytest.approx(0.0, abs=1e-9)), "each seed against itself"


def test_panels_and_tables(analysis: Analysis) -> None:
    (sizes,), (losses,) = analysis.size_panels, analysis.loss_panels
    assert [place for place, _ in sizes.curves[0].points] == [3, 9]
    assert [place for place, _ in losses.curves[0].points] == [0, 50]
    assert sizes.reference_curves()["stay"] == [(3, 50.0), (9, 50.0)]
    with figure_style():
        drawn = [transfer.draw_sizes(analysis), transfer.draw_losses(analysis)]
    assert all(figure is not None for figure in drawn)
    axes = drawn[0].axes[0]  # type: ignore[union-attr]
    assert any(text.get_text() == "stay" for text in axes.texts)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["3", "9"]
    table = transfer.sizes_table(analysis)
    assert [row[2][0] for row in table.rows if row[1][0] == "IP"] == [
        "Cooperative navigation, N = 3",
        "Cooperative navigation, N = 9",
    ]
    losses_table = transfer.losses_table(analysis)
    assert [row[4][0] for row in losses_table.rows] == ["all delivered", "delayed by 1 step", "50 % lost"]
    assert losses_table.rows[2][-2][0] == "5.0"
    assert len({len(row) for row in losses_table.rows} | {len(losses_table.header)}) == 1
    assert "sampled for those" in transfer.sizes_caption(analysis)
    assert "keeps its score exactly" in transfer.losses_caption(analysis)


def test_tables_of_the_page(analysis: Analysis) -> None:
    """One row for each policy; scores by hand; no row where no reference policy bounds the scale."""
    sizes = transfer.sizes_page(analysis).splitlines()
    assert sizes[0] == "Trained on Cooperative navigation, N = 3, episodes of 25 steps:"
    assert sizes[2] == "| Algorithm | Policy | Seeds | N = 3 | N = 9 |"
    assert sizes[4] == "| IP (default) | sampled | 2 | 55 ± 7 | 80 ± 7 |"
    assert not any("IQL" in line for line in sizes)
    losses = transfer.losses_page(analysis).splitlines()
    assert losses[2] == "| Algorithm | Policy | Seeds | all delivered | delayed by 1 step | 50 % lost |"
    assert losses[4] == "| IP (default) | sampled | 2 | 55 ± 7 | 42 ± 4 | 50 ± 7 |"


def test_nothing_tried_draws_nothing(tmp_path: Path) -> None:
    write_run(tmp_path, {"greedy": [(4000, [-250.0])]})
    analysis = Analysis(load_results(tmp_path))
    assert transfer.draw_sizes(analysis) is None
    assert transfer.draw_losses(analysis) is None
    assert not transfer.sizes_table(analysis).rows


def test_trials_of_other_lengths_are_distinguished(tmp_path: Path) -> None:
    """Episodes of another length have rows and panels of their own, and titles that say so."""
    folder = write_run(tmp_path, {"greedy": [(4000, [-250.0])]}, algorithm="iql")
    rows = [
        trial(task, [-250.0, -250.0], steps=steps)
        for steps in (25, 90)
        for task in (TASK, "mpe/cooperative_navigation_9")
    ]
    (folder / "transfer.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    analysis = Analysis(load_results(tmp_path))
    with figure_style():
        figure = transfer.draw_sizes(analysis)
    assert figure is not None
    assert [axes.get_title(loc="left").rpartition(", ")[2] for axes in figure.axes] == ["25 steps", "90 steps"]
    table = transfer.sizes_table(analysis)
    column = table.header.index("Steps")
    assert sorted(row[column][0] for row in table.rows) == ["25", "25", "90", "90"]
