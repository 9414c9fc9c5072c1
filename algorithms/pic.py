"""PIC, Liu et al. 2019: MADDPG with a permutation invariant critic, a graph network over all agents.

    h_i^l = (1/N) [relu((1/N) sum over j != i of (W h_j^(l-1) + b)) + relu(V h_i^(l-1) + c)],  l = 1, 2        (1)
    Q(o, a) = w . max over i of h_i^2 + b,   h_i^0 = [o_i, a_i]                                               (2)

or, with `value = own`, Q_i(o, a) = w . h_i^2 + b.

The graph is complete, so the sum is that over all agents minus the agent's term, without an agent-by-agent matrix.
Actor, losses and schedule are those of `algorithms.maddpg`.

(1) divides by N twice in each layer, as published: activations shrink with 1/N^2, so that with large N the critic is
initially almost constant. `critic = repaired` takes the mean over the N - 1 others without a second division.

Deviations from the papers (see DEVIATIONS.md): maddpg-one-batch, maddpg-discrete-actions, maddpg-gradient-clip,
maddpg-team-reward, maddpg-target-moves, maddpg-continuous-actions, pic-activations, ip-head-scale, kind-encoders.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from algorithms import maddpg
from algorithms.common.actions import action_size
from algorithms.common.networks import KindLinear, head
from algorithms.maddpg import MADDPG
from algorithms.protocols import EnvironmentSpec
from envs.shapes import Float


@dataclass(frozen=True, slots=True)
class Config(maddpg.Config):
    """Settings of PIC: those of MADDPG and the form of the critic."""

    critic: Literal["published", "repaired"] = "published"
    """published: two divisions by N in each layer; repaired: a mean over the others."""
    pooling: Literal["max", "mean"] = "max"
    """Pooling of the agents' features in the team's value: max or mean."""


class GraphCritic(nn.Module):
    """Two fully connected graph layers and a pool over agents, eqs. (1) and (2)."""

    def __init__(self, spec: EnvironmentSpec, config: Config) -> None:
        super().__init__()
        hidden, agents = config.hidden, spec.num_agents
        self.pooling = config.pooling if config.value == "team" else "none"
        self.others = agents if config.critic == "published" else max(agents - 1, 1)
        self.shrink = 1.0 / agents if config.critic == "published" else 1.0
        # W and V (and b and c) of a layer side by side: one matrix product for both.
        self.first = KindLinear(spec.agent_kinds, spec.observation_dim + action_size(spec), 2 * hidden)
        self.second = nn.Linear(hidden, 2 * hidden)
        self.head = head(hidden, 1)

    def forward(
        self, joint: Float[Tensor, "batch agent feature"]
    ) -> Float[Tensor, " batch"] | Float[Tensor, "batch agent"]:
        """The team's or the agents' values. `joint` holds the observation and action of every agent."""
        h = self.combine(self.first(joint))
        h = self.combine(self.second(h))
        if self.pooling != "none":
            h = h.amax(1) if self.pooling == "max" else h.mean(1)
        return self.head(h).squeeze(-1)  # (2)

    def combine(self, mapped: Float[Tensor, "batch agent both"]) -> Float[Tensor, "batch agent hidden"]:
        """Eq. (1) after the linear maps. Both divisions are positive factors, with which relu commutes."""
        message, node = mapped.chunk(2, dim=-1)
        received = (message.sum(1, keepdim=True) - message) * (self.shrink / self.others)
        return torch.relu(received) + torch.relu(node * self.shrink)  # (1)


class PIC(MADDPG[Config]):
    """Shared actor and permutation invariant critic."""

    def build_critic(self, spec: EnvironmentSpec, config: Config) -> nn.Module:
        return GraphCritic(spec, config)
