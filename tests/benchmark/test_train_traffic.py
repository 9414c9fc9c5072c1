"""Runs of traffic tasks: what they write, exact resume, the whole hour."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark import train
from benchmark.config import RunConfig, resolve
from benchmark.errors import UserError
from benchmark.progress import Progress
from benchmark.references import write_references
from benchmark.runs import RunWriter
from benchmark.tasks import training_defaults
from benchmark.training import Training
from results.folder import RunFolder
from results.publish import publish, read_published
from results.runs import load_runs
from tests.benchmark.conftest import SMALL

TASK = "cityflow/synthetic_4"
EPISODE = {"environment.episode_seconds": 200, "training.evaluation_episodes": 2, "training.evaluation_interval": 400}
LOGS = ("metrics.jsonl", "evaluation.jsonl", "interpretation.jsonl")


def config(algorithm: str = "iql", **overrides: Any) -> RunConfig:
    """Six hundred decisions of four small cities."""
    return resolve(TASK, algorithm, 0, 600, SMALL | EPISODE | overrides, "test")


def lines(path: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return train.run(config(), tmp_path_factory.mktemp("finished"), quiet=True)


def test_account_of_movements_and_actions(finished: Path) -> None:
    """Every decision of training is counted once; greens share them out."""
    rows = lines(finished, "interpretation.jsonl")
    assert [row["step"] for row in rows] == [200, 400, 600]
    for row in rows:
        assert row["actions"]["all"] == 200 * 4
        assert sum(count for name, count in row["actions"].items() if name != "all") == 200 * 4
        assert sum(row["greens"].values()) == pytest.approx(200 * 4)
        assert all(value == 0 for name, value in row["greens"].items() if name.endswith("right"))
    assert sum(rows[-1]["present"].values()) > 0


def test_whole_hour(finished: Path) -> None:
    """Both policies are evaluated on the hour, whose travel times are longer than those of the short episode."""
    record = json.loads((finished / "full_evaluation.json").read_text())
    assert record["settings"] == {"episode_seconds": 3600}
    assert [row["policy"] for row in record["evaluations"]] == ["greedy", "sampled"]
    for row in record["evaluations"]:
        assert row["step"] == 600
        assert len(row["returns"]) == 2
        assert max(row["returns"]) < -200


def test_published_set_keeps_them(finished: Path, tmp_path: Path) -> None:
    results = load_runs(finished.parents[3])
    publish(results, tmp_path)
    again = read_published(tmp_path)
    assert again.runs[0].full_evaluations == results.runs[0].full_evaluations != ()
    assert again.runs[0].metrics == results.runs[0].metrics
    counted = [row for row in again.runs[0].metrics if "interpretation/actions/all" in row.values]
    assert sum(row.values["interpretation/actions/all"] for row in counted) == 600 * 4


def test_killed_run_ends_like_an_uninterrupted_one(finished: Path, tmp_path: Path) -> None:
    """Stopped after three blocks, in the middle of an episode, and resumed: the same files."""
    folder = RunFolder(tmp_path, config().record())
    writer = RunWriter(Training(config()), folder, Progress("", 600, quiet=True))
    writer.resume()
    for _ in range(3):
        before = writer.training.environment_step
        writer.training.advance()
        writer.after_block(before)
    assert writer.training.replay.time not in (0, 20)
    folder.close()
    assert (folder.path / "checkpoint.pt").exists()
    path = train.run(config(), tmp_path, quiet=True)
    for name in LOGS:
        assert (path / name).read_text() == (finished / name).read_text(), name
    assert json.loads((path / "full_evaluation.json").read_text()) == json.loads(
        (finished / "full_evaluation.json").read_text()
    )


@pytest.mark.parametrize("algorithm", ["ip", "qmix", "maddpg", "maddpgs", "pic", "dgn"])
def test_every_algorithm_runs(algorithm: str) -> None:
    training = Training(config(algorithm))
    while training.updates < 2:
        training.advance()
    assert training.take_metrics()["update"] >= 2


def test_defaults_of_tasks() -> None:
    """A few episodes are enough for an evaluation; large cities have a compact replay; settings given win."""
    assert resolve(TASK, "iql", 0, 100).training.evaluation_episodes == 10
    assert resolve(TASK, "iql", 0, 100, {"training.evaluation_episodes": 3}).training.evaluation_episodes == 3
    assert resolve("cityflow/synthetic_225", "iql", 0, 100).training.observation_dtype == "float16"
    assert resolve("cityflow/synthetic_100", "iql", 0, 100).training.observation_dtype == "float32"
    assert training_defaults("mpe/cooperative_navigation_3") == {}


def test_engine_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The former option gives a hint."""
    monkeypatch.setattr(sys, "argv", ["train", "--task", TASK, "--algorithm", "iql", "--engine", "cityflow"])
    with pytest.raises(UserError, match=r"use --set environment\.engine=cityflow"):
        train.main()


def test_references_of_the_whole_hour(tmp_path: Path) -> None:
    record = write_references(TASK, tmp_path, 1, 0)
    hour = {name: policy["returns"][0] for name, policy in record["full_evaluation"]["policies"].items()}
    short = {name: policy["returns"][0] for name, policy in record["policies"].items()}
    assert hour.keys() == short.keys() == {"random", "fixed_time", "sotl", "max_pressure"}
    assert hour["max_pressure"] > hour["fixed_time"] > hour["random"]
    assert all(hour[name] < short[name] for name in hour)
