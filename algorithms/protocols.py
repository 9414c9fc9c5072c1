"""The interface between algorithms and the runner: batches of transitions and the methods of a learner.

`EnvironmentSpec` and `Graph` are shared with the environments.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from envs.protocols import EnvironmentSpec, Graph
from envs.shapes import Bool, Float, Int

__all__ = ["Batch", "EnvironmentSpec", "Graph", "Learner"]


class Batch(NamedTuple):
    """Transitions sampled from the replay buffer."""

    observation: Float[Tensor, "batch agent feature"]
    graph: Graph
    action: Int[Tensor, "batch agent"] | Float[Tensor, "batch agent action"]
    """Indices, or vectors for a learner whose `action_width` is not 0; never an action that is missing for the
    agent."""
    reward: Float[Tensor, "batch agent"]
    """Rewards on the scale chosen by the runner (`training.reward_scale`), which all algorithms share."""
    next_observation: Float[Tensor, "batch agent feature"]
    next_graph: Graph
    terminated: Bool[Tensor, " batch"]
    """True where the task itself ended. A time limit is a truncation, not an end: targets bootstrap through it."""


class Learner(Protocol):
    """An algorithm that chooses actions, learns from batches, and can be saved and restored exactly."""

    action_width: int
    """Size of the action vectors that `act` returns and the replay buffer stores; 0 for action indices."""

    def schedule(self, environment_step: int, total_steps: int) -> None:
        """Set everything that changes over training (learning rate, exploration). The runner calls it before each
        rollout with the number of environment steps so far, summed over all copies, and the length of the run."""
        ...

    def act(
        self, observation: Float[Tensor, "env agent feature"], graph: Graph, generator: torch.Generator, greedy: bool
    ) -> Int[Tensor, "env agent"] | Float[Tensor, "env agent action"]:
        """Available actions for all agents: a sample of the behaviour policy, or its most likely action if `greedy`."""
        ...

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, Float[Tensor, ""]]:
        """One gradient step of every network and the updates of the target networks. Returns metrics. Never
        synchronises with the host."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...
