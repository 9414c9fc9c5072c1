"""CityFlow's Python interface: what every query gives and refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.envs.traffic.cityflow.engines import STRAIGHT, busy, single
from tests.envs.traffic.towns import corridor, flow, make_engine


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
