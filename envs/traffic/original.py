"""CityFlow's own engine in place of ours, where it is installed: the same environment, to compare the two.

CityFlow's interface has no arrays, so everything goes through its dictionaries, second by second; on large cities that
costs more than its steps. What the interface does not tell is worked out here: where vehicles wait, and how many have
arrived. With lane changes the latter differs from what CityFlow counts inside, and its results from run to run.
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
"""Seconds between the last step of an engine and its end. Its threads may still be on their way out of a step; if they
are, CityFlow's destructor waits for them for ever."""


class OriginalBatch:
    """Copies of a city in CityFlow, one after the other, as `BatchEngine` offers them to the environment.

    Vehicles that wait to enter a road are all counted on its first lane.
    """

    def __init__(self, task: str, city: City, num_envs: int, lane_change: bool = False) -> None:
        """Raises EnvironmentNotAvailableError where CityFlow is not installed."""
        try:
            import cityflow
        except ImportError as error:
            raise EnvironmentNotAvailableError(
                "engine='cityflow' needs CityFlow itself, which is not installed: pip install '.[cityflow]' in the "
                "project's folder builds it (with CMake and a C++ compiler); or leave the setting engine out"
            ) from error
        self.network, self.num_envs = city.network, num_envs
        with tempfile.TemporaryDirectory() as folder:  # files are read once, when an engine is made
            config = _write_config(task, Path(folder), lane_change)
            engines = [cityflow.Engine(str(config), thread_num=1) for _ in range(num_envs)]
        self.simulations = [OriginalSimulation(engine, city.network, city.flows) for engine in engines]
        weakref.finalize(self, _rest, engines)

    def run(self, steps: int) -> None:
        """Take `steps` steps in every copy."""
        for simulation in self.simulations:
            simulation.run(steps)

    def restart(self) -> None:
        """Begin anew in every copy; random generators go on."""
        for simulation in self.simulations:
            simulation.restart()

    def seed(self, seeds: list[int]) -> None:
        """Restart the random generator of every copy. Raises ValueError for another number of seeds than copies."""
        for simulation, seed in zip(self.simulations, seeds, strict=True):
            simulation.seed(seed)

    def set_phases(self, intersections: np.ndarray, phases: np.ndarray) -> None:
        """Set the phases (env, intersection) of some intersections (intersection,) from the next step on."""
        names = [self.network.intersection_ids[i] for i in intersections]
        for simulation, chosen in zip(self.simulations, phases.tolist(), strict=True):
            for name, phase in zip(names, chosen, strict=True):
                simulation.engine.set_tl_phase(name, phase)

    def lane_vehicles(self, lanes: np.ndarray) -> np.ndarray:
        """Running vehicles on some lanes (...): (env, ...) int32."""
        return np.stack([simulation.counts[lanes] for simulation in self.simulations])

    def lane_seconds(self) -> np.ndarray:
        """Vehicle-seconds on every lane and waiting for it since the last call, (env, lane) float64."""
        seconds = np.stack([simulation.seconds for simulation in self.simulations])
        for simulation in self.simulations:
            simulation.seconds[:] = 0.0
        return seconds


class OriginalSimulation:
    """One engine of CityFlow, with what the environment asks of a `Simulation`."""

    def __init__(self, engine: Any, network: Network, flows: Flows) -> None:
        """`engine`: one of CityFlow's, rebuilt from the files of `network` and `flows`."""
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
        """Vehicles that wait to enter, and vehicles on the roads; shadows of lane changes do not count."""
        self._seen: set[str] = set()
        self._roads_left: dict[str, int] = {}
        """Of every vehicle that was counted as an arrival, when it last was."""

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
        """Begin anew, with the random generator going on."""
        self.engine.reset(False)
        self._forget()

    def seed(self, value: int) -> None:
        """Restart the random generator from a 32-bit seed."""
        self.engine.set_random_seed((value + 2**31) % 2**32 - 2**31)  # CityFlow takes it with a sign

    def average_travel_time(self) -> float:
        """Mean seconds since vehicles were made, over those that have finished and those that still drive or wait."""
        return float(self.engine.get_average_travel_time())

    @property
    def finished(self) -> int:
        """Vehicles that have arrived."""
        return len(self._seen) - self.waiting - self.running

    def lane_waiting(self) -> np.ndarray:
        """Standing vehicles on every lane, (lane,) int32."""
        return self._by_lane(self.engine.get_lane_waiting_vehicle_count())

    def lane_near(self, seconds: float) -> np.ndarray:
        """Vehicles on every lane that could reach its end within `seconds` at the speed limit, (lane,) int32."""
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
        """Add the vehicles on incoming lanes by their movement; see `movements.count_movements`."""
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
    """The files of a task and a configuration for them."""
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
    """A lane link for each lane and road that follow each other; all of them are the same movement."""
    arrays = network.arrays
    lanes, roads = arrays.link_from.tolist(), arrays.lane_road[arrays.link_to].tolist()
    links: dict[tuple[str, str], int] = {}
    for link, (lane, road) in enumerate(zip(lanes, roads, strict=True)):
        links.setdefault((network.lane_ids[lane], network.road_ids[road]), link)
    return links


def _rest(engines: list[Any]) -> None:
    """Let the threads of engines come to rest; afterwards they may go."""
    time.sleep(REST)
    engines.clear()
