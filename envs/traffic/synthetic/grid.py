"""Synthetic cities: grids of signalised intersections, and the vehicles that cross them.

Equal arguments give equal roads and vehicles on every machine; `python -m envs.traffic.grid` writes them to files.

**Roads.** Intersection (x, y) is in column x = 1, 2, ... from the west and row y from the south; positions where x or y
is 0 or one past the last are virtual intersections, at which vehicles enter and leave. Names, lanes and phases follow
the public maps: `road_X_Y_H` begins at `intersection_X_Y` and heads east, north, west or south (H = 0, 1, 2, 3); its
lanes 0, 1, 2 turn left, go straight on and turn right, each into any lane of the next road; phase 0 opens right turns
only, 1 straight east and west, 2 straight north and south, 3 left east and west, 4 left north and south, and 5 to 8 all
movements from the east-, west-, north- and southbound road. Right turns are open in all phases.

Links between lanes are written without points, so that the engine computes their curves; this keeps the file of 35 x 35
intersections at a few megabytes. The engine draws distorted curves for links shorter than 10 m. Since right turns are
(w - 10) sqrt(2) m long with lanes of 4 m, this rules out the usual width w = 15 m of an intersection; it is 20 m here.

**Vehicles.** `GridFlow` defines the arrival rates and turning probabilities. Every vehicle is a separate flow, as in
the public data sets.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from envs.traffic.files import write_atomically
from envs.traffic.network import Network
from envs.traffic.network.layout import VEHICLE_KIND, FlowArrays
from envs.traffic.network.routes import Flows, make_kind
from envs.traffic.synthetic.trips import GridFlow, ahead, grid_trips, is_real, require_size

TURNS = (("go_straight", 0, 1), ("turn_left", 1, 0), ("turn_right", -1, 2))
"""Name, quarter turns to the left and lane; the order of an intersection's road links from each incoming road."""
LANES = 3
LANE_WIDTH = 4.0
SPEED = 11.111
"""Speed limit of roads and maximum speed of vehicles, m/s."""
INTERSECTION_WIDTH = 20.0
"""Metres by which lanes end before, and begin after, the centre of an intersection."""
PHASES: tuple[tuple[tuple[str, ...], tuple[int, ...]], ...] = (
    ((), ()),
    *((("go_straight",), headings) for headings in ((0, 2), (1, 3))),
    *((("turn_left",), headings) for headings in ((0, 2), (1, 3))),
    *((("go_straight", "turn_left"), (heading,)) for heading in (0, 2, 1, 3)),
)
"""Open movements of each phase besides right turns, with the headings of the roads on which they begin."""
VEHICLE = {
    "length": 5.0,
    "width": 2.0,
    "maxPosAcc": 2.0,
    "maxNegAcc": 4.5,
    "usualPosAcc": 2.0,
    "usualNegAcc": 4.5,
    "minGap": 2.5,
    "maxSpeed": SPEED,
    "headwayTime": 2,
}
"""The vehicle of the public data sets."""


def grid_roadnet(rows: int, columns: int, road_length: float = 300.0) -> dict[str, Any]:
    """The road network as an object of CityFlow's roadnet file.

    Args:
        rows: intersections from south to north, not counting virtual ones.
        columns: intersections from west to east, not counting virtual ones.
        road_length: metres between the centres of neighbouring intersections.

    Raises:
        ValueError: fewer than 1 or more than 200 rows or columns, or roads too short for lanes.
    """
    require_size(rows, columns)
    if not 3 * INTERSECTION_WIDTH <= road_length < math.inf:
        raise ValueError(f"road_length must be at least {3 * INTERSECTION_WIDTH:g} m, not {road_length!r}")
    everywhere = itertools.product(range(columns + 2), range(rows + 2))
    places = [place for place in everywhere if _exists(place, rows, columns)]
    return {
        "intersections": [_intersection(place, rows, columns, road_length) for place in places],
        "roads": [_road(place, heading, road_length) for place in places for heading in _leaving(place, rows, columns)],
    }


def grid_flow(rows: int, columns: int, flow: GridFlow | None = None) -> list[dict[str, Any]]:
    """The vehicles as an object of CityFlow's flow file, with one entry per vehicle in order of time.

    All entries share one `vehicle` object. Raises ValueError for fewer than 1 or more than 200 rows or columns.
    """
    trips = grid_trips(rows, columns, flow or GridFlow())
    names = [_road_name((x, y), heading) for x in range(columns + 2) for y in range(rows + 2) for heading in range(4)]
    roads = [names[road] for road in trips.roads.tolist()]
    starts = trips.route_starts.tolist()
    return [
        {"vehicle": VEHICLE, "route": roads[begin:end], "interval": 1.0, "startTime": time, "endTime": time}
        for time, begin, end in zip(trips.time.tolist(), starts, starts[1:], strict=False)
    ]


def grid_flows(rows: int, columns: int, flow: GridFlow, network: Network) -> Flows:
    """The vehicles of `grid_flow` as the engine reads them, on the network of `grid_roadnet`, built without names.

    Raises the same errors as `grid_flow`.
    """
    trips = grid_trips(rows, columns, flow)
    number = np.full((columns + 2) * (rows + 2) * 4, -1, dtype=np.int32)
    for index, name in enumerate(network.road_ids):
        x, y, heading = map(int, name.split("_")[1:])
        number[(x * (rows + 2) + y) * 4 + heading] = index
    vehicles = len(trips.time)
    return Flows(
        FlowArrays(
            kind=np.zeros(vehicles, dtype=np.int32),
            interval=np.ones(vehicles),
            start=trips.time.astype(np.int64),
            end=trips.time.astype(np.int64),
            route=np.arange(vehicles, dtype=np.int32),
            route_starts=trips.route_starts.astype(np.int32),
            route_roads=number[trips.roads],
            kinds=np.array([make_kind(VEHICLE)], dtype=VEHICLE_KIND),
        )
    )


def light_phases(movements: Sequence[tuple[int, str]]) -> list[dict[str, Any]]:
    """The nine phases of the public maps.

    Args:
        movements: movement of each road link of an intersection: the heading of the road on which it begins (0 east,
            1 north, 2 west, 3 south) and turn_left, go_straight or turn_right.
    """
    return [
        {
            "time": 30 if phase else 5,
            "availableRoadLinks": [
                link
                for link, (heading, kind) in enumerate(movements)
                if kind == "turn_right" or (kind in kinds and heading in headings)
            ],
        }
        for phase, (kinds, headings) in enumerate(PHASES)
    ]


def write_grid(folder: Path, rows: int, columns: int, flow: GridFlow | None = None, road_length: float = 300.0) -> Path:
    """Write roadnet.json, flow.json and config.json; returns the path of config.json.

    The engine's seed in the configuration is that of the flow.

    Raises:
        ValueError: as for `grid_roadnet`.
        TrafficFileError: the folder or a file cannot be written.
    """
    flow = flow or GridFlow()
    files: dict[str, Any] = {
        "roadnet.json": grid_roadnet(rows, columns, road_length),
        "flow.json": grid_flow(rows, columns, flow),
        "config.json": {
            "interval": 1.0,
            "seed": flow.seed % 2**31,
            "dir": f"{folder.resolve().as_posix()}/",
            "roadnetFile": "roadnet.json",
            "flowFile": "flow.json",
            "rlTrafficLight": True,
            "laneChange": False,
            "saveReplay": False,
            "roadnetLogFile": "replay_roadnet.json",
            "replayLogFile": "replay.txt",
        },
    }
    for name, value in files.items():
        write_atomically(folder / name, json.dumps(value, separators=(",", ":")).encode())
    return folder / "config.json"


def _exists(place: tuple[int, int], rows: int, columns: int) -> bool:
    """Whether there is an intersection at a place: everywhere but at the four corners."""
    return 1 <= place[0] <= columns or 1 <= place[1] <= rows


def _leaving(place: tuple[int, int], rows: int, columns: int) -> list[int]:
    """Headings of the roads that begin at a place; every road has at least one end in the grid."""
    if is_real(place, rows, columns):
        return [0, 1, 2, 3]
    return [heading for heading in range(4) if is_real(ahead(place, heading), rows, columns)]


def _road_name(place: tuple[int, int], heading: int) -> str:
    return f"road_{place[0]}_{place[1]}_{heading}"


def _intersection_name(place: tuple[int, int]) -> str:
    return f"intersection_{place[0]}_{place[1]}"


def _xy(place: tuple[int, int], road_length: float) -> dict[str, float]:
    return {"x": place[0] * road_length, "y": place[1] * road_length}


def _road(place: tuple[int, int], heading: int, road_length: float) -> dict[str, Any]:
    end = ahead(place, heading)
    return {
        "id": _road_name(place, heading),
        "points": [_xy(place, road_length), _xy(end, road_length)],
        "lanes": [{"width": LANE_WIDTH, "maxSpeed": SPEED} for _ in range(LANES)],
        "startIntersection": _intersection_name(place),
        "endIntersection": _intersection_name(end),
    }


def _intersection(place: tuple[int, int], rows: int, columns: int, road_length: float) -> dict[str, Any]:
    leaving = _leaving(place, rows, columns)
    virtual = not is_real(place, rows, columns)
    # An incoming road accompanies each outgoing one; incoming roads are listed by heading, east first.
    arriving = sorted((heading + 2) % 4 for heading in leaving)
    roads = [_road_name(ahead(place, (heading + 2) % 4), heading) for heading in arriving]
    links = [] if virtual else [(heading, *turn) for heading in range(4) for turn in TURNS]
    return {
        "id": _intersection_name(place),
        "point": _xy(place, road_length),
        "width": 0.0 if virtual else INTERSECTION_WIDTH,
        "roads": roads + [_road_name(place, heading) for heading in leaving],
        "roadLinks": [_road_link(place, *link) for link in links],
        "trafficLight": {
            "roadLinkIndices": list(range(len(links))),
            "lightphases": [] if virtual else light_phases([(heading, kind) for heading, kind, _, _ in links]),
        },
        "virtual": virtual,
    }


def _road_link(place: tuple[int, int], heading: int, kind: str, quarters: int, lane: int) -> dict[str, Any]:
    return {
        "type": kind,
        "startRoad": _road_name(ahead(place, (heading + 2) % 4), heading),
        "endRoad": _road_name(place, (heading + quarters) % 4),
        "direction": heading,
        "laneLinks": [{"startLaneIndex": lane, "endLaneIndex": end, "points": []} for end in range(LANES)],
    }
