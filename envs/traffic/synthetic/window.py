"""Choice of the part of a topology that becomes a city, steps 1 and 2 of `envs.traffic.synthetic.manhattan`: roads are
joined at nodes that are mere bends, then the best of the windows around all nodes is chosen."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

INTERSECTIONS = 96
AVENUE = (math.cos(math.radians(61.8)), math.sin(math.radians(61.8)))
"""Direction of the avenues in the coordinates of the topology."""
ASPECT = 1.6
SHORTEST_ROAD = 45.0
"""Minimum length of a road in metres."""
IRREGULAR = 10
"""Preferred minimum number of intersections in a window that do not have exactly four neighbours."""
SPARE_NODES = 30
"""Maximum number of nodes in a window, besides its signals, that are ends of roads leading out of the map."""
LONGEST_CHAIN = 12
"""Maximum number of points of a road."""


class Node(NamedTuple):
    """A point of the topology, in metres; roads out of the map end at virtual nodes."""

    x: float
    y: float
    virtual: bool


class Road(NamedTuple):
    """A one-way road between two named nodes; `length` and points are in metres."""

    start: str
    end: str
    points: tuple[tuple[float, float], ...]
    lanes: int
    length: float


class Graph(NamedTuple):
    """The topology without nodes that are mere bends of a road."""

    nodes: dict[str, Node]
    roads_out: dict[str, list[Road]]
    roads_in: dict[str, list[Road]]
    neighbours: dict[str, set[str]]
    signalised: frozenset[str]
    """Nodes that could be signalised."""


class Window(NamedTuple):
    """The part of the graph that becomes the map."""

    centre: str
    inside: tuple[str, ...]
    """The signalised nodes, nearest to the centre first."""
    roads: tuple[Road, ...]
    """All roads that touch one of these nodes, in the topology's order."""


def simplify(static: dict[str, Any]) -> Graph:
    """Join the roads at nodes with exactly two neighbours, and determine which nodes could be signalised."""
    nodes = {node["id"]: Node(node["point"][0], node["point"][1], node["virtual"]) for node in static["nodes"]}
    pieces: dict[str, list[Road]] = defaultdict(list)
    around: dict[str, set[str]] = defaultdict(set)
    for edge in static["edges"]:
        points = tuple((x, y) for x, y in edge["points"])
        road = Road(edge["from"], edge["to"], points, edge["nLane"], math.dist(*points))
        pieces[road.start].append(road)
        around[edge["from"]].add(edge["to"])
        around[edge["to"]].add(edge["from"])
    bends = {name for name, node in nodes.items() if not node.virtual and len(around[name]) == 2}
    kept = {name: node for name, node in nodes.items() if name not in bends}
    graph = Graph(kept, defaultdict(list), defaultdict(list), defaultdict(set), frozenset())
    broken: set[str] = set()
    for name in kept:
        for piece in pieces[name]:
            whole = _followed(piece, pieces, bends)
            if whole is None:
                broken.add(name)
                continue
            graph.roads_out[whole.start].append(whole)
            graph.roads_in[whole.end].append(whole)
            graph.neighbours[whole.start].add(whole.end)
            graph.neighbours[whole.end].add(whole.start)
    candidates = (name for name, node in kept.items() if not node.virtual and name not in broken)
    return graph._replace(signalised=frozenset(name for name in candidates if _could_be_signalised(name, graph)))


def _could_be_signalised(name: str, graph: Graph) -> bool:
    ways = len(graph.neighbours[name]), len(graph.roads_in[name]), len(graph.roads_out[name])
    return ways[0] >= 3 and ways[1] >= 2 and ways[2] >= 1


def _followed(piece: Road, pieces: dict[str, list[Road]], bends: set[str]) -> Road | None:
    """The complete road that begins with `piece`; None if it forks, ends, has too many points or returns."""
    road, before = piece, piece.start
    while road.end in bends:
        onward = [after for after in pieces[road.end] if after.end != before]
        if len(onward) != 1 or len(road.points) == LONGEST_CHAIN:
            return None
        before, (after,) = road.end, onward
        points, lanes = (*road.points, after.points[1]), min(road.lanes, after.lanes)
        road = Road(road.start, after.end, points, lanes, road.length + after.length)
    return None if road.end == road.start else road


def choose_window(graph: Graph) -> Window:
    """The best window. Raises ValueError if there is none."""
    names = list(graph.nodes)
    x, y = np.array([graph.nodes[name][:2] for name in names]).T
    along, across = x * AVENUE[0] + y * AVENUE[1], x * -AVENUE[1] + y * AVENUE[0]
    best, best_score = None, (False, 0.0)
    for place, centre in sorted(enumerate(names), key=lambda item: item[1]):
        if centre not in graph.signalised:
            continue
        distance = np.maximum(np.abs(along - along[place]), np.abs(across - across[place]) / ASPECT)
        nearest = np.argsort(distance, kind="stable")[: INTERSECTIONS + SPARE_NODES]
        window = _window(centre, [names[index] for index in nearest], graph)
        if window is None:
            continue
        irregular = sum(len(graph.neighbours[name]) != 4 for name in window.inside)
        score = irregular >= IRREGULAR, min(road.length for road in window.roads)
        if best is None or score > best_score:
            best, best_score = window, score
    if best is None:
        raise ValueError(f"the topology has no window of {INTERSECTIONS} intersections")
    return best


def _window(centre: str, nearest: Sequence[str], graph: Graph) -> Window | None:
    """The window that adds nodes in the order of `nearest`; None if it is not suitable."""
    inside: dict[str, None] = {}
    for name in nearest:
        if len(inside) == INTERSECTIONS:
            break
        if name in graph.signalised:
            inside[name] = None
        elif not graph.nodes[name].virtual:
            return None
    if len(inside) < INTERSECTIONS:
        return None
    starts = graph.roads_out.values()
    roads = [road for leaving in starts for road in leaving if road.start in inside or road.end in inside]
    if min(road.length for road in roads) < SHORTEST_ROAD or not _connected(inside, graph):
        return None
    return Window(centre, tuple(inside), tuple(roads))


def _connected(inside: dict[str, None], graph: Graph) -> bool:
    """Whether all nodes are connected, ignoring the directions of roads."""
    first = next(iter(inside))
    seen, waiting = {first}, [first]
    while waiting:
        new = {name for name in graph.neighbours[waiting.pop()] if name in inside} - seen
        seen |= new
        waiting += new
    return len(seen) == len(inside)
