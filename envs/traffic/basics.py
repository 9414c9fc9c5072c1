"""Small parts of the kernels: sets of bits, the random generator, lists of vehicles, plans of where to drive next.

Functions marked `inlined` are pasted into the kernels that use them; `n` is always the `NetworkArrays`, `s` the
`State`. Kernels are compiled once and kept; `envs.traffic.cache` forgets them when a source file changes.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from envs.traffic.layout import NEVER, NONE, NetworkArrays
from envs.traffic.state import FREE, FULL, INVALID_ROUTE, PLAN, POOL, RANDOM, STATUS, TWISTER, State

__all__ = ["FULL", "INVALID_ROUTE", "inlined", "kernel"]

kernel = njit(cache=True, error_model="numpy", nogil=True)
inlined = njit(inline="always", error_model="numpy")

_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_ONE = np.uint64(1)
_ZERO = np.uint64(0)
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_SHIFT = np.uint64(58)
_POSITIONS = np.zeros(64, dtype=np.int64)
for _bit in range(64):
    _POSITIONS[((1 << _bit) * int(_DE_BRUIJN) & int(_ALL)) >> 58] = _bit


@kernel
def next_member(words: np.ndarray, start: int) -> int:
    """The smallest member of a set of bits that is not below `start`; -1 if there is none."""
    word = start >> 6
    if word >= words.size:
        return -1
    bits = words[word] & (_ALL << np.uint64(start & 63))
    while bits == _ZERO:
        word += 1
        if word == words.size:
            return -1
        bits = words[word]
    lowest = bits & (~bits + _ONE)
    return (word << 6) + _POSITIONS[(lowest * _DE_BRUIJN) >> _SHIFT]


@kernel
def include(words: np.ndarray, member: int) -> None:
    """Put a number into a set of bits."""
    words[member >> 6] |= _ONE << np.uint64(member & 63)


@kernel
def exclude(words: np.ndarray, member: int) -> None:
    """Take a number out of a set of bits."""
    words[member >> 6] &= ~(_ONE << np.uint64(member & 63))


@kernel
def draw(random: np.ndarray, counts: np.ndarray) -> int:
    """The next 32 random bits of the Mersenne twister MT19937."""
    if counts[RANDOM] >= TWISTER:
        for i in range(TWISTER):
            mixed = (np.int64(random[i]) & 0x80000000) | (np.int64(random[(i + 1) % TWISTER]) & 0x7FFFFFFF)
            word = np.int64(random[(i + 397) % TWISTER]) ^ (mixed >> 1)
            if mixed & 1:
                word ^= 0x9908B0DF
            random[i] = np.uint32(word)
        counts[RANDOM] = 0
    y = np.int64(random[counts[RANDOM]])
    counts[RANDOM] += 1
    y ^= y >> 11
    y ^= (y << 7) & 0x9D2C5680
    y ^= (y << 15) & 0xEFC60000
    y ^= y >> 18
    return y


@kernel
def place_in_pool(vehicles: np.ndarray, pool: np.ndarray, members: int, priority: int) -> int:
    """Where in the pool a vehicle of this priority stands or would stand."""
    low, high = 0, members
    while low < high:
        middle = (low + high) >> 1
        if vehicles[pool[middle]].priority < priority:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def take_slot(vehicles: np.ndarray, pool: np.ndarray, free: np.ndarray, random: np.ndarray, counts: np.ndarray) -> int:
    """A slot for a new vehicle, which gets a priority that no other has, and its place in the pool.

    The priority is 32 random bits, read as a signed number, drawn again while somebody has it.
    """
    while True:
        priority = draw(random, counts)
        if priority >= 0x80000000:
            priority -= 0x100000000
        place = place_in_pool(vehicles, pool, counts[POOL], priority)
        if place == counts[POOL] or vehicles[pool[place]].priority != priority:
            break
    counts[FREE] -= 1
    slot = free[counts[FREE]]
    for i in range(counts[POOL], place, -1):
        pool[i] = pool[i - 1]
    pool[place] = slot
    counts[POOL] += 1
    vehicles[slot].priority = priority
    return slot


@kernel
def drop_slot(vehicles: np.ndarray, pool: np.ndarray, free: np.ndarray, counts: np.ndarray, slot: int) -> None:
    """Take one vehicle out of the pool and give its slot back."""
    place = place_in_pool(vehicles, pool, counts[POOL], vehicles[slot].priority)
    counts[POOL] -= 1
    for i in range(place, counts[POOL]):
        pool[i] = pool[i + 1]
    free[counts[FREE]] = slot
    counts[FREE] += 1


@kernel
def drop_ended(vehicles: np.ndarray, pool: np.ndarray, free: np.ndarray, counts: np.ndarray) -> None:
    """Take all vehicles that have ended out of the pool and give their slots back."""
    kept = 0
    for i in range(counts[POOL]):
        slot = pool[i]
        if vehicles[slot].ended:
            free[counts[FREE]] = slot
            counts[FREE] += 1
        else:
            pool[kept] = slot
            kept += 1
    counts[POOL] = kept


@inlined
def append(n: NetworkArrays, s: State, drivable: int, v: int) -> None:
    """Put a vehicle at the rear of a drivable."""
    vehicle = s.vehicles[v]
    tail = s.last[drivable]
    vehicle.ahead = tail
    vehicle.behind = NONE
    if tail == NONE:
        s.first[drivable] = v
        include(s.occupied, drivable)
    else:
        s.vehicles[tail].behind = v
    s.last[drivable] = v
    s.size[drivable] += 1
    lanes = n.lane_road.size
    if drivable >= lanes:
        s.departing[n.link_from[drivable - lanes]] += 1


@inlined
def unlink(n: NetworkArrays, s: State, drivable: int, v: int) -> None:
    """Take a vehicle out of the list of a drivable."""
    vehicle = s.vehicles[v]
    ahead, behind = vehicle.ahead, vehicle.behind
    if ahead == NONE:
        s.first[drivable] = behind
    else:
        s.vehicles[ahead].behind = behind
    if behind == NONE:
        s.last[drivable] = ahead
    else:
        s.vehicles[behind].ahead = ahead
    s.size[drivable] -= 1
    if s.size[drivable] == 0:
        exclude(s.occupied, drivable)
    lanes = n.lane_road.size
    if drivable >= lanes:
        s.departing[n.link_from[drivable - lanes]] -= 1


@kernel
def leads_to(
    leaving_starts: np.ndarray, leaving: np.ndarray, link_to: np.ndarray, lane_road: np.ndarray, lane: int, road: int
) -> bool:
    """Whether some lane link leaves `lane` for `road`."""
    for i in range(leaving_starts[lane], leaving_starts[lane + 1]):
        if lane_road[link_to[leaving[i]]] == road:
            return True
    return False


@kernel
def following_drivable(
    lane_road: np.ndarray,
    lane_index: np.ndarray,
    leaving_starts: np.ndarray,
    leaving: np.ndarray,
    link_to: np.ndarray,
    route: np.ndarray,
    position: int,
    drivable: int,
) -> int:
    """The drivable after `drivable` for a vehicle on the roads `route`, at `position` or farther; NONE at the end, or
    where the lane has no link that goes on.

    Of the links to the next road, from whose end the road after that can be reached, the one whose end lane is nearest
    in number to the present lane.
    """
    lanes = lane_road.size
    if drivable >= lanes:
        return link_to[drivable - lanes]
    place = position
    while place < route.size and route[place] != lane_road[drivable]:
        place += 1
    if place >= route.size - 1:
        return NONE
    best, least = NONE, NEVER
    for i in range(leaving_starts[drivable], leaving_starts[drivable + 1]):
        link = leaving[i]
        end = link_to[link]
        if lane_road[end] != route[place + 1]:
            continue
        if place + 2 < route.size and not leads_to(
            leaving_starts, leaving, link_to, lane_road, end, route[place + 2]
        ):
            continue
        difference = abs(lane_index[end] - lane_index[drivable])
        if difference < least:
            best, least = lanes + link, difference
    return best


@kernel
def extend_plan(
    lane_road: np.ndarray,
    lane_index: np.ndarray,
    leaving_starts: np.ndarray,
    leaving: np.ndarray,
    link_to: np.ndarray,
    route_starts: np.ndarray,
    route_roads: np.ndarray,
    vehicles: np.ndarray,
    plans: np.ndarray,
    v: int,
    i: int,
) -> int:
    """The i-th next drivable of a vehicle, where its plan is not yet that long; NONE if there is none."""
    vehicle = vehicles[v]
    route = route_roads[route_starts[vehicle.route] : route_starts[vehicle.route + 1]]
    length = vehicle.plan_length
    drivable = vehicle.drivable if length == 0 else plans[v, length - 1]
    while length <= i:
        drivable = following_drivable(
            lane_road, lane_index, leaving_starts, leaving, link_to, route, vehicle.route_position, drivable
        )
        if drivable == NONE:
            return NONE
        if length < PLAN:
            plans[v, length] = drivable
            vehicle.plan_length = length + 1
        length += 1
    return drivable


@inlined
def planned(n: NetworkArrays, s: State, v: int, i: int) -> int:
    """The i-th next drivable of a vehicle, from 0; NONE if there is none."""
    if s.vehicles[v].plan_length > i:
        return s.plans[v, i]
    return extend_plan(
        n.lane_road,
        n.lane_index,
        n.leaving_starts,
        n.leaving,
        n.link_to,
        s.route_starts,
        s.route_roads,
        s.vehicles,
        s.plans,
        v,
        i,
    )


@inlined
def look_for_leader(n: NetworkArrays, s: State, v: int) -> None:
    """Leader and gap of a vehicle with nobody ahead on its drivable: whoever is next on its way within its horizon.

    At a lane link, everybody who left the same lane counts, whichever link they took. Without leader the gap stays.
    """
    vehicle = s.vehicles[v]
    lanes = n.lane_road.size
    vehicle.leader = NONE
    far = n.length[vehicle.drivable] - vehicle.distance
    horizon = s.kinds[vehicle.kind].look_ahead
    i = 0
    while True:
        drivable = planned(n, s, v, i)
        if drivable == NONE:
            break
        found, nearest = NONE, 0.0
        if drivable >= lanes:
            lane = n.link_from[drivable - lanes]
            if s.departing[lane] > 0:
                for j in range(n.leaving_starts[lane], n.leaving_starts[lane + 1]):
                    other = s.last[lanes + n.leaving[j]]
                    if other != NONE:
                        gap = far + s.vehicles[other].distance - s.kinds[s.vehicles[other].kind].length
                        if found == NONE or gap < nearest:
                            found, nearest = other, gap
        else:
            found = s.last[drivable]
            if found != NONE:
                nearest = far + s.vehicles[found].distance - s.kinds[s.vehicles[found].kind].length
        if found != NONE:
            vehicle.leader = found
            vehicle.gap = nearest
            break
        far += n.length[drivable]
        if far > horizon:
            break
        i += 1


@inlined
def set_leader(n: NetworkArrays, s: State, v: int, ahead: int) -> None:
    """Leader and gap of a vehicle behind `ahead` on its drivable, or at the front of it (NONE)."""
    if ahead == NONE:
        look_for_leader(n, s, v)
    else:
        vehicle, leader = s.vehicles[v], s.vehicles[ahead]
        vehicle.leader = ahead
        vehicle.gap = leader.distance - s.kinds[leader.kind].length - vehicle.distance


@kernel
def status_of(counts: np.ndarray) -> int:
    """How the last step ended."""
    return counts[STATUS]
