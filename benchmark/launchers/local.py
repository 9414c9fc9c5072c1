"""Concurrent runs on this machine, each in a separate process; they end with the command, after a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmark.config import RunConfig
from benchmark.launchers import Outcome, WithoutJobs
from benchmark.plan import PlannedRun
from benchmark.status import RunState


class LocalLauncher(WithoutJobs):
    """A pool of processes on this machine; GPUs take turns."""

    def submit(self, runs: Sequence[PlannedRun], references: Sequence[Sequence[RunConfig]]) -> list[str]:
        """Prepare the runs, whose processes are started by `wait`."""
        from benchmark.launchers.pool import Pool, references_command  # imported late, as a status does not need it
        from benchmark.options import devices_of

        options = self.options
        commands = [references_command(configs, options.results) for configs in references]
        self._runs = runs
        self._pool = Pool(options.results, options.workers, devices_of(options.device), commands)
        return []

    def wait(self, refresh: Callable[[], tuple[str, list[RunState]]]) -> Outcome:
        """Make all runs. Raises KeyboardInterrupt where it is stopped."""
        pool = self._pool
        pool.run(self._runs)
        failed, elsewhere = len(pool.failed), len(pool.elsewhere)
        return Outcome(len(self._runs) - failed - elsewhere, failed, elsewhere, pool.unplayed)
