"""A cluster job: several concurrent runs on its share of a node, until they finish or its time limit is reached."""

from __future__ import annotations

import os
from pathlib import Path

from submitit.core.utils import DelayedSubmission

from benchmark.launchers.pool import Pool, references_command
from benchmark.options import devices_of, import_all
from benchmark.plan import PlannedRun
from benchmark.references import missing_references
from benchmark.requests import RunRequest
from results.words import counted


class SweepJob:
    """A small callable that submitit pickles; all state is on the disk.

    The runs form a pool, as in a local sweep: a failure affects no other run. When the scheduler announces the time
    limit or preemption, they write checkpoints and the job is queued again; a killed job continues from the runs' last
    checkpoints when it is restarted.
    """

    def __init__(self, results: Path, snapshot: Path, device: str) -> None:
        self.results, self.snapshot, self.device = results, snapshot, device
        self._pool: Pool | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"results": self.results, "snapshot": self.snapshot, "device": self.device, "_pool": None}

    def __call__(self, requests: tuple[RunRequest, ...]) -> None:
        """Make the runs. The first job of a task also plays its reference policies.

        Raises RuntimeError after all have ended if any failed, so that the scheduler shows the job as failed.
        """
        os.chdir(self.snapshot)
        import_all()
        plans = [_planned(request) for request in requests]
        references = missing_references((item.config for item in plans if item.config is not None), self.results)
        commands = [references_command(configs, self.results) for configs in references]
        self._pool = Pool(self.results, len(requests), devices_of(self.device), commands)
        self._pool.run(plans)
        failed = [f"{item.name}: {item.reason}" for item in self._pool.failed]
        if self._pool.unplayed:
            failed.append(f"no reference policies for {counted(self._pool.unplayed, 'task')}")
        if failed:
            raise RuntimeError("; ".join(failed))

    def checkpoint(self, requests: tuple[RunRequest, ...]) -> DelayedSubmission:
        """Called by submitit on the scheduler's signal: stop the runs after a checkpoint. Returns the job to queue
        again."""
        if self._pool is not None:
            self._pool.stop()
        return DelayedSubmission(SweepJob(self.results, self.snapshot, self.device), requests)


def _planned(request: RunRequest) -> PlannedRun:
    return PlannedRun(request, request.resolve(), "absent")
