"""CityFlow's replay: a log of the road network and a line for every step, to be shown by CityFlow's own viewer."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TextIO

import numpy as np

from envs.traffic.basics import kernel
from envs.traffic.inspection import pool, vehicle_name
from envs.traffic.map import Map
from envs.traffic.network import Network
from envs.traffic.state import REAL, State


def write_roadnet_log(network: Network, path: Path) -> None:
    """Write the log of the network, which the viewer needs beside the replay. Raises OSError."""
    arrays = network.arrays
    nodes = []
    for index, name in enumerate(network.intersection_ids):
        node: dict[str, object] = {
            "id": name,
            "point": network.points[index].tolist(),
            "virtual": bool(network.virtual[index]),
        }
        if not network.virtual[index]:
            node["width"] = float(network.widths[index])
        node["outline"] = _outline(network, index)
        nodes.append(node)
    edges = []
    for index, name in enumerate(network.road_ids):
        lanes = slice(arrays.road_lane_starts[index], arrays.road_lane_starts[index + 1])
        edges.append(
            {
                "id": name,
                "from": network.intersection_ids[arrays.road_from[index]],
                "to": network.intersection_ids[arrays.road_to[index]],
                "points": network.road_points[index].tolist(),
                "nLane": int(lanes.stop - lanes.start),
                "laneWidths": arrays.lane_width[lanes].tolist(),
            }
        )
    path.write_text(json.dumps({"static": {"nodes": nodes, "edges": edges}}, separators=(",", ":")))


def _outline(network: Network, intersection: int) -> list[float]:
    """Corners of an intersection, x and y in turn: the ends of its roads' edges, around its point."""
    arrays = network.arrays
    if network.virtual[intersection]:
        return network.points[intersection].tolist()
    corners = []
    for road in arrays.adjacent[arrays.adjacent_starts[intersection] : arrays.adjacent_starts[intersection + 1]]:
        line = network.road_points[road]
        if arrays.road_to[road] == intersection:
            line = line[::-1]
        direction = line[1] - line[0]
        direction = direction / np.hypot(*direction)
        lanes = slice(arrays.road_lane_starts[road], arrays.road_lane_starts[road + 1])
        across = np.array([direction[1], -direction[0]]) * arrays.lane_width[lanes].sum()
        if arrays.road_to[road] == intersection:
            across = -across
        foot = line[0] + direction * network.widths[intersection]
        corners += [foot, foot + across]
    centre = network.points[intersection]
    corners.sort(key=lambda corner: math.atan2(corner[1] - centre[1], corner[0] - centre[0]))
    return [float(value) for corner in corners for value in corner]


class ReplayWriter:
    """Appends a line for every step to a file. Raises OSError where it cannot be written."""

    def __init__(self, network: Network, path: Path) -> None:
        self.network = network
        self._stream: TextIO = path.open("w")
        arrays = network.arrays
        self._roads = [r for r in range(len(network.road_ids)) if not network.virtual[arrays.road_to[r]]]

    def write(self, state: State) -> None:
        """Add the present state; flushed, so that a line is whole once this returns."""
        self._stream.write(self._vehicles(state) + ";" + self._lights(state) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _vehicles(self, state: State) -> str:
        parts = []
        for slot in pool(state):
            vehicle = state.traffic.vehicles[slot]
            if not vehicle["running"]:
                continue
            kind = state.traffic.kinds[vehicle["kind"]]
            begin, end = (
                self.network.shape_starts[vehicle["drivable"]],
                self.network.shape_starts[vehicle["drivable"] + 1],
            )
            line = self.network.shape_points[begin:end]
            x, y, angle = place_on(line, float(vehicle["distance"]), float(vehicle["offset"]))
            change = int(vehicle["signal_direction"]) if vehicle["partner_type"] == REAL else 0
            numbers = f"{x!r} {y!r} {angle!r} {vehicle_name(vehicle)} {change}"
            parts.append(f"{numbers} {float(kind['length'])!r} {float(kind['width'])!r},")
        return "".join(parts)

    def _lights(self, state: State) -> str:
        network = self.network
        colours = lane_colours(network, state)
        parts = []
        for road in self._roads:
            first, end = network.arrays.road_lane_starts[road], network.arrays.road_lane_starts[road + 1]
            parts.append(" ".join([network.road_ids[road], *("rgi"[colour] for colour in colours[first:end])]) + ",")
        return "".join(parts)


def place_on(line: np.ndarray, distance: float, offset: float) -> tuple[float, float, float]:
    """x, y and direction (radians) at `distance` metres along a polyline (points, 2), `offset` metres to its right."""
    segment, rest = 0, max(distance, 0.0)
    steps = np.diff(line, axis=0)
    lengths = np.hypot(steps[:, 0], steps[:, 1])
    while segment < len(lengths) - 1 and rest > lengths[segment]:
        rest -= lengths[segment]
        segment += 1
    direction = steps[segment] / lengths[segment]
    x, y = line[segment] + direction * min(rest, lengths[segment])
    x, y = x + direction[1] * offset, y - direction[0] * offset
    return float(x), float(y), math.atan2(direction[1], direction[0])


def lane_colours(network: Network, state: State) -> np.ndarray:
    """(lane,) int: 0 red, 1 green (every link of the lane is open), 2 without lights."""
    colours = np.zeros(len(network.lane_ids), dtype=np.int32)
    _colour(network.map, network.arrays.road_to, state.traffic.phase, colours)
    return colours


@kernel
def _colour(m: Map, road_to: np.ndarray, phase: np.ndarray, colours: np.ndarray) -> None:
    for lane in range(m.lanes):
        if m.lights[road_to[m.places[lane].road]].phases <= 1:
            colours[lane] = 2
            continue
        colours[lane] = 1
        for i in range(m.places[lane].leaving, m.places[lane].leaving_end):
            link = m.places[m.leaving[i]]
            if not m.open[link.light + phase[link.intersection] * m.lights[link.intersection].stride]:
                colours[lane] = 0
