"""A road network in the form that the kernels of a step read: few arrays of records, because most properties of a lane
are read together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from envs.traffic.network.layout import NONE, NetworkArrays, lined_up

LINK_WIDTH = 4.0
"""Width of a lane link in metres."""

PLACE = np.dtype(
    [
        ("length", np.float64),
        ("max_speed", np.float64),
        ("road", np.int32),
        ("index", np.int32),
        ("segments", np.int32),
        ("leaving", np.int32),
        ("leaving_end", np.int32),
        ("start", np.int32),
        ("end", np.int32),
        ("rank", np.int32),
        ("intersection", np.int32),
        ("light", np.int32),
        ("crosses", np.int32),
        ("crosses_end", np.int32),
    ],
    align=True,
)
"""A drivable. Lanes have a road, an index and outgoing lane links (`leaving` to `leaving_end`); lane links have the
lanes they connect, a rank, a light and crosses. Fields that do not apply are -1 or an empty range."""

FOE = np.dtype([("link", np.int32), ("light", np.int32)], align=True)
"""The other lane link at a cross: its drivable and its light."""

CROSS = np.dtype([("distance", np.float64), ("foe_distance", np.float64)], align=True)
"""The distances of a cross along the two links. The crosses of a link are sorted by their distance along it."""

LIGHT = np.dtype([("stride", np.int32), ("first_phase", np.int32), ("phases", np.int32)], align=True)
"""An intersection: the row length of its table in `open`, and the range of its phases in `phase_time`."""


class Map(NamedTuple):
    """The properties of a network that the kernels read. Lane links are numbered as drivables here."""

    places: np.ndarray
    """(D,) PLACE, one cache line each."""
    leaving: np.ndarray
    """int32, drivables of the lane links that leave each lane."""
    crosses: np.ndarray
    """(C,) CROSS, positions of the crosses."""
    foes: np.ndarray
    """(C,) FOE, the other links at the crosses."""
    lights: np.ndarray
    """(I,) LIGHT, signals of the intersections."""
    open: np.ndarray
    """uint8, whether a road link is open, by intersection, phase and road link."""
    road_lane_starts: np.ndarray
    """(R + 1,) int32, starts of the roads' lanes."""
    phase_time: np.ndarray
    """float64, seconds of each phase in the built-in cycle."""
    widths: np.ndarray
    """(D,) float64, width in metres."""
    lanes: int
    """Number of lanes; lane links come after them."""
    drivables: int
    """Number of lanes and lane links."""
    intersections: int
    """Number of intersections."""


def make_map(n: NetworkArrays) -> Map:
    """The network as records."""
    lanes = len(n.lane_road)
    places = lined_up(len(n.length), PLACE)
    widths = np.full(len(n.length), LINK_WIDTH)
    widths[:lanes] = n.lane_width
    for name in ("road", "index", "start", "end", "rank", "intersection", "light"):
        places[name] = NONE
    places["length"], places["max_speed"] = n.length, n.max_speed
    lane, link = places[:lanes], places[lanes:]
    lane["road"], lane["index"], lane["segments"] = n.lane_road, n.lane_index, n.lane_segments
    lane["leaving"], lane["leaving_end"] = n.leaving_starts[:-1], n.leaving_starts[1:]
    link["start"], link["end"], link["rank"] = n.link_from, n.link_to, n.link_rank
    link["intersection"], link["light"] = n.link_intersection, n.link_light
    link["crosses"], link["crosses_end"] = n.cross_starts[:-1], n.cross_starts[1:]
    crosses = np.zeros(len(n.cross_foe), dtype=CROSS)
    crosses["distance"], crosses["foe_distance"] = n.cross_distance, n.cross_distance[n.cross_twin]
    foes = np.zeros(len(n.cross_foe), dtype=FOE)
    foes["link"], foes["light"] = lanes + n.cross_foe, n.link_light[n.cross_foe]
    lights = np.zeros(len(n.light_stride), dtype=LIGHT)
    lights["stride"] = n.light_stride
    lights["first_phase"], lights["phases"] = n.phase_starts[:-1], np.diff(n.phase_starts)
    leaving = (lanes + n.leaving).astype(np.int32)
    tables = (places, leaving, crosses, foes, lights, n.open, n.road_lane_starts, n.phase_time, widths)
    return Map(*tables, lanes, len(places), len(lights))
