"""Aggregation over neighbours: against brute force, every kernel against the dense one, invariances."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from algorithms.common import edges, slots
from algorithms.common.edges import DirectedEdges, full_graph
from algorithms.common.graph import (
    DenseNeighbourhood,
    FullNeighbourhood,
    FusedNeighbourhood,
    GatherNeighbourhood,
    Neighbourhood,
    SlotNeighbourhood,
    chosen_kernel,
    neighbourhood,
)
from algorithms.common.learner import without_parameter_gradients
from algorithms.protocols import Graph
from tests.algorithms.conftest import random_graph, ring

BATCH, AGENTS, SLOTS, HEADS, SIZE = 3, 7, 4, 2, 6
KERNELS = ("dense", "gather", "slots")


def brute_force(graph: Graph, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Message and weights, one agent and one head at a time."""
    result, shares = torch.zeros(*value.shape), torch.zeros(BATCH, AGENTS, HEADS, SLOTS)
    for b in range(BATCH):
        for i in range(AGENTS):
            places = [slot for slot, m in enumerate(graph.mask[b, i]) if m]
            heard = [int(graph.neighbours[b, i, slot]) for slot in places]
            for h in range(HEADS):
                if heard:
                    scores = torch.stack([query[b, i, h] @ key[b, j, h] / math.sqrt(SIZE) for j in heard])
                    weights = torch.softmax(scores, 0)
                    shares[b, i, h, places] = weights
                    result[b, i, h] = sum(w * value[b, j, h] for w, j in zip(weights, heard, strict=True))
    return result.flatten(2), shares


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_equal_brute_force(kernel: str, generator: torch.Generator) -> None:
    graph = random_graph(BATCH, AGENTS, SLOTS, generator)
    assert (graph.mask.sum(-1) == 0).any(), "the case of an agent without neighbours must be among them"
    query, key, value = (torch.randn(BATCH, AGENTS, HEADS, SIZE, generator=generator) for _ in range(3))
    aggregate = neighbourhood(graph, kernel)
    message, weights = brute_force(graph, query, key, value)
    torch.testing.assert_close(aggregate.attend(query, key, value), message)
    torch.testing.assert_close(aggregate.attention(query, key), weights)
    torch.testing.assert_close(aggregate.relate(query, key, value), (message, weights))
    plain = value.flatten(2)
    total = torch.zeros_like(plain)
    for b, i, k in graph.mask.nonzero().tolist():
        total[b, i] += plain[b, graph.neighbours[b, i, k]]
    torch.testing.assert_close(aggregate.total(plain), total)
    torch.testing.assert_close(aggregate.mean(plain), total / graph.mask.sum(-1, keepdim=True).clamp(min=1))


def differentiate(outputs: list[Tensor], inputs: list[Tensor], seed: int) -> list[Tensor]:
    """Outputs, and gradients of a random weighting of them, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    loss = sum((part * torch.randn(part.shape, generator=generator)).sum() for part in outputs)
    assert isinstance(loss, Tensor)
    gradients = torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)
    return [part.double() for part in (*outputs, *gradients)]


def assert_equal_to_rounding(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, two in zip(found, expected, strict=True):
        assert one.isfinite().all()
        largest = max([1.0, *two.detach().abs().flatten().tolist()])
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5 * largest)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_compiled_loops_equal_the_dense_reference(data: st.DataObject) -> None:
    """Messages, weights and all gradients in single precision, against matrices in double precision: any number of
    copies, agents, slots, heads and features, one graph for each copy or for all, self loops or none."""
    batch, agents = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 12))
    listed, heads = data.draw(st.integers(0, min(6, agents - 1))), data.draw(st.integers(1, 8))
    size, scale = data.draw(st.sampled_from((1, 3, 4, 8, 12, 16, 32))), data.draw(st.sampled_from((0.1, 1.0, 5.0)))
    loops, held_once = data.draw(st.booleans()), data.draw(st.booleans())
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**30)))
    graph = random_graph(1 if held_once else batch, agents, listed, generator)
    graph = Graph(*(part.expand(batch, -1, -1) for part in graph)) if held_once else graph
    shape = (batch, agents, heads, size)
    given = [scale * torch.randn(shape, generator=generator) for _ in range(3)]
    results = []
    for kernel, dtype in (("slots", torch.float32), ("dense", torch.float64)):
        aggregate = neighbourhood(graph, kernel, self_loops=loops)
        inputs = [part.to(dtype).requires_grad_() for part in given]
        values = inputs[2].flatten(2)
        found = differentiate(list(aggregate.relate(*inputs)), inputs, seed=1)
        found += differentiate([aggregate.attend(*inputs)], inputs, seed=2)
        found += differentiate([aggregate.attention(*inputs[:2])], inputs[:2], seed=3)
        if dtype == torch.float64:  # sums over matrices of single precision
            aggregate = GatherNeighbourhood(*listed_graphs(graph, loops))
        found += differentiate([aggregate.total(values), aggregate.mean(values)], inputs[2:], seed=4)
        results.append(found)
    assert_equal_to_rounding(*results)


def listed_graphs(graph: Graph, loops: bool) -> tuple[Graph, int]:
    """The lists that a kernel works on, and the number of copies."""
    slotted = neighbourhood(graph, "slots", self_loops=loops)
    assert isinstance(slotted, SlotNeighbourhood)
    return slotted.graph, slotted.copies


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("activated", [True, False])
@pytest.mark.parametrize("heads", [1, 2, 8])
def test_side_by_side_is_the_same(kernel: str, activated: bool, heads: int, generator: torch.Generator) -> None:
    """Queries, keys and values in one tensor, through a ReLU or not."""
    aggregate = neighbourhood(random_graph(BATCH, AGENTS, SLOTS, generator), kernel, self_loops=True)
    projected = torch.randn(BATCH, AGENTS, 3 * 16, generator=generator).requires_grad_()
    apart = [part.unflatten(-1, (heads, -1)) for part in projected.chunk(3, -1)]
    apart = [torch.relu(part) for part in apart] if activated else apart
    found = differentiate(list(aggregate.relate_within(projected, heads, activated)), [projected], seed=1)
    assert_equal_to_rounding(found, differentiate(list(aggregate.relate(*apart)), [projected], seed=1))


def test_layout_in_memory_does_not_matter(generator: torch.Generator) -> None:
    """Rows with gaps, copies out of order and broadcast values give what tensors without gaps give."""
    aggregate = neighbourhood(random_graph(BATCH, AGENTS, SLOTS, generator), "slots")
    wide = torch.randn(BATCH, AGENTS, 5, HEADS, SIZE, generator=generator)
    turned = torch.randn(AGENTS, SIZE, HEADS, BATCH, generator=generator).permute(3, 0, 2, 1)
    repeated = torch.randn(1, AGENTS, 1, SIZE, generator=generator).expand(BATCH, -1, HEADS, -1)
    every_other = torch.randn(2 * BATCH, AGENTS, HEADS, SIZE, generator=generator)[::2]
    for parts in ((wide[:, :, 1], turned, repeated), (every_other, wide[:, :, 4], turned)):
        plain = [part.clone(memory_format=torch.contiguous_format) for part in parts]
        assert torch.equal(aggregate.attend(*parts), aggregate.attend(*plain))
        assert torch.equal(aggregate.total(parts[1][:, :, 0]), aggregate.total(plain[1][:, :, 0]))


def test_sums_have_one_order(generator: torch.Generator) -> None:
    """Equal inputs give equal bits, whatever the number of threads."""
    graph = random_graph(16, 40, 8, generator)
    inputs = [torch.randn(16, 40, 4, 16, generator=generator).requires_grad_() for _ in range(3)]
    threads = torch.get_num_threads()
    results = []
    try:
        for number in (1, 2, 1):
            torch.set_num_threads(number)
            results.append(differentiate(list(neighbourhood(graph, "slots").relate(*inputs)), inputs, seed=1))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, two) for other in results[1:] for one, two in zip(results[0], other, strict=True))


def test_reverse_lists_name_every_reader(generator: torch.Generator) -> None:
    """Against brute force: edges sorted by the agent they read; an index that belongs to no agent reaches none."""
    agents, listed = 6, 4
    lists = torch.randint(-1, agents + 1, (5, agents, listed), generator=generator, dtype=torch.int32)
    for one, found in zip(lists.flatten(1).tolist(), slots.reverse_lists(lists).tolist(), strict=True):
        bounds, edges = found[: agents + 1], found[agents + 1 :]
        assert bounds[0] == 0
        for agent in range(agents):
            expected = [edge for edge, sender in enumerate(one) if sender == agent]
            assert edges[bounds[agent] : bounds[agent + 1]] == expected
    assert slots.reverse_lists(lists[:, :, :0]).tolist() == [[0] * (agents + 1)] * 5


class Operations(TorchDispatchMode):
    """Names of all operations inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func._schema.name.removeprefix("aten::").rstrip("_"))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("held_once", [True, False])
@pytest.mark.parametrize("what", ["relate", "total", "edges"])
def test_gathered_rows_are_added_up_in_order(
    what: str, held_once: bool, monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    """On devices whose own sum of such gradients has no order another one takes its place, with equal results."""
    one = random_graph(1 if held_once else BATCH, AGENTS, SLOTS, generator)
    graph = Graph(*(part.expand(BATCH, -1, -1) for part in one))
    inputs = [torch.randn(BATCH, AGENTS, HEADS, SIZE, generator=generator).requires_grad_() for _ in range(3)]
    told = torch.randn(BATCH, AGENTS, SLOTS + 1, SIZE, generator=generator).requires_grad_()
    results, names = [], []
    for devices in ((), ("cpu",)):
        monkeypatch.setattr(edges, "UNORDERED", devices)
        with Operations() as operations:
            if what == "edges":
                output, inputs = DirectedEdges(graph).to_receivers(told), [told]
            else:
                aggregate = neighbourhood(graph, "gather")
                output = aggregate.attend(*inputs) if what == "relate" else aggregate.total(inputs[0].flatten(2))
            results.append(differentiate([output], inputs, seed=1))
        names.append(operations.names & {"index_add", "segment_reduce"})
    assert_equal_to_rounding(*results)
    assert names == [{"index_add"}, {"segment_reduce"}]


def test_compiled_loops_are_kept_between_runs() -> None:
    """Numba finds them by what their closures hold; only plain numbers are the same in another process."""
    from algorithms.common.slot_kernels import kernels

    for loop in kernels(16):
        assert [type(cell.cell_contents) for cell in loop.py_func.__closure__] == [int]


def test_extreme_scores_stay_finite(generator: torch.Generator) -> None:
    """One neighbour takes all; weights that vanish have gradients of zero; what is no number is not hidden."""
    graph, huge = ring(5, 2), 1e4 * torch.randn(2, 5, 1, 8, generator=generator)
    inputs = [huge.clone().requires_grad_() for _ in range(3)]
    message, weights = neighbourhood(graph, "slots").relate(*inputs)
    torch.testing.assert_close(message, neighbourhood(graph, "dense").attend(*inputs))
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 5, 1))
    assert all(part.isfinite().all() for part in torch.autograd.grad(message.sum(), inputs))
    huge[0, 0] = math.nan
    bad = neighbourhood(graph, "slots").attend(huge, huge, huge).isnan().any(-1)
    assert bad.tolist() == [[True, True, False, False, True], [False] * 5]


def test_other_numbers_go_another_way(generator: torch.Generator) -> None:
    """Double precision is summed by the gather kernel; the operators themselves refuse it."""
    graph = random_graph(BATCH, AGENTS, SLOTS, generator)
    value = torch.randn(BATCH, AGENTS, HEADS, SIZE, generator=generator).double()
    slotted, gather = neighbourhood(graph, "slots"), neighbourhood(graph, "gather")
    for what, inputs in (("relate", (value,) * 3), ("attention", (value,) * 2), ("total", (value[:, :, 0],))):
        found, expected = (getattr(kernel, what)(*inputs) for kernel in (slotted, gather))
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert slotted.relate_within(value.flatten(2).repeat(1, 1, 3), HEADS)[0].dtype == torch.float64
    lists = torch.zeros(BATCH, AGENTS, SLOTS, dtype=torch.int32)
    with pytest.raises(TypeError, match="lists of int32"):
        slots.add(value.flatten(2), lists, False)
    single = value.float()
    for bad in (single[:, :-1], value):
        with pytest.raises(ValueError, match=r"queries are torch\.float32"):
            slots.attend(single, single, bad, lists)
        with pytest.raises(ValueError, match=r"queries are torch\.float32"):
            slots.attend(single, bad, None, lists)
    with pytest.raises(ValueError, match="do not fit values"):
        slots.add(value.flatten(2).float(), lists[:2], False)


def test_numbers_that_are_no_agents_are_refused(generator: torch.Generator) -> None:
    graph = ring(5, 2)
    graph = Graph(graph.neighbours.clone(), graph.mask.clone())
    graph.neighbours[1, 2, 1] = 5
    value = torch.randn(2, 5, 1, 8, generator=generator)
    with pytest.raises(IndexError, match="expected 0 to 4"):
        neighbourhood(graph, "slots").attend(value, value, value)
    with pytest.raises(IndexError, match="expected 0 to 4"):
        neighbourhood(graph, "slots").mean(value[:, :, 0])
    graph.mask[1, 2, 1] = False
    assert neighbourhood(graph, "slots").attend(value, value, value).isfinite().all(), "masked slots may hold anything"


def test_shapes_are_known_without_numbers() -> None:
    """On `meta`, where memory of a step can be tried, everything has the shape that it has on a CPU."""
    graph = ring(5, 2)
    shapes = []
    for device in ("cpu", "meta"):
        moved = Graph(*(part.to(device) for part in graph))
        projected = torch.zeros(2, 5, 48, device=device, requires_grad=True)
        aggregate = neighbourhood(moved, self_loops=True)
        assert isinstance(aggregate, SlotNeighbourhood)
        apart = slots.parts(projected, 2)
        outputs = [*aggregate.relate(*apart), *aggregate.relate_within(projected, 2, True)]
        outputs += [aggregate.attention(*apart[:2]), aggregate.mean(projected)]
        loss = torch.stack([part.sum() for part in outputs]).sum()
        parts = [*outputs, *torch.autograd.grad(loss, projected)]
        assert all(part.device.type == device for part in parts)
        shapes.append([part.shape for part in parts])
    assert shapes[0] == shapes[1]


def test_operators_keep_what_torch_asks_of_them(generator: torch.Generator) -> None:
    """Schemas, shapes of results, gradients, tracing."""
    graph = random_graph(BATCH, AGENTS, SLOTS, generator)
    lists = neighbourhood(graph, "slots").lists  # type: ignore[attr-defined]
    part = torch.randn(BATCH, AGENTS, HEADS, 8, generator=generator).requires_grad_()
    projected = torch.randn(BATCH, AGENTS, 48, generator=generator).requires_grad_()
    for operator, inputs in (
        (torch.ops.neighbours.attend, (part, part, part, lists)),
        (torch.ops.neighbours.attend, (part, part, None, lists)),
        (torch.ops.neighbours.attend_within, (projected, lists, HEADS, True)),
        (torch.ops.neighbours.add, (projected, lists, True)),
    ):
        torch.library.opcheck(operator.default, inputs)


class Attending(torch.nn.Module):
    """A layer that attends with a learned projection."""

    def __init__(self) -> None:
        super().__init__()
        self.projection = torch.nn.Linear(4, 48)

    def forward(self, x: Tensor, neighbours: Neighbourhood) -> Tensor:
        return neighbours.relate_within(self.projection(x), 2)[0]


def test_frozen_networks_pass_gradients_on(generator: torch.Generator) -> None:
    """To the inputs, as with the dense kernel, and not to the weights."""
    network, graph = Attending(), ring(5, 2)
    x = torch.randn(2, 5, 4, generator=generator).requires_grad_()
    found = [
        differentiate([without_parameter_gradients(network)(x, neighbourhood(graph, k))], [x], seed=1)
        for k in ("slots", "dense")
    ]
    assert_equal_to_rounding(*found)
    assert found[0][1].abs().max() > 1e-3
    without_parameter_gradients(network)(x, neighbourhood(graph, "slots")).sum().backward()
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("kernel", KERNELS)
def test_masked_slots_do_not_count(kernel: str, generator: torch.Generator) -> None:
    """Padding the lists with masked slots changes nothing, wherever they stand; their weights are zero."""
    graph = random_graph(BATCH, AGENTS, SLOTS, generator)
    padding = torch.zeros(BATCH, AGENTS, 3)
    before, after = Graph(padding.long(), padding.bool()), Graph(padding.long(), padding.bool())
    padded = Graph(*(torch.cat(parts, -1) for parts in zip(before, graph, after, strict=True)))
    value = torch.randn(BATCH, AGENTS, HEADS, SIZE, generator=generator)
    short, long = neighbourhood(graph, kernel), neighbourhood(padded, kernel)
    torch.testing.assert_close(short.attend(value, value, value), long.attend(value, value, value))
    torch.testing.assert_close(short.mean(value.flatten(2)), long.mean(value.flatten(2)))
    weights = long.attention(value, value)
    assert not weights[..., :3].any()
    assert not weights[..., -3:].any()
    torch.testing.assert_close(weights[..., 3:-3], short.attention(value, value))


def test_unknown_kernel_is_refused(generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match="expected slots, dense, gather or auto"):
        neighbourhood(random_graph(1, 3, 2, generator), "sparse")


@pytest.mark.parametrize("agents", [2, 300, 1225])
def test_compiled_loops_are_chosen_where_there_are_some(agents: int) -> None:
    assert type(neighbourhood(ring(agents, 1))) is SlotNeighbourhood


@pytest.mark.parametrize(
    ("agents", "listed", "heads", "kernel"),
    [
        (256, 8, 1, "dense"),
        (257, 9, 1, "gather"),
        (128, 4, 1, "dense"),
        (129, 4, 1, "gather"),
        (128, 4, 8, "dense"),
        (129, 8, 8, "gather"),
    ],
)
def test_elsewhere_the_size_decides(agents: int, listed: int, heads: int, kernel: str) -> None:
    assert chosen_kernel("auto", agents, listed, heads, compiled=False) == kernel
    assert chosen_kernel("auto", agents, listed, heads) == "slots"
    assert chosen_kernel("gather", agents, listed, heads) == "gather"


@pytest.mark.parametrize(
    ("kernel", "agents", "heads", "kind"),
    [
        ("auto", 16, 8, SlotNeighbourhood),
        ("auto", 17, 8, DenseNeighbourhood),
        ("auto", 40, 1, DenseNeighbourhood),
        ("auto", 40, 2, FusedNeighbourhood),
        ("dense", 16, 8, DenseNeighbourhood),
        ("dense", 40, 2, DenseNeighbourhood),
    ],
)
def test_full_graphs_attend_the_fastest_way(kernel: str, agents: int, heads: int, kind: type) -> None:
    full = neighbourhood(ring(agents, 1), kernel, which="full", heads=heads)
    assert isinstance(full, FullNeighbourhood)
    assert type(full.attending) is kind


@pytest.mark.parametrize("loops", [True, False])
@pytest.mark.parametrize(("agents", "heads"), [(5, 2), (16, 4), (20, 2), (40, 1), (40, 4)])
def test_full_graphs_equal_explicit_lists(agents: int, heads: int, loops: bool, generator: torch.Generator) -> None:
    """With every kernel, messages, weights and gradients are those of complete neighbour lists in double precision."""
    given = [torch.randn(2, agents, heads, 8, generator=generator) for _ in range(3)]
    results = []
    for dtype in (torch.float32, torch.float64):
        inputs: list[Any] = [part.to(dtype).requires_grad_() for part in given]
        if dtype == torch.float32:
            aggregate = neighbourhood(ring(agents, 2), which="full", self_loops=loops, heads=heads)
        else:
            aggregate = neighbourhood(full_graph(ring(agents, 2)), "gather", self_loops=loops)
        found = differentiate([aggregate.attend(*inputs)], inputs, seed=1)
        results.append(found + differentiate(list(aggregate.relate(*inputs)), inputs, seed=2))
    assert_equal_to_rounding(*results)
