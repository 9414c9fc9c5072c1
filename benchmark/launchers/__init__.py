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
"""The launchers that are used where none is named: by the action submit the second, by all others the first."""


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
    """Profile of the resources of a cluster's jobs."""
    override: tuple[str, ...] = ()
    """Changes of the profile, as KEY=VALUE."""


@dataclass(frozen=True, slots=True)
class Jobs:
    """The jobs of a results folder."""

    now: Mapping[RunKey, Mapping[str, str]] = field(default_factory=dict)
    """By run: numbers of the living jobs that have it, and what they do, `queued` or `running`."""
    last: Mapping[RunKey, str] = field(default_factory=dict)
    """By run: the last job that had it; none where it was cancelled by us."""
    silent: str = ""
    """Why the scheduler gave no answer; empty where it did."""


class Outcome(NamedTuple):
    """The outcome of a launcher's runs."""

    made: int
    failed: int
    elsewhere: int = 0
    """Runs finished or claimed by other processes."""
    unplayed: int = 0
    """Tasks whose reference policies could not be played."""


class Launcher(Protocol):
    """A way to make runs."""

    detached: ClassVar[bool]
    """Whether its jobs go on when the command that submitted them has ended."""

    def __init__(self, options: LaunchOptions) -> None: ...

    def prepare(self) -> str:
        """Check the options before anything is planned. Returns the device for which settings are resolved. Raises
        UserError for invalid options."""
        ...

    def refuse(self, runs: Sequence[PlannedRun]) -> None:
        """Mark the runs that cannot be made there, with the reason."""
        ...

    def submit(self, runs: Sequence[PlannedRun], references: Sequence[Sequence[RunConfig]]) -> list[str]:
        """Submit runs, and the reference policies of tasks, each given by its runs. Returns the numbers of the jobs.
        Raises UserError where that is not possible; nothing is submitted then."""
        ...

    def jobs(self) -> Jobs:
        """The jobs of the runs in the results folder."""
        ...

    def explain(self, states: Sequence[RunState]) -> list[RunState]:
        """The states, in which lost runs have the reason why their jobs ended, as far as it is known."""
        ...

    def cancel(self, keys: Collection[RunKey]) -> list[str]:
        """Cancel the jobs of these runs. Returns their numbers. Raises UserError where the scheduler is unavailable."""
        ...

    def wait(self, refresh: Callable[[], tuple[str, list[RunState]]]) -> Outcome:
        """Wait until all submitted runs have ended. `refresh` returns a report on the suite and its states."""
        ...


def launcher(name: str, options: LaunchOptions) -> Launcher:
    """A launcher by its name, one of `LAUNCHERS`."""
    module, kind = LAUNCHERS[name]
    made: Launcher = getattr(import_module(module), kind)(options)
    return made


def jobs_of_all(launchers: Sequence[Launcher]) -> Jobs:
    """The jobs of a results folder, whichever launcher they are of."""
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
    """What launchers have in common whose runs end with the command: no job outlives it."""

    detached: ClassVar[bool] = False

    def __init__(self, options: LaunchOptions) -> None:
        self.options = options

    def prepare(self) -> str:
        """The device that is asked for. Raises UserError where it is not here."""
        from benchmark.options import choose_device

        return choose_device(self.options.device)

    def refuse(self, runs: Sequence[PlannedRun]) -> None:
        """Mark what this machine cannot make."""
        from benchmark.plan import refuse_what_cannot_run

        refuse_what_cannot_run(runs)

    def jobs(self) -> Jobs:
        """None: who is at work on a run is said by the lock of its folder."""
        return Jobs()

    def explain(self, states: Sequence[RunState]) -> list[RunState]:
        """The states as they are."""
        return list(states)

    def cancel(self, keys: Collection[RunKey]) -> list[str]:
        """None: Ctrl-C ends the command that has the runs."""
        return []
