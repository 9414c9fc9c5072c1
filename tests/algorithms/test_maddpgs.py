"""MADDPGS: the order of the agents that the critic sees."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from algorithms import make
from algorithms.maddpg import Config, arranged
from algorithms.maddpgs import MADDPGS
from tests.algorithms.actor_critic import PROBLEM, batch_for, build, seen, weights_of
from tests.algorithms.conftest import spec


@pytest.mark.parametrize("relaxed", [True, False])
def test_maddpgs_in_order_is_maddpg(relaxed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the shuffling, and with it alone, three updates give exactly MADDPG's weights, or others."""
    problem = replace(PROBLEM, relaxed_actions=relaxed)

    def train(name: str) -> list[torch.Tensor]:
        learner = make(name, problem, Config(hidden=16), seed=4)
        generator = torch.Generator().manual_seed(5)
        batches = [batch_for(problem, 16, generator) for _ in range(3)]
        for batch in batches:
            learner.update(batch, generator)
        return weights_of(learner)  # type: ignore[arg-type]

    plain, shuffled = train("maddpg"), train("maddpgs")
    monkeypatch.setattr(MADDPGS, "order", lambda self, num_agents, generator: torch.arange(num_agents))
    in_order = train("maddpgs")
    assert all(torch.equal(one, two) for one, two in zip(plain, in_order, strict=True))
    assert not all(torch.allclose(one, two) for one, two in zip(plain, shuffled, strict=True))


def test_one_order_for_both_states_and_another_for_the_actor(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """s, s' and the actions are put in the same order, the whole minibatch alike; the actor's step has its own."""
    problem = replace(spec(num_agents=7, observation_dim=3, num_actions=3), relaxed_actions=True)
    learner = build(MADDPGS, problem)
    orders: list[torch.Tensor] = []
    original = MADDPGS.order

    def order(self: MADDPGS, num_agents: int, generator: torch.Generator) -> torch.Tensor:
        orders.append(original(self, num_agents, generator))
        return orders[-1]

    monkeypatch.setattr(MADDPGS, "order", order)
    batch = batch_for(problem, 5, generator)
    policy = [torch.softmax(learner.actor(x), -1).detach() for x in (batch.observation, batch.next_observation)]
    critic, target = seen(learner.critic), seen(learner.target_critic)
    learner.update(batch, generator)
    first, second = orders
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(7))
    assert len({tuple(range(7)), tuple(first.tolist()), tuple(second.tolist())}) == 3
    assert torch.equal(critic[0], torch.cat([batch.observation, batch.action], -1)[:, first])
    torch.testing.assert_close(target[0], torch.cat([batch.next_observation, policy[1]], -1)[:, first])
    torch.testing.assert_close(critic[1], torch.cat([batch.observation, policy[0]], -1)[:, second])


def test_orders_are_uniform(generator: torch.Generator) -> None:
    """All six orders of three agents come up equally often: 3000 draws, four standard deviations."""
    learner = build(MADDPGS)
    drawn = [tuple(learner.order(3, generator).tolist()) for _ in range(3000)]
    for order in itertools.permutations(range(3)):
        assert abs(drawn.count(order) - 500) < 4 * (3000 * 5 / 36) ** 0.5


def test_shuffled_critic_is_invariant_on_average(generator: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of the critic's value over all 24 orders that `order` can give does not depend on who stands where;
    a single one does. The actor's gradient by it is relabelled with the agents."""
    learner = build(MADDPGS)
    learner.critic.double()
    joint = torch.randn(6, 4, 6, generator=generator, dtype=torch.float64)

    def value(joint: torch.Tensor) -> torch.Tensor:
        values = []
        for order in itertools.permutations(range(4)):
            monkeypatch.setattr(MADDPGS, "order", lambda *_, order=order: torch.tensor(order))
            values.append(learner.critic(arranged(joint, learner.order(4, generator))))
        return torch.stack(values).mean(0)

    relabelling = [2, 0, 3, 1]
    single = learner.critic(joint) - learner.critic(joint[:, relabelling])
    assert single.abs().min() > 1e-6
    inputs = [joint.clone().requires_grad_(), joint[:, relabelling].clone().requires_grad_()]
    values = [value(x) for x in inputs]
    torch.testing.assert_close(values[0], values[1], rtol=1e-12, atol=1e-14)
    gradients = [torch.autograd.grad(v.sum(), x)[0] for v, x in zip(values, inputs, strict=True)]
    torch.testing.assert_close(gradients[0][:, relabelling], gradients[1], rtol=1e-9, atol=1e-12)
