"""QMIX against values computed by hand; the mixer's monotonicity and what it means for greedy actions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from algorithms.protocols import Batch
from algorithms.qmix import QMIX, Config, Mixer
from tests.algorithms.conftest import random_batch, ring, spec


class Table(torch.nn.Module):
    """Q values that ignore the observation."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.values = torch.nn.Parameter(torch.tensor(values))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.values.expand(*x.shape[:-1], -1)


class Sum(torch.nn.Module):
    """Q_tot = factor times the sum of the agents' values."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(factor))

    def forward(self, values: torch.Tensor, observation: torch.Tensor) -> torch.Tensor:
        return self.factor * values.sum(-1)


class Given(torch.nn.Module):
    """One table of values for the observation `here`, another for every other observation."""

    def __init__(self, here: torch.Tensor, values: torch.Tensor, other: torch.Tensor) -> None:
        super().__init__()
        self.here = here
        self.values, self.other = torch.nn.Parameter(values), torch.nn.Parameter(other)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.values if x is self.here else self.other


def build(num_agents: int = 3, seed: int = 0, **settings: float) -> QMIX:
    torch.manual_seed(seed)
    return QMIX(spec(num_agents), Config(hidden=16, **settings), torch.device("cpu"))  # type: ignore[arg-type]


def random_mixer(num_agents: int, state_dim: int, seed: int, scale: float = 1.0) -> Mixer:
    torch.manual_seed(seed)
    mixer = Mixer(num_agents, state_dim, Config(mixing=4, hypernetwork=5)).double()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.mul_(scale)
    return mixer


def weights_by_loops(mixer: Mixer, q: np.ndarray, s: np.ndarray) -> tuple[float, np.ndarray]:
    """Q_tot of one sample and its gradient with respect to q, eq. (1) one number at a time."""
    agents, units = mixer.shape

    def linear(layer: torch.nn.Linear, x: list[float]) -> list[float]:
        weight, bias = layer.weight.tolist(), layer.bias.tolist()
        return [sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(weight, bias, strict=True)]

    def hyper(network: torch.nn.Sequential, x: list[float]) -> list[float]:
        return linear(network[2], [max(0.0, v) for v in linear(network[0], x)])  # type: ignore[arg-type]

    state = s.tolist()
    first = hyper(mixer.first_weight, state)
    bias, second = linear(mixer.first_bias, state), hyper(mixer.second_weight, state)
    total, gradient = hyper(mixer.second_bias, state)[0], np.zeros(agents)
    for k in range(units):
        before = sum(q[i] * abs(first[i * units + k]) for i in range(agents)) + bias[k]
        total += abs(second[k]) * (before if before > 0 else math.exp(before) - 1)
        for i in range(agents):
            gradient[i] += abs(second[k]) * abs(first[i * units + k]) * (1.0 if before > 0 else math.exp(before))
    return total, gradient


def test_mixer_with_chosen_weights() -> None:
    """q = (1, -1), s = (1, 2): W1 = [[3, 3], [1.5, 5]], b1 = (1, -1), w2 = (2, 2), b2 = 0.75, every weight's sign
    dropped: Q_tot = 2 elu(2.5) + 2 elu(-3) + 0.75."""
    mixer = Mixer(2, 2, Config(mixing=2, hypernetwork=1))
    chosen = {
        "first_weight.0": ([[1, 1]], [0]),
        "first_weight.2": ([[1], [-1], [0.5], [2]], [0, 0, 0, -1]),
        "first_bias": ([[1, 0], [0, -1]], [0, 1]),
        "second_weight.0": ([[-1, 1]], [0]),
        "second_weight.2": ([[-2], [1]], [0, 1]),
        "second_bias.0": ([[1, 0], [0, 1]], [0, -3]),
        "second_bias.2": ([[0.5, 7]], [0.25]),
    }
    state = {}
    for name, (weight, bias) in chosen.items():
        state[f"{name}.weight"], state[f"{name}.bias"] = torch.tensor(weight).float(), torch.tensor(bias).float()
    mixer.load_state_dict(state)
    total = mixer(torch.tensor([[1.0, -1.0]]), torch.tensor([[[1.0], [2.0]]]))
    torch.testing.assert_close(total, torch.tensor([5.0 + 2.0 * (math.exp(-3.0) - 1.0) + 0.75]))


def test_mixer_equals_loops(generator: torch.Generator) -> None:
    """Value and gradient of random mixers, on both sides of elu's kink."""
    mixer = random_mixer(3, 6, seed=0, scale=2.0)
    q = (3 * torch.randn(20, 3, generator=generator, dtype=torch.float64)).requires_grad_()
    observation = torch.randn(20, 3, 2, generator=generator, dtype=torch.float64)
    total = mixer(q, observation)
    (gradient,) = torch.autograd.grad(total.sum(), q)
    for b in range(20):
        value, slope = weights_by_loops(mixer, q[b].detach().numpy(), observation[b].flatten().numpy())
        assert abs(total[b].item() - value) < 1e-9
        np.testing.assert_allclose(gradient[b].numpy(), slope, rtol=1e-9)


@pytest.mark.parametrize("scale", [0.5, 2.0, 5.0])
def test_team_value_rises_with_every_agents_value(scale: float, generator: torch.Generator) -> None:
    """Eq. (1) is monotonic for any weights and states, and not flat."""
    for seed in range(10):
        mixer = random_mixer(4, 12, seed, scale)
        q = torch.randn(50, 4, generator=generator, dtype=torch.float64).requires_grad_()
        observation = 3 * torch.randn(50, 4, 3, generator=generator, dtype=torch.float64)
        (gradient,) = torch.autograd.grad(mixer(q, observation).sum(), q)
        assert (gradient >= 0).all()
        assert (gradient > 0).any(0).all()


def test_greedy_actions_of_the_agents_are_the_best_joint_action(generator: torch.Generator) -> None:
    """All 27 joint actions of 3 agents: none is better than that of the agents who each look at their own values."""
    learner = build()
    with torch.no_grad():
        learner.q.head.weight.mul_(20)
    observation = torch.randn(30, 3, 4, generator=generator)
    greedy = learner.act(observation, ring(3, 30), generator, greedy=True)
    joint = torch.tensor(list(itertools.product(range(3), repeat=3)))
    values = learner.q(observation)
    team = torch.stack(
        [
            learner.mixer(values.gather(-1, actions.expand(30, -1)[..., None]).squeeze(-1), observation)
            for actions in joint
        ],
        dim=-1,
    )
    assert torch.equal(joint[team.argmax(-1)], greedy)
    assert greedy.unique(dim=0).shape[0] > 5, "the agents must not all do the same everywhere"


def fixed_batch(generator: torch.Generator) -> Batch:
    return random_batch(2, spec(2), generator)._replace(
        action=torch.tensor([[0, 1], [2, 2]]),
        reward=torch.tensor([[1.0, -3.0], [0.5, 0.0]]),
        terminated=torch.tensor([False, True]),
    )


def test_loss_by_hand(generator: torch.Generator) -> None:
    """Online values (1, 3, 2) choose action 1, which the slow copies value at 2 (20 + 20) = 80: with gamma = 0.5 the
    target is the mean reward -1 plus 40, or 0.25 at an end. Q_tot = 1 + 3 and 2 + 2."""
    learner = build(2, gamma=0.5)
    learner.q, learner.target_q = Table(1.0, 3.0, 2.0), Table(10.0, 20.0, 30.0)  # type: ignore[assignment]
    learner.mixer, learner.target_mixer = Sum(1.0), Sum(2.0)  # type: ignore[assignment]
    loss, metrics = learner.loss(fixed_batch(generator))
    assert metrics["value/q"] == 4.0
    torch.testing.assert_close(loss, torch.tensor((0.5 * (39.0 - 4.0) ** 2 + 0.5 * (0.25 - 4.0) ** 2) / 2))


def test_gradient_reaches_the_values_of_the_actions_taken(generator: torch.Generator) -> None:
    """dL/dq_i = (Q_tot - y) dQ_tot/dq_i / batch for the action taken, nothing for the others nor for s'."""
    learner = build(2, gamma=0.9)
    learner.mixer, learner.target_mixer = random_mixer(2, 8, 1, 2.0), random_mixer(2, 8, 2, 2.0)
    batch = fixed_batch(generator)
    batch = batch._replace(
        **{name: getattr(batch, name).double() for name in ("observation", "reward", "next_observation")}
    )
    draw = [torch.randn(2, 2, 3, generator=generator, dtype=torch.float64) for _ in range(3)]
    learner.q = Given(batch.observation, draw[0], draw[1])  # type: ignore[assignment]
    learner.target_q = Given(batch.observation, draw[0], draw[2])  # type: ignore[assignment]
    learner.loss(batch)[0].backward()
    by_hand = np.zeros((2, 2, 3))
    for b in range(2):
        taken = batch.action[b].tolist()
        state, next_state = (x[b].flatten().numpy() for x in (batch.observation, batch.next_observation))
        value, slope = weights_by_loops(learner.mixer, draw[0][b, [0, 1], taken].numpy(), state)
        best = draw[1][b].argmax(-1).tolist()
        future, _ = weights_by_loops(learner.target_mixer, draw[2][b, [0, 1], best].numpy(), next_state)
        target = batch.reward[b].mean().item() + (0.0 if batch.terminated[b] else 0.9 * future)
        by_hand[b, [0, 1], taken] = (value - target) * slope / 2
    np.testing.assert_allclose(learner.q.values.grad.numpy(), by_hand, rtol=1e-9, atol=1e-12)
    assert learner.q.other.grad is None
    assert all(p.grad is None for p in learner.target_mixer.parameters())
    assert any(p.grad.abs().sum() > 0 for p in learner.mixer.parameters())


def test_team_value_depends_on_who_is_who(generator: torch.Generator) -> None:
    """Relabelling the agents relabels their own values but changes Q_tot: the state is read in a fixed order."""
    learner = build(4)
    observation = torch.randn(8, 4, 4, generator=generator)
    order = torch.tensor([2, 0, 3, 1])
    values = learner.q(observation)
    torch.testing.assert_close(learner.q(observation[:, order]), values[:, order])
    team = learner.mixer(values.amax(-1), observation)
    relabelled = learner.mixer(values.amax(-1)[:, order], observation[:, order])
    assert (team - relabelled).abs().min() > 1e-3


def test_targets_move_by_tau(generator: torch.Generator) -> None:
    """Both slow copies, agents' network and mixer."""
    learner = build(tau=0.25)
    pairs = ((learner.target_q, learner.q), (learner.target_mixer, learner.mixer))
    before = [[p.clone() for p in target.parameters()] for target, _ in pairs]
    learner.update(random_batch(8, spec(3), generator), generator)
    for old_weights, (target, online) in zip(before, pairs, strict=True):
        for old, new, present in zip(old_weights, target.parameters(), online.parameters(), strict=True):
            torch.testing.assert_close(new, 0.75 * old + 0.25 * present)
            assert not torch.equal(old, present)


def test_gradients_are_clipped(generator: torch.Generator) -> None:
    """Agents' network and mixer each by their own norm; the metrics keep the norms before."""
    learner = build(gradient_clip=0.001)
    metrics = learner.update(random_batch(8, spec(3), generator), generator)
    for name in ("q", "mixer"):
        norm = torch.stack([p.grad.norm() for p in getattr(learner, name).parameters()]).norm()
        torch.testing.assert_close(norm, torch.tensor(0.001), rtol=1e-2, atol=0)
        assert metrics[f"gradient_norm/{name}"] > 0.001


def test_greedy_takes_the_best_and_exploration_all(generator: torch.Generator) -> None:
    learner = build()
    observation = torch.randn(400, 3, 4, generator=generator)
    greedy = learner.act(observation, ring(3, 400), generator, greedy=True)
    assert torch.equal(greedy, learner.q(observation).argmax(-1))
    learner.schedule(0, 1000)
    counts = learner.act(observation, ring(3, 400), generator, greedy=False).flatten().bincount(minlength=3)
    assert (counts > 300).all(), "1200 uniform draws of 3 actions"
    learner.epsilon = 0.3
    changed = learner.act(observation, ring(3, 400), generator, greedy=False) != greedy
    assert abs(changed.float().mean().item() - 0.2) < 0.05, "a third of the random actions are the greedy one"


def test_exploration_falls_linearly() -> None:
    learner = build(epsilon_steps=1000, epsilon_fraction=0.5)
    for step, total, epsilon in ((0, 10_000, 1.0), (500, 10_000, 0.525), (9000, 10_000, 0.05), (250, 1000, 0.525)):
        learner.schedule(step, total)
        assert abs(learner.epsilon - epsilon) < 1e-12


@pytest.mark.parametrize(
    "settings",
    [{"mixing": 0}, {"hypernetwork": -1}, {"epsilon_end": 1.5}, {"epsilon_steps": -1}, {"hidden": 0}, {"tau": -0.1}],
)
def test_bad_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises((ValueError, TypeError), match=next(iter(settings))):
        Config(**settings)  # type: ignore[arg-type]
