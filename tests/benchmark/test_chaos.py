"""Sweeps that are disturbed end with the numbers of sweeps that are not."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from benchmark.requests import RunRequest
from results.keys import RunKey
from results.lock import holder_of
from tests.benchmark.conftest import SMALL
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
LOGS = ("metrics.jsonl", "evaluation.jsonl")
TASKS = ("mpe/cooperative_navigation_3", "game/two_step_2")


def tiny(tasks: Sequence[str] = TASKS, steps: int = 1500) -> list[RunRequest]:
    """Six runs of seconds for each task, which write a checkpoint after every block."""
    overrides = SMALL | {"training.evaluation_interval": 500}
    return [
        RunRequest(RunKey(task, name, "tiny", seed), steps, overrides)
        for task in tasks
        for name in ("ip", "iql", "qmix")
        for seed in (0, 1)
    ]


SUITE = """
import sys
from benchmark import sweep
from tests.benchmark.test_chaos import tiny

sweep.SUITES["smoke"] = tiny
sys.exit(sweep.report_errors(sweep.main))
"""
"""`benchmark.sweep` with them as its suite."""


def sweep(results: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SUITE, *arguments, "--suite", "smoke", "--results", str(results)]
    return subprocess.Popen(
        [*command, "--device", "cpu", "--workers", "2"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def logs(results: Path) -> dict[str, str]:
    """What the runs have written, by file."""
    return {str(file.relative_to(results)): file.read_text() for name in LOGS for file in sorted(results.rglob(name))}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    results = tmp_path_factory.mktemp("undisturbed")
    process = sweep(results)
    output = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0, output
    found = logs(results)
    assert len(found) == 24
    return found


@pytest.mark.slow
def test_workers_killed_at_random(undisturbed: dict[str, str], tmp_path: Path) -> None:
    """SIGKILL for twenty workers at random moments; the sweep starts them again and ends."""
    dice, killed = random.Random(0), 0
    process = sweep(tmp_path)
    while process.poll() is None and killed < 20:
        time.sleep(dice.uniform(0.2, 1.5))
        alive = [
            holder.pid for lock in tmp_path.rglob("seed_*/lock") if (holder := holder_of(lock.parent)) and holder.alive
        ]
        if alive:
            os.kill(dice.choice(alive), signal.SIGKILL)
            killed += 1
    output = process.communicate(timeout=PATIENCE)[0]
    for _ in range(10):  # runs that were killed three times where they stood have failed
        if process.returncode == 0:
            break
        process = sweep(tmp_path, "retry")
        output += process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0, output
    assert killed == 20, output
    assert logs(tmp_path) == undisturbed


@pytest.mark.slow
def test_two_sweeps_on_one_folder(undisturbed: dict[str, str], tmp_path: Path) -> None:
    """They share the runs between them, and no run has two writers."""
    both = [sweep(tmp_path) for _ in range(2)]
    outputs = [process.communicate(timeout=PATIENCE)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert logs(tmp_path) == undisturbed
    finished = [line for output in outputs for line in output.splitlines() if line.startswith("finished")]
    assert len(finished) == len(set(finished)) == 12, outputs


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.slow
def test_full_disk(undisturbed: dict[str, str], small_disk: Path) -> None:
    """Finished runs remain; the others report the problem, and continue once there is space."""
    results, ballast = small_disk / "results", small_disk / "ballast"
    first = sweep(results, "--tasks", "game/two_step_2")
    assert first.wait(timeout=PATIENCE) == 0
    before = logs(results)
    free = shutil.disk_usage(small_disk).free
    ballast.write_bytes(b"\0" * (free - 200_000))
    process = sweep(results)
    output = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode != 0
    failed = [line for line in output.splitlines() if line.startswith("FAILED")]
    assert failed, output
    assert all("the disk is full" in line and "free some space" in line for line in failed), output
    assert {name: text for name, text in logs(results).items() if name in before} == before
    ballast.unlink()
    process = sweep(results, "retry")
    output = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0, output
    assert logs(results) == undisturbed
