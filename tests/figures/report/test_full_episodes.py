"""The table of longer episodes: means over seeds of both policies, references, nothing where there is nothing."""

from __future__ import annotations

import json
from pathlib import Path

from figures.analysis import Analysis
from figures.report.full_episodes import full_episode_table
from results.publish import publish, read_published
from results.runs import load_runs
from tests.figures.synthetic import write_run, write_study

TASK = "cityflow/synthetic_9"


def write_hour(folder: Path, greedy: list[float], sampled: list[float]) -> None:
    rows = [
        {"step": 4000, "policy": policy, "returns": returns, "scores": {}}
        for policy, returns in (("greedy", greedy), ("sampled", sampled))
    ]
    (folder / "full_evaluation.json").write_text(json.dumps({"settings": {}, "evaluations": rows}))


def test_table(tmp_path: Path) -> None:
    """Seeds -250 and -350 give -300 ± 70.7."""
    for seed, value in ((0, -250.0), (1, -350.0)):
        folder = write_run(tmp_path, {"greedy": [(4000, [-1.0])]}, task=TASK, algorithm="iql", seed=seed)
        write_hour(folder, [value - 10, value + 10], [value - 5])
    reference = {"policies": {"fixed_time": {"returns": [-568.87]}}}
    record = {"evaluation_seed": 0, "episodes": 1, "policies": {"fixed_time": {"returns": [-309.0]}}}
    (tmp_path / TASK / "references.json").write_text(json.dumps(record | {"full_evaluation": reference}))
    table = full_episode_table(Analysis(load_runs(tmp_path)))
    assert table is not None
    assert table.header == ("Task", "IQL", "fixed time")
    assert [text for text, _ in table.rows[0][1:]] == ["\u2212300.0 ± 70.7\n(\u2212305.0 ± 70.7)", "\u2212568.9"]
    publish(load_runs(tmp_path), tmp_path / "published")
    assert full_episode_table(Analysis(read_published(tmp_path / "published"))) == table


def test_a_stochastic_policy_comes_first_where_it_is_learned(tmp_path: Path) -> None:
    folder = write_run(tmp_path, {"greedy": [(4000, [-1.0])]}, task=TASK)
    write_hour(folder, [-250.0], [-300.0])
    table = full_episode_table(Analysis(load_runs(tmp_path)))
    assert table is not None
    assert table.rows[0][1] == ("\u2212300.0\n(\u2212250.0)", -300.0)


def test_nothing_to_show(tmp_path: Path) -> None:
    write_study(tmp_path)
    assert full_episode_table(Analysis(load_runs(tmp_path))) is None
