"""A snapshot in a file is the whole engine; whatever else is in a file is refused by name."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.errors import TrafficFileError
from envs.traffic import Engine
from envs.traffic.engine.state import DRIVER, PLAN
from envs.traffic.synthetic.grid import grid_roadnet
from tests.envs.traffic.towns import RIGHT_ANGLES, corridor, crossing, flow, make_engine

TURNS = ("road_0_1_0", "road_2_1_0"), ("road_1_0_1", "road_1_2_0"), ("road_0_2_0", "road_2_2_3")


def town(lane_change: bool, **config: Any) -> Engine:
    """Busy flows of fast and slow vehicles, one of which ends and one of which comes late."""
    if lane_change:
        flows = [flow(("r0", "r1"), interval=i, maxSpeed=s) for i, s in ((1.0, 11.0), (2.5, 6.0), (3.0, 16.0))]
        return make_engine(corridor(), flows, laneChange=True, **config)
    flows = [flow(way, interval=1.0 + i, maxSpeed=11.0 - 3 * i) for i, way in enumerate(TURNS)]
    flows += [flow(TURNS[0], endTime=30), flow(TURNS[1], startTime=40, endTime=40, interval=0.25)]
    return make_engine(grid_roadnet(2, 2, 120.0), flows, **config)


def disturb(engine: Engine, generator: random.Random) -> None:
    """Everything that can be done to an engine from outside."""
    vehicles = engine.get_vehicles(include_waiting=True)
    for vehicle in generator.sample(vehicles, min(4, len(vehicles))):
        engine.set_vehicle_speed(vehicle, 9 * generator.random())
        engine.set_vehicle_route(vehicle, [generator.choice(engine.network.road_ids)])
    if engine.config.rl_traffic_light:
        for index in np.flatnonzero(~engine.network.virtual).tolist():
            phase = generator.randrange(engine.network.num_phases(index))
            engine.set_tl_phase(engine.network.intersection_ids[index], phase)
    route = ("r0", "r1") if engine.config.lane_change else generator.choice(TURNS)
    engine.push_vehicle({"speed": 3.0, "maxSpeed": 5.0 + generator.randrange(3)}, route)


def dumped(engine: Engine, path: Path) -> bytes:
    engine.snapshot().dump(path)
    return path.read_bytes()


@pytest.mark.parametrize("lights", [False, True])
@pytest.mark.parametrize("lane_change", [False, True])
def test_a_loaded_engine_goes_on_exactly(tmp_path: Path, lane_change: bool, lights: bool) -> None:
    """A file equals the one that is written after loading it, and those that follow."""
    engine, generator, shadows = town(lane_change, rlTrafficLight=not lights), random.Random(5), 0
    for _ in range(12):
        disturb(engine, generator)
        before = dumped(engine, tmp_path / "before.json")
        loaded = town(lane_change, rlTrafficLight=not lights)
        loaded.load_from_file(tmp_path / "before.json")
        assert dumped(loaded, tmp_path / "loaded.json") == before
        shadows += before.count(b"_shadow")
        for steps in (1, 9):
            engine.run(steps)
            loaded.run(steps)
            assert dumped(engine, tmp_path / "a.json") == dumped(loaded, tmp_path / "b.json")
        assert engine.get_average_travel_time() == loaded.get_average_travel_time() > 0
        assert engine.get_lane_vehicles() == loaded.get_lane_vehicles()
    assert engine.get_vehicle_count() > 30
    assert (shadows > 10) == lane_change


def as_cityflow_writes(saved: dict[str, Any]) -> dict[str, Any]:
    """A snapshot without the data that CityFlow omits, and with the data that only CityFlow writes."""
    document = {key: value for key, value in saved.items() if key not in ("interval", "toBeRouted")}
    vehicles = []
    for vehicle in saved["vehicles"]:
        kept = {k: v for k, v in vehicle.items() if v is not None and k not in ("routePosition", "plan", "laneChange")}
        kept["len"] = kept.pop("length")
        change = vehicle.get("laneChange", {"partnerType": 0, "offset": 0.0, "lastChangeTime": 0.0})
        kept |= {"partnerType": change["partnerType"], "offset": change["offset"], "end": False, "yieldDistance": 5.0}
        kept |= {"laneChangeLastTime": change["lastChangeTime"], "laneChanging": change["partnerType"] == 1}
        if change.get("partner"):
            kept["partner"] = change["partner"]
        if change.get("target"):
            kept |= {"laneChangeTarget": change["target"], "laneChangeDirection": change["direction"]}
        vehicles.append(kept)
    drivables = {}
    for name, place in saved["drivables"].items():
        drivables[name] = {key: value for key, value in place.items() if key != "vehicleSeconds"}
        if "waitingBuffer" in place:
            drivables[name] |= {"history": [], "historyVehicleNum": 0, "historyAverageSpeed": 0.0}
    flows = {name: {k: v for k, v in flow.items() if k != "valid"} for name, flow in saved["flows"].items()}
    lights = {**saved["trafficLights"], "nobody": {"remainDuration": 0.0, "curPhaseIndex": 0}}
    return {**document, "vehicles": vehicles, "drivables": drivables, "flows": flows, "trafficLights": lights}


@pytest.mark.parametrize("lane_change", [False, True])
def test_snapshots_of_cityflow(tmp_path: Path, lane_change: bool) -> None:
    """They continue as the engine would; if no route visits a road twice, nothing is lost."""
    engine = town(lane_change)
    for _ in range(4):
        engine.run(20)
        saved = json.loads(dumped(engine, tmp_path / "a.json"))
        (tmp_path / "b.json").write_text(json.dumps(as_cityflow_writes(saved)))
        loaded = town(lane_change)
        loaded.load_from_file(tmp_path / "b.json")
        for _ in range(3):
            loaded.run(5)
            engine.run(5)
            assert loaded.get_vehicles(include_waiting=True) == engine.get_vehicles(include_waiting=True)
            assert loaded.get_vehicle_speed() == engine.get_vehicle_speed()
            assert loaded.get_vehicle_distance() == engine.get_vehicle_distance()
            assert loaded.get_average_travel_time() == engine.get_average_travel_time()


def test_snapshots_of_cityflow_that_are_wrong(tmp_path: Path) -> None:
    engine = town(False)
    engine.run(20)
    saved = as_cityflow_writes(json.loads(dumped(engine, tmp_path / "a.json")))

    def refused(document: Any, complaint: str) -> None:
        (tmp_path / "b.json").write_text(json.dumps(document))
        with pytest.raises(TrafficFileError, match=complaint):
            engine.load_from_file(tmp_path / "b.json")

    refused({**saved, "flows": None}, "'flows' is None; expected an object")
    first, *others = saved["vehicles"]
    refused({**saved, "vehicles": [{**first, "len": "long"}, *others]}, "'length' is 'long'")
    refused({**saved, "vehicles": [{**first, "drivable": 3}, *others]}, "'drivable' is 3; expected a string")
    drivables = dict(list(saved["drivables"].items())[1:])
    refused({**saved, "drivables": drivables}, "is missing; expected an object for every lane")


def test_layout(tmp_path: Path) -> None:
    """One vehicle after one step, by hand: it has entered and goes at its acceleration."""
    engine = make_engine(corridor(1), [flow(("r0", "r1"), startTime=0, endTime=0), flow(("r0", "r1"), startTime=9)])
    fresh = json.loads(dumped(engine, tmp_path / "fresh.json"))
    words = np.random.RandomState(7).get_state()[1]  # type: ignore[index]
    assert fresh["rnd"] == " ".join(map(str, [*words, 624]))
    assert fresh["vehicles"] == []
    engine.next_step()
    engine.push_vehicle({}, ["r0", "r1"])
    saved = json.loads(dumped(engine, tmp_path / "saved.json"))
    pushed = saved["vehicles"].pop(saved["vehicles"][0]["id"] == "flow_0_0")
    vehicle = saved["vehicles"][0]
    priority = vehicle.pop("priority")
    assert np.random.RandomState(7).randint(2**32, dtype=np.uint32) == priority % 2**32
    assert vehicle == {
        "id": "flow_0_0",
        "enterTime": 0.0,
        **flow(())["vehicle"],
        "running": True,
        "drivable": "r0_0",
        "prevDrivable": None,
        "dis": 1.0,
        "speed": 2.0,
        "customSpeed": None,
        "gap": 0.0,
        "leader": None,
        "blocker": None,
        "enterLaneLinkTime": 2147483647,
        "route": ["r0", "r1"],
        "routePosition": 0,
        "plan": ["r0_0_TO_r1_0"],
    }
    assert (pushed["running"], pushed["drivable"], saved["toBeRouted"]) == (False, None, ["manually_pushed_0"])
    assert saved["drivables"]["r0_0"] == {"vehicles": ["flow_0_0"], "waitingBuffer": [], "vehicleSeconds": 1.0}
    assert saved["drivables"]["r0_0_TO_r1_0"] == {"vehicles": []}
    assert saved["flows"]["flow_0"] == {"nowTime": 1.0, "currentTime": 1.0, "cnt": 1, "valid": True}
    assert saved["flows"]["flow_1"] == {"nowTime": 4.0, "currentTime": 1.0, "cnt": 0, "valid": True}
    assert saved["trafficLights"] == {"n1": {"curPhaseIndex": 0, "remainDuration": 30.0}}
    assert [saved[key] for key in ("step", "interval", "activeVehicleCount")] == [1, 1.0, 1]
    assert [saved[key] for key in ("finishedVehicleCnt", "cumulativeTravelTime")] == [0, 0.0]


def test_flows_that_are_switched_off_stay_so(tmp_path: Path) -> None:
    """The third road of this crossing cannot be reached from the first."""
    flows = [flow(("road_0_1_0", "road_1_0_1"), interval=1.0), flow(RIGHT_ANGLES[0], startTime=2)]
    engine = make_engine(crossing(), flows)
    with pytest.warns(RuntimeWarning, match="flow_0 has no route"):
        engine.run(5)
    before = dumped(engine, tmp_path / "a.json")
    assert json.loads(before)["flows"]["flow_0"] == {"nowTime": 1.0, "currentTime": 1.0, "cnt": 1, "valid": False}
    loaded = make_engine(crossing(), flows)
    loaded.load_from_file(tmp_path / "a.json")
    loaded.run(20)  # a warning would be an error
    engine.run(20)
    assert dumped(loaded, tmp_path / "a.json") == dumped(engine, tmp_path / "b.json")


def test_vehicles_pushed_after_loading_get_ids_of_their_own(tmp_path: Path) -> None:
    engine = make_engine(corridor(), [])
    for _ in range(3):
        engine.push_vehicle({}, ["r0", "r1"])
    engine.run(2)
    engine.snapshot().dump(tmp_path / "a.json")
    loaded = make_engine(corridor(), [])
    loaded.load_from_file(tmp_path / "a.json")
    loaded.push_vehicle({}, ["r0", "r1"])
    assert sorted(loaded.get_vehicles(include_waiting=True)) == [f"manually_pushed_{i}" for i in range(4)]


def test_more_vehicles_than_a_new_engine_has_room_for(tmp_path: Path) -> None:
    flows = [flow(("r0", "r1"), interval=1.0) for _ in range(9)]
    engine, loaded = make_engine(corridor(), flows), make_engine(corridor(), flows)
    engine.run(60)
    engine.snapshot().dump(tmp_path / "a.json")
    loaded.load_from_file(tmp_path / "a.json")
    assert len(loaded.get_vehicles(include_waiting=True)) > 400
    assert len(loaded.state.traffic.kinds) == 1
    assert loaded.state.traffic.kinds.dtype == DRIVER
    assert len(loaded.state.traffic.route_starts) == len(engine.state.traffic.route_starts)
    engine.run(20)
    loaded.run(20)
    assert dumped(engine, tmp_path / "a.json") == dumped(loaded, tmp_path / "b.json")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A snapshot with every kind of vehicle."""
    path = tmp_path_factory.mktemp("snapshot") / "a.json"
    engine = town(lane_change=True)
    engine.run(60)
    for _ in range(3):
        engine.push_vehicle({}, ["r0", "r1"])
    engine.snapshot().dump(path)
    document: dict[str, Any] = json.loads(path.read_text())
    assert document["drivables"]["r0_0"]["waitingBuffer"]
    return document


Change = Callable[[dict[str, Any]], Any]


def first(document: dict[str, Any], **wanted: Any) -> dict[str, Any]:
    """A vehicle of the file that is as wanted; `partnerType` is that of its lane change."""
    for vehicle in document["vehicles"]:
        if all({**vehicle, **vehicle["laneChange"]}[key] == value for key, value in wanted.items()):
            return vehicle  # type: ignore[no-any-return]
    raise LookupError(wanted)


def shadow(document: dict[str, Any]) -> dict[str, Any]:
    return first(document, partnerType=2)


def changing(document: dict[str, Any]) -> dict[str, Any]:
    return first(document, partnerType=1)


def on_lane(document: dict[str, Any]) -> dict[str, Any]:
    return first(document, drivable="r0_1", partnerType=0)


def on_link(document: dict[str, Any]) -> dict[str, Any]:
    return next(v for v in document["vehicles"] if "_TO_" in (v["drivable"] or ""))


WRONG: dict[str, tuple[Change, str]] = {
    "step": (lambda d: d.pop("step"), "'step' is missing; expected an integer"),
    "negative step": (lambda d: d.update(step=-1), "'step' is -1"),
    "late step": (lambda d: d.update(step=2**31), "'step' is 2147483648"),
    "interval": (lambda d: d.update(interval=0.5), r"'interval' is 0.5; expected that of this engine, 1.0"),
    "count": (lambda d: d.update(activeVehicleCount=3), "'activeVehicleCount' is 3; expected the number of running"),
    "finished": (lambda d: d.update(finishedVehicleCnt=1.5), "'finishedVehicleCnt' is 1.5; expected an integer"),
    "time": (lambda d: d.update(cumulativeTravelTime=float("nan")), "'cumulativeTravelTime' is nan; expected a finite"),
    "words": (lambda d: d.update(rnd=d["rnd"].split(" ", 1)[1]), "'rnd' is .*; expected 624 words of 32 bits"),
    "position": (lambda d: d.update(rnd=d["rnd"].rsplit(" ", 1)[0] + " 625"), "'rnd'"),
    "zeros": (lambda d: d.update(rnd="0 " * 624 + "4"), "not all of them 0"),
    "signs": (lambda d: d.update(rnd="-1 " * 624 + "4"), "'rnd'"),
    "vehicles": (lambda d: d.update(vehicles={}), "'vehicles' is {}; expected a list"),
    "no vehicle": (lambda d: d["vehicles"].append(None), r"vehicle \d+ is None; expected an object"),
    "id": (lambda d: on_lane(d).update(id="flow_3_0"), r"'id' is 'flow_3_0'; expected flow_F_N with F below 3"),
    "odd id": (lambda d: on_lane(d).update(id="flow_01_0"), "expected flow_F_N"),
    "same id": (lambda d: on_lane(d).update(id=shadow(d)["id"]), "expected an id used once"),
    "real shadow": (
        lambda d: first(d, id="manually_pushed_2").update(id="flow_0_999_shadow"),
        "ends in _shadow if",
    ),
    "priority": (lambda d: on_lane(d).update(priority=shadow(d)["priority"]), "a number that no other vehicle has"),
    "speed": (lambda d: on_lane(d).update(speed=float("inf")), "vehicle 'flow_[0-9_]*': 'speed' is inf"),
    "distance": (lambda d: on_lane(d).update(dis=191.0), r"'dis' is 191.0; expected a finite number >= 0 <= 190"),
    "waiting": (lambda d: first(d, drivable="r0_0", running=False).update(dis=1.0), "'dis' is 1.0"),
    "custom speed": (lambda d: on_lane(d).update(customSpeed=-1.0), "'customSpeed' is -1.0"),
    "length": (lambda d: on_lane(d).update(length=-1), "'length' is -1; expected a finite number >= 0"),
    "leader": (lambda d: on_lane(d).update(leader="flow_0_999"), "'leader' is 'flow_0_999'; expected null or the id"),
    "no leader": (lambda d: on_lane(d).pop("leader"), "'leader' is missing; expected null or"),
    "blocker": (lambda d: on_lane(d).update(blocker=[]), r"'blocker' is \[\]"),
    "drivable": (
        lambda d: on_lane(d).update(drivable="r0_3"),
        "'drivable' is 'r0_3'; expected null or the id",
    ),
    "no drivable": (lambda d: on_lane(d).update(drivable=None), "expected the lane or lane link on which"),
    "other lane": (
        lambda d: on_lane(d).update(drivable="r0_0", plan=[]),
        "'vehicles' is .*; expected vehicles whose",
    ),
    "not running": (
        lambda d: on_lane(d).update(running=False, dis=0.0),
        "expected vehicles whose 'drivable' and",
    ),
    "link time": (lambda d: on_link(d).update(enterLaneLinkTime=2**31), "'enterLaneLinkTime' is 2147483648"),
    "road": (lambda d: on_lane(d).update(route=["r0", "r9"]), "'route' is .*; expected a list of two or more roads"),
    "no way": (lambda d: on_lane(d).update(route=["r1", "r0"]), "'route' is .*; expected a list of two or more roads"),
    "one road": (lambda d: on_lane(d).update(route=["r0"]), "'route' is .*; expected a list of two or more roads"),
    "position of route": (lambda d: on_lane(d).update(routePosition=3), "'routePosition' is 3"),
    "long plan": (lambda d: on_lane(d).update(plan=["r0_1"] * (PLAN + 1)), "'plan' is .*; expected the next drivables"),
    "plan": (lambda d: on_lane(d).update(plan=["r0_0_TO_r1_0"]), "'plan' is .*; expected drivables on the vehicle's"),
    "plan from link": (lambda d: on_link(d).update(plan=["r0_0"]), "'plan' is .*; expected drivables on the vehicle's"),
    "plan of what": (lambda d: on_lane(d).update(plan=[3]), "'plan' is .*; expected drivables on the vehicle's"),
    "type": (lambda d: on_lane(d)["laneChange"].update(partnerType=3), "'laneChange': 'partnerType' is 3"),
    "half a pair": (lambda d: on_lane(d)["laneChange"].update(partnerType=1), "'partner' is None; expected another"),
    "itself": (
        lambda d: changing(d)["laneChange"].update(partner=changing(d)["id"]),
        "expected another vehicle if",
    ),
    "three": (
        lambda d: shadow(d)["laneChange"].update(partner=on_lane(d)["id"]),
        "'laneChange' is .*; expected that of a running vehicle whose partner is its counterpart",
    ),
    "target": (lambda d: changing(d)["laneChange"].update(target="r1_0"), "'target' is 'r1_0'; expected the lane of"),
    "segment": (
        lambda d: changing(d)["laneChange"].update(segment=3),
        "'segment' is 3; expected an integer from 0",
    ),
    "direction": (lambda d: changing(d)["laneChange"].update(direction=2), "'direction' is 2"),
    "widowed": (lambda d: changing(d).pop("laneChange"), "expected that of a running vehicle"),
    "twice": (lambda d: d["drivables"]["r0_0"]["vehicles"].append(on_lane(d)["id"]), "'r0_0': 'vehicles' is"),
    "listed twice": (lambda d: d["toBeRouted"].append(d["toBeRouted"][0]), "'toBeRouted' is .*; expected vehicles of"),
    "lost": (lambda d: d["toBeRouted"].pop(), "vehicle 'manually_pushed_2' is in no list"),
    "unknown": (lambda d: d["toBeRouted"].append("flow_9"), "expected vehicles of this file, each once, .*'flow_9'"),
    "unknown lane": (lambda d: d["drivables"].update(r0_9={}), "'drivables': 'r0_9' is not in this engine's files"),
    "missing lane": (lambda d: d["drivables"].pop("r0_1"), "'drivables': 'r0_1' is missing"),
    "seconds": (lambda d: d["drivables"]["r0_1"].update(vehicleSeconds=-1), "'r0_1': 'vehicleSeconds' is -1"),
    "flow": (lambda d: d["flows"].pop("flow_1"), "'flows': 'flow_1' is missing"),
    "more flows": (lambda d: d["flows"].update(flow_3={}), "'flows': 'flow_3' is not in this engine's files"),
    "clock": (lambda d: d["flows"]["flow_1"].update(currentTime=9), "'flow_1': 'currentTime' is 9; expected 60.0"),
    "vehicles due": (
        lambda d: d["flows"]["flow_1"].update(nowTime=9),
        "'nowTime' is 9; expected at most 3.5",
    ),
    "valid": (lambda d: d["flows"]["flow_1"].update(valid=1), "'flow_1': 'valid' is 1; expected true or false"),
    "lights": (lambda d: d.pop("trafficLights"), "'trafficLights' is None; expected an object"),
    "phase": (lambda d: d["trafficLights"]["n1"].update(curPhaseIndex=2), "'n1': 'curPhaseIndex' is 2"),
    "rest": (lambda d: d["trafficLights"]["n1"].update(remainDuration=-1), "'n1': 'remainDuration' is -1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_snapshots(tmp_path: Path, saved: dict[str, Any], name: str) -> None:
    """The complaint names the culprit, and the engine stays as it was."""
    change, complaint = WRONG[name]
    document = json.loads(json.dumps(saved))
    change(document)
    (tmp_path / "wrong.json").write_text(json.dumps(document))
    engine = town(lane_change=True)
    engine.run(3)
    before = dumped(engine, tmp_path / "before.json")
    with pytest.raises(TrafficFileError, match=complaint) as caught:
        engine.load_from_file(tmp_path / "wrong.json")
    assert str(caught.value).startswith(f"{tmp_path / 'wrong.json'}: ")
    assert dumped(engine, tmp_path / "after.json") == before


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "the file is empty, as CityFlow leaves it"),
        (b'{"step": 1, "vehicles": [{"id":', "not JSON: .*line 1, column"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff\xfe\xff", "not JSON"),
        (b"9" * 5000, "not JSON"),
        (b"[]", r"is \[\]; expected an object"),
    ],
)
def test_no_snapshots(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(TrafficFileError, match=complaint):
        make_engine(corridor(), []).load_from_file(tmp_path / "a.json")


def test_no_files(tmp_path: Path) -> None:
    engine = make_engine(corridor(), [])
    with pytest.raises(TrafficFileError, match="there is no such file"):
        engine.load_from_file(tmp_path / "a.json")
    with pytest.raises(TrafficFileError, match="cannot be read"):
        engine.load_from_file(tmp_path)
    with pytest.raises(TrafficFileError, match="cannot write"):
        engine.snapshot().dump(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_engine_without_lane_changes_takes_no_pairs(tmp_path: Path, saved: dict[str, Any]) -> None:
    (tmp_path / "a.json").write_text(json.dumps(saved))
    flows = [flow(("r0", "r1"), interval=i, maxSpeed=s) for i, s in ((1.0, 11.0), (2.5, 6.0), (3.0, 16.0))]
    with pytest.raises(TrafficFileError, match=r"'partnerType' is [12]; expected an integer from 0 to 0"):
        make_engine(corridor(), flows).load_from_file(tmp_path / "a.json")
