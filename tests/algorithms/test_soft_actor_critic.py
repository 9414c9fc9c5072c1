"""With a single agent, Intention Propagation is soft actor-critic: the same losses, the same solution."""

from __future__ import annotations

import pytest
import torch

from algorithms.ip import IP, Config
from algorithms.protocols import Batch, EnvironmentSpec, Graph
from envs.games.games import Walk

ALPHA, GAMMA = 0.3, 0.9


def nobody(size: int) -> Graph:
    return Graph(torch.zeros(size, 1, 1, dtype=torch.int64), torch.zeros(size, 1, 1, dtype=torch.bool))


def transitions(states: torch.Tensor, actions: torch.Tensor) -> Batch:
    """What follows actions in states of the corridor; an episode ends where no time is left."""
    model = Walk().model()
    observation = torch.cat([model.observation, torch.zeros_like(model.observation[:1])])
    after = model.next_state[states, actions]
    seen, seen_after = (observation[rows].float().view(len(states), 1, -1) for rows in (states, after))
    reward = model.reward[states, actions].float()[:, None]
    graph = nobody(len(states))
    return Batch(seen, graph, actions[:, None], reward, seen_after, graph, after == len(model.start))


def learner(**settings: object) -> IP:
    torch.manual_seed(0)
    spec = EnvironmentSpec(1, Walk().model().observation.shape[-1], 3, 8, 1, (0,))
    return IP(spec, Config(alpha=ALPHA, gamma=GAMMA, **settings), torch.device("cpu"))  # type: ignore[arg-type]


def test_losses_are_those_of_soft_actor_critic(generator: torch.Generator) -> None:
    """Written out for one agent with discrete actions: no draw is left in them."""
    ip = learner(hidden=16)
    states, actions = (torch.randint(n, (32,), generator=generator) for n in (64, 3))
    batch, neighbours = transitions(states, actions), ip.neighbourhood(nobody(32))
    with torch.no_grad():
        log_pi = torch.log_softmax(ip.policy_outputs(batch.observation, batch.graph), -1)
        anything = torch.randn(32, 1, 3, generator=generator)
        q1, q2 = (q(batch.observation, anything, neighbours) for q in (ip.q1, ip.q2) if q is not None)
        q_value = torch.minimum(q1, q2)
        entropy = -(log_pi.exp() * log_pi).sum(-1)
        soft_value = (log_pi.exp() * (q_value - ALPHA * log_pi)).sum(-1)
        following = ip.target_value(batch.next_observation, neighbours).squeeze(-1) * ~batch.terminated[:, None]
        target = batch.reward + GAMMA * following
        taken = [q.gather(-1, batch.action[..., None]).squeeze(-1) for q in (q1, q2)]
        value = ip.value(batch.observation, neighbours).squeeze(-1)
        by_hand = {
            "loss/q": sum(0.5 * (q - target).square().mean() for q in taken),
            "loss/value": 0.5 * (value - soft_value).square().mean(),
            "loss/policy": -soft_value.mean(),
            "policy/entropy": entropy.mean(),
        }
    metrics = ip.update(batch, generator)
    for name, expected in by_hand.items():
        torch.testing.assert_close(metrics[name], expected)


@pytest.mark.slow
def test_reaches_the_soft_optimum(generator: torch.Generator) -> None:
    """Policy and values against soft value iteration: V = alpha log sum exp(Q / alpha), pi = exp((Q - V) / alpha)."""
    model = Walk().model()
    value = torch.zeros(len(model.start) + 1, dtype=torch.float64)
    for _ in range(8):
        soft_q = model.reward + GAMMA * value[model.next_state]
        value[:-1] = ALPHA * torch.logsumexp(soft_q / ALPHA, -1)
    best = torch.softmax(soft_q / ALPHA, -1).float()

    ip = learner(hidden=64, learning_rate=3e-3, tau=0.05)
    for step in range(3000):
        ip.schedule(step, 3000)
        states, actions = (torch.randint(n, (64,), generator=generator) for n in (64, 3))
        ip.update(transitions(states, actions), generator)
    everywhere = transitions(torch.arange(64), torch.zeros(64, dtype=torch.int64))
    with torch.no_grad():
        policy = torch.softmax(ip.policy_outputs(everywhere.observation, everywhere.graph), -1)[:, 0]
        ip_value = ip.value(everywhere.observation, ip.neighbourhood(everywhere.graph)).flatten()
    assert (policy - best).abs().max() < 0.05
    assert (ip_value - value[:-1].float()).abs().max() < 0.1
