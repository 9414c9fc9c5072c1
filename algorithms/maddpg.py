"""MADDPG, Lowe et al. 2017, in the form of the program of PIC (Liu et al. 2019), which the paper follows: one actor and
one central critic for the whole team.

    L(kappa) = mean over the batch of (Q(o, a) - r - gamma Qbar(o', mu(o')))^2                             (1)
    L(theta) = - mean of Q(o, mu(o)) + c mean of (logits)^2                                                (2)

o and a are the concatenated observations and actions of all agents, in a fixed order; mu(o) are the relaxed actions
softmax(logits) of the shared actor (the online actor in (1) as well), Qbar is the target network of Q, c the weight of
a penalty, and r the team's reward: the mean of the agents' rewards. The behaviour policy is softmax(logits + Gumbel
noise); tasks that accept vectors over the actions receive it unchanged. In other tasks an action is sampled, and mu is
a straight-through sample, so that the critic only ever sees one-hot actions.

With continuous actions the policy is the deterministic one of Lowe et al. (eqs. (5) and (6) there): mu(o) =
tanh(outputs of the actor), c weighs the squared outputs before the tanh, and the behaviour policy is mu(o) plus sigma
times a standard normal sample, clamped to [-1, 1].

With `value = own` the critic has one output per agent, fitted to r_i, like the critics of Lowe et al.; (1) is then also
a mean over agents, and in (2) the shared actor maximises the mean of all outputs.

A time limit is a truncation, so (1) bootstraps through it.

Deviations from the papers (see DEVIATIONS.md): maddpg-one-batch, maddpg-discrete-actions, maddpg-gradient-clip,
maddpg-team-reward, maddpg-one-critic, maddpg-target-moves, maddpg-continuous-actions, kind-encoders.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from algorithms.common.actions import action_size
from algorithms.common.config import OffPolicyConfig
from algorithms.common.exploration import gumbel_noise, normal_noise, sample_actions, straight_through_sample
from algorithms.common.learner import Loss, OffPolicyLearner, Phase, without_parameter_gradients
from algorithms.common.networks import AgentMLP, head
from algorithms.protocols import Batch, EnvironmentSpec, Graph
from envs.fields import Count, Weight
from envs.shapes import Float, Int


@dataclass(frozen=True, slots=True)
class Config(OffPolicyConfig):
    """Settings of MADDPG; the common ones are those of the published program (paper, Table 2)."""

    value: Literal["team", "own"] = "team"
    """Target of the critic: team (one value, of the mean of the agents' rewards) or own (one value per agent, of that
    agent's reward)."""
    logit_penalty: Weight = 0.001
    """Weight c of the squared logits (or outputs before the tanh) in the actor's loss."""
    action_noise: Weight = 0.3
    """Standard deviation sigma of the exploration noise on continuous actions, which lie in [-1, 1]."""
    relaxed_actions: bool = True
    """Whether tasks that accept softmax vectors receive them, as published; False: actions are sampled everywhere."""
    critic_target_updates: Count = 2
    """Updates of the critic's target network per update: the published program makes one after the critic's step and
    one after the actor's."""


ConfigT = TypeVar("ConfigT", bound=Config)


class JointCritic(nn.Module):
    """Q of all concatenated observations and actions: two hidden layers, and one value for the team or per agent."""

    def __init__(self, spec: EnvironmentSpec, config: Config) -> None:
        super().__init__()
        hidden, self.team = config.hidden, config.value == "team"
        self.first = nn.Linear(spec.num_agents * (spec.observation_dim + action_size(spec)), hidden)
        self.second = nn.Linear(hidden, hidden)
        self.head = head(hidden, 1 if self.team else spec.num_agents)

    def forward(
        self, joint: Float[Tensor, "batch agent feature"]
    ) -> Float[Tensor, " batch"] | Float[Tensor, "batch agent"]:
        """The team's or the agents' values. `joint` holds the observation and action of every agent; agents' values are
        in its order."""
        values = self.head(torch.relu(self.second(torch.relu(self.first(joint.flatten(1))))))
        return values.squeeze(-1) if self.team else values


class MADDPG(OffPolicyLearner[ConfigT]):
    """Shared actor and joint critic."""

    continuous_actions = True

    def build(self, spec: EnvironmentSpec, config: ConfigT) -> None:
        self.actor = self.action_network(
            AgentMLP(spec.agent_kinds, spec.observation_dim, config.hidden, action_size(spec))
        )
        self.critic = self.network(self.build_critic(spec, config))
        self.target_critic = self.target_of(self.critic, moves=config.critic_target_updates)
        self.actor_optimiser, self.critic_optimiser = self.adam(self.actor), self.adam(self.critic)

    def build_critic(self, spec: EnvironmentSpec, config: ConfigT) -> nn.Module:
        """The central critic."""
        return JointCritic(spec, config)

    @classmethod
    def action_width_for(cls, spec: EnvironmentSpec, config: Config) -> int:
        relaxed = spec.relaxed_actions and config.relaxed_actions
        return spec.action_dim or (spec.num_actions if relaxed else 0)

    def phases(self, generator: torch.Generator) -> Iterable[Phase]:
        """The critic's step, then the actor's step against the updated critic."""
        order = self.order(self.spec.num_agents, generator)
        yield Phase(self.critic_optimiser, lambda batch: [self.critic_loss(batch, generator, order)])  # (1)
        order = self.order(self.spec.num_agents, generator)
        yield Phase(self.actor_optimiser, lambda batch: [self.actor_loss(batch, generator, order)])  # (2)

    def order(self, num_agents: int, generator: torch.Generator) -> Int[Tensor, " agent"] | None:
        """The order in which the critic reads the agents in a phase; None for the task's order."""
        return None

    @torch.no_grad()
    def act(
        self, observation: Float[Tensor, "env agent feature"], graph: Graph, generator: torch.Generator, greedy: bool
    ) -> Int[Tensor, "env agent"] | Float[Tensor, "env agent action"]:
        logits = self.actor(observation)
        if self.spec.action_dim:
            mean = torch.tanh(logits)
            noise = 0.0 if greedy else self.config.action_noise * normal_noise(mean, generator)
            return (mean + noise).clamp(-1.0, 1.0)
        if not self.action_width:
            return logits.argmax(-1) if greedy else sample_actions(logits, generator)
        if greedy:
            return nn.functional.one_hot(logits.argmax(-1), self.spec.num_actions).to(logits.dtype)
        return torch.softmax(logits + gumbel_noise(logits, generator), dim=-1)

    def policy_actions(
        self, logits: Float[Tensor, "batch agent action"], generator: torch.Generator
    ) -> Float[Tensor, "batch agent action"]:
        """mu: continuous or relaxed actions, or a straight-through sample where the task accepts no vectors."""
        if self.spec.action_dim:
            return torch.tanh(logits)
        return torch.softmax(logits, dim=-1) if self.action_width else straight_through_sample(logits, generator)

    def critic_loss(self, batch: Batch, generator: torch.Generator, order: Int[Tensor, " agent"] | None = None) -> Loss:
        """Loss (1), with the agents of both s and s' in the given order."""
        action = batch.action
        if not self.action_width:
            action = nn.functional.one_hot(action.long(), self.spec.num_actions).to(batch.observation.dtype)
        with torch.no_grad():
            following = self.policy_actions(self.actor(batch.next_observation), generator)
            next_joint = arranged(torch.cat([batch.next_observation, following], dim=-1), order)
            future, terminated = self.target_critic(next_joint), batch.terminated
            reward = batch.reward.mean(-1)
            if self.config.value == "own":
                reward, terminated = arranged(batch.reward[..., None], order).squeeze(-1), terminated[:, None]
            target = reward + self.config.gamma * future.masked_fill(terminated, 0.0)
        value = self.critic(arranged(torch.cat([batch.observation, action], dim=-1), order))
        loss = (value - target).square().mean()  # (1)
        return loss, {"loss/q": loss, "value/q": value.mean()}

    def actor_loss(self, batch: Batch, generator: torch.Generator, order: Int[Tensor, " agent"] | None = None) -> Loss:
        """Loss (2). No gradient reaches the parameters of the critic."""
        logits = self.actor(batch.observation)
        joint = torch.cat([batch.observation, self.policy_actions(logits, generator)], dim=-1)
        value = without_parameter_gradients(self.critic)(arranged(joint, order))
        penalty = self.without_missing(logits, 0.0).square().mean()  # missing actions have no logit
        loss = self.config.logit_penalty * penalty - value.mean()  # (2)
        if self.spec.action_dim:
            return loss, {"loss/policy": loss}  # a deterministic policy has no entropy
        log_policy = torch.log_softmax(logits.detach(), dim=-1)
        return loss, {"loss/policy": loss, "policy/entropy": -(log_policy.exp() * log_policy).sum(-1).mean()}


def arranged(
    joint: Float[Tensor, "batch agent feature"], order: Int[Tensor, " agent"] | None
) -> Float[Tensor, "batch agent feature"]:
    """The critic's input with the agents in the given order."""
    return joint if order is None else joint.index_select(-2, order)
