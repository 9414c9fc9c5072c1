"""Suites: named sets of runs.

smoke   minutes: every available scenario and algorithm once, to see that all of it works
quick   half an hour on two cores: learns visibly on small numbers of agents
proof   half an hour on two cores: who finds the known optimum of each game of the proving ground
all     the paper: 13 tasks, 7 algorithms, 5 seeds
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import algorithms
from benchmark.tasks import PROVING_GROUND, TABLE_1

PAPER_SEEDS = (0, 1, 2, 3, 4)


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a suite, not yet resolved."""

    task: str
    algorithm: str
    seed: int
    total_steps: int
    variant: str
    overrides: dict[str, Any] = field(default_factory=dict)


def smoke() -> list[Cell]:
    """The smallest task of every MPE scenario, a thousand steps each."""
    tasks = ("cooperative_navigation_3", "heterogeneous_navigation_4", "cooperative_push_3", "prey_and_predator_3")
    overrides = {
        "training.batch_size": 64,
        "training.learning_starts": 64,
        "training.evaluation_interval": 500,
        "training.evaluation_episodes": 20,
        "training.log_interval": 100,
    }
    return [
        Cell(f"mpe/{task}", algorithm, seed, 2_000, "smoke", overrides)
        for task in tasks
        for algorithm in algorithms.ALGORITHMS
        for seed in (0, 1)
    ]


def quick() -> list[Cell]:
    """Small cooperative navigation, two seeds: the paper's shared reward, and the difference reward at 15 agents."""
    return [
        cell(algorithm, seed)
        for cell in (_three_agents, _six_agents, difference_cell)
        for algorithm in algorithms.ALGORITHMS
        for seed in (0, 1)
    ]


def _three_agents(algorithm: str, seed: int) -> Cell:
    """Three agents, shared reward, the paper's batch."""
    overrides: dict[str, Any] = {"training.evaluation_interval": 2_500, "training.evaluation_episodes": 1000}
    if algorithm == "ip":
        overrides |= _gentle(0.001) | {"algorithm.alpha": 0.1}
    return Cell("mpe/cooperative_navigation_3", algorithm, seed, 30_000, "quick", overrides)


def _six_agents(algorithm: str, seed: int) -> Cell:
    """Six agents, shared reward, small batches."""
    overrides: dict[str, Any] = {
        "training.evaluation_interval": 2_500,
        "training.evaluation_episodes": 400,
        "training.batch_size": 256,
    }
    if algorithm == "ip":
        overrides |= _gentle(0.0) | {"algorithm.alpha": 0.05}
    return Cell("mpe/cooperative_navigation_6", algorithm, seed, 30_000, "quick", overrides)


def difference_cell(algorithm: str, seed: int) -> Cell:
    """Fifteen agents learning from difference rewards with the true neighbour order."""
    overrides: dict[str, Any] = {
        "environment.reward": "difference",
        "environment.neighbour_order": "true",
        "training.num_envs": 20,
        "training.batch_size": 64,
        "training.learning_starts": 64,
        "training.evaluation_interval": 1_250,
        "training.evaluation_episodes": 400,
    }
    if algorithm == "ip":
        overrides |= _gentle(0.0) | {"algorithm.credit": "own"}
    return Cell("mpe/cooperative_navigation_15", algorithm, seed, 15_000, "difference", overrides)


def _gentle(end: float) -> dict[str, Any]:
    """A smaller learning rate than Table 2's for short runs, and where it ends."""
    return {"algorithm.learning_rate": 0.003, "algorithm.learning_rate_end": end}


def proof() -> list[Cell]:
    """The games of the proving ground, with one setting of sizes for every algorithm and otherwise its defaults."""
    overrides: dict[str, Any] = {
        "training.num_envs": 20,
        "training.batch_size": 128,
        "training.learning_starts": 256,
        "training.evaluation_episodes": 500,
        "training.log_interval": 500,
        "algorithm.hidden": 64,
    }
    interval = "training.evaluation_interval"
    return [
        Cell(task.name, algorithm, seed, task.total_steps, "proof", overrides | {interval: task.total_steps // 10})
        for task in PROVING_GROUND
        for algorithm in algorithms.ALGORITHMS
        for seed in PAPER_SEEDS
    ]


def paper() -> list[Cell]:
    """Table 1 times seven algorithms times five seeds, with the settings of Table 2."""
    return [
        Cell(task.name, algorithm, seed, task.total_steps, "default")
        for task in TABLE_1
        for algorithm in algorithms.PAPER_ALGORITHMS
        for seed in PAPER_SEEDS
    ]


SUITES = {"smoke": smoke, "quick": quick, "proof": proof, "all": paper}
"""Name -> function that lists the cells."""
