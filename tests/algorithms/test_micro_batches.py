"""Gradients of micro-batches add up to those of the whole batch, for every algorithm."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

import algorithms
from algorithms.common import learner as learner_module
from algorithms.common.config import renamed
from algorithms.common.micro_batches import CACHE_BYTES, GPU_BYTES, SMALLEST, fitting_size, micro_batches
from algorithms.protocols import EnvironmentSpec
from benchmark import memory
from benchmark.config import resolve
from benchmark.profiling.synthetic import road_grid_spec
from tests.algorithms.conftest import random_batch, spec


def test_micro_batches_hold_every_transition_once(generator: torch.Generator) -> None:
    batch = random_batch(10, spec(), generator)
    parts, shares = zip(*micro_batches(batch, 4), strict=True)
    assert [len(part.reward) for part in parts] == [4, 4, 2]
    assert shares == (0.4, 0.4, 0.2)
    for name in ("observation", "action", "reward", "next_observation", "terminated"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(batch, name))
    for name in ("graph", "next_graph"):
        for field in ("neighbours", "mask"):
            joined = torch.cat([getattr(getattr(part, name), field) for part in parts])
            assert torch.equal(joined, getattr(getattr(batch, name), field))
    for size in (None, 10, 64):
        ((whole, share),) = micro_batches(batch, size)
        assert whole is batch
        assert share == 1.0


@pytest.mark.parametrize("bound", [CACHE_BYTES, GPU_BYTES])
def test_size_fits_the_bound(bound: int) -> None:
    """A power of two, and never too few to be worth it."""
    assert fitting_size(bound / 100, bound) == 64
    assert fitting_size(bound / 128, bound) == 128
    assert fitting_size(bound, bound) == SMALLEST == 16


def test_size_is_chosen_by_the_kind_of_device() -> None:
    """A setting is kept to everywhere; small batches are not looked at; on a GPU few tasks are too large for one."""
    large, city = EnvironmentSpec(200, 26, 5, 25, 8, (0,) * 200), road_grid_spec(1225)

    def size(batch_size: int, device: str, spec: EnvironmentSpec = large, **settings: Any) -> int:
        return algorithms.micro_batch_size("ip", spec, algorithms.config_type("ip")(**settings), batch_size, device)

    assert size(1024, "cpu") == 32
    assert size(20, "cpu") == 20
    assert size(1024, "cuda") == 1024
    assert size(1024, "cuda", city) == size(1024, "cuda:1", city) == 512
    assert size(1024, "cpu", micro_batch=48) == size(1024, "cuda", micro_batch=48) == 48


@pytest.mark.parametrize("name", ["ip", "dgn"])
def test_largest_city_fits_a_gpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the paper's batch and length, with 78 GiB free; as a whole the update of neighbours alone would take most."""
    monkeypatch.setattr(memory, "available_bytes", lambda device: 78 * memory.GIB)
    task, steps = "cityflow/synthetic_1225", 350_000
    needed = memory.require(resolve(task, name, 0, steps, device="cuda"))
    assert needed.total < 40 * memory.GIB
    whole = memory.estimate(resolve(task, name, 0, steps, {"algorithm.micro_batch": 1024}, device="cuda"))
    assert whole.update > 1.9 * needed.update


def test_earlier_records_are_read() -> None:
    """The setting was called `piece` once, of every algorithm."""
    assert renamed({"piece": 5, "hidden": 8}) == {"micro_batch": 5, "hidden": 8}
    for name in algorithms.ALGORITHMS:
        kind = algorithms.config_type(name)
        record = dataclasses.asdict(kind())
        del record["micro_batch"]
        assert kind.from_record(record | {"piece": 48}) == kind(micro_batch=48)
        assert kind.from_record(record | {"piece": None}) == kind.from_record(record) == kind()


def test_an_update_asks_for_its_size(generator: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is chosen is what is done, and metrics are means over the batch."""
    learner: Any = algorithms.make("iql", spec(), algorithms.config_type("iql")(hidden=8))
    monkeypatch.setattr(learner_module, "fitting_size", lambda bytes_per_transition, bound: 16)
    given, original = [], learner.loss
    learner.loss = lambda batch: given.append(batch) or original(batch)
    batch = random_batch(40, spec(), generator)
    expected = original(batch)[1]
    metrics = learner.update(batch, generator)
    assert [len(part.reward) for part in given] == [16, 16, 8]
    for name, value in expected.items():
        torch.testing.assert_close(metrics[name], value.detach())


DETERMINISTIC = {"ip": {"graph": "task", "critic_messages": False}}
"""Settings in which an update does not depend on what is drawn: micro-batches draw in another order."""


@pytest.mark.parametrize("name", algorithms.ALGORITHMS)
def test_an_update_in_micro_batches_is_the_update_of_the_whole(name: str) -> None:
    """Two updates in micro-batches of 5, 5, 5 and 1 against two of 16: weights, targets and metrics are equal."""
    problem = EnvironmentSpec(4, 3, 3, 5, 2, (0, 1, 0, 1), relaxed_actions=True)
    results = []
    for size in (None, 5):
        generator = torch.Generator().manual_seed(1)
        config = algorithms.config_type(name)(hidden=16, micro_batch=size, **DETERMINISTIC.get(name, {}))
        learner = algorithms.make(name, problem, config, seed=2)
        draws = torch.Generator().manual_seed(3)
        for _ in range(2):
            batch = random_batch(16, problem, generator)
            if learner.action_width:
                batch = batch._replace(action=torch.softmax(torch.randn(16, 4, 3, generator=generator), -1))
            metrics = learner.update(batch, draws)
        weights = {
            f"{part}.{key}": value
            for part, state in learner.state_dict().items()
            if "optimiser" not in part
            for key, value in state.items()
        }
        results.append((metrics, weights))
    (whole, weights), (added, other_weights) = results
    assert whole.keys() == added.keys()
    for key in whole:
        torch.testing.assert_close(added[key], whole[key], atol=1e-4, rtol=1e-4, msg=key)
    for key in weights:
        torch.testing.assert_close(other_weights[key], weights[key], atol=1e-4, rtol=1e-3, msg=key)


def test_bad_size_is_refused() -> None:
    with pytest.raises(ValueError, match="micro_batch = 0"):
        algorithms.config_type("iql")(micro_batch=0)
