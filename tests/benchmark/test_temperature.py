"""What IP's alpha means at every number of agents, measured: advantages of one agent's action in cooperative
navigation, by Monte Carlo under random play with the team's reward."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch

from algorithms.ip import Temperature
from tests.envs.conftest import particles

AGENTS = (3, 15, 30, 100, 200)
ACTIONS, GAMMA = 5, 0.95
STATES, PLAYS, OPENING, HORIZON = 64, 8, 8, 17


class Measured(NamedTuple):
    """Of one number of agents."""

    advantages: torch.Tensor
    """(state, action) of agent 0, discounted, in units of the reward."""
    reward_deviation: float
    """Standard deviation of the team's reward of a step."""


def measure(agents: int) -> Measured:
    """From `STATES` states after `OPENING` random steps, every action of agent 0, each followed by the same `PLAYS`
    random plays of all agents."""
    generator = torch.Generator().manual_seed(0)
    begin = particles(f"mpe/cooperative_navigation_{agents}", STATES)
    begin.reset(0)
    rewards = [
        begin.step(torch.randint(ACTIONS, (STATES, agents), generator=generator)).reward[:, 0] for _ in range(OPENING)
    ]
    branches = PLAYS * ACTIONS
    environment = particles(begin.scenario.task, STATES * branches)
    environment.reset(0)
    environment.set_state(*(part.repeat_interleave(branches, dim=0) for part in (begin.position, begin.velocity)))
    returns = torch.zeros(STATES, PLAYS, ACTIONS, dtype=torch.float64)
    for step in range(HORIZON):
        actions = torch.randint(ACTIONS, (STATES, PLAYS, 1, agents), generator=generator).repeat(1, 1, ACTIONS, 1)
        if step == 0:
            actions[..., 0] = torch.arange(ACTIONS)
        reward = environment.step(actions.flatten(0, 2)).reward[:, 0]
        returns += GAMMA**step * reward.reshape(returns.shape)
        rewards.append(reward[::branches])
    advantages = returns.mean(1) - returns.mean((1, 2))[:, None]
    return Measured(advantages.float(), float(torch.cat(rewards).std()))


def soft_optimal_entropy(advantages: torch.Tensor, alpha: float) -> float:
    """Mean entropy in nats of the policies softmax(A / alpha)."""
    log_policy = torch.log_softmax(advantages / alpha, dim=-1)
    return float(-(log_policy.exp() * log_policy).sum(-1).mean())


def in_unit_of_advantages(advantages: torch.Tensor, alpha: float) -> float:
    temperature = Temperature(alpha, tuned=False, unit="advantage")
    temperature.observe(advantages.var(-1, correction=0).mean())
    return float(temperature())


@pytest.mark.slow
def test_alpha_means_the_same_at_every_number_of_agents() -> None:
    """With standardised rewards alpha = 0.2 leaves policies of 200 agents nearly uniform (log 5 is 1.61); as a multiple
    of the advantages' scale it leads to the same entropy everywhere."""
    by_reward, by_advantage = [], []
    for agents in AGENTS:
        advantages, deviation = measure(agents)
        by_reward.append(soft_optimal_entropy(advantages / deviation, 0.2))
        by_advantage.append(soft_optimal_entropy(advantages, in_unit_of_advantages(advantages, 0.5)))
        print(f"{agents:>4} agents: {by_reward[-1]:.2f} standardised, {by_advantage[-1]:.2f} by the advantages' scale")
    assert by_reward[-1] > 1.3
    assert max(by_reward) - min(by_reward) > 0.6
    assert max(by_advantage) - min(by_advantage) < 0.15
