"""An irregular city of 96 signalised intersections, cut out of the public map of Manhattan.

No published road network has the 96 intersections of the paper's irregular map, so one is derived from the topology of
a larger one (3763 intersections: points, one-way roads, numbers of lanes; neither turns nor signals nor vehicles):

1. Nodes with two neighbours are not intersections: the roads on both sides are joined.
2. Around every node that could be signalised (three or more neighbours, two or more roads in, one or more out), a
   window aligned with the streets, 1.6 times as wide across the avenues as along them, grows until it contains 96 such
   nodes. Windows that contain any other node, a road shorter than 45 m, or disconnected parts are rejected. Among the
   rest, preferring windows where at least 10 nodes do not have exactly four neighbours, the window with the longest
   shortest road is chosen.
3. Turns are classified by the angle between roads. Left turns use the innermost lane, right turns the outermost, and
   straight movements the lanes between, each into all lanes of the next road. Phases are those of the public maps:
   0 right turns only, 1 straight east and west, 2 straight north and south, 3 left east and west, 4 left north and
   south, then all movements from the east-, west-, north- and southbound roads; right turns are open in all phases.
4. Within an hour, 5600 vehicles drive from border to border on shortest paths. Pairs of roads are drawn with
   probability proportional to the product of their numbers of lanes.

Points, one-way streets and numbers of lanes are real; links, signals, widths and vehicles are not. The topology carries
way numbers of OpenStreetMap: (c) OpenStreetMap contributors, Open Database License, which also applies to everything
derived from it.
"""

from __future__ import annotations

import heapq
import json
import math
import random
from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

from envs.traffic.synthetic.grid import SPEED, VEHICLE, light_phases
from envs.traffic.synthetic.window import AVENUE, Node, Road, choose_window, simplify

VEHICLES = 5600
HORIZON = 3600
"""Seconds in which vehicles enter."""
WIDEST = 15.0
"""Maximum width of an intersection in metres; it is otherwise a quarter of its shortest road."""
STRAIGHT, BACKWARDS = 40.0, 155.0
"""Angles in degrees: up to the first a movement goes straight on, above the second it is not allowed."""
FEWEST_ROADS = 4
"""Minimum number of roads of a vehicle's route."""
NUMBERING = """
    3821 870 1871 2930 2771 1122 1867 824 1725 825 823 626 3889 1117 868 3174 884 2567 1989 628 3487 2076 866
    3857 622 1734 886 240 1728 625 2772 1987 1732 828 2566 620 623 1730 1986 1727 2075 1121 3827 617 827 1990
    2071 826 3142 2074 3911 2769 1114 869 619 239 867 3839 2671 2568 2669 1120 3140 1726 2073 2931 2668 2964
    1111 3862 618 468 1869 3838 3912 1118 1112 2564 1115 1985 2798 627 3820 2929 1113 3881 3139 3826 2380 1870
    1110 2382 1736 3157 2565 2770 614 1119 2383 616 1868 3875 2670 1729 3141 615 2381 624 3923 264 2072 3810 621
    3850 3890 1988
"""
"""Indices, into the topology's list of nodes, of the nodes where the map's roads begin, in the order in which the roads
were numbered when the map was first made. The order is arbitrary, but the names of roads and the random routes depend
on it, and results on this map have been recorded."""


class Movement(NamedTuple):
    """A movement from one road to another, given by their numbers."""

    start: int
    end: int
    heading: int
    """Heading of the first road: the nearest of 0 east, 1 north, 2 west and 3 south."""
    kind: str
    """Type of the movement: turn_left, go_straight or turn_right."""
    lanes: tuple[int, ...]
    """Lanes of the first road; each leads into all lanes of the second."""


def derive(topology: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The map's road network and flow as objects of CityFlow's files.

    Args:
        topology: `{"static": {"nodes": [...], "edges": [...]}}`, the "static" log that CityFlow writes for a replay.

    Raises:
        ValueError: this is not the topology from which the map was first made.
    """
    graph = simplify(topology["static"])
    window = choose_window(graph)
    centre = graph.nodes[window.centre]
    roads = [
        road._replace(points=tuple(_turned(point, centre) for point in road.points))
        for road in numbered(window.roads, topology["static"]["nodes"])
    ]
    movements = {name: movements_at(name, roads) for name in window.inside}
    signalised = [
        _signalised(name, _turned(graph.nodes[name][:2], centre), roads, movements[name]) for name in window.inside
    ]
    roadnet = {
        "intersections": [*signalised, *_ends(roads, movements)],
        "roads": [_road(number, road, movements) for number, road in enumerate(roads)],
    }
    return roadnet, _flow(roads, movements)


def encode(value: dict[str, Any] | list[dict[str, Any]]) -> bytes:
    """The canonical JSON text of a file, to which its known checksum applies."""
    return json.dumps(value, separators=(",", ":")).encode()


def numbered(roads: Sequence[Road], nodes: Sequence[dict[str, Any]]) -> list[Road]:
    """The roads in the order of their numbers; `nodes` is the topology's list of nodes.

    Raises ValueError if a road begins at a node that is not in the recorded order.
    """
    places = [int(place) for place in NUMBERING.split()]
    rank = {nodes[place]["id"]: rank for rank, place in enumerate(places) if place < len(nodes)}
    unknown = {road.start for road in roads} - set(rank)
    if unknown:
        raise ValueError(f"this is not the topology whose roads were numbered: here, one begins at {min(unknown)}")
    return sorted(roads, key=lambda road: rank[road.start])  # stable: roads of a node stay in the file's order


def movements_at(name: str, roads: Sequence[Road]) -> list[Movement]:
    """All movements at a node, sorted by the first road, then left, straight, right, then by the second road."""
    leaving = [number for number, road in enumerate(roads) if road.start == name]
    found = []
    for number, road in enumerate(roads):
        if road.end != name:
            continue
        direction = _direction(*road.points[-2:])
        ways: dict[str, list[int]] = {"turn_left": [], "go_straight": [], "turn_right": []}
        for onward in leaving:
            angle = _angle(direction, _direction(*roads[onward].points[:2]))
            if roads[onward].end != road.start and abs(angle) <= BACKWARDS:
                turn = "turn_left" if angle > 0 else "turn_right"
                ways["go_straight" if abs(angle) <= STRAIGHT else turn].append(onward)
        lanes = shared_lanes(road.lanes, [kind for kind in ways if ways[kind]])
        components = (direction[0], direction[1], -direction[0], -direction[1])
        heading = components.index(max(components))
        found += [Movement(number, end, heading, kind, lanes[kind]) for kind in lanes for end in ways[kind]]
    return found


def shared_lanes(lanes: int, kinds: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The lanes that serve each of the given movements (in the order left, straight, right); lane 0 is the
    innermost."""
    every = tuple(range(lanes))
    if lanes == 1 or len(kinds) == 1:
        return dict.fromkeys(kinds, every)
    use = {"turn_left": every[:1], "turn_right": every[-1:]}
    if "go_straight" in kinds:
        between = every[1 if "turn_left" in kinds else 0 : -1 if "turn_right" in kinds else None]
        use["go_straight"] = between or every
    elif lanes > 2:  # the stem of a T: left and right turns share the lanes
        use = {"turn_left": every[: lanes // 2], "turn_right": every[lanes // 2 :]}
    return {kind: use[kind] for kind in kinds}


def _turned(point: tuple[float, float], centre: Node) -> tuple[float, float]:
    """Coordinates relative to the centre, rotated so that avenues are vertical and rounded to centimetres."""
    right, up = point[0] - centre.x, point[1] - centre.y
    return round(right * AVENUE[1] - up * AVENUE[0], 2), round(right * AVENUE[0] + up * AVENUE[1], 2)


def _direction(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    length = math.dist(first, second)
    return (second[0] - first[0]) / length, (second[1] - first[1]) / length


def _angle(before: tuple[float, float], after: tuple[float, float]) -> float:
    """Angle in degrees from one direction to another, positive to the left."""
    cross, dot = before[0] * after[1] - before[1] * after[0], before[0] * after[0] + before[1] * after[1]
    return math.degrees(math.atan2(cross, dot))


def _end_name(node: str, road: Road, inside: Container[str]) -> str:
    """Name of the intersection at an end of a road; outside the map, roads in and roads out end at separate points."""
    if node in inside:
        return node
    return f"v_{node}_{'in' if road.end in inside else 'out'}"


def _road(number: int, road: Road, inside: Container[str]) -> dict[str, Any]:
    return {
        "id": f"r{number}",
        "points": [_xy(point) for point in road.points],
        "lanes": [{"width": 4, "maxSpeed": SPEED}] * road.lanes,
        "startIntersection": _end_name(road.start, road, inside),
        "endIntersection": _end_name(road.end, road, inside),
    }


def _xy(point: tuple[float, float]) -> dict[str, float]:
    return {"x": point[0], "y": point[1]}


def _ends(roads: Sequence[Road], inside: Container[str]) -> list[dict[str, Any]]:
    """The virtual intersections at the border, by name."""
    points: dict[str, tuple[float, float]] = {}
    touching: dict[str, list[str]] = defaultdict(list)
    for number, road in enumerate(roads):
        for node, point in ((road.start, road.points[0]), (road.end, road.points[-1])):
            if node not in inside:
                name = _end_name(node, road, inside)
                points.setdefault(name, point)
                touching[name].append(f"r{number}")
    return [
        {
            "id": name,
            "point": _xy(point),
            "width": 0,
            "roads": touching[name],
            "roadLinks": [],
            "trafficLight": {"roadLinkIndices": [], "lightphases": []},
            "virtual": True,
        }
        for name, point in sorted(points.items())
    ]


def _signalised(
    name: str, point: tuple[float, float], roads: Sequence[Road], movements: Sequence[Movement]
) -> dict[str, Any]:
    entering = [number for number, road in enumerate(roads) if road.end == name]
    leaving = [number for number, road in enumerate(roads) if road.start == name]
    shortest = min(roads[number].length for number in entering + leaving)
    return {
        "id": name,
        "point": _xy(point),
        "width": round(min(WIDEST, 0.25 * shortest), 2),
        "roads": [f"r{number}" for number in entering + leaving],
        "roadLinks": [_road_link(movement, roads) for movement in movements],
        "trafficLight": {
            "roadLinkIndices": list(range(len(movements))),
            "lightphases": light_phases([(movement.heading, movement.kind) for movement in movements]),
        },
        "virtual": False,
    }


def _road_link(movement: Movement, roads: Sequence[Road]) -> dict[str, Any]:
    return {
        "type": movement.kind,
        "startRoad": f"r{movement.start}",
        "endRoad": f"r{movement.end}",
        "direction": 0,
        "laneLinks": [
            {"startLaneIndex": start, "endLaneIndex": end, "points": []}
            for start in movement.lanes
            for end in range(roads[movement.end].lanes)
        ],
    }


def _flow(roads: Sequence[Road], movements: Mapping[str, Sequence[Movement]]) -> list[dict[str, Any]]:
    onward: dict[int, list[int]] = defaultdict(list)
    for turns in movements.values():
        for movement in turns:
            onward[movement.start].append(movement.end)
    routes: dict[tuple[int, int], list[int]] = {}
    exits = [number for number, road in enumerate(roads) if road.end not in movements]
    for entry in (number for number, road in enumerate(roads) if road.start not in movements):
        before = _searched(entry, roads, onward)
        for way_out in exits:
            route = [way_out]
            while route[-1] in before:
                route.append(before[route[-1]])
            if route[-1] == entry and len(route) >= FEWEST_ROADS:
                routes[entry, way_out] = route[::-1]
    pairs = sorted(routes)
    weights = [roads[entry].lanes * roads[way_out].lanes for entry, way_out in pairs]
    generator = random.Random(0)
    times = sorted(generator.randrange(HORIZON) for _ in range(VEHICLES))
    chosen = [generator.choices(pairs, weights)[0] for _ in times]
    return [
        {
            "vehicle": VEHICLE,
            "route": [f"r{number}" for number in routes[pair]],
            "interval": 1.0,
            "startTime": time,
            "endTime": time,
        }
        for time, pair in zip(times, chosen, strict=True)
    ]


def _searched(entry: int, roads: Sequence[Road], onward: Mapping[int, list[int]]) -> dict[int, int]:
    """Dijkstra's algorithm from the end of a road: for each reached road, its predecessor on the shortest path."""
    distance, before, waiting = {entry: 0.0}, dict[int, int](), [(0.0, entry)]
    while waiting:
        so_far, number = heapq.heappop(waiting)
        if so_far > distance[number]:
            continue
        for after in onward.get(number, []):
            there = so_far + roads[after].length
            if there < distance.get(after, math.inf):
                distance[after], before[after] = there, number
                heapq.heappush(waiting, (there, after))
    return before
