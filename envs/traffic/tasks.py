"""The traffic tasks (named in `envs.traffic_names`): their roads, vehicles, signals and specifications.

Real maps are read from the files that `python -m envs.traffic.data fetch` downloads, and users' cities from their own
files (`envs.traffic.configured`); synthetic grids are generated when needed. Cities are cached and shared by all copies
of a task.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from envs.errors import EnvironmentNotAvailableError
from envs.protocols import EnvironmentSpec
from envs.traffic.configured import changed, sha256_of
from envs.traffic.data import MapFiles, find
from envs.traffic.files import decompressed, read_json_file
from envs.traffic.network import Network, build_network
from envs.traffic.network.routes import Flows, build_flows
from envs.traffic.settings import Settings
from envs.traffic.signals import Signals, made_phases, signals_of
from envs.traffic.synthetic.grid import grid_flow, grid_flows, grid_roadnet
from envs.traffic.synthetic.trips import GridFlow
from envs.traffic_names import CONFIGURED, ConfiguredCity, side_of

FLOW = GridFlow(rate=450.0, crossings=8.0)
"""Vehicles of the synthetic tasks: a demand that max pressure can serve and a fixed cycle cannot."""
SMALLEST_WHOLE = 3
"""Rows and columns of the smallest grid with an intersection that has four neighbours. Larger grids have the same
observations, actions and neighbourhoods, so their specifications follow without building them."""
COUNT_UNIT = 10.0
"""Vehicles per unit of an observation, which keeps observations of order one."""


class City(NamedTuple):
    """The roads, vehicles and signals of a task."""

    network: Network
    flows: Flows
    signals: Signals


def city_of(task: str) -> City:
    """Roads, vehicles and signals of an existing task. Raises EnvironmentNotAvailableError if the files of a real map
    are missing, and TrafficFileError if they are damaged or have changed."""
    configured = CONFIGURED.get(task)
    return listed_city(task) if configured is None else city_of_files(configured)


@lru_cache(maxsize=4)
def city_of_files(city: ConfiguredCity) -> City:
    """Roads, vehicles and signals of a configuration. Raises TrafficFileError for missing, malformed or changed
    files."""
    return _city(_unchanged(city))


def _unchanged(city: ConfiguredCity) -> MapFiles:
    """The files of a configuration. Raises TrafficFileError if one has changed since it was configured."""
    files = MapFiles(Path(city.roadnet), Path(city.flow))
    for file, expected in zip(files, city.files(), strict=True):
        if (found := sha256_of(file)) != expected:
            raise changed(file, found, expected)
    return files


@lru_cache(maxsize=4)
def listed_city(task: str) -> City:
    """Roads, vehicles and signals of a built-in task. Raises the same errors as `city_of`."""
    side = side_of(task)
    if side is not None:
        network = build_network(grid_roadnet(side, side), task)
        signals = signals_of(network)
        return City(signals.network, grid_flows(side, side, FLOW, network), signals)
    return _city(find(task.removeprefix("cityflow/")))


def _city(files: MapFiles) -> City:
    network = build_network(read_json_file(files.roadnet), str(files.roadnet))
    flows = build_flows(read_json_file(files.flow), network, str(files.flow))
    signals = signals_of(network)
    return City(signals.network, flows, signals)


def drawn_flows(task: str, seed: int) -> Flows:
    """Vehicles of a synthetic task, drawn anew from a seed (0 to 2^63 - 1)."""
    side = side_of(task)
    assert side is not None
    return grid_flows(side, side, replace(FLOW, seed=seed), city_of(task).network)


def write_files(task: str, folder: Path) -> None:
    """Write roadnet.json and flow.json of an existing task for CityFlow, including generated yellow phases. Raises the
    same errors as `city_of`."""
    side = side_of(task)
    if side is not None:
        contents = [json.dumps(part).encode() for part in (grid_roadnet(side, side), grid_flow(side, side, FLOW))]
    else:
        configured = CONFIGURED.get(task)
        files = find(task.removeprefix("cityflow/")) if configured is None else _unchanged(configured)
        contents = [decompressed(file) for file in files]
        if made := made_phases(city_of(task).signals):
            roadnet = json.loads(contents[0])
            for intersection in roadnet["intersections"]:
                if intersection["id"] in made:
                    intersection["trafficLight"]["lightphases"].append(made[intersection["id"]])
            contents[0] = json.dumps(roadnet).encode()
    for name, content in zip(("roadnet.json", "flow.json"), contents, strict=True):
        (folder / name).write_bytes(content)


def make_spec(task: str, settings: Settings) -> EnvironmentSpec:
    """The specification of a task. Raises the same errors as `city_of`, and EnvironmentNotAvailableError if vehicles
    cannot be drawn."""
    if settings.vehicles == "drawn" and (side_of(task) is None or settings.engine == "cityflow"):
        raise EnvironmentNotAvailableError(
            f"vehicles='drawn' is for synthetic cities with the built-in engine, not for {task} with "
            f"engine={settings.engine!r}: leave it out"
        )
    side = side_of(task)
    seen = task if side is None or side <= SMALLEST_WHOLE else f"cityflow/synthetic_{SMALLEST_WHOLE**2}"
    signals = city_of(seen).signals
    num_agents = len(signals.agents) if side is None else side**2
    whole = signals.action_mask.all()
    seen_lanes, leaving = signals.lanes.shape[1], signals.leaving_lanes.shape[1]
    observed = {"counts": seen_lanes, "waiting": 2 * seen_lanes + 1, "segments": 3 * seen_lanes + leaving + 1}
    return EnvironmentSpec(
        num_agents=num_agents,
        observation_dim=observed[settings.observation] + signals.num_actions,
        num_actions=signals.num_actions,
        episode_length=settings.episode_length,
        max_neighbours=signals.neighbours.shape[1],
        agent_kinds=(0,) * num_agents,
        static_graph=True,
        action_mask=() if whole else tuple(tuple(row) for row in signals.action_mask.tolist()),
    )
