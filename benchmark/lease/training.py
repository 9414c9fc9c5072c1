"""The runs of a lease: which are missing, how long each takes, and two lanes for those that finish in time."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.config import RunConfig
from benchmark.errors import MENDABLE
from benchmark.lease.children import POLL_SECONDS, Child, last_line
from benchmark.lease.programme import ENGINE, Programme
from benchmark.lease.schedule import Group, choose, grouped
from benchmark.lease.site import Site
from benchmark.lease.work import as_json
from benchmark.profiling import gpu_timings
from benchmark.profiling.gpu_timings import Entry
from benchmark.requests import RunRequest
from benchmark.units import GIB
from results.files import read_json
from results.keys import RunKey
from results.layout import CONFIG
from results.words import counted

START_SECONDS = 15.0
"""Seconds from the start of a process of runs to its first step."""
MARGIN = 1.15
"""Factor by which runs are predicted to take longer than their timings."""
SIDE_BY_SIDE = 1.3
"""A further factor for a lane while the other has runs too."""
FASTEST_PACE, SLOWEST_PACE = 0.5, 3.0
"""Limits of the correction that the duration of one group applies to the next."""
MEMORY_SHARE = 0.9
"""Share of the free memory that runs may take by their estimates."""


@dataclass(slots=True)
class Lane:
    """A sequence of groups of runs, trained one after the other."""

    name: str
    child: Child | None = None
    group: Group | None = None
    pace: float = 1.0
    """Actual over predicted duration of the groups so far."""

    def has(self, request: RunRequest) -> bool:
        """Whether a run belongs to this lane: runs with an engine on the CPU have a lane to themselves."""
        return request.key.task.startswith(ENGINE) == (self.name == "engine")


@dataclass(slots=True)
class Trainer:
    """Trains the missing runs of a programme that finish in time."""

    site: Site
    programme: Programme
    mode: str
    timings: Sequence[Entry]
    """Timings taken on this GPU, in any mode."""
    done: set[RunKey]
    """Runs that are published, packed or made, or have failed in this lease."""
    results: Path
    finished: Callable[[], Sequence[Path]]
    """Gives the folders of all finished runs."""
    pack: Callable[[], None]
    """Called after each group."""
    lanes: tuple[Lane, Lane] = field(default_factory=lambda: (Lane("tensors"), Lane("engine")))

    def run(self) -> None:
        """Run both lanes concurrently, until no further group finishes in time."""
        site = self.site
        site.say(f"missing: {counted(len(self.missing()), 'run')}, to be made in mode {self.mode}")
        self._say_what_is_left_out()
        while site.left > 0:
            for lane in self.lanes:
                if lane.child is None:
                    self._begin(lane)
            if all(lane.child is None for lane in self.lanes):
                site.say("no missing run finishes in the remaining time")
                return
            time.sleep(POLL_SECONDS)
            for lane in self.lanes:
                if lane.child is not None and lane.child.ended:
                    self._take(lane)
                    self._begin(lane)
                    self.pack()
        for lane in self.lanes:
            if lane.child is not None:
                self._take(lane)

    def missing(self) -> list[RunRequest]:
        """The requested runs that are still missing, in order and with their settings."""
        requests = (request for request in self.programme.requests if request.key not in self.done)
        return [self.programme.request_in_mode(request, self.mode) for request in requests]

    def groups(self, lane: Lane) -> list[Group]:
        """Groups of missing runs of a lane whose duration can be predicted."""
        found = (self._group(requests, lane) for requests in grouped(filter(lane.has, self.missing())))
        return [group for group in found if group is not None]

    def _group(self, requests: tuple[RunRequest, ...], lane: Lane) -> Group | None:
        try:
            config = requests[0].resolve(self.site.device)
            known = gpu_timings.estimate(self.timings, config, self.mode)
            if known is None:
                return None
            most = self._most_in_memory(config)
        except MENDABLE:  # reported by `_say_what_is_left_out`
            return None
        beside = any(other.child is not None for other in self.lanes if other is not lane)
        factor = MARGIN * lane.pace * (SIDE_BY_SIDE if beside else 1.0)
        seconds, first = known
        begin = START_SECONDS / 5 if self.site.rehearsed else START_SECONDS

        def predicted(count: int) -> float:
            together = gpu_timings.together_factor(self.timings, count)
            return begin + factor * (count * first + together * seconds)

        return Group(requests, predicted, most)

    def _most_in_memory(self, config: RunConfig) -> int:
        from benchmark import memory

        gpu = self.site.facts.get("gpu")
        free = gpu["free_gib"] * GIB if gpu else memory.available_bytes("cpu")
        return int(MEMORY_SHARE * free / memory.estimate(config).total)

    def _say_what_is_left_out(self) -> None:
        """Report the kinds of runs that nothing predicts or that cannot be made here."""
        known = {(group.task, group.requests[0].key.algorithm) for lane in self.lanes for group in self.groups(lane)}
        reasons: Counter[str] = Counter()
        for request in self.missing():
            if (request.key.task, request.key.algorithm) not in known:
                reasons[f"{request.key.task}: {self._obstacle(request)}"] += 1
        for reason, count in reasons.items():
            self.site.say(f"left out: {counted(count, 'run')} of {reason}")

    def _obstacle(self, request: RunRequest) -> str:
        try:
            request.resolve(self.site.device).spec()
        except MENDABLE as error:
            return str(error)
        return f"no timing predicts them in mode {self.mode}"

    def _begin(self, lane: Lane) -> None:
        """Begin the first of the groups now chosen, if any."""
        chosen = choose(self.groups(lane), self.site.left)
        if not chosen:
            return
        lane.group = chosen[0]
        limits = ["--results", str(self.results), "--seconds", f"{self.site.left:.1f}"]
        lane.child = self.site.work("runs", *limits, given=as_json(lane.group.requests))
        self.site.say(
            f"begun: {lane.group}, {lane.group.predicted:.0f} s predicted of {self.site.left:.0f} left; "
            f"{counted(len(chosen) - 1, 'group')} waiting in lane {lane.name}"
        )

    def _take(self, lane: Lane) -> None:
        """Record how the group of a lane ended, or end it when its time is up."""
        child, group = lane.child, lane.group
        assert child is not None
        assert group is not None
        lane.child = lane.group = None
        seconds, in_time = child.seconds, child.ended
        child.stop(at_once=True)
        reasons = {found["seed"]: found["reason"] for line in child.new_lines() if (found := _as_run(line))}
        made = {key_of_folder(folder) for folder in self.finished()}
        lost = [request for request in group.requests if request.key not in made]
        for request in lost:
            reason = reasons.get(request.key.seed) or (last_line(child) if in_time else "the lease is over")
            self.site.say(f"lost: {request.key.task} {request.key.algorithm} seed {request.key.seed}: {reason}")
        self.done |= {request.key for request in group.requests}
        if not lost:
            lane.pace = min(SLOWEST_PACE, max(FASTEST_PACE, lane.pace * seconds / group.predicted))
        self.site.say(f"ended: {group} after {seconds:.0f} s, {group.predicted:.0f} predicted")


def look_up_memory(programme: Programme, mode: str, device: str) -> Callable[[], None]:
    """Begin to estimate the memory of each kind of run in a thread, so that runs need not wait for it; results are
    cached. Returns a function that stops the thread and must be called."""
    from benchmark import memory

    over = threading.Event()

    def look_up() -> None:
        for requests in grouped(programme.requests):
            if over.is_set():
                return
            with contextlib.suppress(*MENDABLE):  # reported when runs are chosen
                memory.estimate(programme.request_in_mode(requests[0], mode).resolve(device))

    thread = threading.Thread(target=look_up)
    thread.start()

    def end() -> None:
        over.set()
        thread.join()

    return end


def _as_run(line: str) -> dict[str, Any]:
    """The run that a line of `benchmark.lease.work` reports; empty where the line reports something else."""
    return json.loads(line) if line.startswith('{"task"') else {}


def key_of_folder(folder: Path) -> RunKey:
    """The key of the run in a folder."""
    return RunKey.of(read_json(folder / CONFIG))
