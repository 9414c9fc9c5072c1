"""Saved engines: snapshots in memory, dictionaries of arrays for checkpoints, and JSON files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from envs.traffic import archive_json
from envs.traffic.network import Network
from envs.traffic.simulation import Simulation
from envs.traffic.state import SLOTS, State, copied, mapped

if TYPE_CHECKING:
    from envs.traffic.engine import Engine

SCRATCH = frozenset({"moved", "announcements", "segment_first", "segment_last"})
"""Parts that every step makes anew."""
GIVEN = frozenset({"order", "segment_starts"})
"""Parts that follow from the files."""
FREE_LENGTH = SLOTS | {"kinds", "route_starts", "route_roads"}


class Archive:
    """A snapshot of an engine."""

    def __init__(self, engine: Engine) -> None:
        self.network: Network = engine.network
        self.state: State = copied(engine.state)
        self.interval: float = engine.config.interval
        """Seconds of one step."""

    def dump(self, path: str | Path) -> None:
        """Write the snapshot as JSON. Raises TrafficFileError where the file cannot be written."""
        archive_json.write(Path(path), self.network, self.state, self.interval)


def read(path: Path, simulation: Simulation) -> State:
    """The state in a file written by `Archive.dump`, for a simulation of the same files. Raises TrafficFileError for a
    file that is missing or wrong."""
    flows = simulation.flows.arrays
    return archive_json.read(path, simulation.network, flows, simulation.interval, simulation.lane_change)


def state_dict(state: State) -> dict[str, np.ndarray]:
    """What is needed to go on exactly: copies, without what every step makes anew."""
    parts = {name: part for group in state for name, part in group._asdict().items()}
    kept = parts.keys() - SCRATCH - GIVEN
    return {name: parts[name].copy() for name in parts if name in kept and isinstance(parts[name], np.ndarray)}


def from_state_dict(saved: dict[str, Any], like: State) -> State:
    """The state to go on from. Raises ValueError if parts are missing or of another network than that of `like`."""
    state = mapped(like, lambda name, own: _part(saved, name, own))
    capacity = {len(part) for part in (state.traffic.vehicles, state.traffic.plans, *state.pool[:3])}
    if len(capacity) != 1:
        raise ValueError(f"the state of the traffic engine is damaged: its parts have {sorted(capacity)} slots")
    state.traffic.queues["stamp"] = 0
    return state._replace(pool=state.pool._replace(moved=np.zeros(capacity.pop(), dtype=np.int32)))


def _part(saved: dict[str, Any], name: str, own: Any) -> Any:
    if name in SCRATCH:
        return np.zeros_like(own)
    if name in GIVEN or not isinstance(own, np.ndarray):
        return own
    if name not in saved:
        raise ValueError(f"this is no state of a traffic engine: {name} is missing")
    part = np.array(saved[name])
    fits = len(part) == len(own) or name in FREE_LENGTH
    if part.dtype != own.dtype or part.shape[1:] != own.shape[1:] or not fits:
        raise ValueError(f"the state is of another road network or flow: {name} has shape {part.shape}")
    return part
