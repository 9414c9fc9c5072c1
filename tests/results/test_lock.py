"""One writer for each run folder: on one machine by a lock, across machines by a heartbeat."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark.errors import InUseError, UserError
from benchmark.launchers.pool import Pool, start
from benchmark.plan import plan_runs
from benchmark.requests import RunRequest
from results import lock
from results.keys import RunKey
from results.layout import run_folder
from results.lock import LOCK, STALE_SECONDS, RunLock, holder_of
from tests.benchmark.conftest import SMALL
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from pathlib import Path
from results.lock import RunLock
RunLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(3600)
"""


def hold_elsewhere(folder: Path) -> subprocess.Popen[bytes]:
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def write_holder(folder: Path, host: str, age: float, token: str = "0") -> None:
    """What a holder on another machine leaves, as a file system without locks shows it."""
    (folder / LOCK).write_text(json.dumps({"host": host, "pid": 1, "job": "12_3", "token": token}))
    then = time.time() - age
    os.utime(folder / LOCK, (then, then))


def test_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    process = hold_elsewhere(tmp_path)
    try:
        holder = holder_of(tmp_path)
        assert holder is not None
        assert (holder.host, holder.pid, holder.alive) == (platform.node(), process.pid, True)
        with pytest.raises(UserError, match=rf"in use by another process \(process {process.pid} on "):
            RunLock(tmp_path)
    finally:
        process.kill()
        process.wait()
    gone = holder_of(tmp_path)
    assert gone is not None
    assert not gone.alive
    RunLock(tmp_path).release()
    assert holder_of(tmp_path) is None, "a lock that was given back has no holder"


def test_living_holder_on_another_machine_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(lock.time, "time", lambda: now)
    write_holder(tmp_path, "elsewhere", age=STALE_SECONDS / 2)
    with pytest.raises(UserError, match=r"process 1 on elsewhere, job 12_3, last sign of life 60 s ago"):
        RunLock(tmp_path)


def test_silent_holder_on_another_machine_is_taken_for_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.01)
    monkeypatch.setattr(lock, "WATCH_SECONDS", 0.1)
    write_holder(tmp_path, "elsewhere", age=2 * STALE_SECONDS)
    held = RunLock(tmp_path)
    holder = holder_of(tmp_path)
    assert holder is not None
    assert holder.host == platform.node()
    held.release()


def test_job_that_was_moved_to_another_machine_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds its own number in the lock, and need not wait until that is stale; another job would have to."""
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.01)
    monkeypatch.setattr(lock, "WATCH_SECONDS", 0.1)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "4")
    write_holder(tmp_path, "elsewhere", age=1)
    with pytest.raises(UserError, match="job 12_3"):
        RunLock(tmp_path)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    held = RunLock(tmp_path)
    holder = holder_of(tmp_path)
    assert holder is not None
    assert (holder.host, holder.job) == (platform.node(), "12_3")
    held.release()


def test_process_number_that_was_given_out_again_is_no_holder(tmp_path: Path) -> None:
    """After a restart of the machine another process may have it; the time stamp is not renewed."""
    record = {"host": platform.node(), "pid": os.getpid(), "job": "", "token": "0"}
    (tmp_path / LOCK).write_text(json.dumps(record))
    for age, alive in ((1.0, True), (2 * STALE_SECONDS, False)):
        then = time.time() - age
        os.utime(tmp_path / LOCK, (then, then))
        holder = holder_of(tmp_path)
        assert holder is not None
        assert holder.alive == alive
    RunLock(tmp_path).release()


def test_holder_whose_clock_is_wrong_is_not_taken_for_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its heartbeat continues while it is watched, however old the time stamps seem."""
    monkeypatch.setattr(lock, "WATCH_SECONDS", 5.0)
    write_holder(tmp_path, "elsewhere", age=2 * STALE_SECONDS)
    ages = iter((1.5 * STALE_SECONDS, 1.4 * STALE_SECONDS))
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: write_holder(tmp_path, "elsewhere", age=next(ages)))
    with pytest.raises(UserError, match="on elsewhere, job 12_3"):
        RunLock(tmp_path)


def test_two_that_take_over_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one whose name is in the file in the end has it."""
    monkeypatch.setattr(lock, "WATCH_SECONDS", 0.0)
    write_holder(tmp_path, "elsewhere", age=2 * STALE_SECONDS)
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: write_holder(tmp_path, "faster", age=0, token="theirs"))
    with pytest.raises(UserError, match="on faster"):
        RunLock(tmp_path)


def test_signs_of_life_and_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 0.02)
    held = RunLock(tmp_path)
    os.utime(tmp_path / LOCK, (0, 0))
    deadline = time.monotonic() + PATIENCE
    while (tmp_path / LOCK).stat().st_mtime < 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (tmp_path / LOCK).stat().st_mtime > 1
    assert not held.lost
    write_holder(tmp_path, "elsewhere", age=0, token="theirs")
    while not held.lost and time.monotonic() < deadline:
        time.sleep(0.01)
    assert held.lost
    held.release()
    left = holder_of(tmp_path)
    assert left is not None
    assert left.host == "elsewhere", "what somebody else wrote is not cleared"


def test_broken_lock_file_is_no_holder(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("{")
    assert holder_of(tmp_path) is None
    RunLock(tmp_path).release()


def test_a_run_that_another_sweep_has_is_no_failure(tmp_path: Path) -> None:
    """Both processes write to one output.log, so its last line may be of the one that has the lock; and the pool may
    have looked before that one had it."""
    request = RunRequest(RunKey("game/two_step_2", "iql", "tiny", 0), 200, dict(SMALL))
    item = plan_runs([request], tmp_path, "cpu")[0]
    folder = run_folder(tmp_path, request.key)
    folder.mkdir(parents=True)
    process = hold_elsewhere(folder)
    try:
        assert item.config is not None
        refused = start(request, item.config, "cpu", tmp_path)
        assert refused.wait() == InUseError.exit_status
        log = folder / "output.log"
        assert "in use by another process" in log.read_text()
        log.write_text(log.read_text() + "step 0: sampled return 2.7\n")
        pool = Pool(tmp_path, 1, ["cpu"], [])
        pool.running[refused] = (item, "cpu")
        pool._collect()
    finally:
        process.kill()
        process.wait()
    assert pool.elsewhere == [item]
    assert not pool.failed


@pytest.mark.parametrize("ahead", [1.5 * STALE_SECONDS, 86_400.0])
def test_time_stamp_ahead_of_the_clock_is_watched_not_believed(
    ahead: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that was a day ahead does not cause a day of waiting; a holder whose clock is ahead is still detected."""
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.01)
    monkeypatch.setattr(lock, "WATCH_SECONDS", 0.1)
    write_holder(tmp_path, "elsewhere", age=-ahead)
    RunLock(tmp_path).release()
    write_holder(tmp_path, "elsewhere", age=-ahead)
    monkeypatch.setattr(lock, "WATCH_SECONDS", 5.0)
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: write_holder(tmp_path, "elsewhere", age=-ahead - 1))
    with pytest.raises(UserError, match=r"on elsewhere, job 12_3, last sign of life \d+ s ahead of this clock"):
        RunLock(tmp_path)
