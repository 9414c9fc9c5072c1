"""Errors that a user can fix. The message is one line: what was given, what was expected, what to do."""

from __future__ import annotations

import errno
import os


class UserError(Exception):
    """Base class of errors that a user can fix: a wrong setting, a broken file, insufficient memory."""

    exit_status = 2


class ResultsError(UserError):
    """Results cannot be read or written; the message names the file and the remedy."""


class IncompleteError(ResultsError):
    """Runs of a suite are missing or unfit, which a reader may accept."""


class InUseError(UserError):
    """A folder is locked by another process. Its exit status distinguishes it from other errors; the log of the run
    does not, because the process that holds the lock writes to the same file."""

    exit_status = os.EX_TEMPFAIL


class NoSpaceError(UserError):
    """The disk is full, or a quota is exceeded. The exit status reports it where nothing can be written any more."""

    exit_status = os.EX_IOERR


FULL = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk and of an exceeded quota."""
