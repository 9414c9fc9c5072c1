"""Counts of FLOPs, bytes and kernels are those that one finds by hand."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import envs
from algorithms.common import slots
from algorithms.protocols import EnvironmentSpec
from benchmark.profiling.counting import (
    META,
    PARAMETER_PASSES,
    Counter,
    choice_of_actions,
    counted,
    environment_step,
    gradient_step,
)
from benchmark.profiling.synthetic import problem
from results.paper import COMPARED_ALGORITHMS


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(*shape, dtype=dtype, device=META)


def test_a_product_of_matrices() -> None:
    one, two = empty(3, 5), empty(5, 7)
    count = counted(lambda: one @ two)
    assert count.operations == [(2 * 3 * 5 * 7, 4 * (15 + 35 + 21), 1)]


def test_views_launch_nothing_and_expanded_rows_are_read_once() -> None:
    once, many = empty(1, 5), empty(100, 5)
    count = counted(lambda: many + once.expand(100, 5).view(100, 5))
    assert count.views == 2
    assert count.operations == [(0, 4 * (500 + 5 + 500), 1)]


def test_gathered_rows_are_those_that_are_taken() -> None:
    table, rows = empty(1000, 8), empty(3, dtype=torch.int64)
    assert counted(lambda: table.index_select(0, rows)).bytes == 2 * 3 * 8 * 4 + 3 * 8


def test_norms_of_parameters_are_launched_together() -> None:
    tensors = [empty(4) for _ in range(6)]
    count = counted(lambda: [torch.linalg.vector_norm(tensor) for tensor in tensors])
    assert (count.kernels, count.bytes) == (1, 6 * (16 + 4))


def test_a_read_goes_on() -> None:
    """With a one in the place of what is not there."""
    with Counter():
        assert empty(1).item() == 1.0
        assert empty(2, dtype=torch.int64).cpu().tolist() == [1, 1]
        assert torch.rand(3, generator=torch.Generator()).device == META


def spec_of(agents: int) -> EnvironmentSpec:
    return dataclasses.replace(problem(agents), observation_dim=26)


def test_a_gradient_step_of_independent_learners_by_hand() -> None:
    """Two hidden layers of 128. The loss takes the network at s with gradients (a backward pass is two forward ones but
    for the gradient by what was observed), and at s' without: the present network, which chooses, and the target."""
    rows, layers = 64 * 5, (26 * 128, 128 * 128, 128 * 5)
    forward = 2 * rows * sum(layers)
    backward = 2 * forward - 2 * rows * layers[0]
    count = gradient_step("iql", spec_of(5), 64, False)
    assert count.flops == forward + backward + 2 * forward
    parameters = 4 * (sum(layers) + 128 + 128 + 5)
    assert count.operations[-1] == (0, PARAMETER_PASSES * parameters, 1)


@pytest.mark.parametrize("algorithm", COMPARED_ALGORITHMS)
def test_work_grows_with_the_batch(algorithm: str) -> None:
    """Products twice as much, kernels as many."""
    small, large = (gradient_step(algorithm, problem(6), size, False) for size in (64, 128))
    assert large.flops == 2 * small.flops
    assert small.bytes < large.bytes < 2 * small.bytes
    assert large.kernels == small.kernels


def test_fused_attention_is_counted_by_its_edges() -> None:
    """Two copies of five agents with three neighbours: 30 edges of 8 features in two heads."""
    query, key, value = (empty(2, 5, 2, 4).requires_grad_() for _ in range(3))
    lists = empty(2, 5, 3, dtype=torch.int32)
    with Counter() as forward:
        message, _ = slots.attend(query, key, value, lists)
    nodes, weights = 2 * 5 * 8 * 4, 2 * 5 * 3 * 2 * 4
    told, read = 2 * 5 * 3 * 4, 3 * nodes
    assert forward.count.operations == [(4 * 30 * 8, read + told + nodes + weights, 1)]
    gradient = empty(2, 5, 8)
    with Counter() as backward:
        message.backward(gradient)
    flops, moved, kernels = next(operation for operation in backward.count.operations if operation[0])
    assert (flops, kernels) == (10 * 30 * 8, 2)
    assert moved == read + told + weights + nodes + 3 * nodes


@pytest.mark.parametrize("algorithm", ["ip", "dgn"])
def test_fused_attention_moves_less(algorithm: str) -> None:
    for task in ("mpe/cooperative_navigation_15", "mpe/cooperative_navigation_200", "cityflow/synthetic_225"):
        spec = envs.spec(task)
        plain, fused = (gradient_step(algorithm, spec, 64, fuse) for fuse in (False, True))
        assert fused.bytes < plain.bytes
        assert fused.kernels < plain.kernels
        assert choice_of_actions(algorithm, spec, 4, True).bytes < choice_of_actions(algorithm, spec, 4, False).bytes


@pytest.mark.parametrize("algorithm", COMPARED_ALGORITHMS)
def test_choices_of_actions_are_counted(algorithm: str) -> None:
    few, many = (choice_of_actions(algorithm, problem(15), copies, False) for copies in (4, 100))
    assert many.flops == 25 * few.flops > 0
    assert few.kernels == many.kernels


@pytest.mark.parametrize("task", ["mpe/cooperative_navigation_15", "mpe/prey_and_predator_15", "magent/jungle_20"])
def test_environment_steps_are_counted(task: str) -> None:
    """More copies move more with as many kernels."""
    few, many = (environment_step(task, copies) for copies in (4, 100))
    assert few.kernels == many.kernels > 20
    assert 5 * few.bytes < many.bytes < 25 * few.bytes
