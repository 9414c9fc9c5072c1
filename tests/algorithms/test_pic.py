"""PIC's critic against a literal implementation with matrices of agents by agents; its invariance; MADDPG's losses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from algorithms.pic import PIC, Config, GraphCritic
from algorithms.protocols import Batch, EnvironmentSpec
from tests.algorithms.actor_critic import Given
from tests.algorithms.conftest import random_batch, ring, spec

SIZES = (3, 15, 225)
FORMS = ("published", "repaired")
POOLINGS = ("max", "mean")


def critic(num_agents: int, kinds: int = 1, **settings: Any) -> GraphCritic:
    """In double precision, with biases of the size of the weights."""
    torch.manual_seed(2)
    network = GraphCritic(spec(num_agents, kinds=kinds), Config(**({"hidden": 8} | settings))).double()
    with torch.no_grad():
        network.second.bias.mul_(3)
        network.head.weight.mul_(10)
    return network


def joint_of(num_agents: int, generator: torch.Generator, samples: int = 4) -> torch.Tensor:
    """Observations of 4 and actions of 3 numbers."""
    return torch.randn(samples, num_agents, 7, generator=generator, dtype=torch.float64)


def literal(network: GraphCritic, joint: torch.Tensor, kinds: tuple[int, ...], form: str, pooling: str) -> torch.Tensor:
    """Eqs. (1) and (2) as they stand: an adjacency matrix after the bias, relu of both parts, then the division."""
    agents = joint.shape[1]
    adjacency = torch.ones(agents, agents, dtype=joint.dtype) - torch.eye(agents, dtype=joint.dtype)
    adjacency = adjacency / (agents if form == "published" else max(agents - 1, 1))
    divisor = agents if form == "published" else 1
    h = joint
    for layers in ([network.first.layers[k] for k in kinds], [network.second] * agents):
        weights = [(*layer.weight.chunk(2), *layer.bias.chunk(2)) for layer in layers]  # type: ignore[operator]
        message = torch.stack([h[:, i] @ w.T + b for i, (w, _, b, _) in enumerate(weights)], 1)
        node = torch.stack([h[:, i] @ v.T + c for i, (_, v, _, c) in enumerate(weights)], 1)
        received = torch.einsum("ij,bjh->bih", adjacency, message)
        h = (received.clamp(min=0) + node.clamp(min=0)) / divisor
    pooled = torch.stack([sample.max(0).values if pooling == "max" else sample.mean(0) for sample in h])
    return pooled @ network.head.weight[0] + network.head.bias[0]


def chosen_critic(network: GraphCritic) -> None:
    """One hidden unit, [o, a_1, a_2] -> message o and own part a_1 + 1, then message 3 h - 1 and own part 5 - 2 h; head
    2 h + 1."""
    state = {
        "first.layers.0.weight": [[1.0, 0, 0], [0.0, 1, 0]],
        "first.layers.0.bias": [0.0, 1],
        "second.weight": [[3.0], [-2.0]],
        "second.bias": [-1.0, 5],
        "head.weight": [[2.0]],
        "head.bias": [1.0],
    }
    network.load_state_dict({name: torch.tensor(value) for name, value in state.items()})


@pytest.mark.parametrize(
    ("form", "pooling", "value"),
    [("published", "max", 7.0), ("published", "mean", 4.8125), ("repaired", "max", 39.0), ("repaired", "mean", 23.5)],
)
def test_value_by_hand(form: str, pooling: str, value: float) -> None:
    """Two agents, o = 4 and -2, a_1 = 0.5 and 1.

    Published: received 0 and 2, own 1.5 and 2, h^1 = 0.75 and 2; messages 1.25 and 5, received 2.5 and 0.625, own 3.5
    and 1, h^2 = 3 and 0.8125. Repaired: h^1 = 0 + 1.5 and 4 + 2, h^2 = 17 + 2 and 3.5 + 0. Q = 2 h + 1.
    """
    network = GraphCritic(spec(2, 1, 2), Config(hidden=1, critic=form, pooling=pooling))
    chosen_critic(network)
    joint = torch.tensor([[[4.0, 0.5, 0.5], [-2.0, 1.0, 0.0]]])
    torch.testing.assert_close(network(joint), torch.tensor([value]))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("agents", SIZES)
def test_critic_equals_the_literal_form(agents: int, pooling: str, form: str, generator: torch.Generator) -> None:
    """Values, and gradients with respect to the input and every weight. The head's bias is removed: published
    features shrink with 1/N^2 relative to it."""
    network = critic(agents, critic=form, pooling=pooling)
    joint = joint_of(agents, generator).requires_grad_()
    values = network(joint), literal(network, joint, (0,) * agents, form, pooling)
    inputs = [joint, *network.parameters()]
    torch.testing.assert_close(*(v - network.head.bias for v in values), rtol=1e-9, atol=1e-15)
    assert values[0].std() > 0
    gradients = [torch.autograd.grad(v.sum(), inputs) for v in values]
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-14)
        assert one.abs().max() > 1e-9


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("agents", SIZES)
def test_relabelling_agents_changes_nothing(agents: int, pooling: str, form: str, generator: torch.Generator) -> None:
    """Equal values and weights' gradients; the gradient of each agent's action goes with the agent."""
    network = critic(agents, critic=form, pooling=pooling)
    order = torch.randperm(agents, generator=generator)
    assert (order != torch.arange(agents)).any()
    joint = joint_of(agents, generator)
    inputs = joint.clone().requires_grad_(), joint[:, order].clone().requires_grad_()
    values = [network(x) for x in inputs]
    torch.testing.assert_close(*values, rtol=1e-12, atol=1e-14)
    one, two = (
        torch.autograd.grad(v.square().sum(), [x, *network.parameters()]) for v, x in zip(values, inputs, strict=True)
    )
    torch.testing.assert_close(one[0][:, order], two[0], rtol=1e-9, atol=1e-14)
    assert not torch.allclose(one[0], two[0], rtol=1e-3, atol=0)
    for first, second in zip(one[1:], two[1:], strict=True):
        torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("form", FORMS)
def test_kinds_have_first_layers_of_their_own(form: str, generator: torch.Generator) -> None:
    """The literal form with each agent's own first layer; relabelling within a kind changes nothing, across kinds it
    does."""
    kinds = (0, 1, 0, 1, 0)
    network, joint = critic(5, kinds=2, critic=form), joint_of(5, generator)
    assert len(network.first.layers) == 2
    values = network(joint)
    torch.testing.assert_close(values, literal(network, joint, kinds, form, "max"))
    assert not torch.allclose(values, literal(network, joint, (0,) * 5, form, "max"))
    torch.testing.assert_close(network(joint[:, [4, 3, 0, 1, 2]]), values)
    assert (network(joint[:, [1, 0, 2, 3, 4]]) - values).abs().max() > 1e-4


@pytest.mark.parametrize("setting", ["critic", "pooling"])
def test_settings_change_the_value(setting: str, generator: torch.Generator) -> None:
    joint = joint_of(5, generator)
    choices = FORMS if setting == "critic" else POOLINGS
    one, two = (critic(5, **{setting: choice})(joint) for choice in choices)
    assert (one - two).abs().min() > 1e-4


def test_published_features_shrink_and_repaired_ones_do_not(generator: torch.Generator) -> None:
    """What the repair is for: from 15 to 225 agents the spread of Q over states falls by 15^2 = 225 and more in the
    published form, and by little in the other, with the same weights."""
    falls = {}
    for form in FORMS:
        spreads = [critic(n, critic=form)(joint_of(n, generator, 100)).std().item() for n in (15, 225)]
        falls[form] = spreads[0] / spreads[1]
    assert falls["published"] > 225
    assert falls["repaired"] < 10


def learner(problem: EnvironmentSpec, **settings: Any) -> PIC:
    torch.manual_seed(0)
    return PIC(problem, Config(**({"hidden": 8} | settings)), torch.device("cpu"))


def relaxed_batch(problem: EnvironmentSpec, size: int, generator: torch.Generator) -> Batch:
    draw = torch.randn(size, problem.num_agents, problem.num_actions, generator=generator)
    return random_batch(size, problem, generator)._replace(action=torch.softmax(draw, -1))


def test_losses_by_hand(generator: torch.Generator) -> None:
    """The critic of `test_value_by_hand` values both transitions at 7. Under the policy (1/2, 1/2): own parts 1.5 and
    1.5, h^1 = 0.75 and 1.75, messages 1.25 and 4.25, h^2 = (2.125 + 3.5) / 2 and less, so Q = 6.625. The first target
    is 2 + 0.5 * 6.625, the second, of an end, -1."""
    problem = replace(spec(2, 1, 2), relaxed_actions=True)
    pic = learner(problem, hidden=1, gamma=0.5, logit_penalty=0.1)
    pic.actor = Given(1.0, 1.0)  # type: ignore[assignment]
    for network in (pic.critic, pic.target_critic):
        chosen_critic(network)  # type: ignore[arg-type]
    observation = torch.tensor([[[4.0], [-2.0]]] * 2)
    batch = relaxed_batch(problem, 2, generator)._replace(
        observation=observation,
        action=torch.tensor([[[0.5, 0.5], [1.0, 0.0]]] * 2),
        reward=torch.tensor([[1.0, 3.0], [-2.0, 0.0]]),
        next_observation=observation,
        terminated=torch.tensor([False, True]),
    )
    loss, metrics = pic.critic_loss(batch, generator)
    assert metrics["value/q"] == 7.0
    torch.testing.assert_close(loss, torch.tensor(((7.0 - 5.3125) ** 2 + (7.0 + 1.0) ** 2) / 2))
    loss, _ = pic.actor_loss(batch, generator)
    torch.testing.assert_close(loss, torch.tensor(0.1 * 1.0 - 6.625))


@pytest.mark.parametrize("kinds", [1, 2])
def test_gradients_of_the_losses_equal_the_literal_form(kinds: int, generator: torch.Generator) -> None:
    """The critic's from (Q - y)^2, the actor's through Q at softmax(logits); neither loss touches the other network."""
    problem = replace(spec(5, kinds=kinds), relaxed_actions=True)
    pic = learner(problem, gamma=0.9, logit_penalty=0.2)
    for network in (pic.actor, pic.critic, pic.target_critic):
        network.double()
    batch = relaxed_batch(problem, 6, generator)
    doubled = ("observation", "action", "reward", "next_observation")
    batch = batch._replace(**{name: getattr(batch, name).double() for name in doubled})
    with torch.no_grad():
        for p in pic.target_critic.parameters():
            p.add_(0.1)

    def value(network: torch.nn.Module, observation: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        joint = torch.cat([observation, action], -1)
        return literal(network, joint, problem.agent_kinds, "published", "max")  # type: ignore[arg-type]

    pic.critic_loss(batch, generator)[0].backward()
    with torch.no_grad():
        following = torch.softmax(pic.actor(batch.next_observation), -1)
        future = value(pic.target_critic, batch.next_observation, following)
        target = batch.reward.mean(-1) + 0.9 * torch.where(batch.terminated, 0.0, future)
    error = (value(pic.critic, batch.observation, batch.action) - target).square().mean()
    expected = torch.autograd.grad(error, list(pic.critic.parameters()))
    for p, gradient in zip(pic.critic.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, gradient)
    assert all(p.grad is None for p in pic.actor.parameters())

    pic.critic.zero_grad()
    pic.actor_loss(batch, generator)[0].backward()
    logits = pic.actor(batch.observation)
    cost = 0.2 * logits.square().mean() - value(pic.critic, batch.observation, torch.softmax(logits, -1)).mean()
    expected = torch.autograd.grad(cost, list(pic.actor.parameters()))
    for p, gradient in zip(pic.actor.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, gradient, rtol=1e-6, atol=1e-12)
        assert gradient.abs().max() > 0
    assert all(p.grad is None for p in pic.critic.parameters())


@pytest.mark.parametrize("form", FORMS)
def test_a_single_agent_has_nobody_to_hear(form: str, generator: torch.Generator) -> None:
    """N = 1: the messages are zero whatever the bias, and an update is finite."""
    network, joint = critic(1, critic=form), joint_of(1, generator)
    values = network(joint)
    torch.testing.assert_close(values, literal(network, joint, (0,), form, "max"))
    with torch.no_grad():
        network.first.layers[0].weight[:8] += 5.0  # what would be said to others
        network.second.bias[:8] += 5.0
    assert torch.equal(network(joint), values)
    problem = replace(spec(1), relaxed_actions=True)
    pic = learner(problem, critic=form)
    actions = pic.act(torch.randn(4, 1, 4, generator=generator), ring(1, 4), generator, greedy=False)
    assert actions.isfinite().all()
    metrics = pic.update(relaxed_batch(problem, 8, generator), generator)
    assert all(value.isfinite() for value in metrics.values())
    assert all(p.isfinite().all() for part in (pic.actor, pic.critic) for p in part.parameters())


@pytest.mark.parametrize("settings", [{"critic": "broken"}, {"pooling": "sum"}, {"logit_penalty": -1.0}])
def test_bad_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match=next(iter(settings))):
        Config(**settings)
