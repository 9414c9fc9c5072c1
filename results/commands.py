"""Commands whose errors are one line on stderr, without a traceback."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable
from types import TracebackType

from results.errors import FULL, NoSpaceError, UserError

INTERRUPTED = "interrupted: run the same command again"
WITHOUT_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "Cannot allocate memory",
    "failed to map segment",
)
"""Words in errors of torch and of the loader of libraries, which have no type that tells them apart."""


def report_errors(
    main: Callable[[], int], mendable: tuple[type[Exception], ...] = (UserError,), interrupted: str = INTERRUPTED
) -> int:
    """Run a command; print errors that a user can fix as one line on stderr and return their exit status.

    Args:
        mendable: classes of errors whose message is sufficient for a user.
        interrupted: what is said after Ctrl-C.
    """
    try:
        return main()
    except mendable as error:
        _say(f"error: {error}")
        return error.exit_status if isinstance(error, UserError) else UserError.exit_status
    except BrokenPipeError:  # the reader closed the pipe, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (MemoryError, RuntimeError, OSError, ImportError) as error:
        if lacks_memory(error):
            reason = str(error).partition("\n")[0] or "an allocation failed"
            _say(f"error: there is not enough memory ({reason}): free some, or choose something smaller")
            return UserError.exit_status
        if not isinstance(error, OSError):
            raise
        if error.errno in _OF_PATHS and error.filename is not None:
            _say(f"error: {error.strerror}: {_shortened(error.filename)}: choose another file or folder")
            return UserError.exit_status
        if error.errno not in FULL:
            raise
        _say(f"error: cannot write {error.filename or 'a file'}: {error.strerror}: free some space")
        return NoSpaceError.exit_status
    except KeyboardInterrupt:
        _say(interrupted)
        return 130


_OF_PATHS = (errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP, errno.EIO)
"""Error numbers of paths that are wrong and of folders that cannot be used, wherever in a command that shows."""


def _shortened(name: object) -> str:
    text = str(name)
    return text if len(text) <= 200 else f"{text[:200]}..."


def end_quietly() -> None:
    """Let Ctrl-C end a command without a traceback while `python -m` still imports it. For `__init__` of a package; it
    does nothing where the package is imported by anything else."""
    if sys.argv[:1] == ["-m"]:  # as long as Python looks for the module
        sys.excepthook = _report_interruption


def _report_interruption(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        _say(INTERRUPTED)
    else:
        sys.__excepthook__(kind, error, trace)


def lacks_memory(error: Exception) -> bool:
    """Whether an error says that there is not enough memory, on the CPU or on a GPU."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or any(words in str(error) for words in WITHOUT_MEMORY)


def _say(text: str) -> None:
    """Print a line on stderr, if anybody reads it."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
