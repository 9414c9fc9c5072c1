"""CityFlow's Python interface: what every method gives and refuses."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.errors import TrafficFileError
from envs.traffic import Archive, Engine
from envs.traffic.engine.simulation import FIRST_CAPACITY
from envs.traffic.engine.state import FREE, POOL
from envs.traffic.synthetic.grid import grid_roadnet
from tests.envs.traffic.towns import RIGHT_ANGLES, VEHICLE, corridor, crossing, flow, make_engine, ring, write_files

STRAIGHT = ("r0", "r1")


def single(**changes: Any) -> Engine:
    """A corridor with one vehicle, which has made one step: it is at 1 m with 2 m/s."""
    engine = make_engine(corridor(1), [flow(STRAIGHT, endTime=0, **changes)])
    engine.next_step()
    return engine


def busy(**config: Any) -> Engine:
    return make_engine(crossing(), [flow(way, interval=2.0 + i) for i, way in enumerate(RIGHT_ANGLES)], **config)


def everything(engine: Engine) -> dict[str, Any]:
    """The results of all queries, for comparisons."""
    return {
        "time": engine.get_current_time(),
        "count": engine.get_vehicle_count(),
        "vehicles": engine.get_vehicles(include_waiting=True),
        "lanes": engine.get_lane_vehicles(),
        "waiting": engine.get_lane_waiting_vehicle_count(),
        "buffers": engine.waiting_vehicles(),
        "speed": engine.get_vehicle_speed(),
        "distance": engine.get_vehicle_distance(),
        "time spent": engine.get_average_travel_time(),
        "info": [engine.get_vehicle_info(vehicle) for vehicle in engine.get_vehicles()],
        "leaders": [engine.get_leader(vehicle) for vehicle in engine.get_vehicles()],
    }


def history(engine: Engine, steps: int) -> list[dict[str, Any]]:
    """The results of all queries after each of some steps, with changing lights."""
    result = []
    for step in range(steps):
        engine.set_tl_phase("intersection_1_1", (step // 9 * 5) % 9)
        engine.next_step()
        result.append(everything(engine))
    return result


# --- making an engine ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, -1, 1.0, "1", True, None])
def test_thread_numbers_that_make_no_sense(tmp_path: Path, number: Any) -> None:
    with pytest.raises(ValueError, match=r"thread_num = .*: expected a positive whole number"):
        Engine(write_files(tmp_path, corridor(), []), thread_num=number)


def test_threads_change_nothing(tmp_path: Path) -> None:
    path = write_files(tmp_path, crossing(), [flow(way) for way in RIGHT_ANGLES])
    assert history(Engine(path), 60) == history(Engine(str(path), thread_num=8), 60)


@pytest.mark.parametrize("missing", ["config.json", "roadnet.json", "flow.json"])
def test_missing_and_malformed_files(tmp_path: Path, missing: str) -> None:
    path = write_files(tmp_path, corridor(), [])
    (tmp_path / missing).write_text("{")
    with pytest.raises(TrafficFileError, match=f"{missing}: not JSON"):
        Engine(path)
    (tmp_path / missing).unlink()
    with pytest.raises(TrafficFileError, match=f"{missing}: there is no such file"):
        Engine(path)


@pytest.mark.parametrize("times", [(0, 0), (0.0,), (1e-4, 1e-300)])
def test_built_in_lights_need_time(times: tuple[float, ...]) -> None:
    """Or a step would never end. Lights that are set from outside do not."""
    roadnet = corridor(times=times)
    with pytest.raises(
        TrafficFileError, match=r"phases of intersection 'n1' last .* s in all; expected a longer 'time'"
    ):
        make_engine(roadnet, [], rlTrafficLight=False)
    make_engine(roadnet, [flow(STRAIGHT)], rlTrafficLight=True).run(5)


def test_phases_without_time_are_skipped() -> None:
    engine = make_engine(corridor(times=(2, 0, 1, 0)), [], rlTrafficLight=False)
    phases = []
    for _ in range(7):
        engine.next_step()
        phases.append(int(engine.state.traffic.phase[1]))
    assert phases == [0, 2, 0, 0, 2, 0, 0]


@pytest.mark.parametrize("interval", [61.0, 1e300])
def test_steps_have_a_longest_length(interval: float) -> None:
    with pytest.raises(TrafficFileError, match=r"'interval' is .*; expected a finite number > 0 <= 60"):
        make_engine(corridor(), [flow(STRAIGHT)], interval=interval)


# --- looking ---------------------------------------------------------------------------------------------------------


def test_time_and_counts() -> None:
    engine = make_engine(corridor(1), [flow(STRAIGHT, interval=2.0)], interval=0.5)
    assert (engine.get_current_time(), engine.get_vehicle_count(), engine.get_average_travel_time()) == (0.0, 0, 0.0)
    engine.run(9)
    assert isinstance(engine.get_current_time(), float)
    assert engine.get_current_time() == 4.5
    waiting = sum(map(len, engine.waiting_vehicles().values()))
    assert engine.get_vehicle_count() + waiting == len(engine.get_vehicles(include_waiting=True)) == 3
    assert (
        engine.get_vehicle_count() == len(engine.get_vehicles()) == sum(engine.get_lane_vehicle_count().values()) == 2
    )


def test_vehicles_come_in_order_of_priority() -> None:
    engine = busy()
    engine.run(40)
    priority = dict(zip(engine.vehicle_table().ids, engine.vehicle_table().priority, strict=True))
    everyone, running = engine.get_vehicles(include_waiting=True), engine.get_vehicles()
    assert len(everyone) > len(running) > 20
    assert [priority[vehicle] for vehicle in everyone] == sorted(priority.values())
    assert running == [vehicle for vehicle in everyone if engine.get_vehicle_info(vehicle)["running"] == "1"]


def test_lanes_come_in_order_of_their_bytes() -> None:
    text = json.dumps(corridor(11)).replace('"r0"', '"Z"').replace('"r1"', '"é_2"')
    engine = make_engine(json.loads(text), [flow(("Z", "é_2"), interval=1.0)])
    engine.run(30)
    lanes = sorted([f"{road}_{i}" for road in ("Z", "é_2") for i in range(11)], key=str.encode)
    for counts in (
        engine.get_lane_vehicle_count(),
        engine.get_lane_waiting_vehicle_count(),
        engine.get_lane_vehicles(),
    ):
        assert list(counts) == lanes
    assert engine.get_lane_vehicle_count() == {lane: len(ids) for lane, ids in engine.get_lane_vehicles().items()}
    assert engine.lane_vehicle_count.tolist() == [engine.get_lane_vehicle_count()[i] for i in engine.network.lane_ids]


def test_vehicles_on_a_lane_come_front_first() -> None:
    """On a single lane that is the order in which they came."""
    engine = make_engine(corridor(1), [flow(STRAIGHT)])
    engine.run(60)
    distance = engine.get_vehicle_distance()
    for ids in engine.get_lane_vehicles().values():
        first = int(ids[0].split("_")[2])
        assert ids == [f"flow_0_{i}" for i in range(first, first + len(ids))]
        assert [engine.get_leader(vehicle) for vehicle in ids[1:]] == ids[:-1]
        assert [distance[vehicle] for vehicle in ids] == sorted((distance[vehicle] for vehicle in ids), reverse=True)
    assert engine.get_leader(engine.get_lane_vehicles()["r1_0"][0]) == ""
    assert engine.get_leader(engine.get_lane_vehicles()["r0_0"][0]) != "", "it follows whoever left its lane last"


def test_standing_vehicles_are_slower_than_a_tenth() -> None:
    """Vehicles on lane links and in buffers do not count."""
    engine = make_engine(corridor(1), [flow(STRAIGHT, interval=2.0)])
    engine.set_tl_phase("n1", 1)
    for _ in range(100):
        engine.next_step()
        speeds, expected = engine.get_vehicle_speed(), dict.fromkeys(("r0_0", "r1_0"), 0)
        for lane, ids in engine.get_lane_vehicles().items():
            expected[lane] = sum(speeds[vehicle] < 0.1 for vehicle in ids)
        assert engine.get_lane_waiting_vehicle_count() == expected
    assert expected["r0_0"] > 20
    assert engine.waiting_vehicles()["r0_0"]
    assert engine.lane_waiting_vehicle_count.dtype == np.int32


def test_speeds_and_distances_by_id() -> None:
    """Ids in order of their text: flow_0_10 comes before flow_0_2."""
    engine = make_engine(corridor(1), [flow(STRAIGHT, interval=3.0)])
    engine.run(39)
    ids = list(engine.get_vehicle_speed())
    assert ids == sorted(engine.get_vehicles()) == list(engine.get_vehicle_distance())
    assert "flow_0_10" in ids
    assert ids.index("flow_0_10") < ids.index("flow_0_2")
    for speed in engine.get_vehicle_speed().values():
        assert type(speed) is float


def test_info_along_the_way() -> None:
    """On a lane link the road is left out, and the route still begins with the one just left."""
    engine = single()
    assert list(engine.get_vehicle_info("flow_0_0").items()) == [
        ("distance", "1.000000"),
        ("drivable", "r0_0"),
        ("intersection", "n1"),
        ("road", "r0"),
        ("route", "r0 r1 "),
        ("running", "1"),
        ("speed", "2.000000"),
    ]
    while engine.get_vehicle_info("flow_0_0")["drivable"] == "r0_0":
        engine.next_step()
    info = engine.get_vehicle_info("flow_0_0")
    assert info["drivable"] == "r0_0_TO_r1_0"
    assert info["route"] == "r0 r1 "
    assert not {"road", "intersection"} & info.keys()
    while engine.get_vehicle_info("flow_0_0")["drivable"] != "r1_0":
        engine.next_step()
    info = engine.get_vehicle_info("flow_0_0")
    assert (info["road"], info["intersection"], info["route"]) == ("r1", "n2", "r1 ")
    assert info["distance"] == f"{engine.get_vehicle_distance()['flow_0_0']:.6f}"


def test_info_of_a_waiting_vehicle() -> None:
    engine = make_engine(corridor(1), [flow(STRAIGHT, interval=1.0)])
    engine.run(5)
    (waiting,) = engine.waiting_vehicles().values()
    assert engine.get_vehicle_info(waiting[0]) == {"running": "0"}
    assert engine.get_leader(waiting[0]) == ""
    assert waiting[0] not in engine.get_vehicle_speed()


@pytest.mark.parametrize(
    "name",
    ["flow_0_1", "flow_1_0", "flow_00_0", "flow_0_0_shadow", "flow_0_0 ", "manually_pushed_0", "", "flow_\u0660_0"],
)
def test_unknown_vehicles(name: str) -> None:
    engine = single()
    for ask in (engine.get_vehicle_info, engine.get_leader, lambda name: engine.set_vehicle_speed(name, 1.0)):
        with pytest.raises(RuntimeError, match=f"Vehicle '{name}' not found"):
            ask(name)
    assert engine.set_vehicle_route(name, ["r1"]) is False
    with pytest.raises(RuntimeError, match="not found"):
        engine.get_leader("flow_0_" + "9" * 5000)


def test_average_travel_time_by_hand() -> None:
    """Two vehicles come 4 s apart; time in the buffer counts, vehicles that have arrived stay counted."""
    engine = make_engine(corridor(1, (60.0, 60.0)), [flow(STRAIGHT, endTime=4)])
    arrived, total = 0, 0.0
    for step in range(40):
        engine.next_step()
        now = step + 1
        finished = {0, 4}.difference(
            4 * int(vehicle.split("_")[2]) for vehicle in engine.get_vehicles(include_waiting=True)
        ) - {time for time in (0, 4) if time > step}
        total += sum(step - enter for enter in sorted(finished)[arrived:])
        arrived = len(finished)
        present = [time for time in (0, 4) if time <= step and time not in finished]
        expected = (total + sum(now - enter for enter in present)) / (arrived + len(present))
        assert engine.get_average_travel_time() == expected
    assert arrived == 2


# --- acting ----------------------------------------------------------------------------------------------------------


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


# --- many steps, beginning anew --------------------------------------------------------------------------------------


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


# --- flows without route, many vehicles, circles ---------------------------------------------------------------------


def test_flows_without_route_are_switched_off() -> None:
    """Each is named once, its vehicle is gone, and a reset does not bring it back."""
    nowhere = flow(("road_0_1_0", "road_1_0_1"), interval=1.0)
    engine = make_engine(crossing(), [nowhere, flow(RIGHT_ANGLES[1]), nowhere, {**nowhere, "startTime": 5}])
    with pytest.warns(RuntimeWarning, match="has no route and is switched off") as caught:
        engine.run(20)
    assert sorted(str(warning.message).split()[0] for warning in caught) == ["flow_0", "flow_2", "flow_3"]
    assert caught[0].filename == str(Path(__file__).parents[4] / "envs" / "traffic" / "cityflow" / "interface.py")
    assert {vehicle.split("_")[1] for vehicle in engine.get_vehicles(include_waiting=True)} == {"1"}
    assert engine.get_average_travel_time() == np.mean([20, 16, 12, 8, 4])
    engine.reset()
    engine.run(20)  # a warning would be an error
    assert {vehicle.split("_")[1] for vehicle in engine.get_vehicles(include_waiting=True)} == {"1"}


@pytest.mark.parametrize("lane_change", [False, True])
def test_more_vehicles_than_slots(lane_change: bool) -> None:
    """No vehicle is lost when slots are added, and the numbers are those of an engine that had them from the start."""
    flows = [flow(STRAIGHT, interval=1.0) for _ in range(40)]
    growing, large = (make_engine(corridor(), flows, laneChange=lane_change) for _ in range(2))
    large.run(30)
    assert large.state.traffic.counts[POOL] > 4 * FIRST_CAPACITY
    large.reset(seed=True)
    capacity = len(large.state.pool.free)
    for _ in range(30):
        growing.next_step()
        large.next_step()
        assert everything(growing) == everything(large)
    assert len(growing.get_vehicles(include_waiting=True)) == 1200
    assert len(growing.state.pool.free) == len(large.state.pool.free) == capacity
    counts = growing.state.traffic.counts
    used = [*growing.state.pool.members[: counts[POOL]], *growing.state.pool.free[: counts[FREE]]]
    assert sorted(used) == list(range(capacity))


def test_many_pushed_vehicles() -> None:
    engine = make_engine(corridor(), [])
    for _ in range(3 * FIRST_CAPACITY):
        engine.push_vehicle({"length": 4.0}, STRAIGHT)
    engine.run(3)
    assert len(engine.get_vehicles(include_waiting=True)) == 3 * FIRST_CAPACITY
    assert len(engine.state.traffic.kinds) == 1, "equal vehicles share what they have in common"


def test_a_route_that_visits_a_road_twice() -> None:
    """Once round the block, to the left, then straight on."""
    route = ["road_0_1_0", "road_1_1_0", "road_2_1_1", "road_2_2_2", "road_1_2_3", "road_1_1_0", "road_2_1_0"]
    engine = make_engine(grid_roadnet(2, 2, 150.0), [flow(route, endTime=0)])
    visited = []
    for step in range(400):
        for intersection in engine.network.intersection_ids[-5:]:
            if engine.network.num_phases(engine.network.intersection_index[intersection]):
                engine.set_tl_phase(intersection, 1 + step // 10 % 8)
        for x in (1, 2):
            for y in (1, 2):
                engine.set_tl_phase(f"intersection_{x}_{y}", 1 + step // 10 % 8)
        engine.next_step()
        if not engine.get_vehicles():
            break
        road = engine.get_vehicle_info("flow_0_0").get("road")
        if road and visited[-1:] != [road]:
            visited.append(road)
    assert visited == route


def test_a_circle() -> None:
    """On a long road a vehicle plans the second visit after the first, and gets where it wants."""
    engine = make_engine(ring(), [flow(("in", "there", "back", "there", "out"), endTime=0)])
    visited = []
    while engine.get_vehicles() or not visited:
        engine.next_step()
        road = engine.get_vehicle_info("flow_0_0").get("road") if engine.get_vehicles() else None
        if road and visited[-1:] != [road]:
            visited.append(road)
    assert visited == ["in", "there", "back", "there", "out"]


def test_a_vehicle_that_looks_round_a_circle_is_an_error() -> None:
    """CityFlow plans ahead by the first visit of a road; a vehicle that sees the whole circle goes round once too
    often, and CityFlow dies. The engine can be used again after a reset."""
    engine = make_engine(ring(60.0), [flow(("in", "there", "back", "there", "out"), endTime=0, maxSpeed=60.0)])
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"vehicle flow_0_0 cannot follow its route from lane (there|back)_0"):
            engine.run(300)
        engine.reset()


def test_no_speed_makes_a_step_endless() -> None:
    """However far vehicles look, and however far they go in one step."""
    route = ("in", "there", "back", "there", "back", "there", "out")
    engine = make_engine(ring(60.0), [flow(route, interval=30.0, maxSpeed=1e200, maxPosAcc=1e200, usualPosAcc=1e200)])
    engine.push_vehicle({"speed": 1e300, "maxSpeed": 1e300}, route)
    try:
        engine.run(40)
    except RuntimeError as error:
        assert "cannot follow its route" in str(error)  # noqa: PT017 - it may end either way


def dead_end(length: float = 150.0) -> Any:
    """Two lanes, of which only the outer one leads to the last road, and only the inner one into it."""
    roadnet = corridor(2, (length, 150.0, 150.0))
    first, second = roadnet["intersections"][1:3]
    first["roadLinks"][0]["laneLinks"] = [{"startLaneIndex": 0, "endLaneIndex": 0}]
    second["roadLinks"][0]["laneLinks"] = [{"startLaneIndex": 1, "endLaneIndex": 0}]
    return roadnet


def speed_before_the_end(speed: float, rest: float, gap: float, brake: float) -> float:
    """CityFlow's speed behind a vehicle that stands at the end of the lane, for steps of a second."""
    c = speed * 1.0 / 2 + gap - 0.5 * 0.0 * 0.0 / 1.0 - rest
    a, b = 0.5 / brake, 0.5 * 1.0
    if b * b < 4 * a * c:
        return -100.0
    return min(0.5 / a * (math.sqrt(b * b - 4 * a * c) - b), 2 * 0.0 - 1.0 * 1.0 + 2 * (rest - gap) / 1.0)


@pytest.mark.parametrize("lane_change", [False, True])
def test_a_lane_that_does_not_lead_on(lane_change: bool) -> None:
    """The vehicle brakes and stands its gap before the end of the lane, and so do those behind it."""
    engine = make_engine(dead_end(), [flow(("r0", "r1", "r2"), endTime=20)], laneChange=lane_change)
    length = float(engine.network.arrays.length[engine.network.lane_index["r0_0"]])
    engine.next_step()
    speed, distance = engine.get_vehicle_speed()["flow_0_0"], engine.get_vehicle_distance()["flow_0_0"]
    for _ in range(100):
        engine.next_step()
        v = min(11.111, speed + 2.0, speed_before_the_end(speed, length - distance, 2.5, 4.5))
        v = max(v, speed - 4.5)
        distance += 0.5 * speed * speed / 4.5 if v < 0 else (speed + v) * 1.0 / 2
        speed = max(v, 0.0)
        assert engine.get_vehicle_speed()["flow_0_0"] == speed
        assert engine.get_vehicle_distance()["flow_0_0"] == distance
    assert (speed, distance) == (0.0, length - 2.5)
    assert engine.get_vehicle_count() == 6
    assert engine.get_vehicle_info("flow_0_5")["road"] == "r0"


def test_a_lane_that_does_not_lead_on_and_is_too_short_to_stop() -> None:
    """CityFlow ends the program there."""
    engine = make_engine(dead_end(20.0), [])
    engine.push_vehicle({"speed": 11.0}, ("r0", "r1", "r2"))
    with pytest.raises(
        RuntimeError, match=r"manually_pushed_0 cannot follow its route from lane r0_0: .* too fast to stop"
    ):
        engine.run(100)


def test_standing_at_the_very_end_before_a_red_light() -> None:
    """The speed that stops there is 0 / 0. CityFlow's smaller one of this and the 100 m/s of a vehicle that need not
    yield is 100 m/s."""
    engine = make_engine(corridor(1), [flow(STRAIGHT, endTime=0)])
    engine.next_step()
    (slot,) = np.flatnonzero(engine.state.traffic.vehicles["running"]).tolist()
    length = float(engine.network.arrays.length[engine.network.lane_index["r0_0"]])
    engine.state.traffic.vehicles["distance"][slot], engine.state.traffic.vehicles["speed"][slot] = length, 0.0
    engine.set_tl_phase("n1", 1)
    engine.next_step()
    assert engine.get_vehicle_speed() == {"flow_0_0": 100.0}
    assert engine.get_vehicle_info("flow_0_0")["drivable"] == "r1_0"


def two_lane_ring() -> Any:
    """A ring of which lane 1 is a dead end in the east, and lane 0 leads on."""
    roadnet = ring()
    for road in roadnet["roads"]:
        road["lanes"] = road["lanes"] * 2
    west = next(node for node in roadnet["intersections"] if node["id"] == "west")
    for link in west["roadLinks"]:
        link["laneLinks"] = [{"startLaneIndex": a, "endLaneIndex": 1 - a} for a in (0, 1)]
    return roadnet


def test_the_last_road_counts_wherever_it_is_in_the_route() -> None:
    """From a lane that does not lead on, a trip may end on the first visit of its last road."""
    engine = make_engine(two_lane_ring(), [flow(("in", "there"), endTime=0)])
    while engine.get_vehicle_info("flow_0_0")["road"] != "there" if engine.get_vehicles() else True:
        engine.next_step()
        while "road" not in engine.get_vehicle_info("flow_0_0"):
            engine.next_step()
    lane = engine.get_vehicle_info("flow_0_0")["drivable"]
    assert engine.set_vehicle_route("flow_0_0", ["out"]) is (lane == "there_0")
    assert engine.set_vehicle_route("flow_0_0", ["back", "there"]) is True
    assert engine.get_vehicle_info("flow_0_0")["route"] == "there back there "
    visited = set()
    while engine.get_vehicles():
        visited.add(engine.get_vehicle_info("flow_0_0").get("road"))
        engine.next_step()
    assert ("back" in visited) == (lane == "there_0")


@pytest.mark.parametrize("key", ["maxSpeed", "maxPosAcc"])
def test_vehicles_that_stay_where_they_are(key: str) -> None:
    """And those behind them, in the buffer of the lane."""
    engine = make_engine(crossing(), [flow(way, **{key: 0}) for way in RIGHT_ANGLES])
    engine.run(60)
    assert set(engine.get_vehicle_distance().values()) == {0.0}
    assert len(engine.get_vehicles()) < len(engine.get_vehicles(include_waiting=True))


def test_vehicles_of_no_size() -> None:
    engine = make_engine(corridor(1), [flow(STRAIGHT, length=0, width=0, minGap=0, headwayTime=0)])
    engine.run(200)
    assert engine.get_average_travel_time() > 0
    assert engine.simulation.finished > 20


def test_a_lane_without_speed() -> None:
    """No vehicle moves on it, and a vehicle that enters it brakes as hard as possible."""
    roadnet = corridor(1)
    roadnet["roads"][1]["lanes"][0]["maxSpeed"] = 0.0
    engine = make_engine(roadnet, [flow(STRAIGHT, endTime=0)])
    speeds = []
    for _ in range(60):
        engine.next_step()
        if engine.get_vehicle_info("flow_0_0").get("road") == "r1":
            speeds.append(engine.get_vehicle_speed()["flow_0_0"])
    assert speeds[0] > 0.0
    assert speeds[0] - speeds[1] == pytest.approx(4.5)
    assert set(speeds[4:]) == {0.0}


@pytest.mark.parametrize("length", [15.0, 25.0])
def test_roads_shorter_than_their_junctions(length: float) -> None:
    """The lane then runs beyond its own ends; its length is what remains of the last cut."""
    roadnet = corridor(1, (200.0, length, 200.0))
    for node in roadnet["intersections"][1:3]:
        node["width"] = 20.0
    engine = make_engine(roadnet, [flow(("r0", "r1", "r2"), endTime=0)])
    lane = engine.network.lane_index["r1_0"]
    points = engine.network.drivable_points[lane][:, 0]
    start, end = 220.0, 200.0 + length + (20.0 if length < 20.0 else -20.0)
    assert points.tolist() == [start, end]
    assert engine.network.arrays.length[lane] == abs(end - start)
    engine.run(120)
    assert engine.get_vehicles() == []


def test_several_links_between_the_same_lanes(tmp_path: Path) -> None:
    """They differ in everything but their ids; vehicles take the first."""
    roadnet = corridor(1)
    (link,) = roadnet["intersections"][1]["roadLinks"]
    link["laneLinks"] = [
        *link["laneLinks"],
        {**link["laneLinks"][0], "points": [{"x": 190, "y": 0}, {"x": 250, "y": 0}]},
    ]
    engine = make_engine(roadnet, [flow(STRAIGHT)])
    assert engine.network.link_ids == ("r0_0_TO_r1_0", "r0_0_TO_r1_0")
    assert engine.network.drivable_keys[-2:] == ("r0_0_TO_r1_0", "r0_0_TO_r1_0#")
    plain = make_engine(corridor(1), [flow(STRAIGHT)])
    for _ in range(10):
        engine.run(5)
        plain.run(5)
        assert everything(engine) == everything(plain)
        engine.snapshot().dump(tmp_path / "saved.json")
        engine.load_from_file(tmp_path / "saved.json")
    assert plain.get_average_travel_time() > 0


# --- names and numbers -----------------------------------------------------------------------------------------------


def test_arguments_have_cityflows_names(tmp_path: Path) -> None:
    """And may be numpy's."""
    config = write_files(tmp_path, corridor(1), [flow(STRAIGHT)], saveReplay=True)
    engine = Engine(config_file=str(config), thread_num=np.int64(2))
    engine.set_random_seed(seed=np.int32(-3))
    engine.next_step()
    assert engine.get_vehicles(include_waiting=np.bool_(True)) == ["flow_0_0"]
    assert engine.get_leader(vehicle_id=np.str_("flow_0_0")) == ""
    assert engine.get_vehicle_info(vehicle_id="flow_0_0")["road"] == "r0"
    engine.set_tl_phase(intersection_id="n1", phase_id=np.array(1))
    engine.set_vehicle_speed(vehicle_id="flow_0_0", speed=np.float32(1.5))
    for roads in (np.array(["r1"]), ("r1",), iter(["r1"]), {"r1": 1}.keys()):
        assert engine.set_vehicle_route(vehicle_id="flow_0_0", route=roads) is True
    with pytest.raises(TypeError, match="route = 'r1': expected a list of road ids"):
        engine.set_vehicle_route("flow_0_0", "r1")
    engine.push_vehicle({"speed": np.float32(2.0), "length": np.array([4.0]), "width": np.int64(2)}, np.array(STRAIGHT))
    engine.push_vehicle({"minGap": np.array(3)}, np.array(STRAIGHT, dtype=object))
    archive = engine.snapshot()
    engine.run(np.int64(3))
    engine.load(archive=archive)
    Archive(engine).dump(path=str(tmp_path / "saved.json"))
    engine.load_from_file(path=str(tmp_path / "saved.json"))
    engine.set_replay_file(replay_file="more/replay.txt")
    engine.set_save_replay(open=np.bool_(True))
    engine.next_step()
    engine.reset(seed=np.bool_(True))
    assert (tmp_path / "more" / "replay.txt").read_text().count("\n") == 1


def test_names_follow_the_vehicles(tmp_path: Path) -> None:
    """Slots are used again by others; after each of the things that change who is there, ids are right."""
    engine = make_engine(corridor(3), [flow(STRAIGHT, interval=1.0), flow(STRAIGHT, interval=2.0)], laneChange=True)

    def check() -> None:
        table = engine.vehicle_table()
        assert set(engine.get_vehicles(True)) == {name for name in table.ids if not name.endswith("_shadow")}
        assert sorted(engine._roster.slots) == sorted(table.ids)
        for row, name in enumerate(table.ids):
            info = engine.get_vehicle_info(name)
            assert (info["running"] == "1") == bool(table.running[row])
            if table.running[row]:
                assert info["distance"] == f"{table.distance[row]:f}"
        speeds = engine.get_vehicle_speed()
        assert list(speeds) == sorted(speeds)
        assert set(speeds) == set(engine.get_vehicles())

    for step in range(120):
        engine.next_step()
        if step % 7 == 0:
            check()
        if step == 50:
            archive = engine.snapshot()
        if step % 20 == 0:
            engine.push_vehicle({}, STRAIGHT)
            check()
    engine.load(archive)
    check()
    engine.reset()
    check()
    engine.run(30)
    check()
    assert len(engine._roster.slots) == len(engine.vehicle_table().ids)


def test_what_is_added_is_found_again_and_gone_after_a_reset() -> None:
    """Tables of routes and kinds do not grow with episodes, and snapshots keep theirs."""
    engine = make_engine(grid_roadnet(2, 2, 150.0), [flow(way) for way in RIGHT_ANGLES])
    sizes = set()
    for _ in range(3):
        for _ in range(40):
            engine.next_step()
            for name in engine.get_vehicles():
                for target in ("road_1_1_0", "road_2_1_0", "road_2_1_1"):
                    engine.set_vehicle_route(name, [target])
            engine.push_vehicle({"length": 4.0}, RIGHT_ANGLES[0])
        traffic = engine.state.traffic
        sizes.add((len(traffic.kinds), int((traffic.route_starts >= 0).sum())))
        archive = engine.snapshot()
        routes = {name: engine.get_vehicle_info(name).get("route") for name in engine.get_vehicles()}
        engine.reset()
        assert len(engine.state.traffic.route_starts) == len(RIGHT_ANGLES) + 1
        engine.push_vehicle({}, RIGHT_ANGLES[2])
        engine.load(archive)
        assert {name: engine.get_vehicle_info(name).get("route") for name in engine.get_vehicles()} == routes
        engine.reset()
    assert len({kinds for kinds, _ in sizes}) == 1
    assert max(routes for _, routes in sizes) < 60


def test_a_refused_route_takes_the_old_one_up_again() -> None:
    """As in CityFlow: where it first passes the present road, which matters where it passes it twice."""
    engine = make_engine(ring(), [flow(("in", "there", "back", "there", "out"), endTime=0)])
    visited = []
    while not visited or engine.get_vehicles():
        engine.next_step()
        info = engine.get_vehicle_info("flow_0_0") if engine.get_vehicles() else {}
        if info.get("road") and visited[-1:] != [info["road"]]:
            visited.append(info["road"])
            if visited == ["in", "there", "back", "there"]:
                assert info["route"] == "there out "
                assert engine.set_vehicle_route("flow_0_0", ["in"]) is False
                assert engine.get_vehicle_info("flow_0_0")["route"] == "there back there out "
    assert visited == ["in", "there", "back", "there", "back", "there", "out"]


# --- saving ----------------------------------------------------------------------------------------------------------


def test_a_snapshot_can_be_loaded_again_and_again() -> None:
    engine = busy()
    history(engine, 30)
    saved, then = engine.snapshot(), everything(engine)
    first = history(engine, 40)
    for _ in range(2):
        engine.load(saved)
        assert everything(engine) == then
        assert history(engine, 40) == first
    other = busy(seed=99)
    other.load(saved)
    assert history(other, 40) == first


def test_a_snapshot_keeps_vehicles_that_are_not_yet_on_a_lane() -> None:
    engine = busy()
    engine.run(10)
    engine.push_vehicle({"speed": 2.0}, RIGHT_ANGLES[0])
    saved = engine.snapshot()
    first = history(engine, 20)
    engine.load(saved)
    assert history(engine, 20) == first
    engine.push_vehicle({}, RIGHT_ANGLES[0])
    assert "manually_pushed_1" in engine.get_vehicles(include_waiting=True)


def others() -> dict[str, Engine]:
    """Engines whose state does not fit `corridor(2)` with one flow."""
    flows = [flow(STRAIGHT)]
    return {
        "road network": make_engine(crossing(), []),
        "flows": make_engine(corridor(2), [*flows, *flows]),
        "vehicles": make_engine(corridor(2), [flow(STRAIGHT, maxSpeed=9.0)]),
        "no route": make_engine(corridor(2), [flow(STRAIGHT[::-1])]),
        "order": make_engine(corridor(2), [flow(("r0", "r1"), startTime=1), flow(("r0", "r1"))]),
        "interval": make_engine(corridor(2), flows, interval=0.5),
        "lanes": make_engine(corridor(3), flows),
    }


@pytest.mark.parametrize("name", sorted(others()))
def test_states_of_other_engines_are_refused(name: str) -> None:
    engine, other = make_engine(corridor(2), [flow(STRAIGHT)]), others()[name]
    engine.run(5)
    before = everything(engine)
    with pytest.raises(ValueError, match="belongs to another road network"):
        engine.load(other.snapshot())
    with pytest.raises(ValueError, match="belongs to another road network"):
        engine.load_state_dict(other.state_dict())
    assert everything(engine) == before
    engine.run(5)


def test_states_with_lane_changes_are_refused_where_there_are_none() -> None:
    flows = [flow(STRAIGHT, interval=3.0, maxSpeed=speed) for speed in (5.0, 11.0)]
    engine, other = make_engine(corridor(2), flows), make_engine(corridor(2), flows, laneChange=True)
    while other.get_vehicle_count() == len(other.get_vehicles()):
        other.next_step()
    with pytest.raises(ValueError, match="belongs to another road network, interval or flow: segment"):
        engine.load(other.snapshot())
    with pytest.raises(ValueError, match="the state has lane changes under way"):
        engine.load_state_dict(other.state_dict())
    assert everything(engine) == everything(make_engine(corridor(2), flows))


def test_a_saved_state_goes_on_exactly() -> None:
    engine = busy()
    engine.push_vehicle({}, RIGHT_ANGLES[0])
    history(engine, 30)
    engine.push_vehicle({"maxSpeed": 3.0}, RIGHT_ANGLES[1])
    state = engine.state_dict()
    first = history(engine, 40)
    other = busy(seed=4)
    other.load_state_dict(state)
    assert history(other, 40) == first
    other.push_vehicle({}, RIGHT_ANGLES[0])
    assert "manually_pushed_2" in other.get_vehicles(include_waiting=True)
    assert other.state_dict().keys() == state.keys()


def test_partial_states_are_refused() -> None:
    engine = busy()
    history(engine, 5)
    before, state = everything(engine), engine.state_dict()
    for name in state:
        with pytest.raises(ValueError, match=f"{name} is missing"):
            engine.load_state_dict({key: value for key, value in state.items() if key != name})
    with pytest.raises(ValueError, match="has shape"):
        engine.load_state_dict({**state, "queues": state["queues"][1:]})
    with pytest.raises(ValueError, match="damaged"):
        engine.load_state_dict({**state, "free": state["free"][1:]})
    assert everything(engine) == before


def test_kinds_of_the_flows_are_not_mixed_up_with_pushed_ones() -> None:
    """A snapshot of an engine that has more kinds and routes loads into one that has fewer, and back."""
    engine, other = busy(), busy()
    engine.push_vehicle({"length": 7.0}, RIGHT_ANGLES[0])
    engine.run(3)
    other.load(engine.snapshot())
    assert everything(other) == everything(engine)
    other.reset(seed=True)
    engine.load(busy().snapshot())
    assert history(other, 20) == history(engine, 20) == history(busy(), 20)
    assert VEHICLE["length"] == 5.0
