"""Sweeps on a real SLURM, disturbed in the ways that clusters know, end with the numbers of an undisturbed one."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmark.suites import SUITES
from benchmark.sweep import main, report_errors
from results.publish import read_published
from slurm.submissions import jobs_of
from tests.benchmark.test_chaos import SUITE, TASKS, logs, tiny
from tests.patience import PATIENCE
from tests.slurm.conftest import ROOT, start_cluster

PROFILE = """
partition = "gpu"
gpus = 0
cpus = 1
memory_gib = 1
minutes = 5
signal_seconds = 30
array_parallelism = 4
max_requeues = 3
"""


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    file = tmp_path / "test.toml"
    file.write_text(PROFILE)
    return file


class Done(NamedTuple):
    """What became of a command."""

    returncode: int
    stdout: str
    stderr: str


GAMES = ("game/two_step_2", "game/climbing_2")
"""Tasks whose jobs compile nothing."""


def sweep(results: Path, *arguments: str | Path, tasks: Sequence[str] = GAMES, steps: int = 1500) -> Done:
    """The command, in this process, on four runs of the suite of short runs, or on others where the arguments say so.
    The jobs are processes of their own."""
    command = ["sweep", *map(str, arguments), "--suite", "smoke", "--results", str(results), "--device", "cpu"]
    command += ["--seeds", "0"] + ([] if "--algorithms" in command else ["--algorithms", "ip", "iql"])
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setitem(SUITES, "smoke", lambda: tiny(tasks, steps))
        patch.setattr(sys, "argv", command)
        patch.setenv("OMP_NUM_THREADS", "1")
        status = report_errors(main)
    return Done(status, out.getvalue(), err.getvalue())


def wait_until(results: Path, done: Callable[[str], bool], *only: str, **suite: Any) -> str:
    """The status, once it is as wanted; fails with the last one."""
    deadline = time.monotonic() + PATIENCE
    while not done(text := sweep(results, "status", *only, **suite).stdout):
        assert time.monotonic() < deadline, text
        time.sleep(1)
    return text


def running_jobs(results: Path, at_least: int) -> list[str]:
    """Numbers of the jobs at work, once there are so many."""
    deadline = time.monotonic() + PATIENCE
    while True:
        running = [job for jobs in jobs_of(results).now.values() for job, state in jobs.items() if state == "running"]
        if len(running) >= at_least:
            return sorted(running)
        assert time.monotonic() < deadline, running
        time.sleep(0.5)


def ended(text: str) -> bool:
    return not any(f" {state}" in text.splitlines()[0] for state in ("queued", "running"))


@pytest.fixture(scope="module")
def local(cluster_turn: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same runs, made here and left alone."""
    results = tmp_path_factory.mktemp("local")
    done = sweep(results, "--workers", "2", tasks=[*TASKS, *GAMES[1:]])
    assert done.returncode == 0, done.stdout + done.stderr
    return results


def assert_undisturbed(results: Path, local: Path, tasks: Sequence[str] = GAMES) -> None:
    """The four runs have written what they wrote here."""
    expected = {file: text for file, text in logs(local).items() if file.startswith(tuple(tasks))}
    assert len(expected) == 8
    assert logs(results) == expected


def assert_collected_equal(results: Path, local: Path, folder: Path) -> None:
    """The published forms of both hold the same evaluations and metrics of learning."""
    sets = []
    for number, source in enumerate((results, local)):
        done = sweep(source, "collect", "--output", folder / str(number))
        assert "collected 4 of 4 runs, 4 of them finished" in done.stdout, done.stdout + done.stderr
        sets.append(read_published(folder / str(number)))
    for run, other in zip(sets[0].runs, sets[1].runs, strict=True):
        assert run.key == other.key
        assert run.evaluations == other.evaluations
    assert sets[0].references == sets[1].references


def test_array_of_jobs(cluster: None, profile: Path, local: Path, tmp_path: Path) -> None:
    """Four runs, two jobs: queued, made, collected; a second submission, as it is typed, finds nothing to do."""
    results = tmp_path / "results"
    done = sweep(results, "submit", "--profile", profile, "--override", "runs_per_job=2", tasks=TASKS)
    assert "4 runs queued in 2 jobs" in done.stdout, done.stdout + done.stderr
    command = [sys.executable, "-c", SUITE, "submit", "--profile", profile, "--suite", "smoke", "--results", results]
    again = subprocess.run(
        [*command, "--seeds", "0", "--algorithms", "ip", "iql", "--device", "cpu"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert "0 runs queued in 0 jobs" in again.stdout, again.stdout + again.stderr
    text = wait_until(results, ended, tasks=TASKS)
    assert "4 runs: 4 finished" in text
    assert_undisturbed(results, local, TASKS)
    collected = sweep(results, "collect", "--output", tmp_path / "collected", tasks=TASKS)
    assert "collected 4 of 4 runs, 4 of them finished" in collected.stdout, collected.stderr


def test_cancelled_requeued_and_raising_jobs(cluster: None, profile: Path, local: Path, tmp_path: Path) -> None:
    """A run that raises, a job cancelled, one put back into the queue: each is reported, and retry finishes the
    suite."""
    results = tmp_path / "results"
    bad = results / "game/two_step_2/iql/tiny/seed_0/metrics.jsonl"
    bad.mkdir(parents=True)  # a folder where a file must be written
    sweep(results, "submit", "--profile", profile)
    numbers = running_jobs(results, at_least=2)
    subprocess.run(["scancel", numbers[0]], check=True)
    subprocess.run(["scontrol", "requeue", numbers[1]], check=True)
    text = wait_until(results, ended)
    assert "failed: game/two_step_2 iql tiny seed 0" in text
    bad.rmdir()
    sweep(results, "retry", "--launcher", "slurm", "--profile", profile)
    text = wait_until(results, ended)
    assert "4 runs: 4 finished" in text
    assert_undisturbed(results, local)
    assert_collected_equal(results, local, tmp_path / "sets")


def test_controller_that_dies(cluster: None, profile: Path, local: Path, tmp_path: Path) -> None:
    """slurmctld killed in the middle: status reports that it does not respond, and all continues once it is back."""
    results = tmp_path / "results"
    sweep(results, "submit", "--profile", profile)
    wait_until(results, lambda text: " running" in text.splitlines()[0])
    subprocess.run(["pkill", "-KILL", "slurmctld"], check=True)
    text = sweep(results, "status").stdout
    assert "the scheduler does not answer" in text
    done = sweep(results, "submit", "--profile", profile)
    assert "0 runs queued" in done.stdout, done.stdout + done.stderr
    start_cluster()
    text = wait_until(results, ended)
    sweep(results, "retry", "--launcher", "slurm", "--profile", profile)
    text = wait_until(results, ended)
    assert "4 runs: 4 finished" in text
    assert_undisturbed(results, local)


def test_without_accounting(bare_cluster: None, profile: Path, local: Path, tmp_path: Path) -> None:
    """No sacct: nothing hangs, and a cancelled job is distinguished from a running one."""
    results = tmp_path / "results"
    sweep(results, "submit", "--profile", profile, "--override", "array_parallelism=1")
    subprocess.run(["scancel", *running_jobs(results, at_least=1)], check=True)
    done = sweep(results, "cancel", "--tasks", "game/climbing_2")
    assert "2 jobs cancelled" in done.stdout, done.stdout + done.stderr
    text = wait_until(results, ended)
    assert "4 runs: 1 finished, 1 lost, 2 absent" in text
    assert "its job ended without a message" in text
    sweep(results, "retry", "--launcher", "slurm", "--profile", profile)
    text = wait_until(results, ended)
    assert "4 runs: 4 finished" in text
    assert_undisturbed(results, local)


@pytest.mark.slow
def test_time_limit(cluster: None, profile: Path, tmp_path: Path) -> None:
    """A run longer than its job's limit: signalled in time, saved, requeued, and the same in the end."""
    only = ("--tasks", "game/two_step_2", "--algorithms", "ip")
    done = sweep(tmp_path / "local", *only, steps=40_000)
    assert done.returncode == 0, done.stdout + done.stderr
    limit = ("minutes=1", "signal_seconds=40", "max_requeues=20")
    results = tmp_path / "results"
    done = sweep(results, "submit", "--profile", profile, *only, "--override", *limit, steps=40_000)
    assert "1 run queued in 1 job" in done.stdout, done.stdout + done.stderr
    text = wait_until(results, ended, *only, steps=40_000)
    assert "1 run: 1 finished" in text
    starts = json.loads(next(results.rglob("machine.json")).read_text())["starts"]
    assert len(starts) >= 2, "it was never stopped"
    assert starts[1]["from_step"] > 0
    assert logs(results) == logs(tmp_path / "local")


@pytest.mark.slow
def test_smoke_suite_as_an_array(cluster: None, profile: Path, tmp_path: Path) -> None:
    """The whole suite, several runs a job."""
    command = [sys.executable, "-m", "benchmark.sweep", "--suite", "smoke", "--results", str(tmp_path)]
    command += ["--launcher", "slurm", "--profile", str(profile), "--override", "runs_per_job=4", "memory_gib=1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"collected (\d+) of \1 runs, \1 of them finished", done.stdout), done.stdout
