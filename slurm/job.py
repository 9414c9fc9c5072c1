"""What a job does: some runs side by side on its share of a node, until they are finished or its time is over."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from itertools import cycle
from pathlib import Path
from types import FrameType

from submitit.core.utils import DelayedSubmission

from benchmark.config import RunConfig, resolve
from benchmark.errors import MENDABLE
from benchmark.options import devices_of
from benchmark.pool import reason_of, start
from benchmark.references import evaluation_of, write_references_alone
from benchmark.status import name_of
from benchmark.suites import Cell

POLL_SECONDS = 0.5


class SweepJob:
    """A small callable for submitit, which pickles it; all that matters is on the disk.

    Every run is a process of its own, so one that fails takes no other with it. When the scheduler says that time is
    nearly over, or that the job must give way, the runs write checkpoints and the same job is queued again; a job that
    is killed goes on from the runs' last checkpoints when it is started again.
    """

    def __init__(self, results: Path, snapshot: Path, device: str) -> None:
        self.results, self.snapshot, self.device = results, snapshot, device
        self._processes: dict[subprocess.Popen[bytes], Cell] = {}

    def __getstate__(self) -> dict[str, object]:
        return {"results": self.results, "snapshot": self.snapshot, "device": self.device, "_processes": {}}

    def __call__(self, cells: tuple[Cell, ...]) -> dict[str, str]:
        """Make the runs; what became of each, by name.

        Raises RuntimeError, when all have ended, where some of them failed: the scheduler then shows the job as failed.
        """
        os.chdir(self.snapshot)
        before = signal.signal(signal.SIGTERM, self._on_termination)
        try:
            outcomes = self._make(cells)
        finally:
            signal.signal(signal.SIGTERM, before)
        for name, reason in outcomes.items():
            print(f"{name}: {reason or 'finished'}", flush=True)
        failed = {name: reason for name, reason in outcomes.items() if reason}
        if failed:
            raise RuntimeError("; ".join(f"{name}: {reason}" for name, reason in failed.items()))
        return dict.fromkeys(outcomes, "finished")

    def checkpoint(self, cells: tuple[Cell, ...]) -> DelayedSubmission:
        """Called by submitit on the scheduler's signal: stop the runs after a checkpoint; what to queue again."""
        self._stop()
        return DelayedSubmission(SweepJob(self.results, self.snapshot, self.device), cells)

    def _make(self, cells: tuple[Cell, ...]) -> dict[str, str]:
        """What went wrong with each run, and with the reference policies, by name; empty where nothing did."""
        devices = cycle(devices_of(self.device))  # its GPUs take turns
        configs = [_config(cell) for cell in cells]
        for cell, config in zip(cells, configs, strict=True):
            self._processes[start(cell, config, next(devices), self.results)] = cell
        outcomes = self._write_references(configs)
        while self._processes:
            for process in [process for process in self._processes if process.poll() is not None]:
                cell = self._processes.pop(process)
                outcomes[name_of(cell)] = reason_of(self.results, cell, process.returncode)
            time.sleep(POLL_SECONDS)
        return outcomes

    def _write_references(self, configs: list[RunConfig]) -> dict[str, str]:
        """Play the reference policies while the runs run: the first job of a task does it for all."""
        outcomes = {}
        for task in dict.fromkeys(config.task for config in configs):
            try:
                episodes, seed = evaluation_of([config for config in configs if config.task == task])
                write_references_alone(task, self.results, episodes, seed)
            except MENDABLE as error:
                outcomes[f"reference policies of {task}"] = str(error)
        return outcomes

    def _stop(self) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            process.wait()

    def _on_termination(self, number: int, frame: FrameType | None) -> None:
        """Somebody cancels the job, and will kill it soon: the runs write checkpoints and end."""
        self._stop()


def _config(cell: Cell) -> RunConfig:
    return resolve(cell.task, cell.algorithm, cell.seed, cell.total_steps, cell.overrides, cell.variant)
