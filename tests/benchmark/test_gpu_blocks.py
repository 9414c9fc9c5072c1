"""CapturedFunction blocks and several runs in one process on a CUDA device; skipped where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from algorithms import ALGORITHMS
from benchmark import acceleration, train
from benchmark.blocks import CapturedFunction
from benchmark.config import RunConfig, resolve
from benchmark.runs import Stop, blocks_of
from benchmark.together import run_together
from benchmark.training import Training
from results.folder import is_finished
from results.layout import run_folder
from tests.benchmark.conftest import SMALL

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
NAVIGATION, JUNGLE = "mpe/cooperative_navigation_3", "magent/jungle_6"
TASKS = (NAVIGATION, "mpe/prey_and_predator_3", JUNGLE, "cityflow/synthetic_4")


def config_of(algorithm: str, task: str = NAVIGATION, seed: int = 0, **overrides: Any) -> RunConfig:
    """In 100 copies, with a learning rate that falls fast, recorded."""
    settings = SMALL | {
        "training.num_envs": 100 if not task.startswith("cityflow/") else 4,
        "training.acceleration": "cuda_blocks",
        "training.gradient_steps": 2,
        "algorithm.learning_rate": 0.01,
        "algorithm.learning_rate_end": 0.0,
    }
    return resolve(task, algorithm, seed, 900, settings | overrides, "gpu", "cuda")


def recorded(training: Training) -> list[bool]:
    """Whether gradient steps and, where they can be, environment steps have been captured by now."""
    steps = [training._learn, getattr(training, "_rollout", None)]
    return [step.run_graph is not None for step in steps if isinstance(step, CapturedFunction)]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_recorded_blocks_are_the_blocks_as_written(algorithm: str, task: str) -> None:
    """Six blocks, of which the first are the warm-up; a gradient step lost, doubled, or made with other draws, an old
    batch, an old learning rate or an old epsilon would show."""
    trainings = []
    for mode in ("none", "cuda_blocks"):
        training = Training(config_of(algorithm, task, **{"training.acceleration": mode}))
        for _ in range(6):
            training.advance()
        trainings.append(training)
    plain, captured = trainings
    assert recorded(captured) == ([True] if task.startswith("cityflow/") else [True, True])
    assert recorded(plain) == []
    states = [dict(acceleration.state_tensors(training.learner.state_dict())) for training in trainings]
    for path, tensor in states[0].items():
        torch.testing.assert_close(states[1][path], tensor, atol=1e-4, rtol=1e-3, msg=lambda m, p=path: f"{p}: {m}")
    for name, generator in plain.generators.items():
        assert torch.equal(generator.get_state(), captured.generators[name].get_state()), f"as many draws for {name}"
    assert captured.take_metrics() == pytest.approx(plain.take_metrics(), rel=1e-2, abs=1e-4)


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """What would wait for the device raises an error; switched on by the test."""
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("task", [NAVIGATION, JUNGLE])
@pytest.mark.parametrize("mode", ["none", "cuda_blocks"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_blocks_within_an_episode_do_not_wait_for_the_device(algorithm: str, mode: str, task: str) -> None:
    training = Training(config_of(algorithm, task, **{"training.acceleration": mode}))
    for _ in range(5):
        training.advance()
    torch.cuda.set_sync_debug_mode("error")
    for _ in range(5):
        training.advance()
    torch.cuda.set_sync_debug_mode("default")
    assert training.environment_step == 1_000
    assert all(recorded(training))


@pytest.mark.parametrize("algorithm", ["iql", "maddpg"])
def test_runs_together_write_what_they_write_alone(algorithm: str, tmp_path: Path) -> None:
    """Jungle has no sums of floats in an order that is not fixed; each run has a stream and graphs of its own."""
    configs = [config_of(algorithm, JUNGLE, seed) for seed in range(3)]
    assert run_together(configs, tmp_path / "together", quiet=True) == [
        run_folder(tmp_path / "together", config.key) for config in configs
    ]
    for config in configs:
        alone = train.run(config, tmp_path / "alone", quiet=True)
        for name in ("metrics.jsonl", "evaluation.jsonl"):
            assert (run_folder(tmp_path / "together", config.key) / name).read_bytes() == (alone / name).read_bytes()


def test_a_recorded_run_resumes(tmp_path: Path) -> None:
    config = config_of("ip")
    stop = Stop()
    blocks = blocks_of(config, tmp_path, stop, quiet=True)
    for _ in range(6):
        next(blocks)
    stop.signalled = True
    with pytest.raises(KeyboardInterrupt):
        next(blocks)
    path = train.run(config, tmp_path, quiet=True)
    assert is_finished(path, 0)


def test_tf32_is_as_set() -> None:
    """And does not stay from one run to the next."""
    one = torch.rand(256, 256, generator=torch.Generator().manual_seed(0)).cuda()
    exact = one.double() @ one.double()
    errors = []
    for tf32 in (True, False):
        Training(config_of("iql", **{"training.tf32": tf32}))
        assert torch.backends.cuda.matmul.allow_tf32 == tf32
        errors.append((one @ one - exact).abs().max().item())
    assert errors[1] < 1e-3
    if torch.cuda.get_device_capability() >= (8, 0):
        assert errors[0] > 4 * errors[1]
