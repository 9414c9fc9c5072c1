"""Control without learning against plain loops over links and lanes, and what it is worth."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

import envs
from envs.traffic.environment import TrafficEnvironment
from envs.traffic.reference_policies import REFERENCE_POLICIES, SOTL, FixedTime, MaxPressure, Random, cycles
from envs.traffic.synthetic.grid import grid_roadnet
from envs.traffic.tasks import city_of
from tests.beside import needs_map
from tests.envs.traffic import crooked
from tests.envs.traffic.hand import city, random_actions
from tests.envs.traffic.towns import flow, registered

SMALL, HANGZHOU, MANHATTAN = "cityflow/synthetic_9", "cityflow/hangzhou_16", "cityflow/manhattan_96"
IRREGULAR = [crooked.TASK, pytest.param(MANHATTAN, marks=needs_map(MANHATTAN))]


def links(environment: TrafficEnvironment, agent: int, action: int) -> Iterator[tuple[int, int, int]]:
    """Start lane, end lane and rank of the lane links that an action of an agent opens."""
    arrays, intersection = environment.city.network.arrays, environment.signals.agents[agent]
    for link in np.flatnonzero(arrays.link_intersection == intersection):
        if arrays.open[arrays.link_light[link] + (action + 1) * arrays.light_stride[intersection]]:
            yield int(arrays.link_from[link]), int(arrays.link_to[link]), int(arrays.link_rank[link])


def actions_of(environment: TrafficEnvironment, agent: int) -> list[int]:
    return [int(action) for action in np.flatnonzero(environment.signals.action_mask[agent])]


def counts(environment: TrafficEnvironment, copy: int) -> list[int]:
    """Vehicles on every lane."""
    lanes = np.arange(len(environment.city.network.lane_ids))
    numbers: list[int] = environment.batch.lane_vehicles(lanes)[copy].tolist()
    return numbers


@pytest.mark.parametrize("task", [SMALL, *IRREGULAR])
def test_max_pressure_by_loops(task: str, generator: torch.Generator) -> None:
    environment = city(task, 2)
    policy = MaxPressure(environment)
    environment.reset(0)
    chosen = set()
    for _ in range(12):
        for _ in range(2):
            environment.step(random_actions(environment, generator))
        expected: list[int] = []
        for copy in range(2):
            count = counts(environment, copy)
            for agent in range(environment.spec.num_agents):
                pressure = {
                    action: sum(count[a] - count[b] for a, b, _ in links(environment, agent, action))
                    for action in actions_of(environment, agent)
                }
                expected.append(max(pressure, key=lambda action: (pressure[action], -action)))
        assert policy.act(generator).flatten().tolist() == expected
        chosen |= set(expected)
    assert len(chosen) > 4


class LoopedSOTL:
    """The rules of `SOTL`, one agent after the other."""

    def __init__(self, environment: TrafficEnvironment) -> None:
        self.environment = environment
        mask = environment.signals.action_mask
        self.cycles = [[a for a in range(4) if row[a]] or np.flatnonzero(row).tolist() for row in mask]
        self.opens = [
            {a: {start for start, _, rank in links(environment, agent, a) if rank != 1} for a in range(mask.shape[1])}
            for agent in range(len(mask))
        ]
        pairs = [(copy, agent) for copy in range(environment.num_envs) for agent in range(len(mask))]
        self.shown = {pair: self.cycles[pair[1]][0] for pair in pairs}
        self.seconds = dict.fromkeys(pairs, 0)
        self.counters = {pair: dict.fromkeys(self.cycles[pair[1]], 0) for pair in pairs}

    def act(self) -> list[int]:
        environment, decision = self.environment, self.environment.settings.decision_seconds
        for copy in range(environment.num_envs):
            count, standing = counts(environment, copy), environment.batch.simulations[copy].lane_waiting()
            for agent, opens in enumerate(self.opens):
                pair, counters = (copy, agent), self.counters[copy, agent]
                green = opens[self.shown[pair]]
                for action in counters:
                    counters[action] += decision * sum(count[lane] for lane in opens[action] - green)
                rest = sum(int(standing[lane]) for lane in green)
                best = max(counters, key=lambda action: (counters[action], -action))
                long_enough = self.seconds[pair] >= 20
                if counters[best] >= 40 and long_enough and not 1 <= rest <= 3:
                    self.shown[pair], self.seconds[pair] = best, 0
                self.seconds[pair] += decision
                counters[self.shown[pair]] = 0
        return list(self.shown.values())


@pytest.mark.parametrize("task", [SMALL, *IRREGULAR])
def test_sotl_by_loops(task: str, generator: torch.Generator) -> None:
    environment = city(task, 2)
    policy = SOTL(environment)
    for _ in range(2):
        environment.reset()
        looped = LoopedSOTL(environment)
        shown = set()
        for decision in range(30):
            actions = policy.act(generator)
            assert actions.flatten().tolist() == looped.act(), decision
            shown.add(tuple(actions[0].tolist()))
            # a policy of its own here and there, so that copies differ
            environment.step(torch.where(torch.tensor([[True], [decision % 3 > 0]]), actions, actions.flip(0)))
        assert len(shown) > 8


def test_fixed_time_shows_each_phase_for_half_a_minute(generator: torch.Generator) -> None:
    environment = city(SMALL, 2)
    environment.reset(0)
    policy, shown = FixedTime(environment), []
    for _ in range(26):
        actions = policy.act(generator)
        assert (actions == actions[0, 0]).all()
        shown.append(int(actions[0, 0]))
        environment.step(actions)
    assert shown == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3 + [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3 + [0] * 2


def test_cycles_of_agents_that_lack_actions() -> None:
    """All that an agent has, where the first four leave out a movement that others open."""
    signals = city_of("cityflow/synthetic_4").signals
    mask = np.ones((4, 8), dtype=bool)
    mask[1, [0, 3]] = False
    mask[2, :6] = False
    mask[3, [0, 3, 4, 5, 6, 7]] = False
    found = cycles(dataclasses.replace(signals, action_mask=mask))
    assert found == [[0, 1, 2, 3], [1, 2, 4, 5, 6, 7], [6, 7], [1, 2]]


def test_fixed_time_follows_the_file(tmp_path: Path, generator: torch.Generator) -> None:
    """Each phase is shown as long as the file says, to whole decisions; agents have times of their own."""
    roadnet = deepcopy(grid_roadnet(1, 2))
    first, second = (node["trafficLight"]["lightphases"] for node in roadnet["intersections"] if not node["virtual"])
    del first[4:], second[3:]
    for phases, times in ((first, (5, 20, 35, 10)), (second, (5, 0, 0))):
        for phase, time in zip(phases, times, strict=True):
            phase["time"] = time
    with registered("two_2", roadnet, [flow(("road_0_1_0", "road_1_1_0"))], tmp_path) as task:
        environment = city(task)
        environment.reset(0)
        policy, shown = FixedTime(environment), []
        for _ in range(10):
            actions = policy.act(generator)
            shown.append(actions[0].tolist())
            environment.step(actions)
    assert [action for action, _ in shown] == [0, 0, 1, 1, 1, 1, 2, 0, 0, 1], "cycles of 65 s"
    assert [action for _, action in shown] == [0, 0, 0, 1, 1, 1, 0, 0, 0, 1], (
        "half a minute where the file says nothing"
    )


@pytest.mark.parametrize("task", IRREGULAR)
@pytest.mark.parametrize("name", REFERENCE_POLICIES)
def test_masks_are_kept(name: str, task: str, generator: torch.Generator) -> None:
    environment = city(task, 2)
    environment.reset(0)
    policy = REFERENCE_POLICIES[name](environment)
    mask = torch.tensor(environment.spec.action_mask).expand(2, -1, -1)
    taken = torch.zeros_like(mask)
    for _ in range(40):
        actions = policy.act(generator)
        taken.scatter_(-1, actions[..., None], True)
        environment.step(actions)
    assert not (taken & ~mask).any()
    wanted = mask.clone()
    if name in ("fixed_time", "sotl"):
        wanted[..., 4:] = False
    if name != "sotl":
        assert taken.sum() > 0.5 * wanted.sum()


def test_random_shows_all_phases_equally_often() -> None:
    environment = city(SMALL, 50)
    environment.reset(0)
    policy, generator = Random(environment), torch.Generator().manual_seed(0)
    draws = torch.stack([policy.act(generator) for _ in range(40)])
    shares = torch.bincount(draws.flatten(), minlength=8) / draws.numel()
    assert draws.numel() == 18_000
    assert (shares - 1 / 8).abs().max() < 5 * (1 / 8 * 7 / 8 / 18_000) ** 0.5


@pytest.mark.parametrize(
    ("task", "bounds"),
    [
        ("cityflow/synthetic_9", {"max_pressure": 235, "sotl": 195, "fixed_time": 470}),
        ("cityflow/synthetic_49", {"sotl": 300}),
        (crooked.TASK, {"max_pressure": 122, "fixed_time": 280}),
        pytest.param(HANGZHOU, {"sotl": 355}, marks=needs_map(HANGZHOU)),
        pytest.param(MANHATTAN, {"max_pressure": 235, "sotl": 270, "fixed_time": 710}, marks=needs_map(MANHATTAN)),
    ],
)
def test_adaptive_control_is_worth_it(task: str, bounds: dict[str, float]) -> None:
    """Seconds of travel over the whole hour; SOTL on Hangzhou is published with about 354."""
    generator = torch.Generator().manual_seed(0)
    for name, bound in bounds.items():
        environment = city(task, episode_seconds=3600)
        environment.reset(0)
        policy = envs.reference_policies(task)[name](environment)
        for _ in range(environment.spec.episode_length):
            environment.step(policy.act(generator))
        assert 0.9 * bound < environment.scores()["average_travel_time"].item() < bound, name


def test_another_kind_of_environment_is_refused() -> None:
    for policy in REFERENCE_POLICIES.values():
        with pytest.raises(TypeError, match="needs a traffic environment, not ParticleEnvironment"):
            policy(envs.make("mpe/cooperative_navigation_3", 1))
