"""Conversion of a simulation's state to a dictionary of arrays for checkpoints, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.traffic.engine.state import QUEUE, SLOTS, VEHICLE, State, mapped
from envs.traffic.network.layout import lined_up

SCRATCH = frozenset({"moved", "segment_first", "segment_last"})
"""Parts that every step recomputes."""
DERIVED = frozenset({"alerts", "priorities"})
"""Parts derived from others, which `queues.complete` fills in."""
GIVEN = frozenset({"order", "segment_starts"})
"""Parts derived from the files."""
FREE_LENGTH = SLOTS | {"kinds", "route_starts", "route_roads"}

_VEHICLE_NAMES = (
    *("speed", "distance", "gap", "next_speed", "next_distance", "kind", "drivable", "next_drivable", "leader"),
    *("ahead", "behind", "blocker", "next_blocker", "plan_length", "route", "route_position", "previous"),
    *("enter_link_time", "priority", "running", "ended", "moves", "has_custom_speed", "custom_speed", "enter_time"),
    *("flow", "number", "partner", "partner_type", "sends", "changing", "speed_ready", "counted", "signal_target"),
    *("signal_direction", "received", "target_leader", "target_follower", "segment", "segment_ahead"),
    *("segment_behind", "leader_gap", "follower_gap", "last_change", "offset"),
)
_QUEUE_NAMES = ("first", "last", "size", "departing", "waiting_first", "waiting_last", "waiting_size")


def _record(names: tuple[str, ...], like: np.dtype, *more: str) -> np.dtype:
    """A record type with the named fields of `like`, in this order, and with `more` integer fields that are no longer
    used."""
    types = [(name, np.int32 if like[name] == np.int8 else like[name]) for name in names]
    return np.dtype([*types, *((name, np.int32) for name in more)], align=True)


RECORDS = {
    "vehicles": (VEHICLE, _record(_VEHICLE_NAMES, VEHICLE)),
    "queues": (QUEUE, _record(_QUEUE_NAMES, QUEUE, "stamp", "announced")),
}
"""Record types as saved, whose order is fixed, while that of the engine's records may change for speed."""


def state_dict(state: State) -> dict[str, np.ndarray]:
    """Copies of all parts needed to continue exactly, without those that every step recomputes."""
    parts = {name: part for group in state for name, part in group._asdict().items()}
    kept = parts.keys() - SCRATCH - DERIVED - GIVEN
    return {name: _saved(name, parts[name]) for name in parts if name in kept and isinstance(parts[name], np.ndarray)}


def _saved(name: str, part: np.ndarray) -> np.ndarray:
    """A copy of a part, with records converted to the saved type."""
    return _reordered(part, RECORDS[name][1]) if name in RECORDS else part.copy()


def _reordered(records: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Records converted to another type, field by field by name, as far as both have them."""
    result = lined_up(records.shape, dtype)
    for name in dtype.names or ():
        if name in (records.dtype.names or ()):
            result[name] = records[name]
    return result


def from_state_dict(saved: dict[str, Any], like: State) -> State:
    """The state to continue from, which must then be completed (`queues.complete`). Raises ValueError if parts are
    missing or belong to another network than `like`."""
    state = mapped(like, lambda name, own: _part(saved, name, own))
    capacity = {len(part) for part in (state.traffic.vehicles, state.traffic.plans, state.pool.members)}
    capacity |= {len(state.pool.free), len(state.pool.new)}
    if len(capacity) != 1:
        raise ValueError(f"the state of the traffic engine is damaged: its parts have {sorted(capacity)} slots")
    moved, priorities = np.zeros((2, capacity.pop()), dtype=np.int32)
    return state._replace(pool=state.pool._replace(moved=moved, priorities=priorities))


def _part(saved: dict[str, Any], name: str, own: Any) -> Any:
    if name in SCRATCH | DERIVED:
        return np.zeros_like(own)
    if name in GIVEN or not isinstance(own, np.ndarray):
        return own
    if name not in saved:
        raise ValueError(f"this is not a state of a traffic engine: {name} is missing")
    part = np.array(saved[name])
    fits = len(part) == len(own) or name in FREE_LENGTH
    used, dtype = RECORDS.get(name, (own.dtype, own.dtype))
    if part.dtype != dtype or part.shape[1:] != own.shape[1:] or not fits:
        raise ValueError(f"the state belongs to another road network or flow: {name} has shape {part.shape}")
    return part if used == dtype else _reordered(part, used)
