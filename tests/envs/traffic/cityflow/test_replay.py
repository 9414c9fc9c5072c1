"""The replay and the log of the network are what CityFlow's viewer reads."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from envs.errors import TrafficFileError
from envs.traffic import Engine, Simulation, build_flows, build_network
from envs.traffic.cityflow.replay import ReplayWriter, number
from tests.envs.traffic.towns import RIGHT_ANGLES, corridor, crossing, flow, write_files


class Shown(NamedTuple):
    """One vehicle of a replay."""

    x: float
    y: float
    angle: float
    id: str
    change: int
    length: float
    width: float


def parse(line: str) -> tuple[list[Shown], dict[str, list[str]]]:
    """Vehicles and lights of a line, every number of which must be in its shortest form."""
    assert line.count(";") == 1
    vehicles, lights = line.split(";")
    assert all(part == "" or part.endswith(",") for part in (vehicles, lights))
    shown = []
    for part in vehicles.split(",")[:-1]:
        x, y, angle, name, change, length, width = part.split(" ")
        for text in (x, y, angle, length, width):
            assert number(float(text)) == text
        shown.append(Shown(float(x), float(y), float(angle), name, int(change), float(length), float(width)))
    return shown, {road: colours for road, *colours in (part.split(" ") for part in lights.split(",")[:-1])}


def record(folder: Path, roadnet: Any, flows: Any, steps: int, **config: Any) -> tuple[Engine, list[str]]:
    """An engine after some steps, and the lines of its replay."""
    engine = Engine(write_files(folder, roadnet, flows, saveReplay=True, **config))
    engine.run(steps)
    text = (folder / "replay.txt").read_text()
    assert text.endswith("\n") == (steps > 0)
    return engine, text.splitlines()


def test_lines_by_hand(tmp_path: Path) -> None:
    """A vehicle starts on the outer one of two lanes, 6 m to the right of its road, at 2 m/s^2. The light of the first
    road is open for two seconds, then closed for one; a line shows what it is at its end."""
    road = corridor(2, times=(2.0, 1.0))
    road["roads"][0]["lanes"][0] = {"width": 4.0, "maxSpeed": 5.0}
    links = road["intersections"][1]["roadLinks"][0]["laneLinks"]
    links[:] = [link for link in links if link["startLaneIndex"] == 1]
    _, lines = record(tmp_path, road, [flow(("r0", "r1"), endTime=0)], 4, rlTrafficLight=False)
    assert lines == [
        "1.0 -6.0 0.0 flow_0_0 0 5.0 2.0,;r0 g g,",
        "4.0 -6.0 0.0 flow_0_0 0 5.0 2.0,;r0 g r,",
        "9.0 -6.0 0.0 flow_0_0 0 5.0 2.0,;r0 g g,",
        "16.0 -6.0 0.0 flow_0_0 0 5.0 2.0,;r0 g g,",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (3.0, "3.0"),
        (0.1 + 0.2, "0.30000000000000004"),
        (-math.pi, "-3.141592653589793"),
        (1e-5, "0.00001"),
        (1.2246467991473532e-16, "0.00000000000000012246467991473532"),
        (5e-324, "0." + "0" * 323 + "5"),
        (1e22, "10000000000000000000000.0"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text
    assert float(text) == value


def test_running_vehicles_in_order_of_priority(tmp_path: Path) -> None:
    """Positions are those on the lanes' middle lines. Vehicles that wait to enter are not shown."""
    flows = [flow(way, interval=1.0, length=4.5 + i, width=1.5 + i) for i, way in enumerate(RIGHT_ANGLES)]
    engine = Engine(write_files(tmp_path, crossing(), flows, saveReplay=True))
    for step in range(60):
        engine.set_tl_phase("intersection_1_1", step // 10 % 9)
        engine.next_step()
    shown, lights = parse((tmp_path / "replay.txt").read_text().splitlines()[-1])
    assert len(engine.get_vehicles()) < len(engine.get_vehicles(include_waiting=True))
    assert [vehicle.id for vehicle in shown] == engine.get_vehicles()
    table = engine.vehicle_table()
    rows = {name: row for row, name in enumerate(table.ids)}
    on_curve = 0
    for vehicle in shown:
        row = rows[vehicle.id]
        x, y, angle = along(engine.network.drivable_points[table.drivable[row]], table.distance[row])
        assert (vehicle.x, vehicle.y, vehicle.angle) == pytest.approx((x, y, angle), abs=1e-9)
        size = float(vehicle.id.split("_")[1])
        assert (vehicle.change, vehicle.length, vehicle.width) == (0, 4.5 + size, 1.5 + size)
        on_curve += 0.1 < abs(vehicle.angle) < 1.5
    assert on_curve > 0
    assert list(lights) == [
        road for road in engine.network.road_ids if road.endswith(("0_1_0", "1_0_1", "1_2_3", "2_1_2"))
    ]
    assert all(len(colours) == 3 for colours in lights.values())


def along(line: np.ndarray, distance: float) -> tuple[float, float, float]:
    """Position and direction on a polyline, by interpolation over its whole length."""
    steps = np.diff(line, axis=0)
    ends = np.concatenate(([0.0], np.cumsum(np.hypot(*steps.T))))
    segment = min(int(np.searchsorted(ends, distance, side="right")) - 1, len(steps) - 1)
    x, y = (float(np.interp(distance, ends, line[:, axis])) for axis in (0, 1))
    return x, y, math.atan2(steps[segment, 1], steps[segment, 0])


def test_lights_of_every_phase(tmp_path: Path) -> None:
    """A lane is green if all of its links are open. Right turns are always."""
    engine = Engine(write_files(tmp_path, crossing(), [], saveReplay=True))
    for phase in range(9):
        engine.set_tl_phase("intersection_1_1", phase)
        engine.next_step()
    seen = [parse(line)[1] for line in (tmp_path / "replay.txt").read_text().splitlines()]
    colours = {road: " ".join("".join(lights[road]) for lights in seen) for road in seen[0]}
    assert colours["road_0_1_0"] == "rrg rgg rrg grg rrg ggg rrg rrg rrg"
    assert colours["road_1_0_1"] == "rrg rrg rgg rrg grg rrg rrg ggg rrg"


def test_lanes_that_are_partly_open_are_red_and_others_have_no_lights(tmp_path: Path) -> None:
    """An intersection with one phase shows i; one link of two that is closed makes a lane red."""
    roadnet = corridor(2, (100.0, 100.0, 100.0))
    first, second = roadnet["intersections"][1:3]
    del second["trafficLight"]["lightphases"][1]
    link = first["roadLinks"][0]
    first["roadLinks"] = [{**link, "laneLinks": link["laneLinks"][:3]}, {**link, "laneLinks": link["laneLinks"][3:]}]
    first["trafficLight"]["lightphases"] = [{"time": 9, "availableRoadLinks": k} for k in ([0], [1], [0, 1], [])]
    engine = Engine(write_files(tmp_path, roadnet, [], saveReplay=True))
    for phase in range(4):
        engine.set_tl_phase("n1", phase)
        engine.next_step()
    lines = (tmp_path / "replay.txt").read_text().splitlines()
    assert lines == [f";r0 {colours},r1 i i," for colours in ("g r", "r r", "g g", "r r")]


def test_lane_changes_are_shown_once_and_sideways(tmp_path: Path) -> None:
    """A changing vehicle is between its lanes, on the side to which it goes; its shadow is not shown."""
    flows = [flow(("r0", "r1"), interval=3.0, maxSpeed=5.0), flow(("r0", "r1"), interval=4.0, maxSpeed=11.0)]
    engine = Engine(write_files(tmp_path, corridor(2), flows, saveReplay=True, laneChange=True))
    middle, directions = {"r0_0": -2.0, "r0_1": -6.0}, set()
    for _ in range(80):
        engine.next_step()
        shown, _ = parse((tmp_path / "replay.txt").read_text().splitlines()[-1])
        assert [vehicle.id for vehicle in shown] == engine.get_vehicles()
        table = engine.vehicle_table()
        for vehicle in shown:
            row = table.ids.index(vehicle.id)
            lane = engine.network.drivable_ids[table.drivable[row]]
            if table.partner_type[row] == 1 and lane in middle:
                directions.add(vehicle.change)
                assert vehicle.change == (1 if lane == "r0_0" else -1)
                assert vehicle.y == pytest.approx(middle[lane] - table.offset[row])
                assert 0 < vehicle.change * table.offset[row] < 4
            elif table.partner_type[row] == 0:
                assert vehicle.change == 0
    assert directions == {1, -1}


def test_roadnet_log(tmp_path: Path) -> None:
    """Points are those of the file. The outline of an intersection goes round it."""
    record(tmp_path, corridor(2, (100.0, 150.5)), [], 0)
    log = json.loads((tmp_path / "static.json").read_text())
    assert log == {
        "static": {
            "nodes": [
                {"id": "n0", "point": [0.0, 0.0], "virtual": True, "outline": [0.0, 0.0]},
                {
                    "id": "n1",
                    "point": [100.0, 0.0],
                    "virtual": False,
                    "width": 10.0,
                    "outline": [90.0, -8.0, 110.0, -8.0, 110.0, 0.0, 90.0, 0.0],
                },
                {"id": "n2", "point": [250.5, 0.0], "virtual": True, "outline": [250.5, 0.0]},
            ],
            "edges": [
                {
                    "id": f"r{i}",
                    "from": f"n{i}",
                    "to": f"n{i + 1}",
                    "points": points,
                    "nLane": 2,
                    "laneWidths": [4.0, 4.0],
                }
                for i, points in enumerate(([[0.0, 0.0], [100.0, 0.0]], [[100.0, 0.0], [250.5, 0.0]]))
            ],
        }
    }


def test_pause_and_another_file(tmp_path: Path) -> None:
    engine, _ = record(tmp_path, corridor(), [], 2)
    engine.set_save_replay(False)
    engine.next_step()
    engine.set_save_replay(True)
    engine.next_step()
    engine.set_replay_file("other.txt")
    engine.run(4)
    assert [len((tmp_path / name).read_text().splitlines()) for name in ("replay.txt", "other.txt")] == [3, 4]


def test_many_steps_at_once_are_all_written(tmp_path: Path) -> None:
    """A reset does not touch what was written."""
    engine, lines = record(tmp_path, crossing(), [flow(RIGHT_ANGLES[0])], 30)
    engine.reset(seed=True)
    for _ in range(30):
        engine.next_step()
    assert (tmp_path / "replay.txt").read_text().splitlines() == 2 * lines


def test_without_a_replay_there_is_a_warning(tmp_path: Path) -> None:
    engine = Engine(write_files(tmp_path, corridor(), []))
    with pytest.warns(RuntimeWarning, match="set_replay_file needs saveReplay"):
        engine.set_replay_file("other.txt")
    with pytest.warns(RuntimeWarning, match="set_save_replay needs saveReplay"):
        engine.set_save_replay(True)
    assert not (tmp_path / "other.txt").exists()


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(TrafficFileError, match=r"cannot write .*folder"):
        Engine(write_files(tmp_path, corridor(), [], saveReplay=True, roadnetLogFile="folder"))
    with pytest.raises(TrafficFileError, match=r"cannot write the replay .*folder: .*; give replayLogFile"):
        Engine(write_files(tmp_path, corridor(), [], saveReplay=True, replayLogFile="folder"))
    engine, lines = record(tmp_path, corridor(), [], 1)
    with pytest.raises(TrafficFileError, match=r"cannot write the replay .*replay\.txt/inside\.txt"):
        engine.set_replay_file("replay.txt/inside.txt")
    engine.next_step()
    assert (tmp_path / "replay.txt").read_text().splitlines() == 2 * lines, "the replay goes on as before"


def test_folders_are_made(tmp_path: Path) -> None:
    files = {"roadnetLogFile": "logs/of/static.json", "replayLogFile": "lines/replay.txt"}
    engine = Engine(write_files(tmp_path, corridor(), [], saveReplay=True, **files))
    engine.next_step()
    engine.set_replay_file("more/replay.txt")
    engine.next_step()
    assert (tmp_path / "logs" / "of" / "static.json").exists()
    for folder in ("lines", "more"):
        assert (tmp_path / folder / "replay.txt").read_text() == ";r0 g g g,\n"


def test_a_full_disk_is_an_error() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no device that is always full")
    network = build_network(corridor())
    simulation = Simulation(network, build_flows([], network))
    with pytest.raises(OSError, match="No space"):
        ReplayWriter(network, full).write(simulation.state)


def test_ids_of_any_text(tmp_path: Path) -> None:
    """Even with half a character, which JSON can express and UTF-8 cannot."""
    name = "Zürich \ud800"
    roadnet = json.loads(json.dumps(corridor()).replace('"r0"', json.dumps(name)))
    Engine(write_files(tmp_path, roadnet, [], saveReplay=True)).next_step()
    assert (tmp_path / "replay.txt").read_bytes().decode("utf-8", "surrogatepass") == f";{name} g g g,\n"
    log = json.loads((tmp_path / "static.json").read_text())
    assert [edge["id"] for edge in log["static"]["edges"]] == [name, "r1"]
