"""The propagation network: equivariance, reach of messages, kinds of agents."""

from __future__ import annotations

import pytest
import torch

from algorithms.common.graph import neighbourhood
from algorithms.common.networks import (
    JointActionValue,
    KindLinear,
    LayerOptions,
    PropagationNetwork,
    PropagationOptions,
)
from algorithms.protocols import Graph
from tests.algorithms.conftest import random_graph, ring, spec

AGGREGATIONS = ("attention", "mean", "sum")


def build(hops: int, aggregation: str, kinds: tuple[int, ...]) -> PropagationNetwork:
    torch.manual_seed(1)
    return PropagationNetwork(kinds, 4, 3, PropagationOptions(8, hops, LayerOptions(aggregation, heads=2)))


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_relabelling_agents_relabels_outputs(aggregation: str, generator: torch.Generator) -> None:
    network = build(2, aggregation, (0,) * 6)
    graph, x = random_graph(2, 6, 3, generator), torch.randn(2, 6, 4, generator=generator)
    order = torch.randperm(6, generator=generator)
    relabelled = Graph(order.argsort()[graph.neighbours[:, order]], graph.mask[:, order])
    before = network(x, neighbourhood(graph))
    torch.testing.assert_close(network(x[:, order], neighbourhood(relabelled)), before[:, order])


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("hops", [0, 1, 2])
def test_messages_travel_one_edge_per_round(aggregation: str, hops: int, generator: torch.Generator) -> None:
    """On a ring of 7, the output of agent 0 depends on exactly the agents within `hops` edges."""
    network = build(hops, aggregation, (0,) * 7)
    x = torch.randn(1, 7, 4, generator=generator).requires_grad_()
    network(x, neighbourhood(ring(7, 1)))[0, 0].sum().backward()
    assert x.grad is not None
    reached = x.grad[0].abs().sum(-1) > 0
    distance = torch.tensor([0, 1, 2, 3, 3, 2, 1])
    assert reached.tolist() == (distance <= hops).tolist()


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_joint_action_value_hears_the_neighbours_actions_alone(aggregation: str, generator: torch.Generator) -> None:
    """Q_i(s, ., a_Ni) does not depend on a_i, nor on anybody out of earshot."""
    torch.manual_seed(1)
    network = JointActionValue((0,) * 6, spec(6, 4, 3), 8, LayerOptions(aggregation, 2))
    x = torch.randn(1, 6, 4, generator=generator)
    for detached, reached in ((False, [False, True, False, False, False, True]), (True, [False] * 6)):
        actions = torch.eye(3)[torch.randint(3, (1, 6), generator=generator)].requires_grad_()
        output = network(x, actions, neighbourhood(ring(6, 1)), detach_neighbours=detached)
        gradient = torch.autograd.grad(output[0, 0].sum(), actions, allow_unused=True)[0]
        felt = torch.zeros(6) if gradient is None else gradient[0].abs().sum(-1)
        assert (felt > 0).tolist() == reached
        torch.testing.assert_close(output, network(x, actions, neighbourhood(ring(6, 1))))


def test_none_keeps_the_size_but_hears_nobody(generator: torch.Generator) -> None:
    """The ablation without propagation has the parameters of `mean`."""
    deaf, hearing = build(2, "none", (0,) * 5), build(2, "mean", (0,) * 5)
    assert sum(p.numel() for p in deaf.parameters()) == sum(p.numel() for p in hearing.parameters())
    x = torch.randn(1, 5, 4, generator=generator).requires_grad_()
    deaf(x, neighbourhood(ring(5, 1)))[0, 0].sum().backward()
    assert x.grad is not None
    assert (x.grad[0].abs().sum(-1) > 0).tolist() == [True, False, False, False, False]


def test_kinds_have_their_own_layer(generator: torch.Generator) -> None:
    layer = KindLinear((0, 1, 0, 1, 1), 4, 6)
    x = torch.randn(2, 5, 4, generator=generator)
    result = layer(x)
    for agent, kind in enumerate((0, 1, 0, 1, 1)):
        torch.testing.assert_close(result[:, agent], layer.layers[kind](x[:, agent]))


def test_every_weight_receives_gradient(generator: torch.Generator) -> None:
    network = build(2, "attention", (0, 1, 0, 1, 0, 1))
    x = torch.randn(4, 6, 4, generator=generator)
    network(x, neighbourhood(random_graph(4, 6, 3, generator))).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
