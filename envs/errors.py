"""Errors about environments."""

from __future__ import annotations


class TaskError(Exception):
    """Base class of errors about environments. The message is one line that says what to do."""


class UnknownTaskError(TaskError, ValueError):
    """The task name is not one of `envs.tasks()`."""


class EnvironmentNotAvailableError(TaskError, RuntimeError):
    """The task exists, but its data or a program that it needs is not installed."""


class PreyWeightsError(TaskError, RuntimeError):
    """The weights of the scripted prey are missing or do not fit the task."""


class TraceError(TaskError, ValueError):
    """A recorded trace is missing, damaged or not in the expected format."""


class TrafficFileError(TaskError, ValueError):
    """A configuration, road network, flow or snapshot of the traffic engine is missing, malformed or inconsistent."""


class ForeignEnvironmentError(TaskError, ValueError):
    """An environment of another package cannot be made, does not fit, or violates the interface."""
