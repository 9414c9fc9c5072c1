"""Construction of road networks: from the objects of a file to the arrays that the engine's kernels read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from envs.errors import TrafficFileError
from envs.traffic.files import LARGEST_COORDINATE, Roadnet, parse_roadnet, read_json_file
from envs.traffic.network.crosses import find_crosses
from envs.traffic.network.geometry import SEGMENT_LENGTH, lane_polylines, link_polylines, polyline_lengths
from envs.traffic.network.layout import NetworkArrays
from envs.traffic.network.map import Map, make_map

LINK_MAX_SPEED = 10000.0
"""Speed limit of lane links in m/s, too high to have an effect."""


@dataclass(frozen=True, eq=False)
class Network:
    """A road network. Roads, lanes, lane links, intersections and road links are numbered in the order of the file."""

    arrays: NetworkArrays
    road_ids: tuple[str, ...]
    lane_ids: tuple[str, ...]
    """Ids of lanes: id of the road, an underscore, and the lane's index on it."""
    link_ids: tuple[str, ...]
    """Ids of lane links: ids of the two lanes, joined by `_TO_`; links between the same lanes share an id."""
    intersection_ids: tuple[str, ...]
    virtual: np.ndarray
    """(I,) bool, whether the intersection is at the border, without links, lights and width."""
    points: np.ndarray
    """(I, 2) float64, centres of the intersections in metres."""
    widths: np.ndarray
    """(I,) float64, metres by which roads stop short of the intersection's centre."""
    road_points: list[np.ndarray]
    """One array (points, 2) float64 per road: its line in the file, not cut back."""
    road_link_starts: np.ndarray
    """(I + 1,) int32, starts of the intersections' road links."""
    road_link_from: np.ndarray
    """(S,) int32, road where the road link begins."""
    road_link_to: np.ndarray
    """(S,) int32, road where the road link ends."""
    road_link_rank: np.ndarray
    """(S,) int32, 3 straight, 2 left, 1 right, 0 anything else."""
    next_road_starts: np.ndarray
    """(R + 1,) int32, offsets into `next_roads`."""
    next_roads: np.ndarray
    """int32, roads that can be entered from the end of each road, in the search order of paths."""
    shape_points: np.ndarray
    """(P, 2) float64, polylines of all drivables, end to end, in metres."""
    shape_starts: np.ndarray
    """(L + K + 1,) int32, offsets into `shape_points`."""

    @cached_property
    def map(self) -> Map:
        """The network in the form that the kernels of a step read."""
        return make_map(self.arrays)

    @cached_property
    def road_index(self) -> dict[str, int]:
        """Number of each road by id."""
        return {name: number for number, name in enumerate(self.road_ids)}

    @cached_property
    def lane_index(self) -> dict[str, int]:
        """Number of each lane by id."""
        return {name: number for number, name in enumerate(self.lane_ids)}

    @cached_property
    def intersection_index(self) -> dict[str, int]:
        """Number of each intersection by id."""
        return {name: number for number, name in enumerate(self.intersection_ids)}

    @cached_property
    def drivable_ids(self) -> tuple[str, ...]:
        """Ids of all lanes, then of all lane links."""
        return self.lane_ids + self.link_ids

    @cached_property
    def drivable_keys(self) -> tuple[str, ...]:
        """The ids of all drivables, made unique by adding `#` to later duplicates."""
        keys: dict[str, None] = {}
        for name in self.drivable_ids:
            key = name
            while key in keys:
                key += "#"
            keys[key] = None
        return tuple(keys)

    @cached_property
    def repeated_keys(self) -> frozenset[str]:
        """The entries of `drivable_keys` that are not ids."""
        return frozenset(self.drivable_keys).difference(self.drivable_ids)

    @cached_property
    def road_of(self) -> dict[str, str]:
        """Id of the road of each lane, and of the road where each lane link begins, by the id of the lane or link."""
        lane_road = self.arrays.lane_road
        roads = [*lane_road.tolist(), *lane_road[self.arrays.link_from].tolist()]
        return {name: self.road_ids[road] for name, road in zip(self.drivable_ids, roads, strict=True)}

    @cached_property
    def drivable_points(self) -> list[np.ndarray]:
        """One array (points, 2) float64 per drivable: the line on which vehicles drive."""
        return _split(self.shape_points, self.shape_starts)

    def num_phases(self, intersection: int) -> int:
        """Number of light phases of an intersection; 0 for virtual ones."""
        starts = self.arrays.phase_starts
        return int(starts[intersection + 1] - starts[intersection])


def load_network(path: str | Path) -> Network:
    """The road network in a JSON file, plain or compressed with gzip. Raises TrafficFileError if it is missing or
    invalid."""
    return build_network(read_json_file(path), str(path))


def build_network(roadnet: Any, source: str = "roadnet") -> Network:
    """A network from the objects of a roadnet file, which `source` names in error messages. Raises TrafficFileError if
    it is invalid."""
    columns = parse_roadnet(roadnet, source)
    lane_ids = _lane_ids(columns)
    link_ids = tuple(
        f"{lane_ids[start]}_TO_{lane_ids[end]}"
        for start, end in zip(columns.lane_link_from, columns.lane_link_to, strict=True)
    )
    road_points = np.array(columns.road_coordinates, np.float64).reshape(-1, 2)
    arrays, shape_points, shape_starts = _build_arrays(columns, road_points, link_ids, source)
    next_road_starts, next_roads = _next_roads(arrays)
    return Network(
        arrays=arrays,
        road_ids=tuple(columns.road_ids),
        lane_ids=lane_ids,
        link_ids=link_ids,
        intersection_ids=tuple(columns.intersection_ids),
        virtual=np.array(columns.virtual, bool),
        points=np.array(columns.point, np.float64).reshape(-1, 2),
        widths=np.array(columns.width, np.float64),
        road_points=_split(road_points, columns.road_point_starts),
        road_link_starts=_int32(columns.road_link_starts),
        road_link_from=_int32(columns.road_link_from),
        road_link_to=_int32(columns.road_link_to),
        road_link_rank=_int32(columns.road_link_rank),
        next_road_starts=next_road_starts,
        next_roads=next_roads,
        shape_points=shape_points,
        shape_starts=shape_starts,
    )


def _build_arrays(
    columns: Roadnet, road_points: np.ndarray, link_ids: Sequence[str], source: str
) -> tuple[NetworkArrays, np.ndarray, np.ndarray]:
    """All arrays for the kernels, and the polylines of the drivables with their starts."""
    road_from, road_to = _int32(columns.road_from), _int32(columns.road_to)
    road_lane_starts, lane_width = _int32(columns.road_lane_starts), np.array(columns.lane_width, np.float64)
    lanes_of_road = np.diff(road_lane_starts)
    lane_road = np.repeat(np.arange(len(road_from), dtype=np.int32), lanes_of_road)
    link_from, link_to = _int32(columns.lane_link_from), _int32(columns.lane_link_to)
    links_of_road_link = np.diff(_int32(columns.lane_link_starts))
    road_link = np.repeat(np.arange(len(links_of_road_link), dtype=np.int32), links_of_road_link)
    road_links_of = np.diff(_int32(columns.road_link_starts))
    road_link_intersection = np.repeat(np.arange(len(road_links_of), dtype=np.int32), road_links_of)
    link_intersection = road_link_intersection[road_link]
    open_, light_base = _light_tables(columns)

    width = np.array(columns.width, np.float64)
    road_starts = _int32(columns.road_point_starts)
    road_length = polyline_lengths(road_points, road_starts)
    no_cut = np.zeros(len(road_from))
    uncut = lane_polylines(road_points, road_starts, road_lane_starts, lane_width, no_cut, no_cut)
    lanes = lane_polylines(road_points, road_starts, road_lane_starts, lane_width, width[road_from], width[road_to])
    lane_length = polyline_lengths(*lanes)
    _require_lane_lengths(columns, road_length, lane_length, lane_road, source)
    given = np.array(columns.link_coordinates, np.float64).reshape(-1, 2)
    links = link_polylines(
        given, _int32(columns.link_point_starts), link_from, link_to, width[link_intersection], *uncut
    )
    link_length = polyline_lengths(*links)
    _require_link_lengths(link_ids, link_length, source)
    group_starts = _int32(columns.lane_link_starts)[columns.road_link_starts]
    crosses = find_crosses(*links, group_starts)
    leaving_starts, leaving = _grouped(link_from, len(lane_road))
    segments = np.maximum(np.ceil(road_length / SEGMENT_LENGTH), 1).astype(np.int32)
    arrays = NetworkArrays(
        length=np.concatenate([lane_length, link_length]),
        max_speed=np.concatenate([np.array(columns.lane_speed), np.full(len(link_from), LINK_MAX_SPEED)]),
        lane_road=lane_road,
        lane_index=np.arange(len(lane_road), dtype=np.int32) - road_lane_starts[lane_road],
        lane_width=lane_width,
        lane_segments=segments[lane_road],
        road_lane_starts=road_lane_starts,
        road_from=road_from,
        road_to=road_to,
        road_cost=_mean_lengths(lane_length, road_lane_starts),
        leaving_starts=leaving_starts,
        leaving=leaving,
        link_from=link_from,
        link_to=link_to,
        link_rank=_int32(columns.road_link_rank)[road_link],
        link_intersection=link_intersection,
        link_light=light_base[link_intersection] + road_link - _int32(columns.road_link_starts)[link_intersection],
        open=open_,
        light_stride=road_links_of,
        phase_starts=_int32(columns.phase_starts),
        phase_time=np.array(columns.phase_time, np.float64),
        cross_starts=crosses.starts,
        cross_distance=crosses.distance,
        cross_foe=crosses.foe,
        cross_twin=crosses.twin,
        adjacent_starts=_int32(columns.adjacent_starts),
        adjacent=_int32(columns.adjacent),
    )
    shapes = np.concatenate([lanes[0], links[0]]), np.concatenate([lanes[1], lanes[1][-1] + links[1][1:]])
    return arrays, *shapes


def _light_tables(columns: Roadnet) -> tuple[np.ndarray, np.ndarray]:
    """The tables (phase, road link) of all intersections, end to end, and their starts."""
    stride = np.diff(_int32(columns.road_link_starts))
    phases = np.diff(_int32(columns.phase_starts))
    base = np.zeros(len(stride) + 1, np.int32)
    np.cumsum(stride * phases, out=base[1:])
    intersection = np.repeat(np.arange(len(phases)), phases)
    phase = np.arange(len(columns.phase_links)) - _int32(columns.phase_starts)[intersection]
    rows = base[intersection] + phase * stride[intersection]
    counts = np.array([len(links) for links in columns.phase_links], np.int64)
    entries = np.array([link for links in columns.phase_links for link in links], np.int64)
    table = np.zeros(base[-1], np.uint8)
    table[np.repeat(rows, counts) + entries] = 1
    return table, base[:-1]


def _require_link_lengths(link_ids: Sequence[str], link_length: np.ndarray, source: str) -> None:
    wrong = np.flatnonzero(~np.isfinite(link_length))
    if wrong.size:
        length = link_length[wrong[0]]
        raise TrafficFileError(
            f"{source}: lane link {link_ids[wrong[0]]} has length {length:g} m; expected finite points"
        )


def _require_lane_lengths(
    columns: Roadnet, road_length: np.ndarray, lane_length: np.ndarray, lane_road: np.ndarray, source: str
) -> None:
    """Raise TrafficFileError if the length of a lane is not a number. Intersections may be wider than a road is long;
    its lanes then extend beyond its ends, as in CityFlow."""
    wrong = np.flatnonzero(~(road_length <= LARGEST_COORDINATE))
    if wrong.size:
        name, length = columns.road_ids[wrong[0]], road_length[wrong[0]]
        raise TrafficFileError(
            f"{source}: road {name!r} is {length:g} m long; expected at most {LARGEST_COORDINATE:g} m"
        )
    wrong = np.flatnonzero(~np.isfinite(lane_length))
    if wrong.size:
        road = lane_road[wrong[0]]
        raise TrafficFileError(
            f"{source}: road {columns.road_ids[road]!r}: lane {wrong[0] - columns.road_lane_starts[road]} has length "
            f"{lane_length[wrong[0]]:g} m; expected points that never turn straight back, and intersections whose "
            "width is not exactly the length of the road's first or last part"
        )


def _lane_ids(columns: Roadnet) -> tuple[str, ...]:
    starts = columns.road_lane_starts
    return tuple(
        f"{name}_{lane}"
        for road, name in enumerate(columns.road_ids)
        for lane in range(starts[road + 1] - starts[road])
    )


def _mean_lengths(lane_length: np.ndarray, road_lane_starts: np.ndarray) -> np.ndarray:
    """Mean length of each road's lanes, (R,), summed in their order."""
    total = np.zeros(len(road_lane_starts) - 1)
    count = np.diff(road_lane_starts)
    for lane in range(int(count.max(initial=0))):
        has_lane = count > lane
        total[has_lane] += lane_length[road_lane_starts[:-1][has_lane] + lane]
    return total / np.maximum(count, 1)


def _grouped(keys: np.ndarray, num_groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts of the groups of equal keys 0, 1, ..., and the positions of their members in order."""
    starts = np.zeros(num_groups + 1, np.int32)
    np.cumsum(np.bincount(keys, minlength=num_groups), out=starts[1:])
    return starts, np.argsort(keys, kind="stable").astype(np.int32)


@njit(cache=True, error_model="numpy")
def _next_roads(arrays: NetworkArrays) -> tuple[np.ndarray, np.ndarray]:
    """Starts and numbers of the roads to which some lane of each road has a link, in the intersection's order."""
    num_roads = len(arrays.road_to)
    linked_from = np.full(num_roads, -1, np.int32)
    starts = np.zeros(num_roads + 1, np.int32)
    roads = [np.int32(0)]
    for road in range(num_roads):
        for lane in range(arrays.road_lane_starts[road], arrays.road_lane_starts[road + 1]):
            for position in range(arrays.leaving_starts[lane], arrays.leaving_starts[lane + 1]):
                linked_from[arrays.lane_road[arrays.link_to[arrays.leaving[position]]]] = road
        end = arrays.road_to[road]
        for position in range(arrays.adjacent_starts[end], arrays.adjacent_starts[end + 1]):
            if linked_from[arrays.adjacent[position]] == road:
                roads.append(arrays.adjacent[position])
        starts[road + 1] = len(roads) - 1
    return starts, np.array(roads[1:], np.int32)


def _split(points: np.ndarray, starts: Sequence[int] | np.ndarray) -> list[np.ndarray]:
    bounds = [int(start) for start in starts]
    return [points[start:end] for start, end in pairwise(bounds)]


def _int32(values: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.array(values, np.int32)
