"""Launchers, which make the runs of a sweep: implementations of one protocol, imported when used."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from results.keys import RunKey

if TYPE_CHECKING:
    from benchmark.config import RunConfig
    from benchmark.plan import PlannedRun
    from benchmark.status import RunState

LAUNCHERS = {
    "local": ("benchmark.launchers.local", "LocalLauncher"),
    "debug": ("benchmark.launchers.debug", "DebugLauncher"),
    "slurm": ("slurm.launcher", "SlurmLauncher"),
}
"""Name -> module and class."""
HERE, QUEUE = "local", "slurm"
"""Default launchers: `QUEUE` for the action submit, `HERE` for all others."""


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """Options of all launchers from the command line."""

    results: Path
    suite: str
    device: str = "auto"
    """auto, cpu, cuda or cuda:K."""
    workers: int = 1
    """Concurrent runs on this machine."""
    profile: str = ""
    """Resource profile of a cluster's jobs."""
    override: tuple[str, ...] = ()
    """Changes to the profile, as KEY=VALUE."""


@dataclass(frozen=True, slots=True)
class Jobs:
    """The jobs of a results folder."""

    now: Mapping[RunKey, Mapping[str, str]] = field(default_factory=dict)
    """Run -> numbers of its active jobs, and their states, `queued` or `running`."""
    last: Mapping[RunKey, str] = field(default_factory=dict)
    """Run -> its last job; runs whose job was cancelled on request are left out."""
    silent: str = ""
    """Why the scheduler did not answer; empty where it did."""


class Outcome(NamedTuple):
    """The outcome of a launcher's runs."""

    made: int
    failed: int
    elsewhere: int = 0
    """Runs finished or claimed by other processes."""
    unplayed: int = 0
    """Tasks whose reference policies could not be played."""


class Launcher(Protocol):
    """Protocol of a way to make runs."""

    detached: ClassVar[bool]
    """Whether its jobs continue after the command that submitted them has ended."""

    def __init__(self, options: LaunchOptions) -> None: ...

    def prepare(self) -> str:
        """Check the options before anything is planned. Returns the device for which settings are resolved. Raises
        UserError for invalid options."""
        ...

    def refuse(self, runs: Sequence[PlannedRun]) -> None:
        """Mark the runs that cannot be made with this launcher, with the reason."""
        ...

    def submit(self, runs: Sequence[PlannedRun], references: Sequence[Sequence[RunConfig]]) -> list[str]:
        """Submit runs, and the reference policies of tasks, each given by its runs. Returns the numbers of the jobs.
        Raises UserError, before anything is submitted, where that is not possible."""
        ...

    def jobs(self) -> Jobs:
        """The jobs of the runs in the results folder."""
        ...

    def explain(self, states: Sequence[RunState]) -> list[RunState]:
        """The states, with the reason why a job ended, where known, for lost runs."""
        ...

    def cancel(self, keys: Collection[RunKey]) -> list[str]:
        """Cancel the jobs of these runs. Returns their numbers. Raises UserError where the scheduler is unavailable."""
        ...

    def wait(self, refresh: Callable[[], tuple[str, list[RunState]]]) -> Outcome:
        """Wait until all submitted runs have ended. `refresh` returns a report on the suite and its states."""
        ...


def launcher(name: str, options: LaunchOptions) -> Launcher:
    """The launcher of this name, one of `LAUNCHERS`."""
    module, kind = LAUNCHERS[name]
    made: Launcher = getattr(import_module(module), kind)(options)
    return made


def jobs_of_all(launchers: Sequence[Launcher]) -> Jobs:
    """The jobs of a results folder, from all launchers."""
    now: dict[RunKey, dict[str, str]] = {}
    last: dict[RunKey, str] = {}
    silent = []
    for one in launchers:
        jobs = one.jobs()
        for key, numbers in jobs.now.items():
            now.setdefault(key, {}).update(numbers)
        last |= jobs.last
        silent += [jobs.silent] if jobs.silent else []
    return Jobs(now, last, "; ".join(silent))


class WithoutJobs(Launcher):
    """Base class of launchers whose runs end with the command, so that no job outlives it."""

    detached: ClassVar[bool] = False

    def __init__(self, options: LaunchOptions) -> None:
        self.options = options

    def prepare(self) -> str:
        """The requested device. Raises UserError where this machine lacks it."""
        from benchmark.options import choose_device

        return choose_device(self.options.device)

    def refuse(self, runs: Sequence[PlannedRun]) -> None:
        """Mark the runs that this machine cannot make."""
        from benchmark.plan import refuse_what_cannot_run

        refuse_what_cannot_run(runs)

    def jobs(self) -> Jobs:
        """No jobs: the lock of a run's folder tells which process works on it."""
        return Jobs()

    def explain(self, states: Sequence[RunState]) -> list[RunState]:
        """The states, unchanged."""
        return list(states)

    def cancel(self, keys: Collection[RunKey]) -> list[str]:
        """No jobs to cancel: Ctrl-C ends the command together with its runs."""
        return []
