"""Flows without route, many vehicles, circles, dead ends, and other roads that are seldom met."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.traffic.engine.simulation import FIRST_CAPACITY
from envs.traffic.engine.state import FREE, POOL
from envs.traffic.synthetic.grid import grid_roadnet
from tests.envs.traffic.cityflow.engines import STRAIGHT, everything
from tests.envs.traffic.towns import RIGHT_ANGLES, corridor, crossing, flow, make_engine, ring


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
