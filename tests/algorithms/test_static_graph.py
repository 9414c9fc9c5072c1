"""A graph that is held once for the whole batch is prepared once, and changes no bit of any result."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import algorithms
from algorithms.common.edges import DirectedEdges, full_graph, held_once
from algorithms.common.graph import DenseNeighbourhood, GatherNeighbourhood, SlotNeighbourhood, neighbourhood
from algorithms.common.micro_batches import micro_batches
from algorithms.protocols import Batch, EnvironmentSpec, Graph
from benchmark.profiling.synthetic import random_batch as synthetic_batch
from benchmark.profiling.synthetic import road_grid_spec
from tests.algorithms.conftest import random_graph, ring

AGENTS, COPIES = 9, 12
PROBLEM = road_grid_spec(AGENTS)


@pytest.fixture
def graph(generator: torch.Generator) -> Graph:
    """One random graph for all copies, held once; an agent without neighbours is in it."""
    one = random_graph(1, AGENTS, 4, generator)
    for part in one:
        part[:, 3] = 0
    return Graph(*(part.expand(COPIES, -1, -1) for part in one))


def copied(graph: Graph) -> Graph:
    """The same graphs, each in memory of its own."""
    return Graph(*(part.clone(memory_format=torch.contiguous_format) for part in graph))


def test_what_is_held_once_is_known_by_its_strides(graph: Graph, generator: torch.Generator) -> None:
    assert len(held_once(graph).mask) == len(held_once(graph).neighbours) == 1
    for other in (copied(graph), graph._replace(mask=graph.mask.clone()), random_graph(3, 5, 2, generator)):
        assert held_once(other) is other
    assert len(held_once(full_graph(ring(5, COPIES))).mask) == 1
    parts = [part for part, _ in micro_batches(synthetic_batch(PROBLEM, COPIES, 0, generator), 5)]
    assert [len(held_once(part.graph).mask) for part in parts] == [1, 1, 1], "micro-batches hold it once, too"
    assert [len(part.graph.mask) for part in parts] == [5, 5, 2]


def test_kernels_prepare_it_once(graph: Graph) -> None:
    """Matrices, masks and exclusions have a leading axis of 1."""
    dense, gather = neighbourhood(graph, "dense"), neighbourhood(graph, "gather", self_loops=True)
    assert isinstance(dense, DenseNeighbourhood)
    assert isinstance(gather, GatherNeighbourhood)
    slotted = neighbourhood(graph, "slots", self_loops=True)
    assert isinstance(slotted, SlotNeighbourhood)
    parts = [dense.adjacency, dense.share, dense.penalty, gather.mask, gather.degree, slotted.lists]
    for part in (*parts, DirectedEdges(graph).exclude):
        assert len(part) == 1


@pytest.mark.parametrize("self_loops", [True, False])
@pytest.mark.parametrize("kernel", ["slots", "dense", "gather"])
@pytest.mark.parametrize("what", ["attend", "total", "mean"])
def test_aggregation_is_equal_to_the_last_bit(
    what: str, kernel: str, self_loops: bool, graph: Graph, generator: torch.Generator
) -> None:
    """Values and gradients."""
    shape = (COPIES, AGENTS, 2, 8) if what == "attend" else (COPIES, AGENTS, 16)
    inputs = [torch.randn(shape, generator=generator).requires_grad_() for _ in range(3 if what == "attend" else 1)]
    weight = torch.randn(COPIES, AGENTS, 16, generator=generator)
    results = []
    for given in (graph, copied(graph)):
        output = getattr(neighbourhood(given, kernel, self_loops=self_loops), what)(*inputs)
        results.append([output, *torch.autograd.grad((output * weight).sum(), inputs)])
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in algorithms.ALGORITHMS),
    *(
        ("ip", {"inference": inference, "aggregation": aggregation, "kernel": kernel, "graph": which})
        for inference in ("mean_field", "belief_propagation")
        for aggregation in ("attention", "mean", "sum")
        for kernel, which in (("slots", "task"), ("dense", "task"), ("gather", "task"), ("auto", "full"))
    ),
    *(
        ("dgn", {"kernel": kernel, "fixed_graph": fixed})
        for kernel in ("slots", "dense", "gather")
        for fixed in (True, False)
    ),
]


def numbers(name: str, settings: dict[str, Any], batches: list[Batch], problem: EnvironmentSpec) -> list[Tensor]:
    """Metrics and actions of some updates, and the networks after them."""
    learner: Any = algorithms.make(name, problem, algorithms.config_type(name)(hidden=16, **settings), seed=1)
    draws = torch.Generator().manual_seed(2)
    results: list[Tensor] = []
    for batch in batches:
        results += learner.update(batch, draws).values()
        results += [learner.act(batch.observation, batch.graph, draws, greedy) for greedy in (True, False)]
    networks = [part for part in vars(learner).values() if isinstance(part, torch.nn.Module)]
    return results + [parameter for network in networks for parameter in network.parameters()]


@pytest.mark.parametrize("micro_batch", [None, 5])
@pytest.mark.parametrize(("name", "settings"), VARIANTS)
def test_learning_is_equal_to_the_last_bit(
    name: str, settings: dict[str, Any], micro_batch: int | None, generator: torch.Generator
) -> None:
    """Every algorithm on a road grid that is held once, against the grid copied for each transition."""
    once = [synthetic_batch(PROBLEM, COPIES, 0, generator) for _ in range(2)]
    each = [batch._replace(graph=copied(batch.graph), next_graph=copied(batch.next_graph)) for batch in once]
    results = [numbers(name, settings | {"micro_batch": micro_batch}, batches, PROBLEM) for batches in (once, each)]
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


@pytest.mark.parametrize("name", ["ip", "dgn"])
def test_memory_estimates_know_of_it(name: str) -> None:
    """Where every transition has a graph of its own, at least two matrices for each come on top."""
    config, size = algorithms.config_type(name)(heads=1, hidden=8, kernel="dense"), 64
    static, moving = (
        algorithms.update_bytes(name, replace(road_grid_spec(100), static_graph=held), config, size)
        for held in (True, False)
    )
    assert moving - static > 2 * (size - 1) * 4 * 100**2
