"""Modes are settings that this version has, or are said to be missing."""

from __future__ import annotations

import pytest

from benchmark import modes
from benchmark.config import resolve
from benchmark.modes import MODES, PLAIN, in_mode, mode_of, obstacle, settings_of

TASK = "mpe/cooperative_navigation_15"


def test_a_setting_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODES, "odd", {"training.tf64": True, "training.acceleration": "none"})
    assert obstacle("odd", "cpu") == "this version has no setting training.tf64"


def test_a_value_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODES, "odd", {"training.acceleration": "magic"})
    assert obstacle("odd", "cpu").startswith("acceleration = 'magic': expected one of none, ")


def test_captured_graphs_need_a_device() -> None:
    assert obstacle(PLAIN, "cpu") == ""
    assert "needs a CUDA device, but the run is on cpu" in obstacle("graph", "cpu")
    assert obstacle("graph", "cuda") == ""
    assert obstacle("fused", "cpu") != ""


@pytest.mark.parametrize("mode", MODES)
def test_modes_that_can_be_had_resolve_and_are_recognised(mode: str) -> None:
    if obstacle(mode, "cuda"):
        pytest.skip(obstacle(mode, "cuda"))
    config = resolve(TASK, "iql", 0, 1000, settings_of(mode, TASK), "test", "cuda")
    assert config.training.num_envs == (4 if mode == PLAIN else 100)
    assert mode_of(config.identity()["training"]) == mode


def test_runs_of_no_mode() -> None:
    assert mode_of({"acceleration": "compile"}) is None
    assert mode_of({"acceleration": "cuda_graph", "tf32": True}) == "graph+tf32"
    assert mode_of({"acceleration": "cuda_graph", "tf32": False}) == "graph"
    assert mode_of({}) == PLAIN


def test_one_mode_takes_the_place_of_another() -> None:
    before = {"training.acceleration": "auto", "training.num_envs": 7, "training.batch_size": 5, "algorithm.hidden": 3}
    kept = {"training.batch_size": 5, "algorithm.hidden": 3}
    assert in_mode(before, PLAIN, TASK) == kept
    assert in_mode(before, "graph", TASK) == kept | {"training.acceleration": "cuda_graph", "training.num_envs": 100}
    assert in_mode(before, "graph", "cityflow/hangzhou_16") == kept | {"training.acceleration": "cuda_graph"}
    assert next(iter(modes.MODES)) == PLAIN
