"""Runs on a CUDA device; skipped where there is none."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import envs
from algorithms import ALGORITHMS
from benchmark import acceleration, train
from benchmark.config import resolve
from benchmark.folder import status_of
from benchmark.train import Training
from tests.benchmark.conftest import SMALL
from tests.patience import PATIENCE

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
ROOT = Path(__file__).resolve().parents[2]
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


@pytest.mark.parametrize("task", TASKS)
def test_forces_move_as_on_the_cpu(task: str) -> None:
    """Continuous actions, beyond their limits too; float64, one episode."""
    cpu, gpu = (envs.make(task, 3, device, dtype="float64", actions="continuous") for device in ("cpu", "cuda"))
    cpu.reset(7), gpu.reset(7)
    generator = torch.Generator().manual_seed(0)
    for _ in range(cpu.spec.episode_length):
        actions = 3 * torch.rand(3, cpu.spec.num_agents, 2, generator=generator) - 1.5
        one, two = cpu.step(actions), gpu.step(actions.cuda())
        torch.testing.assert_close(two.observation.cpu(), one.observation, atol=1e-8, rtol=0)


@pytest.mark.parametrize("mode", ["none", "cuda_graph"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_update_does_not_wait_for_the_device(algorithm: str, mode: str) -> None:
    training = Training(gpu_config(algorithm, **{"training.acceleration": mode}))
    training.advance()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in (100, 200):
            training.learner.schedule(step, 900)
            training.learn(training.replay.sample(16, training.generators["replay"]), training.generators["update"])
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("agents", [3, 15])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_captured_updates_are_the_plain_ones(algorithm: str, agents: int) -> None:
    """Two blocks of three updates of whole trainings, between which the learning rate falls and the policy acts.

    A block moves each weight by up to 0.03, so that an update lost, doubled, or made with other random numbers, an old
    batch or an old learning rate would show.
    """
    trainings = []
    for mode in ("none", "cuda_graph"):
        overrides = SMALL | {
            "training.acceleration": mode,
            "training.gradient_steps": 3,
            "algorithm.learning_rate": 0.01,
            "algorithm.learning_rate_end": 0.0,
        }
        task = f"mpe/cooperative_navigation_{agents}"
        training = Training(resolve(task, algorithm, 0, 300, overrides, "gpu", "cuda"))
        for _ in range(2):
            training.advance()
        trainings.append(training)
    plain, captured = trainings
    assert isinstance(captured.learn, acceleration.CapturedUpdate)
    assert (plain.updates, captured.updates) == (6, 6)
    states = [dict(acceleration.state_tensors(training.learner.state_dict())) for training in trainings]
    assert states[0].keys() == states[1].keys()
    for path, tensor in states[0].items():
        torch.testing.assert_close(states[1][path], tensor, atol=1e-4, rtol=1e-3, msg=lambda m, p=path: f"{p}: {m}")
    generators = [training.generators["update"].get_state() for training in trainings]
    assert torch.equal(*generators), "as many random numbers were drawn"
    assert captured.take_metrics() == pytest.approx(plain.take_metrics(), rel=1e-2, abs=1e-4)


@pytest.mark.parametrize("mode", ["none", "cuda_graph"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_run_finishes_and_resumes(algorithm: str, mode: str, tmp_path: Path) -> None:
    config = gpu_config(algorithm, **{"training.acceleration": mode})
    first = Training(config)
    first.advance()
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = Training(config)
    assert second.load_state_dict(torch.load(tmp_path / "state.pt", map_location="cuda", weights_only=True))
    second.advance()
    assert second.updates > first.updates
    assert status_of(train.run(config, tmp_path, quiet=True))["state"] == "finished"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
@pytest.mark.parametrize("algorithm", ["ip", "iql"])
def test_run_with_compiled_updates_finishes(algorithm: str, tmp_path: Path) -> None:
    """In a process of its own, because the shape checks of the test suite cannot be traced."""
    command = [sys.executable, "-m", "benchmark.train", "--task", "mpe/cooperative_navigation_3", "--quiet"]
    command += ["--algorithm", algorithm, "--total-steps", "900", "--device", "cuda", "--results", str(tmp_path)]
    for key, value in (SMALL | {"training.acceleration": "compile"}).items():
        command += ["--set", f"{key}={value}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr[-2000:]
