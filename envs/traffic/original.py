"""CityFlow's engine, if installed, as a replacement for the built-in one, to compare the two in the same environment.

CityFlow's interface has no arrays, so everything goes through its dictionaries, second by second; on large cities this
costs more than its steps. Information that the interface lacks is derived here: where vehicles wait, and how many have
arrived. With lane changes, the number of arrivals differs from CityFlow's internal count, and CityFlow's results differ
from run to run.
"""

from __future__ import annotations

import json
import tempfile
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from envs.errors import EnvironmentNotAvailableError
from envs.traffic.network import Network
from envs.traffic.network.layout import NONE
from envs.traffic.network.routes import Flows
from envs.traffic.tasks import City, write_files

REST = 0.2
"""Seconds between the last step of an engine and its destruction. If its threads are still leaving a step by then,
CityFlow's destructor waits for them forever."""


class OriginalBatch:
    """Copies of a city in CityFlow, stepped one after another, with the interface of `BatchEngine`.

    All vehicles waiting to enter a road are counted on its first lane.
    """

    def __init__(self, task: str, city: City, num_envs: int, lane_change: bool = False) -> None:
        """Raises EnvironmentNotAvailableError if CityFlow is not installed."""
        try:
            import cityflow
        except ImportError as error:
            raise EnvironmentNotAvailableError(
                "engine='cityflow' needs CityFlow itself, which is not installed: pip install '.[cityflow]' in the "
                "project's folder builds it (with CMake and a C++ compiler); or leave the setting engine out"
            ) from error
        self.network, self.num_envs = city.network, num_envs
        with tempfile.TemporaryDirectory() as folder:  # files are read only when an engine is created
            config = _write_config(task, Path(folder), lane_change)
            engines = [cityflow.Engine(str(config), thread_num=1) for _ in range(num_envs)]
        self.simulations = [OriginalSimulation(engine, city.network, city.flows) for engine in engines]
        weakref.finalize(self, _rest, engines)

    def run(self, steps: int) -> None:
        """Take `steps` steps in every copy."""
        for simulation in self.simulations:
            simulation.run(steps)

    def restart(self) -> None:
        """Restart every copy; random generators continue."""
        for simulation in self.simulations:
            simulation.restart()

    def seed(self, seeds: list[int]) -> None:
        """Restart the random generator of every copy. Raises ValueError unless there is one seed per copy."""
        for simulation, seed in zip(self.simulations, seeds, strict=True):
            simulation.seed(seed)

    def set_phases(self, intersections: np.ndarray, phases: np.ndarray) -> None:
        """Set the phases (env, intersection) of the given intersections (intersection,) from the next step on."""
        names = [self.network.intersection_ids[i] for i in intersections]
        for simulation, chosen in zip(self.simulations, phases.tolist(), strict=True):
            for name, phase in zip(names, chosen, strict=True):
                simulation.engine.set_tl_phase(name, phase)

    def lane_vehicles(self, lanes: np.ndarray) -> np.ndarray:
        """Number of running vehicles on the given lanes (...), (env, ...) int32."""
        return np.stack([simulation.counts[lanes] for simulation in self.simulations])

    def lane_seconds(self) -> np.ndarray:
        """Vehicle-seconds since the last call on every lane and waiting to enter it, (env, lane) float64."""
        seconds = np.stack([simulation.seconds for simulation in self.simulations])
        for simulation in self.simulations:
            simulation.seconds[:] = 0.0
        return seconds


class OriginalSimulation:
    """A CityFlow engine with the part of the interface of `Simulation` that the environment uses."""

    def __init__(self, engine: Any, network: Network, flows: Flows) -> None:
        """`engine` must be a CityFlow engine made from the files of `network` and `flows`."""
        self.engine, self.network = engine, network
        arrays = flows.arrays
        first_road = np.append(arrays.route_roads[arrays.route_starts[:-1]], NONE)[arrays.route]
        self._first_lane = np.where(first_road == NONE, NONE, network.arrays.road_lane_starts[first_road]).tolist()
        self._link_of = _first_links(network)
        self._forget()

    def _forget(self) -> None:
        lanes = len(self.network.lane_ids)
        self.counts, self.seconds = np.zeros(lanes, dtype=np.int32), np.zeros(lanes)
        self.waiting, self.running = 0, 0
        """Number of vehicles waiting to enter, and of vehicles on the roads; shadows of lane changes do not count."""
        self._seen: set[str] = set()
        self._roads_left: dict[str, int] = {}
        """Number of remaining roads of each vehicle when it was last counted as an arrival."""

    def run(self, steps: int) -> None:
        """Take `steps` steps."""
        for _ in range(steps):
            self.engine.next_step()
            present, running = self.engine.get_vehicles(True), self.engine.get_vehicles(False)
            outside = set(present).difference(running)
            self.waiting, self.running = len(outside), len(running)
            self._seen.update(present)
            self.counts = self._by_lane(self.engine.get_lane_vehicle_count())
            self.seconds += self.counts
            for name in outside:
                lane = self._first_lane[int(name.split("_")[1])]
                if lane != NONE:
                    self.seconds[lane] += 1.0

    def restart(self) -> None:
        """Restart; the random generator continues."""
        self.engine.reset(False)
        self._forget()

    def seed(self, value: int) -> None:
        """Restart the random generator from a 32-bit seed."""
        self.engine.set_random_seed((value + 2**31) % 2**32 - 2**31)  # CityFlow expects a signed seed

    def average_travel_time(self) -> float:
        """Average travel time in seconds, over vehicles that have finished and those still driving or waiting."""
        return float(self.engine.get_average_travel_time())

    @property
    def finished(self) -> int:
        """Number of vehicles that have arrived."""
        return len(self._seen) - self.waiting - self.running

    def lane_waiting(self) -> np.ndarray:
        """Number of standing vehicles on every lane, (lane,) int32."""
        return self._by_lane(self.engine.get_lane_waiting_vehicle_count())

    def lane_near(self, seconds: float) -> np.ndarray:
        """Number of vehicles per lane that could reach its end within `seconds` at the speed limit, (lane,) int32."""
        counts = np.zeros(len(self.network.lane_ids), dtype=np.int32)
        arrays, index = self.network.arrays, self.network.lane_index
        distance = self.engine.get_vehicle_distance()
        for name, vehicles in self.engine.get_lane_vehicles().items():
            lane = index[name]
            reach = float(arrays.max_speed[lane]) * seconds
            counts[lane] = sum(float(arrays.length[lane]) - distance[vehicle] <= reach for vehicle in vehicles)
        return counts

    def count_movements(
        self, link_agent: np.ndarray, link_movement: np.ndarray, present: np.ndarray, arrived: np.ndarray
    ) -> None:
        """Add the vehicles on incoming lanes by movement; see `movements.count_movements`."""
        for lane, names in self.engine.get_lane_vehicles().items():
            for name in names:
                roads = self.engine.get_vehicle_info(name)["route"].split()
                link = self._link_of.get((lane, roads[1]), NONE) if len(roads) > 1 else NONE
                if link == NONE or link_movement[link] == NONE:
                    continue
                place, vehicle = (link_agent[link], link_movement[link]), name.removesuffix("_shadow")
                present[place] += 1.0
                if len(roads) < self._roads_left.get(vehicle, len(roads) + 1):
                    arrived[place] += 1.0
                    self._roads_left[vehicle] = len(roads)

    def _by_lane(self, values: Mapping[str, int]) -> np.ndarray:
        return np.array([values[name] for name in self.network.lane_ids], dtype=np.int32)


def _write_config(task: str, folder: Path, lane_change: bool) -> Path:
    """Write the files of a task and a configuration for them; returns the configuration's path."""
    write_files(task, folder)
    config = {
        "interval": 1.0,
        "seed": 0,
        "dir": f"{folder.as_posix()}/",
        "roadnetFile": "roadnet.json",
        "flowFile": "flow.json",
        "rlTrafficLight": True,
        "laneChange": lane_change,
        "saveReplay": False,
        "roadnetLogFile": "replay_roadnet.json",
        "replayLogFile": "replay.txt",
    }
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return path


def _first_links(network: Network) -> dict[tuple[str, str], int]:
    """One lane link for each pair of a lane and a following road; all links of a pair are the same movement."""
    arrays = network.arrays
    lanes, roads = arrays.link_from.tolist(), arrays.lane_road[arrays.link_to].tolist()
    links: dict[tuple[str, str], int] = {}
    for link, (lane, road) in enumerate(zip(lanes, roads, strict=True)):
        links.setdefault((network.lane_ids[lane], network.road_ids[road]), link)
    return links


def _rest(engines: list[Any]) -> None:
    """Wait until the threads of the engines are idle, so that the engines can be destroyed."""
    time.sleep(REST)
    engines.clear()
