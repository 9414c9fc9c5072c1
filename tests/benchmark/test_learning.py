"""Curves that must rise: the learners on small navigation, measured as the share of the gap from random play to a fixed
assignment that they close. Thresholds leave room for the noise of a seed."""

from __future__ import annotations

from typing import Any

import pytest

import algorithms
from benchmark.config import resolve
from benchmark.references import play
from benchmark.suites import difference_run
from benchmark.training import Training

EPISODES = 200


def normalised_score(task: str, algorithm: str, steps: int, overrides: dict[str, Any]) -> float:
    """Train one seed; the better of its greedy and sampled scores on the gap from random (0) to assignment (1)."""
    settings = overrides | {"training.evaluation_episodes": EPISODES}
    training = Training(resolve(task, algorithm, 0, steps, settings, "test"))
    while training.environment_step < steps:
        training.advance()
    score = max(sum(record["returns"]) / EPISODES for record in training.evaluate())
    seed = training.settings.evaluation_seed
    random, assignment = (sum(play(task, name, EPISODES, seed)) / EPISODES for name in ("random", "assignment"))
    return (score - random) / (assignment - random)


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "least"), [("ip", 0.40), ("dgn", 0.25), ("iql", 0.28)])
def test_difference_rewards_at_fifteen_agents(algorithm: str, least: float) -> None:
    request = difference_run(algorithm, seed=0)
    assert normalised_score(request.key.task, algorithm, request.total_steps, request.overrides) >= least


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", algorithms.ALGORITHMS)
def test_shared_reward_at_three_agents(algorithm: str) -> None:
    """The defaults of every algorithm, but for the batch. QMIX is the slowest to begin with."""
    settings = {"training.batch_size": 256}
    least = 0.08 if algorithm == "qmix" else 0.15
    assert normalised_score("mpe/cooperative_navigation_3", algorithm, 15_000, settings) >= least


@pytest.mark.slow
def test_continuous_forces_at_three_agents() -> None:
    """IP with a Gaussian policy, on the same scale as the discrete task."""
    settings = {"training.batch_size": 256, "environment.actions": "continuous", "algorithm.learning_rate": 0.003}
    assert normalised_score("mpe/cooperative_navigation_3", "ip", 15_000, settings) >= 0.15
