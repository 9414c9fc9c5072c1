"""The estimated memory of an update is what an update on the CPU uses."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import algorithms
from algorithms.common.memory import LiveBytes, blank_batch, update_memory
from algorithms.protocols import EnvironmentSpec
from benchmark import memory
from benchmark.profiling.synthetic import navigation_spec, random_batch, road_grid_spec

ROOT = Path(__file__).resolve().parents[2]


def test_live_bytes_are_counted_while_they_live() -> None:
    """Views and operations in place take nothing, what is freed does not count, what was there before neither."""
    given = torch.zeros(1000)
    with LiveBytes() as live:
        first = given + 1.0
        assert live.now == live.peak == 4000
        view = first.view(10, 100)[2:]
        view.mul_(2.0)
        assert live.now == 4000
        second = torch.zeros(50, dtype=torch.float64)
        assert live.now == live.peak == 4400
        del first
        assert live.now == 4400, "the view holds it"
        del view
        assert live.now == 400
        third = second.sort()
        assert live.now == 400 + 2 * 400
        del third
        assert live.peak == 4400


def test_gradients_are_counted() -> None:
    """Of 300 weights and of the activation that the loss saves; they live on after the call."""
    weight = torch.zeros(300, requires_grad=True)
    with LiveBytes() as live:
        (weight.exp().sum()).backward()
    assert live.now == 1200
    assert 2400 <= live.peak <= 2400 + 1200 + 8


PROBLEMS = {
    "game": (EnvironmentSpec(2, 3, 2, 2, 1, (0, 0)), 1024),
    "navigation": (navigation_spec(15), 128),
    "kinds and masks": (
        dataclasses.replace(
            navigation_spec(30), agent_kinds=(0, 1) * 15, action_mask=((True,) * 4 + (False,), (True,) * 5) * 15
        ),
        64,
    ),
    "signals": (road_grid_spec(49), 16),
    "hundreds": (road_grid_spec(225), 8),
    "hundreds that move": (navigation_spec(200), 8),
}


def taken(name: str, spec: EnvironmentSpec, config: Any, size: int) -> int:
    """The most bytes of tensors in use at once during two updates on the CPU, excluding networks and batch."""
    learner = algorithms.make(name, spec, config)
    generator = torch.Generator().manual_seed(0)
    batch = random_batch(spec, size, learner.action_width, generator)
    with LiveBytes() as live:
        for _ in range(2):
            learner.update(batch, generator)
    return live.peak


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", algorithms.ALGORITHMS)
def test_what_is_told_is_what_is_taken(name: str, problem: str) -> None:
    """Within a quarter, whole and in four micro-batches, which take less."""
    spec, size = PROBLEMS[problem]
    config = algorithms.config_type(name)(micro_batch=size)
    whole = algorithms.update_bytes(name, spec, config, size)
    assert whole == pytest.approx(taken(name, spec, config, size), rel=0.25)
    config = dataclasses.replace(config, micro_batch=size // 4)
    parts = algorithms.update_bytes(name, spec, config, size // 4)
    assert parts == pytest.approx(taken(name, spec, config, size), rel=0.25)
    assert parts < whole


SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("ip", {"inference": "belief_propagation"}),
    ("ip", {"graph": "full", "heads": 2}),
    ("ip", {"kernel": "gather", "twin": False, "tune_alpha": True}),
    ("maddpg", {"relaxed_actions": False}),
    ("dgn", {"kernel": "gather", "relation_weight": 0.0}),
]


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_settings_are_heeded(name: str, settings: dict[str, Any]) -> None:
    spec, size = navigation_spec(30), 64
    config = algorithms.config_type(name)(micro_batch=size, **settings)
    told = algorithms.update_bytes(name, spec, config, size)
    assert told == pytest.approx(taken(name, spec, config, size), rel=0.25)


@pytest.mark.parametrize("name", [pytest.param("ip", marks=pytest.mark.slow), "iql"])
def test_a_process_grows_by_it(name: str) -> None:
    """Its resident memory, on a heap from which everything that is freed goes back to the system at once."""
    agents, batch = 15, 1024
    command = [sys.executable, "-m", "benchmark.profiling.measure", "--algorithm", name, "--agents", str(agents)]
    done = subprocess.run(
        [*command, "--batch", str(batch)],
        cwd=ROOT,
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    grown = int(done.stdout.split('"bytes": ')[1].split(",")[0])
    told = memory.update_bytes(name, navigation_spec(agents), algorithms.config_type(name)(), batch, "cpu")
    assert told == pytest.approx(grown, rel=0.25)


def test_a_blank_batch_has_the_shapes_of_a_real_one(generator: torch.Generator) -> None:
    for spec in (navigation_spec(5), road_grid_spec(9)):
        for width in (0, spec.num_actions):
            blank, real = blank_batch(spec, 6, width), random_batch(spec, 6, width, generator)
            pairs = [*zip(blank.graph, real.graph, strict=True), *zip(blank.next_graph, real.next_graph, strict=True)]
            pairs += [pair for pair in zip(blank, real, strict=True) if isinstance(pair[0], torch.Tensor)]
            assert len(pairs) == 9
            for one, two in pairs:
                assert (one.shape, one.dtype, one.stride()) == (two.shape, two.dtype, two.stride())


def test_it_is_found_once_and_without_a_trace() -> None:
    """Whatever the size of micro-batches, which it does not depend on; no global random number is drawn."""
    kind, spec = algorithms.learner_type("maddpgs"), navigation_spec(7)
    before = torch.random.get_rng_state()
    told = update_memory(kind, spec, algorithms.config_type("maddpgs")(micro_batch=3))
    assert torch.equal(before, torch.random.get_rng_state())
    assert update_memory(kind, spec, algorithms.config_type("maddpgs")()) is told


def test_a_plan_for_a_gpu_needs_none() -> None:
    """There the whole batch is taken at once, without the compiled loops of a CPU."""
    settings = algorithms.config_type("ip")()
    sizes = [memory.update_bytes("ip", navigation_spec(100), settings, 1024, device) for device in ("cpu", "cuda")]
    assert sizes[1] > 5 * sizes[0]
    assert sizes[1] > 1024 * 100 * 4 * 128 * 10, "at least ten hidden layers of every agent"
