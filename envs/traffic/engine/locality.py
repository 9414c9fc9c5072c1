"""Memory locality: vehicles that are close in the city are kept close in memory.

A step visits vehicles drivable by drivable. In a large city their records do not fit into the processor's caches, and
slots are reused as they become free, so that nearly every access to a vehicle goes to main memory. At intervals, slots
are therefore reassigned in the order in which a step visits them. Results do not depend on the assignment of slots.
"""

from __future__ import annotations

import numpy as np

from envs.traffic.engine.basics import kernel, next_member
from envs.traffic.engine.state import FREE, NEW, PLAN, POOL, State
from envs.traffic.network.layout import NONE

LEAST_VEHICLES = 4_000
"""Number of vehicles from which sorting pays off."""
INTERVAL = 20
"""Number of steps between sorts."""


def sort_slots(state: State) -> None:
    """Reassign all slots; only for simulations without lane changes."""
    t, p, lanes = state.traffic, state.pool, len(state.lanes.seconds)
    members, free = int(t.counts[POOL]), int(t.counts[FREE])
    new = np.full(len(p.free), NONE, dtype=np.int32)
    vehicles, plans = np.empty(members, dtype=t.vehicles.dtype), np.empty((members, PLAN), dtype=np.int32)
    running = _carry_running(t.queues, lanes, t.vehicles, t.plans, new, vehicles, plans)
    _carry_waiting(t.queues, t.vehicles, t.plans, p.members[:members], new, vehicles, plans, running)
    _translate(vehicles, new)
    t.vehicles[:members], t.plans[:members] = vehicles, plans
    _translate_waiting(t.queues, lanes, state.lanes.waited, new)
    for list_, length in ((p.members, members), (p.new, int(t.counts[NEW]))):
        list_[:length] = new[list_[:length]]
    p.free[:free] = np.arange(len(p.free) - 1, members - 1, -1)


@kernel
def _carry_running(
    queues: np.ndarray,
    lanes: int,
    vehicles: np.ndarray,
    plans: np.ndarray,
    new: np.ndarray,
    new_vehicles: np.ndarray,
    new_plans: np.ndarray,
) -> int:
    """Number the vehicles on the drivables in order, from front to rear, and copy them; returns their number."""
    number = 0
    for drivable in range(len(queues)):
        queue = queues[drivable]
        v = queue.first
        if v == NONE:
            continue
        queue.first = number
        if drivable < lanes and queue.onward >= 0:
            queues[queue.onward].waiting_first = number
        while v != NONE:
            new[v] = number
            new_vehicles[number] = vehicles[v]
            for j in range(PLAN):
                new_plans[number, j] = plans[v, j]
            number += 1
            v = vehicles[v].behind
        queue.last = number - 1
    return number


@kernel
def _carry_waiting(
    queues: np.ndarray,
    vehicles: np.ndarray,
    plans: np.ndarray,
    members: np.ndarray,
    new: np.ndarray,
    new_vehicles: np.ndarray,
    new_plans: np.ndarray,
    number: int,
) -> None:
    """Number and copy all other vehicles, by priority."""
    for v in members:
        if new[v] == NONE:
            new[v] = number
            new_vehicles[number] = vehicles[v]
            for j in range(PLAN):
                new_plans[number, j] = plans[v, j]
            number += 1


@kernel
def _translate(vehicles: np.ndarray, new: np.ndarray) -> None:
    """Replace the slots to which vehicles refer by the new ones."""
    for slot in range(len(vehicles)):
        vehicle = vehicles[slot]
        vehicle.ahead = NONE if vehicle.ahead == NONE else new[vehicle.ahead]
        vehicle.behind = NONE if vehicle.behind == NONE else new[vehicle.behind]
        vehicle.leader = NONE if vehicle.leader == NONE else new[vehicle.leader]
        vehicle.blocker = NONE if vehicle.blocker == NONE else new[vehicle.blocker]
        vehicle.next_blocker = NONE


@kernel
def _translate_waiting(queues: np.ndarray, lanes: int, waited: np.ndarray, new: np.ndarray) -> None:
    """Replace the slots of vehicles waiting to enter lanes, and of those that have left lane links."""
    lane = next_member(waited, 0, lanes)
    while lane >= 0:
        queue = queues[lane]
        queue.waiting_first, queue.waiting_last = new[queue.waiting_first], new[queue.waiting_last]
        lane = next_member(waited, lane + 1, lanes)
    for link in range(lanes, len(queues)):
        if queues[link].waiting_last != NONE:
            queues[link].waiting_last = new[queues[link].waiting_last]
