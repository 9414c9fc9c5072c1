"""The adapter keeps PettingZoo's contract and changes no number."""

from __future__ import annotations

import dataclasses
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import envs
from envs import make
from envs.drawing import draw

pytest.importorskip("pettingzoo", reason="the adapter needs PettingZoo")

import pettingzoo
from pettingzoo.test import api_test, parallel_api_test
from pettingzoo.test.max_cycles_test import max_cycles_test
from pettingzoo.test.seed_test import parallel_seed_test
from pettingzoo.test.state_test import test_parallel_env as check_state_of
from pettingzoo.utils import parallel_to_aec

from envs.pettingzoo import ParallelEnvironment, parallel_env, register_tasks, registered_name

NAVIGATION = "mpe/cooperative_navigation_3"
FAMILIES = (
    NAVIGATION,
    "mpe/heterogeneous_navigation_4",
    "mpe/cooperative_push_3",
    "mpe/prey_and_predator_3",
    "cityflow/synthetic_4",
    "magent/jungle_6",
)


def sample(environment: ParallelEnvironment) -> dict[str, Any]:
    """A random action for every agent."""
    return {name: environment.action_space(name).sample() for name in environment.agents}


@pytest.mark.parametrize("task", FAMILIES)
def test_keeps_the_contract_of_pettingzoo(task: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(parallel_env(task), num_cycles=60)
    check_state_of(parallel_env(task))
    parallel_seed_test(lambda: parallel_env(task), num_cycles=30)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_keeps_the_contract_when_agents_take_turns() -> None:
    api_test(parallel_to_aec(parallel_env(NAVIGATION)), num_cycles=30)


def test_the_registry_has_every_task() -> None:
    """Both kinds, by a name that is as PettingZoo's are."""
    registration = pytest.importorskip("pettingzoo.env_registry", reason="this version of PettingZoo has no registry")
    assert registration is not None
    for task in envs.tasks():
        if not task.startswith("pettingzoo/"):
            assert pettingzoo.spec("parallel", registered_name(task)).kwargs == {"task": task}
            assert pettingzoo.spec("aec", registered_name(task)).kwargs == {"task": task}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register_tasks()  # again: nothing is overridden


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("task", [NAVIGATION, "magent/jungle_6", "game/climbing_2"])
def test_what_the_registry_makes_keeps_the_contract(task: str) -> None:
    pytest.importorskip("pettingzoo.env_registry", reason="this version of PettingZoo has no registry")
    name = registered_name(task)
    parallel_api_test(pettingzoo.make("parallel", name), num_cycles=30)
    parallel_seed_test(lambda: pettingzoo.make("parallel", name), num_cycles=10)
    api_test(pettingzoo.make("aec", name), num_cycles=20)
    short = pettingzoo.make("parallel", name, max_cycles=1, reward="local")
    assert isinstance(short, ParallelEnvironment)
    short.reset(seed=0)
    short.step(sample(short))
    assert not short.agents


@pytest.mark.parametrize("task", FAMILIES)
@pytest.mark.parametrize("reward", ["shared", "local"])
def test_equals_the_environment_it_wraps(task: str, reward: str) -> None:
    wrapped, bare = parallel_env(task, reward=reward), envs.make(task, num_envs=1, reward=reward)
    observations, infos = wrapped.reset(seed=7)
    expected = bare.reset(seed=7)
    generator = torch.Generator().manual_seed(0)
    for _ in range(bare.spec.episode_length):
        assert np.array_equal(np.stack(list(observations.values())), expected.observation[0].numpy())
        assert np.array_equal(wrapped.state(), expected.observation[0].flatten().numpy())
        assert [infos[name]["neighbours"] for name in wrapped.agents] == expected.graph.neighbours[0].tolist()
        actions = torch.randint(bare.spec.num_actions, (1, bare.spec.num_agents), generator=generator)
        expected = bare.step(actions)
        observations, rewards, _, truncations, infos = wrapped.step(
            dict(zip(wrapped.agents, actions[0].tolist(), strict=True))
        )
        assert list(rewards.values()) == expected.reward[0].tolist()
    assert all(truncations.values())


def test_the_original_engine_of_a_jungle_can_be_chosen() -> None:
    """It gives what `envs.make` gives, and can be looked at."""
    pytest.importorskip("magent2", reason="the original engine is not installed")
    task = "magent/jungle_20"
    wrapped, bare = parallel_env(task, render_mode="rgb_array", backend="magent2"), envs.make(task, num_envs=1)
    assert wrapped.action_space("agent_19").n == 9
    assert wrapped.observation_space("agent_0").shape == (123,)
    observations, infos = wrapped.reset(seed=5)
    expected, generator = bare.reset(seed=5), torch.Generator().manual_seed(0)
    while True:
        assert np.array_equal(np.stack(list(observations.values())), expected.observation[0].numpy())
        assert [info["neighbours"] for info in infos.values()] == expected.graph.neighbours[0].tolist()
        assert np.array_equal(wrapped.render(), draw(bare))
        if not wrapped.agents:
            break
        actions = torch.randint(9, (1, 20), generator=generator)
        expected = bare.step(actions)
        named = dict(zip(wrapped.agents, actions[0].tolist(), strict=True))
        observations, rewards, _, _, infos = wrapped.step(named)
        assert list(rewards.values()) == expected.reward[0].tolist()


MASK = ((True, True, False, True, False), (True,) * 5, (False, False, False, False, True))


def make_masked(task: str, num_envs: int, **settings: Any) -> Any:
    """A task whose agents lack some actions."""
    environment = make(task, num_envs, **settings)
    environment.spec = dataclasses.replace(environment.spec, action_mask=MASK)
    return environment


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_infos_tell_which_actions_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """As action spaces take it, at reset and after every step, and the caller's to change."""
    assert "action_mask" not in parallel_env(NAVIGATION).reset(seed=0)[1]["agent_0"], "where agents have all"
    monkeypatch.setattr(envs, "make", make_masked)
    environment = parallel_env(NAVIGATION)
    _, infos = environment.reset(seed=0)
    for _ in range(20):
        for name, row in zip(environment.agents, MASK, strict=True):
            mask = infos[name]["action_mask"]
            assert mask.dtype == np.int8
            assert mask.tolist() == list(row)
            assert row[environment.action_space(name).sample(mask)]
            mask[:] = 1
        *_, infos = environment.step(dict.fromkeys(environment.agents, 0))
    api_test(parallel_to_aec(parallel_env(NAVIGATION)), num_cycles=30)


def test_observations_are_the_callers_to_change() -> None:
    environment = parallel_env(NAVIGATION)
    observations, _ = environment.reset(seed=0)
    before = environment.state()
    observations["agent_0"][:] = 99
    assert np.array_equal(environment.state(), before)


@pytest.mark.parametrize(("max_cycles", "expected"), [(None, 25), (4, 4), (1000, 25)])
def test_the_time_limit_truncates_all_agents_at_once(max_cycles: int | None, expected: int) -> None:
    environment = parallel_env(NAVIGATION, max_cycles=max_cycles)
    for _ in range(2):
        environment.reset(seed=0)
        for cycle in range(1, expected + 1):
            _, _, terminations, truncations, _ = environment.step(sample(environment))
            assert set(truncations.values()) == {cycle == expected}
            assert set(terminations.values()) == {False}
        assert environment.agents == []
        with pytest.raises(RuntimeError, match="call reset"):
            environment.step({})


def test_max_cycles_as_pettingzoo_tests_it() -> None:
    max_cycles_test(
        SimpleNamespace(
            parallel_env=lambda max_cycles: parallel_env(NAVIGATION, max_cycles=max_cycles),
            env=lambda max_cycles: parallel_to_aec(parallel_env(NAVIGATION, max_cycles=max_cycles)),
        )
    )


def test_resets_without_a_seed_go_on_with_the_streams() -> None:
    first, second = parallel_env(NAVIGATION), parallel_env(NAVIGATION)
    starts = []
    for environment in (first, second):
        environment.reset(seed=np.int64(3))
        environment.reset()
        starts.append(environment.state())
    assert np.array_equal(*starts)
    first.reset(seed=3)
    assert not np.array_equal(first.state(), starts[0])


def test_first_reset_without_a_seed_is_random() -> None:
    starts = []
    for _ in range(2):
        environment = parallel_env(NAVIGATION)
        environment.reset()
        starts.append(environment.state())
    assert not np.array_equal(*starts)


def test_observations_are_float32_whatever_the_state_is() -> None:
    environment = parallel_env(NAVIGATION, dtype="float64")
    observations, _ = environment.reset(seed=0)
    assert all(environment.observation_space(name).contains(value) for name, value in observations.items())


@pytest.mark.parametrize("task", [NAVIGATION, "magent/jungle_6"])
def test_renders_when_asked_to(task: str) -> None:
    environment = parallel_env(task, render_mode="rgb_array")
    environment.reset(seed=0)
    frame = environment.render()
    assert frame is not None
    assert (frame.ndim, frame.shape[2], frame.dtype) == (3, 3, np.uint8)
    silent = parallel_env(task)
    silent.reset(seed=0)
    with pytest.warns(UserWarning, match="render_mode"):
        assert silent.render() is None


def test_names_and_spaces() -> None:
    environment = parallel_env("mpe/cooperative_push_6")
    assert environment.possible_agents == [f"agent_{i}" for i in range(6)]
    assert str(environment) == "mpe/cooperative_push_6"
    assert environment.action_space("agent_5").n == 5
    assert environment.max_num_agents == 6


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ({"agent_0": 0, "agent_1": 0}, "missing or unknown: agent_2"),
        ({"agent_0": 0, "agent_1": 0, "agent_2": 0, "agent_3": 0}, "missing or unknown: agent_3"),
        ({"agent_0": 0, "agent_1": 5, "agent_2": 0}, "the action of agent_1 is 5; expected a whole number from 0 to 4"),
        ({"agent_0": 0, "agent_1": 0.5, "agent_2": 0}, "the action of agent_1 is 0.5"),
    ],
)
def test_wrong_actions_are_refused(actions: dict[str, Any], message: str) -> None:
    environment = parallel_env(NAVIGATION)
    environment.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        environment.step(actions)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="'rgb_array', not 'human'"):
        parallel_env(NAVIGATION, render_mode="human")
    with pytest.raises(ValueError, match=r"game/climbing_2 cannot be rendered: omit render_mode='rgb_array'"):
        parallel_env("game/climbing_2", render_mode="rgb_array")
    with pytest.raises(ValueError, match="max_cycles must be None or at least 1, not 0"):
        parallel_env(NAVIGATION, max_cycles=0)
    with pytest.raises(envs.UnknownTaskError):
        parallel_env("mpe/cooperative_navigation_4")
    with pytest.raises(TypeError, match="has no setting colour"):
        parallel_env(NAVIGATION, colour="red")
    environment = parallel_env(NAVIGATION)
    with pytest.raises(RuntimeError, match="call reset"):
        environment.state()
    with pytest.raises(RuntimeError, match="call reset"):
        environment.step({})
