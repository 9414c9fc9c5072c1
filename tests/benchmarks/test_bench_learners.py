"""How fast the learners update and the replay draws. `pytest tests/benchmarks --benchmark-enable`.

Ratios are against a reference timed in the same run, so they mean the same on any machine; slowness does not fail.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from algorithms import ALGORITHMS
from benchmark.config import resolve
from benchmark.training import Training

BATCH = 64


def prepare(algorithm: str, agents: int, **settings: Any) -> Training:
    """A training with something in its replay."""
    overrides: dict[str, Any] = {"training.batch_size": BATCH, "training.evaluation_episodes": 1}
    overrides |= {key.replace("_", ".", 1): value for key, value in settings.items()}
    training = Training(resolve(f"mpe/cooperative_navigation_{agents}", algorithm, 0, 1000, overrides, "bench"))
    for _ in range(3):
        training.advance()
    return training


def milliseconds(call: Callable[[], object], repeats: int = 7) -> float:
    """Median time of a call after a warm-up."""
    call()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - begin))
    return sorted(times)[repeats // 2]


def update(training: Training) -> Callable[[], object]:
    """One gradient step on a fixed batch."""
    batch = training.replay.sample(BATCH, torch.Generator().manual_seed(0))
    return lambda: training.learner.update(batch, training.generators["update"])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_update(benchmark: Any, algorithm: str) -> None:
    metrics = benchmark(update(prepare(algorithm, 15)))
    assert metrics["loss/q"].isfinite()


def test_draw(benchmark: Any) -> None:
    training = prepare("iql", 30)
    batch = benchmark(lambda: training.replay.sample(1024, training.generators["replay"]))
    assert len(batch.reward) == 1024


@pytest.mark.bench
def test_tables(capsys: pytest.CaptureFixture[str]) -> None:
    """Print what a gradient step costs by algorithm, aggregation and kernel, beside one matrix product of its size."""
    rows = []
    for agents in (3, 15, 100):
        layer, x = torch.nn.Linear(128, 128), torch.randn(BATCH, agents, 128)
        linear = milliseconds(lambda layer=layer, x=x: layer(x).sum().backward())  # type: ignore[misc]
        cells = [milliseconds(update(prepare("iql", agents)))]
        for aggregation, kernel in (
            ("mean", "dense"),
            ("mean", "slots"),
            ("attention", "dense"),
            ("attention", "slots"),
        ):
            training = prepare("ip", agents, algorithm_aggregation=aggregation, algorithm_kernel=kernel)
            cells.append(milliseconds(update(training)))
        rows.append(f"{agents:>6}{linear:>10.2f}" + "".join(f"{c:>10.1f} ({c / linear:>4.0f})" for c in cells))
    with capsys.disabled():
        print(f"\nmilliseconds of a gradient step on {BATCH} transitions, one thread (in linear layers of 128 x 128)")
        names = ("IQL", "IP mean, dense", "slots", "IP attn, dense", "slots")
        print(f"{'agents':>6}{'linear':>10}" + "".join(f"{name:>17}" for name in names))
        print(*rows, sep="\n")
