"""Environments of other packages as tasks: the same numbers, exact resumption, and one line for what does not fit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import envs
from envs.errors import EnvironmentNotAvailableError, ForeignEnvironmentError, TaskError
from envs.protocols import Environment, Step, Unsaveable

pytest.importorskip("pettingzoo", reason="these environments are PettingZoo's")

from envs.foreign.environment import ForeignEnvironment, episode_seed
from envs.foreign.located import join_arguments, parse_arguments
from tests.envs.line_world import LIMIT, LineWorld

LINE = "pettingzoo:tests.envs.line_world:LineWorld"
NAME = "pettingzoo/tests.envs.line_world_LineWorld_3"


def play(environment: Environment, steps: int, seed: int | None = 4) -> list[Step]:
    """The steps of an episode with the same random actions every time."""
    spec, generator = environment.spec, torch.Generator().manual_seed(0)
    shape = (environment.num_envs, spec.num_agents)
    played = [environment.reset(seed)]
    for _ in range(steps):
        if spec.action_dim:
            actions = 2 * torch.rand(*shape, spec.action_dim, generator=generator) - 1
        else:
            actions = torch.randint(spec.num_actions, shape, generator=generator)
        played.append(environment.step(actions))
    return played


def assert_same(first: list[Step], second: list[Step]) -> None:
    for one, other in zip(first, second, strict=True):
        parts = [(*step.graph, *step[:1], *step[2:]) for step in (one, other)]
        assert all(torch.equal(a, b) for a, b in zip(*parts, strict=True))


# What it makes of an environment


def test_a_task_has_a_name_settings_and_a_specification() -> None:
    name, settings = envs.locate(LINE, {"agents": "3", "limit": "8", "num_neighbours": "none"})
    assert name == NAME
    assert settings["source"] == "tests.envs.line_world:LineWorld"
    assert settings["arguments"] == "agents=3,limit=8"
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", settings["package"]), "its module is of no installed package"
    spec = envs.spec(LINE)
    assert (spec.num_agents, spec.observation_dim, spec.num_actions, spec.episode_length) == (3, 2, 3, LIMIT)
    assert spec.static_graph
    assert spec.max_neighbours == 2
    assert name in envs.tasks()
    assert envs.locate(name, settings) == (name, settings), "what is written down makes it again"
    assert envs.spec(LINE, continuous=True).action_dim == 1
    assert envs.spec(LINE, episode_length=5).episode_length == 5
    assert envs.spec(LINE, arguments="agents=1").max_neighbours == 1


@pytest.mark.parametrize(("workers", "continuous"), [(0, False), (0, True), (2, True)])
def test_numbers_are_those_of_the_environment(workers: int, continuous: bool) -> None:
    """Three copies with different seeds, one after another or in processes; the second episode has other seeds."""
    batch = envs.make(LINE, 3, workers=workers, continuous=continuous)
    steps = play(batch, LIMIT)
    score = batch.scores()["return"]
    for copy in range(3):
        alone = LineWorld(continuous=continuous)
        seen, _ = alone.reset(seed=episode_seed(4, copy))
        generator, total = torch.Generator().manual_seed(0), 0.0
        for time, step in enumerate(steps):
            assert np.array_equal(step.observation[copy].numpy(), np.stack(list(seen.values())))
            assert bool(step.truncated[copy]) == (time == LIMIT)
            assert not step.terminated[copy]
            if time == LIMIT:
                break
            if continuous:
                drawn = 2 * torch.rand(3, 3, 1, generator=generator)[copy] - 1
                taken = (2 * drawn.numpy()).reshape(3, 1, 1)
            else:
                taken = torch.randint(3, (3, 3), generator=generator)[copy].numpy() - 1
            seen, reward, *_ = alone.step(dict(zip(alone.agents, taken, strict=True)))
            total += sum(reward.values())
            paid = steps[time + 1].reward[copy]
            torch.testing.assert_close(paid, torch.tensor(list(reward.values()), dtype=torch.float32))
        assert float(score[copy]) == pytest.approx(total, abs=1e-4)
    with pytest.raises(RuntimeError, match="call reset"):
        batch.step(torch.zeros(3, 3, *[1] * continuous, dtype=torch.float32 if continuous else torch.int64))
    following = batch.reset()
    assert not torch.equal(following.observation, steps[0].observation)
    assert torch.equal(batch.reset(4).observation, steps[0].observation)


def test_a_task_of_this_project_is_the_same_by_this_way() -> None:
    """Out through the adapter for PettingZoo and in again: equal observations, rewards and neighbours."""
    task = "mpe/cooperative_navigation_6"
    settings = {"arguments": f'task="{task}"', "graph": "infos", "num_neighbours": 4}
    there = envs.make("pettingzoo:envs.pettingzoo:parallel_env", 1, **settings)
    here = envs.make(task, 1)
    assert there.spec.episode_length == 25
    first, second = play(there, 25, 4), play(here, 25, episode_seed(4, 0))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.observation, other.observation)
        assert torch.equal(one.graph.neighbours, other.graph.neighbours)
        torch.testing.assert_close(one.reward, other.reward)
        assert torch.equal(one.truncated, other.truncated)


def test_everybody_can_be_paid_the_sum() -> None:
    local, shared = (play(envs.make(LINE, 2, reward=reward), 3) for reward in ("local", "shared"))
    expected = local[-1].reward.sum(-1, keepdim=True).expand(-1, 3)
    torch.testing.assert_close(shared[-1].reward, expected)


def neighbour_sets(step: Step) -> list[set[int]]:
    """The neighbours of each agent of the first copy."""
    return [
        {int(j) for j, there in zip(row, mask, strict=True) if there}
        for row, mask in zip(step.graph.neighbours[0], step.graph.mask[0], strict=True)
    ]


def test_graphs() -> None:
    """All agents, the nearest by position, those listed in the infos (never the agent itself), and the lower triangle
    in the state."""
    assert neighbour_sets(envs.make(LINE, 1).reset(0)) == [{1, 2}, {0, 2}, {0, 1}]
    assert neighbour_sets(envs.make(LINE, 1, graph="infos").reset(0)) == [{2}, {2}, set()]
    assert neighbour_sets(envs.make(LINE, 1, graph="state", columns="1:10").reset(0)) == [set(), {0}, {0, 1}]
    step = envs.make(LINE, 1, graph="nearest", columns="0:1", num_neighbours=1, agents=4).reset(0)
    place = step.observation[0, :, 0]
    distance = (place[:, None] - place).abs().fill_diagonal_(9.0)
    assert neighbour_sets(step) == [{int(j)} for j in distance.argmin(1)]


def test_an_episode_that_ends_by_itself_waits_for_the_time_limit() -> None:
    """From its end on it is terminated, pays nothing and stands still; at the time limit it isn't truncated, too."""
    environment = envs.make(LINE, 2, fault="ends", episode_length=5)
    steps = play(environment, 5)
    assert [bool(step.terminated.all()) for step in steps] == [False] * 3 + [True] * 3
    assert not any(bool(step.truncated.any()) for step in steps)
    assert all(float(step.reward.abs().sum()) == 0 for step in steps[4:])
    assert torch.equal(steps[5].observation, steps[3].observation)
    torch.testing.assert_close(
        environment.scores()["return"].float(), torch.stack([step.reward.sum(-1) for step in steps]).sum(0)
    )


@pytest.mark.parametrize(("workers", "continuous"), [(0, False), (0, True), (1, False)])
def test_a_saved_state_goes_on_exactly(workers: int, continuous: bool) -> None:
    """The running episode is played again by its seeds and actions."""
    whole, parts = (envs.make(LINE, 2, continuous=continuous, workers=workers) for _ in range(2))
    whole.reset(9)
    expected = play(whole, LIMIT, None)
    play(parts, 2, 1)
    whole.reset(9)
    play(whole, 5, None)
    parts.load_state_dict(whole.state_dict())
    assert isinstance(parts, Unsaveable)
    assert parts.continued
    actions = torch.full((2, 3, 1), 0.5) if continuous else torch.ones(2, 3, dtype=torch.int64)
    assert_same([whole.step(actions) for _ in range(3)], [parts.step(actions) for _ in range(3)])
    assert torch.equal(whole.scores()["return"], parts.scores()["return"])
    assert torch.equal(whole.reset().observation, parts.reset().observation), "the next episode, too"
    assert len(expected) == LIMIT + 1
    with pytest.raises(ValueError, match="missing"):
        parts.load_state_dict({"seed": 1})
    with pytest.raises(ValueError, match=r"belongs to \(task, copies\)"):
        envs.make(LINE, 3, continuous=continuous).load_state_dict(whole.state_dict())


def test_a_state_that_does_not_come_again_is_noticed() -> None:
    environment = envs.make(LINE, 1, fault="late noise")
    play(environment, 7)
    environment.load_state_dict(environment.state_dict())
    assert isinstance(environment, ForeignEnvironment)
    assert not environment.continued


def test_arguments_are_written_and_read() -> None:
    arguments = {"b": [1, 2.5], "a": "x,y=1", "c": None, "d": True}
    assert join_arguments(arguments) == 'a="x,y=1",b=[1,2.5],c=null,d=true'
    assert parse_arguments(join_arguments(arguments)) == arguments
    assert parse_arguments("") == {}


# What does not fit


MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    ("pettingzoo:no_such_package.x:make", {}, "there is no module no_such_package; install its package"),
    ("pettingzoo:tests.envs.line_world", {}, "expected pettingzoo:package.module:function"),
    ("pettingzoo:tests.envs.line_world:LineWorl", {}, "has no function LineWorl; did you mean LineWorld?"),
    ("pettingzoo:tests.envs.line_world:broken", {}, r"broken\(\) fails: OSError: no such level"),
    ("pettingzoo:tests.envs.line_world:something_else", {}, "made a SimpleNamespace without possible_agents"),
    ("pettingzoo:tests.envs.line_world:taking_turns", {}, "agents take turns in this environment"),
    (LINE, {"agent": 3}, "--set environment.agent: .* no such argument; did you mean agents"),
    (LINE, {"arguments": "agents"}, "expected comma-separated name=value pairs"),
    (LINE, {"agents": 0}, "no possible_agents"),
    (LINE, {"fault": "dictionary"}, "observations of walker_0 are Dict; expected Box"),
    (LINE, {"fault": "unlike observations"}, r"walker_0 and walker_1 differ, Box\(2,\) and Box\(3,\)"),
    (LINE, {"fault": "unlike actions"}, r"differ, Discrete\(3\) and Discrete\(4\); expected equal spaces"),
    (LINE, {"fault": "several choices"}, "actions of walker_0 are MultiDiscrete; expected Box or Discrete"),
    (LINE, {"fault": "unbounded", "continuous": True}, "actions have no bounds"),
    (LINE, {"fault": "late"}, "2 of 3 agents are present at first; expected fixed agents"),
    (LINE, {"fault": "leaves", "episode_length": LIMIT}, "walker_2 ended at step 1 while others go on"),
    (
        LINE,
        {"fault": "vanishes"},
        "walker_2 came or went at step 1; expected the same 3 agents",
    ),
    (LINE, {"fault": "unseeded"}, "gave episodes that differ after 0 steps"),
    (LINE, {"fault": "ends"}, "terminated after 3 steps.*environment.episode_length=STEPS"),
    (LINE, {"episode_length": LIMIT + 1}, f"its own time limit came after {LIMIT} steps"),
    (LINE, {"fault": "mask", "episode_length": LIMIT}, "the action_mask changed at step 2"),
    (LINE, {"fault": "silent", "graph": "infos"}, 'the info of walker_0 has no "neighbours"'),
    (LINE, {"fault": "stranger", "graph": "infos"}, "walker_0 has the neighbour 'nobody', which is not another agent"),
    (LINE, {"fault": "stateless", "graph": "state", "columns": "0:9"}, "there is no state"),
    (LINE, {"graph": "state", "columns": "0:4"}, "are 4 numbers; expected 9, a row of 3"),
    (LINE, {"graph": "nearest", "columns": "1:3"}, "columns = 1:3: observations have 2 numbers"),
    (LINE, {"graph": "nearest"}, "needs columns, such as columns=2:4"),
    (LINE, {"columns": "0:2"}, "does not use it"),
    (LINE, {"num_neighbours": 2}, "graph = 'full' joins all agents"),
    (LINE, {"graph": "state", "columns": "1:10", "num_neighbours": 1}, "walker_2 has 2 neighbours; expected at most 1"),
    (LINE, {"package": "line-world==0.1"}, "that of the run line-world==0.1: install that version"),
    (NAME, {"source": "tests.envs.line_world:LineWorld", "agents": 4}, "is the task .*_4, not .*_3"),
]


@pytest.mark.parametrize(("task", "settings", "words"), MISTAKES)
def test_what_does_not_fit_is_refused_in_one_line(task: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises((TaskError, ValueError), match=words) as caught:
        play(envs.make(task, 2, **settings), LIMIT)
    assert "\n" not in str(caught.value)


def test_missing_packages_are_told_from_wrong_ones() -> None:
    """A sweep leaves out what is not on this machine; a mistake stops it."""
    with pytest.raises(EnvironmentNotAvailableError):
        envs.locate("pettingzoo:no_such_package.x:make")
    with pytest.raises(ForeignEnvironmentError):
        envs.locate("pettingzoo:tests.envs.line_world:nobody")


def test_an_error_in_a_worker_is_told_in_one_line() -> None:
    environment = envs.make(LINE, 2, fault="leaves", workers=2, episode_length=LIMIT)
    with pytest.raises(ForeignEnvironmentError, match="walker_2 ended at step 1") as caught:
        play(environment, 1)
    assert "\n" not in str(caught.value)


def test_a_missing_module_within_an_environment_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_more.py").write_text("import no_such_engine\n")
    (tmp_path / "fails.py").write_text("raise RuntimeError('first line\\nsecond line')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(EnvironmentNotAvailableError, match="needs_more needs the module no_such_engine"):
        envs.locate("pettingzoo:needs_more:make")
    with pytest.raises(ForeignEnvironmentError, match=r"importing fails fails: RuntimeError: first line$"):
        envs.locate("pettingzoo:fails:make")
