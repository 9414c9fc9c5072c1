"""CityFlow in place of our engine changes nothing. As CityFlow is not installed here, ours stands in for it: what is
tested is everything that lies between CityFlow's interface and the environment."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import envs
from envs.errors import EnvironmentNotAvailableError
from envs.traffic import Engine, original
from envs.traffic.tasks import write_files
from tests.beside import needs_map
from tests.envs.traffic import crooked
from tests.envs.traffic.hand import city, random_actions

SMALL = "cityflow/synthetic_4"
INTERFACE = (
    "next_step",
    "reset",
    "set_random_seed",
    "set_tl_phase",
    "get_vehicles",
    "get_lane_vehicles",
    "get_lane_vehicle_count",
    "get_lane_waiting_vehicle_count",
    "get_vehicle_info",
    "get_average_travel_time",
)
"""All that may be asked of CityFlow."""


class StandIn:
    """Nothing but CityFlow's methods, with CityFlow's types."""

    def __init__(self, config_file: str, thread_num: int = 1) -> None:
        assert isinstance(config_file, str)
        assert thread_num == 1
        self._engine = Engine(config_file, thread_num)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        assert name in INTERFACE, f"{name} is not one of CityFlow's methods"
        return getattr(self._engine, name)  # type: ignore[no-any-return]

    def set_random_seed(self, seed: int) -> None:
        assert -(2**31) <= seed < 2**31, "CityFlow takes an int of 32 bits"
        self._engine.set_random_seed(seed)

    def set_tl_phase(self, intersection_id: str, phase_id: int) -> None:
        assert type(phase_id) is int
        self._engine.set_tl_phase(intersection_id, phase_id)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("cityflow")
    module.Engine = StandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cityflow", module)
    monkeypatch.setattr(original, "REST", 0.0)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("task", "steps", "settings"),
    [
        (SMALL, 25, {}),
        (SMALL, 20, {"lane_change": True}),
        (SMALL, 20, {"yellow_seconds": 0, "reward": "shared"}),
        (crooked.TASK, 15, {}),
        pytest.param("cityflow/manhattan_96", 15, {}, marks=needs_map("cityflow/manhattan_96")),
    ],
)
def test_equals_the_engine_that_is_built_in(task: str, steps: int, settings: Any, generator: torch.Generator) -> None:
    """Observations, rewards and movements of two episodes, and all scores."""
    ours, theirs = city(task, 2, **settings), city(task, 2, engine="cityflow", **settings)
    assert ours.spec == theirs.spec
    for seed in (2**40, None):
        pairs = [(ours.reset(seed), theirs.reset(seed))]
        for _ in range(steps):
            actions = random_actions(ours, generator)
            pairs.append((ours.step(actions), theirs.step(actions)))
        for one, two in pairs:
            assert torch.equal(one.observation, two.observation)
            assert torch.equal(one.reward, two.reward)
        scores = theirs.scores()
        assert all(torch.equal(value, scores[name]) for name, value in ours.scores().items())
        assert ours.take_statistics() == theirs.take_statistics()
    assert scores["throughput"].min() > 0


@pytest.mark.usefixtures("installed")
def test_reference_policies_work_with_it() -> None:
    ours, theirs = city(SMALL, 2), city(SMALL, 2, engine="cityflow")
    for name, policy in envs.reference_policies(SMALL).items():
        runs = []
        for environment in (ours, theirs):
            environment.reset(0)
            acting, generator = policy(environment), torch.Generator().manual_seed(0)
            runs.append([environment.step(acting.act(generator)).reward for _ in range(15)])
        assert torch.equal(torch.stack(runs[0]), torch.stack(runs[1])), name


@pytest.mark.usefixtures("installed")
def test_episodes_cannot_be_saved() -> None:
    environment = city(SMALL, engine="cityflow")
    environment.reset(0)
    with pytest.raises(RuntimeError, match="cannot be saved and continued; use engine='builtin'"):
        environment.state_dict()
    with pytest.raises(RuntimeError, match="cannot be saved"):
        environment.load_state_dict(city(SMALL).state_dict())


@pytest.mark.usefixtures("installed")
def test_engines_rest_before_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """CityFlow's destructor hangs where a step has just been taken."""
    rests: list[float] = []
    monkeypatch.setattr(original.time, "sleep", rests.append)
    environment = city(SMALL, engine="cityflow")
    environment.reset(0)
    assert rests == []
    del environment
    assert rests == [original.REST]


def test_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cityflow", None)
    with pytest.raises(EnvironmentNotAvailableError, match=r"pip install '\.\[cityflow\]'.*leave the setting"):
        city(SMALL, engine="cityflow")


def test_files_of_a_task(tmp_path: Path) -> None:
    """CityFlow reads plain JSON; vehicles are those of the built-in engine, one by one."""
    write_files(SMALL, tmp_path)
    flow = json.loads((tmp_path / "flow.json").read_text())
    environment = city(SMALL)
    arrays, network = environment.city.flows.arrays, environment.city.network
    assert len(flow) == len(arrays.start) > 100
    assert [vehicle["startTime"] for vehicle in flow] == arrays.start.tolist()
    for vehicle, route in zip(flow, arrays.route.tolist(), strict=True):
        roads = arrays.route_roads[arrays.route_starts[route] : arrays.route_starts[route + 1]]
        assert vehicle["route"] == [network.road_ids[road] for road in roads]
    roadnet = json.loads((tmp_path / "roadnet.json").read_text())
    assert [road["id"] for road in roadnet["roads"]] == list(network.road_ids)
