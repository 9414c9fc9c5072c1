"""Vehicles that are near each other in the city come to lie near each other in memory.

A step visits vehicles drivable by drivable. In a large city their records do not fit into the caches of a processor,
and slots are given out as they become free, so that nearly every look at a vehicle is a look into main memory. Now and
then slots are given out anew in the order in which a step visits them. No result depends on who has which slot.
"""

from __future__ import annotations

import numpy as np

from envs.traffic.engine.basics import kernel
from envs.traffic.engine.state import FREE, NEW, PLAN, POOL, State
from envs.traffic.network.layout import NONE

LEAST_VEHICLES = 4_000
"""Vehicles from which on it pays."""
INTERVAL = 20
"""Steps between."""


def sort_slots(state: State) -> None:
    """Give out all slots anew, without lane changes."""
    t, p = state.traffic, state.pool
    new = np.full(len(p.free), NONE, dtype=np.int32)
    _number(t.queues, t.vehicles, p.members, t.counts, new)
    vehicles, plans = np.empty_like(t.vehicles), np.empty_like(t.plans)
    _carry(t.vehicles, t.plans, p.members, t.counts, new, vehicles, plans)
    members = int(t.counts[POOL])
    t.vehicles[:members], t.plans[:members] = vehicles[:members], plans[:members]
    for name in ("first", "last", "waiting_first", "waiting_last"):
        slots = t.queues[name]
        t.queues[name] = np.where(slots == NONE, NONE, new[slots])
    for list_, length in ((p.members, members), (p.new, int(t.counts[NEW]))):
        list_[:length] = new[list_[:length]]
    free = int(t.counts[FREE])
    p.free[:free] = np.arange(len(p.free) - 1, members - 1, -1)


@kernel
def _number(queues: np.ndarray, vehicles: np.ndarray, members: np.ndarray, counts: np.ndarray, new: np.ndarray) -> None:
    """Number all vehicles from 0: on drivable after drivable from the front on, then all others by priority."""
    number = 0
    for drivable in range(len(queues)):
        v = queues[drivable].first
        while v != NONE:
            new[v] = number
            number += 1
            v = vehicles[v].behind
    for i in range(counts[POOL]):
        if new[members[i]] == NONE:
            new[members[i]] = number
            number += 1


@kernel
def _carry(
    vehicles: np.ndarray,
    plans: np.ndarray,
    members: np.ndarray,
    counts: np.ndarray,
    new: np.ndarray,
    new_vehicles: np.ndarray,
    new_plans: np.ndarray,
) -> None:
    """Copy all vehicles to their new slots, with the new slots of those they know."""
    for i in range(counts[POOL]):
        old = members[i]
        slot = new[old]
        new_vehicles[slot] = vehicles[old]
        for j in range(PLAN):
            new_plans[slot, j] = plans[old, j]
        vehicle = new_vehicles[slot]
        vehicle.ahead = NONE if vehicle.ahead == NONE else new[vehicle.ahead]
        vehicle.behind = NONE if vehicle.behind == NONE else new[vehicle.behind]
        vehicle.leader = NONE if vehicle.leader == NONE else new[vehicle.leader]
        vehicle.blocker = NONE if vehicle.blocker == NONE else new[vehicle.blocker]
        vehicle.next_blocker = NONE
