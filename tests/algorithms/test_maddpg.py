"""MADDPG and MADDPGS against values computed by hand; what the critic sees, and in which order."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from algorithms import config_type, make
from algorithms.common.exploration import gumbel_noise
from algorithms.maddpg import MADDPG, Config, arranged
from algorithms.maddpgs import MADDPGS
from algorithms.protocols import Batch, EnvironmentSpec
from tests.algorithms.conftest import random_batch, ring, spec

TINY = replace(spec(num_agents=2, observation_dim=1, num_actions=2), relaxed_actions=True)
PROBLEM = replace(spec(num_agents=4, observation_dim=3, num_actions=3), relaxed_actions=True)
Weights = dict[str, np.ndarray]


class Given(torch.nn.Module):
    """Logits that ignore the observation."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor(logits))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(*x.shape[:-1], -1)


class Linear(torch.nn.Module):
    """Q = sum over agents of weight_i . [o_i, a_i]."""

    def __init__(self, *weight: list[float]) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight))

    def forward(self, joint: torch.Tensor) -> torch.Tensor:
        return (self.weight * joint).sum((-1, -2))


def build(kind: type[MADDPG] = MADDPG, problem: EnvironmentSpec = PROBLEM, **settings: Any) -> Any:
    torch.manual_seed(0)
    return kind(problem, Config(**({"hidden": 16} | settings)), torch.device("cpu"))


def batch_for(problem: EnvironmentSpec, size: int, generator: torch.Generator) -> Batch:
    """Transitions whose actions are relaxed where the task takes vectors."""
    batch = random_batch(size, replace(problem, num_actions=max(problem.num_actions, 1)), generator)
    if not problem.relaxed_actions:
        return batch
    draw = torch.randn(size, problem.num_agents, problem.num_actions, generator=generator)
    return batch._replace(action=torch.softmax(draw, -1))


def tiny_batch(generator: torch.Generator) -> Batch:
    """Two transitions of two agents with one observed number and two actions; the second ends its task."""
    return batch_for(TINY, 2, generator)._replace(
        observation=torch.tensor([[[1.0], [2.0]], [[0.0], [-1.0]]]),
        action=torch.tensor([[[0.25, 0.75], [1.0, 0.0]], [[0.5, 0.5], [0.0, 1.0]]]),
        reward=torch.tensor([[1.0, 3.0], [-2.0, 0.0]]),
        next_observation=torch.tensor([[[3.0], [1.0]], [[9.0], [9.0]]]),
        terminated=torch.tensor([False, True]),
    )


def seen(module: torch.nn.Module) -> list[torch.Tensor]:
    """What the module will be given, call by call."""
    inputs: list[torch.Tensor] = []
    module.register_forward_pre_hook(lambda _, args: inputs.append(args[0].detach().clone()))
    return inputs


def weights_of(learner: MADDPG) -> list[torch.Tensor]:
    networks = (learner.actor, learner.critic, learner.target_critic)
    return [p.detach().clone() for network in networks for p in network.parameters()]


# Losses


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

FORCES = replace(TINY, num_actions=0, action_dim=2, relaxed_actions=False)


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


# Invariance


def test_critic_depends_on_the_order_of_agents_and_actors_do_not(generator: torch.Generator) -> None:
    """Relabelling the agents relabels the logits and changes the joint critic's value: absence of an invariance."""
    learner = build()
    joint = torch.randn(8, 4, 6, generator=generator)
    for order in ([1, 0, 2, 3], [3, 2, 1, 0]):
        assert (learner.critic(joint) - learner.critic(joint[:, order])).abs().min() > 1e-5
        observation = joint[..., :3]
        torch.testing.assert_close(learner.actor(observation[:, order]), learner.actor(observation)[:, order])


# Behaviour


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


# Shuffled agents


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


@pytest.mark.parametrize(
    "settings", [{"logit_penalty": -0.1}, {"critic_target_updates": 0}, {"gamma": 1.5}, {"gradient_clip": 0.0}]
)
def test_bad_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises((ValueError, TypeError), match=next(iter(settings))):
        Config(**settings)  # type: ignore[arg-type]
