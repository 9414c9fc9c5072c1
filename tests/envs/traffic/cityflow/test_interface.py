"""CityFlow's Python interface: making an engine, names of arguments and vehicles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.errors import TrafficFileError
from envs.traffic import Archive, Engine
from envs.traffic.synthetic.grid import grid_roadnet
from tests.envs.traffic.cityflow.engines import STRAIGHT, history
from tests.envs.traffic.towns import RIGHT_ANGLES, corridor, crossing, flow, make_engine, ring, write_files


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
