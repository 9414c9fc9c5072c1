"""Routes are CityFlow's, among equally short ones too."""

from __future__ import annotations

import gzip
import heapq
import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.errors import TrafficFileError
from envs.traffic.files import read_json_file
from envs.traffic.network import Network, build_network, load_network
from envs.traffic.network.layout import VEHICLE_KIND, FlowArrays
from envs.traffic.network.routes import PUSHED_VEHICLE, _search, build_flows, expand_route, make_kind

DATA = Path(__file__).parents[1] / "data"
GRID = DATA / "api_grid2x2"
ANCHORS = DATA / "grid4x4_anchors"


class Entry:
    """An entry of the heap that knows its distance alone."""

    def __init__(self, distance: float, road: int) -> None:
        self.distance, self.road = distance, road

    def __lt__(self, other: Entry) -> bool:
        return self.distance < other.distance


def shortest_path(neighbours: list[list[int]], cost: list[float], start: int, target: int) -> list[int] | None:
    """Roads after the start, by Python's heap."""
    distance, predecessor, visited = {start: 0.0}, {}, set()
    heap = [Entry(0.0, start)]
    while heap:
        road = heapq.heappop(heap).road
        if road == target:
            break
        if road in visited:
            continue
        visited.add(road)
        for neighbour in neighbours[road]:
            through = distance[road] + cost[neighbour]
            if through < distance.get(neighbour, math.inf):
                distance[neighbour], predecessor[neighbour] = through, road
                heapq.heappush(heap, Entry(through, neighbour))
    path = [target]
    while path[-1] != start:
        if path[-1] not in predecessor:
            return None
        path.append(predecessor[path[-1]])
    return path[-2::-1]


def neighbours_of(network: Network) -> list[list[int]]:
    """For every road those that it leads to, straight from the links."""
    arrays = network.arrays
    linked = defaultdict(set)
    for start, end in zip(arrays.link_from, arrays.link_to, strict=True):
        linked[int(arrays.lane_road[start])].add(int(arrays.lane_road[end]))
    around = [
        arrays.adjacent[arrays.adjacent_starts[i] : arrays.adjacent_starts[i + 1]].tolist()
        for i in range(len(network.intersection_ids))
    ]
    return [[next_ for next_ in around[end] if next_ in linked[road]] for road, end in enumerate(arrays.road_to)]


def test_paths_between_all_roads_of_a_grid() -> None:
    network = load_network(GRID / "roadnet.json.gz")
    neighbours, cost = neighbours_of(network), network.arrays.road_cost.tolist()
    found = 0
    for start in range(len(network.road_ids)):
        for target in range(len(network.road_ids)):
            if start == target:
                continue
            path = shortest_path(neighbours, cost, start, target)
            route = expand_route(network, [start, target])
            assert (None if route is None else route.tolist()) == (None if path is None else [start, *path])
            found += path is not None
    assert 100 < found < 24 * 23


@pytest.mark.parametrize("costs", [1, 2, 5])
def test_equally_short_paths(costs: int) -> None:
    """Random graphs of 60 roads whose costs are few whole numbers, so that nearly every choice is between equals."""
    generator = np.random.default_rng(costs)
    for _ in range(10):
        neighbours = [generator.permutation(60)[: generator.integers(5)].tolist() for _ in range(60)]
        cost = generator.integers(1, costs + 1, 60).astype(np.float64)
        starts = np.cumsum([0, *map(len, neighbours)]).astype(np.int32)
        roads = np.array([road for row in neighbours for road in row], np.int32)
        legs = [(a, b) for a in range(60) for b in generator.permutation(60)[:20].tolist() if a != b]
        sources, targets = np.array(legs).T
        path_starts, path_roads = _search(sources, targets, starts, roads, cost)
        for leg, (source, target) in enumerate(legs):
            found = path_roads[path_starts[leg] : path_starts[leg + 1]].tolist()
            assert found == (shortest_path(neighbours, cost.tolist(), source, target) or [])


def test_routes_through_anchors() -> None:
    network = load_network(GRID / "roadnet.json.gz")
    number = network.road_index
    roads = ["road_0_1_0", "road_1_1_1", "road_1_2_0"]
    expected = [number[road] for road in roads]

    def expand(*anchors: str) -> list[int] | None:
        route = expand_route(network, [number[road] for road in anchors])
        return None if route is None else route.tolist()

    assert expand(*roads) == expected
    assert expand(roads[0], roads[0], *roads[1:], roads[-1]) == expected
    assert expand(roads[0], roads[2]) in (expected, [number[r] for r in ("road_0_1_0", "road_1_1_0", "road_2_1_1")])
    assert expand(roads[0]) is None
    assert expand(roads[0], roads[0]) is None
    assert expand(roads[1], roads[0]) is None
    assert expand(roads[0], roads[1], roads[0]) is None
    assert expand_route(network, []) is None
    with pytest.raises(ValueError, match="anchor 24 is not a road; expected numbers from 0 to 23"):
        expand_route(network, [0, 24])
    with pytest.raises(ValueError, match="anchor -1 is not a road"):
        expand_route(network, [-1])


def route_of(arrays: FlowArrays, flow: int) -> list[int] | None:
    route = arrays.route[flow]
    if route < 0:
        return None
    roads: list[int] = arrays.route_roads[arrays.route_starts[route] : arrays.route_starts[route + 1]].tolist()
    return roads


def test_recorded_routes() -> None:
    """What CityFlow's get_vehicle_info said of vehicles whose files give two or three roads on a 4x4 grid."""
    network = load_network(ANCHORS / "roadnet.json.gz")
    arrays = build_flows(read_json_file(ANCHORS / "flow.json.gz"), network).arrays
    lists = json.loads(gzip.decompress((ANCHORS / "lists.json.gz").read_bytes()))
    checked = 0
    for step in lists.values():
        for vehicle, info in step["info"].items():
            rest = info.get("route", "").split()
            route = [network.road_ids[road] for road in route_of(arrays, int(vehicle.split("_")[1])) or []]
            assert route[len(route) - len(rest) :] == rest
            checked += len(rest)
    assert checked > 150


def flow(route: list[str], vehicle: dict[str, float] | None = None, **settings: Any) -> dict[str, Any]:
    return {"vehicle": {**PUSHED_VEHICLE, **(vehicle or {})}, "route": route, "interval": 2, **settings}


@pytest.mark.filterwarnings("ignore::envs.traffic.files.IgnoredValueWarning")
def test_flows() -> None:
    network = load_network(GRID / "roadnet.json.gz")
    way, other = ["road_0_1_0", "road_1_1_1", "road_1_2_0"], ["road_0_1_0", "road_1_1_0"]
    arrays = build_flows(
        [
            flow(way, startTime=5, endTime=5),
            flow(["road_1_1_1", "road_0_1_0"], {"length": 7}, interval=1.5),
            flow(other, {"length": 7.0}, startTime=5.0, endTime="10"),
            flow(way, interval=0.25, startTime=2**31 - 1, endTime=2**31 - 1),
            flow(["road_0_1_0"], {"minGap": 0}, startTime=2**31, endTime=True),
        ],
        network,
    ).arrays
    assert arrays.kind.tolist() == [0, 1, 1, 0, 2]
    assert arrays.kinds.dtype == VEHICLE_KIND
    assert arrays.kinds["length"].tolist() == [5, 7, 5]
    assert arrays.kinds["min_gap"].tolist() == [2, 2, 0]
    assert arrays.interval.tolist() == [2, 1.5, 2, 0.25, 2]
    assert arrays.start.tolist() == [5, 0, 0, 2**31 - 1, 0]
    assert arrays.end.tolist() == [5, -1, -1, 2**31 - 1, -1]
    assert arrays.route.tolist() == [0, -1, 1, 0, -1]
    names = [[network.road_ids[road] for road in route_of(arrays, number) or []] for number in (0, 2)]
    assert names == [way, other]


def test_routes_of_flows_are_those_of_single_searches() -> None:
    network = load_network(GRID / "roadnet.json.gz")
    generator = np.random.default_rng(0)
    anchors = generator.integers(len(network.road_ids), size=(200, 3))
    given = [flow([network.road_ids[road] for road in row]) for row in anchors]
    arrays = build_flows(given, network).arrays
    for number, row in enumerate(anchors):
        route = expand_route(network, row.tolist())
        assert route_of(arrays, number) == (None if route is None else route.tolist())
    assert (arrays.route == -1).any()
    assert len(set(map(tuple, anchors.tolist()))) >= len(arrays.route_starts) - 1 > 10


def test_a_road_that_is_not_listed_at_its_intersection_is_not_found() -> None:
    """The search looks at the roads of an intersection, so a link to another one does not help."""
    document = read_json_file(DATA / "straight_merge" / "roadnet.json.gz")
    assert expand_route(build_network(document), [0, 1]) is not None
    document["intersections"][1]["roads"] = ["in"]
    assert expand_route(build_network(document), [0, 1]) is None


def test_kinds() -> None:
    kind = make_kind({"length": 4, "speed": 3.0}, defaults=PUSHED_VEHICLE)
    assert kind.dtype == VEHICLE_KIND
    assert tuple(kind.tolist()) == (4, 2, 4.5, 4.5, 2.5, 2.5, 2, 16.66667, 1)
    assert make_kind({**PUSHED_VEHICLE, "length": 4}) == kind
    with pytest.raises(TrafficFileError, match="vehicle: 'length' is missing"):
        make_kind({})
    with pytest.raises(TrafficFileError, match="pushed: 'maxSpeed' is nan"):
        make_kind({"maxSpeed": math.nan}, "pushed", PUSHED_VEHICLE)
    with pytest.raises(TrafficFileError, match="vehicle is None; expected an object"):
        make_kind(None, defaults=PUSHED_VEHICLE)
