"""Aggregation over neighbours: one operator, two kernels with equal results.

`dense` turns the neighbour lists into an adjacency matrix and uses batched matrix products: the fastest up to a few
hundred agents. `gather` collects the neighbours' rows: memory grows with N * K, not N * N, for a thousand agents and
more. A fully connected graph needs neither for sums and means: there a message is the sum over everybody minus oneself.
Linear maps are applied to nodes before any gather.

A graph that serves a whole batch and is held once (see `Graph`) is prepared once: matrices and masks have a leading
axis of 1 then. Results are equal to the last bit.

An agent without neighbours receives zeros.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from algorithms.protocols import Graph
from envs.shapes import Bool, Float, Int

LARGEST_DENSE = 256
"""Number of agents up to which `auto` takes the dense kernel, ..."""
LARGEST_DENSE_RATIO = 32
"""... with lists at least a 32nd as wide: on road grids (four neighbours) the other one is faster from 144 agents on,
with eight neighbours they are alike at 225, ..."""
LARGEST_DENSE_SCORES = 1024
"""... where heads times agents are at most this: dense attention has a score for each head and pair of agents."""
KERNELS = ("auto", "dense", "gather")
GRAPHS = ("task", "full")
"""Who hears whom. task: what the environment says (nearest agents, a road network); full: everybody hears everybody."""


class Neighbourhood(ABC):
    """Weighted sums over the neighbours of each agent, for one batch of graphs."""

    @abstractmethod
    def total(self, values: Float[Tensor, "batch agent feature"]) -> Float[Tensor, "batch agent feature"]:
        """Sum of the neighbours' values."""

    @abstractmethod
    def mean(self, values: Float[Tensor, "batch agent feature"]) -> Float[Tensor, "batch agent feature"]:
        """Mean of the neighbours' values."""

    @abstractmethod
    def attention(
        self, query: Float[Tensor, "batch agent head feature"], key: Float[Tensor, "batch agent head feature"]
    ) -> Float[Tensor, "batch ..."]:
        """Softmax of the scaled products of each agent's query with its neighbours' keys. The last axis runs over
        neighbours (zero where masked); the axes between are the kernel's own. An agent without neighbours has weights
        without meaning."""

    @abstractmethod
    def apply(
        self, weights: Float[Tensor, "batch ..."], value: Float[Tensor, "batch agent head feature"]
    ) -> Float[Tensor, "batch agent message"]:
        """Sums of the neighbours' values with weights from `attention`; heads are concatenated."""

    def attend(
        self,
        query: Float[Tensor, "batch agent head feature"],
        key: Float[Tensor, "batch agent head feature"],
        value: Float[Tensor, "batch agent head feature"],
    ) -> Float[Tensor, "batch agent message"]:
        """Scaled dot-product attention of each agent over its neighbours; heads are concatenated."""
        return self.apply(self.attention(query, key), value)


class DenseNeighbourhood(Neighbourhood):
    """Adjacency matrices (batch, agent, agent); a batch of 1 serves every batch size."""

    def __init__(self, adjacency: Float[Tensor, "batch agent agent"]) -> None:
        self.adjacency = adjacency
        degree = adjacency.sum(-1, keepdim=True)
        self.share = adjacency / degree.clamp(min=1.0)
        self.connected = (degree > 0).to(adjacency.dtype)
        # Of senders by receivers, see `attention`.
        missing = adjacency.transpose(1, 2) == 0
        self.penalty = torch.zeros_like(adjacency).masked_fill_(missing, torch.finfo(adjacency.dtype).min)

    def total(self, values: Tensor) -> Tensor:
        return self.adjacency @ values

    def mean(self, values: Tensor) -> Tensor:
        return self.share @ values

    def attention(self, query: Tensor, key: Tensor) -> Tensor:
        # Scores of senders by receivers: a softmax over a short last axis is far slower than over the axis before it.
        scores = key.transpose(1, 2) @ query.permute(0, 2, 3, 1)
        scores = torch.add(self.penalty[:, None], scores, alpha=1.0 / math.sqrt(query.shape[-1]))
        return torch.softmax(scores, dim=-2).transpose(2, 3)

    def apply(self, weights: Tensor, value: Tensor) -> Tensor:
        return (weights @ value.transpose(1, 2)).transpose(1, 2).flatten(2) * self.connected


class FullNeighbourhood(DenseNeighbourhood):
    """Everybody hears everybody else, and with `self_loops` themselves: sums and means in O(N)."""

    def __init__(self, agents: int, self_loops: bool, device: torch.device) -> None:
        adjacency = torch.ones(1, agents, agents, device=device)
        if not self_loops:
            adjacency.diagonal(dim1=1, dim2=2).zero_()
        super().__init__(adjacency)
        self.self_loops = self_loops
        self.degree = agents if self_loops else max(agents - 1, 1)

    def total(self, values: Tensor) -> Tensor:
        everybody = values.sum(1, keepdim=True)
        return everybody.expand_as(values) if self.self_loops else everybody - values

    def mean(self, values: Tensor) -> Tensor:
        return self.total(values) / self.degree


class GatherNeighbourhood(Neighbourhood):
    """Rows of the neighbours (batch, agent, neighbour, feature), for a batch of `copies`."""

    def __init__(self, graph: Graph, copies: int) -> None:
        _, agents, slots = graph.neighbours.shape
        self.rows = flat_rows(graph.neighbours, agents, copies)
        self.shape = (copies, agents, slots)
        self.mask: Bool[Tensor, "graphs agent neighbour"] = graph.mask
        self.degree = graph.mask.sum(-1, keepdim=True)

    def _collect(self, values: Tensor) -> Tensor:
        return values.flatten(0, 1).index_select(0, self.rows).unflatten(0, self.shape)

    def total(self, values: Tensor) -> Tensor:
        return (self._collect(values) * self.mask[..., None]).sum(2)

    def mean(self, values: Tensor) -> Tensor:
        return self.total(values) / self.degree.clamp(min=1)

    def attention(self, query: Tensor, key: Tensor) -> Tensor:
        scores = torch.einsum("bihd,bikhd->bihk", query, self._collect(key)) / math.sqrt(query.shape[-1])
        return torch.softmax(scores.masked_fill(~self.mask[:, :, None], torch.finfo(scores.dtype).min), dim=-1)

    def apply(self, weights: Tensor, value: Tensor) -> Tensor:
        received = torch.einsum("bihk,bikhd->bihd", weights, self._collect(value)).flatten(2)
        return received * (self.degree > 0)


class DirectedEdges:
    """The edges of a batch of graphs, for belief propagation: slot [i, s] holds the message into i from neighbour s.

    `exclude[b, i, s]` is the slot of the sender j in which the message from i into j stands: the message that j leaves
    out when it speaks to i. It is K where i does not speak to j.
    """

    def __init__(self, graph: Graph) -> None:
        copies = len(graph.mask)
        graph = held_once(graph)
        neighbours, self.mask = graph.neighbours.long(), graph.mask
        graphs, agents, slots = neighbours.shape
        self.slots = slots
        rows = flat_rows(neighbours, agents, graphs)
        heard_by_sender = neighbours.flatten(0, 1).index_select(0, rows).unflatten(0, (graphs, agents, slots))
        heard = self.mask.flatten(0, 1).index_select(0, rows).unflatten(0, (graphs, agents, slots))
        receiver = torch.arange(agents, device=neighbours.device)[:, None, None]
        back = (heard_by_sender == receiver) & heard
        position = torch.arange(slots, device=neighbours.device)
        self.exclude: Int[Tensor, "graphs agent neighbour"] = torch.where(back, position, slots).amin(-1)
        self.outgoing_rows = flat_rows(neighbours * (slots + 1) + self.exclude, agents * (slots + 1), copies)

    def incoming_weights(
        self, scores: Float[Tensor, "batch agent neighbour"] | None, mean: bool
    ) -> Float[Tensor, "batch agent exclusion neighbour"]:
        """Weights of the messages into each agent with one of them left out: K + 1 rows, the last leaves out none.

        A softmax of `scores` over the messages that stay, or, without scores, their mean or sum.
        """
        stays = ~torch.eye(self.slots + 1, self.slots, dtype=torch.bool, device=self.mask.device)
        present = self.mask[:, :, None] & stays
        if scores is None:
            weights = present.float()
            return weights / weights.sum(-1, keepdim=True).clamp(min=1.0) if mean else weights
        allowed = scores[:, :, None].masked_fill(~present, torch.finfo(scores.dtype).min)
        return torch.softmax(allowed, dim=-1) * present

    def to_receivers(
        self, told: Float[Tensor, "batch agent exclusion feature"]
    ) -> Float[Tensor, "batch agent neighbour feature"]:
        """For every edge j -> i what j gathered without the message of i."""
        batch, agents, exclusions, _ = told.shape
        return told.flatten(0, 2).index_select(0, self.outgoing_rows).unflatten(0, (batch, agents, exclusions - 1))


def held_once(graph: Graph) -> Graph:
    """The one graph, with a leading axis of 1, where it serves the whole batch without copies; else all of them."""
    once = graph.neighbours.stride(0) == graph.mask.stride(0) == 0
    return Graph(graph.neighbours[:1], graph.mask[:1]) if once else graph


def flat_rows(rows: Int[Tensor, "graphs agent neighbour"], height: int, copies: int) -> Int[Tensor, " edge"]:
    """Rows of single copies, which have `height` of them, as rows of all `copies` one below the other. With one graph
    all copies have the same rows."""
    offset = torch.arange(copies, device=rows.device)[:, None, None] * height
    return (rows.long() + offset).flatten()


def full_graph(like: Graph) -> Graph:
    """Neighbour lists in which everybody hears everybody else, for as many copies as `like` has."""
    batch, agents, _ = like.neighbours.shape
    device = like.neighbours.device
    own = torch.arange(agents, device=device)
    slot = torch.arange(agents - 1, device=device)
    neighbours = slot + (slot >= own[:, None])  # everyone but the own number
    mask = torch.ones_like(neighbours, dtype=torch.bool)
    return Graph(neighbours.expand(batch, -1, -1), mask.expand(batch, -1, -1))


def takes_dense(agents: int, slots: int, kernel: str = "auto", which: str = "task", heads: int = 1) -> bool:
    """Whether `neighbourhood` works on matrices of agents by agents, given lists of `slots` neighbours."""
    small = agents <= min(LARGEST_DENSE, LARGEST_DENSE_RATIO * slots, LARGEST_DENSE_SCORES // heads)
    return which == "full" or kernel == "dense" or (kernel == "auto" and small)


def neighbourhood(
    graph: Graph, kernel: str = "auto", which: str = "task", self_loops: bool = False, heads: int = 1
) -> Neighbourhood:
    """Prepare the aggregation over `graph`, once for all networks that use it.

    kernel: `dense`, `gather` or `auto` (dense for few agents, see `takes_dense`). which: `task` or `full`, see
    `GRAPHS`. self_loops: agents hear themselves too. heads: of the attention to come. Raises ValueError for another
    kernel.
    """
    copies, agents, _ = graph.neighbours.shape
    device = graph.mask.device
    if kernel not in KERNELS:
        raise ValueError(f"kernel = {kernel!r}: expected dense, gather or auto")
    if which == "full":
        return FullNeighbourhood(agents, self_loops, device)
    graph = held_once(graph)
    if takes_dense(agents, graph.neighbours.shape[-1], kernel, which, heads):
        adjacency = torch.zeros(len(graph.mask), agents, agents, device=device)
        adjacency.scatter_add_(2, graph.neighbours.long(), graph.mask.to(adjacency.dtype))
        if self_loops:
            adjacency.diagonal(dim1=1, dim2=2).fill_(1.0)
        return DenseNeighbourhood(adjacency)
    return GatherNeighbourhood(with_self(graph) if self_loops else graph, copies)


def with_self(graph: Graph) -> Graph:
    """The same lists with every agent's own number in front."""
    batch, agents, _ = graph.neighbours.shape
    own = torch.arange(agents, device=graph.neighbours.device)[:, None].expand(batch, -1, -1)
    neighbours = torch.cat([own.to(graph.neighbours.dtype), graph.neighbours], dim=-1)
    return Graph(neighbours, torch.cat([torch.ones_like(own, dtype=torch.bool), graph.mask], dim=-1))
