"""Gradients piece by piece add up to those of the whole batch, for every algorithm."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import algorithms
from algorithms.common.pieces import CACHE_BYTES, SMALLEST, in_pieces, piece_size, split
from algorithms.protocols import EnvironmentSpec
from tests.algorithms.conftest import random_batch, spec

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_pieces_hold_every_transition_once(generator: torch.Generator) -> None:
    batch = random_batch(10, spec(), generator)
    pieces = list(split(batch, 4))
    assert [len(piece.reward) for piece in pieces] == [4, 4, 2]
    for name in ("observation", "action", "reward", "next_observation", "terminated"):
        assert torch.equal(torch.cat([getattr(piece, name) for piece in pieces]), getattr(batch, name))
    for name in ("graph", "next_graph"):
        for part in ("neighbours", "mask"):
            joined = torch.cat([getattr(getattr(piece, name), part) for piece in pieces])
            assert torch.equal(joined, getattr(getattr(batch, name), part))


def test_metrics_are_weighted_by_share(generator: torch.Generator) -> None:
    batch = random_batch(10, spec(), generator)
    shares: list[float] = []

    def backward(piece: Any, share: float) -> dict[str, torch.Tensor]:
        shares.append(share)
        return {"reward": piece.reward.mean()}

    torch.testing.assert_close(in_pieces(batch, 4, backward)["reward"], batch.reward.mean())
    assert shares == [0.4, 0.4, 0.2]
    for size in (None, 10, 64):
        shares.clear()
        assert torch.equal(in_pieces(batch, size, backward)["reward"], batch.reward.mean())
        assert shares == [1.0], "the whole batch at once"


def test_size_follows_the_memory_of_a_transition_on_a_cpu_only() -> None:
    assert piece_size(None, CACHE_BYTES // 4 // 100, CPU) == 64
    assert piece_size(None, CACHE_BYTES, CPU) == SMALLEST == 16
    assert piece_size(None, 10**6, GPU) is None
    assert piece_size(48, 10**6, CPU) == piece_size(48, 10**6, GPU) == 48
    large = EnvironmentSpec(200, 26, 5, 25, 8, (0,) * 200)
    assert algorithms.make("ip", large, algorithms.config_type("ip")()).piece_size == 32  # type: ignore[attr-defined]


DETERMINISTIC = {"ip": {"graph": "task", "critic_messages": False}}
"""Settings in which an update does not depend on what is drawn: whole and pieces draw in different orders."""


@pytest.mark.parametrize("name", algorithms.ALGORITHMS)
def test_an_update_in_pieces_is_the_update_of_the_whole(name: str) -> None:
    """Two updates in pieces of 5, 5, 5 and 1 against two of 16: weights, targets and metrics are equal."""
    problem = EnvironmentSpec(4, 3, 3, 5, 2, (0, 1, 0, 1), relaxed_actions=True)
    results = []
    for piece in (None, 5):
        generator = torch.Generator().manual_seed(1)
        config = algorithms.config_type(name)(hidden=16, piece=piece, **DETERMINISTIC.get(name, {}))
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
    (whole, weights), (pieces, other_weights) = results
    assert whole.keys() == pieces.keys()
    for key in whole:
        torch.testing.assert_close(pieces[key], whole[key], atol=1e-4, rtol=1e-4, msg=key)
    for key in weights:
        torch.testing.assert_close(other_weights[key], weights[key], atol=1e-4, rtol=1e-3, msg=key)


def test_bad_size_is_refused() -> None:
    with pytest.raises(ValueError, match="piece = 0"):
        algorithms.config_type("iql")(piece=0)
