"""Routes of vehicles: shortest paths between roads, and the flows of a file with expanded routes.

A route is given by anchors, roads to be passed in order. Between anchors vehicles take the shortest path, where the
cost of entering a road is the mean length of its lanes. Paths of equal length are common on grids; the choice among
them depends on the order of roads at an intersection and on how the search's heap moves equal entries, so both follow
CityFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from envs.errors import TrafficFileError
from envs.traffic.files import FLOWS, JsonObject, require_kind, warn_of_ignored
from envs.traffic.network.layout import NONE, VEHICLE_KIND, FlowArrays
from envs.traffic.network.network import Network

KIND_KEYS = (
    "length",
    "width",
    "maxPosAcc",
    "maxNegAcc",
    "usualPosAcc",
    "usualNegAcc",
    "minGap",
    "maxSpeed",
    "headwayTime",
)
"""Names of the fields of `VEHICLE_KIND` in files, in order."""
_MAY_BE_ZERO = frozenset({"length", "width", "maxPosAcc", "minGap", "maxSpeed", "headwayTime"})
"""Fields that may be zero; the others are used as divisors."""
PUSHED_VEHICLE = {
    "length": 5.0,
    "width": 2.0,
    "maxPosAcc": 4.5,
    "maxNegAcc": 4.5,
    "usualPosAcc": 2.5,
    "usualNegAcc": 2.5,
    "minGap": 2.0,
    "maxSpeed": 16.66667,
    "headwayTime": 1.0,
}
"""Default properties of a vehicle pushed into the simulation; its default speed is 0."""


@dataclass(frozen=True, eq=False)
class Flows:
    """The flows of a file; flow i creates the vehicles `flow_i_0`, `flow_i_1`, ..."""

    arrays: FlowArrays


def make_kind(info: Any, source: str = "vehicle", defaults: dict[str, float] | None = None) -> np.void:
    """A `VEHICLE_KIND` record from an object with CityFlow's keys; other keys are ignored.

    Without `defaults` every key is required. Raises TrafficFileError, naming `source`, for numbers that are not finite,
    negative, or zero where they are used as divisors.
    """
    record = JsonObject(info, source)
    if defaults is not None:
        record = JsonObject({**defaults, **record.values}, source)
    return np.array([_kind_values(record)], VEHICLE_KIND)[0]


def _kind_values(record: JsonObject) -> tuple[float, ...]:
    return tuple(
        record.number(key, least=0) if key in _MAY_BE_ZERO else record.number(key, positive=True) for key in KIND_KEYS
    )


def expand_route(network: Network, anchors: Sequence[int]) -> np.ndarray | None:
    """The roads of the shortest route through the anchors (road numbers) in order, (number of roads,) int32.

    None if there is no path, or if the route stays on one road. Raises ValueError for a number that is not a road.
    """
    numbers = np.array(anchors, np.int64)
    wrong = numbers[(numbers < 0) | (numbers >= len(network.road_ids))]
    if wrong.size:
        raise ValueError(f"anchor {wrong[0]} is not a road; expected numbers from 0 to {len(network.road_ids) - 1}")
    starts, roads = _expand(network, numbers, np.array([0, len(numbers)]))
    return roads if starts[1] > 0 else None


def build_flows(flows: Any, network: Network, source: str = "flow") -> Flows:
    """The flows of a file on a network; `source` names the file in error messages.

    A flow whose route cannot be found gets route -1, which is not an error. Times that are not integers are treated as
    missing, with a warning. Raises TrafficFileError for malformed input and for an unknown road.
    """
    require_kind(flows, FLOWS, source)
    if not isinstance(flows, list):
        raise TrafficFileError(f"{source}: expected a list of flows, not {type(flows).__name__}")
    columns = _FlowColumns(network.road_index)
    for position, values in enumerate(flows):
        columns.add(JsonObject(values, f"{source}: flow {position}"))
    warn_of_ignored(columns.ignored)
    anchors = np.array([road for route in columns.anchors for road in route], np.int64)
    anchor_starts = np.zeros(len(columns.anchors) + 1, np.int64)
    np.cumsum([len(route) for route in columns.anchors], out=anchor_starts[1:])
    starts, roads = _expand(network, anchors, anchor_starts)
    exists = np.diff(starts) > 0
    route_number = np.where(exists, np.cumsum(exists) - 1, NONE).astype(np.int32)
    arrays = FlowArrays(
        kind=np.array(columns.kind, np.int32),
        interval=np.array(columns.interval, np.float64),
        start=np.array(columns.start, np.int64),
        end=np.array(columns.end, np.int64),
        route=route_number[np.array(columns.route, np.int64)],
        route_starts=np.concatenate([starts[:1], starts[1:][exists]]),
        route_roads=roads,
        kinds=np.array(list(columns.kind_numbers), VEHICLE_KIND),
    )
    return Flows(arrays)


class _FlowColumns:
    """The columns of `FlowArrays`, collected flow by flow; equal kinds of vehicles and anchors are stored once."""

    def __init__(self, road_index: dict[str, int]) -> None:
        self.road_index = road_index
        self.kind: list[int] = []
        self.interval: list[float] = []
        self.start: list[int] = []
        self.end: list[int] = []
        self.route: list[int] = []
        self.anchors: list[list[int]] = []
        self.ignored: list[str] = []
        """Warnings about values that are treated as missing."""
        self.kind_numbers: dict[tuple[float, ...], int] = {}
        self._route_numbers: dict[tuple[str, ...], int] = {}
        self._known_kinds: dict[tuple[Any, ...], int] = {}
        """Numbers of kinds by their values in the file, which are checked only once."""

    def add(self, flow: JsonObject) -> None:
        self.start.append(flow.optional_integer("startTime", 0, self.ignored))
        self.end.append(flow.optional_integer("endTime", -1, self.ignored))
        self.interval.append(flow.number("interval", positive=True))
        happens_once = self.start[-1] == self.end[-1] >= 0
        if self.interval[-1] < 1 and not happens_once:
            raise flow.complain("interval", "at least 1 second unless startTime equals endTime")
        self.kind.append(self._kind(flow))
        self.route.append(self._route(flow))

    def _kind(self, flow: JsonObject) -> int:
        vehicle = JsonObject(flow.values.get("vehicle"), f"{flow.where}: 'vehicle'")
        written = tuple([vehicle.values.get(key) for key in KIND_KEYS])
        key = (*written, *map(type, written))
        try:
            known = self._known_kinds.get(key)
        except TypeError:
            known = None
        if known is None:
            values = _kind_values(vehicle)
            known = self.kind_numbers.setdefault(values, len(self.kind_numbers))
            self._known_kinds[key] = known
        return known

    def _route(self, flow: JsonObject) -> int:
        names = flow.items("route", "a list of at least one road id", least=1)
        try:
            key = tuple(names)
            known = self._route_numbers.get(key)
            if known is None:
                anchors = [self.road_index[name] for name in names]
                known = self._route_numbers[key] = len(self.anchors)
                self.anchors.append(anchors)
        except (KeyError, TypeError):
            wrong = next(name for name in names if not isinstance(name, str) or name not in self.road_index)
            raise flow.complain("route", f"ids of roads of the network, which {wrong!r} is not") from None
        return known


def _expand(network: Network, anchors: np.ndarray, anchor_starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and roads (int32) of the routes through several lists of anchors; empty where there is no route.

    All searches from the same road are combined into one; its results do not depend on where it stops.
    """
    num_roads = len(network.road_ids)
    graph = network.next_road_starts, network.next_roads
    searched = _legs_to_search(anchors, anchor_starts, *graph)
    keys = anchors[searched] * num_roads + anchors[searched + 1]
    legs, leg_of_searched = np.unique(keys, return_inverse=True)
    path_starts, path_roads = _search(
        legs // max(num_roads, 1), legs % max(num_roads, 1), *graph, network.arrays.road_cost
    )
    leg = np.full(len(anchors), NONE, np.int64)
    leg[searched] = leg_of_searched
    return _join(anchors, anchor_starts, leg, path_starts, path_roads)


@njit(cache=True, error_model="numpy")
def _legs_to_search(
    anchors: np.ndarray, anchor_starts: np.ndarray, next_starts: np.ndarray, next_roads: np.ndarray
) -> np.ndarray:
    """Positions of the anchors whose next anchor is neither the same road nor directly linked.

    A direct link is the shortest path, because every path contains the cost of its last road.
    """
    positions = np.empty(len(anchors), np.int64)
    count = 0
    for route in range(len(anchor_starts) - 1):
        for position in range(anchor_starts[route], anchor_starts[route + 1] - 1):
            road, target = anchors[position], anchors[position + 1]
            found = road == target
            for i in range(next_starts[road], next_starts[road + 1]):
                found |= next_roads[i] == target
            if not found:
                positions[count] = position
                count += 1
    return positions[:count]


@njit(cache=True, error_model="numpy")
def _search(
    sources: np.ndarray, targets: np.ndarray, next_starts: np.ndarray, next_roads: np.ndarray, cost: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Shortest paths from source to target roads, with legs of the same source consecutive.

    Returns starts and roads: all roads of each path after the source, or none if the target cannot be reached.
    """
    num_roads = len(cost)
    predecessor = np.empty(num_roads, np.int64)
    wanted = np.zeros(num_roads, np.bool_)
    starts = np.zeros(len(sources) + 1, np.int64)
    roads = [np.int64(0)]
    first = 0
    while first < len(sources):
        end = first
        while end < len(sources) and sources[end] == sources[first]:
            wanted[targets[end]] = True
            end += 1
        _search_tree(sources[first], wanted, end - first, next_starts, next_roads, cost, predecessor)
        for leg in range(first, end):
            wanted[targets[leg]] = False
            begin = len(roads)
            if predecessor[targets[leg]] >= 0:
                road = targets[leg]
                while road != sources[leg]:
                    roads.append(road)
                    road = predecessor[road]
            for i in range((len(roads) - begin) // 2):
                roads[begin + i], roads[-1 - i] = roads[-1 - i], roads[begin + i]
            starts[leg + 1] = len(roads) - 1
        first = end
    return starts, np.array(roads[1:], np.int64)


@njit(cache=True, error_model="numpy")
def _search_tree(
    source: int,
    wanted: np.ndarray,
    num_wanted: int,
    next_starts: np.ndarray,
    next_roads: np.ndarray,
    cost: np.ndarray,
    predecessor: np.ndarray,
) -> None:
    """Dijkstra's algorithm from one road until all wanted roads are reached; fills `predecessor`, with -1 for unreached
    roads.

    Only a strictly shorter path replaces a known one.
    """
    distance = np.full(len(cost), np.inf)
    visited = np.zeros(len(cost), np.bool_)
    heap_distance, heap_road = np.empty(len(next_roads) + 1), np.empty(len(next_roads) + 1, np.int64)
    predecessor[:] = -1
    distance[source] = 0.0
    heap_distance[0], heap_road[0] = 0.0, source
    size = 1
    while size > 0:
        road = heap_road[0]
        size -= 1
        _sink(heap_distance, heap_road, size)
        if visited[road]:
            continue
        visited[road] = True
        if wanted[road]:
            num_wanted -= 1
            if num_wanted == 0:
                break
        for i in range(next_starts[road], next_starts[road + 1]):
            neighbour = next_roads[i]
            through = distance[road] + cost[neighbour]
            if through < distance[neighbour]:
                distance[neighbour] = through
                predecessor[neighbour] = road
                _rise(heap_distance, heap_road, size, 0, through, neighbour)
                size += 1
    for road in range(len(cost)):
        if not visited[road]:
            predecessor[road] = -1


@njit(cache=True, error_model="numpy")
def _rise(keys: np.ndarray, roads: np.ndarray, hole: int, top: int, key: float, road: int) -> None:
    """Put an entry into the hole at a leaf of the heap and move it up past greater entries, at most to `top`."""
    while hole > top:
        parent = (hole - 1) // 2
        if not key < keys[parent]:
            break
        keys[hole], roads[hole] = keys[parent], roads[parent]
        hole = parent
    keys[hole], roads[hole] = key, road


@njit(cache=True, error_model="numpy")
def _sink(keys: np.ndarray, roads: np.ndarray, size: int) -> None:
    """Replace the first entry by the one at `size`, just past the end of the heap, which then has `size` entries.

    The hole first moves down to a leaf along the smaller children (ties go to the right one), then the entry rises.
    """
    if size == 0:
        return
    key, road = keys[size], roads[size]
    hole = 0
    child = 1
    while child < size:
        right = child + 1
        if right < size and not keys[child] < keys[right]:
            child = right
        keys[hole], roads[hole] = keys[child], roads[child]
        hole = child
        child = 2 * hole + 1
    _rise(keys, roads, hole, 0, key, road)


@njit(cache=True, error_model="numpy")
def _join(
    anchors: np.ndarray, anchor_starts: np.ndarray, leg: np.ndarray, path_starts: np.ndarray, path_roads: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Starts and roads of the routes. `leg` is -1 where the next anchor is the same road or directly linked."""
    starts = np.zeros(len(anchor_starts), np.int32)
    roads = [np.int32(0)]
    for route in range(len(anchor_starts) - 1):
        begin = len(roads)
        reachable = True
        for position in range(anchor_starts[route], anchor_starts[route + 1]):
            if position > anchor_starts[route] and leg[position - 1] >= 0:
                path = path_roads[path_starts[leg[position - 1]] : path_starts[leg[position - 1] + 1]]
                reachable &= len(path) > 0
                for road in path:
                    roads.append(np.int32(road))
            elif position == anchor_starts[route] or anchors[position] != anchors[position - 1]:
                roads.append(np.int32(anchors[position]))
        if not reachable or len(roads) - begin < 2:
            while len(roads) > begin:
                roads.pop()
        starts[route + 1] = len(roads) - 1
    return starts, np.array(roads[1:], np.int32)
