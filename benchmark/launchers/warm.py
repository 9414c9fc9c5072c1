"""Warm processes: forked from a server that has already imported everything, they start in milliseconds.

Importing torch and what a first gradient step needs takes several seconds, longer than a small run trains. Each process
is as isolated as a cold one: it has separate memory, session, environment variables and output file.

The server imports the code once, when the first process is started. All runs of a sweep are therefore made with the
code as it was when the sweep began, and with the commit recorded at that moment.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from benchmark.errors import UserError, report_errors

SERVER_DIED = 255
"""Exit status of processes whose server was killed; they may still be running."""


PAUSES = (0.1, 1.0)
"""Seconds to wait before each further attempt to start a process."""


class WarmProcess:
    """A module's `main` as a process, with the methods of `subprocess.Popen` that a pool needs."""

    def __init__(self, module: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        """Start `python -m MODULE ARGUMENTS` with exactly these environment variables; stdout and stderr are appended
        to `log`, whose folder exists. Raises UserError where no process can be started."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["benchmark.launchers.detached", "benchmark.launchers.preloaded"])
        work = (module, list(arguments), str(log.resolve()), dict(environment), str(Path.cwd()))
        for pause in (*PAUSES, None):
            self._process: ForkServerProcess = context.Process(target=_work, args=work)
            try:
                with _environment(environment):  # inherited by a server that is started now
                    self._process.start()
                return
            except (OSError, EOFError) as error:  # the server has just died: a new one is started in its place
                if pause is None:
                    raise UserError(f"no process can be started ({str(error) or 'its server ended'})") from error
                time.sleep(pause)

    @property
    def returncode(self) -> int | None:
        """Exit status, minus the number of the signal that ended the process, or None while it runs."""
        return self._process.exitcode

    @property
    def sentinel(self) -> int:
        """Object to wait for with `multiprocessing.connection.wait`; it is ready once the process has ended."""
        return self._process.sentinel

    def poll(self) -> int | None:
        """The same as `returncode`."""
        return self._process.exitcode

    def wait(self) -> int:
        """Wait for the process to end; returns the exit status."""
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        assert self._process.pid is not None
        if self._process.exitcode is None:
            os.kill(self._process.pid, number)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set exactly these environment variables inside the context."""
    before = dict(os.environ)
    _replace(variables)
    try:
        yield
    finally:
        _replace(before)


def _replace(variables: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)


def _work(module: str, arguments: list[str], log: str, environment: dict[str, str], folder: str) -> None:
    """Main function of a warm process."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output, stream.fileno())
    os.close(output)
    _replace(environment)
    os.chdir(folder)
    sys.argv = [module, *arguments]
    sys.exit(report_errors(importlib.import_module(module).main))
