"""IP against values computed by hand, and the flow of its gradients."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from algorithms.common.exploration import sample_actions, straight_through_sample
from algorithms.common.graph import Neighbourhood, neighbourhood
from algorithms.ip import IP, Config
from algorithms.protocols import Batch, EnvironmentSpec
from tests.algorithms.conftest import random_batch, spec

PROBLEM = spec(num_agents=3, observation_dim=4, num_actions=3)


class Constant(torch.nn.Module):
    """The same output for every agent."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.values = torch.nn.Parameter(torch.tensor(values))

    def forward(self, x: torch.Tensor, *others: Any, **options: Any) -> torch.Tensor:
        return self.values.expand(*x.shape[:-1], -1)


class ActionValue(torch.nn.Module):
    """Q_i = value of the own action, plus a tenth of the sum of the neighbours' actions' values."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.values = torch.nn.Parameter(torch.tensor(values))

    def forward(
        self,
        observation: torch.Tensor,
        actions: torch.Tensor,
        neighbours: Neighbourhood,
        detach_neighbours: bool = False,
    ) -> torch.Tensor:
        sent = (actions @ self.values)[..., None]
        return self.values + 0.1 * neighbours.total(sent.detach() if detach_neighbours else sent)


def learner(**settings: object) -> IP:
    return IP(PROBLEM, Config(**settings), torch.device("cpu"))  # type: ignore[arg-type]


def fixed_batch(generator: torch.Generator) -> Batch:
    return random_batch(2, PROBLEM, generator)._replace(
        action=torch.tensor([[0, 1, 2], [2, 2, 2]]),
        reward=torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, -1.0]]),
        terminated=torch.tensor([False, True]),
    )


def test_q_loss_by_hand(generator: torch.Generator) -> None:
    """Each agent of a ring of three has both others as neighbours. Vbar = 4 and gamma = 0.5: targets are r + 2, or r at
    an end."""
    ip = learner(gamma=0.5)
    ip.q1, ip.q2 = ActionValue(1.0, 2.0, 3.0), ActionValue(0.0, 0.0, 0.0)  # type: ignore[assignment]
    ip.target_value = Constant(4.0)  # type: ignore[assignment]
    batch = fixed_batch(generator)
    loss, values = ip.q_loss(batch, neighbourhood(batch.graph))
    taken = [[1 + 0.5, 2 + 0.4, 3 + 0.3], [3 + 0.6] * 3]
    targets = [[3.0, 4.0, 5.0], [0.0, 0.0, -1.0]]
    by_hand = sum(
        0.5 * (q - y) ** 2 + 0.5 * y**2
        for qs, ys in zip(taken, targets, strict=True)
        for q, y in zip(qs, ys, strict=True)
    )
    torch.testing.assert_close(loss, torch.tensor(by_hand / 6))
    torch.testing.assert_close(values, torch.tensor(taken))


def test_policy_terms_by_hand(generator: torch.Generator) -> None:
    """A policy that always takes action 1 (logit 50): entropy 0 and the smaller of both values of that joint action."""
    ip = learner()
    ip.policy = Constant(0.0, 50.0, 0.0)  # type: ignore[assignment]
    ip.q1, ip.q2 = ActionValue(0.0, 5.0, 0.0), ActionValue(9.0, 4.0, 9.0)  # type: ignore[assignment]
    batch = fixed_batch(generator)
    value, _, entropy, _ = ip.policy_terms(batch, neighbourhood(batch.graph), generator)
    torch.testing.assert_close(value, torch.full((2, 3), 4.0 + 0.8))
    torch.testing.assert_close(entropy, torch.zeros(2, 3), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("policy_value", "maximised"), [("minimum", 4.8), ("first", 9.0 + 1.8)])
def test_q_that_the_policy_maximises(policy_value: str, maximised: float, generator: torch.Generator) -> None:
    """The smaller value or the first Q's; V is fitted to the smaller one either way."""
    ip = learner(policy_value=policy_value)
    ip.policy = Constant(0.0, 50.0, 0.0)  # type: ignore[assignment]
    ip.q1, ip.q2 = ActionValue(0.0, 9.0, 0.0), ActionValue(9.0, 4.0, 9.0)  # type: ignore[assignment]
    batch = fixed_batch(generator)
    terms = ip.policy_terms(batch, neighbourhood(batch.graph), generator)
    torch.testing.assert_close(terms.maximised, torch.full((2, 3), maximised))
    torch.testing.assert_close(terms.smaller, torch.full((2, 3), 4.8))


def test_entropy_is_exact(generator: torch.Generator) -> None:
    ip = learner()
    ip.policy = Constant(0.0, math.log(2.0), math.log(3.0))  # type: ignore[assignment]
    batch = fixed_batch(generator)
    entropy = ip.policy_terms(batch, neighbourhood(batch.graph), generator).entropy
    by_hand = -sum(p * math.log(p) for p in (1 / 6, 2 / 6, 3 / 6))
    torch.testing.assert_close(entropy, torch.full((2, 3), by_hand))


def test_losses_of_one_update_by_hand(generator: torch.Generator) -> None:
    """J(eta) = 1/2 (V - min Q - alpha H)^2 and J(theta) = -alpha H - min Q, with constants everywhere."""
    ip = learner(alpha=0.5, gamma=0.5)
    ip.policy, ip.value, ip.target_value = Constant(0.0, 0.0, 0.0), Constant(3.0), Constant(3.0)  # type: ignore[assignment]
    ip.q1, ip.q2 = Constant(2.0, 2.0, 2.0), Constant(7.0, 7.0, 7.0)  # type: ignore[assignment]
    metrics = ip.update(fixed_batch(generator), generator)
    entropy = math.log(3.0)
    torch.testing.assert_close(metrics["loss/policy"], torch.tensor(-0.5 * entropy - 2.0))
    torch.testing.assert_close(metrics["loss/value"], torch.tensor(0.5 * (3.0 - 2.0 - 0.5 * entropy) ** 2))


@pytest.mark.parametrize("scale", [0.01, 1.0, 300.0])
def test_alpha_in_the_unit_of_advantages(scale: float, generator: torch.Generator) -> None:
    """Values 1, 2, 4 of three actions have the variance 14/9. alpha is 0 before any is known, then half its root times
    the scale of the values; a new variance counts for a hundredth of all."""
    ip = learner(alpha=0.5, alpha_unit="advantage", learning_rate=0.0)
    ip.policy = Constant(0.0, 0.0, 0.0)  # type: ignore[assignment]
    ip.q1 = ip.q2 = Constant(1.0 * scale, 2.0 * scale, 4.0 * scale)  # type: ignore[assignment]
    assert float(ip.temperature()) == 0.0
    entropy, alpha = math.log(3.0), 0.5 * math.sqrt(14 / 9) * scale
    for known in (0.0, alpha, alpha):
        metrics = ip.update(fixed_batch(generator), generator)
        torch.testing.assert_close(metrics["loss/policy"], torch.tensor(-known * entropy - 7 / 3 * scale))
    torch.testing.assert_close(ip.temperature(), torch.tensor(alpha))
    ip.q1 = ip.q2 = Constant(0.0, 0.0, 0.0)  # type: ignore[assignment]
    ip.update(fixed_batch(generator), generator)
    share = 1 - 0.01 / (1 - 0.99**4)
    torch.testing.assert_close(ip.temperature(), torch.tensor(alpha * math.sqrt(share)))


def test_alpha_in_the_unit_of_advantages_is_tuned_and_saved(generator: torch.Generator) -> None:
    ip, other = (learner(alpha=0.5, alpha_unit="advantage", tune_alpha=True, target_entropy=5.0) for _ in range(2))
    for _ in range(3):
        metrics = ip.update(fixed_batch(generator), generator)
    assert float(metrics["policy/alpha"]) > 0
    assert ip.temperature.log_alpha is not None
    assert float(ip.temperature.log_alpha.detach()) > math.log(0.5), "it rises while more entropy is asked for"
    other.load_state_dict(ip.state_dict())
    assert torch.equal(other.temperature(), ip.temperature())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs discrete actions"):
        IP(EnvironmentSpec(3, 2, 0, 1, 2, (0,) * 3, action_dim=2), Config(alpha_unit="advantage"), torch.device("cpu"))


def test_own_action_is_averaged_exactly(generator: torch.Generator) -> None:
    """Without neighbours' influence the value is sum_a q_i(a) min_k Q_i^k(a), whatever is drawn."""
    ip = learner()
    ip.policy = Constant(0.0, math.log(2.0), math.log(3.0))  # type: ignore[assignment]
    ip.q1, ip.q2 = Constant(6.0, 0.0, 4.0), Constant(9.0, -3.0, 2.0)  # type: ignore[assignment]
    batch = fixed_batch(generator)
    value, *_ = ip.policy_terms(batch, neighbourhood(batch.graph), generator)
    torch.testing.assert_close(value, torch.full((2, 3), 6.0 / 6 - 3.0 * 2 / 6 + 2.0 * 3 / 6))


@pytest.mark.parametrize(("credit", "heard"), [("team", 0.2), ("own", 0.0)])
def test_credit_path(credit: str, heard: float, generator: torch.Generator) -> None:
    """Agent i's policy feels its own Q exactly and, with team credit only, its two neighbours' Q (0.1 each) through the
    draw."""
    ip = learner(credit=credit)
    values = torch.tensor([1.0, 2.0, 4.0])
    ip.q1 = ip.q2 = ActionValue(*values.tolist())  # type: ignore[assignment]
    batch = fixed_batch(generator)
    logits = torch.zeros(2, 3, 3, requires_grad=True)
    ip.policy = type("Given", (torch.nn.Module,), {"forward": lambda self, x, neighbours: logits})()  # type: ignore[assignment]
    state = generator.get_state()
    value, *_ = ip.policy_terms(batch, neighbourhood(batch.graph), generator)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    generator.set_state(state)
    draw = torch.zeros(2, 3, 3, requires_grad=True)
    (by_draw,) = torch.autograd.grad((straight_through_sample(draw, generator) @ values).sum(), draw)
    exact = (values - values.mean()) / 3  # gradient of the mean of the values under softmax(0)
    torch.testing.assert_close(gradient, exact + heard * by_draw)


def test_policy_loss_leaves_the_critics_alone(generator: torch.Generator) -> None:
    ip = learner()
    batch = fixed_batch(generator)
    value, _, entropy, _ = ip.policy_terms(batch, neighbourhood(batch.graph), generator)
    (value + entropy).sum().backward()
    assert all(p.grad is None for q in (ip.q1, ip.q2) for p in q.parameters())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in ip.policy.parameters())


def test_straight_through_sample_has_the_policys_frequencies(generator: torch.Generator) -> None:
    logits = torch.log(torch.tensor([0.2, 0.3, 0.5])).expand(40_000, -1)
    for draws in (
        straight_through_sample(logits, generator).mean(0),
        sample_actions(logits, generator).bincount() / 4e4,
    ):
        torch.testing.assert_close(draws, torch.tensor([0.2, 0.3, 0.5]), atol=0.01, rtol=0)
    one_hot = straight_through_sample(logits[:100], generator)
    torch.testing.assert_close(one_hot.max(-1).values, torch.ones(100))


def test_target_value_moves_by_tau(generator: torch.Generator) -> None:
    ip = learner(tau=0.25)
    before = [p.clone() for p in ip.target_value.parameters()]
    ip.update(fixed_batch(generator), generator)
    for old, new, online in zip(before, ip.target_value.parameters(), ip.value.parameters(), strict=True):
        torch.testing.assert_close(new, 0.75 * old + 0.25 * online)


def test_kernels_give_equal_updates() -> None:
    """Ten updates with the dense and with the gather kernel lead to the same weights."""
    trained = []
    for kernel in ("dense", "gather"):
        generator = torch.Generator().manual_seed(3)
        torch.manual_seed(3)
        ip = learner(kernel=kernel, learning_rate=1e-3)
        for _ in range(10):
            ip.update(random_batch(16, PROBLEM, generator), generator)
        trained.append(torch.cat([p.flatten() for p in ip.policy.parameters()]))
    torch.testing.assert_close(trained[0], trained[1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [{"credit": "mine"}, {"aggregation": "max"}, {"hops": -1}, {"heads": 3}, {"alpha": -0.1}, {"gamma": 1.5}],
)
def test_bad_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError), match=next(iter(settings))):
        Config(**settings)  # type: ignore[arg-type]
