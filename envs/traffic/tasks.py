"""The traffic tasks by name: their roads, their vehicles, and what a learner must know of them.

Real maps are read from the files that `python -m envs.traffic.data fetch` brings; synthetic grids are made on the spot.
Everything that is made is kept, and shared by all copies of a task.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import NamedTuple

from envs.protocols import EnvironmentSpec
from envs.traffic.data import find
from envs.traffic.files import read_json_file
from envs.traffic.grid import GridFlow, grid_flows, grid_roadnet
from envs.traffic.network import Network, build_network
from envs.traffic.routes import Flows, build_flows
from envs.traffic.settings import Settings
from envs.traffic.signals import Signals, signals_of

REAL = ("hangzhou_16", "manhattan_48", "manhattan_96")
"""Names of the real maps, with their numbers of signals."""
SIZES = (4, 9, 49, 100, 225, 1225)
"""Numbers of signals of the synthetic tasks that are listed; any square from 4 to 2500 can be made."""
LARGEST_SIDE = 50
TASKS = tuple(f"cityflow/{name}" for name in (*REAL, *(f"synthetic_{size}" for size in SIZES)))
FLOW = GridFlow(rate=450.0, crossings=8.0)
"""Vehicles of the synthetic tasks: a load that max pressure carries and a fixed cycle does not."""
COUNT_UNIT = 10.0
"""Vehicles: observations count in tens, so that they are of the order of one."""


FULL_SECONDS = 3600
"""Seconds for which all tasks have traffic: the full hour."""


class City(NamedTuple):
    """Where a task takes place."""

    network: Network
    flows: Flows
    signals: Signals


def exists(task: str) -> bool:
    """Whether a task can be made: a listed one, or a grid of another size."""
    return task in TASKS or side_of(task) is not None


def side_of(task: str) -> int | None:
    """Rows and columns of a synthetic task; None for another task, or a number that is no square of 2 to 50."""
    match = re.fullmatch(r"cityflow/synthetic_([1-9]\d{0,3})", task)
    if match is None:
        return None
    side = math.isqrt(int(match[1]))
    return side if side**2 == int(match[1]) and 2 <= side <= LARGEST_SIDE else None


@lru_cache(maxsize=4)
def city_of(task: str) -> City:
    """Roads, vehicles and signals of a task that exists. Raises EnvironmentNotAvailableError where the files of a real
    map are not here, TrafficFileError where they are damaged."""
    side = side_of(task)
    if side is not None:
        network = build_network(grid_roadnet(side, side), task)
        flows = grid_flows(side, side, FLOW, network)
    else:
        files = find(task.removeprefix("cityflow/"))
        network = build_network(read_json_file(files.roadnet), str(files.roadnet))
        flows = build_flows(read_json_file(files.flow), network, str(files.flow))
    return City(network, flows, signals_of(network))


def make_spec(task: str, settings: Settings) -> EnvironmentSpec:
    """What a learner sees of a task. Raises what `city_of` raises."""
    signals = city_of(task).signals
    whole = signals.action_mask.all()
    return EnvironmentSpec(
        num_agents=len(signals.agents),
        observation_dim=signals.lanes.shape[1] + signals.num_actions,
        num_actions=signals.num_actions,
        episode_length=settings.episode_length,
        max_neighbours=signals.neighbours.shape[1],
        agent_kinds=(0,) * len(signals.agents),
        static_graph=True,
        action_mask=() if whole else tuple(tuple(row) for row in signals.action_mask.tolist()),
    )
