"""Shared state of the phases of a lease: clock, report, device and child processes."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmark.launchers.pool import environment_of
from benchmark.lease.children import Child

PACKING_SECONDS = 8.0
"""Seconds reserved for packing at the end."""


def process_start() -> float:
    """Start of this process on the clock of `time.monotonic`: loading its modules counts towards the lease."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - age


class Site:
    """The running lease: a period of so many seconds from `begin` on."""

    def __init__(self, folder: Path, begin: float, seconds: float, device: str, slack: float) -> None:
        """`slack`: factor on the time limits of single processes, as in `Programme`."""
        self.folder, self.begin, self.seconds, self.device, self.slack = folder, begin, seconds, device, slack
        self.facts: dict[str, Any] = {}
        """Facts about the machine, as found by `benchmark.lease.work`."""
        self.said: list[str] = []
        self.phases: list[dict[str, Any]] = []
        self._children: list[Child] = []

    @property
    def rehearsed(self) -> bool:
        """Whether this is a small-scale rehearsal on a CPU."""
        return self.device == "cpu"

    @property
    def left(self) -> float:
        """Seconds until packing must begin."""
        return self.begin + self.seconds - PACKING_SECONDS - time.monotonic()

    @property
    def modes(self) -> list[str]:
        """The available modes, the plain one first."""
        return [mode for mode, reason in self.facts["modes"].items() if not reason]

    @property
    def origin(self) -> dict[str, Any]:
        """Fields that say where a timing was taken."""
        return {name: self.facts["machine"][name] for name in ("gpu", "torch", "commit")}

    def say(self, text: str) -> None:
        """Append a line to the report and print it at once."""
        line = f"[{time.monotonic() - self.begin:6.1f}] {text}"
        self.said.append(line)
        print(line, flush=True)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """A phase: failures inside the context are reported, and the next phase continues."""
        begin = time.monotonic()
        self.say(f"== {name}")
        try:
            yield
        except Exception as error:  # any failure: the remaining phases are worth more than its cause
            self.say(f"{name} failed: {type(error).__name__}: {error}")
        self.phases.append({"name": name, "seconds": round(time.monotonic() - begin, 1)})

    def start(self, name: str, command: Sequence[str]) -> Child:
        """Start a process with one thread that ends with the lease."""
        child = Child(command, self.folder / f"{len(self._children)}-{name}.log", environment_of(1))
        self._children.append(child)
        return child

    def work(self, name: str, *arguments: str, given: str = "") -> Child:
        """Start a process of `benchmark.lease.work`, which reads `given` from a JSON file."""
        command = [sys.executable, "-m", "benchmark.lease.work", name]
        if given:
            file = self.folder / f"{len(self._children)}-{name}.json"
            file.write_text(given)
            command.append(str(file))
        return self.start(name, [*command, "--device", self.device, *arguments])

    def stop(self) -> None:
        """End every process."""
        for child in self._children:
            child.stop(at_once=True)
