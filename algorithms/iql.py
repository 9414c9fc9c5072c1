"""Independent Q-learning (IQL): Tan 1993; deep form by Tampuu et al. 2017. One network serves all agents.

Each agent i learns Q(o_i, a_i) from its own reward as if it were alone. With double Q-learning

    y_i = r_i + gamma * Qbar(o'_i, argmax_a Q(o'_i, a))                                          (1)
    L   = mean over batch and agents of 1/2 (y_i - Q(o_i, a_i))^2                                (2)

Qbar is a slowly moving copy of Q: Qbar <- tau Q + (1 - tau) Qbar.                               (3)
A time limit is a truncation, so (1) bootstraps through it.

Deviations from the paper's Table 2 (see DEVIATIONS.md): q-learning-rate, exploration, kind-encoders.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.common.config import EpsilonGreedyConfig
from algorithms.common.learner import EpsilonGreedyLearner, polyak_update, take
from algorithms.common.networks import AgentMLP
from algorithms.common.pieces import Metrics, in_pieces
from algorithms.protocols import Batch, EnvironmentSpec, Graph
from envs.shapes import Float


@dataclass(frozen=True, slots=True)
class Config(EpsilonGreedyConfig):
    """Settings of IQL: those of all Q-learners, and Table 2."""


class IQL(EpsilonGreedyLearner):
    """Shared Q-network, epsilon-greedy behaviour, double Q-learning."""

    def __init__(self, spec: EnvironmentSpec, config: Config, device: torch.device) -> None:
        super().__init__(spec, config, device)
        self.config = config
        self.q = AgentMLP(spec.agent_kinds, spec.observation_dim, config.hidden, spec.num_actions).to(device)
        self.target_q = copy.deepcopy(self.q).requires_grad_(False)
        self.optimiser = self.adam(self.q)

    def action_values(
        self, observation: Float[Tensor, "env agent feature"], graph: Graph
    ) -> Float[Tensor, "env agent action"]:
        return self.masked(self.q(observation))

    def loss(self, batch: Batch) -> tuple[Float[Tensor, ""], Float[Tensor, "batch agent"]]:
        """Loss (2) and the values of the actions taken."""
        value = take(self.q(batch.observation), batch.action)
        with torch.no_grad():
            best = self.action_values(batch.next_observation, batch.next_graph).argmax(-1)
            future = take(self.target_q(batch.next_observation), best)
            future = future.masked_fill(batch.terminated[:, None], 0.0)
            target = batch.reward + self.config.gamma * future  # (1)
        return 0.5 * (target - value).square().mean(), value  # (2)

    def update(self, batch: Batch, generator: torch.Generator) -> Metrics:
        self.optimiser.zero_grad()
        metrics = in_pieces(batch, self.piece_size, self.backward)
        metrics["gradient_norm/q"] = self.clip_gradient(self.q)
        self.optimiser.step()
        polyak_update(self.target_q, self.q, self.config.tau)  # (3)
        return metrics

    def backward(self, batch: Batch, share: float) -> Metrics:
        """Add `share` times the gradients of (2) to those that are there."""
        loss, value = self.loss(batch)
        (share * loss).backward()
        return {"loss/q": loss.detach(), "value/q": value.detach().mean()}


def floats_per_transition(spec: EnvironmentSpec, config: Config) -> int:
    """Floats alive for each transition of a batch: two observations, and the hidden layers of the loss with their
    gradients."""
    return spec.num_agents * (2 * spec.observation_dim + 6 * config.hidden + 4 * spec.num_actions)
