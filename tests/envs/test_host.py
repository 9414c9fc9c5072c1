"""Host environments for a learner on another device: equal episodes, one synchronisation per step, no repeats."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import envs
from envs.host import HOST, HostEnvironment, InterpretableHostEnvironment, Staging, on_device
from envs.protocols import Interpretable, Step, Threaded
from tests.waits import FETCHED, SENT, Waits

TASKS: dict[str, dict[str, Any]] = {
    "mpe/prey_and_predator_3": {"backend": "numba"},
    "magent/jungle_6": {"backend": "numba"},
    "cityflow/synthetic_4": {"episode_seconds": 50},
    "game/ring_8": {},
}


def hosted(task: str, copies: int = 3) -> HostEnvironment:
    """Through the buffers, on the CPU."""
    return HostEnvironment(envs.make(task, copies, **TASKS[task]), HOST)


def tensors(step: Step) -> list[Tensor]:
    return [step.observation, *step.graph, step.reward, step.terminated, step.truncated]


@pytest.mark.parametrize("task", TASKS)
def test_episodes_are_those_of_the_environment_itself(task: str, generator: torch.Generator) -> None:
    """Two episodes and a saved state that either of them takes; what was given stays as it was when it was given."""
    plain, other = envs.make(task, 3, **TASKS[task]), hosted(task)
    pairs = [(plain.reset(5), other.reset(5))]
    for episode in range(2):
        for _ in range(plain.spec.episode_length):
            actions = torch.randint(plain.spec.num_actions, (3, plain.spec.num_agents), generator=generator)
            pairs.append((plain.step(actions), other.step(actions)))
        assert all(torch.equal(value, other.scores()[name]) for name, value in plain.scores().items())
        if not episode:
            pairs.append((plain.reset(), other.reset()))
    for one, two in pairs:
        for a, b in zip(tensors(one), tensors(two), strict=True):
            assert torch.equal(a, b)
            assert (a.dtype, a.stride(0) == 0) == (b.dtype, b.stride(0) == 0)
    plain.load_state_dict(other.state_dict())
    assert torch.equal(plain.reset().observation, other.reset().observation)


@pytest.mark.parametrize("task", TASKS)
def test_one_wait_a_step_and_nothing_sent_twice(task: str) -> None:
    """On `meta`: actions come, observations, rewards and neighbours that change go, asynchronously."""
    host = envs.make(task, 3, **TASKS[task])
    environment = HostEnvironment(host, torch.device("meta"))
    environment.reset(1)
    actions = torch.zeros(3, host.spec.num_agents, dtype=torch.int64, device="meta")
    steps = min(4, host.spec.episode_length)
    with Waits() as waits:
        for _ in range(steps):
            assert all(part.device.type == "meta" for part in tensors(environment.step(actions)))
    sent = 2 if host.spec.static_graph else 3
    flags = int(host.spec.episode_length == steps)  # that the episode is over
    counts = {(finding.kind, finding.operation): count for finding, count in waits.found.items()}
    assert counts == {(FETCHED, "copy_"): steps, (SENT, "asynchronous copy"): sent * steps + flags}


def test_a_tensor_that_has_changed_is_sent_again() -> None:
    """Another object, or the same changed in place; no more than two are kept."""
    staging, flags = Staging(HOST), torch.zeros(3, dtype=torch.bool)
    first = staging.send_once("flags", flags)
    assert staging.send_once("flags", flags) is first is not flags
    flags[1] = True
    second = staging.send_once("flags", flags)
    assert (first.tolist(), second.tolist()) == ([False] * 3, [False, True, False])
    for _ in range(5):
        staging.send_once("flags", flags.clone())
    assert len(staging._kept["flags"]) == 2


def test_buffers_are_used_again_and_copies_are_not() -> None:
    staging = Staging(HOST)
    one = staging.send("reward", torch.ones(2))
    two = staging.send("reward", torch.zeros(2))
    assert one.tolist() == [1, 1]
    assert two.tolist() == [0, 0]
    assert staging.fetch(torch.ones(2)).data_ptr() == staging.fetch(torch.zeros(2)).data_ptr()
    assert len(staging._buffers) == 2


def test_engines_of_a_cpu_are_taken_beside_another_device() -> None:
    """If requested, and always for traffic; on a CPU the environment itself is returned."""
    device = torch.device("meta")
    for task, settings in TASKS.items():
        made = envs.make(task, 2, device, **settings)
        assert isinstance(made, HostEnvironment) == (task != "game/ring_8"), task
        assert made.device == device
        assert not isinstance(envs.make(task, 2, **settings), HostEnvironment)
    for task in ("mpe/prey_and_predator_3", "magent/jungle_6"):
        assert not isinstance(envs.make(task, 2, device), HostEnvironment), "tensors are the default"


def test_accounts_and_threads_are_those_of_the_host() -> None:
    city = envs.make("cityflow/synthetic_4", 3, "meta", episode_seconds=50)
    assert isinstance(city, InterpretableHostEnvironment)
    assert isinstance(city, Interpretable)
    assert isinstance(city, Threaded)
    city.reset(0)
    city.step(torch.zeros(3, 4, dtype=torch.int64))
    assert city.take_statistics()["actions"]["all"] == 3 * 4
    city.use_threads(2)
    assert city.host.batch.threads == 2  # type: ignore[attr-defined]
    jungle = on_device(envs.make("magent/jungle_6", 1), torch.device("meta"))
    assert not isinstance(jungle, Interpretable)
    jungle.use_threads(2)  # type: ignore[attr-defined]
