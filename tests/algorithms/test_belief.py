"""Loopy belief propagation: what is left out, against brute force; no echo; how far messages travel."""

from __future__ import annotations

import math

import pytest
import torch

from algorithms.common.edges import DirectedEdges
from algorithms.common.networks import BeliefLayer, BeliefNetwork, LayerOptions, PropagationOptions
from algorithms.protocols import Graph
from tests.algorithms.conftest import random_graph, ring

AGGREGATIONS = ("attention", "mean", "sum")
HIDDEN = 6


def network(hops: int, aggregation: str, kinds: tuple[int, ...] = (0,) * 7) -> BeliefNetwork:
    torch.manual_seed(1)
    return BeliefNetwork(kinds, 4, 3, PropagationOptions(8, hops, LayerOptions(aggregation, heads=1)))


def heard(graph: Graph, copy: int, agent: int) -> list[int]:
    """Neighbours of `agent`, in slot order."""
    return [int(j) for j, m in zip(graph.neighbours[copy, agent], graph.mask[copy, agent], strict=True) if m]


def joined(layer: BeliefLayer, mapped: list[torch.Tensor], raw: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Sum, mean or attention of a few messages, one at a time."""
    if not mapped:
        return torch.zeros(HIDDEN)
    if layer.aggregation == "sum":
        return torch.stack(mapped).sum(0)
    if layer.aggregation == "mean":
        return torch.stack(mapped).mean(0)
    scores = torch.stack([layer.query(x) @ layer.key(message) / math.sqrt(HIDDEN) for message in raw])
    return (torch.softmax(scores, 0)[:, None] * torch.stack(mapped)).sum(0)


def brute_force(
    layer: BeliefLayer, graph: Graph, x: torch.Tensor, messages: torch.Tensor | None
) -> tuple[dict[tuple[int, int, int], torch.Tensor], torch.Tensor]:
    """One round, edge by edge: messages by (copy, sender, receiver), and beliefs."""
    new: dict[tuple[int, int, int], torch.Tensor] = {}
    beliefs = torch.zeros_like(x)
    for b in range(len(x)):
        for i in range(x.shape[1]):
            for j in heard(graph, b, i):
                said: list[torch.Tensor] = []
                if messages is not None:
                    told = graph.neighbours[b, j].tolist()
                    said = [
                        messages[b, j, slot]
                        for slot, k in enumerate(told)
                        if graph.mask[b, j, slot] and k != i  # what i told j is left out
                    ]
                mapped = [layer.received(message) for message in said]
                new[b, j, i] = torch.relu(layer.own(x[b, j]) + joined(layer, mapped, said, x[b, j]))
        for i in range(x.shape[1]):
            into = [new[b, j, i] for j in heard(graph, b, i)]
            mapped = [layer.belief_received(message) for message in into]
            beliefs[b, i] = torch.relu(layer.belief_own(x[b, i]) + joined(layer, mapped, into, x[b, i]))
    return new, beliefs


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("start", [True, False])
def test_a_round_equals_brute_force(aggregation: str, start: bool, generator: torch.Generator) -> None:
    """On random directed graphs, in which only some edges have a reverse."""
    torch.manual_seed(2)
    layer = BeliefLayer(HIDDEN, aggregation, 1)
    graph = random_graph(2, 6, 3, generator)
    edges = DirectedEdges(graph)
    assert (edges.exclude[graph.mask] < 3).any()
    assert (edges.exclude[graph.mask] == 3).any()
    x = torch.randn(2, 6, HIDDEN, generator=generator)
    before = None if start else torch.randn(2, 6, 3, HIDDEN, generator=generator)
    messages, beliefs = layer(x, before, edges)
    by_hand, by_hand_beliefs = brute_force(layer, graph, x, before)
    torch.testing.assert_close(beliefs, by_hand_beliefs)
    for b, i, slot in graph.mask.nonzero().tolist():
        torch.testing.assert_close(messages[b, i, slot], by_hand[b, int(graph.neighbours[b, i, slot]), i])


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_two_agents_have_no_echo(aggregation: str, generator: torch.Generator) -> None:
    """With two agents, the message from j to i does not depend on i after any number of rounds."""
    torch.manual_seed(3)
    layer = BeliefLayer(HIDDEN, aggregation, 1)
    edges = DirectedEdges(ring(2, 1)._replace(mask=torch.tensor([[[True, False], [True, False]]])))
    x = torch.randn(1, 2, HIDDEN, generator=generator).requires_grad_()
    messages = None
    for _ in range(4):
        messages, _ = layer(x, messages, edges)
    assert messages is not None
    (gradient,) = torch.autograd.grad(messages[0, 0, 0].sum(), x)  # into agent 0, from agent 1
    assert gradient[0, 0].abs().sum() == 0
    assert gradient[0, 1].abs().sum() > 0


def test_mean_field_on_two_agents_does_echo(generator: torch.Generator) -> None:
    """The difference between the two inferences: after two rounds of mean-field a message carries its receiver."""
    from algorithms.common.graph import neighbourhood
    from algorithms.common.networks import PropagationLayer

    torch.manual_seed(3)
    layer = PropagationLayer(HIDDEN, "sum", 1)
    graph = ring(2, 1)._replace(mask=torch.tensor([[[True, False], [True, False]]]))
    x = torch.randn(1, 2, HIDDEN, generator=generator).requires_grad_()
    first = layer(x, x, x, neighbourhood(graph))
    (gradient,) = torch.autograd.grad(first[0, 1].sum(), x)  # what agent 1 sends to agent 0 in the next round
    assert gradient[0, 0].abs().sum() > 0


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("hops", [0, 1, 2, 3])
def test_messages_travel_one_edge_per_round(aggregation: str, hops: int, generator: torch.Generator) -> None:
    x = torch.randn(20, 7, 4, generator=generator).requires_grad_()
    network(hops, aggregation)(x, DirectedEdges(ring(7, 20)))[:, 0].sum().backward()
    assert x.grad is not None
    reached = x.grad.abs().sum((0, 2)) > 0  # in any of 20 copies: a ReLU may be off in one
    assert reached.tolist() == [distance <= hops for distance in (0, 1, 2, 3, 3, 2, 1)]


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_relabelling_agents_relabels_outputs(aggregation: str, generator: torch.Generator) -> None:
    graph, x = random_graph(2, 7, 3, generator), torch.randn(2, 7, 4, generator=generator)
    order = torch.randperm(7, generator=generator)
    relabelled = Graph(order.argsort()[graph.neighbours[:, order]], graph.mask[:, order])
    before = network(2, aggregation)(x, DirectedEdges(graph))
    after = network(2, aggregation)(x[:, order], DirectedEdges(relabelled))
    torch.testing.assert_close(after, before[:, order])


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_masked_slots_do_not_count(aggregation: str, generator: torch.Generator) -> None:
    graph, x = random_graph(2, 7, 3, generator), torch.randn(2, 7, 4, generator=generator)
    padding = torch.zeros(2, 7, 2)
    padded = Graph(torch.cat([graph.neighbours, padding.long()], -1), torch.cat([graph.mask, padding.bool()], -1))
    outputs = [network(2, aggregation)(x, DirectedEdges(g)) for g in (graph, padded)]
    torch.testing.assert_close(*outputs)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_every_weight_receives_finite_gradient(aggregation: str, generator: torch.Generator) -> None:
    """Agents without neighbours among them."""
    graph = random_graph(4, 7, 3, generator)
    assert (graph.mask.sum(-1) == 0).any()
    policy = network(2, aggregation, (0, 1, 0, 1, 0, 1, 0))
    policy(torch.randn(4, 7, 4, generator=generator), DirectedEdges(graph)).square().sum().backward()
    for name, parameter in policy.named_parameters():
        if "rounds.0.received" in name or (aggregation == "attention" and "rounds.0" in name and "belief" in name):
            continue  # nothing has been said before the first round
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_more_heads_are_refused() -> None:
    with pytest.raises(ValueError, match="one head"):
        BeliefLayer(8, "attention", 2)
