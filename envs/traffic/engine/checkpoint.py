"""The state of a simulation as a dictionary of arrays, and back: what checkpoints hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.traffic.engine.state import SLOTS, State, mapped

SCRATCH = frozenset({"moved", "announcements", "segment_first", "segment_last"})
"""Parts that every step makes anew."""
GIVEN = frozenset({"order", "segment_starts"})
"""Parts that follow from the files."""
FREE_LENGTH = SLOTS | {"kinds", "route_starts", "route_roads"}


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
