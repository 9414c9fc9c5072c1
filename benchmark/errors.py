"""Errors that a user can fix, from all parts of the project, shown as one line without a traceback."""

from __future__ import annotations

from collections.abc import Callable

from algorithms import AlgorithmError
from envs.errors import TaskError
from results import commands
from results.commands import lacks_memory
from results.errors import FULL, InUseError, NoSpaceError, UserError

__all__ = ["FULL", "MENDABLE", "InUseError", "NoSpaceError", "UserError", "report_errors", "says_enough"]

MENDABLE = (UserError, TaskError, AlgorithmError)
"""Base classes of all errors whose message is sufficient for a user: errors of runs, environments and algorithms."""


def says_enough(error: Exception) -> bool:
    """Whether an error has to be shown as it is, whatever was being read: its message is sufficient, or it is a lack of
    memory."""
    return isinstance(error, MENDABLE) or lacks_memory(error)


def report_errors(main: Callable[[], int]) -> int:
    """Run a command; print errors that a user can fix as one line on stderr and return their exit status."""
    return commands.report_errors(main, MENDABLE, f"{commands.INTERRUPTED} to continue from the last checkpoint")
