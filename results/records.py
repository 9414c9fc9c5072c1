"""What a run leaves behind, as small frozen records. Steps are environment steps, times are seconds."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from results.identity import hash_of

COMPARED_ALGORITHMS = ("ip", "qmix", "maddpg", "maddpgs", "pic", "dgn", "iql")
"""Intention Propagation and the six baselines of the paper, in the order used by every figure and table."""

COMPARED_TASKS = (
    *(f"cityflow/{name}" for name in ("hangzhou_16", "manhattan_96")),
    *(f"cityflow/synthetic_{count}" for count in (49, 100, 225, 1225)),
    *(f"mpe/cooperative_navigation_{count}" for count in (15, 30, 200)),
    *(f"mpe/{name}_100" for name in ("heterogeneous_navigation", "cooperative_push", "prey_and_predator")),
    "magent/jungle_20",
)
"""The 13 tasks of the paper's Table 1."""

POLICIES = ("greedy", "sampled")
"""How actions are chosen in an evaluation: the most probable one, or drawn from the policy."""

STATES = ("running", "finished", "failed")


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts ``navigation_15`` before ``navigation_200``."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


class ResultsError(Exception):
    """Results cannot be read or written; the message is one line naming the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Which run it is: one algorithm on one task, in one variant, with one seed."""

    task: str
    variant: str
    algorithm: str
    seed: int

    def __str__(self) -> str:
        return f"{self.task}/{self.algorithm}/{self.variant}/seed_{self.seed}"

    def order(self) -> tuple[Any, ...]:
        """Sort key: tasks in natural order, the default variant first, the paper's algorithms in its order, seeds."""
        known = self.algorithm in COMPARED_ALGORITHMS
        place = COMPARED_ALGORITHMS.index(self.algorithm) if known else len(COMPARED_ALGORITHMS)
        variant = (self.variant != "default", self.variant)
        return natural_key(self.task), variant, place, self.algorithm, self.seed


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation of one policy: the return of every episode, and the other scores averaged over them."""

    step: int
    policy: str
    returns: tuple[float, ...]
    """Team reward summed over steps and agents, one per episode, rounded to float32 (as published)."""
    scores: dict[str, float]


@dataclass(frozen=True, slots=True)
class MetricRow:
    """What was logged at one step: training metrics, timings under names that start with ``timing/``, or what agents
    did and were up against since the row before, added up, under names that start with ``interpretation/``."""

    step: int
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Status:
    """How far a run has come."""

    state: str
    step: int
    message: str
    updated: str
    """ISO time of the last sign of life."""
    wall_seconds: float

    @property
    def finished(self) -> bool:
        return self.state == "finished"


@dataclass(frozen=True, slots=True)
class Run:
    """One run: what was asked (config), where (machine), how far (status), and what came out."""

    cell: Cell
    config: dict[str, Any]
    machine: dict[str, Any]
    status: Status
    evaluations: tuple[Evaluation, ...]
    metrics: tuple[MetricRow, ...]
    notes: tuple[str, ...]
    """What a reader must know about the files: a torn last line, replaced lines, metrics that are not finite."""
    full_evaluations: tuple[Evaluation, ...] = ()
    """The trained policies on longer episodes, for tasks that have them: the whole hour of traffic."""

    @property
    def config_hash(self) -> str:
        """Runs with the same one were made with the same settings."""
        return hash_of(self.config)

    @property
    def total_steps(self) -> int:
        return int(self.config["total_steps"])

    def last_evaluation_step(self) -> int | None:
        return max((evaluation.step for evaluation in self.evaluations), default=None)


@dataclass(frozen=True, slots=True)
class References:
    """Scripted policies on the evaluation episodes of one task: policy name to the return of every episode."""

    task: str
    evaluation_seed: int
    episodes: int
    returns: dict[str, tuple[float, ...]]
    full_returns: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """The same on longer episodes, for tasks that have them."""


@dataclass(frozen=True, slots=True)
class Episode:
    """A recorded episode of a run's trained policy. Its GIF stays in its file until `results.episodes.read_gif`."""

    path: Path = field(compare=False)
    """The GIF: equal episodes may lie in different places."""
    sha256: str
    bytes: int
    episode_return: float
    """The reported score of what was played."""
    steps: int
    """Environment steps that were played."""
    episode_steps: int
    """Those of a whole episode."""
    policy: str
    """greedy or sampled."""
    seed: int
    """Of the episode: it is the first of the evaluation with this seed."""
    frames: int
    pixels: int
    """Side of the frames, which are square."""

    @property
    def whole(self) -> bool:
        return self.steps == self.episode_steps


@dataclass(frozen=True, slots=True)
class Results:
    """Every run under one folder, in the order of their cells, and the reference policies of their tasks."""

    runs: tuple[Run, ...]
    references: dict[str, References] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What was found but is no run: seed folders without a config, repeated copies of a run."""
    episodes: dict[Cell, Episode] = field(default_factory=dict)
    """Recorded episodes, of those runs that have one."""
    lost: dict[str, str] = field(default_factory=dict)
    """Folders of runs that lost the file that says what they are, to what is wrong. A note says it too."""
