"""Programme of a lease: the runs to make and the timings to take, in decreasing order of value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmark import suites
from benchmark.modes import PLAIN, in_mode, settings_of
from benchmark.requests import RunRequest
from results.keys import RunKey
from results.paper import COMPARED_ALGORITHMS

Item = dict[str, Any]
"""A timing to take, as read by `benchmark.lease.work`."""

FIRST_TASKS = (
    "mpe/cooperative_navigation_15",
    "magent/jungle_20",
    "cityflow/hangzhou_16",
    "mpe/cooperative_navigation_30",
)
"""Tasks trained before all others."""
STEPPED = ("mpe/cooperative_navigation_15", "magent/jungle_20", "cityflow/hangzhou_16")
"""Tasks whose environments are timed without a learner."""
STEPPED_COPIES = (100, 20, 4)
"""Numbers of copies with which these environments are timed."""
AGENTS = (15, 30, 100, 200)
"""Numbers of agents of cooperative navigation for which training is timed in every mode."""
ENGINE = "cityflow"
"""Platform whose environments step on the CPU, so that its runs proceed concurrently with those of the others."""
WITHOUT_EFFECT = {"training.checkpoint_replay_gib": 0, "training.checkpoint_seconds": 1e6}
"""Settings that turn checkpoints off, since an unfinished run is lost anyway."""
TOGETHER_SECONDS = 25.0
"""Time limit in seconds for timing several runs in one process."""


@dataclass(frozen=True, slots=True)
class Programme:
    """The work of one lease, in decreasing order of value."""

    requests: tuple[RunRequest, ...]
    """Runs to make, without the settings of a mode."""
    tasks: tuple[str, ...]
    """Cooperative navigation with growing numbers of agents, for timings in every mode."""
    stepped: tuple[str, ...]
    algorithms: tuple[str, ...]
    settings: Mapping[str, Any]
    """Settings of all trained runs; small in a rehearsal."""
    slack: float
    """Factor on time limits compared with a machine with a GPU, since a rehearsal may share a busy CPU."""
    together_steps: int
    """Environment steps of the runs that compare one run with several runs in one process."""
    together_runs: int
    """Number of these runs, which differ only in their seeds."""

    def items(self, modes: Sequence[str], folder: Path) -> list[Item]:
        """Timings to take in the available modes, of which the last is the fastest; those that predict the length of
        runs come first."""
        fast, first, later = modes[-1], self.tasks[0], self.tasks[1:]
        asked = list(dict.fromkeys(request.key.task for request in self.requests))
        wanted = asked[: len(FIRST_TASKS)]
        names = self.algorithms
        items = [self._training(first, name, fast) for name in names]
        items += [self._training(first, name, mode) for mode in modes[1:-1] for name in names]
        items += [self._training(task, name, fast) for task in wanted if task not in self.tasks for name in names]
        items += [self._together(first, name, fast, folder) for name in dict.fromkeys((names[-1], names[0]))]
        items += [self._environment(task, copies) for task in self.stepped for copies in STEPPED_COPIES]
        items += [self._training(task, name, fast) for task in later for name in names]
        items += [self._training(first, name, PLAIN) for name in names]
        items += [self._training(t, n, mode) for t in later for mode in (*modes[1:-1], PLAIN) for n in names]
        others = [task for task in asked if task not in (*wanted, *self.tasks)]
        items += [self._training(task, name, fast) for task in others for name in names]
        unique: list[Item] = []
        for item in items:
            if item not in unique:
                unique.append(item)
        return unique

    def _training(self, task: str, algorithm: str, mode: str) -> Item:
        settings = dict(self.settings) | settings_of(mode, task) | _small_copies(self.settings)
        return {"what": "training", "task": task, "algorithm": algorithm, "mode": mode, "settings": settings}

    def _environment(self, task: str, copies: int) -> Item:
        return {"what": "environment", "task": task, "copies": copies}

    def _together(self, task: str, algorithm: str, mode: str, folder: Path) -> Item:
        steps = self.together_steps
        settings = dict(self.settings) | settings_of(mode, task) | _small_copies(self.settings) | WITHOUT_EFFECT
        settings |= {"training.log_interval": max(1, steps // 4), "training.evaluation_interval": 10 * steps}
        item = {"what": "together", "task": task, "algorithm": algorithm, "mode": mode, "runs": self.together_runs}
        return item | {
            "steps": steps,
            "settings": settings,
            "folder": str(folder),
            "limit_s": TOGETHER_SECONDS * self.slack,
        }

    def request_in_mode(self, request: RunRequest, mode: str) -> RunRequest:
        """A requested run with the settings of a mode."""
        overrides = in_mode(request.overrides, mode, request.key.task) | _small_copies(self.settings)
        return replace(request, overrides=overrides | WITHOUT_EFFECT)


def _small_copies(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A number of copies that was chosen for everything, which counts more than that of a mode."""
    return {name: value for name, value in settings.items() if name == "training.num_envs"}


def paper() -> Programme:
    """The suite `all`, with the first tasks at the front."""
    requests = suites.paper()
    order = {task: number for number, task in enumerate(FIRST_TASKS)}
    requests = sorted(requests, key=lambda request: order.get(request.key.task, len(order)))
    tasks = tuple(f"mpe/cooperative_navigation_{agents}" for agents in AGENTS)
    return Programme(tuple(requests), tasks, STEPPED, COMPARED_ALGORITHMS, {}, 1.0, 8_000, len(suites.PAPER_SEEDS))


REHEARSAL = "rehearsal"
"""Variant of rehearsed runs, which keeps them apart from all others."""


def rehearsal() -> Programme:
    """A small-scale rehearsal on a CPU: two algorithms, three small tasks, at most two seeds."""
    settings: dict[str, Any] = {
        "training.num_envs": 4,
        "training.batch_size": 16,
        "training.learning_starts": 300,
        "training.evaluation_interval": 200,
        "training.evaluation_episodes": 2,
        "training.log_interval": 100,
        "algorithm.hidden": 16,
    }
    tasks = ("mpe/cooperative_navigation_3", "mpe/cooperative_navigation_6")
    wanted = [(tasks[0], name, seed) for name in ("iql", "ip") for seed in (0, 1)]
    wanted += [(task, "iql", 0) for task in ("magent/jungle_6", "cityflow/synthetic_4")]
    requests = tuple(RunRequest(RunKey(task, name, REHEARSAL, seed), 400, settings) for task, name, seed in wanted)
    stepped = (tasks[0], "magent/jungle_6", "cityflow/synthetic_4")
    return Programme(requests, tasks, stepped, ("ip", "iql"), settings, 20.0, 800, 2)
