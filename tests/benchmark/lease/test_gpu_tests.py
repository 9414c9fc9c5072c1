"""The output of pytest is parsed, complete or truncated; without it the lease continues."""

from __future__ import annotations

import sys

import pytest

from benchmark.lease import gpu_tests
from benchmark.lease.gpu_tests import NEEDED, GpuTests, command, run
from tests.benchmark.lease.conftest import Stage

SIDE_BY_SIDE = """created: 2/2 workers
2 workers [4 items]

[gw0] [ 25%] PASSED tests/benchmark/test_gpu.py::test_one[mpe/cooperative_navigation_15]
[gw1] [ 50%] FAILED tests/algorithms/test_gpu_slots.py::test_fused[ip]
[gw0] [ 75%] SKIPPED tests/benchmark/test_gpu.py::test_two
[gw1] [100%] ERROR tests/benchmark/test_gpu.py::test_three
=================================== FAILURES ===================================
FAILED tests/algorithms/test_gpu_slots.py::test_fused[ip] - AssertionError: no
"""
ALONE = """tests/benchmark/test_gpu.py::test_one PASSED                             [ 50%]
tests/benchmark/test_gpu.py::test_two """
PACKAGES = dict.fromkeys(NEEDED, "1")


def test_results_of_many_processes_are_counted() -> None:
    tests = GpuTests()
    tests.read(SIDE_BY_SIDE)
    assert (tests.passed, tests.skipped) == (1, 1)
    assert tests.failures == [
        "tests/algorithms/test_gpu_slots.py::test_fused[ip]",
        "tests/benchmark/test_gpu.py::test_three",
    ]
    assert tests.summary()[:2] == ["tests: 1 passed, 2 failed, 1 skipped", f"FAILED {tests.failures[0]}"]


def test_what_was_cut_off_counts_as_far_as_it_came() -> None:
    tests = GpuTests()
    tests.read(ALONE)
    assert (tests.passed, tests.failures, tests.skipped) == (1, [], 0)


@pytest.mark.parametrize("missing", NEEDED)
def test_without_a_package_there_are_no_tests(missing: str, stage: Stage) -> None:
    stage.facts["packages"] = PACKAGES | {missing: None}
    tests = run(stage, ["tests/benchmark/test_gpu.py"])
    assert tests.note == f"{missing} missing here"
    assert stage.said[-1].endswith(f"tests skipped: {missing} missing here")


def test_options_of_missing_plugins_are_left_out() -> None:
    """Those of the project's own configuration, too."""
    line, _ = command(PACKAGES, ["file.py"])
    assert "-n" not in line
    assert not any(argument.startswith("--timeout") for argument in line)
    assert "addopts=" in line
    line, _ = command(PACKAGES | {"xdist": "3", "pytest_timeout": "2"}, ["file.py"])
    assert "-n" in line
    assert f"--timeout={gpu_tests.TEST_SECONDS}" in line
    assert command(PACKAGES, [])[1].startswith("no file matches")


def test_failures_are_said_and_end_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    program = [sys.executable, "-c", f"print({SIDE_BY_SIDE!r}); raise SystemExit(1)"]
    monkeypatch.setattr(gpu_tests, "command", lambda packages, files: (program, ""))
    tests = run(stage, ["file.py"])
    assert len(tests.failures) == 2
    assert any("FAILED tests/algorithms/test_gpu_slots.py::test_fused[ip]" in line for line in stage.said)


def test_tests_that_hang_are_ended(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    program = [sys.executable, "-c", f"print({SIDE_BY_SIDE!r}, flush=True); import time; time.sleep(1000)"]
    monkeypatch.setattr(gpu_tests, "command", lambda packages, files: (program, ""))
    monkeypatch.setattr(gpu_tests, "MOST_SECONDS", 2.0)
    tests = run(stage, ["file.py"])
    assert tests.note == "ended after 2 s"
