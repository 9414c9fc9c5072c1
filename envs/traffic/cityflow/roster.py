"""The roster of a simulation: vehicle ids by slot, and slots by id.

Compiled code creates and removes vehicles without notification, so changes since the last query are found by
comparison; each vehicle's id is created once. The first query after a step costs a few array operations over all slots,
any further one a single look-up.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.traffic.engine.inspection import pool
from envs.traffic.engine.state import PUSHED, SHADOW, VEHICLE, State
from envs.traffic.network import Network
from envs.traffic.network.layout import NONE

_NOBODY = PUSHED - 1
"""Marker of a free slot, in place of a flow and number."""
_SHADOW_BIT = np.int64(-(2**63))
_FIELDS: Any = VEHICLE.fields
_FLOW_OFFSET = int(_FIELDS["flow"][1])
assert _FIELDS["number"][1] == _FLOW_OFFSET + 4, "flow and number are read together"


class Roster:
    """Ids and slots of the vehicles of one engine."""

    def __init__(self, network: Network) -> None:
        self._network = network
        arrays = network.arrays
        roads = [network.road_ids[road] for road in arrays.lane_road]
        ends = [network.intersection_ids[arrays.road_to[road]] for road in arrays.lane_road]
        self._lanes = list(zip(network.lane_ids, roads, ends, strict=True))
        self.slots: dict[str, int] = {}
        """Slot of every vehicle, including waiting ones and shadows, by id."""
        self.names = np.empty(0, dtype=object)
        """(slot,) ids; entries of free slots are meaningless."""
        self._identities = np.empty(0, dtype=np.int64)
        self._vehicles = self._route_starts = np.empty(0)
        self._columns: dict[str, np.ndarray] = {}
        self._ways: dict[tuple[int, int], str] = {}
        self._sorted = np.empty(0, dtype=np.int64)
        self._sorted_names: list[str] | None = None
        self._running = np.empty(0, dtype=np.int64)

    def update(self, state: State) -> None:
        """Apply all changes since the last update."""
        vehicles = state.traffic.vehicles
        if vehicles is not self._vehicles:
            self._vehicles = vehicles
            self._columns = {name: vehicles[name] for name in VEHICLE.names or ()}
            missing = len(vehicles) - len(self.names)
            if missing > 0:
                self.names = np.concatenate([self.names, np.empty(missing, dtype=object)])
                self._identities = np.concatenate([self._identities, np.full(missing, _NOBODY, dtype=np.int64)])
        if state.traffic.route_starts is not self._route_starts:
            self._route_starts, self._ways = state.traffic.route_starts, {}
        slots = pool(state)
        pairs = np.ndarray((len(vehicles),), np.int64, vehicles, _FLOW_OFFSET, (VEHICLE.itemsize,))
        shadow = self._columns["partner_type"][slots] == SHADOW
        identities = np.full(len(self.names), _NOBODY, dtype=np.int64)
        identities[slots] = np.where(shadow, pairs[slots] | _SHADOW_BIT, pairs[slots])
        changed = np.flatnonzero(identities != self._identities)
        if len(changed):
            self._rename(changed, identities)
        self._running = slots[self._columns["running"][slots] & ~shadow]
        self._sorted_names = None

    def _rename(self, changed: np.ndarray, identities: np.ndarray) -> None:
        """Remove the previous vehicles of the changed slots, then name the current ones."""
        for slot, before in zip(changed.tolist(), self._identities[changed].tolist(), strict=True):
            if before != _NOBODY:
                del self.slots[self.names[slot]]
        there = changed[identities[changed] != _NOBODY].tolist()
        columns = self._columns
        flows, numbers = columns["flow"][there].tolist(), columns["number"][there].tolist()
        shadows = (columns["partner_type"][there] == SHADOW).tolist()
        for slot, flow, number, shadow in zip(there, flows, numbers, shadows, strict=True):
            name = f"manually_pushed_{number}" if flow == PUSHED else f"flow_{flow}_{number}"
            if shadow:
                name += "_shadow"
            self.names[slot] = name
            self.slots[name] = slot
        self._identities = identities

    def ids(self, state: State, include_waiting: bool) -> list[str]:
        """Ids of the running vehicles, or of all, by priority and without shadows."""
        slots = self._running
        if include_waiting:
            slots = pool(state)
            slots = slots[self._columns["partner_type"][slots] != SHADOW]
        names: list[str] = self.names[slots].tolist()
        return names

    def by_id(self, field: str) -> dict[str, float]:
        """The value of a field for every running vehicle, sorted by id."""
        if self._sorted_names is None:
            runs = np.zeros(len(self.names), dtype=np.bool_)
            runs[self._running] = True
            stayed = self._sorted[runs[self._sorted]]
            runs[stayed] = False
            slots = np.concatenate([stayed, self._running[runs[self._running]]])
            names = self.names[slots].tolist()
            order = sorted(range(len(names)), key=names.__getitem__)  # nearly sorted, hence fast
            self._sorted, self._sorted_names = slots[order], [names[i] for i in order]
        return dict(zip(self._sorted_names, self._columns[field][self._sorted].tolist(), strict=True))

    def on_lanes(self, state: State) -> list[list[str]]:
        """Ids of the vehicles on every lane, from front to rear."""
        first = state.traffic.queues["first"][: len(self._lanes)].tolist()
        behind, names = self._columns["behind"].tolist(), self.names
        result = []
        for slot in first:
            ids = []
            while slot != NONE:
                ids.append(names[slot])
                slot = behind[slot]
            result.append(ids)
        return result

    def leader(self, slot: int) -> str:
        """Id of the leader of the vehicle in a slot, or of its original for a shadow; empty if there is none."""
        if self._columns["partner_type"].item(slot) == SHADOW:
            slot = self._columns["partner"].item(slot)
        leader = self._columns["leader"].item(slot)
        return "" if leader == NONE else self.names[leader]

    def info(self, state: State, slot: int) -> dict[str, str]:
        """The properties that CityFlow reports of the vehicle in a slot, as text with sorted keys."""
        columns = self._columns
        if not columns["running"].item(slot):
            return {"running": "0"}
        drivable = columns["drivable"].item(slot)
        way = columns["route"].item(slot), columns["route_position"].item(slot)
        route = self._ways.get(way)
        if route is None:
            route = self._ways[way] = self._way(state, *way)
        distance, speed = f"{columns['distance'].item(slot):f}", f"{columns['speed'].item(slot):f}"
        if drivable < len(self._lanes):
            lane, road, end = self._lanes[drivable]
            return {
                "distance": distance,
                "drivable": lane,
                "intersection": end,
                "road": road,
                "route": route,
                "running": "1",
                "speed": speed,
            }
        link = self._network.link_ids[drivable - len(self._lanes)]
        return {"distance": distance, "drivable": link, "route": route, "running": "1", "speed": speed}

    def _way(self, state: State, route: int, position: int) -> str:
        """The roads of a route from a position on, each followed by a space."""
        start, end = state.traffic.route_starts[route : route + 2].tolist()
        ids = self._network.road_ids
        return "".join(f"{ids[road]} " for road in state.traffic.route_roads[start + position : end].tolist())
