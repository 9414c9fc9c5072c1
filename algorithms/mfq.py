"""Mean-field Q-learning (MF-Q), Yang et al. 2018: Q-learning in which an agent's neighbours are one mean action.

    abar_i = mean over the neighbours j in N_i of the one-hot a_j                                  (1)
    y_i = r_i + gamma sum over a of pi(a | o'_i, abar'_i) Qbar(o'_i, a, abar'_i)                   (2)
    L   = mean over batch and agents of 1/2 (y_i - Q(o_i, a_i, abar_i))^2                          (3)
    pi(a | o_i, abar_i) = softmax over a of Q(o_i, a, abar_i) / T                                  (4)

In (3) the neighbours' actions are the stored ones. Where they are not known yet (when agents act, and at s' in (2)),
they are replaced by the neighbours' policies (4) given the mean action of uniform policies: one pass of the fixed-point
iteration between (1) and (4). An agent without neighbours has the mean action zero. Qbar is the target network of Q.

Deviations from the paper (see DEVIATIONS.md): mfq-mean-action, q-learning-rate, exploration, target-smoothing,
kind-encoders.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from algorithms.common.config import EpsilonGreedyConfig
from algorithms.common.graph import Neighbourhood, neighbourhood
from algorithms.common.learner import EpsilonGreedyLearner, Loss, gather_actions
from algorithms.common.networks import AgentMLP
from algorithms.protocols import Batch, EnvironmentSpec, Graph
from envs.fields import Range
from envs.shapes import Float


@dataclass(frozen=True, slots=True)
class Config(EpsilonGreedyConfig):
    """Settings of MF-Q: those of all Q-learners and the temperature."""

    temperature: Annotated[float, Range(above=0)] = 0.1
    """Temperature T of (4), for rewards on the scale the learner sees."""


class MFQ(EpsilonGreedyLearner[Config]):
    """Shared Q-network of an observation and a mean action, epsilon-greedy behaviour."""

    uses_graph = True

    def build(self, spec: EnvironmentSpec, config: Config) -> None:
        read = spec.observation_dim + spec.num_actions
        self.q = self.action_network(AgentMLP(spec.agent_kinds, read, config.hidden, spec.num_actions))
        self.target_q = self.target_of(self.q)
        equal = torch.zeros(1, spec.num_agents, spec.num_actions, device=self.device)
        self.uniform = torch.softmax(self.without_missing(equal), dim=-1)

    def action_values(
        self, observation: Float[Tensor, "env agent feature"], graph: Graph
    ) -> Float[Tensor, "env agent action"]:
        return self.q(self.read(observation, neighbourhood(graph, fused=self.fused)))

    def read(
        self,
        observation: Float[Tensor, "batch agent feature"],
        neighbours: Neighbourhood,
        actions: Float[Tensor, "batch agent action"] | None = None,
    ) -> Float[Tensor, "batch agent input"]:
        """Input of Q: observations and mean actions of the neighbours; without `actions`, the means of their
        policies."""
        if actions is None:
            actions = self.policy(self.read(observation, neighbours, self.uniform.expand(len(observation), -1, -1)))
        return torch.cat([observation, neighbours.mean(actions)], dim=-1)  # (1)

    def policy(self, read: Float[Tensor, "batch agent input"]) -> Float[Tensor, "batch agent action"]:
        """The Boltzmann policies of Q."""
        return torch.softmax(self.q(read) / self.config.temperature, dim=-1)  # (4)

    def loss(self, batch: Batch) -> Loss:
        taken = nn.functional.one_hot(batch.action.long(), self.spec.num_actions).to(batch.observation.dtype)
        read = self.read(batch.observation, neighbourhood(batch.graph, fused=self.fused), taken)
        value = gather_actions(self.q(read), batch.action)
        with torch.no_grad():
            following = self.read(batch.next_observation, neighbourhood(batch.next_graph, fused=self.fused))
            future = (self.policy(following) * self.target_q(following)).sum(-1)
            future = future.masked_fill(batch.terminated[:, None], 0.0)
            target = batch.reward + self.config.gamma * future  # (2)
        loss = 0.5 * (target - value).square().mean()  # (3)
        return loss, {"loss/q": loss, "value/q": value.mean()}
