"""How fast the particle environments step, and that they do not grow. `pytest tests/benchmarks --benchmark-enable`.

Every row is env steps per second of all 4 copies on one CPU thread, episodes and their starts included, beside those of
the environments published with PIC (one copy, one thread of a similar machine).
"""

from __future__ import annotations

import resource
import time
from typing import Any

import pytest
import torch

from envs.mpe.environment import ParticleEnvironment
from tests.envs.conftest import particles

ORIGINAL = {15: 495.0, 30: 208.0, 100: 80.0, 200: 19.0}
"""Env steps per second of the published environments in cooperative navigation, by number of agents."""
NUM_ENVS = 4


def play_episode(environment: ParticleEnvironment, actions: torch.Tensor) -> None:
    """One episode of every copy; actions (step, env, agent)."""
    environment.reset()
    for action in actions:
        environment.step(action)


def prepare(num_agents: int, backend: str) -> tuple[ParticleEnvironment, torch.Tensor]:
    torch.set_num_threads(1)
    environment = particles(f"mpe/cooperative_navigation_{num_agents}", NUM_ENVS, backend=backend)
    actions = torch.randint(5, (25, NUM_ENVS, num_agents), generator=torch.Generator().manual_seed(0))
    play_episode(environment, actions)  # compiles
    return environment, actions


def steps_per_second(num_agents: int, backend: str, seconds: float) -> float:
    """Env steps per second of all copies."""
    environment, actions = prepare(num_agents, backend)
    episodes, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        play_episode(environment, actions)
        episodes += 1
    return episodes * actions.shape[0] * NUM_ENVS / (time.perf_counter() - begin)


@pytest.mark.parametrize("num_agents", ORIGINAL)
def test_numba_step(benchmark: Any, num_agents: int) -> None:
    environment, actions = prepare(num_agents, "numba")
    benchmark(play_episode, environment, actions)


@pytest.mark.bench
def test_speed_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Print the table; slowness does not fail."""
    rows = []
    for num_agents, original in ORIGINAL.items():
        numba, plain = (steps_per_second(num_agents, backend, 0.4) for backend in ("numba", "torch"))
        rows.append(f"{num_agents:>6}{original:>10.0f}{numba:>12.0f}{plain:>12.0f}{numba / original:>12.0f}")
        rows[-1] += f"{numba / plain:>14.1f}"
    with capsys.disabled():
        print("\nenv steps/s of cooperative navigation, 4 copies, one thread")
        print(f"{'agents':>6}{'original':>10}{'numba':>12}{'torch':>12}{'x original':>12}{'numba/torch':>14}")
        print(*rows, sep="\n")


@pytest.mark.slow
@pytest.mark.parametrize("task", ["mpe/cooperative_navigation_15", "mpe/prey_and_predator_6"])
def test_memory_is_flat(task: str) -> None:
    """100,000 env steps do not raise the memory of the process by more than 5 MB after a warm-up."""
    torch.set_num_threads(1)
    environment = particles(task, NUM_ENVS)
    actions = torch.randint(5, (25, NUM_ENVS, environment.spec.num_agents))
    for _ in range(50):
        play_episode(environment, actions)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kB on Linux
    for _ in range(1000):
        play_episode(environment, actions)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 5_000
