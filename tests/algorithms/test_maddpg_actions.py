"""Relaxed, drawn and continuous actions of MADDPG: how agents behave, and what the critic sees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from algorithms import config_type, make
from algorithms.common.exploration import gumbel_noise
from algorithms.maddpg import MADDPG
from algorithms.maddpgs import MADDPGS
from tests.algorithms.actor_critic import FORCES, PROBLEM, TINY, Given, Linear, batch_for, build, seen
from tests.algorithms.conftest import random_batch, ring


@pytest.mark.parametrize("name", ["maddpg", "maddpgs", "pic"])
def test_continuous_behaviour_is_the_policy_and_noise_within_bounds(name: str, generator: torch.Generator) -> None:
    learner: Any = make(name, FORCES, config_type(name)(hidden=16, action_noise=0.2))
    assert learner.action_width == 2
    learner.actor = Given(0.3, 20.0)
    observation, graph = torch.zeros(4000, 2, 1), ring(2, 4000)
    mean = torch.tanh(torch.tensor([0.3, 20.0]))
    greedy = learner.act(observation, graph, generator, True)
    torch.testing.assert_close(greedy, mean.expand(4000, 2, 2))
    drawn = learner.act(observation, graph, generator, False)
    assert float(drawn.abs().max()) <= 1.0
    assert abs(float(drawn[..., 0].mean() - mean[0])) < 0.01
    assert abs(float(drawn[..., 0].std()) - 0.2) < 0.01
    assert 0.4 < float((drawn[..., 1] == 1.0).float().mean()) < 0.6, "half of the noise goes beyond the bound"


@pytest.mark.parametrize("name", ["maddpg", "maddpgs", "pic"])
def test_continuous_actions_reach_the_optimum(name: str, generator: torch.Generator) -> None:
    """Every agent's reward depends on the distance of its action from half of its observation."""
    learner: Any = make(name, FORCES, config_type(name)(hidden=32, learning_rate=0.01))
    learner.schedule(0, 10_000)
    for _ in range(300):
        seen_by = torch.rand(64, 2, 1, generator=generator) * 2 - 1
        action = torch.rand(64, 2, 2, generator=generator) * 2 - 1
        reward = -(action - 0.5 * seen_by).square().sum(-1)
        batch = batch_for(FORCES, 64, generator)._replace(observation=seen_by, action=action, reward=reward)
        learner.update(batch._replace(terminated=torch.ones(64, dtype=torch.bool)), generator)
    chosen = learner.act(seen_by, ring(2, 64), generator, True)
    assert float((chosen - 0.5 * seen_by).square().mean()) < 0.02


def test_relaxed_behaviour(generator: torch.Generator) -> None:
    """Rows are softmax(logits + Gumbel noise): soft, they sum to one, and their largest entry has the policy's
    frequencies; greedy ones are one-hot."""
    learner = build()
    assert learner.action_width == 3
    learner.actor = Given(*np.log([0.2, 0.3, 0.5]).tolist())
    observation, graph = torch.randn(3000, 4, 3, generator=generator), ring(4, 3000)
    state = generator.get_state()
    actions = learner.act(observation, graph, generator, greedy=False)
    torch.testing.assert_close(actions.sum(-1), torch.ones(3000, 4))
    assert (actions > 0).all()
    assert ((actions > 0.05) & (actions < 0.95)).float().mean() > 0.4, "soft, not one-hot"
    frequencies = actions.argmax(-1).flatten().bincount() / 12_000
    torch.testing.assert_close(frequencies, torch.tensor([0.2, 0.3, 0.5]), atol=0.02, rtol=0)
    generator.set_state(state)
    noise = gumbel_noise(actions, generator)
    torch.testing.assert_close(actions, torch.softmax(learner.actor(observation) + noise, -1).detach())
    greedy = learner.act(observation, graph, generator, greedy=True)
    assert torch.equal(greedy, torch.tensor([0.0, 0.0, 1.0]).expand(3000, 4, -1))


@pytest.mark.parametrize("refused_by", ["task", "settings"])
def test_drawn_behaviour(refused_by: str, generator: torch.Generator) -> None:
    """Where the task takes no vectors, or the settings want none, actions are indices drawn from the policy."""
    problem = replace(PROBLEM, relaxed_actions=refused_by != "task")
    learner = build(problem=problem, relaxed_actions=refused_by != "settings")
    assert learner.action_width == 0
    learner.actor = Given(*np.log([0.2, 0.3, 0.5]).tolist())
    observation, graph = torch.randn(3000, 4, 3, generator=generator), ring(4, 3000)
    actions = learner.act(observation, graph, generator, greedy=False)
    assert actions.shape == (3000, 4)
    torch.testing.assert_close(actions.flatten().bincount() / 12_000, torch.tensor([0.2, 0.3, 0.5]), atol=0.02, rtol=0)
    assert (learner.act(observation, graph, generator, greedy=True) == 2).all()


def test_critic_sees_stored_and_noiseless_relaxed_actions(generator: torch.Generator) -> None:
    """At s the vectors of the replay as they are, at s' and in the actor's step softmax(logits) of the present actor:
    nothing is drawn."""
    learner = build()
    batch = batch_for(PROBLEM, 8, generator)
    policy = [torch.softmax(learner.actor(x), -1).detach() for x in (batch.observation, batch.next_observation)]
    critic, target = seen(learner.critic), seen(learner.target_critic)
    state = generator.get_state()
    learner.update(batch, generator)
    assert torch.equal(generator.get_state(), state)
    assert torch.equal(critic[0], torch.cat([batch.observation, batch.action], -1))
    torch.testing.assert_close(target[0], torch.cat([batch.next_observation, policy[1]], -1))
    torch.testing.assert_close(critic[1], torch.cat([batch.observation, policy[0]], -1))
    assert len(critic) == 2
    assert len(target) == 1


@pytest.mark.parametrize("kind", [MADDPG, MADDPGS])
def test_critic_sees_one_hot_actions_only(kind: type[MADDPG], generator: torch.Generator) -> None:
    """With drawn actions: the stored ones, at s' and in the actor's step fresh draws with the policy's frequencies."""
    problem = replace(PROBLEM, relaxed_actions=False)
    learner = build(kind, problem)
    learner.actor = Given(*np.log([0.2, 0.3, 0.5]).tolist())
    learner.actor_optimiser = learner.adam(learner.actor)
    batch = batch_for(problem, 1000, generator)
    critic, target = seen(learner.critic), seen(learner.target_critic)
    learner.update(batch, generator)
    assert (critic[0][..., 3:].sum((0, 1)) == batch.action.flatten().bincount()).all()
    if kind is MADDPG:
        assert torch.equal(critic[0][..., 3:].argmax(-1), batch.action)
    assert ((critic[0][..., 3:] == 0) | (critic[0][..., 3:] == 1)).all()
    for drawn in (target[0][..., 3:], critic[1][..., 3:]):
        torch.testing.assert_close(drawn, drawn.round(), atol=1e-6, rtol=0)
        assert torch.equal(drawn.round().sum(-1), torch.ones(1000, 4))
        frequencies = drawn.round().mean((0, 1))
        torch.testing.assert_close(frequencies, torch.tensor([0.2, 0.3, 0.5]), atol=0.03, rtol=0)
    assert not torch.equal(target[0][..., 3:].round(), critic[1][..., 3:].round())


def test_drawn_actions_carry_the_relaxed_gradient(generator: torch.Generator) -> None:
    """With a linear critic the actor's gradient is that of Q at softmax(logits + the noise of the draw)."""
    learner = build(problem=replace(TINY, relaxed_actions=False), logit_penalty=0.0)
    learner.critic = Linear([1.0, 2, -1], [2.0, 3, -1])
    learner.actor = Given(0.3, -0.2)
    observation = torch.randn(50, 2, 1, generator=generator)
    batch = random_batch(50, TINY, generator)._replace(observation=observation)
    state = generator.get_state()
    learner.actor_loss(batch, generator)[0].backward()
    generator.set_state(state)
    logits = torch.tensor([0.3, -0.2], requires_grad=True)
    noise = gumbel_noise(torch.zeros(50, 2, 2), generator)
    value = (torch.softmax(logits + noise, -1) * torch.tensor([[2.0, -1], [3.0, -1]])).sum((-1, -2)).mean()
    torch.testing.assert_close(learner.actor.logits.grad, torch.autograd.grad(-value, logits)[0])
