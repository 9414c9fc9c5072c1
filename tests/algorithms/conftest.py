"""Small problems for the algorithms' tests."""

from __future__ import annotations

import pytest
import torch

from algorithms.protocols import Batch, EnvironmentSpec, Graph


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def ring(num_agents: int, batch: int) -> Graph:
    """A ring: the neighbours of every agent are its predecessor and its successor."""
    agent = torch.arange(num_agents)
    neighbours = torch.stack([(agent - 1) % num_agents, (agent + 1) % num_agents], dim=-1)
    return Graph(neighbours.expand(batch, -1, -1), torch.ones(batch, num_agents, 2, dtype=torch.bool))


def random_graph(batch: int, agents: int, slots: int, generator: torch.Generator) -> Graph:
    """Random directed neighbour lists with a random degree from 0 to `slots`, without self and without repetition."""
    keys = torch.rand(batch, agents, agents, generator=generator)
    keys[:, torch.arange(agents), torch.arange(agents)] = 2.0
    neighbours = keys.argsort(-1)[..., :slots]
    degree = torch.randint(0, slots + 1, (batch, agents, 1), generator=generator)
    mask = torch.arange(slots) < degree
    return Graph(torch.where(mask, neighbours, 0), mask)


def spec(num_agents: int = 5, observation_dim: int = 4, num_actions: int = 3, kinds: int = 1) -> EnvironmentSpec:
    """A specification with `kinds` kinds of agents, alternating."""
    return EnvironmentSpec(
        num_agents=num_agents,
        observation_dim=observation_dim,
        num_actions=num_actions,
        episode_length=5,
        max_neighbours=2,
        agent_kinds=tuple(i % kinds for i in range(num_agents)),
    )


def random_batch(size: int, problem: EnvironmentSpec, generator: torch.Generator) -> Batch:
    """Transitions without meaning."""
    shape = (size, problem.num_agents)
    features = (*shape, problem.observation_dim)
    graph = ring(problem.num_agents, size)
    return Batch(
        observation=torch.randn(features, generator=generator),
        graph=graph,
        action=torch.randint(problem.num_actions, shape, generator=generator),
        reward=torch.randn(shape, generator=generator),
        next_observation=torch.randn(features, generator=generator),
        next_graph=graph,
        terminated=torch.rand(size, generator=generator) < 0.3,
    )
