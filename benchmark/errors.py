"""Errors that a user can mend: shown as one line that says what to do, without a traceback."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable

from algorithms import UnknownAlgorithmError, UnsupportedTaskError
from benchmark.console import say
from envs.errors import EnvironmentNotAvailableError, PreyWeightsError, TrafficFileError, UnknownTaskError


class UserError(Exception):
    """A wrong setting, a broken file, a machine too small. The message says what was found and what to do."""

    exit_status = 2


class InUseError(UserError):
    """A folder that another process has locked. The exit status tells it from other errors, whatever else the log of a
    run says: the process that has the lock writes to the same file."""

    exit_status = os.EX_TEMPFAIL


class NoSpaceError(UserError):
    """A full disk, or a used-up quota. The exit status says so where nothing can be written down any more."""

    exit_status = os.EX_IOERR


FULL = (errno.ENOSPC, errno.EDQUOT)
MENDABLE = (
    UserError,
    UnknownTaskError,
    EnvironmentNotAvailableError,
    PreyWeightsError,
    TrafficFileError,
    UnknownAlgorithmError,
    UnsupportedTaskError,
)
"""Errors whose message is all that a user needs."""


def report_errors(main: Callable[[], int]) -> int:
    """Run a command; print errors a user can mend as one line on stderr and return their exit status."""
    try:
        return main()
    except MENDABLE as error:
        say(f"error: {error}", sys.stderr)
        return error.exit_status if isinstance(error, UserError) else UserError.exit_status
    except BrokenPipeError:  # whoever read the output has had enough, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno not in FULL:
            raise
        say(f"error: cannot write {error.filename or 'a file'}: {error.strerror}: free some space", sys.stderr)
        return NoSpaceError.exit_status
    except KeyboardInterrupt:
        say("interrupted: run the same command again to go on from the last checkpoint", sys.stderr)
        return 130
