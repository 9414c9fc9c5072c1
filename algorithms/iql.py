"""Independent Q-learning (IQL): Tan 1993; deep form by Tampuu et al. 2017. One network serves all agents.

Each agent i learns Q(o_i, a_i) from reward r_i as if it were alone. With double Q-learning

    y_i = r_i + gamma * Qbar(o'_i, argmax_a Q(o'_i, a))                                          (1)
    L   = mean over batch and agents of 1/2 (y_i - Q(o_i, a_i))^2                                (2)

Qbar is the target network: Qbar <- tau Q + (1 - tau) Qbar.
A time limit is a truncation, so (1) bootstraps through it.

Deviations from the paper's Table 2 (see DEVIATIONS.md): q-learning-rate, iql-double-q, exploration, kind-encoders.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.common.config import EpsilonGreedyConfig
from algorithms.common.learner import EpsilonGreedyLearner, Loss, gather_actions
from algorithms.common.networks import AgentMLP
from algorithms.protocols import Batch, EnvironmentSpec, Graph
from envs.shapes import Float


@dataclass(frozen=True, slots=True)
class Config(EpsilonGreedyConfig):
    """Settings of IQL, all shared with the other Q-learners."""


class IQL(EpsilonGreedyLearner[Config]):
    """Shared Q-network, epsilon-greedy behaviour, double Q-learning."""

    def build(self, spec: EnvironmentSpec, config: Config) -> None:
        network = AgentMLP(spec.agent_kinds, spec.observation_dim, config.hidden, spec.num_actions)
        self.q = self.action_network(network)
        self.target_q = self.target_of(self.q)

    def action_values(
        self, observation: Float[Tensor, "env agent feature"], graph: Graph
    ) -> Float[Tensor, "env agent action"]:
        return self.q(observation)

    def loss(self, batch: Batch) -> Loss:
        value = gather_actions(self.q(batch.observation), batch.action)
        with torch.no_grad():
            best = self.q(batch.next_observation).argmax(-1)
            future = gather_actions(self.target_q(batch.next_observation), best)
            future = future.masked_fill(batch.terminated[:, None], 0.0)
            target = batch.reward + self.config.gamma * future  # (1)
        loss = 0.5 * (target - value).square().mean()  # (2)
        return loss, {"loss/q": loss, "value/q": value.mean()}
