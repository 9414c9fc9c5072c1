"""The graph: an agent's neighbours are the other agents nearest to it (true distance; ties go to the lower number)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from envs.mpe.compiled import kernel
from envs.mpe.nearest import smallest, split, squared_distances
from envs.shapes import Float, Int


def nearest_agents(
    position: Float[Tensor, "env entity xy"], num_agents: int, count: int, use_numba: bool
) -> Int[Tensor, "env agent neighbour"]:
    """The `count` nearest other agents of each agent, nearest first, in a new tensor; agents are the first `num_agents`
    entities."""
    if not use_numba:
        return nearest_agents_torch(position[:, :num_agents], count)
    neighbours = np.empty((position.shape[0], num_agents, count), np.int64)
    nearest_agents_numba(position.numpy(), neighbours)
    return torch.from_numpy(neighbours)


def nearest_agents_torch(position: Float[Tensor, "env agent xy"], count: int) -> Int[Tensor, "env agent neighbour"]:
    """The nearest other agents of every agent; equal to `nearest_agents_numba`."""
    squared = (position[:, None] - position[:, :, None]).square().sum(-1)
    squared.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    return squared.argsort(dim=-1, stable=True)[..., :count].contiguous()


@kernel
def nearest_agents_numba(position: np.ndarray, neighbours: np.ndarray) -> None:
    """Write the nearest other agents of every agent to `neighbours` (env, agent, neighbour)."""
    num_agents, count = neighbours.shape[1:]
    columns = np.empty((2, position.shape[1]), position.dtype)
    squared = np.empty(num_agents, position.dtype)
    held = np.empty(count, position.dtype)
    for env in range(position.shape[0]):
        split(position[env], columns)
        for agent in range(num_agents):
            squared_distances(columns, columns[0, agent], columns[1, agent], 0, num_agents, squared)
            squared[agent] = np.inf
            smallest(squared, num_agents, neighbours[env, agent], count, held)
