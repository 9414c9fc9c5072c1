"""The interface of every launcher, and the behaviour of the debug launcher."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmark import sweep
from benchmark.errors import UserError
from benchmark.launchers import Jobs, jobs_of_all
from benchmark.requests import RunRequest
from benchmark.suites import SUITES
from results.folder import status_of
from results.keys import RunKey
from results.layout import run_folder
from results.publish import read_published
from tests.benchmark.conftest import SMALL

REQUESTS = [RunRequest(RunKey("game/two_step_2", "iql", "tiny", seed), 200, dict(SMALL)) for seed in (0, 1)]
KEYS = [request.key for request in REQUESTS]


def call(monkeypatch: pytest.MonkeyPatch, results: Path, *arguments: str) -> int:
    monkeypatch.setitem(SUITES, "smoke", lambda: REQUESTS)
    command = ["sweep", *arguments, "--suite", "smoke", "--device", "cpu", "--results", str(results)]
    monkeypatch.setattr(sys, "argv", command)
    return sweep.main()


def test_debugging_makes_all_in_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs, reference policies and the set, as the local launcher makes them, with output to the terminal."""
    assert call(monkeypatch, tmp_path, "--launcher", "debug") == 0
    assert "2 finished now, 0 had finished before, 0 failed" in capsys.readouterr().out
    assert [status_of(run_folder(tmp_path, key))["state"] for key in KEYS] == ["finished"] * 2
    assert not list(tmp_path.rglob("output.log"))
    found = read_published(tmp_path / "collected")
    assert [run.key for run in found.runs] == KEYS
    assert set(found.references) == {"game/two_step_2"}


def test_errors_of_a_run_are_not_caught_by_debugging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.runs.Training", lambda config: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        call(monkeypatch, tmp_path, "--launcher", "debug")
    assert status_of(run_folder(tmp_path, KEYS[0]))["message"].startswith("ZeroDivisionError")


def test_submit_needs_jobs_that_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="runs of --launcher local end with the command; choose slurm"):
        call(monkeypatch, tmp_path, "submit", "--launcher", "local")


def test_jobs_of_several_launchers_are_joined() -> None:
    """A run may be in the hands of two; each that is silent is named."""

    class Told:
        def __init__(self, jobs: Jobs) -> None:
            self.told = jobs

        def jobs(self) -> Jobs:
            return self.told

    one = Told(Jobs({KEYS[0]: {"7": "queued"}}, {KEYS[0]: "7"}, "one is silent"))
    two = Told(Jobs({KEYS[0]: {"8": "running"}, KEYS[1]: {"9": "queued"}}, {KEYS[1]: "9"}))
    joined = jobs_of_all([one, two])  # type: ignore[list-item]
    assert joined.now == {KEYS[0]: {"7": "queued", "8": "running"}, KEYS[1]: {"9": "queued"}}
    assert joined.last == {KEYS[0]: "7", KEYS[1]: "9"}
    assert joined.silent == "one is silent"
