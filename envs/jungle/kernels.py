"""Jungle compiled for the CPU: the fastest of the three engines."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from envs.jungle.compiled import kernel
from envs.jungle.rules import Jungle
from envs.shapes import Float, Int

# Contents of a cell: one of these values, or FIRST plus the number of an agent.
_FREE, _WALL, _FOOD, _FIRST = 0, 1, 2, 3
_NUM_MOVES, _STAY, _RADIUS, _SIDE = 5, 2, 5, 11
_DX = np.array([0, -1, 0, 1, 0, 0, -1, 1, 0])
_DY = np.array([-1, 0, 0, 0, 1, -1, 0, 0, 1])
_MOST_AGENTS = 1024
"""A power of two such that a squared distance times it plus the number of an agent fits into 32 bits."""
_FARTHEST = np.int32(2**31 - 1)
_ATTACK_PENALTY, _FOOD_REWARD, _HIT_REWARD, _VICTIM_PENALTY = (
    np.float32(-0.01),
    np.float32(1),
    np.float32(2),
    np.float32(-4),
)


class NumbaEngine:
    """Copies of Jungle in lockstep; implements `envs.jungle.environment.Engine`."""

    def __init__(self, jungle: Jungle, num_envs: int, num_neighbours: int) -> None:
        self.jungle, self.num_neighbours = jungle, num_neighbours
        self._position = np.zeros((num_envs, jungle.num_agents, 2), np.int64)
        self._before = self._position.copy()
        self._food = np.zeros((num_envs, jungle.num_foods, 2), np.int64)
        self._ground = np.zeros((num_envs, jungle.side, jungle.side), np.int16)

    def place(self, position: Int[Tensor, "env agent xy"], food: Int[Tensor, "env food xy"]) -> None:
        """Place agents and foods on the given cells."""
        self._position[:] = position.numpy()
        self._food[:] = food.numpy()
        _lay_out(self._position, self._food, self._ground)

    @property
    def position(self) -> Int[Tensor, "env agent xy"]:
        """A copy of the agents' cells."""
        return torch.from_numpy(self._position.copy())

    @property
    def last_position(self) -> Int[Tensor, "env agent xy"]:
        """A copy of the agents' cells before the last step."""
        return torch.from_numpy(self._before.copy())

    def step(self, actions: Int[Tensor, "env agent"]) -> tuple[Float[Tensor, "env agent"], Float[Tensor, "env 4"]]:
        """Advance by one step; returns rewards and totals."""
        self._before[:] = self._position
        envs, agents = actions.shape
        reward, tally = np.empty((envs, agents), np.float32), np.zeros((envs, 4))
        _advance(actions.numpy(), self._position, self._ground, reward, tally)
        return torch.from_numpy(reward), torch.from_numpy(tally)

    def look(self) -> tuple[Float[Tensor, "env agent feature"], Int[Tensor, "env agent neighbour"]]:
        """Observations and neighbours of all agents."""
        envs, agents, _ = self._position.shape
        observation = np.empty((envs, agents, _SIDE * _SIDE + 2), np.float32)
        neighbours = np.empty((envs, agents, self.num_neighbours), np.int64)
        _look(self._position, self._food, self.jungle.side, observation, neighbours)
        return torch.from_numpy(observation), torch.from_numpy(neighbours)


@kernel
def _lay_out(position: np.ndarray, food: np.ndarray, ground: np.ndarray) -> None:
    """Write the contents of all cells to `ground`."""
    side = ground.shape[1]
    for env in range(ground.shape[0]):
        for y in range(side):
            for x in range(side):
                inside = 0 < x < side - 1 and 0 < y < side - 1
                ground[env, y, x] = _FREE if inside else _WALL
        for unit in range(food.shape[1]):
            ground[env, food[env, unit, 1], food[env, unit, 0]] = _FOOD
        for agent in range(position.shape[1]):
            ground[env, position[env, agent, 1], position[env, agent, 0]] = _FIRST + agent


@kernel
def _advance(
    actions: np.ndarray, position: np.ndarray, ground: np.ndarray, reward: np.ndarray, tally: np.ndarray
) -> None:
    """Resolve all attacks on the initial positions, then move agent by agent."""
    envs, agents = actions.shape
    received = np.empty(agents, np.int64)
    for env in range(envs):
        received[:] = 0
        for agent in range(agents):
            action = actions[env, agent]
            paid = np.float32(0)
            if action >= _NUM_MOVES:
                paid += _ATTACK_PENALTY
                struck = ground[env, position[env, agent, 1] + _DY[action], position[env, agent, 0] + _DX[action]]
                if struck == _FOOD:
                    paid += _FOOD_REWARD
                    tally[env, 1] += 1
                elif struck >= _FIRST:
                    paid += _HIT_REWARD
                    received[struck - _FIRST] += 1
                    tally[env, 2] += 1
                else:
                    tally[env, 3] += 1
            reward[env, agent] = paid
        for agent in range(agents):
            for _ in range(received[agent]):
                reward[env, agent] += _VICTIM_PENALTY
            tally[env, 0] += reward[env, agent]
            action = actions[env, agent]
            if action < _NUM_MOVES and action != _STAY:
                x, y = position[env, agent, 0], position[env, agent, 1]
                if ground[env, y + _DY[action], x + _DX[action]] == _FREE:
                    ground[env, y, x] = _FREE
                    x, y = x + _DX[action], y + _DY[action]
                    ground[env, y, x] = _FIRST + agent
                    position[env, agent, 0], position[env, agent, 1] = x, y


@kernel
def _look(position: np.ndarray, food: np.ndarray, side: int, observation: np.ndarray, neighbours: np.ndarray) -> None:
    """Write the observation of every agent and its nearest other agents, ties by lower number.

    The inner loops have no branches, because cell contents are too irregular for branch prediction. Invisible units are
    written to the entry after the view, which is overwritten last.
    """
    envs, agents = position.shape[:2]
    units = agents + food.shape[1]
    centre, outside, width = _RADIUS * _SIDE + _RADIUS, _SIDE * _SIDE, np.float32(side)
    x, y, cell = np.empty(units, np.int32), np.empty(units, np.int32), np.empty(units, np.int32)
    away, keys = np.empty(units, np.int32), np.empty(agents, np.int32)
    for env in range(envs):
        for unit in range(agents):
            x[unit], y[unit] = position[env, unit, 0], position[env, unit, 1]
        for unit in range(agents, units):
            x[unit], y[unit] = food[env, unit - agents, 0], food[env, unit - agents, 1]
        for agent in range(agents):
            for unit in range(units):
                dx, dy = x[unit] - x[agent], y[unit] - y[agent]
                squared = dx * dx + dy * dy
                away[unit] = squared
                cell[unit] = centre + dy * _SIDE + dx if squared <= _RADIUS * _RADIUS else outside
            for unit in range(agents):
                keys[unit] = away[unit] * _MOST_AGENTS + unit
            keys[agent] = _FARTHEST
            row = observation[env, agent]
            row[:] = 0
            for unit in range(agents):
                row[cell[unit]] = 1
            for unit in range(agents, units):
                row[cell[unit]] = -1
            row[outside], row[outside + 1] = np.float32(y[agent]) / width, np.float32(x[agent]) / width
            last = np.int32(-1)
            for slot in range(neighbours.shape[2]):
                last = _next(keys, last)
                neighbours[env, agent, slot] = last % _MOST_AGENTS


@kernel
def _next(keys: np.ndarray, last: np.int32) -> np.int32:
    """The smallest key greater than `last`."""
    best = _FARTHEST
    for slot in range(len(keys)):
        key = keys[slot]
        best = min(best, key if key > last else _FARTHEST)
    return best
