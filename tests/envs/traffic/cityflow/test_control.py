"""CityFlow's Python interface: phases, speeds, routes, pushed vehicles, steps, and beginning anew."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from envs.traffic.synthetic.grid import grid_roadnet
from tests.envs.traffic.cityflow.engines import STRAIGHT, busy, everything, history, single
from tests.envs.traffic.towns import RIGHT_ANGLES, corridor, crossing, flow, make_engine


def test_phases_act_from_the_next_step_on() -> None:
    engine = make_engine(corridor(1), [flow(STRAIGHT)])
    engine.set_tl_phase("n1", 1)
    engine.run(60)
    assert engine.get_lane_vehicle_count()["r1_0"] == 0
    engine.set_tl_phase("n1", np.int64(0))
    engine.run(15)
    assert engine.get_lane_vehicle_count()["r1_0"] > 0


@pytest.mark.parametrize(
    ("intersection", "phase", "complaint"),
    [
        ("n1", 2, "n1 has no phase 2: expected 0 to 1"),
        ("n1", -1, "n1 has no phase -1"),
        ("n0", 0, "n0 has no phase 0: it is virtual"),
        ("n3", 0, "there is no intersection 'n3' in roadnet.json"),
    ],
)
def test_wrong_phases(intersection: str, phase: int, complaint: str) -> None:
    engine = make_engine(corridor(), [])
    with pytest.raises(ValueError, match=complaint):
        engine.set_tl_phase(intersection, phase)
    with pytest.raises(TypeError):
        engine.set_tl_phase("n1", 1.0)  # type: ignore[arg-type]
    assert engine.state.traffic.phase.tolist() == [0, 0, 0]


def test_phases_of_the_built_in_cycle_cannot_be_set() -> None:
    engine = make_engine(corridor(), [], rlTrafficLight=False)
    with pytest.warns(RuntimeWarning, match="set_tl_phase needs rlTrafficLight"):
        engine.set_tl_phase("n1", 1)
    assert engine.state.traffic.phase[1] == 0


def test_a_set_speed_holds_for_one_step() -> None:
    engine = single()
    engine.set_vehicle_speed("flow_0_0", 3.0)
    engine.next_step()
    assert engine.get_vehicle_speed()["flow_0_0"] == 3.0
    engine.next_step()
    assert engine.get_vehicle_speed()["flow_0_0"] == 5.0
    engine.set_vehicle_speed("flow_0_0", 100.0)
    engine.next_step()
    assert engine.get_vehicle_speed()["flow_0_0"] == 7.0, "the acceleration still limits it"
    engine.set_vehicle_speed("flow_0_0", 0.0)
    engine.next_step()
    assert engine.get_vehicle_speed()["flow_0_0"] == 2.5, "and the deceleration"


@pytest.mark.parametrize("speed", [math.nan, math.inf, -0.1])
def test_speeds_that_are_none(speed: float) -> None:
    engine = single()
    with pytest.raises(ValueError, match="expected zero or a positive number"):
        engine.set_vehicle_speed("flow_0_0", speed)
    with pytest.raises(ValueError, match=r"'speed' is .*; expected a finite number >= 0"):
        engine.push_vehicle({"speed": speed}, STRAIGHT)


def test_routes_are_changed_from_the_present_road_on() -> None:
    """The eastbound vehicle is on the middle lane, which leads straight on only."""
    engine = make_engine(grid_roadnet(2, 2, 150.0), [flow(("road_0_1_0", "road_1_1_0", "road_2_1_0"), endTime=0)])
    engine.next_step()
    before = engine.get_vehicle_info("flow_0_0")["route"]
    assert before == "road_0_1_0 road_1_1_0 road_2_1_0 "
    for refused in (["road_1_1_1"], ["road_9"], ["road_0_1_0"], [], ["road_0_2_0"], ["road_1_1_0", "road_0_1_0"]):
        assert engine.set_vehicle_route("flow_0_0", refused) is False
        assert engine.get_vehicle_info("flow_0_0")["route"] == before
    assert engine.set_vehicle_route("flow_0_0", ["road_2_1_1", "road_2_2_0"]) is True
    after = engine.get_vehicle_info("flow_0_0")["route"]
    assert after == "road_0_1_0 road_1_1_0 road_2_1_1 road_2_2_0 "
    engine.set_tl_phase("intersection_1_1", 1)
    while "_TO_" not in engine.get_vehicle_info("flow_0_0")["drivable"]:
        engine.next_step()
    assert engine.set_vehicle_route("flow_0_0", ["road_2_1_0"]) is False, "on a lane link"
    engine.run(20)
    assert engine.get_vehicle_info("flow_0_0")["road"] == "road_1_1_0"
    assert engine.set_vehicle_route("flow_0_0", ["road_2_1_0"]) is False, "it is on the lane that turns left"
    engine.set_tl_phase("intersection_2_1", 3)
    engine.set_tl_phase("intersection_2_2", 8)
    engine.run(60)
    assert engine.get_vehicles() == []


def test_routes_of_waiting_vehicles_can_be_changed_and_those_of_new_ones_cannot() -> None:
    engine = make_engine(crossing(), [flow(RIGHT_ANGLES[1], interval=1.0)])
    engine.run(6)
    ((waiting, *_),) = engine.waiting_vehicles().values()
    assert engine.set_vehicle_route(waiting, ["road_1_1_0"]) is True
    assert engine.set_vehicle_route(waiting, ["road_1_1_1"]) is False
    engine.push_vehicle({}, RIGHT_ANGLES[1])
    assert engine.set_vehicle_route("manually_pushed_0", ["road_1_1_0"]) is False
    engine.set_tl_phase("intersection_1_1", 1)
    engine.run(90)
    assert waiting not in engine.get_vehicles(include_waiting=True)


def test_pushed_vehicles() -> None:
    """They enter in the next step with their own speed; everything that is not given has a default."""
    engine = make_engine(corridor(1), [])
    engine.run(4)
    engine.push_vehicle({"speed": 5.0, "maxSpeed": 6.0, "maxPosAcc": 0.5}, ["r0", "r1"])
    assert engine.get_vehicles(include_waiting=True) == ["manually_pushed_0"]
    assert engine.get_vehicle_count() == 0
    assert engine.get_average_travel_time() == 0.0
    engine.next_step()
    assert engine.get_vehicle_speed() == {"manually_pushed_0": 5.5}
    assert engine.get_average_travel_time() == 1.0
    engine.next_step()
    engine.next_step()
    assert engine.get_vehicle_speed() == {"manually_pushed_0": 6.0}
    engine.push_vehicle({}, ["r0", "r1"])
    kind = engine.state.traffic.kinds[-1]
    assert [float(kind[name]) for name in kind.dtype.names[:9]] == [5.0, 2.0, 4.5, 4.5, 2.5, 2.5, 2.0, 16.66667, 1.0]
    engine.reset()
    engine.push_vehicle({}, ["r0", "r1"])
    assert engine.get_vehicles(include_waiting=True) == ["manually_pushed_2"], "the number is never reset"


def test_pushed_vehicles_come_before_those_of_the_flows() -> None:
    """On one lane they are first in its buffer."""
    engine = make_engine(corridor(1), [flow(STRAIGHT, interval=1.0)])
    engine.push_vehicle({}, STRAIGHT)
    engine.push_vehicle({}, STRAIGHT)
    engine.next_step()
    assert engine.get_vehicles() == ["manually_pushed_0"]
    assert engine.waiting_vehicles() == {"r0_0": ["manually_pushed_1", "flow_0_0"]}


@pytest.mark.parametrize(
    ("info", "route", "complaint"),
    [
        ({"colour": 3.0}, STRAIGHT, "unknown key 'colour'; expected speed, length"),
        ({"usualNegAcc": 0.0}, STRAIGHT, "push_vehicle: 'usualNegAcc' is 0.0; expected a finite number > 0"),
        ({"length": -1}, STRAIGHT, "push_vehicle: 'length' is -1; expected a finite number >= 0"),
        ({"maxSpeed": math.nan}, STRAIGHT, "push_vehicle: 'maxSpeed' is nan"),
        ({"minGap": "2"}, STRAIGHT, "push_vehicle: 'minGap' is '2'"),
        ({}, ("r0", "r9"), "there is no road 'r9' in roadnet.json"),
        ({}, ("r1", "r0"), "no route leads along"),
        ({}, ("r0",), "no route leads along"),
        ({}, (), "no route leads along"),
    ],
)
def test_vehicles_that_cannot_be_pushed(info: dict[str, Any], route: tuple[str, ...], complaint: str) -> None:
    engine = make_engine(corridor(), [])
    with pytest.raises(ValueError, match=complaint):
        engine.push_vehicle(info, route)
    assert engine.get_vehicles(include_waiting=True) == []


@pytest.mark.parametrize("config", [{}, {"laneChange": True}, {"rlTrafficLight": False}, {"interval": 0.5}])
def test_many_steps_at_once_equal_single_ones(config: dict[str, Any]) -> None:
    flows = [flow(STRAIGHT, interval=1.0, maxSpeed=speed) for speed in (11.0, 6.0)]
    one_by_one, at_once = make_engine(corridor(), flows, **config), make_engine(corridor(), flows, **config)
    for steps in (0, 1, 7, 60):
        for _ in range(steps):
            one_by_one.next_step()
        at_once.run(steps)
        assert everything(one_by_one) == everything(at_once)


def test_numbers_of_steps() -> None:
    engine = make_engine(corridor(), [])
    with pytest.raises(ValueError, match="steps = -1: expected zero or more"):
        engine.run(-1)
    with pytest.raises(TypeError):
        engine.run(1.5)  # type: ignore[arg-type]
    assert engine.get_current_time() == 0.0


def test_reset_with_the_seed_is_a_new_engine() -> None:
    engine = busy()
    first = history(engine, 80)
    engine.push_vehicle({}, RIGHT_ANGLES[0])
    engine.reset(seed=True)
    assert everything(engine) == everything(busy())
    assert history(engine, 80) == first


def test_reset_without_the_seed_lets_the_random_generator_go_on() -> None:
    """Priorities are then those that would have come next: two draws for each vehicle before, one for its lane."""
    engine = make_engine(corridor(1), [flow(STRAIGHT, endTime=4)])
    engine.run(10)
    engine.reset()
    engine.next_step()
    draws = np.random.RandomState(7).randint(2**32, size=7, dtype=np.uint32)
    assert engine.vehicle_table().priority.astype(np.uint32).tolist() == [draws[6]]
    engine.set_random_seed(7)
    engine.reset()
    engine.next_step()
    assert engine.vehicle_table().priority.astype(np.uint32).tolist() == [draws[0]]


def test_reset_starts_lights_and_statistics_again() -> None:
    engine = make_engine(corridor(1, (60.0, 60.0)), [flow(STRAIGHT)], rlTrafficLight=False)
    before = engine.state.lanes.remaining.tolist()
    engine.run(33)
    assert engine.state.traffic.phase[1] == 1
    engine.reset()
    assert engine.state.traffic.phase[1] == 0
    assert engine.state.lanes.remaining.tolist() == before == [0.0, 30.0, 0.0]
    assert (engine.get_current_time(), engine.get_average_travel_time(), engine.get_vehicle_count()) == (0.0, 0.0, 0)
    assert not engine.state.traffic.occupied.any()


@pytest.mark.parametrize("seed", [0, 1, -1, 2**31 - 1])
def test_seeds_are_those_of_the_mersenne_twister(seed: int) -> None:
    engine = make_engine(corridor(1), [flow(STRAIGHT)], seed=seed)
    engine.next_step()
    expected = np.random.RandomState(seed % 2**32).randint(2**32, dtype=np.uint32)
    assert engine.vehicle_table().priority.astype(np.uint32).tolist() == [expected]
    other = make_engine(corridor(1), [flow(STRAIGHT)], seed=5)
    other.set_random_seed(seed)
    other.next_step()
    assert everything(other) == everything(engine)


def test_engines_share_nothing() -> None:
    expected = history(busy(), 60)
    first, second = busy(), busy(seed=3)
    mixed = []
    for _ in range(6):
        mixed += history(first, 0)
        for step in range(10):
            first.set_tl_phase("intersection_1_1", (len(mixed) // 9 * 5) % 9)
            first.next_step()
            mixed.append(everything(first))
            second.set_tl_phase("intersection_1_1", step % 9)
            second.push_vehicle({"speed": 1.0}, RIGHT_ANGLES[1])
            second.next_step()
        second.reset()
    assert mixed == expected
