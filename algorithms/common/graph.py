"""Aggregation over neighbours: one operator with three kernels, whose results agree up to rounding.

`slots` loops over the neighbour lists in compiled code, with a cost proportional to the number of edges. It is the
fastest kernel on a CPU at every size (see `algorithms.common.slots`), and available on a GPU where a run requests fused
kernels (`training.kernels`). `dense` converts the lists to an adjacency matrix and uses batched matrix products. It is
the reference implementation, and the fastest on a GPU without fused kernels up to a few hundred agents. `gather`
gathers the neighbours' rows, so that memory grows with N * K instead of N * N. It is used on a GPU without fused
kernels for more agents, and for data types that the compiled loops do not support. On a complete graph, sums and means
need none of them: a message is the sum over all agents minus the receiver, and attention with several heads uses
torch's fused kernel where that is faster. Linear maps are applied to nodes before any gather.

A graph shared by a whole batch and held once (see `Graph`) is prepared once; lists, matrices and masks then have a
leading axis of 1. Results are bitwise equal.

An agent without neighbours receives zeros.

Sums have a fixed order on every device, so that equal inputs give equal bits: gradients of a row that is read several
times are added in the order of the readers (`edges.Rows`), and matrix products and softmax have a fixed order. Two
torch operations without a fixed order are exact nevertheless: the counts in an adjacency matrix are integers, and the
gradient with respect to dense attention weights writes one number per entry (masked slots add zeros).
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from typing import get_args

import torch
from torch import Tensor

from algorithms.common import slots
from algorithms.common.config import Kernels
from algorithms.common.edges import Rows, flat_rows, full_graph, held_once, with_self
from algorithms.protocols import Graph
from envs.shapes import Bool, Float, Int

LARGEST_DENSE = 256
"""Largest number of agents for which `auto` selects the dense kernel on a device without compiled loops."""
LARGEST_DENSE_RATIO = 32
"""Largest ratio of agents to neighbour slots for which `auto` selects the dense kernel: on road grids (four neighbours)
`gather` is faster from 144 agents on; with eight neighbours both are equally fast at 225."""
LARGEST_DENSE_SCORES = 1024
"""Largest product of heads and agents for which `auto` selects the dense kernel, which computes a score for each head
and pair of agents."""
COMPILED = ("cpu", "meta")
"""Devices on which `auto` selects the compiled loops for every size. On one thread, attention with gradients takes 0.5
of the time of dense matrices with 6 agents, 0.4 with 15, 0.2 to 0.1 with 200, and 0.1 to 0.04 on a road grid of 225
(one to eight heads); sums take 0.8 to 0.25, with a few microseconds more on tiny batches. `meta`, where nothing is
computed, follows the CPU."""
LARGEST_FULL_LISTS = 16
"""Largest number of agents for which `auto` selects the compiled loops on a complete graph: they take half the time of
dense matrices with 6 agents, three quarters with 15, and more time with 30 and one head."""
SMALLEST_FUSED = 40
"""Smallest number of agents for which `auto` selects torch's fused attention on a complete graph with more than one
head: it takes 0.7 of the time of dense matrices with 40 agents and 8 heads, 0.45 with 200; with one head they are
equally fast."""
KERNELS = get_args(Kernels)
"""Names of the aggregation kernels."""


class Neighbourhood(ABC):
    """Weighted sums over the neighbours of each agent, for one batch of graphs.

    Attention weights follow the slots of the neighbour lists, the agent itself first where the graph has self-loops;
    they are zero in slots without a neighbour.
    """

    @abstractmethod
    def total(self, values: Float[Tensor, "batch agent feature"]) -> Float[Tensor, "batch agent feature"]:
        """Sum of the neighbours' values."""

    @abstractmethod
    def mean(self, values: Float[Tensor, "batch agent feature"]) -> Float[Tensor, "batch agent feature"]:
        """Mean of the neighbours' values."""

    @abstractmethod
    def attention(
        self, query: Float[Tensor, "batch agent head feature"], key: Float[Tensor, "batch agent head feature"]
    ) -> Float[Tensor, "batch agent head slot"]:
        """Attention weights: softmax of the scaled products of each agent's query with its neighbours' keys."""

    @abstractmethod
    def relate(
        self,
        query: Float[Tensor, "batch agent head feature"],
        key: Float[Tensor, "batch agent head feature"],
        value: Float[Tensor, "batch agent head feature"],
    ) -> tuple[Float[Tensor, "batch agent message"], Float[Tensor, "batch agent head slot"]]:
        """The messages of `attend` and the weights of `attention`."""

    def attend(
        self,
        query: Float[Tensor, "batch agent head feature"],
        key: Float[Tensor, "batch agent head feature"],
        value: Float[Tensor, "batch agent head feature"],
    ) -> Float[Tensor, "batch agent message"]:
        """Scaled dot-product attention of each agent over its neighbours; heads are concatenated."""
        return self.relate(query, key, value)[0]

    def relate_within(
        self, projected: Float[Tensor, "batch agent projection"], heads: int, activated: bool = False
    ) -> tuple[Float[Tensor, "batch agent message"], Float[Tensor, "batch agent head slot"]]:
        """`relate` for queries, keys and values concatenated in the last axis, through a ReLU if `activated`."""
        return self.relate(*slots.parts(torch.relu(projected) if activated else projected, heads))


class DenseNeighbourhood(Neighbourhood):
    """Adjacency matrices (batch, agent, agent) of `graph`; a batch of 1 serves every batch size."""

    def __init__(self, graph: Graph) -> None:
        agents = graph.mask.shape[1]
        adjacency = torch.zeros(len(graph.mask), agents, agents, device=graph.mask.device)
        adjacency.scatter_add_(2, graph.neighbours.long(), graph.mask.to(adjacency.dtype))
        self.adjacency = adjacency
        self.graph = graph
        degree = adjacency.sum(-1, keepdim=True)
        self.share = adjacency / degree.clamp(min=1.0)
        self.connected = (degree > 0).to(adjacency.dtype)
        # Senders by receivers, see `_weights`.
        missing = adjacency.transpose(1, 2) == 0
        self.penalty = torch.zeros_like(adjacency).masked_fill_(missing, torch.finfo(adjacency.dtype).min)

    def total(self, values: Tensor) -> Tensor:
        return self.adjacency @ values

    def mean(self, values: Tensor) -> Tensor:
        return self.share @ values

    def attention(self, query: Tensor, key: Tensor) -> Tensor:
        return self._of_slots(self._weights(query, key))

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return self._message(self._weights(query, key), value)

    def relate(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        weights = self._weights(query, key)
        return self._message(weights, value), self._of_slots(weights)

    def _weights(self, query: Tensor, key: Tensor) -> Float[Tensor, "batch head receiver sender"]:
        # Scores of senders by receivers: a softmax over a short last axis is far slower than over the axis before it.
        scores = key.transpose(1, 2) @ query.permute(0, 2, 3, 1)
        scores = torch.add(self.penalty[:, None], scores, alpha=1.0 / math.sqrt(query.shape[-1]))
        return torch.softmax(scores, dim=-2).transpose(2, 3)

    def _message(self, weights: Tensor, value: Tensor) -> Tensor:
        return (weights @ value.transpose(1, 2)).transpose(1, 2).flatten(2) * self.connected

    def _of_slots(self, weights: Float[Tensor, "batch head receiver sender"]) -> Tensor:
        neighbours = self.graph.neighbours.long()[:, None].expand(*weights.shape[:3], -1)
        return (weights.gather(-1, neighbours) * self.graph.mask[:, None]).transpose(1, 2)


class FullNeighbourhood(Neighbourhood):
    """Complete graph, with or without self-loops: sums and means in O(N), attention by `attending`."""

    def __init__(self, agents: int, self_loops: bool, attending: Neighbourhood) -> None:
        self.self_loops = self_loops
        self.attending = attending
        self.degree = agents if self_loops else max(agents - 1, 1)

    def total(self, values: Tensor) -> Tensor:
        total = values.sum(1, keepdim=True)
        return total.expand_as(values) if self.self_loops else total - values

    def mean(self, values: Tensor) -> Tensor:
        return self.total(values) / self.degree

    def attention(self, query: Tensor, key: Tensor) -> Tensor:
        return self.attending.attention(query, key)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return self.attending.attend(query, key, value)

    def relate(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        return self.attending.relate(query, key, value)


class FusedNeighbourhood(DenseNeighbourhood):
    """Adjacency matrices as masks of torch's fused attention, which does not return weights: `attention` and `relate`
    are those of the dense kernel."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query, key, value = (part.transpose(1, 2) for part in (query, key, value))
        mask = self.penalty.transpose(1, 2)[:, None]
        message = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return message.transpose(1, 2).flatten(2) * self.connected


class GatherNeighbourhood(Neighbourhood):
    """Gathered rows of the neighbours (batch, agent, neighbour, feature), for a batch of `copies`."""

    def __init__(self, graph: Graph, copies: int) -> None:
        _, agents, slots = graph.neighbours.shape
        self.rows = Rows(flat_rows(graph.neighbours, agents, copies), copies * agents)
        self.shape = (copies, agents, slots)
        self.mask: Bool[Tensor, "graphs agent neighbour"] = graph.mask
        self.degree = graph.mask.sum(-1, keepdim=True)

    def _collect(self, values: Tensor) -> Tensor:
        return self.rows.of(values.flatten(0, 1)).unflatten(0, self.shape)

    def total(self, values: Tensor) -> Tensor:
        return (self._collect(values) * self.mask[..., None]).sum(2)

    def mean(self, values: Tensor) -> Tensor:
        return self.total(values) / self.degree.clamp(min=1)

    def attention(self, query: Tensor, key: Tensor) -> Tensor:
        scores = torch.einsum("bihd,bikhd->bihk", query, self._collect(key)) / math.sqrt(query.shape[-1])
        mask = self.mask[:, :, None]
        return torch.softmax(scores.masked_fill(~mask, torch.finfo(scores.dtype).min), dim=-1) * mask

    def relate(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        weights = self.attention(query, key)
        return torch.einsum("bihk,bikhd->bihd", weights, self._collect(value)).flatten(2), weights


class SlotNeighbourhood(Neighbourhood):
    """Compiled loops over the neighbour lists, for a batch of `copies`. Tensors that these do not support (of another
    precision or, unless `fused`, on a GPU) are handled by `GatherNeighbourhood`."""

    def __init__(self, graph: Graph, copies: int, fused: bool = False) -> None:
        self.graph, self.copies, self.fused = graph, copies, fused
        self.lists: Int[Tensor, "graphs agent slot"] = torch.where(graph.mask, graph.neighbours, -1).int()
        differentiable = fused and self.lists.device.type in slots.FUSED and torch.is_grad_enabled()
        self.readers = slots.reverse_lists(self.lists) if differentiable else None

    @functools.cached_property
    def gather(self) -> GatherNeighbourhood:
        """The fallback for unsupported tensors."""
        return GatherNeighbourhood(self.graph, self.copies)

    def total(self, values: Tensor) -> Tensor:
        return self._add(values, False) if slots.takes(values, self.fused) else self.gather.total(values)

    def mean(self, values: Tensor) -> Tensor:
        return self._add(values, True) if slots.takes(values, self.fused) else self.gather.mean(values)

    def _add(self, values: Tensor, mean: bool) -> Tensor:
        return slots.add(values, self.lists, mean, self.readers)

    def attention(self, query: Tensor, key: Tensor) -> Tensor:
        if not slots.takes(query, self.fused):
            return self.gather.attention(query, key)
        return slots.attend(query, key, None, self.lists, self.readers)[1].transpose(2, 3)

    def relate(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        if not slots.takes(query, self.fused):
            return self.gather.relate(query, key, value)
        message, weights = slots.attend(query, key, value, self.lists, self.readers)
        return message, weights.transpose(2, 3)

    def relate_within(self, projected: Tensor, heads: int, activated: bool = False) -> tuple[Tensor, Tensor]:
        if not slots.takes(projected, self.fused):
            return super().relate_within(projected, heads, activated)
        message, weights = slots.attend_within(projected, self.lists, heads, activated, self.readers)
        return message, weights.transpose(2, 3)


def takes_dense(agents: int, slots: int, kernel: str = "auto", which: str = "task", heads: int = 1) -> bool:
    """Whether `neighbourhood` uses agent-by-agent matrices on devices without compiled loops, for lists of `slots`
    neighbours. Memory estimates assume this on every device; compiled loops take less."""
    return which == "full" or chosen_kernel(kernel, agents, slots, heads, compiled=False) == "dense"


def chosen_kernel(kernel: str, agents: int, slots: int, heads: int = 1, compiled: bool = True) -> str:
    """The kernel that `auto` selects for lists of `slots` neighbours: `slots` on devices with compiled loops (see
    `COMPILED`), otherwise `dense` for few agents and `gather` for many. Other kernels are returned unchanged."""
    if kernel != "auto":
        return kernel
    if compiled:
        return "slots"
    small = agents <= min(LARGEST_DENSE, LARGEST_DENSE_RATIO * slots, LARGEST_DENSE_SCORES // heads)
    return "dense" if small else "gather"


def full_kernel(kernel: str, agents: int, heads: int = 1, compiled: bool = True) -> str:
    """The kernel of attention on a complete graph: `dense`, unless `auto` selects a faster one (`slots`, or torch's
    `fused` attention) on a device with compiled loops."""
    if kernel == "auto" and compiled and agents <= LARGEST_FULL_LISTS:
        return "slots"
    return "fused" if kernel == "auto" and compiled and heads > 1 and agents >= SMALLEST_FUSED else "dense"


def neighbourhood(
    graph: Graph,
    kernel: str = "auto",
    which: str = "task",
    self_loops: bool = False,
    heads: int = 1,
    fused: bool = False,
) -> Neighbourhood:
    """The aggregation over `graph`, prepared once for all networks that use it.

    `kernel` is `slots`, `dense`, `gather` or `auto` (the fastest, see `chosen_kernel`); `which` is `task` or `full`,
    see `config.Graphs`; `self_loops` adds each agent to its neighbours; `heads` is the number of attention heads;
    `fused` allows the compiled loops on a GPU (`slot_triton.py`). Raises ValueError for an unknown kernel.
    """
    _, agents, listed = graph.neighbours.shape
    device = graph.mask.device
    if kernel not in KERNELS:
        raise ValueError(f"kernel = {kernel!r}: expected slots, dense, gather or auto")
    compiled = device.type in COMPILED
    if which == "full":
        attending = _over_lists(full_graph(graph), full_kernel(kernel, agents, heads, compiled), self_loops, fused)
        return FullNeighbourhood(agents, self_loops, attending)
    compiled = compiled or (fused and device.type in slots.FUSED)
    return _over_lists(graph, chosen_kernel(kernel, agents, listed, heads, compiled), self_loops, fused)


def _over_lists(graph: Graph, kernel: str, self_loops: bool, fused: bool) -> Neighbourhood:
    copies, graph = len(graph.mask), held_once(graph)
    if self_loops:
        graph = with_self(graph)
    if kernel == "slots":
        return SlotNeighbourhood(graph, copies, fused)
    if kernel == "gather":
        return GatherNeighbourhood(graph, copies)
    return (FusedNeighbourhood if kernel == "fused" else DenseNeighbourhood)(graph)
