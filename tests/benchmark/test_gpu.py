"""Runs on a CUDA device; skipped where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import envs
from benchmark import train
from benchmark.config import resolve
from benchmark.folder import status_of
from benchmark.train import Training
from tests.benchmark.conftest import SMALL

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
TASKS = ("mpe/cooperative_navigation_15", "mpe/heterogeneous_navigation_8", "mpe/prey_and_predator_6")


def gpu_config(algorithm: str, **overrides: Any) -> Any:
    return resolve("mpe/cooperative_navigation_3", algorithm, 0, 900, SMALL | overrides, "gpu", "cuda")


@pytest.mark.parametrize("task", TASKS)
def test_environment_steps_as_on_the_cpu(task: str) -> None:
    """The same actions from the same start, float64, one episode."""
    copies = 3
    cpu, gpu = (envs.make(task, copies, device, dtype="float64") for device in ("cpu", "cuda"))
    one, two = cpu.reset(7), gpu.reset(7)
    generator = torch.Generator().manual_seed(0)
    for _ in range(cpu.spec.episode_length):
        torch.testing.assert_close(two.observation.cpu(), one.observation, atol=1e-8, rtol=0)
        torch.testing.assert_close(two.reward.cpu(), one.reward, atol=1e-8, rtol=0)
        actions = torch.randint(5, (copies, cpu.spec.num_agents), generator=generator)
        one, two = cpu.step(actions), gpu.step(actions.cuda())


@pytest.mark.parametrize("algorithm", ["ip", "iql"])
def test_update_does_not_wait_for_the_device(algorithm: str) -> None:
    training = Training(gpu_config(algorithm))
    training.advance()
    batch = training.replay.sample(16, training.generators["replay"])
    training.learner.update(batch, training.generators["update"])
    torch.cuda.set_sync_debug_mode("error")
    try:
        training.learner.update(
            training.replay.sample(16, training.generators["replay"]), training.generators["update"]
        )
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("algorithm", ["ip", "iql"])
def test_run_finishes_and_resumes(algorithm: str, tmp_path: Path) -> None:
    first = Training(gpu_config(algorithm))
    first.advance()
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = Training(gpu_config(algorithm))
    assert second.load_state_dict(torch.load(tmp_path / "state.pt", map_location="cuda", weights_only=True))
    second.advance()
    assert second.updates > first.updates
    assert status_of(train.run(gpu_config(algorithm), tmp_path, quiet=True))["state"] == "finished"
