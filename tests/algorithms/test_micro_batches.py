"""Gradients of micro-batches add up to those of the whole batch, for every algorithm."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import algorithms
from algorithms.common import learner as learner_module
from algorithms.common.micro_batches import CACHE_BYTES, SMALLEST, fitting_size, micro_batches
from algorithms.protocols import EnvironmentSpec
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


def test_size_fits_the_caches() -> None:
    """A power of two, and never too few to be worth it."""
    assert fitting_size(CACHE_BYTES / 100) == 64
    assert fitting_size(CACHE_BYTES / 128) == 128
    assert fitting_size(CACHE_BYTES) == SMALLEST == 16


def test_size_is_chosen_on_a_cpu_only() -> None:
    """A setting is kept to everywhere; small batches are not looked at."""
    large = EnvironmentSpec(200, 26, 5, 25, 8, (0,) * 200)

    def size(batch_size: int, device: str, **settings: Any) -> int:
        return algorithms.micro_batch_size("ip", large, algorithms.config_type("ip")(**settings), batch_size, device)

    assert size(1024, "cpu") == 32
    assert size(20, "cpu") == 20
    assert size(1024, "cuda") == 1024
    assert size(1024, "cpu", piece=48) == size(1024, "cuda", piece=48) == 48


def test_an_update_asks_for_its_size(generator: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is chosen is what is done, and metrics are means over the batch."""
    learner: Any = algorithms.make("iql", spec(), algorithms.config_type("iql")(hidden=8))
    monkeypatch.setattr(learner_module, "fitting_size", lambda bytes_per_transition: 16)
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
        config = algorithms.config_type(name)(hidden=16, piece=size, **DETERMINISTIC.get(name, {}))
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
    with pytest.raises(ValueError, match="piece = 0"):
        algorithms.config_type("iql")(piece=0)
