"""Reference policies play every kind of task, in float64 where there is a choice."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import envs
from benchmark import references
from benchmark.errors import report_errors
from benchmark.references import play

NAVIGATION = "mpe/cooperative_navigation_3"


def test_particles_are_played_in_float64_unless_told_otherwise() -> None:
    expected = {}
    for dtype in ("float64", "float32"):
        environment = envs.make(NAVIGATION, 3, dtype=dtype)
        environment.reset(5)
        reference = envs.reference_policies(NAVIGATION)["nearest"](environment)
        for _ in range(environment.spec.episode_length):
            environment.step(reference.act(torch.Generator()))
        expected[dtype] = [round(value, 4) for value in environment.scores()["return"].tolist()]
    assert play(NAVIGATION, "nearest", 3, 5) == expected["float64"]
    assert play(NAVIGATION, "nearest", 3, 5, dtype="float32") == expected["float32"]
    assert expected["float64"] == pytest.approx(expected["float32"], rel=1e-3)
    assert play(NAVIGATION, "random", 3, 5) != play(NAVIGATION, "random", 3, 5, actions="continuous")


@pytest.mark.parametrize("task", ["game/climbing_2", "game/ring_8"])
def test_games_are_played_too(task: str) -> None:
    returns = {name: sum(play(task, name, 200, 0)) for name in envs.reference_policies(task)}
    assert returns["optimal"] > returns["random"]


@pytest.mark.parametrize(
    "given", [("--episodes", "0"), ("--episodes", "-1"), ("--seed", "-1"), ("--seed", "1e40"), ("--seed", "1.5")]
)
def test_wrong_numbers_are_one_line(
    given: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["references", "--tasks", NAVIGATION, "--results", str(tmp_path), *given])
    assert report_errors(references.main) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: argument {given[0]}: expected a whole number")
    assert printed.count("\n") == 1
    assert not any(tmp_path.iterdir())
