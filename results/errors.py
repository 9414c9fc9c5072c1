"""Errors that a user can mend. The message is one line: what was given, what was expected, what to do."""

from __future__ import annotations

import errno
import os


class UserError(Exception):
    """The root of them: a wrong setting, a broken file, a machine too small."""

    exit_status = 2


class ResultsError(UserError):
    """Results cannot be read or written; the message names the file and the remedy."""


class InUseError(UserError):
    """A folder that another process has locked. The exit status tells it from other errors, whatever else the log of a
    run says: the process that has the lock writes to the same file."""

    exit_status = os.EX_TEMPFAIL


class NoSpaceError(UserError):
    """A full disk, or a used-up quota. The exit status says so where nothing can be written down any more."""

    exit_status = os.EX_IOERR


FULL = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk and of a used-up quota."""
