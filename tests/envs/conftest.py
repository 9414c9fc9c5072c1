"""Small particle environments in known states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import envs
from envs.mpe.environment import ParticleEnvironment

DATA = Path(__file__).with_name("data")
FAMILIES = (
    "mpe/cooperative_navigation_3",
    "mpe/cooperative_navigation_6",
    "mpe/cooperative_navigation_15",
    "mpe/heterogeneous_navigation_8",
    "mpe/cooperative_push_6",
    "mpe/cooperative_push_30",
    "mpe/prey_and_predator_3",
    "mpe/prey_and_predator_15",
)
"""At least one task of every kind of contact, order of observation, placement and reward."""


def particles(task: str, num_envs: int, **settings: Any) -> ParticleEnvironment:
    """An environment of a particle task, with its full type."""
    environment = envs.make(task, num_envs, **settings)
    assert isinstance(environment, ParticleEnvironment)
    return environment


def crowd(environment: ParticleEnvironment, seed: int, width: float = 0.6) -> None:
    """Put everything at random into a small square with random velocities, so that contacts are many."""
    generator = np.random.default_rng(seed)
    shape = (environment.num_envs, environment.scenario.num_entities, 2)
    position = torch.from_numpy(generator.uniform(-width, width, shape))
    velocity = torch.from_numpy(generator.uniform(-1, 1, shape))
    velocity[:, environment.scenario.num_movable :] = 0
    environment.set_state(position, velocity)


def random_actions(environment: ParticleEnvironment, generator: torch.Generator) -> torch.Tensor:
    """Uniform indices (env, agent)."""
    return torch.randint(5, (environment.num_envs, environment.spec.num_agents), generator=generator)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
