"""Synthetic grids: roads like the public maps', vehicles as `GridFlow` says, equal on every machine."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.errors import TrafficFileError
from envs.traffic.data import find
from envs.traffic.files import read_config, read_json_file, write_atomically
from envs.traffic.grid import main
from envs.traffic.network import build_network
from envs.traffic.network.routes import build_flows
from envs.traffic.synthetic.grid import (
    grid_flow,
    grid_roadnet,
    light_phases,
    write_grid,
)
from envs.traffic.synthetic.trips import GridFlow, Trips, grid_trips
from tests.beside import needs_map

SIZES = [(1, 1), (1, 4), (3, 2), (7, 7)]
ROADNET_SHA256 = "943fef58da36088c3b342e5ea47fd180d1299e91e620436d23b13b44786e51de"
HANGZHOU_SHA256 = "86dc61009f67131cbc1a81eb8611d192b579107e3c267ad5d1ece97b8d6c7f37"
"""Of the public map of Hangzhou, 4 x 4, as `described`."""
FLOW_SHA256 = "2dc7bf4ee407cbb579271874c2dd579c5c33d03bb4859473d699def4fab97341"


def checksum(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def headings(trips: Trips) -> list[np.ndarray]:
    """Of the roads of each vehicle."""
    return np.split(trips.roads % 4, trips.route_starts[1:-1])


def turns(trips: Trips) -> list[np.ndarray]:
    """Of each vehicle at each of its intersections: 1 left, 0 straight, -1 right, 2 back."""
    return [(np.diff(route) + 1) % 4 - 1 for route in headings(trips)]


def near(count: int, of: float, probability: float) -> bool:
    """Whether a count of independent events is within five standard deviations of its mean."""
    return abs(count - of * probability) <= 5 * math.sqrt(of * probability * (1 - probability))


@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_size(rows: int, columns: int) -> None:
    roadnet = grid_roadnet(rows, columns)
    virtual = [intersection["virtual"] for intersection in roadnet["intersections"]]
    entries = 2 * (rows + columns)
    assert (virtual.count(False), virtual.count(True)) == (rows * columns, entries)
    assert len(roadnet["roads"]) == 4 * rows * columns + entries
    assert len({road["id"] for road in roadnet["roads"]}) == len(roadnet["roads"])


def test_roads_join_the_intersections_that_list_them() -> None:
    roadnet = grid_roadnet(3, 2, road_length=200.0)
    touching: dict[str, set[str]] = {intersection["id"]: set() for intersection in roadnet["intersections"]}
    points = {intersection["id"]: intersection["point"] for intersection in roadnet["intersections"]}
    for road in roadnet["roads"]:
        ends = road["startIntersection"], road["endIntersection"]
        for end in ends:
            touching[end].add(road["id"])
        assert road["points"] == [points[end] for end in ends]
        assert math.dist(*(tuple(point.values()) for point in road["points"])) == 200
    for intersection in roadnet["intersections"]:
        assert len(intersection["roads"]) == (2 if intersection["virtual"] else 8)
        assert set(intersection["roads"]) == touching[intersection["id"]]


def described(roadnet: dict[str, Any]) -> Any:
    """All but places, lengths, and the order in which an intersection lists its road links."""
    roads = {
        road["id"]: (road["startIntersection"], road["endIntersection"], len(road["lanes"]))
        for road in roadnet["roads"]
    }
    signals = {}
    for intersection in roadnet["intersections"]:
        links = [
            (
                link["type"],
                link["startRoad"],
                link["endRoad"],
                *((lanes["startLaneIndex"], lanes["endLaneIndex"]) for lanes in link["laneLinks"]),
            )
            for link in intersection["roadLinks"]
        ]
        phases = [
            (phase["time"], sorted(links[link] for link in phase["availableRoadLinks"]))
            for phase in intersection["trafficLight"]["lightphases"]
        ]
        signals[intersection["id"]] = (intersection["roads"], sorted(links), [] if not links else phases)
    return sorted(roads.items()), sorted(signals.items())


def test_names_lanes_and_phases_are_those_of_a_public_map() -> None:
    assert checksum(described(grid_roadnet(4, 4))) == HANGZHOU_SHA256


@needs_map("cityflow/hangzhou_16")
def test_the_public_map_is_the_one_described() -> None:
    public = json.loads(gzip.decompress(find("hangzhou_16").roadnet.read_bytes()))
    assert checksum(described(public)) == HANGZHOU_SHA256
    assert described(public) == described(grid_roadnet(4, 4))


def test_phases() -> None:
    kinds = ("turn_left", "go_straight", "turn_right")
    phases = light_phases([(heading, kind) for heading in range(4) for kind in kinds])
    assert [phase["time"] for phase in phases] == [5] + [30] * 8
    assert [phase["availableRoadLinks"] for phase in phases] == [
        [2, 5, 8, 11],
        [1, 2, 5, 7, 8, 11],
        [2, 4, 5, 8, 10, 11],
        [0, 2, 5, 6, 8, 11],
        [2, 3, 5, 8, 9, 11],
        [0, 1, 2, 5, 8, 11],
        [2, 5, 6, 7, 8, 11],
        [2, 3, 4, 5, 8, 11],
        [2, 5, 8, 9, 10, 11],
    ]


def test_curves_and_crosses_are_sound() -> None:
    """Links begin and end where their lanes do, never bend back, and cross the same way at all intersections."""
    network = build_network(grid_roadnet(3, 3))
    arrays, num_lanes = network.arrays, len(network.lane_ids)
    patterns: dict[int, list[tuple[int, int, float]]] = {}
    for link, (start, end) in enumerate(zip(arrays.link_from, arrays.link_to, strict=True)):
        points = network.drivable_points[num_lanes + link]
        before, after = network.drivable_points[start], network.drivable_points[end]
        np.testing.assert_allclose(points[[0, -1]], [before[-1], after[0]], atol=1e-9)
        steps = np.diff(np.concatenate([before[-2:-1], points, after[1:2]]), axis=0)
        steps /= np.linalg.norm(steps, axis=1, keepdims=True)
        assert (steps[1:] * steps[:-1]).sum(1).min() > 0.9
        assert arrays.length[num_lanes + link] > 10
        first = int(np.argmax(arrays.link_intersection == arrays.link_intersection[link]))
        for cross in range(arrays.cross_starts[link], arrays.cross_starts[link + 1]):
            foe, distance = int(arrays.cross_foe[cross]) - first, round(float(arrays.cross_distance[cross]), 6)
            patterns.setdefault(arrays.link_intersection[link], []).append((link - first, foe, distance))
    assert len(patterns) == 9
    assert all(pattern == next(iter(patterns.values())) for pattern in patterns.values())


@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_routes_lead_from_border_to_border_on_lanes_that_connect(rows: int, columns: int) -> None:
    roadnet, flow = grid_roadnet(rows, columns), grid_flow(rows, columns)
    virtual = {intersection["id"] for intersection in roadnet["intersections"] if intersection["virtual"]}
    entries = {road["id"] for road in roadnet["roads"] if road["startIntersection"] in virtual}
    exits = {road["id"] for road in roadnet["roads"] if road["endIntersection"] in virtual}
    lanes: dict[tuple[str, str], dict[int, set[int]]] = {}
    for link in itertools.chain.from_iterable(intersection["roadLinks"] for intersection in roadnet["intersections"]):
        ends = lanes.setdefault((link["startRoad"], link["endRoad"]), {})
        for pair in link["laneLinks"]:
            ends.setdefault(pair["startLaneIndex"], set()).add(pair["endLaneIndex"])
    for vehicle in flow:
        route = vehicle["route"]
        assert route[0] in entries
        assert route[-1] in exits
        assert not virtual & {road.replace("road", "intersection").rpartition("_")[0] for road in route[1:]}
        assert len(set(route)) == len(route)
        movements = [lanes[pair] for pair in itertools.pairwise(route)]
        for now, later in itertools.pairwise(movements):  # from every lane, some link leads to a lane that goes on
            assert all(ends & set(later) for ends in now.values())
    assert {vehicle["route"][0] for vehicle in flow} == entries
    assert {vehicle["route"][-1] for vehicle in flow} == exits


def test_engine_takes_routes_as_they_are() -> None:
    network, flow = build_network(grid_roadnet(4, 5)), grid_flow(4, 5, GridFlow(horizon=600))
    arrays = build_flows(flow, network).arrays
    assert (arrays.start == arrays.end).all()
    for vehicle, route in zip(flow, arrays.route, strict=True):
        roads = arrays.route_roads[arrays.route_starts[route] : arrays.route_starts[route + 1]]
        assert [network.road_ids[road] for road in roads] == vehicle["route"]


def test_one_entry_for_each_vehicle_in_order_of_time() -> None:
    flow = grid_flow(3, 3, GridFlow(horizon=500))
    times = [vehicle["startTime"] for vehicle in flow]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] < 500
    for vehicle in flow:
        assert vehicle["startTime"] == vehicle["endTime"]
        assert vehicle["interval"] == 1
        assert vehicle["vehicle"]["maxSpeed"] == 11.111


def test_shares_of_turns() -> None:
    made = np.concatenate(turns(grid_trips(12, 9, GridFlow(left=0.1, right=0.1, rate=400))))
    for turn, share in ((1, 0.1), (0, 0.8), (-1, 0.1), (2, 0.0)):
        assert near(int((made == turn).sum()), len(made), share)


def test_first_turn_has_the_shares_and_turns_alternate() -> None:
    made = [route[route != 0] for route in turns(grid_trips(20, 20, GridFlow(left=0.05, right=0.3)))]
    first = np.array([route[0] for route in made if len(route)])
    assert near(int((first == 1).sum()), len(first), 0.05 / 0.35)
    assert all((route[1:] == -route[:-1]).all() for route in made)
    assert max(len(route) for route in made) > 5


def test_routes_are_shortest_ones() -> None:
    trips = grid_trips(9, 6, GridFlow())
    places = trips.roads // 4
    x, y = places // 11, places % 11
    for begin, end in itertools.pairwise(trips.route_starts):
        assert end - begin - 1 == abs(x[end - 1] - x[begin]) + abs(y[end - 1] - y[begin])


def test_no_turns() -> None:
    trips = grid_trips(3, 5, GridFlow(left=0, right=0))
    assert all(set(route) == {route[0]} and len(route) == (4 if route[0] % 2 else 6) for route in headings(trips))


def test_turns_only() -> None:
    made = turns(grid_trips(3, 5, GridFlow(left=0, right=1)))
    assert all((route[::2] == -1).all() and (route[1::2] == 1).all() for route in made)


@pytest.mark.parametrize("flow", [GridFlow(), GridFlow(rate=900, amplitude=1, horizon=1800), GridFlow(amplitude=0)])
def test_rate_follows_its_curve(flow: GridFlow) -> None:
    trips, entries = grid_trips(10, 10, flow), 10
    heading = trips.roads[trips.route_starts[:-1]] % 4
    for direction, peak in enumerate(flow.peaks):
        counts, edges = np.histogram(trips.time[heading == direction], 12, (0, flow.horizon))
        # The curve's integral over each of the twelve parts.
        angle = 2 * math.pi * (edges / flow.horizon - peak)
        wave = flow.amplitude * flow.horizon / (2 * math.pi) * np.diff(np.sin(angle))
        expected = entries * flow.rate / 3600 * (np.diff(edges) + wave)
        assert (np.abs(counts - expected) <= 5 * np.sqrt(expected)).all()
        if flow.amplitude:
            assert abs((counts.argmax() + 0.5) / 12 - peak) < 0.15


def test_arrivals_are_independent() -> None:
    """Numbers of vehicles in 60 s on a road vary as a Poisson process says: their variance is their mean."""
    trips = grid_trips(15, 15, GridFlow(rate=360, amplitude=0))
    roads = trips.roads[trips.route_starts[:-1]]
    counts = np.histogram2d(np.unique(roads, return_inverse=True)[1], trips.time, [60, 60])[0]
    assert abs(counts.mean() - 6) < 0.2
    assert abs(counts.var() / counts.mean() - 1) < 0.12
    together = np.histogram2d(np.unique(roads, return_inverse=True)[1], trips.time, [60, 3600])[0]
    assert near(int((together >= 2).sum()), together.size, 1 - math.exp(-0.1) * 1.1)


def test_mean_rate_at_the_largest_size_of_the_paper() -> None:
    trips = grid_trips(35, 35, GridFlow(rate=300))
    assert abs(len(trips.time) - 42_000) < 5 * math.sqrt(42_000)
    assert len(trips.route_starts) == len(trips.time) + 1
    assert trips.route_starts[-1] == len(trips.roads)


def test_many_vehicles_in_a_second() -> None:
    trips = grid_trips(1, 1, GridFlow(rate=10_000, horizon=1000))
    assert abs(len(trips.time) - 4 * 10_000 / 3.6) < 5 * math.sqrt(4 * 10_000 / 3.6)


def test_equal_seeds_give_equal_files() -> None:
    """The recorded checksums also notice changes between machines and versions."""
    flow = GridFlow(seed=5, horizon=900)
    assert checksum(grid_roadnet(3, 4)) == ROADNET_SHA256
    assert checksum(grid_flow(3, 4, flow)) == FLOW_SHA256
    assert checksum(grid_flow(3, 4, GridFlow(seed=6, horizon=900))) != FLOW_SHA256


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 0}, "rate must be above 0"),
        ({"rate": math.nan}, "rate must be above 0"),
        ({"amplitude": 1.5}, "amplitude must be between 0 and 1, not 1.5"),
        ({"peaks": (0, 0, 0)}, "peaks must be four numbers"),
        ({"peaks": (0, 0, 0, math.inf)}, "peaks must be four numbers"),
        ({"left": -0.1}, "left must be between 0 and 1"),
        ({"left": 0.7, "right": 0.4}, "right must be between 0 and what `left` leaves of 1, not 0.4"),
        ({"horizon": 0}, "horizon must be between 1 and 86400 seconds"),
        ({"seed": -1}, "seed must be between 0 and"),
    ],
)
def test_wrong_numbers(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GridFlow(**settings)


@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (3, 0), (201, 3)])
def test_wrong_sizes(rows: int, columns: int) -> None:
    with pytest.raises(ValueError, match="must be between 1 and 200"):
        grid_roadnet(rows, columns)
    with pytest.raises(ValueError, match="must be between 1 and 200"):
        grid_flow(rows, columns)


@pytest.mark.parametrize("length", [0, 59, math.inf, math.nan])
def test_wrong_road_length(length: float) -> None:
    with pytest.raises(ValueError, match="road_length must be at least 60 m"):
        grid_roadnet(2, 2, length)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "grid"
    arguments = ["--rows", "2", "--columns", "3", "--output", str(folder), "--seed", "4", "--rate", "120.5"]
    assert main([*arguments, "--horizon", "700", "--left", "0.2", "--amplitude", "0.25", "--road-length", "150"]) == 0
    assert str(folder / "config.json") in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "flow.json", "roadnet.json"]
    config = read_config(folder / "config.json")
    assert read_json_file(config.directory + config.roadnet_file) == grid_roadnet(2, 3, 150)
    flow = GridFlow(rate=120.5, amplitude=0.25, left=0.2, horizon=700, seed=4)
    assert read_json_file(config.directory + config.flow_file) == grid_flow(2, 3, flow)
    assert config.rl_traffic_light
    assert not config.lane_change


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "2"], "--columns"),
        (["--rows", "x", "--columns", "2"], "'x'"),
        (["--rows", "0", "--columns", "2"], "rows must be between"),
        (["--rows", "2", "--columns", "2", "--rate", "-5"], "rate must be above 0"),
        (["--rows", "2", "--columns", "2", "--road-length", "9"], "road_length must be at least 60 m"),
    ],
)
def test_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert main([*arguments, "--output", str(tmp_path / "grid")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "grid").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["--rows", "1", "--columns", "1", "--output", str(tmp_path / "file" / "grid")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: cannot write {tmp_path / 'file' / 'grid' / 'roadnet.json'}: ")
    assert error.count("\n") == 1


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write_grid(tmp_path, 1, 1, GridFlow(horizon=60))
    before = config.read_bytes()

    def fail(path: Path, content: bytes) -> int:
        with path.open("wb") as stream:
            stream.write(content[:5])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(TrafficFileError, match="No space left on device"):
        write_atomically(config, b"something else")
    assert config.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 3
