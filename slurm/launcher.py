"""Runs as jobs of a SLURM cluster, through submitit."""

from __future__ import annotations

import os
import secrets
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.plan import Plan
from envs.data_folder import VARIABLE, data_folder
from slurm.profiles import MAX_ARRAY, Profile
from slurm.queue import cancel, require_slurm
from slurm.records import FOLDER, record_jobs
from slurm.snapshot import take_snapshot


def submit(plans: Sequence[Plan], results: Path, suite: str, profile: Profile, device: str) -> list[str]:
    """Queue runs, as arrays of jobs with `profile.runs_per_job` runs each; the numbers of the jobs.

    Raises UserError where SLURM is not here or refuses the jobs, or where it cannot be written down which they are:
    such jobs are cancelled.
    """
    require_slurm()
    import submitit

    from slurm.job import SweepJob

    results = results.resolve()
    if "%" in str(results):
        raise UserError(
            f"--results {results}: SLURM puts numbers of jobs in place of percent signs in paths; choose a folder "
            "without them"
        )
    store = results / FOLDER
    snapshot = take_snapshot(store / "snapshots")
    name = f"sweep-{suite}-{secrets.token_hex(3)}"
    executor = submitit.AutoExecutor(
        folder=store / "logs", cluster="slurm", slurm_max_num_timeout=profile.max_requeues, slurm_python=sys.executable
    )
    parameters = profile.submitit_parameters()
    setup = [*parameters.pop("slurm_setup", []), f"export PYTHONPATH={shlex.quote(str(snapshot))}"]
    if VARIABLE in os.environ:
        setup.append(f"export {VARIABLE}={shlex.quote(str(data_folder().resolve()))}")
    further = {**parameters.pop("slurm_additional_parameters", {}), "chdir": str(snapshot)}
    executor.update_parameters(name=name, slurm_setup=setup, slurm_additional_parameters=further, **parameters)
    groups = [tuple(item.cell for item in part) for part in _parts(plans, profile.runs_per_job)]
    numbers: list[str] = []
    for part in _parts(groups, MAX_ARRAY):
        try:
            jobs = executor.map_array(SweepJob(results, snapshot, device), part)
        except submitit.core.utils.FailedJobError as error:
            words = str(error).strip().splitlines()[-1].removeprefix("sbatch: error: ")
            raise UserError(f"SLURM refuses the jobs: {words}; mend the profile, or --override it") from error
        owned = {str(job.job_id): cells for job, cells in zip(jobs, part, strict=True)}
        try:
            record_jobs(results, suite, name, profile.name, snapshot.name, owned)
        except UserError:
            cancel(list(owned))
            raise
        numbers += owned
    return numbers


def _parts(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[begin : begin + size] for begin in range(0, len(items), size)]
