"""Steps of one simulation computed by several threads, with results bitwise equal to those of one thread.

Each phase of a step that decides or searches for every vehicle reads the results of the previous phase and writes only
to that vehicle. Drivables are therefore divided among the threads, in ranges with about equal numbers of vehicles, and
all threads synchronise between phases. Sequential work stays with one thread: flows, random numbers, the lists of
drivables and vehicles. Lane changes are decided sequentially and therefore do not use several threads.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np

from envs.traffic.engine.state import CULPRIT, FINE, STATUS, STEP, STRANDED, State
from envs.traffic.engine.step import (
    begin_step,
    commit_part,
    decide_part,
    drop,
    finish_step,
    move_all,
)
from envs.traffic.network.layout import NONE

LEAST_DRIVABLES = 20_000
"""Number of lanes and lane links of a city below which several threads lose more by synchronising than they gain."""
BALANCED = 100
"""Number of steps after which drivables are redistributed."""
_WORD = 64
"""Number of drivables per word of a bit set; ranges end only between words."""


class Team:
    """A team of threads for one simulation without lane changes."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._workers = ThreadPoolExecutor(threads - 1)
        self._stretches: list[tuple[int, int]] = []
        self._balanced_at = 0
        self._moved: list[np.ndarray] = []

    def advance(
        self,
        network: np.ndarray,
        flows: np.ndarray,
        addresses: np.ndarray,
        state: State,
        steps: int,
        dt: float,
        built_in_lights: bool,
    ) -> int:
        """Take steps like `step.advance`, given the addresses of network, flows and state."""
        counts, moved = state.traffic.counts, state.pool.moved
        self._moved = [moved, *(np.empty(len(moved), dtype=np.int32) for _ in range(1, self.threads))]
        for taken in range(steps):
            if not begin_step(network, flows, addresses, dt):
                return taken
            if not self._stretches or not 0 <= counts[STEP] - self._balanced_at < BALANCED:
                self._stretches = stretches(state.traffic.queues["size"], self.threads)
                self._balanced_at = int(counts[STEP])
            decided = self._each(lambda i, start, end: decide_part(network, addresses, self._moved[i], dt, start, end))
            if self._fails(counts, [stranded for _, stranded in decided]):
                return taken
            total = decided[0][0]
            for (moving, _), part in zip(decided[1:], self._moved[1:], strict=True):
                moved[total : total + moving] = part[:moving]
                total += moving
            gone = move_all(network, addresses, total, dt)
            if self._fails(counts, self._each(lambda i, start, end: commit_part(network, addresses, dt, start, end))):
                return taken
            drop(addresses, gone)
            finish_step(network, addresses, dt, built_in_lights)
            if counts[STATUS] != FINE:
                return taken + 1
        return steps

    def _each(self, phase: Callable[[int, int, int], Any]) -> list[Any]:
        """The results of a phase for every range, called with its number, start and end; the calling thread computes
        the first."""
        first, *others = [(i, *stretch) for i, stretch in enumerate(self._stretches)]
        waiting = [self._workers.submit(phase, *stretch) for stretch in others]
        return [phase(*first), *(done.result() for done in waiting)]

    def _fails(self, counts: np.ndarray, stranded: list[int]) -> bool:
        """Whether some vehicle cannot continue; records the last such vehicle."""
        culprits = [v for v in stranded if v != NONE]
        if culprits:
            counts[STATUS], counts[CULPRIT] = STRANDED, culprits[-1]
        return bool(culprits)


def stretches(sizes: np.ndarray, count: int) -> list[tuple[int, int]]:
    """Start and end of `count` consecutive ranges of drivables with about equal numbers of vehicles, ending between
    words of bits. sizes: number of vehicles on each drivable, (drivable,)."""
    words = -(-len(sizes) // _WORD)
    padded = np.zeros(words * _WORD, dtype=np.int64)
    padded[: len(sizes)] = sizes
    total = np.cumsum(padded.reshape(words, _WORD).sum(1) + 1)  # the 1 is the cost of reading each word
    ends = np.searchsorted(total, total[-1] * np.arange(1, count) / count).tolist()
    bounds = [0, *(int(end) * _WORD for end in ends), len(sizes)]
    return list(pairwise(bounds))
