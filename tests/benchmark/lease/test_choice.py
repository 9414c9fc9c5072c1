"""Runs use the fastest mode that passed its checks, and the mode of earlier runs."""

from __future__ import annotations

from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.lease.choice import choose_mode, doubt
from benchmark.lease.gpu_tests import PASSED_BEFORE, GpuTests
from benchmark.modes import MODES
from tests.benchmark.lease.conftest import Stage


def timing(mode: str, loss: float = 1.0, algorithm: str = "ip") -> dict[str, Any]:
    about = {"what": "training", "task": "mpe/cooperative_navigation_15", "algorithm": algorithm, "mode": mode}
    return about | {"losses": {"loss/q": loss}}


@pytest.fixture
def site(stage: Stage) -> Stage:
    stage.facts["modes"] = dict.fromkeys(MODES, "") | {"blocks+tf32": "no such setting"}
    return stage


ALL = [timing(mode) for mode in MODES]


def test_the_fastest_is_taken(site: Stage) -> None:
    assert choose_mode(site, None, [], [], GpuTests(9), ALL) == "fused"


@pytest.mark.parametrize(
    ("tests", "timings", "reason"),
    [
        (GpuTests(9, failures=["tests/algorithms/test_gpu_slots.py::test_fused[ip]"]), ALL, "1 of its tests failed"),
        (GpuTests(9), ALL[:-1], "it has no timings"),
        (GpuTests(9), [*ALL[:-1], timing("fused", 1.2)], "loss/q of ip is 1.2, but 1 in mode graph"),
        (GpuTests(9), [*ALL[:-1], timing("fused", float("nan"))], "loss/q of ip is nan"),
    ],
)
def test_what_is_doubted_is_not_taken(site: Stage, tests: GpuTests, timings: list[Any], reason: str) -> None:
    assert reason in doubt("fused", tests, timings)
    assert choose_mode(site, None, [], [], tests, timings) == "graph+tf32", "blocks+tf32 cannot be had"
    assert any(f"mode fused is not used: {reason}" in line for line in site.said)


def test_without_tests_captured_float32_is_the_most(site: Stage) -> None:
    assert choose_mode(site, None, [], [], GpuTests(), ALL) == "graph"
    assert choose_mode(site, None, [], [], GpuTests(note=PASSED_BEFORE), ALL) == "fused"


def test_rounding_is_no_reason(site: Stage) -> None:
    assert choose_mode(site, None, [], [], GpuTests(9), [*ALL[:-1], timing("fused", 1.04)]) == "fused"


def test_without_anything_the_plain_way_is_left(site: Stage) -> None:
    assert choose_mode(site, None, [], [], GpuTests(9), []) == "eager"


def test_runs_are_made_as_those_before(site: Stage) -> None:
    training = {"acceleration": "cuda_graph", "tf32": True}
    published = [{"config": {"training": training}, "status": {"state": "finished"}}]
    assert choose_mode(site, None, published, [], GpuTests(9), ALL) == "graph+tf32"
    assert choose_mode(site, None, [], ["graph"], GpuTests(9), ALL) == "graph"
    assert choose_mode(site, "eager", published, ["graph"], GpuTests(9), ALL) == "eager"


def test_a_mode_that_cannot_be_had_is_refused(site: Stage) -> None:
    with pytest.raises(UserError, match=r"mode blocks\+tf32 is not available here: no such setting"):
        choose_mode(site, "blocks+tf32", [], [], GpuTests(9), ALL)
    with pytest.raises(UserError, match="is not available here"):
        choose_mode(site, None, [], ["blocks+tf32"], GpuTests(9), ALL)
