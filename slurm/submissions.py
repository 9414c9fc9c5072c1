"""Records of the jobs submitted to a cluster, in the results folder: the runs and the code of each job.

Whether a run is finished is determined by its folder alone; the scheduler only reports which jobs still exist.
"""

from __future__ import annotations

import dataclasses
import datetime
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.launchers import Jobs
from benchmark.status import RunState
from results.files import read_json, readable_os_errors, write_json
from results.keys import RunKey
from results.layout import SWEEP
from slurm.queue import SchedulerSilentError, cancel, endings, living


def jobs_of(results: Path) -> Jobs:
    """The jobs of a results folder by run. The scheduler is asked only where jobs were submitted."""
    keys_of: dict[str, list[RunKey]] = {}
    names: dict[str, str] = {}
    cancelled: set[str] = set()
    for record in _submissions(results):
        cancelled |= set(record.get("cancelled", ()))
        for job, keys in record.get("jobs", {}).items():
            keys_of[job] = [RunKey(*key) for key in keys]
            names[job] = record["name"]
            cancelled.discard(job)  # a reused job number
    last = {key: job for job, keys in keys_of.items() for key in keys if job not in cancelled}
    if not keys_of:
        return Jobs()
    try:
        alive = living(names)
    except SchedulerSilentError as error:
        # Without an answer every job may be active; saying so keeps runs from being submitted twice.
        return Jobs({key: {job: "queued"} for key, job in last.items()}, last, str(error))
    now: dict[RunKey, dict[str, str]] = {}
    for job, state in alive.items():
        for key in keys_of[job]:
            now.setdefault(key, {})[job] = state
    return Jobs(now, last)


def cancel_jobs(results: Path, keys: Collection[RunKey]) -> list[str]:
    """Cancel the active jobs that have one of these runs; other runs of the same jobs end with them. Returns the
    numbers of the jobs.

    Raises UserError where the scheduler does not answer.
    """
    jobs = jobs_of(results)
    if jobs.silent:
        raise UserError(f"the scheduler does not answer, nothing was cancelled: {jobs.silent}")
    numbers = sorted({job for key in keys for job in jobs.now.get(key, {})})
    if numbers:
        try:
            cancel(numbers)
        except SchedulerSilentError as error:
            raise UserError(f"the scheduler does not answer, some jobs may not be cancelled: {error}") from error
        _write(results, {"cancelled": numbers})
    return numbers


def explain_lost(results: Path, states: Sequence[RunState]) -> list[RunState]:
    """The states; those of lost runs say how their jobs ended, where the scheduler's accounting knows."""
    lost = {state.job for state in states if state.state == "lost"}
    known = endings(lost) if lost else {}
    return [
        dataclasses.replace(
            state,
            message=f"its job ended {known.get(state.job, 'without a message')}; see {log_of(results, state.job)}",
        )
        if state.state == "lost"
        else state
        for state in states
    ]


def add_submission(
    results: Path, suite: str, name: str, profile: str, snapshot: str, owned: Mapping[str, Sequence[RunKey]]
) -> None:
    """Record the jobs of a submission by number, with their runs; `name` is their name in the scheduler. Raises
    UserError where the record cannot be written."""
    _write(results, {"suite": suite, "name": name, "profile": profile, "snapshot": snapshot, "jobs": dict(owned)})


def log_of(results: Path, job: str) -> Path:
    """The log of a job with one task; its runs have logs in their folders."""
    return results / SWEEP / "logs" / f"{job}_0_log.err"


def _submissions(results: Path) -> Iterator[dict[str, Any]]:
    """Records of submissions and cancellations, oldest first."""
    for file in sorted((results / SWEEP / "jobs").glob("*.json")):
        yield read_json(file)


def _write(results: Path, record: dict[str, Any]) -> None:
    now = datetime.datetime.now(datetime.UTC)
    file = results / SWEEP / "jobs" / f"{now:%Y%m%dT%H%M%S%f}-{secrets.token_hex(3)}.json"
    with readable_os_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, {"written": now.isoformat(timespec="seconds")} | record)
