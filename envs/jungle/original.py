"""Jungle on magent2, the maintained version of the original engine, configured as in DGN's code.

This module handles what the engine leaves to its users. `clear_dead` follows every step; otherwise rewards accumulate.
Observations are copied out of the engine's only buffer. Actions are set once before every step, never kept across a
reset, and checked first, because the engine does not check them. Units are placed explicitly and then counted: the
engine skips occupied cells, and its random placements for consecutive seeds are nearly identical.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from envs.errors import EnvironmentNotAvailableError
from envs.jungle.rules import ATTACK_PENALTY, FOOD_REWARD, HIT_REWARD, NUM_MOVES, VICTIM_PENALTY, VIEW_RADIUS, Jungle
from envs.shapes import Float, Int

AGENT_HEALTH, FOOD_HEALTH = 400, 500
"""Hit points of agents and food, as published."""
SAFE_STEPS = 100
"""Number of steps within which no agent can die, at four attacks per step."""
LARGEST_SIDE = 99
"""Largest map on which the engine moves agents in the order of their numbers; on larger ones it moves them strip by
strip."""
OWN, OTHER = 1, 4
"""Channels of the view for the observer's group and the other group."""


class OriginalEngine:
    """Copies of Jungle, each in a magent2 world; implements `envs.jungle.environment.Engine`.

    Raises ValueError for a map of more than `LARGEST_SIDE` columns, and EnvironmentNotAvailableError without magent2.
    """

    def __init__(self, jungle: Jungle, num_envs: int, num_neighbours: int, episode_length: int) -> None:
        if jungle.side > LARGEST_SIDE:
            raise ValueError(
                f"magent2 moves agents in another order on maps of more than {LARGEST_SIDE} columns, and {jungle.task} "
                f"has {jungle.side}: choose backend='numba' or 'torch', or at most 242 agents"
            )
        self.jungle, self.num_neighbours = jungle, num_neighbours
        immortal = episode_length > SAFE_STEPS
        self._worlds = [_world(jungle, 4 * episode_length + 1 if immortal else 0) for _ in range(num_envs)]
        self._position = np.zeros((num_envs, jungle.num_agents, 2), np.int64)
        self._before = self._position.copy()

    def place(self, position: Int[Tensor, "env agent xy"], food: Int[Tensor, "env food xy"]) -> None:
        """Place agents and foods on the given cells."""
        for world, *groups in zip(self._worlds, position.numpy(), food.numpy(), strict=True):
            world.reset()
            for handle, cells in zip(world.get_handles(), groups, strict=True):
                world.add_agents(handle, method="custom", pos=cells)
                if not np.array_equal(world.get_pos(handle), cells):
                    raise RuntimeError("magent2 has placed units elsewhere than requested; is it version 0.3.4?")
        self._position[:] = position.numpy()

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
        chosen = np.ascontiguousarray(actions.numpy(), dtype=np.int32)
        reward = np.empty(chosen.shape, np.float32)
        for copy, world in enumerate(self._worlds):
            agents = world.get_handles()[0]
            world.set_action(agents, chosen[copy])
            world.step()
            reward[copy] = world.get_reward(agents)  # before clear_dead, which resets it
            world.clear_dead()
            self._position[copy] = world.get_pos(agents)
        return torch.from_numpy(reward), torch.from_numpy(tally(chosen, reward))

    def look(self) -> tuple[Float[Tensor, "env agent feature"], Int[Tensor, "env agent neighbour"]]:
        """Observations and neighbours of all agents."""
        seen, places = [], []
        for world in self._worlds:
            view, features = world.get_observation(world.get_handles()[0])
            seen.append((view[..., OWN] - view[..., OTHER]).reshape(len(view), -1))
            places.append(features[:, :-3:-1].copy())  # y, then x
        observation = np.concatenate((np.stack(seen), np.stack(places)), axis=-1)
        return torch.from_numpy(observation), torch.from_numpy(self._nearest())

    def _nearest(self) -> np.ndarray:
        """The nearest other agents, ties by lower number: a stable sort as in DGN's code, where agents come first in
        their own lists."""
        squared = np.square(self._position[:, None] - self._position[:, :, None]).sum(-1)
        return np.argsort(squared, axis=-1, kind="stable")[..., 1 : self.num_neighbours + 1]


def tally(actions: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """Totals (env, 4) of a step as named by `rules.TALLY`, derived from the rewards (env, agent): without the
    attack penalty, an attack yields 0, 1 or 2, minus 4 for each attack received."""
    attacks = actions >= NUM_MOVES
    struck = np.rint(reward - ATTACK_PENALTY * attacks) % -VICTIM_PENALTY
    parts = [reward.astype(np.float64), struck == FOOD_REWARD, struck == HIT_REWARD, attacks & (struck == 0)]
    return np.stack([part.sum(-1, dtype=np.float64) for part in parts], axis=-1)


def _world(jungle: Jungle, health: int) -> Any:
    """A world without units. A `health` other than 0 replaces the published health of units."""
    try:
        from magent2.gridworld import AgentSymbol, CircleRange, Config, Event, GridWorld
    except ImportError as error:
        raise EnvironmentNotAvailableError(
            f"backend='magent2' needs the package magent2 ({error}): pip install magent2, or leave the setting out"
        ) from error
    config = Config()
    config.set({"map_width": jungle.side, "map_height": jungle.side, "minimap_mode": True, "embedding_size": 10})
    agent = {
        "width": 1,
        "length": 1,
        "hp": health or AGENT_HEALTH,
        "speed": 1,
        "view_range": CircleRange(VIEW_RADIUS),
        "attack_range": CircleRange(1),
        "damage": 1,
        "step_recover": 0,
        "attack_in_group": 1,
        "step_reward": 0,
        "kill_reward": 0,
        "dead_penalty": 0,
        "attack_penalty": ATTACK_PENALTY,
    }
    food = agent | {
        "hp": health or FOOD_HEALTH,
        "speed": 0,
        "view_range": CircleRange(VIEW_RADIUS + 1),
        "attack_range": CircleRange(0),
        "damage": 0,
        "attack_in_group": 0,
        "attack_penalty": 0,
    }
    agents, foods = (config.add_group(config.register_agent_type(n, kind)) for n, kind in (("a", agent), ("f", food)))
    attacker, victim, eaten = AgentSymbol(agents, "any"), AgentSymbol(agents, "any"), AgentSymbol(foods, "any")
    config.add_reward_rule(Event(attacker, "attack", eaten), receiver=attacker, value=FOOD_REWARD)
    config.add_reward_rule(Event(attacker, "attack", victim), receiver=attacker, value=HIT_REWARD)
    config.add_reward_rule(Event(attacker, "attack", victim), receiver=victim, value=VICTIM_PENALTY)
    return GridWorld(config)
