"""The traffic environment against an engine driven by hand, and the promises of `envs.protocols`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import envs
from envs.errors import EnvironmentNotAvailableError, UnknownTaskError
from envs.protocols import Interpretable, Step
from envs.traffic.environment import TrafficEnvironment
from envs.traffic.signals import MOVEMENTS
from envs.traffic_names import TASKS
from tests.beside import needs_map
from tests.envs.traffic import crooked
from tests.envs.traffic.hand import HandDriven, city, random_actions

SMALL, MANHATTAN = "cityflow/synthetic_4", "cityflow/manhattan_96"
MAPS = [
    SMALL,
    "cityflow/synthetic_9",
    crooked.TASK,
    *(pytest.param(task, marks=needs_map(task)) for task in ("cityflow/hangzhou_16", MANHATTAN)),
]


def play(environment: TrafficEnvironment, steps: int, generator: torch.Generator) -> list[Step]:
    return [environment.step(random_actions(environment, generator)) for _ in range(steps)]


def equal(one: Step, two: Step) -> bool:
    """Whether all tensors are the same, bit for bit."""
    parts = [(step.observation, *step.graph, step.reward, step.terminated, step.truncated) for step in (one, two)]
    return all(torch.equal(a, b) for a, b in zip(*parts, strict=True))


@pytest.mark.parametrize("task", MAPS)
def test_shapes_and_types(task: str, generator: torch.Generator) -> None:
    environment = city(task, 2)
    spec = environment.spec
    assert spec == envs.spec(task)
    assert spec.num_agents == int(task.rpartition("_")[2])
    assert (spec.num_actions, spec.episode_length, spec.static_graph) == (8, 100, True)
    assert spec.agent_kinds == (0,) * spec.num_agents
    first = environment.reset(0)
    assert not first.reward.any()
    for step in (first, *play(environment, 2, generator)):
        assert step.observation.shape == (2, spec.num_agents, spec.observation_dim)
        assert step.observation.dtype == step.reward.dtype == torch.float32
        assert step.graph.neighbours.shape == step.graph.mask.shape == (2, spec.num_agents, spec.max_neighbours)
        assert step.graph.neighbours.stride(0) == step.graph.mask.stride(0) == 0
        assert not step.graph.neighbours[~step.graph.mask].any()
        assert step.reward.shape == (2, spec.num_agents)
        assert step.terminated.shape == step.truncated.shape == (2,)
        assert not step.terminated.any()
    assert isinstance(environment, Interpretable)


def test_the_time_limit_truncates(generator: torch.Generator) -> None:
    environment = city(SMALL, 2, episode_seconds=60, decision_seconds=15)
    actions = torch.zeros(2, 4, dtype=torch.int64)
    with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
        environment.step(actions)
    for _ in range(2):
        environment.reset()
        assert [bool(step.truncated.all()) for step in play(environment, 4, generator)] == [False] * 3 + [True]
        assert environment.decision == 4
        with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
            environment.step(actions)


def test_an_hour(generator: torch.Generator) -> None:
    environment = city(SMALL, 1, episode_seconds=3600)
    assert environment.spec.episode_length == 360
    environment.reset(0)
    assert play(environment, 360, generator)[-1].truncated.all()
    assert environment.batch.simulations[0].average_travel_time() == environment.scores()["average_travel_time"].item()


@pytest.mark.parametrize(
    ("task", "steps", "settings"),
    [
        (SMALL, 60, {}),
        (SMALL, 30, {"yellow_seconds": 0}),
        (SMALL, 30, {"yellow_seconds": 3, "decision_seconds": 8, "episode_seconds": 800}),
        (crooked.TASK, 30, {}),
        pytest.param(MANHATTAN, 30, {}, marks=needs_map(MANHATTAN)),
    ],
)
def test_equals_an_engine_driven_by_hand(
    task: str, steps: int, settings: dict[str, int], tmp_path: Path, generator: torch.Generator
) -> None:
    """Rewards are minus the vehicle-seconds of each second, yellow is shown where the phase changes and nowhere else,
    observations are what is on the lanes, and travel times are the engine's."""
    environment = city(task, 1, **settings)
    hand = HandDriven(task, tmp_path, 7, environment.settings.yellow_seconds, environment.settings.decision_seconds)
    environment.reset(0)
    environment.batch.seed([7])
    lanes, names = environment.signals.lanes, np.array([*environment.city.network.lane_ids, "none"])
    rewards, seconds, actions = 0.0, 0, random_actions(environment, generator)
    for _ in range(steps):
        keep = torch.rand(actions.shape, generator=generator) < 0.4
        actions = torch.where(keep, actions, random_actions(environment, generator))
        step = environment.step(actions)
        by_hand = hand.step(actions[0].tolist())
        assert step.reward[0].tolist() == [-float(s) for s in by_hand]
        rewards, seconds = rewards + step.reward.double().sum().item(), seconds + sum(by_hand)
        counts = {**hand.engine.get_lane_vehicle_count(), "none": 0}
        seen = [[np.float32(counts[name]) / np.float32(10) for name in row] for row in names[lanes]]
        assert step.observation[0, :, : lanes.shape[1]].tolist() == seen
        one_hot = torch.nn.functional.one_hot(actions[0], environment.spec.num_actions).float()
        assert torch.equal(step.observation[0, :, lanes.shape[1] :], one_hot)
    assert rewards == -seconds < -1000
    scores = {name: value.item() for name, value in environment.scores().items()}
    assert scores["average_travel_time"] == -scores["return"] == hand.engine.get_average_travel_time()


def test_scores_by_hand(tmp_path: Path, generator: torch.Generator) -> None:
    """Throughput, queue and outside, counted with CityFlow's interface."""
    environment, hand = city(SMALL), HandDriven(SMALL, tmp_path, 3)
    environment.reset(0)
    environment.batch.seed([3])
    assert set(environment.scores()) == {
        "return",
        "average_travel_time",
        "throughput",
        "queue_length",
        "outside",
    }
    assert not any(value.any() for value in environment.scores().values())
    incoming = [lane for lanes in hand.lanes_to.values() for lane in lanes]
    made: set[str] = set()
    standing = 0
    for _ in range(40):
        actions = random_actions(environment, generator)
        environment.step(actions)
        before, hand.shown = hand.shown, actions[0].tolist()
        for second in range(10):
            for name, old, new in zip(hand.agents, before, hand.shown, strict=True):
                assert new is not None
                hand.engine.set_tl_phase(name, 0 if old != new and second < 5 else new + 1)
            hand.engine.next_step()
            made.update(hand.engine.get_vehicles(True))
        waiting = hand.engine.get_lane_waiting_vehicle_count()
        standing += sum(waiting[lane] for lane in incoming)
    present, running = hand.engine.get_vehicles(True), hand.engine.get_vehicles()
    scores = {name: value.item() for name, value in environment.scores().items()}
    assert scores["throughput"] == len(made) - len(present) > 100
    assert scores["outside"] == len(present) - len(running) > 0
    assert scores["queue_length"] == pytest.approx(standing / 40 / len(incoming), rel=1e-12)
    environment.reset()
    assert not any(value.any() for value in environment.scores().values())


def test_shared_reward_is_the_mean(generator: torch.Generator) -> None:
    local, shared = city(SMALL, 2), city(SMALL, 2, reward="shared")
    local.reset(1)
    shared.reset(1)
    for _ in range(20):
        actions = random_actions(local, generator)
        one, two = local.step(actions), shared.step(actions)
        expected = one.reward.double().mean(-1, keepdim=True).expand(-1, 4).float()
        assert torch.equal(two.reward, expected)
        assert torch.equal(one.observation, two.observation)
    assert all(torch.equal(value, shared.scores()[name]) for name, value in local.scores().items())


def test_nothing_is_shown_before_the_first_decision() -> None:
    environment = city(SMALL, 2)
    for _ in range(2):
        assert not environment.reset().observation.any()
        assert environment.current_action.tolist() == [[-1] * 4] * 2
        chosen = torch.tensor([[3, 0, 7, 1], [2, 2, 2, 2]])
        environment.step(chosen)
        assert torch.equal(environment.current_action, chosen)


def test_bad_actions_are_refused() -> None:
    environment = city(SMALL, 2)
    environment.reset(0)
    good = torch.zeros(2, 4, dtype=torch.int64)
    high, low = good.clone(), good.clone()
    high[1, 2], low[0, 3] = 8, -1
    bad: list[tuple[torch.Tensor, str]] = [
        (good[:, :3], r"shape \(2, 3\) and type torch.int64; expected integers \(2, 4\)"),
        (good[:1], r"shape \(1, 4\)"),
        (good.float(), r"type torch.float32; expected integers"),
        (good.bool(), r"type torch.bool; expected integers"),
        (torch.nn.functional.one_hot(good, 8), r"shape \(2, 4, 8\)"),
        (high, r"agent 2 \(intersection_2_1\) in copy 1 is 8; it has \[0, 1, 2, 3, 4, 5, 6, 7\]"),
        (low, r"agent 3 \(intersection_2_2\) in copy 0 is -1"),
    ]
    before = environment.state_dict()
    for actions, message in bad:
        with pytest.raises(ValueError, match=message):
            environment.step(actions)
    assert environment.state_dict()["time"] == before["time"] == 0
    assert not any(environment.take_statistics()["actions"].values())
    for kind in (torch.int32, torch.uint8):
        environment.step(good.to(kind))


def test_phases_that_are_not_there_are_refused() -> None:
    environment = city(crooked.TASK, 2)
    environment.reset(0)
    mask = torch.tensor(environment.spec.action_mask)
    assert mask.shape == (10, 8)
    assert not mask.all()
    allowed = mask.float().argmax(-1).expand(2, -1).clone()
    agent, action = (~mask).nonzero()[-1].tolist()
    name = environment.city.network.intersection_ids[environment.signals.agents[agent]]
    allowed[1, agent] = action
    with pytest.raises(ValueError, match=rf"agent {agent} \({name}\) in copy 1 is {action}; it has \["):
        environment.step(allowed)


def test_statistics_by_hand(tmp_path: Path, generator: torch.Generator) -> None:
    """Movements are read off the names of the roads: heading of the present one, turn into the next."""
    environment, hand = city(SMALL, 2), HandDriven(SMALL, tmp_path, 5)
    environment.reset(0)
    environment.batch.seed([5, 5])
    present, arrived = dict.fromkeys(MOVEMENTS, 0.0), dict.fromkeys(MOVEMENTS, 0.0)
    greens, actions_taken = dict.fromkeys(MOVEMENTS, 0.0), [0] * 8
    seen: set[tuple[str, str]] = set()
    turns = {1: "left", 0: "straight", 3: "right"}
    opened = [["east_straight", "west_straight"], ["north_straight", "south_straight"]]
    opened += [["east_left", "west_left"], ["north_left", "south_left"]]
    opened += [[f"{side}_straight", f"{side}_left"] for side in ("east", "west", "north", "south")]
    for _ in range(30):
        for lane, vehicles in hand.engine.get_lane_vehicles().items():
            heading = int(lane.split("_")[3])
            for name in vehicles:
                roads = hand.engine.get_vehicle_info(name)["route"].split()
                if len(roads) > 1:
                    turn = turns[(int(roads[1][-1]) - heading) % 4]
                    movement = f"{('east', 'north', 'west', 'south')[heading]}_{turn}"
                    present[movement] += 2
                    arrived[movement] += 2 * ((name, roads[0]) not in seen)
                    seen.add((name, roads[0]))
        actions = random_actions(environment, generator)[:1].expand(2, -1)
        environment.step(actions)
        hand.step(actions[0].tolist())
        for action in actions[0].tolist():
            actions_taken[action] += 2
            for movement in opened[action]:
                greens[movement] += 1.0
    taken = environment.take_statistics()
    assert sum(present.values()) > 1000
    assert taken["present"] == present
    assert 100 < sum(arrived.values()) < sum(present.values()) / 2
    assert taken["arrived"] == arrived
    assert not any(taken["at_intersections"].values())  # no episode has ended
    assert taken["greens"] == greens
    assert taken["actions"] == {**{str(a): float(n) for a, n in enumerate(actions_taken)}, "all": 2.0 * 4 * 30}
    assert not any(number for part in environment.take_statistics().values() for number in part.values())


def test_settings() -> None:
    bad: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"reward": "difference"}, ValueError, "reward = 'difference': expected one of local, shared"),
        ({"engine": "sumo"}, ValueError, "engine = 'sumo': expected one of builtin, cityflow"),
        ({"yellow_seconds": 10}, ValueError, "expected less than decision_seconds = 10"),
        ({"yellow_seconds": -1}, ValueError, "yellow_seconds = -1: expected zero or a positive whole number"),
        ({"decision_seconds": 0}, ValueError, "decision_seconds = 0: expected a positive whole number"),
        ({"episode_seconds": 1005}, ValueError, "expected a multiple of decision_seconds = 10"),
        ({"episode_seconds": 1e3}, ValueError, "episode_seconds = 1000.0: expected a positive whole number"),
        ({"backend": "numba"}, TypeError, "has no setting backend; it has reward, episode_seconds"),
    ]
    for settings, error, message in bad:
        with pytest.raises(error, match=message):
            envs.make(SMALL, 1, **settings)
    with pytest.raises(ValueError, match="num_envs must be at least 1"):
        envs.make(SMALL, 0)
    for seed in (-1, 2**63):
        with pytest.raises(ValueError, match="seed must be between"):
            city(SMALL).reset(seed)


@pytest.mark.parametrize("size", [4, 9, 16, 49])
def test_spec_of_a_grid_is_that_of_its_city(size: int) -> None:
    """Large grids are not built to say what agents see in them."""
    from envs.traffic.tasks import city_of

    task = f"cityflow/synthetic_{size}"
    spec, signals = envs.spec(task), city_of(task).signals
    assert spec.num_agents == len(signals.agents)
    assert spec.num_actions == signals.num_actions
    assert spec.observation_dim == signals.lanes.shape[1] + signals.num_actions
    assert spec.max_neighbours == signals.neighbours.shape[1]
    assert (spec.action_mask == ()) == bool(signals.action_mask.all())


def test_tasks() -> None:
    assert set(TASKS) < set(envs.tasks())
    assert envs.spec("cityflow/synthetic_16").num_agents == 16, "another square"
    for name in ("synthetic_5", "synthetic_1", "synthetic_04", "synthetic_10201", "jinan_13"):
        with pytest.raises(UnknownTaskError, match="there is no task"):
            envs.make(f"cityflow/{name}", 1)


def test_maps_that_are_not_here_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from envs.traffic import tasks

    monkeypatch.setenv("IPB_DATA", str(tmp_path))
    tasks.listed_city.cache_clear()
    for ask in (envs.spec, lambda task: envs.make(task, 1)):
        with pytest.raises(EnvironmentNotAvailableError, match=r"python -m envs.traffic.data fetch"):
            ask("cityflow/hangzhou_16")
