"""Statistics of signals' decisions and of traffic demand, for the paper's policy interpretation (C.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from envs.traffic.engine.simulation import Simulation
from envs.traffic.original import OriginalSimulation
from envs.traffic.signals import MOVEMENTS, Signals

HALF_COUNT = 0.5
"""Count added to the vehicles and greens of every movement of an intersection before computing a divergence."""
AT_INTERSECTIONS = ("present", "arrived", "present_even", "arrived_even", "episodes")
_TOTALS = ("present", "arrived", "greens", "actions", "decisions", "at_intersections")
_OF_EPISODE = ("episode_present", "episode_arrived", "episode_greens")


class Account:
    """Counts of decisions and vehicles: totals since the last `take`, and counts of the current episodes.

    E copies, N agents, M movements. Right turns need no green and are excluded from greens; a decision is split equally
    among the movements that it opens.
    """

    def __init__(self, signals: Signals, num_envs: int) -> None:
        self._signals = signals
        self._opens = signals.greens.max(1) > 0
        shape = (num_envs, len(signals.agents), len(MOVEMENTS))
        self.present, self.arrived, self.greens = (np.zeros(len(MOVEMENTS)) for _ in range(3))
        self.actions, self.decisions = np.zeros(signals.num_actions), np.zeros(1)
        self.at_intersections = np.zeros(len(AT_INTERSECTIONS))
        self.episode_present, self.episode_arrived, self.episode_greens = (np.zeros(shape) for _ in range(3))

    def begin(self) -> None:
        """Discard the counts of the current episodes; totals are kept."""
        for name in _OF_EPISODE:
            getattr(self, name)[:] = 0.0

    def count(self, chosen: np.ndarray, simulations: Sequence[Simulation | OriginalSimulation]) -> None:
        """Add a decision of every agent, (env, agent) int64, and the vehicles present when it is taken."""
        signals, agents = self._signals, np.arange(chosen.shape[1])
        self.decisions += chosen.size
        self.actions += np.bincount(chosen.ravel(), minlength=signals.num_actions)
        for copy, (actions, simulation) in enumerate(zip(chosen, simulations, strict=True)):
            opened = signals.greens[agents, actions]
            self.greens += opened.sum(0)
            self.episode_greens[copy] += opened
            present, arrived = np.zeros(opened.shape), np.zeros(opened.shape)
            simulation.count_movements(signals.link_agent, signals.link_movement, present, arrived)
            self.present += present.sum(0)
            self.arrived += arrived.sum(0)
            self.episode_present[copy] += present
            self.episode_arrived[copy] += arrived

    def end(self) -> None:
        """Add the divergences at all intersections of the episodes that end now."""
        green, opens = self.episode_greens, np.broadcast_to(self._opens, self.episode_greens.shape)
        even = opens.astype(float)
        used = ((self.episode_present * opens).sum(-1) > 0) & (opens.sum(-1) > 1)
        sums = [
            divergences(traffic, shown, opens)[used].sum()
            for shown in (green, even)
            for traffic in (self.episode_present, self.episode_arrived)
        ]
        self.at_intersections += [*sums, used.sum()]

    def take(self) -> dict[str, dict[str, float]]:
        """Totals since the last call; resets them.

        `present`: vehicles on incoming lanes by movement, counted at every decision. `arrived`: vehicles that were not
        on the same road at the previous decision; a vehicle that passes a whole road between two decisions is missed.
        `greens`: shares of decisions given to each movement. `actions`: decisions by action, and `all` of them.
        `at_intersections`: sums, over intersections and completed episodes, of KL(vehicles || greens) in nats, computed
        from the counts of an episode at an intersection. `present` and `arrived` use these vehicles; `present_even` and
        `arrived_even` compare them with equal green for every movement that any action opens there; `episodes` is the
        number of terms in these sums. Movements are those of `signals.MOVEMENTS`.
        """
        actions = dict(zip(map(str, range(len(self.actions))), self.actions.tolist(), strict=True))
        taken = {
            **{name: dict(zip(MOVEMENTS, getattr(self, name).tolist(), strict=True)) for name in _TOTALS[:3]},
            "actions": {**actions, "all": float(self.decisions[0])},
            "at_intersections": dict(zip(AT_INTERSECTIONS, self.at_intersections.tolist(), strict=True)),
        }
        for name in _TOTALS:
            getattr(self, name)[:] = 0.0
        return taken

    def state_dict(self) -> dict[str, torch.Tensor]:
        """All counts as float64 tensors."""
        return {name: torch.from_numpy(getattr(self, name).copy()) for name in _TOTALS + _OF_EPISODE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from saved counts. Raises ValueError if some are missing or have another shape."""
        for name in _TOTALS + _OF_EPISODE:
            part = getattr(self, name)
            if name not in state or tuple(state[name].shape) != part.shape:
                raise ValueError(f"the account of signals is damaged: expected {name} of shape {part.shape}")
            part[:] = state[name].cpu().numpy()


def divergences(traffic: np.ndarray, greens: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """KL(traffic || greens) in nats, (...,), from counts (..., movement), over the movements in `counted` and with
    `HALF_COUNT` added to each; 0 where `counted` is empty."""
    p, q = (np.where(counted, counts + HALF_COUNT, 0.0) for counts in (traffic, greens))
    p, q = (part / np.maximum(part.sum(-1, keepdims=True), HALF_COUNT) for part in (p, q))
    terms = p * np.log(np.where(counted, p, 1.0) / np.where(counted, q, 1.0))
    return np.asarray(terms.sum(-1))
