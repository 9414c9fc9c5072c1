"""GPU-hours follow from counts by a stated model, and give way to what was measured."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmark import sweep
from benchmark.config import resolve
from benchmark.errors import UserError
from benchmark.profiling import gpu_timings
from benchmark.profiling.counting import Count
from benchmark.profiling.device_model import AFTER, BEFORE, ENGINE_SECONDS, MODELS, round_seconds, run_seconds
from tests.results.test_packs import EXAMPLE

H100 = MODELS["h100"]
TASK = "mpe/cooperative_navigation_15"


def config(task: str = TASK, algorithm: str = "iql") -> Any:
    return resolve(task, algorithm, 0, 100_000)


def test_a_kernel_takes_the_longest_of_its_limits() -> None:
    """By hand: 4e12 FLOPs at 40e12 a second; 6e9 bytes at 3e12; 11e6 bytes in the cache at 5.5e12; almost nothing."""
    for operation, seconds in (
        ((4 * 10**12, 10, 1), 0.1),
        ((10, 6 * 10**9, 1), 2e-3),
        ((10, 11 * 10**6, 1), 2e-6),
        ((10, 10, 1), 1.6e-6),
    ):
        assert H100.device_seconds(Count([operation])) == pytest.approx(seconds + 0.7e-6)
    assert H100.device_seconds(Count([(4 * 10**12, 10, 1)]), tf32=True) == pytest.approx(0.016 + 0.7e-6)


def test_without_capture_the_host_may_be_slower() -> None:
    count = Count([(10, 10, 1)] * 10, views=20)
    assert H100.seconds(count, captured=True, tf32=False) == pytest.approx(23e-6)
    assert H100.seconds(count, captured=False, tf32=False) == pytest.approx(10 * 5e-6 + 20 * 1.5e-6)


@pytest.mark.parametrize("algorithm", ["ip", "dgn", "iql"])
def test_after_is_faster_than_before(algorithm: str) -> None:
    for task in (TASK, "magent/jungle_20", "cityflow/synthetic_49"):
        assert run_seconds(config(task, algorithm), H100, AFTER) < run_seconds(config(task, algorithm), H100, BEFORE)


def test_traffic_waits_for_its_engine() -> None:
    """On one core before, spread over its copies after."""
    city = config("cityflow/synthetic_49")
    before, after = (round_seconds(city, H100, setup, 4) for setup in (BEFORE, AFTER))
    engine = 49 * 4 * ENGINE_SECONDS
    assert before > engine
    assert before - after > 0.7 * engine


def estimate(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    line = ["sweep", "plan", "--suite", "all", "--estimate", "--results", "/nonexistent", *arguments]
    monkeypatch.setattr(sys, "argv", line)
    assert sweep.main() == 0


def hours(text: str) -> dict[str, tuple[float, float]]:
    found = re.findall(r"^(\S+ \S+) default +\d runs +([\d.]+) -> +([\d.]+) h", text, re.MULTILINE)
    return {name: (float(before), float(after)) for name, before, after in found}


def test_the_plan_shows_hours_by_cell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of five seeds each, with the constants of the model, and the total."""
    monkeypatch.setattr(gpu_timings, "read_timings", list)
    estimate(monkeypatch, "--device-model", "h100", "--tasks", TASK, "--algorithms", "iql", "ip")
    text = capsys.readouterr().out
    assert "by a model, not a measurement, of h100: fp32 40 and TF32 250 TFLOP/s, 3 TB/s" in text
    found = hours(text)
    assert set(found) == {f"{TASK} ip", f"{TASK} iql"}
    whole = resolve(TASK, "iql", 0, 1_500_000)
    expected = [5 * run_seconds(whole, H100, setup) / 3600 for setup in (BEFORE, AFTER)]
    assert found[f"{TASK} iql"] == pytest.approx(expected, abs=0.006)
    total = [sum(parts) for parts in zip(*found.values(), strict=True)]
    assert f"total: {total[0]:.1f} GPU-hours before, {total[1]:.1f} after" in text
    assert "measured: 0 of 4 numbers" in text


def test_what_was_measured_takes_the_place_of_the_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The example: 15,000 rounds of 1 ms, 120,000 gradient steps of 0.25 ms, 151 evaluations of 60 ms, 1,500 logs of
    2 ms: 57.06 s a run."""
    (tmp_path / "timings.json").write_text(json.dumps(EXAMPLE))
    timings = gpu_timings.read_timings(tmp_path / "timings.json")
    monkeypatch.setattr(gpu_timings, "read_timings", lambda: timings)
    estimate(monkeypatch, "--device-model", "h100", "--tasks", TASK, "--algorithms", "iql", "qmix")
    text = capsys.readouterr().out
    assert hours(text)[f"{TASK} iql"][1] == pytest.approx(5 * 57.06 / 3600, abs=0.006)
    assert "after measured on NVIDIA H100 80GB HBM3 (graph)" in text
    assert "before measured" not in text
    assert "measured: 1 of 4 numbers" in text


def test_a_device_model_is_for_estimates() -> None:
    with pytest.raises(UserError, match="--device-model needs --estimate"):
        sweep.parse_arguments(["plan", "--suite", "all", "--device-model", "h100"])
    with pytest.raises(UserError, match="invalid choice: 'abacus'"):
        sweep.parse_arguments(["plan", "--suite", "all", "--estimate", "--device-model", "abacus"])
    for name in MODELS:
        assert (
            sweep.parse_arguments(["plan", "--suite", "all", "--estimate", "--device-model", name]).device_model == name
        )
