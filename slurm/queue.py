"""States of jobs from the scheduler.

squeue works without accounting; sacct is used only for the reason why a job ended, and may be unavailable.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence

from benchmark.errors import UserError

ASK_SECONDS = 30
"""Seconds to wait for an answer."""
MOST_JOBS = 500
"""Largest number of jobs in one query, since command lines are limited."""
WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD")
AT_WORK = ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING")


class SchedulerSilentError(RuntimeError):
    """Raised where the scheduler does not answer; its jobs may nevertheless be active."""


def require_slurm() -> None:
    """Raises UserError where SLURM's commands are not found."""
    missing = [name for name in ("sbatch", "srun", "squeue", "scancel") if shutil.which(name) is None]
    if missing:
        raise UserError(
            f"--launcher slurm needs SLURM, and there is no {' and no '.join(missing)} here: run this on a login node, "
            "or choose --launcher local"
        )


def living(jobs: Mapping[str, str]) -> dict[str, str]:
    """The waiting and running jobs among those given by number (12, or 12_3 of an array) and name: `queued` or
    `running`.

    A job with another name does not belong to the sweep, since schedulers may reuse numbers after a reset. Raises
    SchedulerSilentError where the scheduler does not answer.
    """
    found: dict[str, str] = {}
    for part in _parts(sorted({job.partition("_")[0] for job in jobs}, key=int)):
        for line in _ask(
            ["squeue", "--noheader", "--array", "--states=all", f"--jobs={','.join(part)}", "--format=%i|%T|%j"]
        ):
            job, state, name = line.split("|", 2)
            if jobs.get(job) != name:
                continue
            if state in WAITING:
                found[job] = "queued"
            elif state in AT_WORK:
                found[job] = "running"
    return found


def endings(jobs: Iterable[str]) -> dict[str, str]:
    """Final states of jobs as reported by the scheduler's accounting (TIMEOUT, OUT_OF_MEMORY, NODE_FAIL, CANCELLED by
    0, ...); empty without accounting."""
    found: dict[str, str] = {}
    if shutil.which("sacct") is None:
        return found
    for part in _parts(sorted(jobs)):
        command = ["sacct", "--noheader", "--allocations", "--parsable2", "--format=JobID,State"]
        try:
            lines = _ask([*command, f"--jobs={','.join(part)}"])
        except SchedulerSilentError:
            return found
        found |= dict(line.split("|", 1) for line in lines if "|" in line)
    return found


def cancel(jobs: Sequence[str]) -> None:
    """Cancel jobs; jobs that have ended already are ignored. Raises SchedulerSilentError."""
    for part in _parts(jobs):
        _ask(["scancel", *part])


def _parts(items: Sequence[str]) -> list[Sequence[str]]:
    return [items[begin : begin + MOST_JOBS] for begin in range(0, len(items), MOST_JOBS)]


def _ask(command: list[str]) -> list[str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SchedulerSilentError(f"{command[0]} does not answer: {error}") from error
    # The scheduler forgets ended jobs: a query for these alone fails, which is not an error here.
    if done.returncode and "Invalid job id" not in done.stderr:
        raise SchedulerSilentError(f"{command[0]}: {done.stderr.strip() or f'exit status {done.returncode}'}")
    return done.stdout.splitlines()
