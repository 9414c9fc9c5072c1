"""Signal control without learning: the lines beside the learning curves."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from envs.protocols import Environment, ReferencePolicy
from envs.shapes import Int
from envs.traffic.environment import TrafficEnvironment
from envs.traffic.files import LINK_RANKS
from envs.traffic.network.layout import NONE
from envs.traffic.signals import Signals, links_at


class _TrafficPolicy:
    """Base of the traffic reference policies."""

    def __init__(self, environment: Environment) -> None:
        if not isinstance(environment, TrafficEnvironment):
            raise TypeError(f"{type(self).__name__} needs a traffic environment, not {type(environment).__name__}")
        self.environment = environment
        self.signals = environment.signals

    def _tensor(self, actions: np.ndarray) -> Int[Tensor, "env agent"]:
        return torch.from_numpy(np.ascontiguousarray(actions)).to(self.environment.device)


class Random(_TrafficPolicy):
    """Every intersection shows any of its phases, all equally likely."""

    def act(self, generator: torch.Generator) -> Int[Tensor, "env agent"]:
        """Actions for the present state."""
        environment = self.environment
        allowed = torch.from_numpy(self.signals.action_mask).to(environment.device)
        shape = (environment.num_envs, *allowed.shape)
        draws = torch.rand(shape, generator=generator, device=environment.device)
        return draws.masked_fill(~allowed, -1.0).argmax(-1)


class FixedTime(_TrafficPolicy):
    """The phases of `cycles` in turn, each as long as the file lets it last, yellow included; `green_seconds` where
    that is set or the file says nothing. The phase at the beginning of a decision is shown until the next one."""

    green_seconds: ClassVar[float | None] = None
    DEFAULT_SECONDS: ClassVar[float] = 30.0

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        lists = cycles(self.signals)
        length = max(map(len, lists))
        self._cycle = np.array([actions + actions[:1] * (length - len(actions)) for actions in lists])
        self._ends = np.stack([self._times(agent, actions, length) for agent, actions in enumerate(lists)])

    def _times(self, agent: int, actions: list[int], length: int) -> np.ndarray:
        """(length,) seconds from the beginning of a cycle to the end of each phase."""
        seconds = self.signals.action_seconds[agent, actions]
        if self.green_seconds is not None or not seconds.any():
            seconds = np.full(len(actions), self.green_seconds or self.DEFAULT_SECONDS)
        return np.cumsum(np.append(seconds, np.zeros(length - len(actions))))

    def act(self, generator: torch.Generator) -> Int[Tensor, "env agent"]:
        """Actions for the present state."""
        environment = self.environment
        now = environment.decision * environment.settings.decision_seconds
        place = (self._ends <= (now % self._ends[:, -1])[:, None]).sum(-1)
        chosen = self._cycle[np.arange(len(self._cycle)), place]
        return self._tensor(np.tile(chosen, (environment.num_envs, 1)))


USUAL_ACTIONS = 8
"""Actions of the usual layout: straight on and left turns of either axis, then all of each road that comes in."""


def cycles(signals: Signals) -> list[list[int]]:
    """For every agent the actions of a fixed cycle: all that it has. In the usual layout those of the first four that
    it has, unless they leave out a movement that others open."""
    lists = []
    for agent, allowed in enumerate(signals.action_mask):
        first, every = np.flatnonzero(allowed[:4]).tolist(), np.flatnonzero(allowed).tolist()
        opened = opened_links(signals, int(signals.agents[agent]))[1] > 0
        enough = bool(first) and bool((opened[:, first].any(1) >= opened[:, every].any(1)).all())
        lists.append(first if signals.num_actions == USUAL_ACTIONS and enough else every)
    return lists


class MaxPressure(_TrafficPolicy):
    """The phase with the largest pressure (Varaiya 2013): over the lane links that it opens, vehicles on the lane
    before minus vehicles on the lane behind. The first of equal ones."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        signals, arrays = self.signals, self.signals.network.arrays
        lanes, weights = [], []
        for agent in signals.agents:
            links, opened = opened_links(signals, int(agent))
            ends = np.concatenate([arrays.link_from[links], arrays.link_to[links]])
            lanes_before, place = np.unique(ends, return_inverse=True)
            weight = np.zeros((len(lanes_before), signals.num_actions))
            np.add.at(weight, place, np.concatenate([opened, -opened]))
            lanes.append(lanes_before)
            weights.append(weight)
        width = max(map(len, lanes))
        self._lanes = np.stack([np.pad(lanes_before, (0, width - len(lanes_before))) for lanes_before in lanes])
        self._weights = np.stack([np.pad(weight, ((0, width - len(weight)), (0, 0))) for weight in weights])

    def act(self, generator: torch.Generator) -> Int[Tensor, "env agent"]:
        """Actions for the present state."""
        counts = self.environment.batch.lane_vehicles(self._lanes)
        pressure = _for_each_agent(counts, self._weights)
        return self._tensor(np.where(self.signals.action_mask, pressure, -np.inf).argmax(-1))


def opened_links(signals: Signals, agent: int) -> tuple[np.ndarray, np.ndarray]:
    """Lane links of an intersection, (link,), and which of them each action opens, (link, action) float64."""
    network, arrays = signals.network, signals.network.arrays
    links = links_at(network, agent)
    opened = np.zeros((len(links), signals.num_actions))
    row = int(np.flatnonzero(signals.agents == agent)[0])
    for action, phase in enumerate(signals.action_phases[row].tolist()):
        if phase < network.num_phases(agent) - signals.made[row]:
            opened[:, action] = arrays.open[arrays.link_light[links] + phase * arrays.light_stride[agent]]
    return links, opened


def _for_each_agent(counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(env, agent, action) float64, exact: the products of counts (env, agent, lane) and weights (agent, lane, action),
    both whole numbers."""
    return (counts.transpose(1, 0, 2).astype(np.float64) @ weights).transpose(1, 0, 2)


class SOTL(_TrafficPolicy):
    """Self-organising lights (Gershenson 2005; Cools, Gershenson and D'Hooghe 2008) with the phases of `cycles`.

    While a phase is not shown, its counter adds up the vehicles on lanes that it would open and that have red now. When
    the present phase has lasted `least_seconds` and no rest of a group still has to pass (one to `group` vehicles), the
    phase with the highest counter comes, if that has reached `threshold`; then it starts again from 0.

    The papers have two lights at an intersection; with more, it is still the light that has counted enough which turns
    green, whatever its place in the cycle. They watch the last metres before a light. Here lanes are watched, and on a
    lane with green only those who stand belong to the rest of a group: a lane of hundreds of metres is seldom without
    vehicles, and its own flow would keep the light. Right turns are left out: they may always go.
    """

    threshold: ClassVar[float] = 40.0
    """Vehicle-seconds."""
    least_seconds: ClassVar[int] = 20
    """Yellow included."""
    group: ClassVar[int] = 3
    """Vehicles."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        signals, arrays = self.signals, self.signals.network.arrays
        self._lanes = np.where(signals.lanes == NONE, 0, signals.lanes)
        self._opens = np.zeros((*signals.lanes.shape, signals.num_actions))
        """(agent, lane, action): 1 where the action opens the lane to others than those who turn right."""
        for lane_opens, lanes, agent in zip(self._opens, signals.lanes, signals.agents, strict=True):
            links, opened = opened_links(signals, int(agent))
            for link, actions in zip(links, opened, strict=True):
                if arrays.link_rank[link] != LINK_RANKS["turn_right"]:
                    lane_opens[lanes == arrays.link_from[link]] += actions
        self._opens = np.minimum(self._opens, 1.0)
        self._unused = np.ones(signals.action_mask.shape, dtype=bool)
        for unused, cycle in zip(self._unused, cycles(signals), strict=True):
            unused[cycle] = False
        shape = (environment.num_envs, len(signals.agents))
        self._shown, self._seconds = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        self._counters = np.zeros((*shape, signals.num_actions))

    def act(self, generator: torch.Generator) -> Int[Tensor, "env agent"]:
        """Actions for the present state, once for each decision; counters start again with every episode."""
        environment = self.environment
        if environment.decision == 0:
            self._shown[:] = (~self._unused).argmax(-1)
            self._seconds[:], self._counters[:] = 0, 0.0
        green = self._opens.transpose(0, 2, 1)[np.arange(len(self._opens)), self._shown] > 0  # (env, agent, lane)
        coming = np.where(green, 0, environment.batch.lane_vehicles(self._lanes))
        standing = np.stack([simulation.lane_waiting()[self._lanes] for simulation in environment.batch.simulations])
        rest = np.where(green, standing, 0).sum(-1)
        self._counters += _for_each_agent(coming, self._opens) * environment.settings.decision_seconds
        self._counters[:, self._unused] = -1.0
        best = self._counters.argmax(-1)
        due = np.take_along_axis(self._counters, best[..., None], -1)[..., 0] >= self.threshold
        change = due & (self._seconds >= self.least_seconds) & ((rest == 0) | (rest > self.group))
        self._shown = np.where(change, best, self._shown)
        self._seconds = np.where(change, 0, self._seconds) + environment.settings.decision_seconds
        np.put_along_axis(self._counters, self._shown[..., None], 0.0, -1)
        return self._tensor(self._shown.copy())


REFERENCE_POLICIES: dict[str, type[ReferencePolicy]] = {
    "random": Random,
    "fixed_time": FixedTime,
    "sotl": SOTL,
    "max_pressure": MaxPressure,
}
"""The reference policies of every traffic task."""
