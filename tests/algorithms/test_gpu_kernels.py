"""Equal seeds give equal bits on a GPU, and fused kernels learn what the reference learns; skipped where there is none.

`test_slot_triton.py` compares the kernels themselves, on a GPU too where there is one.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import algorithms
from algorithms.protocols import Batch, EnvironmentSpec
from benchmark import acceleration, train
from benchmark.acceleration import state_tensors
from benchmark.config import resolve
from benchmark.profiling.synthetic import navigation_spec, random_batch, road_grid_spec
from results.layout import run_folder
from tests.benchmark.conftest import SMALL

DEVICE = "cuda"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
FUSED = pytest.param({"fused": True}, marks=needs_triton, id="fused")
WAYS = [pytest.param({"kernel": "gather"}, id="gather"), pytest.param({"kernel": "dense"}, id="dense"), FUSED]
PROBLEMS = [
    pytest.param(navigation_spec(30), id="navigation"),
    pytest.param(road_grid_spec(25), id="roads"),
]
BATCH, UPDATES = 256, 3


def learner_of(name: str, problem: EnvironmentSpec, fused: bool = False, **settings: Any) -> Any:
    config = algorithms.config_type(name)(hidden=32, **settings)
    return algorithms.make(name, problem, config, DEVICE, seed=1, fused=fused)


def batches(problem: EnvironmentSpec, width: int) -> list[Batch]:
    generator = torch.Generator(DEVICE).manual_seed(0)
    return [random_batch(problem, BATCH, width, generator) for _ in range(UPDATES)]


def trained(learner: Any, given: list[Batch], mode: str = "none") -> list[Tensor]:
    """Metrics of some updates, and all state after them."""
    update = acceleration.accelerate(learner, mode, torch.device(DEVICE))
    generator = torch.Generator(DEVICE).manual_seed(2)
    metrics = [value for batch in given for value in update(batch, generator).values()]
    return [part.detach().clone() for part in (*metrics, *dict(state_tensors(learner.state_dict())).values())]


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["ip", "dgn"])
def test_equal_seeds_give_equal_bits(name: str, way: dict[str, Any], problem: EnvironmentSpec) -> None:
    """Some hundred copies, so that sums in the order of whichever thread comes first would differ."""
    given = batches(problem, 0)
    first, second = (trained(learner_of(name, problem, **way), given) for _ in range(2))
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("name", "settings"), [(name, {}) for name in algorithms.ALGORITHMS] + [("ip", {"inference": "belief_propagation"})]
)
def test_every_algorithm_gives_equal_bits(name: str, settings: dict[str, Any]) -> None:
    problem = navigation_spec(15)
    given = batches(problem, learner_of(name, problem, **settings).action_width)
    first, second = (trained(learner_of(name, problem, **settings), given) for _ in range(2))
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))


@needs_triton
@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", ["ip", "dgn", "mfq"])
def test_fused_updates_are_those_of_the_reference(name: str, problem: EnvironmentSpec) -> None:
    """Metrics and gradients of one update."""
    [given, *_] = batches(problem, 0)
    found = []
    for fused in (False, True):
        learner = learner_of(name, problem, fused)
        metrics = learner.update(given, torch.Generator(DEVICE).manual_seed(2))
        networks = [part for part in vars(learner).values() if isinstance(part, torch.nn.Module)]
        gradients = [p.grad for network in networks for p in network.parameters() if p.grad is not None]
        found.append([*metrics.values(), *gradients])
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4 * max(1.0, float(two.abs().max())))


@needs_triton
@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", ["ip", "dgn", "mfq"])
def test_fused_updates_wait_for_nothing_and_are_captured(name: str, problem: EnvironmentSpec) -> None:
    """No update makes the host wait; a captured one gives the same bits as the plain one."""
    given = batches(problem, 0)
    plain = trained(learner_of(name, problem, True), given)
    captured = trained(learner_of(name, problem, True), given, "cuda_graph")
    assert all(torch.equal(*pair) for pair in zip(plain, captured, strict=True))
    learner, generator = learner_of(name, problem, True), torch.Generator(DEVICE).manual_seed(2)
    learner.update(given[0], generator)
    torch.cuda.set_sync_debug_mode("error")
    try:
        learner.update(given[1], generator)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("kernels", ["reference", pytest.param("fused", marks=needs_triton)])
@pytest.mark.parametrize("task", ["mpe/cooperative_navigation_15", "cityflow/synthetic_4"])
@pytest.mark.parametrize("algorithm", ["ip", "dgn"])
def test_equal_seeds_give_equal_files(algorithm: str, task: str, kernels: str, tmp_path: Path) -> None:
    """Whole runs: their logs and the trained policy, byte for byte."""
    found = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        config = resolve(task, algorithm, 0, 600, SMALL | {"training.kernels": kernels}, "gpu", DEVICE)
        train.run(config, folder, quiet=True)
        path = run_folder(folder, config.key)
        found.append({name: (path / name).read_bytes() for name in ("metrics.jsonl", "evaluation.jsonl", "policy.pt")})
    assert found[0] == found[1]
