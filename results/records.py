"""What a run leaves behind, as small frozen records. Steps are environment steps, times are seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

COMPARED_ALGORITHMS = ("ip", "qmix", "maddpg", "maddpgs", "pic", "dgn", "iql")
"""Intention Propagation and the six baselines of the paper, in the order used by every figure and table."""

POLICIES = ("greedy", "sampled")
"""How actions are chosen in an evaluation: the most probable one, or drawn from the policy."""

STATES = ("running", "finished", "failed")


class ResultsError(Exception):
    """Results cannot be read or written; the message is one line naming the file and the remedy."""


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """Which run it is: one algorithm on one task, in one variant, with one seed."""

    task: str
    variant: str
    algorithm: str
    seed: int

    def __str__(self) -> str:
        return f"{self.task}/{self.algorithm}/{self.variant}/seed_{self.seed}"


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
    """What was logged at one step: training metrics, or timings under names that start with ``timing/``."""

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

    @property
    def config_hash(self) -> str:
        return str(self.config["config_hash"])

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


@dataclass(frozen=True, slots=True)
class Results:
    """Every run under one folder, in the order of their cells, and the reference policies of their tasks."""

    runs: tuple[Run, ...]
    references: dict[str, References] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What was found but is no run: seed folders without a config, repeated copies of a run."""
