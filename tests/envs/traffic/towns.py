"""Small towns and flows for tests, and engines that drive there."""

from __future__ import annotations

import gzip
import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from envs import traffic_names
from envs.traffic import Engine
from envs.traffic.maps import MAPS, CityMap, DataFile
from envs.traffic.synthetic.grid import VEHICLE, grid_roadnet

RIGHT_ANGLES = ("road_0_1_0", "road_1_1_1"), ("road_0_1_0", "road_1_1_0"), ("road_1_0_1", "road_1_1_1")
"""Ways through a grid of one intersection: eastbound to the left and straight on, northbound straight on."""


def corridor(lanes: int = 3, lengths: Sequence[float] = (200.0, 200.0), times: Sequence[float] = (30.0, 5.0)) -> Any:
    """Roads r0, r1, ... in a line, each lane linked to every lane of the next road. The lights between them have an
    open and a closed phase, which last `times` seconds."""
    ends = [0.0]
    for length in lengths:
        ends.append(ends[-1] + length)
    last = len(lengths)
    roads = [
        {
            "id": f"r{i}",
            "startIntersection": f"n{i}",
            "endIntersection": f"n{i + 1}",
            "points": [{"x": ends[i], "y": 0.0}, {"x": ends[i + 1], "y": 0.0}],
            "lanes": [{"width": 4.0, "maxSpeed": 11.111}] * lanes,
        }
        for i in range(last)
    ]
    intersections = []
    for i, x in enumerate(ends):
        node: dict[str, Any] = {"id": f"n{i}", "point": {"x": x, "y": 0.0}, "virtual": i in (0, last)}
        node["roads"] = [f"r{k}" for k in (i - 1, i) if 0 <= k < last]
        if not node["virtual"]:
            links = [{"startLaneIndex": a, "endLaneIndex": b} for a in range(lanes) for b in range(lanes)]
            node["width"] = 10.0
            node["roadLinks"] = [
                {"type": "go_straight", "startRoad": f"r{i - 1}", "endRoad": f"r{i}", "laneLinks": links}
            ]
            phases = [{"time": time, "availableRoadLinks": [0] * (k == 0)} for k, time in enumerate(times)]
            node["trafficLight"] = {"lightphases": phases}
        intersections.append(node)
    return {"intersections": intersections, "roads": roads}


def streets(points: dict[str, tuple[float, float]], roads: Sequence[tuple[str, str, str]], width: float = 10.0) -> Any:
    """Roads (id, from, to) of one lane between points; wherever one ends, it leads into all that begin there, and the
    lights are always open."""

    def xy(name: str) -> dict[str, float]:
        return {"x": points[name][0], "y": points[name][1]}

    intersections = []
    for name in points:
        incoming, outgoing = ([road for road in roads if road[end] == name] for end in (2, 1))
        links = [
            {
                "type": "go_straight",
                "startRoad": a[0],
                "endRoad": b[0],
                "laneLinks": [{"startLaneIndex": 0, "endLaneIndex": 0}],
            }
            for a in incoming
            for b in outgoing
        ]
        phases = [{"time": 30, "availableRoadLinks": list(range(len(links)))}]
        node = {"id": name, "point": xy(name), "virtual": not links, "roads": [r[0] for r in (*incoming, *outgoing)]}
        if links:
            node |= {"width": width, "roadLinks": links, "trafficLight": {"lightphases": phases}}
        intersections.append(node)
    lanes = [{"width": 4.0, "maxSpeed": 11.111}]
    return {
        "intersections": intersections,
        "roads": [
            {"id": name, "startIntersection": a, "endIntersection": b, "points": [xy(a), xy(b)], "lanes": lanes}
            for name, a, b in roads
        ],
    }


def ring(length: float = 300.0) -> Any:
    """Road `in` leads to the circle of `there` and `back`, and `there` also to `out`. `back` makes a bow."""
    points = {"start": (-300.0, 0.0), "west": (0.0, 0.0), "east": (length, 0.0), "end": (length + 300.0, 0.0)}
    roads = [("in", "start", "west"), ("there", "west", "east"), ("back", "east", "west"), ("out", "east", "end")]
    roadnet = streets(points, roads)
    roadnet["roads"][2]["points"].insert(1, {"x": length / 2, "y": 40.0})
    return roadnet


def crossing(length: float = 150.0) -> Any:
    """One intersection of four roads."""
    return grid_roadnet(1, 1, length)


def flow(route: Sequence[str], **changes: Any) -> dict[str, Any]:
    """Vehicles on a route; keys of the vehicle may be changed too."""
    vehicle = {key: changes.pop(key, value) for key, value in VEHICLE.items()}
    return {"vehicle": vehicle, "route": list(route), "interval": 4.0, "startTime": 0, "endTime": -1, **changes}


def write_files(folder: Path, roadnet: Any, flows: Any, **config: Any) -> Path:
    """The files of an engine; the path of its configuration."""
    values = {
        "interval": 1.0,
        "seed": 7,
        "dir": f"{folder}/",
        "roadnetFile": "roadnet.json",
        "flowFile": "flow.json",
        "rlTrafficLight": True,
        "laneChange": False,
        "saveReplay": False,
        "roadnetLogFile": "static.json",
        "replayLogFile": "replay.txt",
        **config,
    }
    for name, value in (("roadnet.json", roadnet), ("flow.json", flows), ("config.json", values)):
        (folder / name).write_text(json.dumps(value))
    return folder / "config.json"


def make_engine(roadnet: Any, flows: Any, **config: Any) -> Engine:
    """An engine whose files are gone when it begins."""
    with tempfile.TemporaryDirectory() as folder:
        return Engine(write_files(Path(folder), roadnet, flows, **config))


@contextmanager
def registered(name: str, roadnet: Any, flows: Any, folder: Path) -> Iterator[str]:
    """The name of a task on these roads, which exists as long as the context lasts; its files are in `folder`."""
    described = []
    for kind, value in (("roadnet", roadnet), ("flow", flows)):
        content, path = json.dumps(value).encode(), folder / f"{name}_{kind}.json.gz"
        path.write_bytes(gzip.compress(content, mtime=0))
        described.append(DataFile(str(path), hashlib.sha256(content).hexdigest()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MAPS, name, CityMap(*described))
        patch.setattr(traffic_names, "TASKS", (*traffic_names.TASKS, f"cityflow/{name}"))
        yield f"cityflow/{name}"
