"""Runs one after the other in this process: errors come with their traceback, breakpoints work."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmark.config import RunConfig
from benchmark.launchers import Outcome, WithoutJobs
from benchmark.plan import PlannedRun
from benchmark.status import RunState


class DebugLauncher(WithoutJobs):
    """Launcher that uses only the current process."""

    def submit(self, runs: Sequence[PlannedRun], references: Sequence[Sequence[RunConfig]]) -> list[str]:
        """Store the runs, which `wait` makes."""
        self._runs, self._references = runs, references
        return []

    def wait(self, refresh: Callable[[], tuple[str, list[RunState]]]) -> Outcome:
        """Make the runs and play the reference policies. Exceptions propagate unchanged."""
        from benchmark.references import write_references_for  # imported late, as a status does not need it
        from benchmark.runs import run

        for item in self._runs:
            assert item.config is not None
            run(item.config, self.options.results)
        for configs in self._references:
            write_references_for(configs, self.options.results)
        return Outcome(len(self._runs), 0)
