"""What the status of a suite says of run folders in every state."""

from __future__ import annotations

import builtins
import io
import json
import os
import platform
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmark.requests import RunRequest
from benchmark.status import RunState, duration, report, state_of, summary
from benchmark.suites import paper
from results.keys import RunKey
from results.layout import run_folder

REQUEST = RunRequest(RunKey("mpe/cooperative_navigation_3", "iql", "test", 0), 1000)


def write(results: Path, request: RunRequest = REQUEST, alive: bool | None = None, **status: Any) -> None:
    """A run folder with this status, whose holder lives, is dead, or never was."""
    folder = run_folder(results, request.key)
    folder.mkdir(parents=True, exist_ok=True)
    if status:
        record = {"step": 400, "total_steps": 1000, "wall_seconds": 20.0, "message": "", "scores": {}} | status
        (folder / "status.json").write_text(json.dumps(record))
        (folder / "config.json").write_text(json.dumps({**request.key._asdict(), "total_steps": 1000}))
    if alive is not None:
        holder = {"host": "elsewhere", "pid": 1, "job": "7", "token": "0"}
        (folder / "lock").write_text(json.dumps(holder))
        then = time.time() + (100 if alive else -1e5)  # ahead, so that it stays alive on a slow machine
        os.utime(folder / "lock", (then, then))


@pytest.mark.parametrize(
    ("status", "alive", "jobs", "last_job", "expected"),
    [
        ({}, None, None, "", "absent"),
        ({}, None, {"5": "queued"}, "5", "queued"),
        ({}, None, None, "5", "lost"),
        ({}, True, None, "", "running"),
        ({"state": "running"}, True, None, "", "running"),
        ({"state": "running"}, False, None, "", "stopped"),
        ({"state": "running"}, None, None, "", "stopped"),
        ({"state": "running"}, False, {"5": "queued"}, "5", "queued"),
        ({"state": "running"}, False, None, "5", "lost"),
        ({"state": "failed", "message": "bad"}, None, None, "5", "failed"),
        ({"state": "failed", "message": "bad"}, True, {"5": "running"}, "5", "running"),
        ({"state": "failed", "message": "bad"}, None, {"5": "queued"}, "5", "queued"),
        ({"state": "finished", "step": 1000}, None, None, "5", "finished"),
    ],
)
def test_states(
    status: dict[str, Any],
    alive: bool | None,
    jobs: dict[str, str] | None,
    last_job: str,
    expected: str,
    tmp_path: Path,
) -> None:
    if status or alive is not None:
        write(tmp_path, alive=alive, **status)
    found = state_of(tmp_path, REQUEST, jobs, last_job)
    assert found.state == expected
    assert found.message == ("bad" if expected == "failed" else "")


def test_report_says_how_far_and_why(tmp_path: Path) -> None:
    requests = [RunRequest(RunKey(REQUEST.key.task, "iql", "test", seed), 1000) for seed in range(3)]
    write(tmp_path, requests[0], alive=True, state="running", scores={"greedy": -312.5})
    write(tmp_path, requests[1], state="failed", message="UserError: the disk is full")
    states = [state_of(tmp_path, request) for request in requests]
    assert states[0].steps_per_second == 20.0
    assert states[0].seconds_left == 30.0
    text = report(states, "test")
    assert text.startswith("suite test: 3 runs: 1 running, 1 failed, 1 absent")
    (row,) = [line for line in text.splitlines() if line.startswith("mpe/cooperative_navigation_3 iql test seed 0")]
    assert [part.strip() for part in row.split("  ") if part.strip()][1:] == [
        *("40%", "20", "30 s", "greedy -312.5", "elsewhere job 7")
    ]
    assert "failed: mpe/cooperative_navigation_3 iql test seed 1 at step 400: UserError: the disk is full" in text
    assert ">X." in text


def test_damaged_status_is_said_not_raised(tmp_path: Path) -> None:
    write(tmp_path, state="running")
    (run_folder(tmp_path, REQUEST.key) / "status.json").write_text('{"state": "run')
    status = state_of(tmp_path, REQUEST)
    assert status.state == "damaged"
    assert "corrupt file" in status.message


def test_own_machine_is_asked_for_the_process(tmp_path: Path) -> None:
    write(tmp_path, alive=True, state="running")
    for pid, expected in ((os.getpid(), "running"), (2**22 + 1, "stopped")):
        holder = {"host": platform.node(), "pid": pid, "job": "", "token": "0"}
        (run_folder(tmp_path, REQUEST.key) / "lock").write_text(json.dumps(holder))
        assert state_of(tmp_path, REQUEST).state == expected


def test_files_of_455_folders_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = paper()
    for number, request in enumerate(requests):
        write(tmp_path, request, alive=bool(number % 2), state="running")
    read: Counter[str] = Counter()
    really_open = io.open

    def counted(file: Any, *arguments: Any, **options: Any) -> Any:
        read[str(file)] += 1
        return really_open(file, *arguments, **options)

    for module in (io, builtins):
        monkeypatch.setattr(module, "open", counted)
    states = [state_of(tmp_path, request) for request in requests]
    text = report(states, "all")
    monkeypatch.undo()
    assert set(read.values()) == {1}
    assert len(read) == 3 * 455
    assert summary(states) in text
    assert "455 runs: 227 running, 228 stopped" in text


def test_duration_in_words() -> None:
    assert [duration(seconds) for seconds in (None, 5, 600, 9000)] == ["-", "5 s", "10 min", "2.5 h"]
    assert RunState(REQUEST, "absent").seconds_left is None


@pytest.mark.parametrize("damage", ["lost", "empty", "binary", "not its own"])
def test_damaged_settings_are_no_finished_run(damage: str, tmp_path: Path) -> None:
    write(tmp_path, state="finished", step=1000)
    file = run_folder(tmp_path, REQUEST.key) / "config.json"
    if damage == "lost":
        file.unlink()
    else:
        file.write_bytes({"empty": b"", "binary": bytes(range(128, 256)), "not its own": b"{}"}[damage])
    status = state_of(tmp_path, REQUEST)
    assert status.state == "damaged"
    text = report([status], "test")
    assert f"damaged: mpe/cooperative_navigation_3 iql test seed 0: {status.message}" in text
    assert "delete" in status.message
    assert "retry" not in text, "it would fail again"


def test_finished_run_that_no_score_counts_is_named(tmp_path: Path) -> None:
    write(tmp_path, state="finished", step=1000, scores={"greedy": float("nan"), "sampled": 1.0})
    text = report([state_of(tmp_path, REQUEST)], "test")
    assert "1 finished" in text
    words = "finished, but not counted: mpe/cooperative_navigation_3 iql test seed 0: greedy returns of the last"
    assert words in text


@pytest.mark.parametrize("content", [bytes(range(256)), b"[]", b'{"host": "a", "pid": "x", "job": "", "token": ""}'])
def test_lock_of_random_bytes_is_nobodys(content: bytes, tmp_path: Path) -> None:
    write(tmp_path, state="running")
    (run_folder(tmp_path, REQUEST.key) / "lock").write_bytes(content)
    assert state_of(tmp_path, REQUEST).state == "stopped"
