"""Short runs for the runner's tests."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmark.config import RunConfig, resolve

SMALL: dict[str, Any] = {
    "training.batch_size": 16,
    "training.learning_starts": 16,
    "training.evaluation_interval": 300,
    "training.evaluation_episodes": 3,
    "training.log_interval": 200,
    "training.checkpoint_seconds": 0.0,
    "algorithm.hidden": 16,
}


def small_config(algorithm: str = "iql", seed: int = 0, steps: int = 900, **overrides: Any) -> RunConfig:
    """A run of about a second; keyword `training_batch_size=8` sets `training.batch_size`."""
    more = {key.replace("_", ".", 1): value for key, value in overrides.items()}
    return resolve("mpe/cooperative_navigation_3", algorithm, seed, steps, SMALL | more, "test")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
