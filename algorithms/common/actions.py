"""Mapping from a policy network's outputs to actions, for discrete and continuous action spaces."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from algorithms.common.exploration import normal_noise, sample_actions, straight_through_sample
from algorithms.common.learner import gather_actions
from algorithms.protocols import EnvironmentSpec
from envs.shapes import Float

LOG_STD_RANGE = (-5.0, 2.0)
"""Limits of the logarithm of a Gaussian policy's standard deviation, before the tanh."""


class PolicySample(NamedTuple):
    """One joint sample a ~ prod_i q_i and its statistics; all fields carry gradients to the policy."""

    joint: Float[Tensor, "batch agent action"]
    """The actions as vectors, as Q receives them."""
    entropy: Float[Tensor, "batch agent"]
    """H(q_i), or an unbiased estimate of it."""
    weights: Float[Tensor, "batch agent output"]
    """Weights of Q's outputs in the mean over a_i."""


class ActionSpace(ABC):
    """Interface to discrete and continuous action spaces."""

    policy_outputs: int
    """Outputs of the policy network for each agent."""

    @abstractmethod
    def act(self, outputs: Tensor, generator: torch.Generator, greedy: bool) -> Tensor:
        """Actions for the environment."""

    @abstractmethod
    def sample(self, outputs: Float[Tensor, "batch agent output"], generator: torch.Generator) -> PolicySample:
        """A joint sample for the losses."""

    @abstractmethod
    def vectors(self, actions: Tensor) -> Float[Tensor, "batch agent action"]:
        """Stored actions as Q receives them."""

    @abstractmethod
    def value_of(self, values: Float[Tensor, "batch agent output"], actions: Tensor) -> Float[Tensor, "batch agent"]:
        """Q's value of the stored action a_i."""


class DiscreteActions(ActionSpace):
    """q_i = softmax(outputs). The entropy and the mean over a_i are exact; the joint sample is a straight-through
    Gumbel one-hot."""

    def __init__(self, num_actions: int) -> None:
        self.policy_outputs = num_actions

    def act(self, outputs: Tensor, generator: torch.Generator, greedy: bool) -> Tensor:
        return outputs.argmax(-1) if greedy else sample_actions(outputs, generator)

    def sample(self, outputs: Tensor, generator: torch.Generator) -> PolicySample:
        log_q = torch.log_softmax(outputs, dim=-1)
        entropy = -(log_q.exp() * log_q).sum(-1)
        return PolicySample(straight_through_sample(log_q, generator), entropy, log_q.exp())

    def vectors(self, actions: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(actions.long(), self.policy_outputs).float()

    def value_of(self, values: Tensor, actions: Tensor) -> Tensor:
        return gather_actions(values, actions)


class ContinuousActions(ActionSpace):
    """q_i is a Gaussian with diagonal covariance, squashed by tanh into [-1, 1]; outputs are means and log standard
    deviations. Samples are reparametrised (paper 4.2); the entropy is estimated by the sample's -log q_i."""

    def __init__(self, action_dim: int) -> None:
        self.policy_outputs = 2 * action_dim

    def act(self, outputs: Tensor, generator: torch.Generator, greedy: bool) -> Tensor:
        mean, _ = outputs.chunk(2, dim=-1)
        return torch.tanh(mean) if greedy else self.sample(outputs, generator).joint

    def sample(self, outputs: Tensor, generator: torch.Generator) -> PolicySample:
        mean, log_std = outputs.chunk(2, dim=-1)
        log_std = log_std.clamp(*LOG_STD_RANGE)
        noise = normal_noise(mean, generator)
        before = mean + log_std.exp() * noise
        log_gaussian = -0.5 * noise.square() - log_std - 0.5 * math.log(2.0 * math.pi)
        log_slope = 2.0 * (math.log(2.0) - before - torch.nn.functional.softplus(-2.0 * before))  # log(1 - tanh^2)
        entropy = (log_slope - log_gaussian).sum(-1)
        return PolicySample(torch.tanh(before), entropy, torch.ones_like(mean[..., :1]))

    def vectors(self, actions: Tensor) -> Tensor:
        return actions

    def value_of(self, values: Tensor, actions: Tensor) -> Tensor:
        return values.squeeze(-1)


def action_size(spec: EnvironmentSpec) -> int:
    """Length of an agent's action as a vector: its components, or one entry for each discrete action."""
    return spec.action_dim or spec.num_actions


def action_space(spec: EnvironmentSpec) -> ActionSpace:
    """The action space of a task."""
    return ContinuousActions(spec.action_dim) if spec.action_dim else DiscreteActions(spec.num_actions)
