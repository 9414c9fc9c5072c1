"""How fast aggregation over neighbours is, by kernel and shape, on a CPU and, where there is one, on a GPU.
`pytest tests/benchmarks --benchmark-enable`.

Ratios are against the dense reference timed in the same run, in turn with it; slowness does not fail.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from algorithms.common.graph import Neighbourhood, full_kernel, neighbourhood
from algorithms.protocols import Graph
from benchmark.profiling.synthetic import grid_graph, navigation_spec, random_graph, road_grid_spec

HIDDEN = 128
NODES = 6400
"""Agents in all copies together."""
REPEATS = 5
SHAPES = ((6, 4), (15, 4), (30, 8), (100, 8), (200, 8), (225, 4))
"""Agents and neighbours; 225 are a road grid that is held once."""
BATCH = 1024
"""Copies on a GPU: the paper's batch."""


def graphs(agents: int, slots: int, copies: int | None = None, device: str = "cpu") -> Graph:
    copies = copies or NODES // agents
    if agents == 225:
        return grid_graph(road_grid_spec(agents), copies, torch.device(device))
    spec = replace(navigation_spec(agents), max_neighbours=slots)
    return random_graph(spec, copies, torch.Generator(device).manual_seed(0))


def attend(aggregate: Neighbourhood, agents: int, heads: int) -> Callable[[], object]:
    """Attention with its gradients."""
    shape = (NODES // agents, agents, heads, HIDDEN // heads)
    parts = [torch.randn(shape).requires_grad_() for _ in range(3)]
    return lambda: torch.autograd.grad(aggregate.attend(*parts), parts, torch.ones(*shape[:2], HIDDEN))


def add(aggregate: Neighbourhood, agents: int) -> Callable[[], object]:
    """Sums with their gradients."""
    values = torch.randn(NODES // agents, agents, HIDDEN).requires_grad_()
    return lambda: torch.autograd.grad(aggregate.total(values), values, torch.ones_like(values))


def in_turn(*calls: Callable[[], object]) -> list[float]:
    """Median processor time of each call in ms, after a warm-up."""
    times: list[list[float]] = [[] for _ in calls]
    for repeat in range(REPEATS + 1):
        for call, taken in zip(calls, times, strict=True):
            begin = time.process_time()
            call()
            if repeat:
                taken.append(1e3 * (time.process_time() - begin))
    return [statistics.median(taken) for taken in times]


@pytest.mark.parametrize("kernel", ["dense", "slots"])
@pytest.mark.parametrize("heads", [1, 8])
@pytest.mark.parametrize(("agents", "slots"), SHAPES)
def test_attention(benchmark: Any, agents: int, slots: int, heads: int, kernel: str) -> None:
    """One row for each kernel in the group of its shape, whose ratios are in brackets."""
    benchmark.group = f"attention, {agents} agents, {slots} neighbours, {heads} heads"
    gradients = benchmark(attend(neighbourhood(graphs(agents, slots), kernel), agents, heads))
    assert all(isinstance(part, Tensor) and part.isfinite().all() for part in gradients)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kernel", ["dense", "gather", "fused"])
@pytest.mark.parametrize("heads", [1, 8])
@pytest.mark.parametrize(("agents", "slots"), SHAPES[1:])
def test_attention_on_a_gpu(benchmark: Any, agents: int, slots: int, heads: int, kernel: str) -> None:
    """The same for the paper's batch, the work on the device included."""
    if kernel == "fused" and importlib.util.find_spec("triton") is None:
        pytest.skip("needs triton")
    benchmark.group = f"attention on a GPU, {agents} agents, {slots} neighbours, {heads} heads"
    graph = graphs(agents, slots, BATCH, "cuda")
    aggregate = neighbourhood(graph, "auto" if kernel == "fused" else kernel, fused=kernel == "fused")
    shape = (BATCH, agents, heads, HIDDEN // heads)
    parts = [torch.randn(shape, device="cuda").requires_grad_() for _ in range(3)]
    ones = torch.ones(*shape[:2], HIDDEN, device="cuda")

    def run() -> tuple[Tensor, ...]:
        gradients = torch.autograd.grad(aggregate.attend(*parts), parts, ones)
        torch.cuda.synchronize()
        return gradients

    run()  # compiles
    assert all(part.isfinite().all() for part in benchmark(run))


@pytest.mark.bench
def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Print the time of the dense kernel and that of the others in units of it: what `auto` goes by."""
    rows = []
    for agents, slots in SHAPES:
        graph = graphs(agents, slots)
        listed = [neighbourhood(graph, kernel) for kernel in ("dense", "slots", "gather")]
        for heads in (1, 8):
            dense, *others = in_turn(*(attend(aggregate, agents, heads) for aggregate in listed))
            kernel = full_kernel("auto", agents, heads)
            full = [neighbourhood(graph, setting, "full", heads=heads) for setting in ("dense", "auto")]
            everybody, chosen = in_turn(*(attend(aggregate, agents, heads) for aggregate in full))
            rows.append(
                f"{agents:>6}{slots:>6}{heads:>6}{dense:>10.1f}"
                + "".join(f"{other / dense:>8.2f}" for other in others)
                + f"{everybody:>16.1f}{chosen / everybody:>8.2f} ({kernel})"
            )
        dense, *others = in_turn(*(add(aggregate, agents) for aggregate in listed))
        rows.append(f"{agents:>6}{slots:>6}{'sum':>6}{dense:>10.1f}" + "".join(f"{o / dense:>8.2f}" for o in others))
    with capsys.disabled():
        print(f"\nforward and backward over {NODES} agents, {HIDDEN} features: ms of dense matrices, others by it")
        print(
            f"{'agents':>6}{'slots':>6}{'heads':>6}{'dense':>10}{'slots':>8}{'gather':>8}{'full: dense':>16}{'auto':>8}"
        )
        print(*rows, sep="\n")
