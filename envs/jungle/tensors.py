"""Jungle as tensor operations, on any device."""

from __future__ import annotations

import torch
from torch import Tensor

from envs.jungle.rules import (
    ATTACK_PENALTY,
    FOOD_REWARD,
    HIT_REWARD,
    NUM_MOVES,
    OFFSETS,
    STAY,
    VICTIM_PENALTY,
    VIEW_RADIUS,
    Jungle,
)
from envs.shapes import Bool, Float, Int

FOOD, FREE, AGENT, WALL = -1.0, 0.0, 1.0, 2.0
"""Values of the cells of the ground, as observations show them; walls are not shown."""
MOST_HITS = 4
"""Maximum number of attacks that an agent can receive in a step, one from each side."""


class TorchEngine:
    """Copies of Jungle in lockstep; implements `envs.jungle.environment.Engine` without synchronising with the device.

    The ground (env, cell) holds the cells row by row, with a margin wide enough to contain every view.
    """

    def __init__(self, jungle: Jungle, num_envs: int, num_neighbours: int, device: torch.device) -> None:
        self.jungle, self.num_neighbours, self.device = jungle, num_neighbours, device
        self._width = jungle.side + 2 * VIEW_RADIUS
        inner = slice(VIEW_RADIUS + 1, VIEW_RADIUS + jungle.side - 1)
        empty = torch.full((self._width, self._width), WALL)
        empty[inner, inner] = FREE
        self._empty = empty.view(-1).to(device)
        self._ground = self._empty.repeat(num_envs, 1)
        self._cells = torch.zeros(num_envs, jungle.num_agents, dtype=torch.int64, device=device)
        self._before = torch.zeros_like(self._cells)
        span = torch.arange(-VIEW_RADIUS, VIEW_RADIUS + 1)
        self._view = (span[:, None] * self._width + span).view(-1).to(device)
        self._in_sight = (span[:, None].square() + span.square() <= VIEW_RADIUS**2).view(-1).to(device)
        self._offsets = torch.tensor([dx + dy * self._width for dx, dy in OFFSETS], device=device)
        self._index = torch.arange(jungle.num_agents, device=device)

    def place(self, position: Int[Tensor, "env agent xy"], food: Int[Tensor, "env food xy"]) -> None:
        """Place agents and foods on the given cells."""
        self._cells.copy_(self._cell(position.to(self.device)))
        self._ground.copy_(self._empty)
        self._ground.scatter_(1, self._cell(food.to(self.device)), FOOD)
        self._ground.scatter_(1, self._cells, AGENT)

    @property
    def position(self) -> Int[Tensor, "env agent xy"]:
        """The agents' cells, in a new tensor."""
        return self._coordinates(self._cells)

    @property
    def last_position(self) -> Int[Tensor, "env agent xy"]:
        """The agents' cells before the last step, in a new tensor."""
        return self._coordinates(self._before)

    def step(self, actions: Int[Tensor, "env agent"]) -> tuple[Float[Tensor, "env agent"], Float[Tensor, "env 4"]]:
        """Advance by one step; returns rewards and totals."""
        self._before.copy_(self._cells)
        attacks, aim = actions >= NUM_MOVES, self._cells + self._offsets[actions]
        struck = self._ground.gather(1, aim)
        meals, hits = attacks & (struck == FOOD), attacks & (struck == AGENT)
        reward = self._pay(attacks, meals, hits, aim)
        self._move(aim, ~attacks & (actions != STAY))
        counts = [part.sum(-1).double() for part in (meals, hits, attacks & ~meals & ~hits)]
        return reward, torch.stack([reward.double().sum(-1), *counts], dim=-1)

    def look(self) -> tuple[Float[Tensor, "env agent feature"], Int[Tensor, "env agent neighbour"]]:
        """Observations and neighbours of all agents."""
        envs, agents = self._cells.shape
        cells = (self._cells[..., None] + self._view).view(envs, -1)
        seen = self._ground.gather(1, cells).view(envs, agents, -1)
        seen = torch.where(self._in_sight & (seen != WALL), seen, 0.0)
        position = self.position
        place = position.flip(-1).float() / float(self.jungle.side)
        squared = (position[:, None] - position[:, :, None]).square().sum(-1)
        keys = squared * agents + self._index
        keys.diagonal(dim1=1, dim2=2).fill_(torch.iinfo(torch.int64).max)
        nearest = keys.topk(self.num_neighbours, largest=False, sorted=True).values % agents
        return torch.cat((seen, place), dim=-1), nearest

    def _cell(self, position: Int[Tensor, "env unit xy"]) -> Int[Tensor, "env unit"]:
        return (position[..., 1] + VIEW_RADIUS) * self._width + position[..., 0] + VIEW_RADIUS

    def _coordinates(self, cells: Int[Tensor, "env unit"]) -> Int[Tensor, "env unit xy"]:
        return torch.stack((cells % self._width, cells // self._width), dim=-1) - VIEW_RADIUS

    def _pay(
        self,
        attacks: Bool[Tensor, "env agent"],
        meals: Bool[Tensor, "env agent"],
        hits: Bool[Tensor, "env agent"],
        aim: Int[Tensor, "env agent"],
    ) -> Float[Tensor, "env agent"]:
        """Rewards of all agents. Terms are added one by one, so that float32 rounds as in the original; the
        attacks received are integers, whose sum does not depend on the order."""
        struck = torch.zeros_like(self._ground, dtype=torch.int32).scatter_add_(1, aim, hits.int())
        received = struck.gather(1, self._cells)
        reward = ATTACK_PENALTY * attacks.float() + (FOOD_REWARD * meals + HIT_REWARD * hits)
        for count in range(MOST_HITS):
            reward = reward + VICTIM_PENALTY * (received > count)
        return reward

    def _move(self, aim: Int[Tensor, "env agent"], wants: Bool[Tensor, "env agent"]) -> None:
        """Move the agents that want to, in the order of their numbers, each if its target is free at that point."""
        for agent in range(self.jungle.num_agents):
            here, there = self._cells[:, agent : agent + 1], aim[:, agent : agent + 1]
            goes = wants[:, agent : agent + 1] & (self._ground.gather(1, there) == FREE)
            self._ground.scatter_(1, here, FREE)
            here = torch.where(goes, there, here)
            self._ground.scatter_(1, here, AGENT)
            self._cells[:, agent : agent + 1] = here
