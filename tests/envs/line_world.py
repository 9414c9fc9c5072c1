"""Small PettingZoo environments of the tests' own making, and what can be wrong with them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from pettingzoo import ParallelEnv

LIMIT = 8


class LineWorld(ParallelEnv):
    """Agents on a line, each paid for being near a place that it sees; `fault` says what is wrong."""

    metadata = {"name": "line_world"}  # noqa: RUF012

    def __init__(self, agents: int = 3, continuous: bool = False, limit: int = LIMIT, fault: str = "") -> None:
        self.possible_agents = [f"walker_{i}" for i in range(agents)]
        self.agents: list[str] = []
        self.continuous, self.limit, self.fault = continuous, limit, fault
        self.random = np.random.default_rng()

    def observation_space(self, agent: str) -> Any:
        if self.fault == "dictionary":
            return Dict({"observation": Box(-9, 9, (2,))})
        return Box(-9, 9, (3 if self.fault == "unlike observations" and agent == "walker_1" else 2,), np.float32)

    def action_space(self, agent: str) -> Any:
        if self.continuous:
            far = np.inf if self.fault == "unbounded" else 2.0
            return Box(-far, far, (1, 1), np.float32)
        if self.fault == "several choices":
            return MultiDiscrete([3, 2])
        return Discrete(4 if self.fault == "unlike actions" and agent == "walker_1" else 3, start=-1)

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        if seed is not None and self.fault != "unseeded":
            self.random = np.random.default_rng(seed)
        self.agents = self.possible_agents[1:] if self.fault == "late" else list(self.possible_agents)
        self.place, self.goal = self.random.uniform(-2, 2, (2, len(self.possible_agents)))
        self.time = 0
        return self.seen(), self.infos()

    def step(self, actions: dict[str, Any]) -> tuple[Any, Any, Any, Any, Any]:
        self.time += 1
        for i, agent in enumerate(self.possible_agents):
            assert self.action_space(agent).contains(actions[agent]), actions[agent]
            self.place[i] += np.asarray(actions[agent]).item()
        if self.fault == "late noise" and self.time > 6:
            self.place += np.random.default_rng().uniform(size=self.place.shape)
        reward = dict(zip(self.agents, (-np.abs(self.place - self.goal)).tolist(), strict=True))
        over, ended = self.time >= self.limit, self.fault == "ends" and self.time == 3
        names = list(self.agents)
        terminated = {name: ended or (self.fault == "leaves" and name == "walker_2") for name in names}
        truncated = dict.fromkeys(names, over and self.fault != "endless")
        seen, infos = self.seen(), self.infos()
        if over or ended:
            self.agents = []
        elif self.fault == "vanishes":
            self.agents = names[:-1]
        return seen, reward, terminated, truncated, infos

    def seen(self) -> dict[str, np.ndarray]:
        rows = np.stack([self.place, self.goal], -1).astype(np.float32)
        return dict(zip(self.possible_agents, rows, strict=True))

    def infos(self) -> dict[str, Any]:
        last = len(self.possible_agents) - 1
        infos: dict[str, Any] = {name: {"neighbours": [name, f"walker_{last}"]} for name in self.possible_agents}
        if self.fault == "mask":
            infos["walker_0"]["action_mask"] = np.array([1, 1, self.time < 2], np.int8)
            for name in self.possible_agents[1:]:
                infos[name]["action_mask"] = np.ones(3, np.int8)
        if self.fault == "stranger":
            infos["walker_0"]["neighbours"] = ["nobody"]
        return {name: {} for name in infos} if self.fault == "silent" else infos

    def state(self) -> np.ndarray:
        if self.fault == "stateless":
            raise NotImplementedError
        return np.concatenate([[7.0], np.tri(len(self.possible_agents), k=-1).flatten()])


def broken() -> None:
    """Fails."""
    raise OSError("no such level")


def something_else() -> Any:
    """No environment."""
    return SimpleNamespace(reset=None)


def taking_turns() -> Any:
    """Agents that take turns."""
    return SimpleNamespace(agent_iter=None)
