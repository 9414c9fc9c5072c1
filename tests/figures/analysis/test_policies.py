"""Which policy counts, what an algorithm learned from, and when a policy has collapsed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

import envs
from algorithms import ALGORITHMS, config_type
from algorithms.common.config import EpsilonGreedyConfig
from envs.games.games import game
from envs.games.names import TASKS
from figures.analysis.policies import (
    AGENT,
    DIFFERENCE,
    ENTROPY,
    ENTROPY_BOUND,
    ONE_PAYOFF,
    STOCHASTIC,
    TEAM,
    collapsed,
    headline_policy,
    learned_from,
    other_policy,
)
from results.keys import RunKey
from results.records import Evaluation, MetricRow, Run, Status

SCALE = (-100.0, 1.0)
"""Random play earns -100, the reference policy 0."""


def made_run(
    algorithm: str = "maddpg",
    task: str = "magent/jungle_20",
    entropies: Sequence[tuple[int, float]] = (),
    returns: Sequence[tuple[int, float]] = (),
    reward: str | None = "local",
    **settings: Any,
) -> Run:
    """A run whose sampled policy earned `returns`, and whose greedy one reached 100 %."""
    config: dict[str, Any] = {"total_steps": 4000, "algorithm_settings": settings}
    if reward is not None:
        config["environment"] = {"reward": reward}
    evaluations = [Evaluation(step, "sampled", (value,), {}) for step, value in returns]
    evaluations += [Evaluation(step, "greedy", (0.0,), {}) for step, _ in returns]
    metrics = tuple(MetricRow(step, {ENTROPY: value}) for step, value in entropies)
    status = Status("finished", 4000, "", "", 1.0)
    return Run(RunKey(task, algorithm, "default", 0), config, {}, status, tuple(evaluations), metrics, ())


def test_learners_of_stochastic_policies_are_those_without_exploration_noise() -> None:
    """The list here and the learners agree: a Q-learner has an epsilon."""
    assert {name for name in ALGORITHMS if not issubclass(config_type(name), EpsilonGreedyConfig)} == STOCHASTIC
    for name in ALGORITHMS:
        assert headline_policy(name) == ("sampled" if name in STOCHASTIC else "greedy")
        assert {headline_policy(name), other_policy(name)} == {"greedy", "sampled"}


@pytest.mark.parametrize(
    ("algorithm", "reward", "settings", "expected"),
    [
        ("ip", "local", {}, AGENT),
        ("iql", "shared", {}, TEAM),
        ("dgn", "difference", {}, DIFFERENCE),
        ("qmix", "local", {}, TEAM),
        ("vdn", "difference", {}, TEAM),
        ("maddpg", "local", {}, TEAM),
        ("pic", "local", {"value": "own"}, AGENT),
        ("maddpgs", "difference", {"value": "own"}, DIFFERENCE),
        ("ip", None, {}, TEAM),
    ],
)
def test_what_is_learned_from_follows_from_the_config(
    algorithm: str, reward: str | None, settings: dict[str, Any], expected: str
) -> None:
    assert learned_from(made_run(algorithm, reward=reward, **settings)) == expected


def test_games_with_one_payoff_pay_everyone_the_same() -> None:
    common = {name for name in TASKS if game(name).one_payoff or envs.spec(name).num_agents == 1}
    assert common == {name for name in TASKS if name.startswith(ONE_PAYOFF)}
    for name in TASKS:
        assert (learned_from(made_run("ip", task=name)) == TEAM) == (name in common)


LOW = ENTROPY_BOUND / 2


@pytest.mark.parametrize(
    ("entropies", "returns", "expected"),
    [
        ([(1000, 2.0), (2000, LOW)], [(0, -100.0), (2000, -95.0), (4000, -92.0)], True),
        ([(1000, 2.0), (2000, LOW)], [(0, -100.0), (2000, -50.0), (4000, -92.0)], False),  # it had learned before
        ([(1000, 2.0), (2000, LOW)], [(0, -100.0), (2000, -95.0), (4000, -50.0)], False),  # it learned all the same
        ([(1000, 2.0), (2000, 1.0)], [(0, -100.0), (2000, -95.0), (4000, -92.0)], False),  # it still explores
        ([(1000, LOW)], [(2000, -95.0), (4000, -92.0)], True),  # before the first evaluation
        ([(1000, LOW)], [], False),  # nothing is known
        ([], [(0, -100.0), (4000, -100.0)], False),  # not logged
    ],
)
def test_a_policy_collapses_before_it_has_learned(
    entropies: list[tuple[int, float]], returns: list[tuple[int, float]], expected: bool
) -> None:
    run = made_run(entropies=entropies, returns=returns)
    assert collapsed(run, SCALE) == expected
    assert not collapsed(run, None), "without a scale nobody knows what was learned"
