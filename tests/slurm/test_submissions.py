"""What is believed of a scheduler's answers: whose jobs live, which were cancelled, what silence means."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.launchers import Jobs
from benchmark.requests import RunRequest
from benchmark.status import state_of
from results.keys import RunKey
from slurm.submissions import add_submission, cancel_jobs, explain_lost, jobs_of

REQUESTS = [RunRequest(RunKey("game/two_step_2", "iql", "test", seed), 100) for seed in range(4)]
KEYS = [request.key for request in REQUESTS]


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the output of squeue, from programs that replace SLURM's; scancel records its arguments."""
    programs = tmp_path / "programs"
    programs.mkdir()
    scripts = {
        "squeue": f"cat {tmp_path}/answer || exit 1",
        "scancel": f"echo $@ > {tmp_path}/cancelled",
        "sacct": 'echo "7_1|OUT_OF_MEMORY"',
    }
    for name, text in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    add_submission(tmp_path, "smoke", "sweep-a", "cpu", "0", {f"7_{n}": [key] for n, key in enumerate(KEYS)})
    return tmp_path / "answer"


def test_living_jobs_have_their_runs(answer: Path, tmp_path: Path) -> None:
    answer.write_text("7_0|PENDING|sweep-a\n7_1|FAILED|sweep-a\n7_2|COMPLETING|sweep-a\n7_3|RUNNING|somebody-else\n")
    jobs = jobs_of(tmp_path)
    assert jobs.now == {KEYS[0]: {"7_0": "queued"}, KEYS[2]: {"7_2": "running"}}
    assert jobs.silent == ""
    states = [state_of(tmp_path, run, jobs.now.get(run.key), jobs.last[run.key]) for run in REQUESTS]
    assert [run.state for run in states] == ["queued", "lost", "queued", "lost"]
    messages = [run.message for run in explain_lost(tmp_path, states)]
    assert "its job ended OUT_OF_MEMORY; see" in messages[1]
    assert "without a message" in messages[3]
    assert "7_3_0_log.err" in messages[3]


def test_silence_keeps_runs_from_being_queued_twice(answer: Path, tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path)
    assert "squeue" in jobs.silent
    assert set(jobs.now) == set(KEYS)
    with pytest.raises(UserError, match="nothing was cancelled"):
        cancel_jobs(tmp_path, set(KEYS))


def test_cancelled_jobs_are_not_lost_and_those_of_others_live_on(answer: Path, tmp_path: Path) -> None:
    answer.write_text("7_0|PENDING|sweep-a\n7_1|RUNNING|sweep-a\n7_3|RUNNING|somebody-else\n")
    assert cancel_jobs(tmp_path, {KEYS[0], KEYS[3]}) == ["7_0"]
    assert (tmp_path / "cancelled").read_text() == "7_0\n"
    answer.write_text("7_1|RUNNING|sweep-a\n")
    jobs = jobs_of(tmp_path)
    assert KEYS[0] not in jobs.last
    assert state_of(tmp_path, REQUESTS[0], None, jobs.last.get(KEYS[0], "")).state == "absent"


def test_number_that_is_given_out_again(answer: Path, tmp_path: Path) -> None:
    """After the scheduler lost its memory: the newer submission has it."""
    answer.write_text("7_0|RUNNING|sweep-b\n")
    add_submission(tmp_path, "smoke", "sweep-b", "cpu", "0", {"7_0": [KEYS[3]]})
    assert jobs_of(tmp_path).now == {KEYS[3]: {"7_0": "running"}}


def test_results_that_were_never_submitted_ask_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert jobs_of(tmp_path) == Jobs()
