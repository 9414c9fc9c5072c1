"""The seam between algorithms and the runner: what a learner receives, does and keeps.

`EnvironmentSpec` and `Graph` are the vocabulary shared with the environments and all that algorithms import from there.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from envs.protocols import EnvironmentSpec, Graph
from envs.shapes import Bool, Float, Int

__all__ = ["Batch", "EnvironmentSpec", "Graph", "Learner"]


class Batch(NamedTuple):
    """Transitions drawn from the replay."""

    observation: Float[Tensor, "batch agent feature"]
    graph: Graph
    action: Int[Tensor, "batch agent"] | Float[Tensor, "batch agent action"]
    """Indices, or vectors for a learner whose `action_width` is not 0; never an action that the agent lacks."""
    reward: Float[Tensor, "batch agent"]
    """In the scale chosen by the runner (`training.reward_scale`), the same for all algorithms."""
    next_observation: Float[Tensor, "batch agent feature"]
    next_graph: Graph
    terminated: Bool[Tensor, " batch"]
    """True where the task itself ended; a time limit is not an end, so targets bootstrap through it."""


class Learner(Protocol):
    """An algorithm: chooses actions, learns from batches, can be saved and restored exactly."""

    action_width: int
    """Size of the action vectors that `act` gives and the replay stores; 0 for action indices."""

    def schedule(self, environment_step: int, total_steps: int) -> None:
        """Set everything that follows the course of training (learning rate, exploration). Called by the runner before
        each rollout with the environment steps made so far, counted over all copies, and the length of the run."""
        ...

    def act(
        self, observation: Float[Tensor, "env agent feature"], graph: Graph, generator: torch.Generator, greedy: bool
    ) -> Int[Tensor, "env agent"] | Float[Tensor, "env agent action"]:
        """Actions of all agents, of those they have: the behaviour policy, or its most likely action where `greedy`."""
        ...

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, Float[Tensor, ""]]:
        """One gradient step of every network, and the moves of the target networks; returns metrics. Never synchronises
        with the host."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...
