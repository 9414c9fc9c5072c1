"""Saved engines: snapshots in memory, dictionaries of arrays for checkpoints, and JSON files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from envs.traffic import archive_json
from envs.traffic.network import Network
from envs.traffic.state import SLOTS, State

SCRATCH = frozenset(
    {"moved", "link_stamp", "link_announced", "announced", "announced_distance", "segment_first", "segment_last"}
)
"""Parts that every step makes anew."""
GIVEN = frozenset({"flow_order", "segment_starts"})
"""Parts that follow from the files."""


@dataclass(frozen=True, eq=False)
class Archive:
    """A snapshot of an engine."""

    network: Network
    state: State

    def dump(self, path: str | Path) -> None:
        """Write the snapshot as JSON. Raises OSError where the file cannot be written."""
        archive_json.write(Path(path), self.network, self.state)


def read(path: Path, network: Network, like: State) -> State:
    """The state in a file written by `Archive.dump`. Raises TrafficFileError for a file that is missing or wrong."""
    return archive_json.read(path, network, like)


def state_dict(state: State) -> dict[str, np.ndarray]:
    """What is needed to go on exactly: copies, without what every step makes anew."""
    return {name: part.copy() for name, part in state._asdict().items() if name not in SCRATCH | GIVEN}


def from_state_dict(saved: dict[str, Any], like: State) -> State:
    """The state to go on from. Raises ValueError if parts are missing or of another network than that of `like`."""
    parts = {}
    for name, own in like._asdict().items():
        if name in SCRATCH | GIVEN:
            parts[name] = np.zeros_like(own) if name in SCRATCH else own
            continue
        if name not in saved:
            raise ValueError(f"this is no state of a traffic engine: {name} is missing")
        part = np.asarray(saved[name])
        free_length = name in SLOTS or name in ("kinds", "route_starts", "route_roads")
        if part.dtype != own.dtype or part.shape[1:] != own.shape[1:] or (len(part) != len(own) and not free_length):
            raise ValueError(f"the state is of another road network or flow: {name} has shape {part.shape}")
        parts[name] = part.copy()
    capacity = len(parts["free"])
    parts["moved"] = np.zeros(capacity, dtype=like.moved.dtype)
    return State(**parts)
