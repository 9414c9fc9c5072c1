"""A batch of simulations of one network."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from envs.traffic.engine.simulation import Simulation
from envs.traffic.files import read_config, read_json_file
from envs.traffic.network import Network, build_network
from envs.traffic.network.routes import Flows, build_flows


class BatchEngine:
    """Independent copies of a simulation, stepped together. Each copy is stepped by one thread at a time, or by several
    if there are more threads than copies and the city is large (`Simulation.use_threads`).

    Results do not depend on the number of threads.
    """

    def __init__(
        self,
        network: Network,
        flows: Flows,
        num_envs: int,
        interval: float = 1.0,
        lane_change: bool = False,
        threads: int | None = None,
    ) -> None:
        """`threads` as for `use_threads`. Raises ValueError for numbers below 1."""
        if num_envs < 1 or (threads is not None and threads < 1):
            raise ValueError(f"num_envs = {num_envs}, threads = {threads}: expected positive whole numbers")
        self.network, self.num_envs = network, num_envs
        self.simulations = [Simulation(network, flows, interval, lane_change) for _ in range(num_envs)]
        self.after_step: Callable[[], None] | None = None
        """Called after every step, once all copies have taken it; its setter must reset it to None."""
        self._workers: ThreadPoolExecutor | None = None
        self.use_threads(threads)

    @classmethod
    def from_config(cls, config_file: str | Path, num_envs: int, threads: int | None = None) -> BatchEngine:
        """Copies of the simulation that a CityFlow configuration describes, seeded with its seed and the following
        ones, with phases set from outside. Raises TrafficFileError if a file is missing or invalid."""
        config = read_config(config_file)
        roadnet_file, flow_file = config.directory + config.roadnet_file, config.directory + config.flow_file
        network = build_network(read_json_file(roadnet_file), roadnet_file)
        flows = build_flows(read_json_file(flow_file), network, flow_file)
        batch = cls(network, flows, num_envs, config.interval, config.lane_change, threads)
        batch.seed([config.seed + i for i in range(num_envs)])
        return batch

    def use_threads(self, count: int | None) -> None:
        """Use at most `count` threads from now on; None for one per core. Raises ValueError below 1."""
        wanted = cores() if count is None else count
        if wanted < 1:
            raise ValueError(f"threads = {wanted}: expected a positive whole number")
        if self._workers is not None:
            self._workers.shutdown()
        self.threads = min(wanted, self.num_envs)
        self._workers = ThreadPoolExecutor(self.threads) if self.threads > 1 else None
        for simulation in self.simulations:
            simulation.use_threads(wanted // self.threads)

    def run(self, steps: int) -> None:
        """Take `steps` steps in every copy. Raises the same errors as `Simulation.run`."""
        if self.after_step is None:
            self._run(steps)
            return
        for _ in range(steps):
            self._run(1)
            self.after_step()

    def _run(self, steps: int) -> None:
        if self._workers is None:
            for simulation in self.simulations:
                simulation.run(steps)
            return
        size = -(-self.num_envs // self.threads)
        parts = [self.simulations[i : i + size] for i in range(0, self.num_envs, size)]
        for done in [self._workers.submit(_run_all, part, steps) for part in parts]:
            done.result()

    def restart(self) -> None:
        """Restart every copy; random generators continue."""
        for simulation in self.simulations:
            simulation.restart()

    def seed(self, seeds: list[int]) -> None:
        """Restart the random generator of every copy. Raises ValueError unless there is one seed per copy."""
        for simulation, seed in zip(self.simulations, seeds, strict=True):
            simulation.seed(seed)

    def set_phases(self, intersections: np.ndarray, phases: np.ndarray) -> None:
        """Set the phases (env, intersection) of the given intersections (intersection,) from the next step on. The
        caller must ensure that the intersections have these phases."""
        for simulation, own in zip(self.simulations, phases, strict=True):
            simulation.state.traffic.phase[intersections] = own

    def lane_vehicles(self, lanes: np.ndarray) -> np.ndarray:
        """Number of running vehicles on the given lanes (...), (env, ...) int32."""
        return np.stack([simulation.state.traffic.queues["size"][lanes] for simulation in self.simulations])

    def lane_seconds(self) -> np.ndarray:
        """Vehicle-seconds since the last call on every lane and waiting to enter it, (env, lane) float64."""
        seconds = np.stack([simulation.state.lanes.seconds for simulation in self.simulations])
        for simulation in self.simulations:
            simulation.state.lanes.seconds[:] = 0.0
        return seconds


def _run_all(simulations: list[Simulation], steps: int) -> None:
    for simulation in simulations:
        simulation.run(steps)


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
