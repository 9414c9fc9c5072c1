"""MADDPG against values computed by hand and by numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algorithms import config_type, make
from algorithms.maddpg import Config
from algorithms.protocols import Batch
from tests.algorithms.actor_critic import FORCES, PROBLEM, TINY, Given, Linear, batch_for, build, tiny_batch

Weights = dict[str, np.ndarray]


def test_losses_by_hand(generator: torch.Generator) -> None:
    """Numbers a reader can check. The policy is (1/4, 3/4) everywhere. In the first transition Q(o, a) =
    1 + 0.5 - 0.75 and 4 + 3 = 7.75; at s' Qbar = 3 + 1 + 2 (3/4) + 4 (1/4) = 6.5, so y = 2 + 0.5 * 6.5. The second ends
    with the mean reward -1 and Q = 0 + 1 - 0.5, -2 - 1."""
    learner = build(problem=TINY, gamma=0.5, logit_penalty=0.1)
    logits = [0.0, float(np.log(3.0))]
    learner.actor = Given(*logits)
    learner.critic, learner.target_critic = Linear([1.0, 2, -1], [2.0, 3, -1]), Linear([1.0, 0, 2], [1.0, 4, 0])
    batch = tiny_batch(generator)
    loss, metrics = learner.critic_loss(batch, generator)
    assert metrics["value/q"] == (7.75 - 2.5) / 2
    torch.testing.assert_close(loss, torch.tensor(((7.75 - 5.25) ** 2 + (-2.5 + 1.0) ** 2) / 2))
    # mu(o) = (1/4, 3/4): Q = o_1 + 2 o_2 + 2/4 - 3/4 + 3/4 - 3/4
    loss, _ = learner.actor_loss(batch, generator)
    values = (1.0 + 4.0 - 0.25, 0.0 - 2.0 - 0.25)
    torch.testing.assert_close(loss, torch.tensor(0.1 * logits[1] ** 2 / 2 - sum(values) / 2))


class OwnLinear(Linear):
    """Q_i = weight_i . [o_i, a_i], a value for each agent."""

    def forward(self, joint: torch.Tensor) -> torch.Tensor:
        return (self.weight * joint).sum(-1)


def test_losses_with_own_values_by_hand(generator: torch.Generator) -> None:
    """As above, with a value for each agent: 0.75 and 7 taken, 4.5 and 2 to come, rewards 1 and 3; at the end -2 and 0.
    Where the critic reads agent 2 first, its first value is that of agent 2 and has agent 2's reward."""
    learner = build(problem=TINY, gamma=0.5, logit_penalty=0.1, value="own")
    logits = [0.0, float(np.log(3.0))]
    learner.actor = Given(*logits)
    learner.critic, learner.target_critic = OwnLinear([1.0, 2, -1], [2.0, 3, -1]), OwnLinear([1.0, 0, 2], [1.0, 4, 0])
    batch = tiny_batch(generator)
    loss, metrics = learner.critic_loss(batch, generator)
    errors = (0.75 - 3.25, 7.0 - 4.0, 0.5 + 2.0, -3.0 - 0.0)
    torch.testing.assert_close(loss, torch.tensor(sum(error**2 for error in errors) / 4))
    assert metrics["value/q"] == (0.75 + 7.0 + 0.5 - 3.0) / 4
    loss, _ = learner.actor_loss(batch, generator)
    values = (1.0 - 0.25, 4.0 + 0.0, 0.0 - 0.25, -2.0 + 0.0)
    torch.testing.assert_close(loss, torch.tensor(0.1 * logits[1] ** 2 / 2 - sum(values) / 4))
    loss, _ = learner.critic_loss(batch, generator, torch.tensor([1, 0]))
    swapped = (2.0 + 2 - (3 + 0.5 * (1 + 1.5)), 2 + 0.75 - 0.75 - (1 + 0.5 * (3 + 1)), -1 - 1 - 0, 0 + 1.5 - 0.5 + 2)
    torch.testing.assert_close(loss, torch.tensor(sum(error**2 for error in swapped) / 4))


# Continuous actions


@pytest.mark.parametrize("per_agent", [False, True])
def test_losses_of_continuous_actions_by_hand(per_agent: bool, generator: torch.Generator) -> None:
    """Outputs (ln 3 / 2, 0) everywhere, so that mu = (1/2, 0). Taken: 0.75 and 7 in the first transition, 0.5 and -3 in
    the second. At s' Qbar = 3 + 2 (0) and 1 + 4 (1/2); mu(o) is worth 1 + 2 (1/2), 4 + 3 (1/2) and 1, -2 + 3 / 2."""
    learner = build(problem=FORCES, gamma=0.5, logit_penalty=0.1, value="own" if per_agent else "team")
    output = float(np.log(3.0)) / 2
    learner.actor = Given(output, 0.0)
    critic = OwnLinear if per_agent else Linear
    learner.critic, learner.target_critic = critic([1.0, 2, -1], [2.0, 3, -1]), critic([1.0, 0, 2], [1.0, 4, 0])
    batch = tiny_batch(generator)
    loss, metrics = learner.critic_loss(batch, generator)
    errors = (
        (0.75 - (1 + 0.5 * 3), 7.0 - (3 + 0.5 * 3), 0.5 + 2, -3.0) if per_agent else (7.75 - (2 + 0.5 * 6), -2.5 + 1)
    )
    torch.testing.assert_close(loss, torch.tensor(sum(error**2 for error in errors) / len(errors)))
    loss, metrics = learner.actor_loss(batch, generator)
    value = (2 + 5.5 + 1 - 0.5) / (4 if per_agent else 2)
    torch.testing.assert_close(loss, torch.tensor(0.1 * output**2 / 2 - value))
    assert set(metrics) == {"loss/policy"}, "a deterministic policy has no entropy"
    loss.backward()
    share = 0.5 if per_agent else 1.0  # of each agent's value in the mean
    expected = torch.tensor([0.1 * output - share * 5 * 0.75, share * 2.0])  # 1 - mu^2 is 0.75 and 1; dQ/da is 5 and -2
    torch.testing.assert_close(learner.actor.logits.grad, expected)


@pytest.mark.parametrize("name", ["maddpg", "maddpgs", "pic"])
def test_own_values_are_learned(name: str, generator: torch.Generator) -> None:
    """Each agent's value comes to its own reward, that of the first action of the agent itself, where all episodes are
    one step long."""
    config = config_type(name)(hidden=32, value="own", learning_rate=0.01, critic_target_updates=1)
    learner: Any = make(name, PROBLEM, config)
    learner.schedule(0, 10_000)
    for _ in range(400):
        batch = batch_for(PROBLEM, 64, generator)
        reward = batch.action[..., 0]
        metrics = learner.update(batch._replace(reward=reward, terminated=torch.ones(64, dtype=torch.bool)), generator)
    assert learner.critic(torch.cat([batch.observation, batch.action], -1)).shape == reward.shape
    assert float(metrics["loss/q"]) < 0.25 * float(reward.var())


def actor_by_numpy(w: Weights, x: np.ndarray) -> np.ndarray:
    """The shared actor's logits."""
    first = np.maximum(x @ w["encoder.layers.0.weight"].T + w["encoder.layers.0.bias"], 0.0)
    return np.maximum(first @ w["hidden.weight"].T + w["hidden.bias"], 0.0) @ w["head.weight"].T + w["head.bias"]


def critic_by_numpy(w: Weights, observation: np.ndarray, action: np.ndarray) -> np.ndarray:
    """The joint critic: o_1, a_1, o_2, a_2, ... side by side, two hidden layers."""
    rows = [
        np.concatenate([np.r_[o, a] for o, a in zip(*sample, strict=True)])
        for sample in zip(observation, action, strict=True)
    ]
    first = np.maximum(np.stack(rows) @ w["first.weight"].T + w["first.bias"], 0.0)
    return (np.maximum(first @ w["second.weight"].T + w["second.bias"], 0.0) @ w["head.weight"].T + w["head.bias"])[
        :, 0
    ]


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


def critic_loss_by_numpy(critic: Weights, target: Weights, actor: Weights, batch: Batch, gamma: float) -> float:
    """Loss (1)."""
    o, a, r, following, end = (
        x.numpy() for x in (batch.observation, batch.action, batch.reward, batch.next_observation, batch.terminated)
    )
    future = critic_by_numpy(target, following, softmax(actor_by_numpy(actor, following)))
    return float(np.mean((critic_by_numpy(critic, o, a) - r.mean(-1) - gamma * ~end * future) ** 2))


def actor_loss_by_numpy(actor: Weights, critic: Weights, batch: Batch, penalty: float) -> float:
    """Loss (2)."""
    o = batch.observation.numpy()
    logits = actor_by_numpy(actor, o)
    return float(penalty * np.mean(logits**2) - np.mean(critic_by_numpy(critic, o, softmax(logits))))


def finite_differences(loss: Callable[[Weights], float], weights: Weights, step: float = 1e-6) -> Weights:
    """Central differences of `loss` with respect to every weight."""
    result = {}
    for name, value in weights.items():
        gradient = np.zeros_like(value)
        for index in np.ndindex(value.shape):
            sides = []
            for sign in (1.0, -1.0):
                moved = value.copy()
                moved[index] += sign * step
                sides.append(loss(weights | {name: moved}))
            gradient[index] = (sides[0] - sides[1]) / (2.0 * step)
        result[name] = gradient
    return result


def numbers(network: torch.nn.Module) -> Weights:
    return {name: p.detach().numpy().copy() for name, p in network.named_parameters()}


def test_losses_and_gradients_equal_numpy(generator: torch.Generator) -> None:
    """Loss (1) and loss (2) with small networks in double precision; gradients against finite differences of the numpy
    formulas. The actor's loss leaves the critic without gradient and the critic's leaves actor and slow copy."""
    learner = build(problem=TINY, hidden=4, gamma=0.9, logit_penalty=0.3)
    torch.manual_seed(3)
    learner.target_critic = build(problem=TINY, hidden=4).critic
    for network in (learner.actor, learner.critic, learner.target_critic):
        network.double()
        with torch.no_grad():
            for p in network.parameters():
                p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64))
    batch = batch_for(TINY, 6, generator)
    doubled = ("observation", "action", "reward", "next_observation")
    batch = batch._replace(**{name: getattr(batch, name).double() for name in doubled})
    assert batch.terminated.any()
    assert not batch.terminated.all()
    actor, critic, target = (numbers(x) for x in (learner.actor, learner.critic, learner.target_critic))

    loss, metrics = learner.critic_loss(batch, generator)
    loss.backward()
    assert abs(loss.item() - critic_loss_by_numpy(critic, target, actor, batch, 0.9)) < 1e-10
    values = critic_by_numpy(critic, batch.observation.numpy(), batch.action.numpy())
    np.testing.assert_allclose(metrics["value/q"].item(), values.mean())
    joint = torch.cat([batch.observation, batch.action], dim=-1)
    np.testing.assert_allclose(learner.critic(joint).detach().numpy(), values)
    expected = finite_differences(lambda w: critic_loss_by_numpy(w, target, actor, batch, 0.9), critic)
    for name, p in learner.critic.named_parameters():
        np.testing.assert_allclose(p.grad.numpy(), expected[name], rtol=1e-5, atol=1e-6)
    assert all(p.grad is None for p in (*learner.actor.parameters(), *learner.target_critic.parameters()))

    learner.critic.zero_grad()
    loss, _ = learner.actor_loss(batch, generator)
    loss.backward()
    assert abs(loss.item() - actor_loss_by_numpy(actor, critic, batch, 0.3)) < 1e-10
    expected = finite_differences(lambda w: actor_loss_by_numpy(w, critic, batch, 0.3), actor)
    for name, p in learner.actor.named_parameters():
        np.testing.assert_allclose(p.grad.numpy(), expected[name], rtol=1e-5, atol=1e-6)
        assert np.abs(expected[name]).max() > 1e-3
    assert all(p.grad is None for p in learner.critic.parameters())


def test_actors_step_uses_the_critic_after_its_own_step(generator: torch.Generator) -> None:
    """First the critic moves, then the actor, by the critic it finds; `update` is both losses in that order."""
    whole, parts = build(learning_rate=0.01), build(learning_rate=0.01)
    batch = batch_for(PROBLEM, 8, generator)
    metrics = whole.update(batch, generator)
    for loss_of, optimiser in (
        (lambda: parts.critic_loss(batch, generator)[0], parts.critic_optimiser),
        (lambda: parts.actor_loss(batch, generator)[0], parts.actor_optimiser),
    ):
        optimiser.zero_grad()
        loss = loss_of()
        loss.backward()
        optimiser.step()
    torch.testing.assert_close(metrics["loss/policy"], loss.detach())
    for network in ("actor", "critic"):
        for one, two in zip(getattr(whole, network).parameters(), getattr(parts, network).parameters(), strict=True):
            torch.testing.assert_close(one, two)


@pytest.mark.parametrize("moves", [1, 2, 3])
def test_slow_critic_moves_several_times(moves: int, generator: torch.Generator) -> None:
    """k moves by tau towards the same critic are one by 1 - (1 - tau)^k."""
    learner = build(tau=0.25, critic_target_updates=moves)
    before = [p.clone() for p in learner.target_critic.parameters()]
    learner.update(batch_for(PROBLEM, 8, generator), generator)
    kept = 0.75**moves
    for old, new, online in zip(before, learner.target_critic.parameters(), learner.critic.parameters(), strict=True):
        torch.testing.assert_close(new, kept * old + (1.0 - kept) * online)
        assert not torch.equal(old, online)


def test_gradients_are_clipped(generator: torch.Generator) -> None:
    """Actor and critic each by their own norm; the metrics keep the norms before."""
    learner = build(gradient_clip=0.001)
    metrics = learner.update(batch_for(PROBLEM, 8, generator), generator)
    for name in ("actor", "critic"):
        norm = torch.stack([p.grad.norm() for p in getattr(learner, name).parameters()]).norm()
        torch.testing.assert_close(norm, torch.tensor(0.001), rtol=1e-2, atol=0)
        assert metrics[f"gradient_norm/{name}"] > 0.001


def test_critic_depends_on_the_order_of_agents_and_actors_do_not(generator: torch.Generator) -> None:
    """Relabelling the agents relabels the logits and changes the joint critic's value: absence of an invariance."""
    learner = build()
    joint = torch.randn(8, 4, 6, generator=generator)
    for order in ([1, 0, 2, 3], [3, 2, 1, 0]):
        assert (learner.critic(joint) - learner.critic(joint[:, order])).abs().min() > 1e-5
        observation = joint[..., :3]
        torch.testing.assert_close(learner.actor(observation[:, order]), learner.actor(observation)[:, order])


@pytest.mark.parametrize(
    "settings", [{"logit_penalty": -0.1}, {"critic_target_updates": 0}, {"gamma": 1.5}, {"gradient_clip": 0.0}]
)
def test_bad_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises((ValueError, TypeError), match=next(iter(settings))):
        Config(**settings)  # type: ignore[arg-type]
