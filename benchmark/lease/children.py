"""Child processes with a time limit: their descendants end with them, and their output is kept."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

POLL_SECONDS = 0.1
PATIENCE = 3.0
"""Seconds that a process has to end when asked, before it is killed."""


class Child:
    """A process in a separate session, whose output goes to a file."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.log, self.begin = log, time.monotonic()
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                command, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True, env=environment
            )
        self._read = 0

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None

    @property
    def returncode(self) -> int:
        """Exit status of a process that has ended."""
        return self.process.wait()

    @property
    def seconds(self) -> float:
        """Seconds since the process was started."""
        return time.monotonic() - self.begin

    def new_lines(self) -> list[str]:
        """The complete lines written since the last call."""
        with self.log.open("rb") as stream:
            stream.seek(self._read)
            data = stream.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        return whole.decode(errors="replace").splitlines()

    def wait(self, seconds: float) -> bool:
        """Wait for at most `seconds`; returns whether the process has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0.0, seconds))
        return self.ended

    def stop(self, at_once: bool = False) -> None:
        """End the process and its descendants: they are asked first and killed later, or killed `at_once`."""
        if not at_once and not self.ended:
            self._signal(signal.SIGTERM)
            self.wait(PATIENCE)
        self._signal(signal.SIGKILL)
        self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


def last_line(child: Child) -> str:
    """The last line of the process's output."""
    lines = child.log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit status {child.returncode}"
