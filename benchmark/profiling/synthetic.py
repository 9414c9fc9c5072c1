"""Synthetic tasks and transitions with the shapes of the paper's tasks but without their dynamics, for measuring
learners."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from algorithms.common.exploration import uniform_actions
from algorithms.common.masks import missing_actions, without_missing
from algorithms.protocols import Batch, EnvironmentSpec, Graph

ROAD_GRID_AGENTS = 1225
"""Intersections of the largest road network of the paper, 35 x 35."""


def problem(num_agents: int) -> EnvironmentSpec:
    """Specification of a task with `num_agents` agents: a road grid for 1,225, otherwise cooperative navigation.

    Raises ValueError for fewer than two agents.
    """
    if num_agents < 2:
        raise ValueError(f"num_agents = {num_agents}: expected at least 2")
    return road_grid_spec(num_agents) if num_agents == ROAD_GRID_AGENTS else navigation_spec(num_agents)


def navigation_spec(num_agents: int) -> EnvironmentSpec:
    """Specification of `mpe/cooperative_navigation_N`, for 6 agents and more."""
    return EnvironmentSpec(
        num_agents=num_agents,
        observation_dim=26,
        num_actions=5,
        episode_length=25,
        max_neighbours=min(4 if num_agents < 30 else 8, num_agents - 1),
        agent_kinds=(0,) * num_agents,
        relaxed_actions=True,
    )


def road_grid_spec(num_agents: int) -> EnvironmentSpec:
    """Specification of a square grid of intersections with traffic lights of 8 phases, which receive messages from
    adjacent ones."""
    return EnvironmentSpec(
        num_agents=num_agents,
        observation_dim=24,
        num_actions=8,
        episode_length=100,
        max_neighbours=4,
        agent_kinds=(0,) * num_agents,
        static_graph=True,
    )


def random_batch(
    spec: EnvironmentSpec, size: int, action_width: int, generator: torch.Generator, static: Graph | None = None
) -> Batch:
    """Random transitions, on the generator's device.

    Actions are indices, or vectors for a learner whose `action_width` is not 0: rows of a softmax over discrete
    actions, or components uniform in [-1, 1] where the task's actions are continuous. Unavailable actions do not occur.
    A static graph is `static` (1, agent, neighbour) for all transitions, by default a grid (raises ValueError where the
    number of agents is not a square); other graphs are drawn uniformly.
    """
    device, shape = generator.device, torch.Size((size, spec.num_agents))
    missing = missing_actions(spec, device)

    def normal(*trailing: int) -> Tensor:
        return torch.randn(*shape, *trailing, generator=generator, device=device)

    if not action_width:
        action = uniform_actions(shape, spec.num_actions, missing, generator)
    elif spec.action_dim:
        action = 2 * torch.rand(*shape, action_width, generator=generator, device=device) - 1
    else:
        action = torch.softmax(without_missing(normal(action_width), missing), dim=-1)

    def graph_of_batch() -> Graph:
        if static is not None:
            return Graph(*(part.to(device).expand(size, -1, -1) for part in static))
        return grid_graph(spec, size, device) if spec.static_graph else random_graph(spec, size, generator)

    graph, next_graph = graph_of_batch(), graph_of_batch()
    return Batch(
        observation=normal(spec.observation_dim),
        graph=graph,
        action=action,
        reward=normal(),
        next_observation=normal(spec.observation_dim),
        next_graph=next_graph,
        terminated=torch.rand(size, generator=generator, device=device) < 0.1,
    )


def random_graph(spec: EnvironmentSpec, size: int, generator: torch.Generator) -> Graph:
    """`max_neighbours` distinct other agents for every agent (batch, agent, neighbour), all subsets equally likely.

    Floyd's algorithm: step j draws from 0 to j, and takes j itself where the drawn number has been taken before.
    """
    others, slots = spec.num_agents - 1, spec.max_neighbours
    device = generator.device
    taken = torch.full((size, spec.num_agents, slots), -1, device=device)
    for slot, last in enumerate(range(others - slots, others)):
        drawn = torch.randint(last + 1, (size, spec.num_agents), generator=generator, device=device)
        repeated = (taken == drawn[..., None]).any(-1)
        taken[..., slot] = torch.where(repeated, last, drawn)
    agent = torch.arange(spec.num_agents, device=device)[:, None]
    neighbours = taken + (taken >= agent)  # from ranks among the others to indices of agents
    return Graph(neighbours, torch.ones_like(taken, dtype=torch.bool))


def grid_graph(spec: EnvironmentSpec, size: int, device: torch.device) -> Graph:
    """Graph of a square grid, expanded to `size` transitions but stored once; missing neighbours are masked."""
    side = math.isqrt(spec.num_agents)
    if side * side != spec.num_agents or spec.max_neighbours < 4:
        raise ValueError(
            f"{spec.num_agents} agents with {spec.max_neighbours} neighbours are no square grid: "
            "expected a square number of agents and at least 4 neighbours"
        )
    agent = torch.arange(spec.num_agents, device=device)
    row, column = agent.div(side, rounding_mode="floor"), agent % side
    neighbours = torch.zeros(spec.num_agents, spec.max_neighbours, dtype=torch.int64, device=device)
    mask = torch.zeros_like(neighbours, dtype=torch.bool)
    for slot, (down, right) in enumerate(((-1, 0), (1, 0), (0, -1), (0, 1))):
        there_row, there_column = row + down, column + right
        mask[:, slot] = (there_row >= 0) & (there_row < side) & (there_column >= 0) & (there_column < side)
        neighbours[:, slot] = torch.where(mask[:, slot], there_row * side + there_column, 0)
    return Graph(neighbours.expand(size, -1, -1), mask.expand(size, -1, -1))
