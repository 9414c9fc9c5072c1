"""Errors that a user can fix, from all parts of the project, shown as one line without a traceback."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

from algorithms import AlgorithmError
from benchmark.console import say
from envs.errors import TaskError
from results.errors import FULL, InUseError, NoSpaceError, UserError

__all__ = ["FULL", "MENDABLE", "InUseError", "NoSpaceError", "UserError", "report_errors"]


MENDABLE = (UserError, TaskError, AlgorithmError)
"""Base classes of all errors whose message is sufficient for a user: errors of runs, environments and algorithms."""


def report_errors(main: Callable[[], int]) -> int:
    """Run a command; print errors that a user can fix as one line on stderr and return their exit status."""
    try:
        return main()
    except MENDABLE as error:
        say(f"error: {error}", sys.stderr)
        return error.exit_status if isinstance(error, UserError) else UserError.exit_status
    except BrokenPipeError:  # the reader closed the pipe, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno not in FULL:
            raise
        say(f"error: cannot write {error.filename or 'a file'}: {error.strerror}: free some space", sys.stderr)
        return NoSpaceError.exit_status
    except KeyboardInterrupt:
        say("interrupted: run the same command again to continue from the last checkpoint", sys.stderr)
        return 130
