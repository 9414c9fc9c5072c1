"""Aggregation over neighbours: one operator, three kernels with results that are equal to rounding.

`slots` walks the neighbour lists in compiled loops, at the price of the edges: the fastest on a CPU at every size (see
`algorithms.common.slots`); on a GPU where a run asks for fused kernels (`training.kernels`). `dense` turns the lists
into an adjacency matrix and uses batched matrix products: the plain reference, and on a GPU without fused kernels the
fastest up to a few hundred agents. `gather` collects rows of the neighbours, so that memory grows with N * K, not
N * N: on such a GPU for more agents, and for numbers that the compiled loops do not take.
A fully connected graph needs none of them for sums and means: there a message is the sum over everybody minus oneself;
its attention with several heads is torch's fused one where that is faster. Linear maps are applied to nodes before any
gather.

A graph that serves a whole batch and is held once (see `Graph`) is prepared once: lists, matrices and masks have a
leading axis of 1 then. Results are equal to the last bit.

An agent without neighbours receives zeros.

Sums have one order on every device, so that equal inputs give equal bits: what many rows read of one is added up in
their order (`Rows`), matrix products and softmax have a fixed order in themselves. Two operations of torch that do not
are exact all the same: the counts of an adjacency matrix are whole numbers, and the gradient by attention weights of
matrices puts one number in a place (masked slots add zeros).
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from typing import Any, get_args

import torch
from torch import Tensor

from algorithms.common import slots
from algorithms.common.config import Kernels
from algorithms.protocols import Graph
from envs.shapes import Bool, Float, Int

LARGEST_DENSE = 256
"""Number of agents up to which `auto` takes the dense kernel where there are no compiled loops, ..."""
LARGEST_DENSE_RATIO = 32
"""... with lists at least a 32nd as wide: on road grids (four neighbours) the other one is faster from 144 agents on,
with eight neighbours they are alike at 225, ..."""
LARGEST_DENSE_SCORES = 1024
"""... where heads times agents are at most this: dense attention has a score for each head and pair of agents."""
COMPILED = ("cpu", "meta")
"""Devices on which `auto` takes the compiled loops over the lists, whatever the size: on one thread attention with its
gradients takes 0.5 of the time of dense matrices with 6 agents, 0.4 with 15, 0.2 to 0.1 with 200, 0.1 to 0.04 on a road
grid of 225 (one head to eight); sums 0.8 to 0.25, but for a few microseconds more on tiny batches. On `meta`, where
nothing is computed, because what is tried there is to happen on a CPU."""
LARGEST_FULL_LISTS = 16
"""Number of agents up to which `auto` takes the compiled loops where everybody hears everybody: half the time of dense
matrices with 6 agents, three quarters with 15, more with 30 and one head."""
SMALLEST_FUSED = 40
"""Number of agents from which `auto` takes torch's fused attention where everybody hears everybody with more than one
head: 0.7 of the time of dense matrices with 40 agents and 8 heads, 0.45 with 200; with one head they are alike."""
UNORDERED = ("cuda",)
"""Devices on which torch adds up the gradients of rows that are read many times in no fixed order."""
KERNELS = get_args(Kernels)
"""Who hears whom. task: what the environment says (nearest agents, a road network); full: everybody hears everybody."""


class Neighbourhood(ABC):
    """Weighted sums over the neighbours of each agent, for one batch of graphs.

    Attention weights are those of the slots of the neighbour lists, oneself first where agents hear themselves; zero
    where there is no neighbour.
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
        """Softmax of the scaled products of each agent's query with its neighbours' keys."""

    @abstractmethod
    def relate(
        self,
        query: Float[Tensor, "batch agent head feature"],
        key: Float[Tensor, "batch agent head feature"],
        value: Float[Tensor, "batch agent head feature"],
    ) -> tuple[Float[Tensor, "batch agent message"], Float[Tensor, "batch agent head slot"]]:
        """What `attend` gives, and the weights of `attention`."""

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
        """`relate` of queries, keys and values that lie side by side in the last axis; `activated`: through a ReLU."""
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
        # Of senders by receivers, see `_weights`.
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
    """Everybody hears everybody else, and with `self_loops` themselves: sums and means in O(N), attention by
    `attending`."""

    def __init__(self, agents: int, self_loops: bool, attending: Neighbourhood) -> None:
        self.self_loops = self_loops
        self.attending = attending
        self.degree = agents if self_loops else max(agents - 1, 1)

    def total(self, values: Tensor) -> Tensor:
        everybody = values.sum(1, keepdim=True)
        return everybody.expand_as(values) if self.self_loops else everybody - values

    def mean(self, values: Tensor) -> Tensor:
        return self.total(values) / self.degree

    def attention(self, query: Tensor, key: Tensor) -> Tensor:
        return self.attending.attention(query, key)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return self.attending.attend(query, key, value)

    def relate(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        return self.attending.relate(query, key, value)


class FusedNeighbourhood(DenseNeighbourhood):
    """Adjacency matrices as masks of torch's fused attention; weights, which that does not tell, are the dense ones."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query, key, value = (part.transpose(1, 2) for part in (query, key, value))
        mask = self.penalty.transpose(1, 2)[:, None]
        message = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return message.transpose(1, 2).flatten(2) * self.connected


class Rows:
    """Rows of a matrix of `height` rows, each of which may be wanted many times.

    On a GPU the gradients of those that are read often are added up in the order of the readers: torch's own sum there
    is made by whichever thread comes first. On a CPU it has that order already.
    """

    def __init__(self, rows: Int[Tensor, " edge"], height: int) -> None:
        self.rows, self.height = rows, height

    def of(self, values: Float[Tensor, "row *feature"]) -> Float[Tensor, "edge *feature"]:
        """The rows wanted."""
        if values.device.type in UNORDERED and torch.is_grad_enabled() and values.requires_grad:
            return _OrderedRows.apply(values, self.rows, *self.readers)
        return values.index_select(0, self.rows)

    @functools.cached_property
    def readers(self) -> tuple[Int[Tensor, " edge"], Int[Tensor, " bound"]]:
        """The edges sorted by the row they read, and where those of each row begin and end."""
        read, edges = self.rows.sort(stable=True)
        return edges, torch.searchsorted(read, torch.arange(self.height + 1, device=read.device))


class _OrderedRows(torch.autograd.Function):
    """`Rows.of`, differentiated as it says."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, rows: Tensor, edges: Tensor, bounds: Tensor) -> Tensor:
        ctx.save_for_backward(edges, bounds)
        return values.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, by_rows: Tensor) -> tuple[Tensor | None, ...]:
        edges, bounds = ctx.saved_tensors
        sorted_rows = by_rows.index_select(0, edges)
        return torch.segment_reduce(sorted_rows, "sum", offsets=bounds, unsafe=True), None, None, None


class GatherNeighbourhood(Neighbourhood):
    """Rows of the neighbours (batch, agent, neighbour, feature), for a batch of `copies`."""

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
    """Compiled loops over the lists of neighbours, for a batch of `copies`. Numbers that those do not take, of another
    precision or, unless `fused`, on a GPU, go the way of `GatherNeighbourhood`."""

    def __init__(self, graph: Graph, copies: int, fused: bool = False) -> None:
        self.graph, self.copies, self.fused = graph, copies, fused
        self.lists: Int[Tensor, "graphs agent slot"] = torch.where(graph.mask, graph.neighbours, -1).int()
        differentiable = fused and self.lists.device.type in slots.FUSED and torch.is_grad_enabled()
        self.readers = slots.reverse_lists(self.lists) if differentiable else None

    @functools.cached_property
    def gather(self) -> GatherNeighbourhood:
        """The same graphs for other numbers."""
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
        height = agents * (slots + 1)
        self.outgoing = Rows(flat_rows(neighbours * (slots + 1) + self.exclude, height, copies), copies * height)

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
        return self.outgoing.of(told.flatten(0, 2)).unflatten(0, (batch, agents, exclusions - 1))


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
    """Whether `neighbourhood` works on matrices of agents by agents where there are no compiled loops, given lists of
    `slots` neighbours. Estimates of memory count so on every device; compiled loops take less."""
    return which == "full" or chosen_kernel(kernel, agents, slots, heads, compiled=False) == "dense"


def chosen_kernel(kernel: str, agents: int, slots: int, heads: int = 1, compiled: bool = True) -> str:
    """What `auto` stands for with lists of `slots` neighbours: `slots` where the device has compiled loops (see
    `COMPILED`), else `dense` for few agents and `gather` for many. Any other kernel is itself."""
    if kernel != "auto":
        return kernel
    if compiled:
        return "slots"
    small = agents <= min(LARGEST_DENSE, LARGEST_DENSE_RATIO * slots, LARGEST_DENSE_SCORES // heads)
    return "dense" if small else "gather"


def full_kernel(kernel: str, agents: int, heads: int = 1, compiled: bool = True) -> str:
    """The kernel of attention where everybody hears everybody: `dense`, unless `auto` knows a faster one (`slots`, or
    `fused`, which is torch's) on a device with compiled loops."""
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
    """Prepare the aggregation over `graph`, once for all networks that use it.

    kernel: `slots`, `dense`, `gather` or `auto` (the fastest, see `chosen_kernel`). which: `task` or `full`, see
    `config.Graphs`. self_loops: agents hear themselves too. heads: of the attention to come. fused: a GPU has compiled
    loops too, those of `slot_triton.py`; a CPU has them anyway. Raises ValueError for another kernel.
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


def with_self(graph: Graph) -> Graph:
    """The same lists with every agent's own number in front."""
    batch, agents, _ = graph.neighbours.shape
    own = torch.arange(agents, device=graph.neighbours.device)[:, None].expand(batch, -1, -1)
    neighbours = torch.cat([own.to(graph.neighbours.dtype), graph.neighbours], dim=-1)
    return Graph(neighbours, torch.cat([torch.ones_like(own, dtype=torch.bool), graph.mask], dim=-1))
