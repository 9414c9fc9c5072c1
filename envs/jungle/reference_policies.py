"""Scripted policies of Jungle: a scale for what learners reach.

`stay` does nothing and `random` draws a uniform action. `greedy` sees all of the map: it eats where it can, else takes
a shortest way round everything that stands about to the nearest place beside food, and never hits an agent.
`greedy_in_sight` uses no more than what an agent sees: it eats, or heads straight for the nearest food in sight, or
wanders. `aggressor` is `greedy`, but hits any agent beside it first: what the rewards of single agents suggest, and
what ruins the team.
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
"""Cells beside a cell in the order of attacks: up, left, right, down."""
_MOVES = np.array([0, 1, 3, 4])
"""Actions that move there; attacks on them are 5 to 8."""
_FIRST_ATTACK = 5

NOWHERE = 1_000_000
"""Distance of food that is not seen."""


class Stay:
    """Nothing at all."""

    def __init__(self, environment: Environment) -> None:
        self.environment = jungle_of(environment)

    def act(self, generator: torch.Generator) -> Int[Tensor, "env agent"]:
        """Indices; draws nothing."""
        shape = (self.environment.num_envs, self.environment.spec.num_agents)
        return torch.full(shape, STAY, device=self.environment.device)


class Random:
    """A uniform action for every agent at every step."""

    def __init__(self, environment: Environment) -> None:
        self.environment = jungle_of(environment)

    def act(self, generator: torch.Generator) -> Int[Tensor, "env agent"]:
        """Indices, drawn on the generator's device."""
        shape = (self.environment.num_envs, self.environment.spec.num_agents)
        actions = torch.randint(self.environment.spec.num_actions, shape, generator=generator, device=generator.device)
        return actions.to(self.environment.device)


class Greedy:
    """Eats, or takes a shortest way to food; never hits an agent."""

    aggressive = False

    def __init__(self, environment: Environment) -> None:
        self.environment = jungle_of(environment)

    def act(self, generator: torch.Generator) -> Int[Tensor, "env agent"]:
        """Indices; draws nothing."""
        environment = self.environment
        actions = torch.full((environment.num_envs, environment.spec.num_agents), STAY)
        position, food = environment.position.cpu().numpy(), environment.food.cpu().numpy()
        _choose(position, food, environment.jungle.side, self.aggressive, actions.numpy())
        return actions.to(environment.device)


class GreedyInSight:
    """Eats, or heads for the nearest food that it sees, or wanders; never hits an agent."""

    def __init__(self, environment: Environment) -> None:
        self.environment = jungle_of(environment)

    def act(self, generator: torch.Generator) -> Int[Tensor, "env agent"]:
        """Indices. On which axis an agent comes nearer is drawn in proportion to the distances along both, so that it
        does not stand for ever behind what is in its way; wanderers take any of the five moves."""
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
    """Hits an agent beside it, or eats, or takes a shortest way to food."""

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
    """The environment itself, if it is a jungle, whose cells these policies read; else raises TypeError."""
    if not isinstance(environment, JungleEnvironment):
        raise TypeError(f"reference policies need an environment of a magent/ task, not a {type(environment).__name__}")
    return environment


@kernel
def _choose(position: np.ndarray, food: np.ndarray, side: int, aggressive: bool, actions: np.ndarray) -> None:
    """Overwrite the actions of those who have something beside them to strike, or a way to food."""
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
    """On which side of a cell the first of a kind stands; -1 for none."""
    for way in range(4):
        if ground[y + _SIDES[way, 1], x + _SIDES[way, 0]] == kind:
            return way
    return -1


@kernel
def _way(ground: np.ndarray, x: int, y: int, first: np.ndarray, queue: np.ndarray) -> int:
    """First move of a shortest way over free cells to a place beside food; -1 if there is none."""
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
