"""Runs of Jungle: every algorithm trains, the engine changes no number, the dilemma shows."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import algorithms
from benchmark import train
from benchmark.config import RunConfig, resolve
from benchmark.errors import UserError
from benchmark.references import play
from benchmark.suites import jungle
from benchmark.training import Training
from tests.benchmark.conftest import SMALL

TASK = "magent/jungle_20"
LOGS = ("metrics.jsonl", "evaluation.jsonl")


def config(algorithm: str, steps: int, **overrides: Any) -> RunConfig:
    return resolve(TASK, algorithm, 0, steps, SMALL | overrides, "test")


@pytest.mark.parametrize("algorithm", algorithms.ALGORITHMS)
def test_every_algorithm_trains(algorithm: str, tmp_path: Path) -> None:
    path = train.run(config(algorithm, 400), tmp_path, quiet=True)
    rows = [json.loads(line) for line in (path / "evaluation.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 0, 300, 300, 400, 400]
    for row in rows:
        assert len(row["returns"]) == 3
        scores = row["scores"]
        parts = 0.99 * scores["food_per_agent"] - 2.01 * scores["attacks_per_agent"] - 0.01 * scores["misses_per_agent"]
        assert scores["return_per_agent"] == pytest.approx(parts, abs=1e-4)
        assert sum(row["returns"]) / 3 == pytest.approx(20 * scores["return_per_agent"], abs=1e-3)


def test_engines_make_the_same_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the command line, with the original engine and with the two of ours."""
    pytest.importorskip("magent2", reason="compares with magent2")
    settings = [f"--set={key}={value}" for key, value in SMALL.items()]
    common = ["train", "--task", TASK, "--algorithm", "iql", "--total-steps", "600", "--device", "cpu", "--quiet"]
    logs = []
    for backend in ("magent2", "numba", "torch"):
        results = tmp_path / backend
        chosen = ["--results", str(results), "--set", f"environment.backend={backend}"]
        monkeypatch.setattr(sys, "argv", [*common, *settings, *chosen])
        assert train.main() == 0
        (path,) = (file.parent for file in results.rglob("config.json"))
        assert json.loads((path / "config.json").read_text())["environment"]["backend"] == backend
        logs.append([(path / name).read_text() for name in LOGS])
    assert logs[0] == logs[1] == logs[2]


def test_unknown_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["train", "--task", TASK, "--algorithm", "iql", "--set", "environment.backend=magent"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(UserError, match="expected one of auto, numba, torch, magent2"):
        train.main()


@pytest.mark.slow
def test_dilemma() -> None:
    """Independent learners first find that blows pay, which ruins the team, and then that food pays better: attacks
    rise and fall, and the return ends above 250, the return of agents that eat two thirds of the time."""
    cell = next(cell for cell in jungle() if (cell.key.algorithm, cell.key.variant) == ("iql", "individual"))
    training = Training(resolve(cell.key.task, "iql", 0, 60_000, cell.overrides, "test"))
    returns, attacks = [], []
    while training.environment_step < 60_000:
        training.advance()
        if training.environment_step % 5_000 == 0:
            record = training.evaluate()[0]
            returns.append(sum(record["returns"]) / len(record["returns"]))
            attacks.append(20 * record["scores"]["attacks_per_agent"])
    assert min(returns) < -200
    assert max(attacks) > 150
    assert attacks[-1] < 20
    assert returns[-1] > 250
    assert sum(play(TASK, "random", 100, 0)) / 100 == pytest.approx(-9.5, abs=3)
