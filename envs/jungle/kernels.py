"""Jungle on a CPU, compiled: the fastest of the three engines."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from envs.jungle.rules import Jungle
from envs.shapes import Float, Int

# What stands on a cell: one of these, or FIRST and up: the number of an agent. Numba's cache does not see changes in
# other files, so all that the kernels know stands in this one.
_FREE, _WALL, _FOOD, _FIRST = 0, 1, 2, 3
_NUM_MOVES, _STAY, _RADIUS, _SIDE = 5, 2, 5, 11
_DX = np.array([0, -1, 0, 1, 0, 0, -1, 1, 0])
_DY = np.array([-1, 0, 0, 0, 1, -1, 0, 0, 1])
_EFFORT, _MEAL, _BLOW, _WOUND = np.float32(-0.01), np.float32(1), np.float32(2), np.float32(-4)


class NumbaEngine:
    """Copies of Jungle in lockstep; implements `envs.jungle.environment.Engine`."""

    def __init__(self, jungle: Jungle, num_envs: int, num_neighbours: int) -> None:
        self.jungle, self.num_neighbours = jungle, num_neighbours
        self._position = np.zeros((num_envs, jungle.num_agents, 2), np.int64)
        self._food = np.zeros((num_envs, jungle.num_foods, 2), np.int64)
        self._ground = np.zeros((num_envs, jungle.side, jungle.side), np.int16)

    def place(self, position: Int[Tensor, "env agent xy"], food: Int[Tensor, "env food xy"]) -> None:
        """Put agents and foods on their cells."""
        self._position[:] = position.numpy()
        self._food[:] = food.numpy()
        _lay_out(self._position, self._food, self._ground)

    @property
    def position(self) -> Int[Tensor, "env agent xy"]:
        """A copy of where the agents are."""
        return torch.from_numpy(self._position.copy())

    def step(self, actions: Int[Tensor, "env agent"]) -> tuple[Float[Tensor, "env agent"], Float[Tensor, "env 4"]]:
        """Rewards and the tally of one step."""
        envs, agents = actions.shape
        reward, tally = np.empty((envs, agents), np.float32), np.zeros((envs, 4))
        _advance(actions.numpy(), self._position, self._ground, reward, tally)
        return torch.from_numpy(reward), torch.from_numpy(tally)

    def look(self) -> tuple[Float[Tensor, "env agent feature"], Int[Tensor, "env agent neighbour"]]:
        """Observations and neighbours."""
        envs, agents, _ = self._position.shape
        observation = np.empty((envs, agents, _SIDE * _SIDE + 2), np.float32)
        neighbours = np.empty((envs, agents, self.num_neighbours), np.int64)
        _look(self._position, self._food, self.jungle.side, observation, neighbours)
        return torch.from_numpy(observation), torch.from_numpy(neighbours)


@njit(cache=True, nogil=True)
def _lay_out(position: np.ndarray, food: np.ndarray, ground: np.ndarray) -> None:
    """Write what stands where."""
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


@njit(cache=True, nogil=True)
def _advance(
    actions: np.ndarray, position: np.ndarray, ground: np.ndarray, reward: np.ndarray, tally: np.ndarray
) -> None:
    """All attacks, on where everyone stands at first; then moves, agent by agent."""
    envs, agents = actions.shape
    blows = np.empty(agents, np.int64)
    for env in range(envs):
        blows[:] = 0
        for agent in range(agents):
            action = actions[env, agent]
            paid = np.float32(0)
            if action >= _NUM_MOVES:
                paid += _EFFORT
                struck = ground[env, position[env, agent, 1] + _DY[action], position[env, agent, 0] + _DX[action]]
                if struck == _FOOD:
                    paid += _MEAL
                    tally[env, 1] += 1
                elif struck >= _FIRST:
                    paid += _BLOW
                    blows[struck - _FIRST] += 1
                    tally[env, 2] += 1
                else:
                    tally[env, 3] += 1
            reward[env, agent] = paid
        for agent in range(agents):
            for _ in range(blows[agent]):
                reward[env, agent] += _WOUND
            tally[env, 0] += reward[env, agent]
            action = actions[env, agent]
            if action < _NUM_MOVES and action != _STAY:
                x, y = position[env, agent, 0], position[env, agent, 1]
                if ground[env, y + _DY[action], x + _DX[action]] == _FREE:
                    ground[env, y, x] = _FREE
                    x, y = x + _DX[action], y + _DY[action]
                    ground[env, y, x] = _FIRST + agent
                    position[env, agent, 0], position[env, agent, 1] = x, y


@njit(cache=True, nogil=True)
def _look(position: np.ndarray, food: np.ndarray, side: int, observation: np.ndarray, neighbours: np.ndarray) -> None:
    """Write what every agent sees, and who is nearest to it, lower numbers first among equally near ones."""
    envs, agents = position.shape[:2]
    foods, count = food.shape[1], neighbours.shape[2]
    centre, width = _RADIUS * _SIDE + _RADIUS, np.float32(side)
    nearest = np.empty(count, np.int64)
    for env in range(envs):
        for agent in range(agents):
            x, y = position[env, agent, 0], position[env, agent, 1]
            row = observation[env, agent]
            row[:] = 0
            row[_SIDE * _SIDE] = np.float32(y) / width
            row[_SIDE * _SIDE + 1] = np.float32(x) / width
            nearest[:] = np.iinfo(np.int64).max
            for other in range(agents):
                dx, dy = position[env, other, 0] - x, position[env, other, 1] - y
                squared = dx * dx + dy * dy
                if squared <= _RADIUS * _RADIUS:
                    row[centre + dy * _SIDE + dx] = 1
                key = squared * agents + other
                if other != agent and key < nearest[count - 1]:
                    slot = count - 1
                    while slot > 0 and key < nearest[slot - 1]:
                        nearest[slot] = nearest[slot - 1]
                        slot -= 1
                    nearest[slot] = key
            for unit in range(foods):
                dx, dy = food[env, unit, 0] - x, food[env, unit, 1] - y
                if dx * dx + dy * dy <= _RADIUS * _RADIUS:
                    row[centre + dy * _SIDE + dx] = -1
            for slot in range(count):
                neighbours[env, agent, slot] = nearest[slot] % agents
