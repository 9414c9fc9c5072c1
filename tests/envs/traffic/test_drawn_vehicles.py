"""Synthetic cities whose episodes have vehicles of their own."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

import envs
from envs.errors import EnvironmentNotAvailableError
from envs.traffic.environment import TrafficEnvironment

TASK = "cityflow/synthetic_4"


def make(copies: int, **settings: object) -> TrafficEnvironment:
    environment = envs.make(TASK, copies, vehicles="drawn", episode_seconds=300, **settings)
    assert isinstance(environment, TrafficEnvironment)
    return environment


def play(environment: TrafficEnvironment, steps: int = 30, seed: int = 0) -> list[torch.Tensor]:
    """Rewards of a random policy."""
    generator = torch.Generator().manual_seed(seed)
    shape = (1, environment.spec.num_agents)
    actions = [torch.randint(8, shape, generator=generator) for _ in range(steps)]
    return [environment.step(action.expand(environment.num_envs, -1)).reward for action in actions]


def test_episodes_differ_and_seeds_repeat_them() -> None:
    environment = make(2)
    environment.reset(5)
    first = play(environment)
    assert not torch.equal(first[-1][0], first[-1][1]), "copies have vehicles of their own"
    environment.reset()
    assert not torch.equal(torch.stack(play(environment)), torch.stack(first)), "so have the next episodes"
    environment.reset(5)
    assert torch.equal(torch.stack(play(environment)), torch.stack(first))
    environment.reset(6)
    assert not torch.equal(torch.stack(play(environment)), torch.stack(first))


def test_copies_are_the_episodes_one_after_the_other() -> None:
    both, single = make(2), make(1)
    both.reset(1)
    together = torch.stack(play(both))
    single.reset(1)
    one = torch.stack(play(single))
    single.reset()
    two = torch.stack(play(single))
    assert torch.equal(together, torch.cat([one, two], dim=1))


def test_saved_episodes_go_on_exactly() -> None:
    environment = make(2)
    environment.reset(3)
    environment.reset()
    play(environment, 12)
    stream = io.BytesIO()
    torch.save(environment.state_dict(), stream)
    stream.seek(0)
    expected = torch.stack(play(environment, 18, seed=1))
    again = make(2)
    again.load_state_dict(torch.load(stream, weights_only=True))
    assert torch.equal(torch.stack(play(again, 18, seed=1)), expected)
    environment.reset()
    again.reset()
    assert torch.equal(torch.stack(play(environment)), torch.stack(play(again)))


def test_drawn_vehicles_are_of_the_same_kind() -> None:
    """As many as the fixed ones within five standard deviations of a Poisson number."""
    environment = make(8)
    environment.reset(0)
    fixed = len(environment.city.flows.arrays.kind)
    counts = [len(simulation.flows.arrays.kind) for simulation in environment.batch.simulations]
    assert len(set(counts)) > 1
    assert np.abs(np.array(counts) - fixed).max() < 5 * np.sqrt(2 * fixed)


@pytest.mark.parametrize(("task", "settings"), [("cityflow/hangzhou_16", {}), (TASK, {"engine": "cityflow"})])
def test_where_they_cannot_be_drawn(task: str, settings: dict[str, str]) -> None:
    with pytest.raises(EnvironmentNotAvailableError, match="synthetic cities"):
        envs.spec(task, vehicles="drawn", **settings)
