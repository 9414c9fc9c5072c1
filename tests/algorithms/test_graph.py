"""Aggregation over neighbours: against brute force, dense against gather, invariances."""

from __future__ import annotations

import math

import pytest
import torch

from algorithms.common.graph import DenseNeighbourhood, FullNeighbourhood, GatherNeighbourhood, neighbourhood
from algorithms.protocols import Graph
from tests.algorithms.conftest import random_graph

BATCH, AGENTS, SLOTS, HEADS, SIZE = 3, 7, 4, 2, 6


def brute_force(graph: Graph, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Attention, one agent and one head at a time."""
    result = torch.zeros(*value.shape)
    for b in range(BATCH):
        for i in range(AGENTS):
            heard = [int(j) for j, m in zip(graph.neighbours[b, i], graph.mask[b, i], strict=True) if m]
            for h in range(HEADS):
                if heard:
                    scores = torch.stack([query[b, i, h] @ key[b, j, h] / math.sqrt(SIZE) for j in heard])
                    weights = torch.softmax(scores, 0)
                    result[b, i, h] = sum(w * value[b, j, h] for w, j in zip(weights, heard, strict=True))
    return result.flatten(2)


@pytest.mark.parametrize("kernel", ["dense", "gather"])
def test_kernels_equal_brute_force(kernel: str, generator: torch.Generator) -> None:
    graph = random_graph(BATCH, AGENTS, SLOTS, generator)
    assert (graph.mask.sum(-1) == 0).any(), "the case of an agent without neighbours must be among them"
    query, key, value = (torch.randn(BATCH, AGENTS, HEADS, SIZE, generator=generator) for _ in range(3))
    aggregate = neighbourhood(graph, kernel)
    torch.testing.assert_close(aggregate.attend(query, key, value), brute_force(graph, query, key, value))
    plain = value.flatten(2)
    total = torch.zeros_like(plain)
    for b, i, k in graph.mask.nonzero().tolist():
        total[b, i] += plain[b, graph.neighbours[b, i, k]]
    torch.testing.assert_close(aggregate.total(plain), total)
    torch.testing.assert_close(aggregate.mean(plain), total / graph.mask.sum(-1, keepdim=True).clamp(min=1))


def test_kernels_have_equal_gradients(generator: torch.Generator) -> None:
    graph = random_graph(BATCH, AGENTS, SLOTS, generator)
    inputs = [torch.randn(BATCH, AGENTS, HEADS, SIZE, generator=generator).requires_grad_() for _ in range(3)]
    weight = torch.randn(BATCH, AGENTS, HEADS * SIZE, generator=generator)
    gradients = [
        torch.autograd.grad((neighbourhood(graph, kernel).attend(*inputs) * weight).sum(), inputs)
        for kernel in ("dense", "gather")
    ]
    for dense, gather in zip(*gradients, strict=True):
        assert dense.isfinite().all()
        torch.testing.assert_close(dense, gather)


@pytest.mark.parametrize("kernel", ["dense", "gather"])
def test_masked_slots_do_not_count(kernel: str, generator: torch.Generator) -> None:
    """Padding the lists with masked slots changes nothing."""
    graph = random_graph(BATCH, AGENTS, SLOTS, generator)
    padding = torch.zeros(BATCH, AGENTS, 3)
    padded = Graph(torch.cat([graph.neighbours, padding.long()], -1), torch.cat([graph.mask, padding.bool()], -1))
    value = torch.randn(BATCH, AGENTS, HEADS, SIZE, generator=generator)
    short, long = neighbourhood(graph, kernel), neighbourhood(padded, kernel)
    torch.testing.assert_close(short.attend(value, value, value), long.attend(value, value, value))
    torch.testing.assert_close(short.mean(value.flatten(2)), long.mean(value.flatten(2)))


def test_unknown_kernel_is_refused(generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match="expected dense, gather or auto"):
        neighbourhood(random_graph(1, 3, 2, generator), "sparse")


@pytest.mark.parametrize(
    ("agents", "slots", "heads", "which", "kind"),
    [
        (256, 8, 1, "task", DenseNeighbourhood),
        (257, 9, 1, "task", GatherNeighbourhood),
        (128, 4, 1, "task", DenseNeighbourhood),
        (129, 4, 1, "task", GatherNeighbourhood),
        (128, 4, 8, "task", DenseNeighbourhood),
        (129, 8, 8, "task", GatherNeighbourhood),
        (300, 2, 8, "full", FullNeighbourhood),
    ],
)
def test_the_faster_kernel_is_chosen(
    agents: int, slots: int, heads: int, which: str, kind: type, generator: torch.Generator
) -> None:
    graph = random_graph(1, agents, slots, generator)
    assert type(neighbourhood(graph, which=which, heads=heads)) is kind
