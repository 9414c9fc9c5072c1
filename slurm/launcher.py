"""Runs as jobs of a SLURM cluster, through submitit."""

from __future__ import annotations

import os
import secrets
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from benchmark.config import RunConfig
from benchmark.console import tell
from benchmark.errors import UserError
from benchmark.launchers import Jobs, Launcher, LaunchOptions, Outcome
from benchmark.options import IMPORT_VARIABLE
from benchmark.plan import PlannedRun, refuse_what_needs_more
from benchmark.status import RunState, summary
from envs.data_folder import EARLIER, VARIABLE, data_folder
from results.keys import RunKey
from results.layout import SWEEP
from slurm.profiles import MAX_ARRAY, Profile, load, override
from slurm.queue import cancel, require_slurm
from slurm.snapshot import take_snapshot
from slurm.submissions import add_submission, cancel_jobs, explain_lost, jobs_of

POLL_SECONDS = 10.0
"""Seconds between checks of runs that have not ended."""


class SlurmLauncher(Launcher):
    """Runs as jobs of a cluster, described by a profile. They continue after the command has ended."""

    detached: ClassVar[bool] = True

    def __init__(self, options: LaunchOptions) -> None:
        self.options = options
        self.submitted: set[RunKey] = set()

    @cached_property
    def profile(self) -> Profile:
        """The profile, which describes a job's resources. Raises UserError where none is named or it is invalid."""
        if not self.options.profile:
            raise UserError("--launcher slurm needs --profile NAME: a file of slurm/profiles, or a path")
        return override(load(self.options.profile), self.options.override)

    @property
    def device(self) -> str:
        """Device of the runs. In a job that has a GPU, a GPU that does not work is an error, not a reason to use the
        CPU."""
        chosen = self.options.device
        return chosen if chosen != "auto" else "cuda" if self.profile.gpus else "cpu"

    def prepare(self) -> str:
        """The CPU: settings are resolved equally everywhere, and a login node may lack the device of the jobs. Raises
        UserError for a profile that there is not, or that is invalid; only a submission needs one."""
        if self.options.profile:
            self.profile.submitit_parameters()
        return "cpu"

    def refuse(self, runs: Sequence[PlannedRun]) -> None:
        """Mark the runs that need more memory than the profile gives. The memory of a GPU is unknown here."""
        if self.device == "cpu":
            refuse_what_needs_more(runs, self.profile.memory_gib)

    def submit(self, runs: Sequence[PlannedRun], references: Sequence[Sequence[RunConfig]]) -> list[str]:
        """Queue the runs; the first job of a task plays its reference policies. Returns the numbers of the jobs."""
        options = self.options
        self.submitted |= {item.key for item in runs}
        return submit(runs, options.results, options.suite, self.profile, self.device) if runs else []

    def jobs(self) -> Jobs:
        """The jobs recorded at submission, with their states from the scheduler."""
        return jobs_of(self.options.results)

    def explain(self, states: Sequence[RunState]) -> list[RunState]:
        """The states, with the reason why the jobs of lost runs ended."""
        return explain_lost(self.options.results, states)

    def cancel(self, keys: Collection[RunKey]) -> list[str]:
        """Cancel the active jobs that have one of these runs."""
        return cancel_jobs(self.options.results, keys)

    def wait(self, refresh: Callable[[], tuple[str, list[RunState]]]) -> Outcome:
        """Report changes until no job has any of the suite's runs; lost and stopped runs count as failed."""
        said = ""
        while True:
            text, states = refresh()
            now = summary(states)
            if now != said:
                tell(f"{time.strftime('%H:%M:%S')}  {now}")
                said = now
            if not any(run.state in ("queued", "running") for run in states):
                tell(text)
                count = Counter(run.state for run in states)
                failed = sum(count[state] for state in ("failed", "lost", "stopped", "damaged"))
                made = sum(run.state == "finished" and run.request.key in self.submitted for run in states)
                return Outcome(made, failed)
            time.sleep(POLL_SECONDS)


def submit(plans: Sequence[PlannedRun], results: Path, suite: str, profile: Profile, device: str) -> list[str]:
    """Queue runs as arrays of jobs with `profile.runs_per_job` runs each. Returns the numbers of the jobs.

    Raises UserError where SLURM is missing or rejects the jobs, or where their record cannot be written; the jobs are
    then cancelled.
    """
    require_slurm()
    import submitit

    from slurm.job import SweepJob

    results = results.resolve()
    if "%" in str(results):
        raise UserError(
            f"--results {results}: SLURM replaces percent signs in paths with job numbers; choose a folder without them"
        )
    store = results / SWEEP
    snapshot = take_snapshot(store / "snapshots")
    name = f"sweep-{suite}-{secrets.token_hex(3)}"
    executor = submitit.AutoExecutor(
        folder=store / "logs", cluster="slurm", slurm_max_num_timeout=profile.max_requeues, slurm_python=sys.executable
    )
    parameters = profile.submitit_parameters()
    setup = [*parameters.pop("slurm_setup", []), *surroundings(snapshot)]
    further = {**parameters.pop("slurm_additional_parameters", {}), "chdir": str(snapshot)}
    executor.update_parameters(name=name, slurm_setup=setup, slurm_additional_parameters=further, **parameters)
    groups = [tuple(item.request for item in part) for part in _parts(plans, profile.runs_per_job)]
    numbers: list[str] = []
    for part in _parts(groups, MAX_ARRAY):
        try:
            jobs = executor.map_array(SweepJob(results, snapshot, device), part)
        except submitit.core.utils.FailedJobError as error:
            words = str(error).strip().splitlines()[-1].removeprefix("sbatch: error: ")
            raise UserError(
                f"SLURM rejects the jobs: {words}; fix the profile, --override it, or check with sinfo that it answers"
            ) from error
        owned = {
            str(job.job_id): [request.key for request in requests] for job, requests in zip(jobs, part, strict=True)
        }
        try:
            add_submission(results, suite, name, profile.name, snapshot.name, owned)
        except UserError:
            cancel(list(owned))
            raise
        numbers += owned
    return numbers


def surroundings(snapshot: Path) -> list[str]:
    """Shell lines that tell a job where its code is, and the data that the project does not include, where this process
    has a folder of it."""
    places: dict[str, object] = {"PYTHONPATH": snapshot}
    if names := os.environ.get(IMPORT_VARIABLE):
        places = {"PYTHONPATH": f"{snapshot}{os.pathsep}{Path.cwd()}", IMPORT_VARIABLE: names}
    if os.environ.get(VARIABLE) or os.environ.get(EARLIER):
        places[VARIABLE] = data_folder().resolve()
    return [f"export {name}={shlex.quote(str(path))}" for name, path in places.items()]


def _parts(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[begin : begin + size] for begin in range(0, len(items), size)]
