"""Aggregation over neighbours: one operator, two kernels with equal results.

`dense` turns the neighbour lists into an adjacency matrix and uses batched matrix products: the fastest up to a few
hundred agents. `gather` collects the neighbours' rows: memory grows with N * K, not N * N, for a thousand agents and
more. Linear maps are applied to nodes before any gather.

An agent without neighbours receives zeros.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from algorithms.protocols import Graph
from envs.shapes import Bool, Float

LARGEST_DENSE = 256
"""Number of agents up to which `auto` takes the dense kernel."""


class Neighbourhood(ABC):
    """Weighted sums over the neighbours of each agent, for one batch of graphs."""

    @abstractmethod
    def total(self, values: Float[Tensor, "batch agent feature"]) -> Float[Tensor, "batch agent feature"]:
        """Sum of the neighbours' values."""

    @abstractmethod
    def mean(self, values: Float[Tensor, "batch agent feature"]) -> Float[Tensor, "batch agent feature"]:
        """Mean of the neighbours' values."""

    @abstractmethod
    def attend(
        self,
        query: Float[Tensor, "batch agent head feature"],
        key: Float[Tensor, "batch agent head feature"],
        value: Float[Tensor, "batch agent head feature"],
    ) -> Float[Tensor, "batch agent feature"]:
        """Scaled dot-product attention of each agent over its neighbours; heads are concatenated."""


class DenseNeighbourhood(Neighbourhood):
    """Adjacency matrices (batch, agent, agent)."""

    def __init__(self, graph: Graph) -> None:
        batch, agents, _ = graph.neighbours.shape
        adjacency = torch.zeros(batch, agents, agents, device=graph.mask.device)
        adjacency.scatter_add_(2, graph.neighbours.long(), graph.mask.to(adjacency.dtype))
        self.adjacency = adjacency
        degree = adjacency.sum(-1, keepdim=True)
        self.share = adjacency / degree.clamp(min=1.0)
        self.connected = degree > 0
        self.penalty = torch.zeros_like(adjacency).masked_fill_(adjacency == 0, torch.finfo(adjacency.dtype).min)

    def total(self, values: Tensor) -> Tensor:
        return self.adjacency @ values

    def mean(self, values: Tensor) -> Tensor:
        return self.share @ values

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query, key, value = (x.transpose(1, 2) for x in (query, key, value))
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1]) + self.penalty[:, None]
        received = torch.softmax(scores, dim=-1) @ value
        return received.transpose(1, 2).flatten(2) * self.connected


class GatherNeighbourhood(Neighbourhood):
    """Rows of the neighbours (batch, agent, neighbour, feature)."""

    def __init__(self, graph: Graph) -> None:
        batch, agents, slots = graph.neighbours.shape
        offset = torch.arange(batch, device=graph.neighbours.device)[:, None, None] * agents
        self.rows = (graph.neighbours.long() + offset).flatten()
        self.shape = (batch, agents, slots)
        self.mask: Bool[Tensor, "batch agent neighbour"] = graph.mask
        self.degree = graph.mask.sum(-1, keepdim=True)

    def _collect(self, values: Tensor) -> Tensor:
        return values.flatten(0, 1).index_select(0, self.rows).unflatten(0, self.shape)

    def total(self, values: Tensor) -> Tensor:
        return (self._collect(values) * self.mask[..., None]).sum(2)

    def mean(self, values: Tensor) -> Tensor:
        return self.total(values) / self.degree.clamp(min=1)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        keys, values = self._collect(key), self._collect(value)
        scores = torch.einsum("bihd,bikhd->bihk", query, keys) / math.sqrt(query.shape[-1])
        scores = scores.masked_fill(~self.mask[:, :, None], torch.finfo(scores.dtype).min)
        received = torch.einsum("bihk,bikhd->bihd", torch.softmax(scores, dim=-1), values).flatten(2)
        return received * (self.degree > 0)


def neighbourhood(graph: Graph, kernel: str = "auto") -> Neighbourhood:
    """Prepare the aggregation over `graph`, once for all networks that use it.

    kernel: `dense`, `gather` or `auto` (dense up to `LARGEST_DENSE` agents). Raises ValueError for any other.
    """
    if kernel == "auto":
        kernel = "dense" if graph.neighbours.shape[1] <= LARGEST_DENSE else "gather"
    if kernel == "dense":
        return DenseNeighbourhood(graph)
    if kernel == "gather":
        return GatherNeighbourhood(graph)
    raise ValueError(f"kernel = {kernel!r}: expected dense, gather or auto")
