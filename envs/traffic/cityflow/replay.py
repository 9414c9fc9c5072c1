"""CityFlow's replay format, for CityFlow's viewer: a log of the road network, and one line per step."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TextIO

import numpy as np

from envs.errors import TrafficFileError
from envs.traffic.engine.inspection import lane_colours, pool, vehicle_names, vehicle_positions
from envs.traffic.engine.state import REAL, SHADOW, State
from envs.traffic.files import write_atomically
from envs.traffic.network import Network


def write_roadnet_log(network: Network, path: Path) -> None:
    """Write the log of the network, which the viewer needs besides the replay. Raises TrafficFileError on failure."""
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
    document = {"static": {"nodes": nodes, "edges": edges}}
    write_atomically(path, json.dumps(document, separators=(",", ":")).encode())


def _outline(network: Network, intersection: int) -> list[float]:
    """Corners of an intersection as alternating x and y: the ends of its roads' edges, in order around its centre."""
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
    """Writes one line per step to a new file, whose folder is created. Raises TrafficFileError if the file cannot be
    created, and OSError if a line cannot be written."""

    def __init__(self, network: Network, path: Path) -> None:
        self.network = network
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream: TextIO = path.open("w", encoding="utf-8", errors="surrogatepass")
        except (OSError, ValueError) as error:
            raise TrafficFileError(
                f"cannot write the replay {path}: {getattr(error, 'strerror', None) or error}; give replayLogFile, or "
                "the replay_file of set_replay_file, in a writable folder"
            ) from error
        arrays = network.arrays
        self._roads = [r for r in range(len(network.road_ids)) if not network.virtual[arrays.road_to[r]]]
        self._shown: tuple[bytes, str] = b"", ""

    def write(self, state: State) -> None:
        """Append the current state and flush, so that the line is complete once this returns."""
        self._stream.write(self._vehicles(state) + ";" + self._lights(state) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _vehicles(self, state: State) -> str:
        """The entries of all vehicles without shadows: x, y, angle, id, direction of lane change (1 outwards, -1
        inwards, 0 none), length and width."""
        slots = pool(state)
        vehicles = state.traffic.vehicles[slots]
        shown = vehicles["running"] & (vehicles["partner_type"] != SHADOW)
        slots, vehicles = slots[shown], vehicles[shown]
        places = vehicle_positions(self.network, state, slots)
        kinds = state.traffic.kinds[vehicles["kind"]]
        change = np.where(vehicles["partner_type"] == REAL, vehicles["signal_direction"], 0)
        rows = zip(
            places.tolist(),
            vehicle_names(vehicles),
            change.tolist(),
            kinds["length"].tolist(),
            kinds["width"].tolist(),
            strict=True,
        )
        return "".join(
            f"{number(x)} {number(y)} {number(angle)} {name} {turn} {number(length)} {number(width)},"
            for (x, y, angle), name, turn, length, width in rows
        )

    def _lights(self, state: State) -> str:
        """The entries of all roads into intersections with lights: id, and a colour for each lane."""
        phases = state.traffic.phase.tobytes()
        if not self._shown[1] or self._shown[0] != phases:
            starts = self.network.arrays.road_lane_starts.tolist()
            colours = np.array(list("rgi"))[lane_colours(self.network, state)].tolist()
            parts = [" ".join([self.network.road_ids[r], *colours[starts[r] : starts[r + 1]]]) for r in self._roads]
            self._shown = phases, "".join(f"{part}," for part in parts)
        return self._shown[1]


def number(value: float) -> str:
    """The shortest decimal text that reads back as `value`, with at least one digit on each side of the point and no
    exponent."""
    text = repr(value)
    return np.format_float_positional(value, trim="0") if "e" in text else text
