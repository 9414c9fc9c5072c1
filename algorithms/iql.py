"""Independent Q-learning (IQL): Tan 1993; deep form by Tampuu et al. 2017. One network serves all agents.

Each agent i learns Q(o_i, a_i) from its own reward as if it were alone. With double Q-learning

    y_i = r_i + gamma * Qbar(o'_i, argmax_a Q(o'_i, a))                                          (1)
    L   = mean over batch and agents of 1/2 (y_i - Q(o_i, a_i))^2                                (2)

Qbar is a slowly moving copy of Q: Qbar <- tau Q + (1 - tau) Qbar.                               (3)
A time limit is a truncation, so (1) bootstraps through it.

Deviations from the paper's Table 2 (see DEVIATIONS.md): iql-learning-rate, iql-exploration, kind-encoders.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.common.config import OffPolicyConfig
from algorithms.common.exploration import epsilon_greedy, linear_schedule
from algorithms.common.learner import OffPolicyLearner, polyak_update, take
from algorithms.common.networks import AgentMLP
from algorithms.protocols import Batch, EnvironmentSpec, Graph
from envs.shapes import Float, Int


@dataclass(frozen=True, slots=True)
class Config(OffPolicyConfig):
    """Settings of IQL; gamma, tau and the like come from `OffPolicyConfig` (paper, Table 2)."""

    learning_rate: float = 0.001
    """Step size of Adam: Q-learning with Table 2's 0.01 is unstable."""
    learning_rate_end: float = 0.001
    """Constant learning rate."""
    epsilon_start: float = 1.0
    """Chance of a random action at the first environment step."""
    epsilon_end: float = 0.05
    """Chance of a random action once it has stopped falling."""
    epsilon_steps: int = 50_000
    """Environment steps over which epsilon falls linearly ..."""
    epsilon_fraction: float = 0.4
    """... but over at most this share of the run, so that short runs exploit too."""

    def __post_init__(self) -> None:
        OffPolicyConfig.__post_init__(self)
        for name in ("epsilon_start", "epsilon_end", "epsilon_fraction"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} = {getattr(self, name)}: expected a number from 0 to 1")
        if self.epsilon_steps < 0:
            raise ValueError(f"epsilon_steps = {self.epsilon_steps}: expected zero or more environment steps")


class IQL(OffPolicyLearner):
    """Shared Q-network, epsilon-greedy behaviour, double Q-learning."""

    def __init__(self, spec: EnvironmentSpec, config: Config, device: torch.device) -> None:
        super().__init__(config, device)
        self.config = config
        self.q = AgentMLP(spec.agent_kinds, spec.observation_dim, config.hidden, spec.num_actions).to(device)
        self.target_q = copy.deepcopy(self.q).requires_grad_(False)
        self.optimiser = self.adam(self.q)
        self.epsilon = config.epsilon_start

    def schedule(self, environment_step: int, total_steps: int) -> None:
        super().schedule(environment_step, total_steps)
        duration = min(self.config.epsilon_steps, self.config.epsilon_fraction * total_steps)
        self.epsilon = linear_schedule(self.config.epsilon_start, self.config.epsilon_end, duration, environment_step)

    @torch.no_grad()
    def act(
        self, observation: Float[Tensor, "env agent feature"], graph: Graph, generator: torch.Generator, greedy: bool
    ) -> Int[Tensor, "env agent"]:
        values = self.q(observation)
        return values.argmax(-1) if greedy else epsilon_greedy(values, self.epsilon, generator)

    def loss(self, batch: Batch) -> tuple[Float[Tensor, ""], Float[Tensor, "batch agent"]]:
        """Loss (2) and the values of the actions taken."""
        value = take(self.q(batch.observation), batch.action)
        with torch.no_grad():
            best = self.q(batch.next_observation).argmax(-1)
            future = take(self.target_q(batch.next_observation), best)
            future = future.masked_fill(batch.terminated[:, None], 0.0)
            target = batch.reward + self.config.gamma * future  # (1)
        return 0.5 * (target - value).square().mean(), value  # (2)

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, Float[Tensor, ""]]:
        loss, value = self.loss(batch)
        self.optimiser.zero_grad()
        loss.backward()
        norm = self.clip_gradient(self.q)
        self.optimiser.step()
        polyak_update(self.target_q, self.q, self.config.tau)  # (3)
        return {"loss/q": loss.detach(), "value/q": value.detach().mean(), "gradient_norm/q": norm}


def floats_per_transition(spec: EnvironmentSpec, config: Config) -> int:
    """Floats alive for each transition of a batch: two observations, and the hidden layers of the loss with their
    gradients."""
    return spec.num_agents * (2 * spec.observation_dim + 6 * config.hidden + 4 * spec.num_actions)
