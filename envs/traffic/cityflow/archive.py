"""Saved engines: snapshots in memory and JSON files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from envs.traffic.cityflow import archive_json
from envs.traffic.engine.simulation import Simulation
from envs.traffic.engine.state import State, copied
from envs.traffic.network import Network

if TYPE_CHECKING:
    from envs.traffic.cityflow.interface import Engine


class Archive:
    """A snapshot of an engine."""

    def __init__(self, engine: Engine) -> None:
        self.network: Network = engine.network
        self.state: State = copied(engine.state)
        self.interval: float = engine.config.interval
        """Duration of one step in seconds."""

    def dump(self, path: str | Path) -> None:
        """Write the snapshot as JSON. Raises TrafficFileError if the file cannot be written."""
        archive_json.write(Path(path), self.network, self.state, self.interval)


def read(path: Path, simulation: Simulation) -> State:
    """The state in a file written by `Archive.dump`, for a simulation of the same files. Raises TrafficFileError if the
    file is missing or invalid."""
    flows = simulation.flows.arrays
    return archive_json.read(path, simulation.network, flows, simulation.interval, simulation.lane_change)
