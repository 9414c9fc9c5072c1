"""DGN against brute force and values computed by hand; its neighbourhoods; the regulariser."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from algorithms.common.graph import (
    DenseNeighbourhood,
    GatherNeighbourhood,
    Neighbourhood,
    SlotNeighbourhood,
    neighbourhood,
)
from algorithms.dgn import DGN, Config, RelationLayer, relation_change
from algorithms.protocols import Batch, Graph
from tests.algorithms.conftest import random_batch, random_graph, ring, spec

KERNELS = ("slots", "dense", "gather")


class Hearing(torch.nn.Module):
    """Q values from a table plus the size of the neighbourhood, the agent itself included."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.values = torch.nn.Parameter(torch.tensor(values))

    def forward(self, x: torch.Tensor, neighbours: Neighbourhood) -> tuple[torch.Tensor, torch.Tensor]:
        heard = neighbours.total(torch.ones(*x.shape[:-1], 1))
        return self.values + heard, self.relation(x, neighbours)

    def relation(self, x: torch.Tensor, neighbours: Neighbourhood) -> torch.Tensor:
        return torch.ones(*x.shape[:-1], 1, 1)


def build(num_agents: int = 5, kinds: int = 1, **settings: Any) -> DGN:
    """A learner whose agents attend to some neighbours more than to others; at first they hardly do."""
    torch.manual_seed(1)
    chosen = {"hidden": 16, "heads": 2} | settings
    learner = DGN(spec(num_agents, kinds=kinds), Config(**chosen), torch.device("cpu"))
    with torch.no_grad():
        for layer in learner.q.relations:
            layer.projection.weight.mul_(5)
    learner.target_q.load_state_dict(learner.q.state_dict())
    return learner


def alone(num_agents: int, batch: int) -> Graph:
    """No agent has neighbours."""
    shape = (batch, num_agents, 2)
    return Graph(torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.bool))


def weights_of(learner: DGN) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in learner.q.parameters()])


def gradient_of(learner: DGN) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in learner.q.parameters()])  # type: ignore[union-attr]


def layer_by_loops(
    layer: RelationLayer, h: torch.Tensor, graph: Graph
) -> tuple[torch.Tensor, list[list[dict[int, list[float]]]]]:
    """Eqs. (2) and (3) one agent and one head at a time; the weights of each agent are indexed by its neighbours."""
    batch, agents, hidden = h.shape
    size = hidden // layer.heads
    parts = zip(layer.projection.weight.split(hidden), layer.projection.bias.split(hidden), strict=True)
    query, key, value = (h @ weight.T + bias for weight, bias in parts)
    if layer.activated:
        query, key, value = (x.clamp(min=0) for x in (query, key, value))
    result, relations = torch.zeros_like(h), []
    for b in range(batch):
        relations.append([])
        for i in range(agents):
            heard = [i] + [int(j) for j, m in zip(graph.neighbours[b, i], graph.mask[b, i], strict=True) if m]
            received = torch.zeros(hidden, dtype=h.dtype)
            relation: dict[int, list[float]] = {j: [] for j in heard}
            for m in range(layer.heads):
                part = slice(m * size, (m + 1) * size)
                exponents = [math.exp(float(query[b, i, part] @ key[b, j, part]) / math.sqrt(size)) for j in heard]
                for j, exponent in zip(heard, exponents, strict=True):
                    relation[j].append(exponent / sum(exponents))
                    received[part] += exponent / sum(exponents) * value[b, j, part]
            result[b, i] = (layer.output.weight @ received + layer.output.bias).clamp(min=0)
            relations[b].append(relation)
    return result, relations


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("activated", [True, False])
def test_relation_layer_equals_brute_force(kernel: str, activated: bool, generator: torch.Generator) -> None:
    """Features and weights, agents without neighbours, and the agent itself as a neighbour; ReLUs on queries, keys and
    values or none."""
    torch.manual_seed(2)
    layer = RelationLayer(12, 3, activated)
    with torch.no_grad():
        layer.projection.weight.mul_(3)  # attention far from uniform
    graph, h = random_graph(2, 7, 4, generator), torch.randn(2, 7, 12, generator=generator)
    assert (graph.mask.sum(-1) == 0).any()
    with torch.no_grad():
        features, relation = layer(h, neighbourhood(graph, kernel, self_loops=True))
        by_loops, relations = layer_by_loops(layer, h, graph)
    torch.testing.assert_close(features, by_loops)
    with torch.no_grad():
        torch.testing.assert_close(layer.relation(h, neighbourhood(graph, kernel, self_loops=True)), relation)
    assert relation.shape == (2, 7, 3, 5), "oneself and four slots, not all agents"
    for b in range(2):
        for i in range(7):
            expected = torch.zeros(3, 5)
            heard = [i, *graph.neighbours[b, i, graph.mask[b, i]].tolist()]
            for slot, j in enumerate(heard):
                expected[:, slot] = torch.tensor(relations[b][i][j])
            torch.testing.assert_close(relation[b, i], expected)


def test_activation_changes_the_relations(generator: torch.Generator) -> None:
    graph, x = ring(5, 3), torch.randn(3, 5, 4, generator=generator)
    values = [build(activated_relations=activated).action_values(x, graph) for activated in (True, False)]
    assert (values[0] - values[1]).abs().max() > 1e-3


def test_q_values_by_hand(generator: torch.Generator) -> None:
    """Eqs. (1) to (4) from the learner's weights: encoder, two relation layers, a head over all three features; and the
    attention of the upper layer."""
    learner = build()
    graph, x = random_graph(3, 5, 2, generator), torch.randn(3, 5, 4, generator=generator)
    q = learner.q
    with torch.no_grad():
        first = (x @ q.encoder.layers[0].weight.T + q.encoder.layers[0].bias).clamp(min=0)
        features = [(first @ q.second.weight.T + q.second.bias).clamp(min=0)]
        for layer in q.relations:
            features.append(layer_by_loops(layer, features[-1], graph)[0])
        by_hand = torch.cat(features, -1) @ q.head.weight.T + q.head.bias
        torch.testing.assert_close(learner.action_values(x, graph), by_hand)
        assert len(features) == 3
        neighbours = learner.neighbourhood(graph)
        relations = [layer(h, neighbours)[1] for layer, h in zip(q.relations, features, strict=False)]
        torch.testing.assert_close(q(x, neighbours)[1], relations[1])
        torch.testing.assert_close(q.relation(x, neighbours), relations[1])
        assert (relations[0] - relations[1]).abs().max() > 1e-2, "it is the upper layer that is regularised"
    greedy = learner.act(x, graph, generator, greedy=True)
    assert torch.equal(greedy, by_hand.argmax(-1))


@pytest.mark.parametrize("kernel", KERNELS)
def test_relabelling_agents_relabels_values(kernel: str, generator: torch.Generator) -> None:
    """... unless it takes an agent to the place of one of another kind."""
    graph, x = random_graph(2, 6, 3, generator), torch.randn(2, 6, 4, generator=generator)
    order = torch.tensor([2, 5, 1, 4, 0, 3])
    relabelled = Graph(order.argsort()[graph.neighbours[:, order]], graph.mask[:, order])
    for kinds, equal in ((1, True), (2, False)):
        learner = build(6, kinds, kernel=kernel)
        before, after = learner.action_values(x, graph), learner.action_values(x[:, order], relabelled)
        assert torch.allclose(after, before[:, order], atol=1e-6) == equal


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_messages_travel_one_edge_per_layer(layers: int, generator: torch.Generator) -> None:
    """On a ring of 7 the values of agent 0 depend on exactly the agents within `layers` edges."""
    learner = build(7, layers=layers)
    x = torch.randn(1, 7, 4, generator=generator).requires_grad_()
    (gradient,) = torch.autograd.grad(learner.action_values(x, ring(7, 1))[0, 0].sum(), x)
    distance = torch.tensor([0, 1, 2, 3, 3, 2, 1])
    assert (gradient[0].abs().sum(-1) > 0).tolist() == (distance <= layers).tolist()


def test_full_graph_hears_everybody(generator: torch.Generator) -> None:
    """On a ring of five `full` is another graph, on a ring of three it is the same."""
    for agents, equal in ((5, False), (3, True)):
        x = torch.randn(4, agents, 4, generator=generator)
        task, full = (build(agents, graph=which).action_values(x, ring(agents, 4)) for which in ("task", "full"))
        assert torch.allclose(task, full, atol=1e-6) == equal
    x = torch.randn(1, 7, 4, generator=generator).requires_grad_()
    values = build(7, graph="full", layers=1).action_values(x, ring(7, 1))
    (gradient,) = torch.autograd.grad(values[0, 0].sum(), x)
    assert (gradient[0].abs().sum(-1) > 0).all()


@pytest.mark.parametrize("kernel", KERNELS)
def test_isolated_agent_hears_itself(kernel: str, generator: torch.Generator) -> None:
    """All its attention is on itself, so that (3) is relu(W_o v_i); its update is finite."""
    learner = build(4, kernel=kernel)
    layer, h = learner.q.relations[0], torch.randn(3, 4, 16, generator=generator)
    with torch.no_grad():
        features, _ = layer(h, learner.neighbourhood(alone(4, 3)))
        values = layer.projection(h)[..., 32:].clamp(min=0)
        torch.testing.assert_close(features, torch.relu(layer.output(values)))
    x = torch.randn(1, 4, 4, generator=generator).requires_grad_()
    (gradient,) = torch.autograd.grad(learner.action_values(x, alone(4, 1))[0, 0].sum(), x)
    assert (gradient[0].abs().sum(-1) > 0).tolist() == [True, False, False, False]
    batch = random_batch(8, spec(4), generator)._replace(graph=alone(4, 8), next_graph=alone(4, 8))
    metrics = learner.update(batch, generator)
    assert all(value.isfinite() for value in metrics.values())
    assert metrics["loss/relation"] == 0.0, "the only relation is that with oneself"
    assert weights_of(learner).isfinite().all()


def test_relation_change_by_hand() -> None:
    """Two agents with one head, of one copy or of two, and one agent with two heads: the mean of two divergences."""
    before, after = torch.tensor([[0.5, 0.5], [0.9, 0.1]]), torch.tensor([[0.25, 0.75], [0.6, 0.4]])
    by_hand = (
        0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75) + 0.9 * math.log(0.9 / 0.6) + 0.1 * math.log(0.1 / 0.4)
    ) / 2
    for shape, agents in (((1, 2, 1, 2), 2), ((2, 1, 1, 2), 2), ((1, 1, 2, 2), 1)):
        change = relation_change(before.reshape(shape), after.reshape(shape), agents)
        torch.testing.assert_close(change, torch.tensor(by_hand))
    backwards = relation_change(after[None, :, None], before[None, :, None], 2)
    assert abs(backwards.item() - by_hand) > 1e-2, "the divergence is not symmetric"


def test_masked_neighbours_do_not_count() -> None:
    """Weights of zero in both add nothing to the divergence nor to its gradient; weights that vanish stay finite."""
    before = torch.tensor([[[[0.3, 0.7]]]]).requires_grad_()
    padded = torch.tensor([[[[0.3, 0.7, 0.0, 0.0]]]]).requires_grad_()
    after = torch.tensor([[[[0.6, 0.4]]]])
    changes = relation_change(before, after, 1), relation_change(padded, torch.tensor([[[[0.6, 0.4, 0.0, 0.0]]]]), 1)
    torch.testing.assert_close(*changes)
    (short,), (long,) = torch.autograd.grad(changes[0], before), torch.autograd.grad(changes[1], padded)
    torch.testing.assert_close(long, torch.cat([short, torch.zeros(1, 1, 1, 2)], -1))
    assert relation_change(before, torch.tensor([[[[1.0, 0.0]]]]), 1).isfinite()


def test_relations_change_with_the_state_alone(generator: torch.Generator) -> None:
    """No change between equal states, whatever the graph of s'; some between different ones."""
    learner = build()
    batch = random_batch(8, spec(), generator)
    assert learner.terms(batch)[1] > 1e-3
    still = batch._replace(next_observation=batch.observation)
    for next_graph in (batch.graph, alone(5, 8)):
        assert learner.terms(still._replace(next_graph=next_graph))[1].abs() < 1e-7


def test_kernels_see_the_same_change(generator: torch.Generator) -> None:
    """The mean divergence and its gradient."""
    graph = random_graph(6, 5, 2, generator)
    batch = random_batch(6, spec(), generator)._replace(graph=graph, next_graph=graph)
    changes, gradients = [], []
    for kernel in KERNELS:
        learner = build(kernel=kernel)
        changes.append(learner.terms(batch)[1])
        changes[-1].backward()
        gradients.append(learner.q.relations[-1].projection.weight.grad)
    for change, gradient in zip(changes[1:], gradients[1:], strict=True):
        torch.testing.assert_close(changes[0], change, rtol=1e-4, atol=1e-8)
        torch.testing.assert_close(gradients[0], gradient, rtol=1e-3, atol=1e-7)


def test_upper_relation_at_the_next_state_is_a_constant(generator: torch.Generator) -> None:
    """The gradient is that of KL(alpha(s) || constant), the constant being the upper layer's at s' with present
    weights; s' itself receives none."""
    learner = build()
    batch = random_batch(8, spec(), generator)
    with torch.no_grad():
        for p in learner.target_q.parameters():
            p.add_(1.0)  # the slow copy has no say
    after = batch.next_observation.clone().requires_grad_()
    learner.terms(batch._replace(next_observation=after))[1].backward()
    assert after.grad is None
    names = [name for name, p in learner.q.named_parameters() if p.grad is not None]
    assert {name.split(".")[0] for name in names} == {"encoder", "second", "relations"}, names
    found = {name: p.grad.clone() for name, p in learner.q.named_parameters() if p.grad is not None}
    learner.q.zero_grad()
    neighbours = learner.neighbourhood(batch.graph)
    upper = learner.q(batch.observation, neighbours)[1]
    constant = learner.q(batch.next_observation, neighbours)[1].detach()
    upper, constant = upper[upper > 0], constant[upper > 0]
    ((upper * (upper / constant).log()).sum() / (8 * 5 * 2)).backward()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, dict(learner.q.named_parameters())[name].grad, rtol=1e-3, atol=1e-7)


def fixed_batch(generator: torch.Generator) -> Batch:
    """Three agents on a ring; at s' no agent has neighbours."""
    return random_batch(2, spec(3), generator)._replace(
        action=torch.tensor([[0, 1, 2], [2, 2, 2]]),
        reward=torch.tensor([[1.0, -1.0, 0.0], [0.5, 0.0, 2.0]]),
        terminated=torch.tensor([False, True]),
        next_graph=alone(3, 2),
    )


@pytest.mark.parametrize(("fixed", "heard"), [(True, 3), (False, 1)])
def test_loss_by_hand(fixed: bool, heard: int, generator: torch.Generator) -> None:
    """The slow copy's best value is 30 plus the size of the neighbourhood at s', on the graph of s (three) or on that
    of s' (the agent itself), whatever action the present network prefers. No half, mean over batch and agents."""
    learner = build(3, gamma=0.5, fixed_graph=fixed)
    learner.q, learner.target_q = Hearing(1.0, 3.0, 2.0), Hearing(10.0, 20.0, 30.0)  # type: ignore[assignment]
    loss, change, value = learner.terms(fixed_batch(generator))
    taken = [[1.0 + 3, 3.0 + 3, 2.0 + 3], [2.0 + 3] * 3]
    future = 0.5 * (30 + heard)
    targets = [[1.0 + future, -1.0 + future, future], [0.5, 0.0, 2.0]]
    by_hand = sum((y - q) ** 2 for ys, qs in zip(targets, taken, strict=True) for y, q in zip(ys, qs, strict=True))
    torch.testing.assert_close(loss, torch.tensor(by_hand / 6))
    assert value.tolist() == taken
    assert change == 0.0


def test_fixed_graph_matters_where_graphs_differ(generator: torch.Generator) -> None:
    for next_graph, equal in ((alone(5, 8), False), (ring(5, 8), True)):
        batch = random_batch(8, spec(), generator)._replace(next_graph=next_graph)
        losses = [build(fixed_graph=fixed).terms(batch)[0].item() for fixed in (True, False)]
        assert (losses[0] == losses[1]) == equal


def test_relation_weight_scales_the_second_term(generator: torch.Generator) -> None:
    """The gradient of an update is that of the first term plus lambda times that of the second; without lambda the
    second is not even computed."""
    batch = random_batch(8, spec(), generator)
    gradients, changes, weights, passes = {}, {}, {}, {}
    for weight in (0.0, 0.03, 50.0):
        learner = build(relation_weight=weight, gradient_clip=1e9)
        calls: list[int] = []
        learner.q.second.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        changes[weight] = learner.update(batch, generator)["loss/relation"].item()
        gradients[weight], weights[weight], passes[weight] = gradient_of(learner), weights_of(learner), len(calls)
    assert changes[0.0] == 0.0 < changes[0.03] == changes[50.0]
    assert passes == {0.0: 1, 0.03: 2, 50.0: 2}
    learner = build()
    parts = learner.terms(batch)
    inputs = list(learner.q.parameters())
    terms = []
    for part in parts[:2]:
        by_parameter = torch.autograd.grad(part, inputs, retain_graph=True, materialize_grads=True, allow_unused=True)
        terms.append(torch.cat([gradient.flatten() for gradient in by_parameter]))
    for weight, gradient in gradients.items():
        torch.testing.assert_close(gradient, terms[0] + weight * terms[1], rtol=1e-4, atol=1e-6)
    assert (terms[1] * 50).norm() > 1e-3
    assert (weights[0.0] - weights[50.0]).abs().max() > 1e-4


def test_large_relation_weight_keeps_relations_still(generator: torch.Generator) -> None:
    """What the regulariser is for: after some updates relations change less than without it."""
    changes = {}
    batch = random_batch(32, spec(), generator)
    for weight in (0.0, 1000.0):
        learner = build(relation_weight=weight, learning_rate=3e-3)
        for _ in range(40):
            learner.update(batch, generator)
        learner.config = Config(hidden=16, heads=2)
        changes[weight] = learner.terms(batch)[1].item()
    assert changes[1000.0] < 0.5 * changes[0.0]


def test_target_moves_by_tau(generator: torch.Generator) -> None:
    learner = build(tau=0.25)
    before = [p.clone() for p in learner.target_q.parameters()]
    learner.update(random_batch(8, spec(), generator), generator)
    for old, new, online in zip(before, learner.target_q.parameters(), learner.q.parameters(), strict=True):
        torch.testing.assert_close(new, 0.75 * old + 0.25 * online)
    assert any(not torch.equal(old, new) for old, new in zip(before, learner.target_q.parameters(), strict=True))


def test_gradients_are_clipped(generator: torch.Generator) -> None:
    """The metric keeps the norm before."""
    learner = build(gradient_clip=0.001)
    metrics = learner.update(random_batch(8, spec(), generator), generator)
    for name in ("q",):
        norm = torch.stack([p.grad.norm() for p in getattr(learner, name).parameters()]).norm()
        torch.testing.assert_close(norm, torch.tensor(0.001), rtol=1e-2, atol=0)
        assert metrics[f"gradient_norm/{name}"] > 0.001


def test_setting_chooses_the_kernel() -> None:
    for kernel, agents, expected in (
        ("dense", 300, DenseNeighbourhood),
        ("gather", 5, GatherNeighbourhood),
        ("slots", 5, SlotNeighbourhood),
        ("auto", 300, SlotNeighbourhood),
    ):
        assert type(build(5, kernel=kernel).neighbourhood(ring(agents, 1))) is expected


def test_kernels_give_equal_updates() -> None:
    """Ten updates with any kernel, on graphs that change and with agents without neighbours, give equal weights."""
    trained = []
    for kernel in KERNELS:
        learner, generator = build(kernel=kernel, fixed_graph=False), torch.Generator().manual_seed(3)
        for _ in range(10):
            graphs = [random_graph(16, 5, 2, generator) for _ in range(2)]
            batch = random_batch(16, spec(), generator)
            learner.update(batch._replace(graph=graphs[0], next_graph=graphs[1]), generator)
        trained.append(weights_of(learner))
    for other in trained[1:]:
        torch.testing.assert_close(trained[0], other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {"heads": 3},
        {"heads": 0},
        {"heads": 8, "hidden": 20},
        {"hidden": 0},
        {"layers": 0},
        {"relation_weight": -1.0},
        {"graph": "ring"},
        {"kernel": "sparse"},
        {"epsilon_fraction": 2.0},
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match=next(iter(settings))):
        Config(**settings)
