"""Discrete and continuous policies against torch's own distributions."""

from __future__ import annotations

import math

import torch
from torch.distributions import Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from algorithms.common.actions import LOG_STD_RANGE, ContinuousActions, DiscreteActions, action_space
from algorithms.protocols import EnvironmentSpec
from tests.algorithms.conftest import spec


def continuous(num_agents: int = 3, action_dim: int = 2) -> EnvironmentSpec:
    return EnvironmentSpec(num_agents, 4, 0, 5, 2, (0,) * num_agents, action_dim=action_dim)


def test_the_task_decides() -> None:
    assert isinstance(action_space(spec()), DiscreteActions)
    assert isinstance(action_space(continuous()), ContinuousActions)
    assert action_space(spec(num_actions=3)).policy_outputs == 3
    assert action_space(continuous(action_dim=2)).policy_outputs == 4


def test_entropy_of_a_continuous_draw_is_its_log_density(generator: torch.Generator) -> None:
    """-log q of the tanh of a Gaussian, against torch.distributions, in float64."""
    outputs = 0.5 * torch.randn(50, 3, 4, generator=generator, dtype=torch.float64) - 0.5  # far from +-1, where ...
    draw = ContinuousActions(2).sample(outputs, generator)
    mean, log_std = outputs.chunk(2, dim=-1)
    density = TransformedDistribution(Normal(mean, log_std.exp()), [TanhTransform()])  # ... this loses digits
    torch.testing.assert_close(draw.entropy, -density.log_prob(draw.joint).sum(-1), atol=1e-6, rtol=1e-6)
    assert draw.joint.abs().max() < 1
    assert draw.weights.shape == (50, 3, 1)
    assert (draw.weights == 1).all()


def test_continuous_draws_have_the_policys_distribution(generator: torch.Generator) -> None:
    """Before the tanh: mean and standard deviation of the outputs."""
    outputs = torch.tensor([0.3, -0.5, math.log(0.2), math.log(0.4)]).expand(1, 40_000, 4)
    before = torch.atanh(ContinuousActions(2).sample(outputs, generator).joint[0].double())
    torch.testing.assert_close(before.mean(0), torch.tensor([0.3, -0.5]).double(), atol=0.01, rtol=0)
    torch.testing.assert_close(before.std(0), torch.tensor([0.2, 0.4]).double(), atol=0.01, rtol=0)


def test_continuous_draws_are_reparametrised(generator: torch.Generator) -> None:
    """d E[a] / d mean by the draw's own gradient equals the finite difference with the same noise."""
    outputs = torch.tensor([[[0.2, -1.0]]], dtype=torch.float64, requires_grad=True)
    state = generator.get_state()
    draw = ContinuousActions(1).sample(outputs, generator)
    (gradient,) = torch.autograd.grad(draw.joint.sum() + draw.entropy.sum(), outputs)
    for index in range(2):
        step = torch.zeros_like(outputs)
        step[..., index] = 1e-5
        sides = []
        for sign in (1, -1):
            generator.set_state(state)
            moved = ContinuousActions(1).sample(outputs.detach() + sign * step, generator)
            sides.append((moved.joint.sum() + moved.entropy.sum()).item())
        assert abs(gradient[0, 0, index].item() - (sides[0] - sides[1]) / 2e-5) < 1e-5


def test_greedy_is_the_middle_and_extremes_stay_finite(generator: torch.Generator) -> None:
    actions = ContinuousActions(1)
    outputs = torch.tensor([[[0.5, -1.0], [50.0, 90.0], [-50.0, -90.0]]])
    torch.testing.assert_close(actions.act(outputs, generator, greedy=True)[..., 0], torch.tanh(outputs[..., 0]))
    draw = actions.sample(outputs, generator)
    assert draw.joint.isfinite().all()
    assert draw.entropy.isfinite().all()
    assert draw.entropy[0, 2] < math.exp(LOG_STD_RANGE[1])


def test_discrete_draw_has_exact_weights_and_entropy(generator: torch.Generator) -> None:
    logits = torch.log(torch.tensor([[[0.2, 0.3, 0.5]]]))
    draw = DiscreteActions(3).sample(logits, generator)
    torch.testing.assert_close(draw.weights, torch.tensor([[[0.2, 0.3, 0.5]]]))
    torch.testing.assert_close(draw.entropy, -(draw.weights * draw.weights.log()).sum(-1))
    assert sorted(draw.joint[0, 0].tolist()) == [0.0, 0.0, 1.0]


def test_stored_actions_become_vectors_and_choose_values() -> None:
    values, actions = torch.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]), torch.tensor([[2, 0]])
    discrete = DiscreteActions(3)
    assert discrete.value_of(values, actions).tolist() == [[3.0, 4.0]]
    assert discrete.vectors(actions).tolist() == [[[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]]
    forces = torch.tensor([[[0.5, -0.5], [0.1, 0.2]]])
    assert torch.equal(ContinuousActions(2).vectors(forces), forces)
    assert ContinuousActions(2).value_of(values[..., :1], forces).tolist() == [[1.0, 4.0]]
