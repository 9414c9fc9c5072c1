"""The kernels for a GPU against dense matrices: on a GPU where there is one, else through Triton's interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

import algorithms
from algorithms.common import slots
from algorithms.common.graph import Neighbourhood, SlotNeighbourhood, neighbourhood
from algorithms.protocols import Batch, Graph
from benchmark.profiling.synthetic import navigation_spec, random_batch, road_grid_spec
from tests.algorithms.conftest import random_graph
from tests.algorithms.test_graph import assert_equal_to_rounding, differentiate
from tests.patience import PATIENCE

pytest.importorskip("triton", reason="needs triton: pip install --editable '.[dev,kernels]'")
ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def kernels_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operators run what they run on a GPU."""
    from algorithms.common import slot_triton

    if not ON_GPU:
        assert os.environ["TRITON_INTERPRET"] == "1"
        monkeypatch.setattr(slots, "FUSED", ("cuda", "cpu"))
        for name, operator in slots.OPERATORS.items():
            monkeypatch.setitem(operator._backend_fns, "cpu", getattr(slot_triton, name))


class Shape(NamedTuple):
    """A case: its sizes, whether one graph serves all copies, and whether the neighbour lists include the agent
    itself."""

    batch: int
    agents: int
    slots: int
    heads: int
    size: int
    held_once: bool = False
    loops: bool = False

    def graph(self) -> Graph:
        generator = torch.Generator().manual_seed(self.agents)
        graph = random_graph(1 if self.held_once else self.batch, self.agents, self.slots, generator)
        return Graph(*(part.expand(self.batch, -1, -1) if self.held_once else part for part in graph))

    def inputs(self, seed: int = 0) -> list[Tensor]:
        """Queries, keys and values."""
        generator = torch.Generator().manual_seed(seed)
        return [torch.randn(self.batch, self.agents, self.heads, self.size, generator=generator) for _ in range(3)]


def on_device(graph: Graph) -> Graph:
    """The graph where the kernels run; what is held once stays so."""
    if graph.mask.stride(0) == 0:
        return Graph(*(part[:1].to(DEVICE).expand(part.shape) for part in graph))
    return Graph(*(part.to(DEVICE) for part in graph))


def results(aggregate: Neighbourhood, given: list[Tensor], heads: int) -> list[Tensor]:
    """All that the operators give, and all gradients."""
    inputs = [part.requires_grad_() for part in given]
    projected = torch.cat([part.detach().flatten(2) for part in given], -1).requires_grad_()
    values = inputs[2].flatten(2)
    outputs: list[tuple[list[Tensor], list[Tensor]]] = [
        ([aggregate.attend(*inputs)], inputs),
        ([aggregate.attention(*inputs[:2])], inputs[:2]),
        (list(aggregate.relate_within(projected, heads, True)), [projected]),
        ([aggregate.total(values)], inputs[2:]),
        ([aggregate.mean(values)], inputs[2:]),
    ]
    return [part for seed, (found, by) in enumerate(outputs) for part in weighted(found, by, seed)]


def weighted(outputs: list[Tensor], inputs: list[Tensor], seed: int) -> list[Tensor]:
    """`differentiate` on any device; results on the CPU."""
    found = differentiate([part.cpu() for part in outputs], inputs, seed)
    return [part.detach().cpu() for part in found]


SHAPES = [
    Shape(2, 5, 4, 2, 6),
    Shape(3, 4, 3, 8, 2, held_once=True),
    Shape(2, 6, 5, 3, 5, loops=True),
    Shape(2, 5, 4, 8, 20, held_once=True, loops=True),
    Shape(2, 4, 1, 1, 8),
    Shape(1, 9, 6, 1, 33),
    Shape(1, 3, 2, 1, 130),
    Shape(2, 1, 0, 2, 4),
    Shape(2, 1, 0, 1, 16, loops=True),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_kernels_equal_the_dense_reference(shape: Shape) -> None:
    """Messages, weights, sums and all gradients in single precision, against matrices in double precision."""
    graph = shape.graph()
    fused = neighbourhood(on_device(graph), self_loops=shape.loops, fused=True)
    assert isinstance(fused, SlotNeighbourhood)
    assert fused.readers is not None
    found = results(fused, [part.to(DEVICE) for part in shape.inputs()], shape.heads)
    dense = neighbourhood(graph, "gather", self_loops=shape.loops)
    expected = results(dense, [part.double() for part in shape.inputs()], shape.heads)
    assert_equal_to_rounding(found, expected)


def star(agents: int) -> Graph:
    """All agents but two, which have no neighbours, read agent 0 and their predecessor: the first has most of the
    readers, the last none."""
    agent = torch.arange(agents)
    neighbours = torch.stack([torch.zeros_like(agent), (agent - 1) % agents], -1)[None]
    mask = torch.ones(1, agents, 2, dtype=torch.bool)
    mask[:, :2] = False
    return Graph(neighbours, mask)


def test_agents_that_everybody_hears() -> None:
    """More readers than are added up at once; agents without any; agents without neighbours."""
    graph, shape = star(12), Shape(1, 12, 2, 2, 4)
    fused = neighbourhood(on_device(graph), fused=True)
    found = results(fused, [part.to(DEVICE) for part in shape.inputs()], 2)
    expected = results(neighbourhood(graph, "gather"), [part.double() for part in shape.inputs()], 2)
    assert_equal_to_rounding(found, expected)
    by_key, by_value = found[2:4]
    assert not by_key[:, -1].any(), "nobody hears the last agent"
    assert not by_value[:, -1].any()
    assert by_value[:, 0].all()


@pytest.mark.parametrize("shape", SHAPES[:2], ids=str)
def test_equal_inputs_give_equal_bits(shape: Shape) -> None:
    """In another run, with the reverse lists made at every call, and with a graph for each copy in place of one."""
    graph, given = shape.graph(), [part.to(DEVICE) for part in shape.inputs()]
    fused = neighbourhood(on_device(graph), fused=True)
    first = results(fused, given, shape.heads)
    again = results(neighbourhood(on_device(graph), fused=True), given, shape.heads)
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    assert isinstance(fused, SlotNeighbourhood)
    fused.readers = None
    unprepared = results(fused, given, shape.heads)
    assert all(torch.equal(*pair) for pair in zip(first, unprepared, strict=True))
    copied = Graph(*(part.clone(memory_format=torch.contiguous_format) for part in graph))
    each = results(neighbourhood(on_device(copied), fused=True), given, shape.heads)
    assert all(torch.equal(*pair) for pair in zip(first, each, strict=True))


def test_copies_do_not_touch_each_other() -> None:
    """Each copy of a batch has the bits that it has alone."""
    shape = SHAPES[0]
    graph, given = on_device(shape.graph()), [part.to(DEVICE) for part in shape.inputs()]
    together = neighbourhood(graph, fused=True).attend(*given)
    for copy in range(shape.batch):
        alone = neighbourhood(Graph(*(part[copy : copy + 1] for part in graph)), fused=True)
        assert torch.equal(alone.attend(*(part[copy : copy + 1] for part in given))[0], together[copy])


def test_layout_in_memory_does_not_matter() -> None:
    """Rows with gaps, copies out of order and broadcast values give what tensors without gaps give."""
    shape = SHAPES[0]
    batch, agents, _, heads, size, *_ = shape
    aggregate = neighbourhood(on_device(shape.graph()), fused=True)
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(batch, agents, 5, heads, size, generator=generator).to(DEVICE)
    turned = torch.randn(agents, size, heads, batch, generator=generator).to(DEVICE).permute(3, 0, 2, 1)
    repeated = torch.randn(1, agents, 1, size, generator=generator).to(DEVICE).expand(batch, -1, heads, -1)
    parts = [wide[:, :, 1], turned, repeated]
    plain = [part.clone(memory_format=torch.contiguous_format) for part in parts]
    pairs = zip(results(aggregate, parts, heads), results(aggregate, plain, heads), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_slopes_are_those_of_the_values() -> None:
    """Gradients against differences of the outputs, which know nothing of how gradients are computed."""
    shape = Shape(1, 5, 3, 2, 4, loops=True)
    aggregate = neighbourhood(on_device(shape.graph()), self_loops=True, fused=True)
    inputs = [part.to(DEVICE).requires_grad_() for part in shape.inputs(1)]
    directions = [part.to(DEVICE) for part in shape.inputs(2)]

    def output(step: float) -> Tensor:
        message, weights = aggregate.relate(*(p + step * d for p, d in zip(inputs, directions, strict=True)))
        return message.square().sum() + 3.0 * weights.square().sum()

    gradients = torch.autograd.grad(output(0.0), inputs)
    slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    step = 1e-2
    with torch.no_grad():
        measured = (output(step) - output(-step)) / (2 * step)
    assert float(slope) == pytest.approx(float(measured), rel=5e-3)


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")
def test_numbers_that_are_no_agents_give_no_numbers() -> None:
    """A check would wait for the device: the agent with a bad list receives NaN, the others what they should."""
    graph = Graph(torch.tensor([[[1], [2], [0]]]), torch.ones(1, 3, 1, dtype=torch.bool))
    value = torch.arange(6.0).view(1, 3, 1, 2).to(DEVICE)
    good = neighbourhood(on_device(graph), fused=True)
    graph.neighbours[0, 1, 0] = 3
    bad = neighbourhood(on_device(graph), fused=True)
    for what, inputs in (("attend", (value,) * 3), ("mean", (value[:, :, 0],)), ("total", (value[:, :, 0],))):
        expected = getattr(good, what)(*inputs).cpu()
        found = getattr(bad, what)(*inputs).cpu()
        assert found[0, 1].isnan().all()
        assert torch.equal(found[0, [0, 2]], expected[0, [0, 2]])


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")
def test_what_is_no_number_is_not_hidden() -> None:
    """NaN reaches only the agents that have it as a neighbour."""
    graph = on_device(star(4))
    value = torch.ones(1, 4, 1, 8, device=DEVICE)
    value[0, 2] = float("nan")
    aggregate = neighbourhood(graph, fused=True)
    for activated in (True, False):
        message, _ = aggregate.relate_within(value.flatten(2).repeat(1, 1, 3), 1, activated)
        assert message.isnan().any(-1).tolist() == [[False, False, True, True]]


ROADS, NAVIGATION = road_grid_spec(4), navigation_spec(5)


def moved(batch: Batch) -> Batch:
    """The batch where the kernels run."""
    graphs = {name: on_device(getattr(batch, name)) for name in ("graph", "next_graph")}
    others = {n: part.to(DEVICE) for n, part in batch._asdict().items() if isinstance(part, Tensor)}
    return Batch(**graphs, **others)


@pytest.mark.parametrize("problem", [ROADS, NAVIGATION], ids=["roads", "navigation"])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ip", {}),
        ("ip", {"aggregation": "mean", "heads": 1}),
        ("ip", {"aggregation": "sum"}),
        ("dgn", {"heads": 2}),
        ("mfq", {}),
    ],
)
def test_learning_is_that_of_the_reference(name: str, settings: dict[str, Any], problem: Any) -> None:
    """Metrics and gradients of an update, with matrices and with the kernels."""
    found = []
    for kernel, fused in (("dense", False), ("auto", True)):
        changes = {"kernel": kernel} if name != "mfq" else {}
        config = algorithms.config_type(name)(hidden=8, learning_rate=0.003, **settings, **changes)
        learner: Any = algorithms.make(name, problem, config, str(DEVICE), seed=1, fused=fused)
        batch = moved(random_batch(problem, 2, learner.action_width, torch.Generator().manual_seed(0)))
        metrics = learner.update(batch, torch.Generator(DEVICE).manual_seed(2))
        networks = [part for part in vars(learner).values() if isinstance(part, torch.nn.Module)]
        gradients = [p.grad for network in networks for p in network.parameters() if p.grad is not None]
        found.append([part.detach().double().cpu() for part in (*metrics.values(), *gradients)])
    assert_equal_to_rounding(*found)
    assert max(float(part.abs().max()) for part in found[0]) > 1e-3


COMPILED = ("15,2,8,16", "225,1,1,128", "1,1,1,8")
"""Agents, graphs, heads and size of a head."""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[list[str]]]:
    """Of each of these sizes: the launches, compiled to the code of an H100, in a process where nothing is
    interpreted."""
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path_factory.mktemp("triton"))
    command = [sys.executable, "-m", "tests.algorithms.compile_for_gpu", *COMPILED]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split() for line in done.stdout.splitlines()]
    return {sizes: [words for case, *words in lines if case == sizes] for sizes in COMPILED}


@pytest.mark.parametrize("sizes", COMPILED)
def test_kernels_compile_for_a_gpu_without_atomic_additions(sizes: str, compiled: dict[str, list[list[str]]]) -> None:
    """Every launch needs none."""
    *kernels, control = compiled[sizes]
    assert {name for name, _ in kernels} == {
        "_attend",
        "_attend_backward_receivers",
        "_attend_backward_senders",
        "_add",
        "_add_backward",
    }
    assert all(atomic == "0" for _, atomic in kernels)
    assert control[0] == "counted"
    assert int(control[1]) > 0
