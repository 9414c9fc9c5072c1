"""A road network and its flows as arrays: what is made of CityFlow's files, and where the compiled step begins.

`map.Map` holds the same network as records, the form in which a step reads it; `state.State` holds all that changes.

Indices: a road, a lane, a lane link, an intersection and a vehicle slot are whole numbers. A *drivable* is a lane or a
lane link: lanes come first, so that lane link k is drivable `num_lanes + k`. -1 stands for none. Lists of varying
length are stored end to end, with an array of one more entry saying where each begins ("starts").
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

NONE = -1
NEVER = 2147483647
"""`enter_link_time` of a vehicle that is on a lane."""

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
"""Bytes that a processor fetches together."""


def lined_up(shape: int | tuple[int, ...], dtype: Any) -> np.ndarray:
    """Zeros that begin at a line of the caches, so that each record of 64 bytes lies in one."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    room = np.zeros(size + LINE, dtype=np.uint8)
    start = -room.ctypes.data % LINE
    return room[start : start + size].view(dtype).reshape(shape)


class NetworkArrays(NamedTuple):
    """A road network, one array for each fact; never written to. R roads, L lanes, K lane links, D = L + K drivables,
    I intersections, C crosses (two for each pair of links that meet, one on either), S road links."""

    length: np.ndarray
    """(D,) float64, metres."""
    max_speed: np.ndarray
    """(D,) float64; 10000 for lane links."""
    lane_road: np.ndarray
    """(L,) int32."""
    lane_index: np.ndarray
    """(L,) int32, position on its road, 0 innermost."""
    lane_width: np.ndarray
    """(L,) float64."""
    lane_segments: np.ndarray
    """(L,) int32, equal parts in which lane changes look for vehicles."""
    road_lane_starts: np.ndarray
    """(R + 1,) int32: lanes of a road are consecutive."""
    road_from: np.ndarray
    """(R,) int32, intersection where the road begins."""
    road_to: np.ndarray
    """(R,) int32."""
    road_cost: np.ndarray
    """(R,) float64, mean length of its lanes: what shortest paths add up."""
    leaving_starts: np.ndarray
    """(L + 1,) int32 into `leaving`."""
    leaving: np.ndarray
    """Lane links (0 to K-1) that leave a lane, in the order in which they were read."""
    link_from: np.ndarray
    """(K,) int32, start lane."""
    link_to: np.ndarray
    """(K,) int32, end lane."""
    link_rank: np.ndarray
    """(K,) int32: 3 straight, 2 left, 1 right, 0 anything else."""
    link_intersection: np.ndarray
    """(K,) int32."""
    link_light: np.ndarray
    """(K,) int32: the link may be entered in phase p where `open[link_light + p * light_stride[intersection]]`."""
    open: np.ndarray
    """uint8, for every intersection a table (phase, road link)."""
    light_stride: np.ndarray
    """(I,) int32, number of road links of the intersection."""
    phase_starts: np.ndarray
    """(I + 1,) int32 into `phase_time`; virtual intersections have no phases."""
    phase_time: np.ndarray
    """float64, seconds of each phase in the built-in cycle."""
    cross_starts: np.ndarray
    """(K + 1,) int32: crosses of a lane link, in the engine's order along it."""
    cross_distance: np.ndarray
    """(C,) float64, metres from the start of the own link."""
    cross_foe: np.ndarray
    """(C,) int32, the other lane link."""
    cross_twin: np.ndarray
    """(C,) int32, the same cross in the list of the other link."""
    adjacent_starts: np.ndarray
    """(I + 1,) int32 into `adjacent`."""
    adjacent: np.ndarray
    """int32, roads that touch an intersection, in the order of the file: the order in which paths are searched."""


class FlowArrays(NamedTuple):
    """Who wants to drive where and when; never written to. F flows."""

    kind: np.ndarray
    """(F,) int32 into the table of kinds."""
    interval: np.ndarray
    """(F,) float64, seconds between vehicles."""
    start: np.ndarray
    """(F,) int64, seconds."""
    end: np.ndarray
    """(F,) int64, seconds, inclusive; -1: never."""
    route: np.ndarray
    """(F,) int32 into the routes; -1 where no route exists."""
    route_starts: np.ndarray
    """(number of routes + 1,) int32 into `route_roads`."""
    route_roads: np.ndarray
    """int32, the roads of each route, already expanded from its anchors."""
    kinds: np.ndarray
    """(number of kinds,) VEHICLE_KIND, without repetition."""
