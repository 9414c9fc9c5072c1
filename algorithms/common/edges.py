"""Neighbour lists of a batch as rows and edges: selection of rows with gradients in a fixed order, directed edges, and
lists of complete graphs and with self-loops."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from algorithms.protocols import Graph
from envs.shapes import Float, Int

UNORDERED = ("cuda",)
"""Devices on which torch adds the gradients of rows that are read several times in no fixed order."""


class Rows:
    """Selection of rows from a matrix of `height` rows, in which a row may be read several times.

    On a GPU the gradients of a row are added in the order of its readers, since torch's `index_select` adds them in no
    fixed order there. On a CPU torch already uses that order.
    """

    def __init__(self, rows: Int[Tensor, " edge"], height: int) -> None:
        self.rows, self.height = rows, height

    def of(self, values: Float[Tensor, "row *feature"]) -> Float[Tensor, "edge *feature"]:
        """The selected rows of `values`."""
        if values.device.type in UNORDERED and torch.is_grad_enabled() and values.requires_grad:
            return _OrderedRows.apply(values, self.rows, *self.readers)
        return values.index_select(0, self.rows)

    @functools.cached_property
    def readers(self) -> tuple[Int[Tensor, " edge"], Int[Tensor, " bound"]]:
        """The edges sorted by the row they read, and the bounds of each row's edges."""
        read, edges = self.rows.sort(stable=True)
        return edges, torch.searchsorted(read, torch.arange(self.height + 1, device=read.device))


class _OrderedRows(torch.autograd.Function):
    """`Rows.of` with gradients added in the order of the readers."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, rows: Tensor, edges: Tensor, bounds: Tensor) -> Tensor:
        ctx.save_for_backward(edges, bounds)
        return values.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, by_rows: Tensor) -> tuple[Tensor | None, ...]:
        edges, bounds = ctx.saved_tensors
        sorted_rows = by_rows.index_select(0, edges)
        return torch.segment_reduce(sorted_rows, "sum", offsets=bounds, unsafe=True), None, None, None


class DirectedEdges:
    """Directed edges of a batch of graphs, for belief propagation: slot [i, s] holds the message to i from neighbour s.

    `exclude[b, i, s]` is the slot of sender j that holds the message from i to j, which j excludes from its message to
    i; K where there is no edge from i to j.
    """

    def __init__(self, graph: Graph) -> None:
        copies = len(graph.mask)
        graph = held_once(graph)
        neighbours, self.mask = graph.neighbours.long(), graph.mask
        graphs, agents, slots = neighbours.shape
        self.slots = slots
        rows = flat_rows(neighbours, agents, graphs)
        of_sender = neighbours.flatten(0, 1).index_select(0, rows).unflatten(0, (graphs, agents, slots))
        present = self.mask.flatten(0, 1).index_select(0, rows).unflatten(0, (graphs, agents, slots))
        receiver = torch.arange(agents, device=neighbours.device)[:, None, None]
        back = (of_sender == receiver) & present
        position = torch.arange(slots, device=neighbours.device)
        self.exclude: Int[Tensor, "graphs agent neighbour"] = torch.where(back, position, slots).amin(-1)
        height = agents * (slots + 1)
        self.outgoing = Rows(flat_rows(neighbours * (slots + 1) + self.exclude, height, copies), copies * height)

    def incoming_weights(
        self, scores: Float[Tensor, "batch agent neighbour"] | None, mean: bool
    ) -> Float[Tensor, "batch agent exclusion neighbour"]:
        """Weights of the messages to each agent with one of them excluded: K + 1 rows, of which the last excludes none.

        The weights are a softmax of `scores` over the remaining messages or, without scores, give their mean or sum.
        """
        remaining = ~torch.eye(self.slots + 1, self.slots, dtype=torch.bool, device=self.mask.device)
        present = self.mask[:, :, None] & remaining
        if scores is None:
            weights = present.float()
            return weights / weights.sum(-1, keepdim=True).clamp(min=1.0) if mean else weights
        allowed = scores[:, :, None].masked_fill(~present, torch.finfo(scores.dtype).min)
        return torch.softmax(allowed, dim=-1) * present

    def to_receivers(
        self, told: Float[Tensor, "batch agent exclusion feature"]
    ) -> Float[Tensor, "batch agent neighbour feature"]:
        """The message of every edge j -> i, which excludes the message from i."""
        batch, agents, exclusions, _ = told.shape
        return self.outgoing.of(told.flatten(0, 2)).unflatten(0, (batch, agents, exclusions - 1))


def held_once(graph: Graph) -> Graph:
    """The graph with a leading axis of 1 if the whole batch shares it without copies; otherwise all graphs."""
    once = graph.neighbours.stride(0) == graph.mask.stride(0) == 0
    return Graph(graph.neighbours[:1], graph.mask[:1]) if once else graph


def flat_rows(rows: Int[Tensor, "graphs agent neighbour"], height: int, copies: int) -> Int[Tensor, " edge"]:
    """Row numbers within copies of `height` rows as row numbers in all `copies` stacked. A single graph serves all
    copies."""
    offset = torch.arange(copies, device=rows.device)[:, None, None] * height
    return (rows.long() + offset).flatten()


def full_graph(like: Graph) -> Graph:
    """Neighbour lists of the complete graph, for as many copies as `like` has."""
    batch, agents, _ = like.neighbours.shape
    device = like.neighbours.device
    agent = torch.arange(agents, device=device)
    slot = torch.arange(agents - 1, device=device)
    neighbours = slot + (slot >= agent[:, None])  # all numbers but the agent's
    mask = torch.ones_like(neighbours, dtype=torch.bool)
    return Graph(neighbours.expand(batch, -1, -1), mask.expand(batch, -1, -1))


def with_self(graph: Graph) -> Graph:
    """The neighbour lists with every agent's number prepended to its list."""
    batch, agents, _ = graph.neighbours.shape
    agent = torch.arange(agents, device=graph.neighbours.device)[:, None].expand(batch, -1, -1)
    neighbours = torch.cat([agent.to(graph.neighbours.dtype), graph.neighbours], dim=-1)
    return Graph(neighbours, torch.cat([torch.ones_like(agent, dtype=torch.bool), graph.mask], dim=-1))
