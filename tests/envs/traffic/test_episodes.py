"""Episodes of traffic follow from the seed alone, and continue exactly from a saved state."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch

from envs.protocols import Step
from envs.traffic.environment import TrafficEnvironment
from tests.beside import needs_map
from tests.envs.traffic import crooked
from tests.envs.traffic.hand import city, random_actions

TASK, MANHATTAN = "cityflow/synthetic_4", "cityflow/manhattan_96"


def fixed_actions(steps: int, copies: int, seed: int = 0) -> torch.Tensor:
    """(step, env, agent)."""
    return torch.randint(8, (steps, copies, 4), generator=torch.Generator().manual_seed(seed))


def tensors(step: Step) -> list[torch.Tensor]:
    return [step.observation, step.graph.neighbours, step.graph.mask, step.reward, step.truncated]


def play(environment: TrafficEnvironment, actions: torch.Tensor) -> list[torch.Tensor]:
    """All that a play shows: every step, then the scores."""
    shown = [part for action in actions for part in tensors(environment.step(action))]
    return shown + list(environment.scores().values())


def same(one: list[torch.Tensor], two: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def saved_to_a_file(environment: TrafficEnvironment) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(environment.state_dict(), file)
    file.seek(0)
    state: dict[str, Any] = torch.load(file, weights_only=True)
    return state


@pytest.mark.parametrize("lane_change", [False, True])
def city_from(state: dict[str, Any]) -> TrafficEnvironment:
    environment = city(TASK, 2)
    environment.load_state_dict(state)
    return environment


@pytest.mark.parametrize("lane_change", [False, True])
def test_equal_seeds_give_equal_episodes(lane_change: bool) -> None:
    actions = fixed_actions(40, 2)
    runs = []
    for _ in range(2):
        environment = city(TASK, 2, lane_change=lane_change)
        environment.reset(11)
        first = play(environment, actions)
        environment.reset()
        second = play(environment, actions)
        environment.reset(11)
        assert same(play(environment, actions), first), "a seed restarts the streams"
        runs.append(first + second)
    assert same(*runs)


@pytest.mark.parametrize(
    ("task", "lane_change"),
    [
        (TASK, True),
        ("cityflow/synthetic_9", True),
        pytest.param(MANHATTAN, False, marks=needs_map(MANHATTAN)),
    ],
)
def test_episodes_differ(task: str, lane_change: bool) -> None:
    """By seed, by copy and from one to the next, wherever chance has anything to say; a few may be equal by chance."""
    environment = city(task, 2, lane_change=lane_change)
    generator = torch.Generator().manual_seed(0)
    actions = torch.stack([random_actions(environment, generator)[:1] for _ in range(60)]).expand(-1, 2, -1)
    driven = []
    for seed in (0, None, 2**32, 2**63 - 1):
        environment.reset(seed)
        play(environment, actions)
        driven += [s.state.traffic.vehicles["distance"].sum() for s in environment.batch.simulations]
    assert len(set(driven)) > 5


def test_engines_have_seeds_of_their_own() -> None:
    """Of seeds of 64 bits, and of all episodes."""
    streams = set()
    for seed in (0, 1, 2**32, 2**63 - 1):
        environment = city(TASK, 2)
        environment.reset(seed)
        streams |= {simulation.state.pool.random.tobytes() for simulation in environment.batch.simulations}
        environment.reset()
        streams |= {simulation.state.pool.random.tobytes() for simulation in environment.batch.simulations}
    assert len(streams) == 4 * 2 * 2


@pytest.mark.parametrize("task", [TASK, "cityflow/synthetic_9"])
def test_synthetic_episodes_are_all_the_same_without_lane_changes(task: str) -> None:
    """Nothing is left to chance: the vehicles are given, and every lane leads one way only."""
    environment = city(task, 3)
    environment.reset(0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        step = environment.step(random_actions(environment, generator)[:1].expand(3, -1))
        assert (step.observation == step.observation[:1]).all()
        assert (step.reward == step.reward[:1]).all()


def test_copies_play_the_episodes_of_one_after_the_other() -> None:
    together, alone = city(TASK, 3), city(TASK)
    actions = fixed_actions(100, 3)
    together.reset(2)
    steps = [together.step(action) for action in actions]
    alone.reset(2)
    for copy in range(3):
        for action, step in zip(actions, steps, strict=True):
            single = alone.step(action[copy : copy + 1])
            assert torch.equal(single.observation[0], step.observation[copy])
            assert torch.equal(single.reward[0], step.reward[copy])
        scores = together.scores()
        assert all(value[0] == scores[name][copy] for name, value in alone.scores().items())
        alone.reset()


def test_threads_change_nothing() -> None:
    runs = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)  # the fixture of all tests here sets it back
        environment = city(TASK, 5)
        torch.set_num_threads(1)
        assert environment.batch.threads == threads
        environment.reset(4)
        runs.append(play(environment, fixed_actions(30, 5)))
    assert same(runs[0], runs[1])
    assert same(runs[0], runs[2])


def test_threads_can_be_changed_at_any_time() -> None:
    """Between decisions, too; statistics and scores included. None is one thread for every core."""
    ends = []
    for threads in ((1, 1), (2, 4), (None, 2)):
        environment = city(TASK, 4)
        environment.use_threads(threads[0])
        environment.reset(4)
        shown = play(environment, fixed_actions(20, 4))
        environment.use_threads(threads[1])
        assert environment.batch.threads == threads[1]
        shown += play(environment, fixed_actions(20, 4, seed=1))
        ends.append((shown + list(environment.scores().values()), environment.take_statistics()))
    for other in ends[1:]:
        assert same(ends[0][0], other[0])
        assert ends[0][1] == other[1]
    with pytest.raises(ValueError, match="threads = 0: expected a positive whole number"):
        city(TASK, 1).use_threads(0)


@pytest.mark.parametrize("lane_change", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 37, 100])
def test_a_saved_environment_continues_exactly(steps: int, lane_change: bool) -> None:
    """Through a file, in the middle of an episode and at its ends, statistics and episodes to come included."""
    original, resumed = (city(TASK, 2, lane_change=lane_change) for _ in range(2))
    original.reset(1)
    original.reset()
    play(original, fixed_actions(steps, 2))
    resumed.load_state_dict(saved_to_a_file(original))
    ends = []
    for environment in (original, resumed):
        shown = [environment.current_action, *environment.scores().values()]
        shown += play(environment, fixed_actions(min(30, 100 - steps), 2, seed=1))
        statistics = environment.take_statistics()
        shown += tensors(environment.reset()) + play(environment, fixed_actions(10, 2, seed=2))
        ends.append((shown, statistics, environment.take_statistics(), environment.decision))
    assert same(ends[0][0], ends[1][0])
    assert ends[0][1:] == ends[1][1:]


@pytest.mark.parametrize("task", [crooked.TASK, pytest.param(MANHATTAN, marks=needs_map(MANHATTAN))])
def test_a_saved_map_continues_exactly(task: str) -> None:
    original, resumed = (city(task) for _ in range(2))
    generator = torch.Generator().manual_seed(0)
    actions = torch.stack([random_actions(original, generator) for _ in range(60)])
    original.reset(0)
    play(original, actions[:40])
    resumed.reset(5)
    play(resumed, actions[:50])
    resumed.load_state_dict(saved_to_a_file(original))
    assert same(play(original, actions[40:]), play(resumed, actions[40:]))


def test_a_state_before_the_first_reset_can_be_saved() -> None:
    state = saved_to_a_file(city(TASK))
    environment = city(TASK)
    environment.reset(0)
    environment.load_state_dict(state)
    with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
        environment.step(fixed_actions(1, 1)[0])


def test_saving_is_a_snapshot() -> None:
    environment = city(TASK, 2)
    environment.reset(0)
    play(environment, fixed_actions(10, 2))
    state = environment.state_dict()
    before = saved_to_a_file(environment)
    play(environment, fixed_actions(10, 2))
    other = city(TASK, 2)
    for loaded in (state, before):
        other.load_state_dict(loaded)
        assert other.decision == 10
    for name in ("plans", "occupied", "counts", "members", "random", "times"):  # records have bytes without meaning
        assert torch.equal(state["engines"][0][name], before["engines"][0][name])
    play(other, fixed_actions(10, 2))
    assert torch.equal(other.scores()["return"], environment.scores()["return"])
    again = city(TASK, 2)
    again.load_state_dict(state)
    assert again.decision == 10, "a loaded state is not changed by what follows"
    assert torch.equal(again.scores()["return"], city_from(before).scores()["return"])


def test_a_state_of_something_else_is_refused() -> None:
    environment = city(TASK, 2)
    environment.reset(0)
    state = environment.state_dict()
    for other in (city("cityflow/synthetic_9", 2), city(TASK, 1)):
        with pytest.raises(ValueError, match=r"belongs to \(task, shape\) \('cityflow/synthetic_4', \(2, 4\)\)"):
            other.load_state_dict(state)
    partial = {name: part for name, part in state.items() if name not in ("queues", "seed")}
    with pytest.raises(ValueError, match="queues, seed missing"):
        environment.load_state_dict(partial)
    for name, changed, message in (
        ("vehicles", None, "vehicles is missing"),
        ("counts", torch.zeros(3, dtype=torch.uint8), "damaged"),
        ("queues", torch.zeros(8, dtype=torch.float64), "damaged"),
        ("occupied", state["engines"][1]["occupied"][:8], "occupied"),
    ):
        engine = {**state["engines"][1], name: changed}
        if changed is None:
            del engine[name]
        with pytest.raises(ValueError, match=message):
            environment.load_state_dict({**state, "engines": [state["engines"][0], engine]})


def test_returned_tensors_are_left_alone() -> None:
    environment = city(TASK, 2)
    kept, copies = [], []
    for _ in range(2):
        step = environment.reset()
        for action in fixed_actions(20, 2):
            kept.append(tensors(step))
            copies.append([part.clone() for part in kept[-1]])
            step = environment.step(action)
    assert all(same(one, two) for one, two in zip(kept, copies, strict=True))


def test_actions_are_not_changed() -> None:
    environment = city(TASK)
    environment.reset(0)
    for action in fixed_actions(5, 1):
        before = action.clone()
        environment.step(action)
        assert torch.equal(action, before)
