"""QMIX, Rashid et al. 2018: the team's value is a monotonic function of the agents' values.

    Q_tot(s, a) = w2(s)^T elu(W1(s) q + b1(s)) + b2(s),   q_i = Q(o_i, a_i),   W1(s), w2(s) >= 0          (1)

Weights and biases come from hypernetworks of the state s, the concatenated observations of all agents; the absolute
values of the weights make (1) monotonic in every q_i, so that the agents' greedy actions form the greedy joint action.

    y = r + gamma Qbar_tot(s', a'),   a'_i = argmax_a Q(o'_i, a)                                           (2)
    L = mean over the batch of 1/2 (y - Q_tot(s, a))^2                                                     (3)

r is the team's reward: the mean of the agents' rewards. Qbar is the target network of agents and mixer.

Deviations from the papers (see DEVIATIONS.md): qmix-inputs, qmix-team-reward, q-learning-rate, iql-double-q,
exploration, target-smoothing, kind-encoders.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from algorithms.common.config import EpsilonGreedyConfig
from algorithms.common.learner import EpsilonGreedyLearner, Loss, gather_actions
from algorithms.common.networks import AgentMLP
from algorithms.protocols import Batch, EnvironmentSpec, Graph
from envs.fields import Count
from envs.shapes import Float


@dataclass(frozen=True, slots=True)
class Config(EpsilonGreedyConfig):
    """Settings of QMIX: those of all Q-learners and the published sizes of the mixer."""

    mixing: Count = 32
    """Hidden units of the mixer."""
    hypernetwork: Count = 64
    """Hidden units of the hypernetworks that generate the mixer's weights."""


def hypernetwork(state_dim: int, hidden: int, outputs: int) -> nn.Sequential:
    """A network with one hidden layer that maps the state to weights of the mixer."""
    return nn.Sequential(nn.Linear(state_dim, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


class Mixer(nn.Module):
    """Q_tot from the agents' values and the state, eq. (1)."""

    def __init__(self, num_agents: int, state_dim: int, config: Config) -> None:
        super().__init__()
        units, hidden = config.mixing, config.hypernetwork
        self.shape = (num_agents, units)
        self.first_weight = hypernetwork(state_dim, hidden, num_agents * units)
        self.first_bias = nn.Linear(state_dim, units)
        self.second_weight = hypernetwork(state_dim, hidden, units)
        self.second_bias = hypernetwork(state_dim, units, 1)

    def forward(
        self, values: Float[Tensor, "batch agent"], observation: Float[Tensor, "batch agent feature"]
    ) -> Float[Tensor, " batch"]:
        state = observation.flatten(1)
        weight = self.first_weight(state).abs().unflatten(-1, self.shape)
        mixed = nn.functional.elu(torch.bmm(values[:, None], weight).squeeze(1) + self.first_bias(state))
        return (mixed * self.second_weight(state).abs()).sum(-1) + self.second_bias(state).squeeze(-1)  # (1)


class QMIX(EpsilonGreedyLearner[Config]):
    """Shared Q-network and mixer, epsilon-greedy behaviour, double Q-learning."""

    def build(self, spec: EnvironmentSpec, config: Config) -> None:
        network = AgentMLP(spec.agent_kinds, spec.observation_dim, config.hidden, spec.num_actions)
        self.q = self.action_network(network)
        self.mixer = self.network(Mixer(spec.num_agents, spec.num_agents * spec.observation_dim, config))
        self.target_q, self.target_mixer = self.target_of(self.q), self.target_of(self.mixer)

    def action_values(
        self, observation: Float[Tensor, "env agent feature"], graph: Graph
    ) -> Float[Tensor, "env agent action"]:
        return self.q(observation)

    def loss(self, batch: Batch) -> Loss:
        value = self.mixer(gather_actions(self.q(batch.observation), batch.action), batch.observation)
        with torch.no_grad():
            best = self.q(batch.next_observation).argmax(-1)
            future = gather_actions(self.target_q(batch.next_observation), best)
            future = self.target_mixer(future, batch.next_observation).masked_fill(batch.terminated, 0.0)
            target = batch.reward.mean(-1) + self.config.gamma * future  # (2)
        loss = 0.5 * (target - value).square().mean()  # (3)
        return loss, {"loss/q": loss, "value/q": value.mean()}
