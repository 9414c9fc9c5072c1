"""Who hears whom: every agent hears its nearest other agents (true distance, lower number first when equal)."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from envs.shapes import Float, Int


def nearest_agents(position: Float[Tensor, "env agent xy"], count: int, use_numba: bool) -> Int[Tensor, "env agent n"]:
    """The `count` nearest others of every agent, nearest first; a new tensor."""
    if not use_numba:
        return nearest_agents_torch(position, count)
    neighbours = np.empty((position.shape[0], position.shape[1], count), np.int64)
    nearest_agents_numba(position.numpy(), neighbours)
    return torch.from_numpy(neighbours)


def nearest_agents_torch(position: Float[Tensor, "env agent xy"], count: int) -> Int[Tensor, "env agent n"]:
    """The same as `nearest_agents_numba`."""
    squared = (position[:, None] - position[:, :, None]).square().sum(-1)
    squared.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    return squared.argsort(dim=-1, stable=True)[..., :count].contiguous()


@njit(cache=True, nogil=True)
def nearest_agents_numba(position: np.ndarray, neighbours: np.ndarray) -> None:
    """Write the nearest others of every agent to `neighbours`."""
    count = neighbours.shape[2]
    distances = np.empty(count)
    for env in range(position.shape[0]):
        for agent in range(position.shape[1]):
            nearest = neighbours[env, agent]
            nearest[:] = 0
            distances[:] = np.inf
            for other in range(position.shape[1]):
                dx = position[env, other, 0] - position[env, agent, 0]
                dy = position[env, other, 1] - position[env, agent, 1]
                squared = dx * dx + dy * dy
                if other == agent or squared >= distances[count - 1]:
                    continue
                slot = count - 1
                while slot > 0 and squared < distances[slot - 1]:
                    distances[slot] = distances[slot - 1]
                    nearest[slot] = nearest[slot - 1]
                    slot -= 1
                distances[slot] = squared
                nearest[slot] = other
