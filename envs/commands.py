"""Commands of environments, whose errors are one line on stderr."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from types import TracebackType
from typing import NoReturn

INTERRUPTED = "interrupted: run the same command again"


class Parser(argparse.ArgumentParser):
    """Argument parser that reports a mistake as one line on stderr, without its usage, and exits with 2."""

    def error(self, message: str) -> NoReturn:
        """Print the mistake and exit."""
        self.exit(2, f"error: {message} ({self.prog} --help explains all options)\n")


def end_quietly() -> None:
    """Let Ctrl-C end a command without a traceback while `python -m` still imports it. For `__init__` of a package; it
    does nothing where the package is imported by anything else."""
    if sys.argv[:1] == ["-m"]:  # as long as Python looks for the module
        sys.excepthook = _report_interruption


def _report_interruption(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print(INTERRUPTED, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def run(main: Callable[[], int]) -> int:
    """Run a command; after Ctrl-C, and where the reader of a pipe has gone, it ends without a traceback."""
    try:
        return main()
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
