"""Lists of vehicles on drivables, and the vehicles that lane links expect as a consequence.

The `waiting_first` and `waiting_last` of a lane link (see `state.QUEUE`) change only when a vehicle becomes the first
of a lane or leaves the link. They are updated then, instead of being recomputed for all lanes in every step.
"""

from __future__ import annotations

import numpy as np

from envs.traffic.engine.basics import exclude, include, inlined, kernel, planned
from envs.traffic.engine.handles import map_at, traffic_at
from envs.traffic.engine.state import UNKNOWN, State, Traffic
from envs.traffic.network.layout import NONE
from envs.traffic.network.map import Map

CLEARED = 1.0
"""Metres beyond the end of a lane link at which a rear has certainly cleared all crosses, whatever the rounding."""


@inlined
def append(m: Map, t: Traffic, drivable: int, v: int) -> None:
    """Append a vehicle at the rear of a drivable."""
    insert(m, t, drivable, v, t.queues[drivable].last, NONE)


@inlined
def arrive(m: Map, t: Traffic, drivable: int, v: int) -> None:
    """Insert a vehicle into a drivable that it reaches in this step: behind all others, except those that have also
    just reached it and are less far along, or equally far with a larger priority."""
    vehicle = t.vehicles[v]
    ahead, behind = t.queues[drivable].last, NONE
    while ahead != NONE and t.vehicles[ahead].moves:
        other = t.vehicles[ahead]
        if other.next_distance > vehicle.next_distance or (
            other.next_distance == vehicle.next_distance and other.priority < vehicle.priority
        ):
            break
        ahead, behind = other.ahead, ahead
    insert(m, t, drivable, v, ahead, behind)


@inlined
def insert(m: Map, t: Traffic, drivable: int, v: int, ahead: int, behind: int) -> None:
    """Insert a vehicle into the list of a drivable between two neighbours there; NONE for `ahead` makes it the first,
    NONE for `behind` the last."""
    vehicle = t.vehicles[v]
    vehicle.ahead, vehicle.behind = ahead, behind
    if ahead == NONE:
        t.queues[drivable].first = v
        include(t.occupied, drivable)
        t.alerts[drivable].on = True
    else:
        t.vehicles[ahead].behind = v
    if behind == NONE:
        t.queues[drivable].last = v
    else:
        t.vehicles[behind].ahead = v
    t.queues[drivable].size += 1
    if drivable >= m.lanes:
        t.queues[m.places[drivable].start].departing += 1


@inlined
def unlink(m: Map, t: Traffic, drivable: int, v: int) -> None:
    """Remove a vehicle from the list of a drivable."""
    vehicle = t.vehicles[v]
    ahead, behind = vehicle.ahead, vehicle.behind
    if ahead == NONE:
        if drivable < m.lanes:
            forget_onward(t, drivable)
        t.queues[drivable].first = behind
    else:
        t.vehicles[ahead].behind = behind
    if behind == NONE:
        t.queues[drivable].last = ahead
    else:
        t.vehicles[behind].ahead = ahead
    t.queues[drivable].size -= 1
    if t.queues[drivable].size == 0:
        exclude(t.occupied, drivable)
        t.alerts[drivable].on = False
    if drivable >= m.lanes:
        t.queues[m.places[drivable].start].departing -= 1


@inlined
def forget_onward(t: Traffic, lane: int) -> None:
    """Invalidate `onward` of a lane, because its first vehicle changes or takes another link."""
    link = t.queues[lane].onward
    if link >= 0:
        t.queues[link].waiting_first = NONE
        t.alerts[link].comes = False
    t.queues[lane].onward = UNKNOWN


@kernel
def note_onward(m: Map, t: Traffic, lane: int) -> None:
    """Record the first vehicle of a lane at the lane link that it takes next, replacing any earlier record."""
    v = t.queues[lane].first
    link = planned(m, t, v, 0)
    t.queues[lane].onward = link
    if link != NONE:
        t.queues[link].waiting_first = v
        t.alerts[link].comes = True


@kernel
def renote_onward(network: np.ndarray, addresses: np.ndarray, lane: int) -> None:
    """`note_onward`, given the addresses of network and state, where another link may hold an earlier record."""
    t = traffic_at(addresses)
    forget_onward(t, lane)
    note_onward(map_at(network), t, lane)


@inlined
def note_leaving(m: Map, t: Traffic, v: int) -> None:
    """Record a vehicle at the lane link that it has left for its lane if its rear may still be on the link."""
    vehicle = t.vehicles[v]
    link = vehicle.previous
    if link >= m.lanes and m.places[link].end == vehicle.drivable:
        if vehicle.distance - t.kinds[vehicle.kind].length < CLEARED:
            t.queues[link].waiting_last = v
            t.alerts[link].leaves = True
        elif t.queues[link].waiting_last == v:
            t.queues[link].waiting_last = NONE
            t.alerts[link].leaves = False


@kernel
def find_onward(network: np.ndarray, addresses: np.ndarray) -> None:
    """Compute all records of vehicles that enter and leave lane links, given the addresses of network and state."""
    m, t = map_at(network), traffic_at(addresses)
    for link in range(m.lanes, m.drivables):
        t.queues[link].waiting_first = t.queues[link].waiting_last = NONE
        t.alerts[link].on = t.queues[link].first != NONE
        t.alerts[link].comes = t.alerts[link].leaves = False
    for lane in range(m.lanes):
        t.queues[lane].onward = UNKNOWN
        v = t.queues[lane].first
        if v != NONE:
            note_onward(m, t, lane)
        while v != NONE:
            note_leaving(m, t, v)
            v = t.vehicles[v].behind


def complete(state: State, network: np.ndarray, addresses: np.ndarray) -> None:
    """Fill in the derived parts of a state that was loaded, given the addresses of network and state."""
    vehicles, members = state.traffic.vehicles, state.pool.members
    state.pool.priorities[:] = vehicles["priority"][members]
    vehicles["yields"] = vehicles["blocker"] != NONE
    vehicles["next_distance"] = vehicles["distance"]
    find_onward(network, addresses)
