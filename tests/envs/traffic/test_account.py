"""The account of signals: divergences at intersections by hand, and what a checkpoint keeps of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from envs.traffic.account import AT_INTERSECTIONS, divergences
from envs.traffic.environment import TrafficEnvironment
from tests.envs.traffic.hand import city, random_actions

SMALL = "cityflow/synthetic_4"


def test_divergence_by_hand() -> None:
    """Counts (3, 1) against (0, 2), a third movement left out: shares 3.5/5, 1.5/5 against 0.5/3, 2.5/3."""
    counted = np.array([[True, True, False], [False, False, False]])
    traffic, greens = np.array([[3.0, 1.0, 9.0]] * 2), np.array([[0.0, 2.0, 9.0]] * 2)
    expected = 0.7 * math.log(0.7 / (0.5 / 3)) + 0.3 * math.log(0.3 / (2.5 / 3))
    assert divergences(traffic, greens, counted).tolist() == pytest.approx([expected, 0.0])
    assert divergences(traffic, traffic, counted).tolist() == [0.0, 0.0]


def test_sums_over_intersections_and_episodes(generator: torch.Generator) -> None:
    """Every intersection's counts of an episode by themselves, taken from the account just before the end."""
    environment = city(SMALL, 2, episode_seconds=200)
    environment.reset(0)
    expected, episodes = dict.fromkeys(AT_INTERSECTIONS, 0.0), 2
    for _ in range(episodes):
        for _ in range(environment.spec.episode_length):
            environment.step(random_actions(environment, generator))
        account = environment.account
        opens = environment.signals.greens.max(1) > 0
        for copy in range(2):
            for agent in range(4):
                counted = np.flatnonzero(opens[agent])
                assert len(counted) == 8
                parts = (account.episode_present, account.episode_arrived, account.episode_greens)
                present, arrived, greens = (part[copy, agent, counted] + 0.5 for part in parts)
                assert greens.sum() == pytest.approx(environment.spec.episode_length + 4)
                for name, traffic in (("present", present), ("arrived", arrived)):
                    p = traffic / traffic.sum()
                    expected[name] += float((p * np.log(p / (greens / greens.sum()))).sum())
                    expected[f"{name}_even"] += float((p * np.log(p * 8)).sum())
                expected["episodes"] += 1
        environment.reset()
        assert not account.episode_present.any()
    taken = environment.take_statistics()["at_intersections"]
    assert taken == pytest.approx(expected)
    assert taken["episodes"] == 4 * 2 * episodes
    assert 0 < taken["present_even"] < taken["present"]


def test_goes_on_from_the_middle_of_an_episode(generator: torch.Generator) -> None:
    environment, other = city(SMALL, 1, episode_seconds=200), city(SMALL, 1, episode_seconds=200)
    environment.reset(0)
    actions = [random_actions(environment, generator) for _ in range(environment.spec.episode_length)]
    for action in actions[:12]:
        environment.step(action)
    other.load_state_dict(environment.state_dict())
    for action in actions[12:]:
        environment.step(action)
        other.step(action)
    assert environment.take_statistics() == other.take_statistics()


@pytest.mark.parametrize(
    "damage", [lambda account: account.pop("arrived"), lambda account: account["greens"].resize_(1)]
)
def test_damaged_states_are_refused(damage: Any) -> None:
    environment: TrafficEnvironment = city(SMALL, 1)
    environment.reset(0)
    state = environment.state_dict()
    damage(state["account"])
    with pytest.raises(ValueError, match=r"the account of signals is damaged: expected (arrived|greens) of shape"):
        environment.load_state_dict(state)
    with pytest.raises(ValueError, match="not a state of a traffic environment: account missing, as in a damaged file"):
        environment.load_state_dict({name: part for name, part in state.items() if name != "account"})
