"""Reference policies for signal control: random, fixed-time, max-pressure and self-organising control."""

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
    """Every intersection shows one of its phases, all equally likely."""

    def act(self, generator: torch.Generator) -> Int[Tensor, "env agent"]:
        """Actions for the current state."""
        environment = self.environment
        allowed = torch.from_numpy(self.signals.action_mask).to(environment.device)
        shape = (environment.num_envs, *allowed.shape)
        draws = torch.rand(shape, generator=generator, device=environment.device)
        return draws.masked_fill(~allowed, -1.0).argmax(-1)


class FixedTime(_TrafficPolicy):
    """A fixed cycle through the phases of `cycles`. Each lasts as long as the file says, including yellow, or
    `green_seconds` if that is set or the file says nothing. The phase that is due at a decision is shown until the
    next one."""

    green_seconds: ClassVar[float | None] = None
    DEFAULT_SECONDS: ClassVar[float] = 30.0

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        lists = cycles(self.signals)
        length = max(map(len, lists))
        self._cycle = np.array([actions + actions[:1] * (length - len(actions)) for actions in lists])
        self._ends = np.stack([self._times(agent, actions, length) for agent, actions in enumerate(lists)])

    def _times(self, agent: int, actions: list[int], length: int) -> np.ndarray:
        """Seconds from the beginning of a cycle to the end of each phase, (length,)."""
        seconds = self.signals.action_seconds[agent, actions]
        if self.green_seconds is not None or not seconds.any():
            seconds = np.full(len(actions), self.green_seconds or self.DEFAULT_SECONDS)
        return np.cumsum(np.append(seconds, np.zeros(length - len(actions))))

    def act(self, generator: torch.Generator) -> Int[Tensor, "env agent"]:
        """Actions for the current state."""
        environment = self.environment
        now = environment.decision * environment.settings.decision_seconds
        place = (self._ends <= (now % self._ends[:, -1])[:, None]).sum(-1)
        chosen = self._cycle[np.arange(len(self._cycle)), place]
        return self._tensor(np.tile(chosen, (environment.num_envs, 1)))


USUAL_ACTIONS = 8
"""Number of actions in the usual layout: straight on and left turns of each axis, then all movements of each incoming
road."""


def cycles(signals: Signals) -> list[list[int]]:
    """The actions of a fixed cycle for each agent: all that it has. In the usual layout only those among the first
    four, unless they leave out a movement that others open."""
    lists = []
    for agent, allowed in enumerate(signals.action_mask):
        first, every = np.flatnonzero(allowed[:4]).tolist(), np.flatnonzero(allowed).tolist()
        opened = opened_links(signals, int(signals.agents[agent]))[1] > 0
        enough = bool(first) and bool((opened[:, first].any(1) >= opened[:, every].any(1)).all())
        lists.append(first if signals.num_actions == USUAL_ACTIONS and enough else every)
    return lists


class MaxPressure(_TrafficPolicy):
    """The phase with the largest pressure (Varaiya 2013): vehicles on the incoming minus vehicles on the outgoing lane,
    summed over the lane links that the phase opens. Ties go to the first phase."""

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
        """Actions for the current state."""
        counts = self.environment.batch.lane_vehicles(self._lanes)
        pressure = _for_each_agent(counts, self._weights)
        return self._tensor(np.where(self.signals.action_mask, pressure, -np.inf).argmax(-1))


def opened_links(signals: Signals, agent: int) -> tuple[np.ndarray, np.ndarray]:
    """Lane links at an agent's intersection, (link,), and which of them each action opens, (link, action) float64."""
    network, arrays = signals.network, signals.network.arrays
    links = links_at(network, agent)
    opened = np.zeros((len(links), signals.num_actions))
    row = int(np.flatnonzero(signals.agents == agent)[0])
    for action, phase in enumerate(signals.action_phases[row].tolist()):
        if phase < network.num_phases(agent) - signals.made[row]:
            opened[:, action] = arrays.open[arrays.link_light[links] + phase * arrays.light_stride[agent]]
    return links, opened


def _for_each_agent(counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Products of counts (env, agent, lane) and weights (agent, lane, action), (env, agent, action) float64; exact,
    because both are integers."""
    return (counts.transpose(1, 0, 2).astype(np.float64) @ weights).transpose(1, 0, 2)


class SOTL(_TrafficPolicy):
    """Self-organising lights (Gershenson 2005; Cools, Gershenson and D'Hooghe 2008) with the phases of `cycles`.

    While a phase is not shown, its counter accumulates the vehicles on the lanes that it would open and that currently
    have red. Once the current phase has lasted `least_seconds` and no remainder of a platoon (one to `group` vehicles)
    still has to pass, the phase with the highest counter follows if its counter has reached `threshold`; the counter
    then restarts from 0.

    The papers have two lights per intersection; with more, a light still turns green when it has counted enough,
    whatever its place in the cycle. The papers observe the last metres before a light. Here whole lanes are observed,
    and on a lane with green only standing vehicles count as the remainder of a platoon: a lane of hundreds of metres is
    seldom empty, and its flow would hold the light forever. Right turns are excluded because they are always allowed.
    """

    threshold: ClassVar[float] = 40.0
    """Vehicle-seconds at red after which a phase is due."""
    least_seconds: ClassVar[int] = 20
    """Shortest duration of a phase, including yellow."""
    group: ClassVar[int] = 3
    """Largest remainder of a platoon that holds the light, in vehicles."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        signals, arrays = self.signals, self.signals.network.arrays
        self._lanes = np.where(signals.lanes == NONE, 0, signals.lanes)
        self._opens = np.zeros((*signals.lanes.shape, signals.num_actions))
        """(agent, lane, action): 1 where the action opens the lane for anything but right turns."""
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
        """Actions for the current state; to be called once per decision. Counters restart with every episode."""
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
"""The reference policies of every traffic task, by name."""
