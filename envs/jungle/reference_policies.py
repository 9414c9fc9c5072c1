"""Reference policies of Jungle, as a scale for the scores of learners.

`stay` does nothing and `random` draws a uniform action. `greedy` sees the whole map: it eats where it can, otherwise it
follows a shortest path around all obstacles to the nearest cell adjacent to food, and it never attacks an agent.
`greedy_in_sight` uses only an agent's observation: it eats, heads straight for the nearest visible food, or wanders.
`aggressor` is `greedy` but first attacks any adjacent agent, as the individual rewards suggest and to the team's
detriment.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from envs.jungle.compiled import kernel
from envs.jungle.environment import JungleEnvironment
from envs.jungle.rules import DOWN, LEFT, NUM_MOVES, RIGHT, STAY, UP, VIEW_RADIUS
from envs.protocols import Environment, ReferencePolicy
from envs.shapes import Int

_FREE, _TAKEN, _FOOD, _AGENT = 0, 1, 2, 3
_SIDES = np.array([[0, -1], [-1, 0], [1, 0], [0, 1]])
"""Offsets of adjacent cells in the order of attacks: up, left, right, down."""
_MOVES = np.array([0, 1, 3, 4])
"""Actions that move to these cells; the attacks on them are 5 to 8."""
_FIRST_ATTACK = 5

NOWHERE = 1_000_000
"""Distance used for food that is not visible."""


class Stay:
    """Every agent stays in place."""

    def __init__(self, environment: Environment) -> None:
        self.environment = jungle_of(environment)

    def act(self, generator: torch.Generator) -> Int[Tensor, "env agent"]:
        """Action indices; uses no random numbers."""
        shape = (self.environment.num_envs, self.environment.spec.num_agents)
        return torch.full(shape, STAY, device=self.environment.device)


class Random:
    """A uniform action for every agent at every step."""

    def __init__(self, environment: Environment) -> None:
        self.environment = jungle_of(environment)

    def act(self, generator: torch.Generator) -> Int[Tensor, "env agent"]:
        """Action indices, drawn on the generator's device."""
        shape = (self.environment.num_envs, self.environment.spec.num_agents)
        actions = torch.randint(self.environment.spec.num_actions, shape, generator=generator, device=generator.device)
        return actions.to(self.environment.device)


class Greedy:
    """Eats or follows a shortest path to food; never attacks an agent."""

    aggressive = False

    def __init__(self, environment: Environment) -> None:
        self.environment = jungle_of(environment)

    def act(self, generator: torch.Generator) -> Int[Tensor, "env agent"]:
        """Action indices; uses no random numbers."""
        environment = self.environment
        actions = torch.full((environment.num_envs, environment.spec.num_agents), STAY)
        position, food = environment.position.cpu().numpy(), environment.food.cpu().numpy()
        _choose(position, food, environment.jungle.side, self.aggressive, actions.numpy())
        return actions.to(environment.device)


class GreedyInSight:
    """Eats, heads for the nearest visible food, or wanders; never attacks an agent."""

    def __init__(self, environment: Environment) -> None:
        self.environment = jungle_of(environment)

    def act(self, generator: torch.Generator) -> Int[Tensor, "env agent"]:
        """Action indices. The axis of approach is drawn in proportion to the distances along both axes, so that an
        obstacle does not block an agent forever; wandering agents take any of the five moves."""
        position, food = self.environment.position.cpu(), self.environment.food.cpu()
        away = food[:, None] - position[:, :, None]
        steps = away.abs().sum(-1)
        unseen = away.square().sum(-1) > VIEW_RADIUS**2
        distance, nearest = steps.masked_fill(unseen, NOWHERE).min(-1)
        across, along = away.gather(2, nearest[..., None, None].expand(-1, -1, 1, 2)).squeeze(2).unbind(-1)
        draw = torch.rand(distance.shape, generator=generator, device=generator.device).cpu()
        sideways = draw * steps.gather(2, nearest[..., None]).squeeze(2) < across.abs()
        towards = torch.where(sideways, torch.where(across > 0, RIGHT, LEFT), torch.where(along > 0, DOWN, UP))
        wander = torch.randint(NUM_MOVES, distance.shape, generator=generator, device=generator.device).cpu()
        # moves up, left, (stay,) right, down have the numbers 0, 1, 3, 4; the attacks 5 to 8
        strike = towards + torch.where(towards < STAY, NUM_MOVES, NUM_MOVES - 1)
        actions = torch.where(distance == 1, strike, torch.where(distance == NOWHERE, wander, towards))
        return actions.to(self.environment.device)


class Aggressor(Greedy):
    """Attacks an adjacent agent, eats, or follows a shortest path to food, in this order of priority."""

    aggressive = True


REFERENCE_POLICIES: dict[str, type[ReferencePolicy]] = {
    "random": Random,
    "stay": Stay,
    "greedy": Greedy,
    "greedy_in_sight": GreedyInSight,
    "aggressor": Aggressor,
}
"""The reference policies by name."""


def jungle_of(environment: Environment) -> JungleEnvironment:
    """`environment` as a Jungle environment, whose cells these policies read. Raises TypeError otherwise."""
    if not isinstance(environment, JungleEnvironment):
        raise TypeError(f"reference policies need an environment of a magent/ task, not a {type(environment).__name__}")
    return environment


@kernel
def _choose(position: np.ndarray, food: np.ndarray, side: int, aggressive: bool, actions: np.ndarray) -> None:
    """Overwrite the actions of agents that have an adjacent target or a path to food."""
    envs, agents = actions.shape
    ground = np.empty((side, side), np.int64)
    first = np.empty((side, side), np.int64)
    queue = np.empty((side * side, 2), np.int64)
    for env in range(envs):
        ground[:] = _TAKEN
        ground[1 : side - 1, 1 : side - 1] = _FREE
        for unit in range(food.shape[1]):
            ground[food[env, unit, 1], food[env, unit, 0]] = _FOOD
        for agent in range(agents):
            ground[position[env, agent, 1], position[env, agent, 0]] = _AGENT
        for agent in range(agents):
            x, y = position[env, agent, 0], position[env, agent, 1]
            strike = _beside(ground, x, y, _AGENT) if aggressive else -1
            if strike < 0:
                strike = _beside(ground, x, y, _FOOD)
            if strike >= 0:
                actions[env, agent] = _FIRST_ATTACK + strike
                continue
            way = _way(ground, x, y, first, queue)
            if way >= 0:
                actions[env, agent] = _MOVES[way]


@kernel
def _beside(ground: np.ndarray, x: int, y: int, kind: int) -> int:
    """The first side on which a unit of the given kind is adjacent to a cell; -1 if there is none."""
    for way in range(4):
        if ground[y + _SIDES[way, 1], x + _SIDES[way, 0]] == kind:
            return way
    return -1


@kernel
def _way(ground: np.ndarray, x: int, y: int, first: np.ndarray, queue: np.ndarray) -> int:
    """First move of a shortest path over free cells to a cell adjacent to food; -1 if there is none."""
    first[:] = -1
    found, done = 0, 0
    for way in range(4):
        column, row = x + _SIDES[way, 0], y + _SIDES[way, 1]
        if ground[row, column] == _FREE:
            first[row, column] = way
            queue[found, 0], queue[found, 1] = column, row
            found += 1
    while done < found:
        column, row = queue[done, 0], queue[done, 1]
        done += 1
        if _beside(ground, column, row, _FOOD) >= 0:
            return first[row, column]
        for way in range(4):
            right, down = column + _SIDES[way, 0], row + _SIDES[way, 1]
            if ground[down, right] == _FREE and first[down, right] < 0:
                first[down, right] = first[row, column]
                queue[found, 0], queue[found, 1] = right, down
                found += 1
    return -1
