"""Signal control without learning: the lines beside the learning curves."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from envs.protocols import Controller, Environment
from envs.shapes import Int
from envs.traffic.environment import TrafficEnvironment
from envs.traffic.layout import NONE


class _TrafficController:
    """What the controllers have in common."""

    def __init__(self, environment: Environment) -> None:
        if not isinstance(environment, TrafficEnvironment):
            raise TypeError(f"{type(self).__name__} needs a traffic environment, not {type(environment).__name__}")
        self.environment = environment
        self.signals = environment.signals

    def _tensor(self, actions: np.ndarray) -> Int[Tensor, "env agent"]:
        return torch.from_numpy(np.ascontiguousarray(actions)).to(self.environment.device)


class Random(_TrafficController):
    """Every intersection shows any of its phases, all equally likely."""

    def act(self, generator: torch.Generator) -> Int[Tensor, "env agent"]:
        """Actions for the present state."""
        environment = self.environment
        allowed = torch.from_numpy(self.signals.action_mask).to(environment.device)
        shape = (environment.num_envs, *allowed.shape)
        draws = torch.rand(shape, generator=generator, device=environment.device)
        return draws.masked_fill(~allowed, -1.0).argmax(-1)


class FixedTime(_TrafficController):
    """The first four phases in turn, `green_seconds` each: straight on and left turns of either axis."""

    green_seconds: ClassVar[int] = 30

    def act(self, generator: torch.Generator) -> Int[Tensor, "env agent"]:
        """Actions for the present state."""
        environment = self.environment
        slot = environment.decision * environment.settings.decision_seconds // self.green_seconds
        chosen = [cycle[slot % len(cycle)] for cycle in cycles(self.signals.action_mask)]
        return self._tensor(np.tile(np.array(chosen, dtype=np.int64), (environment.num_envs, 1)))


def cycles(action_mask: np.ndarray) -> list[list[int]]:
    """For every agent those of the first four actions that it has, or all of its actions where it has none of them."""
    lists = []
    for allowed in action_mask:
        first = np.flatnonzero(allowed[:4]).tolist()
        lists.append(first or np.flatnonzero(allowed).tolist())
    return lists


class MaxPressure(_TrafficController):
    """The phase with the largest pressure (Varaiya 2013): over the lane links that it opens, vehicles on the lane before
    minus vehicles on the lane behind. The first of equal ones."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        arrays = self.signals.network.arrays
        shape = (len(self.signals.agents), self.signals.num_actions)
        self._weights = [_opened(self.signals.network, int(agent), shape[1]) for agent in self.signals.agents]
        self._from, self._to = arrays.link_from, arrays.link_to

    def act(self, generator: torch.Generator) -> Int[Tensor, "env agent"]:
        """Actions for the present state."""
        lanes = np.arange(len(self.signals.network.lane_ids))
        counts = self.environment.batch.lane_vehicles(lanes).astype(np.int64)
        difference = counts[:, self._from] - counts[:, self._to]  # (env, link)
        chosen = np.empty((self.environment.num_envs, len(self.signals.agents)), dtype=np.int64)
        for agent, (links, opened) in enumerate(self._weights):
            pressure = difference[:, links] @ opened.T
            pressure[:, ~self.signals.action_mask[agent]] = np.iinfo(np.int64).min
            chosen[:, agent] = pressure.argmax(-1)
        return self._tensor(chosen)


def _opened(network: object, agent: int, num_actions: int) -> tuple[np.ndarray, np.ndarray]:
    """Lane links of an intersection, and which of them each action opens: (link,) and (action, link) int64."""
    arrays = network.arrays  # type: ignore[attr-defined]
    links = np.flatnonzero(arrays.link_intersection == agent)
    phases = network.num_phases(agent)  # type: ignore[attr-defined]
    opened = np.zeros((num_actions, len(links)), dtype=np.int64)
    for action in range(min(num_actions, phases - 1)):
        opened[action] = arrays.open[arrays.link_light[links] + (action + 1) * arrays.light_stride[agent]]
    return links, opened


class SOTL(_TrafficController):
    """Self-organising lights (Gershenson 2005): each intersection goes through its first four phases, but stays in one
    until enough vehicles have waited at red for long enough, and does not cut off a small group that is about to pass.

    A counter adds up the vehicles on lanes that have red, decision by decision. Above `threshold` the next phase comes,
    once the present one has lasted `least_decisions`, unless between one and `group - 1` vehicles are on its own lanes.
    """

    threshold: ClassVar[int] = 40
    """Vehicles times decisions."""
    least_decisions: ClassVar[int] = 1
    group: ClassVar[int] = 3

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        network, signals = self.signals.network, self.signals
        self._cycles = cycles(signals.action_mask)
        self._lanes: list[tuple[np.ndarray, np.ndarray]] = []
        for agent in signals.agents:
            links, opened = _opened(network, int(agent), signals.num_actions)
            main = np.array([network.arrays.link_rank[k] != 1 for k in links], dtype=bool)
            lanes = np.unique(network.arrays.link_from[links[main]])
            from_lane = network.arrays.link_from[links]
            green = np.array([[bool((row & main)[from_lane == lane].any()) for lane in lanes] for row in opened])
            self._lanes.append((lanes, green))
        shape = (environment.num_envs, len(signals.agents))
        self._place = np.zeros(shape, dtype=np.int64)
        self._lasted = np.zeros(shape, dtype=np.int64)
        self._counter = np.zeros(shape, dtype=np.int64)

    def act(self, generator: torch.Generator) -> Int[Tensor, "env agent"]:
        """Actions for the present state."""
        environment = self.environment
        if environment.decision == 0:
            self._place[:], self._lasted[:], self._counter[:] = 0, 0, 0
        counts = environment.batch.lane_vehicles(np.arange(len(self.signals.network.lane_ids)))
        chosen = np.empty_like(self._place)
        for agent, (lanes, green) in enumerate(self._lanes):
            cycle = np.array(self._cycles[agent])
            here = counts[:, lanes]
            own = green[cycle[self._place[:, agent]]]
            approaching = np.where(own, here, 0).sum(-1)
            self._counter[:, agent] += np.where(own, 0, here).sum(-1)
            switch = (self._counter[:, agent] >= self.threshold) & (self._lasted[:, agent] >= self.least_decisions)
            switch &= (approaching == 0) | (approaching >= self.group)
            self._place[switch, agent] = (self._place[switch, agent] + 1) % len(cycle)
            self._counter[switch, agent] = 0
            self._lasted[:, agent] = np.where(switch, 1, self._lasted[:, agent] + 1)
            chosen[:, agent] = cycle[self._place[:, agent]]
        return self._tensor(chosen)


CONTROLLERS: dict[str, type[Controller]] = {
    "random": Random,
    "fixed_time": FixedTime,
    "sotl": SOTL,
    "max_pressure": MaxPressure,
}
"""The reference policies of every traffic task."""
