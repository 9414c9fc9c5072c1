"""MADDPG, Lowe et al. 2017, in the form of the program of PIC (Liu et al. 2019), which the paper follows: one actor and
one central critic for the whole team.

    L(kappa) = mean over the batch of (Q(o, a) - r - gamma Qbar(o', mu(o')))^2                             (1)
    L(theta) = - mean of Q(o, mu(o)) + c mean of (logits)^2                                                (2)

o and a are the observations and actions of all agents side by side, in a fixed order; mu(o) are the relaxed actions
softmax(logits) of the shared actor (of the present one in (1), too), Qbar is a slowly moving copy of Q, c the weight of
a penalty, r the team's reward: the mean of the agents' rewards. The behaviour is softmax(logits + Gumbel noise): tasks
that take vectors over the actions receive it as it is. Elsewhere an action is drawn, and mu is a straight-through draw,
so that the critic sees one-hot actions only.

A time limit is a truncation, so (1) bootstraps through it.

Deviations from the papers (see DEVIATIONS.md): maddpg-one-batch, maddpg-discrete-actions, maddpg-gradient-clip,
maddpg-team-reward, kind-encoders.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from algorithms.common.config import OffPolicyConfig
from algorithms.common.exploration import gumbel_noise, sample_actions, straight_through_sample
from algorithms.common.learner import OffPolicyLearner, frozen, polyak_update
from algorithms.common.networks import AgentMLP, head
from algorithms.common.pieces import Metrics, in_pieces
from algorithms.protocols import Batch, EnvironmentSpec, Graph
from envs.shapes import Float, Int


@dataclass(frozen=True, slots=True)
class Config(OffPolicyConfig):
    """Settings of MADDPG; the common ones are those of the published program (paper, Table 2)."""

    logit_penalty: float = 0.001
    """Weight c of the squared logits in the actor's loss."""
    relaxed_actions: bool = True
    """Send softmax vectors to tasks that take them, as published; False draws actions everywhere."""
    critic_target_updates: int = 2
    """Moves of the critic's slow copy in an update: the published program makes one after the critic's and one after
    the actor's step."""

    def __post_init__(self) -> None:
        OffPolicyConfig.__post_init__(self)
        if self.logit_penalty < 0:
            raise ValueError(f"logit_penalty = {self.logit_penalty}: expected zero or more")
        if self.critic_target_updates < 1:
            raise ValueError(f"critic_target_updates = {self.critic_target_updates}: expected one or more")


class JointCritic(nn.Module):
    """Q of all observations and actions side by side: two hidden layers."""

    def __init__(self, spec: EnvironmentSpec, hidden: int) -> None:
        super().__init__()
        self.first = nn.Linear(spec.num_agents * (spec.observation_dim + spec.num_actions), hidden)
        self.second = nn.Linear(hidden, hidden)
        self.head = head(hidden, 1)

    def forward(self, joint: Float[Tensor, "batch agent feature"]) -> Float[Tensor, " batch"]:
        """joint: the observation and action of every agent."""
        hidden = torch.relu(self.second(torch.relu(self.first(joint.flatten(1)))))
        return self.head(hidden).squeeze(-1)


class MADDPG(OffPolicyLearner):
    """Shared actor, joint critic."""

    def __init__(self, spec: EnvironmentSpec, config: Config, device: torch.device) -> None:
        super().__init__(spec, config, device)
        self.config = config
        self.num_actions = spec.num_actions
        self.actor = AgentMLP(spec.agent_kinds, spec.observation_dim, config.hidden, spec.num_actions).to(device)
        self.critic = self.build_critic(spec, config).to(device)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.actor_optimiser = self.adam(self.actor)
        self.critic_optimiser = self.adam(self.critic)

    @classmethod
    def action_width_for(cls, spec: EnvironmentSpec, config: Config) -> int:
        return spec.num_actions if spec.relaxed_actions and config.relaxed_actions else 0

    def build_critic(self, spec: EnvironmentSpec, config: Config) -> nn.Module:
        """The central critic."""
        return JointCritic(spec, config.hidden)

    def order(self, num_agents: int, generator: torch.Generator) -> Int[Tensor, " agent"] | None:
        """The agents in the order in which the critic reads them in this step; None leaves them where they are."""
        return None

    def logits(self, observation: Float[Tensor, "batch agent feature"]) -> Float[Tensor, "batch agent action"]:
        """Outputs of the shared actor."""
        return self.masked(self.actor(observation))

    @torch.no_grad()
    def act(
        self, observation: Float[Tensor, "env agent feature"], graph: Graph, generator: torch.Generator, greedy: bool
    ) -> Int[Tensor, "env agent"] | Float[Tensor, "env agent action"]:
        logits = self.logits(observation)
        if not self.action_width:
            return logits.argmax(-1) if greedy else sample_actions(logits, generator)
        if greedy:
            return nn.functional.one_hot(logits.argmax(-1), self.num_actions).to(logits.dtype)
        return torch.softmax(logits + gumbel_noise(logits, generator), dim=-1)

    def policy_actions(
        self, logits: Float[Tensor, "batch agent action"], generator: torch.Generator
    ) -> Float[Tensor, "batch agent action"]:
        """mu: relaxed actions, or a straight-through draw where the task takes no vectors."""
        return torch.softmax(logits, dim=-1) if self.action_width else straight_through_sample(logits, generator)

    def critic_loss(
        self, batch: Batch, generator: torch.Generator, order: Int[Tensor, " agent"] | None = None
    ) -> tuple[Float[Tensor, ""], Float[Tensor, " batch"]]:
        """Loss (1), and Q of the actions taken; the agents of s and s' alike in the given order."""
        action = batch.action
        if not self.action_width:
            action = nn.functional.one_hot(action.long(), self.num_actions).to(batch.observation.dtype)
        with torch.no_grad():
            following = self.policy_actions(self.logits(batch.next_observation), generator)
            next_joint = arranged(torch.cat([batch.next_observation, following], dim=-1), order)
            future = self.target_critic(next_joint).masked_fill(batch.terminated, 0.0)
            target = batch.reward.mean(-1) + self.config.gamma * future
        value = self.critic(arranged(torch.cat([batch.observation, action], dim=-1), order))
        return (value - target).square().mean(), value  # (1)

    def actor_loss(
        self,
        observation: Float[Tensor, "batch agent feature"],
        generator: torch.Generator,
        order: Int[Tensor, " agent"] | None = None,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "batch agent action"]]:
        """Loss (2), and the logits. No gradient reaches the critic."""
        logits = self.logits(observation)
        joint = torch.cat([observation, self.policy_actions(logits, generator)], dim=-1)
        value = frozen(self.critic)(arranged(joint, order))
        penalty = self.masked(logits, 0.0).square().mean()  # actions that an agent lacks have no logit to keep small
        return self.config.logit_penalty * penalty - value.mean(), logits  # (2)

    def update(self, batch: Batch, generator: torch.Generator) -> Metrics:
        num_agents = batch.reward.shape[-1]

        def critic_backward(piece: Batch, share: float) -> Metrics:
            loss, value = self.critic_loss(piece, generator, order)
            (share * loss).backward()
            return {"loss/q": loss.detach(), "value/q": value.detach().mean()}

        def actor_backward(piece: Batch, share: float) -> Metrics:
            loss, logits = self.actor_loss(piece.observation, generator, order)
            (share * loss).backward()
            log_policy = torch.log_softmax(logits.detach(), dim=-1)
            return {"loss/policy": loss.detach(), "policy/entropy": -(log_policy.exp() * log_policy).sum(-1).mean()}

        order = self.order(num_agents, generator)
        self.critic_optimiser.zero_grad()
        metrics = in_pieces(batch, self.piece_size, critic_backward)
        metrics["gradient_norm/critic"] = self.clip_gradient(self.critic)
        self.critic_optimiser.step()

        order = self.order(num_agents, generator)
        self.actor_optimiser.zero_grad()
        metrics |= in_pieces(batch, self.piece_size, actor_backward)
        metrics["gradient_norm/actor"] = self.clip_gradient(self.actor)
        self.actor_optimiser.step()
        for _ in range(self.config.critic_target_updates):
            polyak_update(self.target_critic, self.critic, self.config.tau)
        return metrics


def arranged(
    joint: Float[Tensor, "batch agent feature"], order: Int[Tensor, " agent"] | None
) -> Float[Tensor, "batch agent feature"]:
    """What the critic reads, with the agents in the given order."""
    return joint if order is None else joint.index_select(-2, order)


def floats_per_transition(spec: EnvironmentSpec, config: Config) -> int:
    """Floats alive for each transition of a batch: observations and joint inputs of s and s', and the hidden layers of
    the actor with their gradients; the critic's own are few."""
    joint = spec.observation_dim + spec.num_actions
    return spec.num_agents * (2 * spec.observation_dim + 5 * joint + 6 * config.hidden + 6 * spec.num_actions)
