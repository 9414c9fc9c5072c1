"""A traffic task for tests, as irregular as real maps are: ten signals with three to five arms, one-way streets, roads
of one to three lanes, and junctions that lack phases."""

from __future__ import annotations

import functools
import gzip
import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from envs import traffic_names
from envs.traffic.maps import MAPS, CityMap, DataFile
from envs.traffic.synthetic import manhattan
from envs.traffic.synthetic.manhattan import encode, movements_at
from envs.traffic.synthetic.window import Road

TASK = "cityflow/crooked_10"
SIGNALS = {
    "a": (0.0, 0.0),
    "b": (210.0, -15.0),
    "c": (430.0, 20.0),
    "d": (-20.0, 190.0),
    "e": (200.0, 205.0),
    "f": (415.0, 230.0),
    "g": (610.0, 215.0),
    "h": (15.0, 400.0),
    "i": (230.0, 420.0),
    "j": (450.0, 410.0),
}
BORDER = {
    "w1": (-260.0, 5.0),
    "s1": (205.0, -250.0),
    "s2": (440.0, -240.0),
    "e1": (680.0, 10.0),
    "w2": (-250.0, 200.0),
    "e2": (860.0, 220.0),
    "n1": (10.0, 640.0),
    "n2": (240.0, 660.0),
    "e3": (700.0, 420.0),
}
"""Where roads lead out of the town."""
BOTH_WAYS = (
    *("a-b 2", "a-d 1", "b-e 3", "d-e 2", "e-f 3", "f-g 2", "d-h 2", "i-j 2", "f-j 1", "e-i 3"),
    *("w1-a 2", "s1-b 3", "e1-c 3", "w2-d 2", "e2-g 2", "n1-h 1", "n2-i 3", "e3-j 2", "c-g 1"),
)
"""Ends, and the number of lanes."""
ONE_WAY = ("b-c 3", "h-i 1", "c-f 2", "s2-c 2", "j-g 1", "e-a 1")


def roads() -> list[Road]:
    """All roads of the town."""
    places = SIGNALS | BORDER
    ways = [street.replace("-", " ").split() for street in (*BOTH_WAYS, *ONE_WAY)]
    found = []
    for number, (start, end, lanes) in enumerate(ways):
        for first, last in ((start, end), (end, start))[: 2 if number < len(BOTH_WAYS) else 1]:
            length = math.dist(places[first], places[last])
            found.append(Road(first, last, (places[first], places[last]), int(lanes), length))
    return found


@functools.cache
def files() -> tuple[bytes, bytes]:
    """The road network, with links and phases by the rules of the irregular map, and a flow, as CityFlow's JSON."""
    streets = roads()
    movements = {name: movements_at(name, streets) for name in SIGNALS}
    signals = [manhattan._signalised(name, point, streets, movements[name]) for name, point in SIGNALS.items()]
    roadnet: dict[str, Any] = {
        "intersections": [*signals, *manhattan._ends(streets, movements)],
        "roads": [manhattan._road(number, road, movements) for number, road in enumerate(streets)],
    }
    return encode(roadnet), encode(manhattan._flow(streets, movements)[::7])


@contextmanager
def registered(folder: Path) -> Iterator[None]:
    """The town as a task, its files in `folder`, as long as the context lasts."""
    described = []
    for name, content in zip(("roadnet", "flow"), files(), strict=True):
        path = folder / f"{name}.json.gz"
        path.write_bytes(gzip.compress(content, mtime=0))
        described.append(DataFile(str(path), hashlib.sha256(content).hexdigest()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MAPS, TASK.removeprefix("cityflow/"), CityMap(*described))
        patch.setattr(traffic_names, "TASKS", (*traffic_names.TASKS, TASK))
        yield
