"""A road network and its flows as arrays, built from CityFlow's files and read by the compiled engine.

`map.Map` holds the same network as records, the form in which a step reads it; `state.State` holds everything that
changes.

Roads, lanes, lane links, intersections and vehicle slots are identified by integers. A *drivable* is a lane or a lane
link: lanes come first, so that lane link k is drivable `num_lanes + k`. -1 stands for none. Lists of varying length are
stored end to end, with an array of their start offsets that has one more entry than there are lists ("starts").
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

NONE = -1
NEVER = 2147483647
"""`enter_link_time` of a vehicle on a lane."""

VEHICLE_KIND = np.dtype(
    [
        ("length", np.float64),
        ("width", np.float64),
        ("max_acceleration", np.float64),
        ("max_deceleration", np.float64),
        ("usual_acceleration", np.float64),
        ("usual_deceleration", np.float64),
        ("min_gap", np.float64),
        ("max_speed", np.float64),
        ("headway_time", np.float64),
    ],
    align=True,
)
"""Constants of a vehicle: metres, seconds, m/s and m/s^2. CityFlow's names: length, width, maxPosAcc, maxNegAcc,
usualPosAcc, usualNegAcc, minGap, maxSpeed, headwayTime."""


LINE = 64
"""Bytes in a cache line."""


def lined_up(shape: int | tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array of zeros aligned to a cache line, so that a record of 64 bytes occupies exactly one."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    room = np.zeros(size + LINE, dtype=np.uint8)
    start = -room.ctypes.data % LINE
    return room[start : start + size].view(dtype).reshape(shape)


class NetworkArrays(NamedTuple):
    """A road network, with one array per property; never written to. R roads, L lanes, K lane links, D = L + K
    drivables, I intersections, C crosses (two for each pair of crossing links, one on each), S road links."""

    length: np.ndarray
    """(D,) float64, length in metres."""
    max_speed: np.ndarray
    """(D,) float64, speed limit in m/s; 10000 for lane links."""
    lane_road: np.ndarray
    """(L,) int32, road of each lane."""
    lane_index: np.ndarray
    """(L,) int32, position on its road, 0 innermost."""
    lane_width: np.ndarray
    """(L,) float64, width in metres."""
    lane_segments: np.ndarray
    """(L,) int32, number of equal segments in which lane changes look for vehicles."""
    road_lane_starts: np.ndarray
    """(R + 1,) int32, starts of the roads' lanes, which are consecutive."""
    road_from: np.ndarray
    """(R,) int32, intersection where the road begins."""
    road_to: np.ndarray
    """(R,) int32, intersection where the road ends."""
    road_cost: np.ndarray
    """(R,) float64, mean length of the road's lanes, its cost in shortest paths."""
    leaving_starts: np.ndarray
    """(L + 1,) int32, offsets into `leaving`."""
    leaving: np.ndarray
    """int32, lane links (0 to K-1) that leave each lane, in file order."""
    link_from: np.ndarray
    """(K,) int32, start lane."""
    link_to: np.ndarray
    """(K,) int32, end lane."""
    link_rank: np.ndarray
    """(K,) int32, 3 straight, 2 left, 1 right, 0 anything else."""
    link_intersection: np.ndarray
    """(K,) int32, intersection of each link."""
    link_light: np.ndarray
    """(K,) int32, offset into `open`: in phase p the link is open if `open[link_light + p * light_stride[i]]`, where i
    is its intersection."""
    open: np.ndarray
    """uint8, a table (phase, road link) for every intersection."""
    light_stride: np.ndarray
    """(I,) int32, number of road links of the intersection."""
    phase_starts: np.ndarray
    """(I + 1,) int32, offsets into `phase_time`; virtual intersections have no phases."""
    phase_time: np.ndarray
    """float64, seconds of each phase in the built-in cycle."""
    cross_starts: np.ndarray
    """(K + 1,) int32, starts of the links' crosses, which are in the engine's order along the link."""
    cross_distance: np.ndarray
    """(C,) float64, metres from the start of the link."""
    cross_foe: np.ndarray
    """(C,) int32, the other lane link."""
    cross_twin: np.ndarray
    """(C,) int32, the same cross in the list of the other link."""
    adjacent_starts: np.ndarray
    """(I + 1,) int32, offsets into `adjacent`."""
    adjacent: np.ndarray
    """int32, roads that touch an intersection, in file order, which is the search order of paths."""


class FlowArrays(NamedTuple):
    """Flows of vehicles, with routes and times; never written to. F flows."""

    kind: np.ndarray
    """(F,) int32, index into `kinds`."""
    interval: np.ndarray
    """(F,) float64, seconds between vehicles."""
    start: np.ndarray
    """(F,) int64, start time in seconds."""
    end: np.ndarray
    """(F,) int64, end time in seconds, inclusive; -1 if the flow never ends."""
    route: np.ndarray
    """(F,) int32, number of the route; -1 where no route exists."""
    route_starts: np.ndarray
    """(number of routes + 1,) int32, offsets into `route_roads`."""
    route_roads: np.ndarray
    """int32, the roads of each route, expanded from its anchors."""
    kinds: np.ndarray
    """(number of kinds,) VEHICLE_KIND, without duplicates."""
