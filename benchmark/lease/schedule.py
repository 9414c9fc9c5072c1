"""Choice of the runs to begin when time is short and unfinished runs are lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmark.requests import RunRequest


@dataclass(frozen=True, slots=True)
class Group:
    """The missing seeds of one task and algorithm, which are trained concurrently in one process."""

    requests: tuple[RunRequest, ...]
    seconds: Callable[[int], float]
    """Predicted seconds for a given number of these runs."""
    most: int
    """Largest number of runs that memory holds at once."""

    @property
    def task(self) -> str:
        """The task of all runs of the group."""
        return self.requests[0].key.task

    def within(self, left: float) -> Group | None:
        """As many of these runs as finish within `left` seconds; None where not even one does."""
        for count in range(min(len(self.requests), self.most), 0, -1):
            if self.seconds(count) <= left:
                return Group(self.requests[:count], self.seconds, self.most)
        return None

    def __str__(self) -> str:
        first = self.requests[0]
        seeds = ", ".join(str(request.key.seed) for request in self.requests)
        return f"{first.key.task} {first.key.algorithm} seeds {seeds}"

    @property
    def predicted(self) -> float:
        """Predicted seconds for all runs of the group."""
        return self.seconds(len(self.requests))


def grouped(requests: Iterable[RunRequest]) -> list[tuple[RunRequest, ...]]:
    """The requests grouped by task, algorithm and variant, in the order of first occurrence."""
    found: dict[tuple[str, str, str], list[RunRequest]] = {}
    for request in requests:
        found.setdefault(request.key.kind, []).append(request)
    return [tuple(alike) for alike in found.values()]


def choose(groups: Sequence[Group], left: float) -> list[Group]:
    """The groups to train one after the other in `left` seconds, the longest first.

    Tasks are served in the order of their first occurrence in `groups`. Within a task, short groups are preferred to
    long ones, so that many runs finish; a group that would not finish in time is reduced to as many runs as do. The
    longest group begins first, so that an error of its prediction shows while there is still time to drop others.
    """
    chosen = []
    for task in dict.fromkeys(group.task for group in groups):
        for group in sorted((group for group in groups if group.task == task), key=lambda group: group.seconds(1)):
            part = group.within(left)
            if part is not None:
                chosen.append(part)
                left -= part.predicted
    return sorted(chosen, key=lambda group: group.predicted, reverse=True)
