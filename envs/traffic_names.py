"""Names of the traffic tasks, separate from `envs.traffic`, which imports a compiler: listing tasks must be cheap."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

REAL = (
    "hangzhou_16",
    "manhattan_48",
    "manhattan_96",
    "hangzhou_5816_16",
    "jinan_12",
    "jinan_2000_12",
    "jinan_2500_12",
    "newyork_16",
    "los_angeles_4",
    "cologne_1",
)
"""Names of the real maps. The last number is the number of signals; a number before it identifies the flow file."""
SIZES = (4, 9, 49, 100, 225, 1225, 10_000)
"""Numbers of signals of the listed synthetic tasks; any square from 4 to 10,000 can be made."""
LARGEST_SIDE = 100
TASKS = tuple(f"cityflow/{name}" for name in (*REAL, *(f"synthetic_{size}" for size in SIZES)))
FULL_SECONDS = 3600
"""Duration of the traffic of all tasks in seconds: the full hour."""


class ConfiguredCity(NamedTuple):
    """A city from a CityFlow configuration: absolute paths, and the SHA-256 of the files' bytes."""

    config: str
    roadnet: str
    flow: str
    roadnet_sha256: str
    flow_sha256: str
    lane_change: bool
    """Whether the configuration lets vehicles change lanes."""

    def files(self) -> tuple[str, str]:
        """Both checksums, which identify a city wherever its files are."""
        return self.roadnet_sha256, self.flow_sha256


CONFIGURED: dict[str, ConfiguredCity] = {}
"""Tasks that this process has made from CityFlow configurations (`envs.traffic.configured`), by name."""


def exists(task: str) -> bool:
    """Whether a task can be made: one of this project, or one made from a configuration."""
    return is_listed(task) or task in CONFIGURED


def is_listed(task: str) -> bool:
    """Whether a task belongs to this project: a listed task, or a grid of another size."""
    return task in TASKS or side_of(task) is not None


def side_of(task: str) -> int | None:
    """Rows and columns of a synthetic task; None for another task, or a number that is not a square of 2 to 100."""
    match = re.fullmatch(r"cityflow/synthetic_([1-9]\d{0,4})", task)
    if match is None:
        return None
    side = math.isqrt(int(match[1]))
    return side if side**2 == int(match[1]) and 2 <= side <= LARGEST_SIDE else None
