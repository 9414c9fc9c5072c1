"""Building blocks of the kernels: bit sets, the random generator, the pool, and plans of the next drivables.

All kernels use the same names: `m` for the `Map`, `t` for `Traffic`, `p` for the `Pool`, `w` for `Sources`, `k` for
`Lanes`, `f` for `FlowArrays`, `v` for a vehicle's slot, `dt` for the seconds of a step. Lane links are numbered as
drivables. Functions marked `inlined` are inlined into the kernels that use them. Compiled code is cached between runs.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from envs.traffic.engine.pointer import prefetch
from envs.traffic.engine.state import FREE, PLAN, POOL, RANDOM, TWISTER, UNKNOWN, Pool, Traffic
from envs.traffic.network.layout import LINE, NEVER, NONE
from envs.traffic.network.map import Map

kernel = njit(cache=True, error_model="numpy", nogil=True)
inlined = njit(inline="always", error_model="numpy")

FARTHEST = 1000
"""Maximum number of drivables beyond those of its route that a vehicle looks ahead, on a route with cycles."""

_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_ONE = np.uint64(1)
_ZERO = np.uint64(0)
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_SHIFT = np.uint64(58)
_POSITIONS = np.zeros(64, dtype=np.int64)
for _bit in range(64):
    _POSITIONS[((1 << _bit) * int(_DE_BRUIJN) & int(_ALL)) >> 58] = _bit


@kernel
def next_member(words: np.ndarray, start: int, end: int) -> int:
    """The smallest member, from `start` on, of a bit set whose members are below `end`; -1 if there is none."""
    word, limit = start >> 6, (end + 63) >> 6
    if word >= limit:
        return -1
    bits = words[word] & (_ALL << np.uint64(start & 63))
    while bits == _ZERO:
        word += 1
        if word == limit:
            return -1
        bits = words[word]
    lowest = bits & (~bits + _ONE)
    return (word << 6) + _POSITIONS[(lowest * _DE_BRUIJN) >> _SHIFT]


@kernel
def next_members(words: np.ndarray, start: int, end: int) -> tuple[int, int, int, int, int]:
    """The five smallest members from `start` on; -1 where there are fewer."""
    first = next_member(words, start, end)
    second = -1 if first < 0 else next_member(words, first + 1, end)
    third = -1 if second < 0 else next_member(words, second + 1, end)
    fourth = -1 if third < 0 else next_member(words, third + 1, end)
    return first, second, third, fourth, -1 if fourth < 0 else next_member(words, fourth + 1, end)


@inlined
def fetch_ahead(m: Map, t: Traffic, second: int, third: int, fourth: int, fifth: int, end: int) -> int:
    """Prefetch the data of the drivables to be visited next, in stages: more for nearer ones; -1 where there are fewer.
    Returns the drivable after the fifth, below `end`.

    For the first vehicle on a drivable it is known early enough whether it approaches an intersection; if so, its next
    lane link is prefetched, then the lane behind that and the links it crosses.
    """
    following = -1
    if fifth >= 0:
        following = next_member(t.occupied, fifth + 1, end)
        if following >= 0:
            prefetch(t.queues, following, 0)
            prefetch(m.places, following, 0)
    if fourth >= 0:
        prefetch(t.vehicles, t.queues[fourth].first, 0)
    if third >= 0:
        link = link_in_sight(m, t, third)
        if link >= 0:
            prefetch(m.places, link, 0)
            prefetch(t.alerts, link, 0)
    if second >= 0:
        prefetch(t.vehicles, t.vehicles[t.queues[second].first].leader, 0)
        link = link_in_sight(m, t, second)
        if link >= 0:
            prefetch(t.queues, m.places[link].end, 0)
            prefetch(m.foes, m.places[link].crosses, 0)
    return following


@inlined
def link_in_sight(m: Map, t: Traffic, drivable: int) -> int:
    """The lane link that the first vehicle of a drivable is on or approaches; negative if there is none."""
    link = drivable
    if drivable < m.lanes:
        vehicle = t.vehicles[t.queues[drivable].first]
        link = t.queues[drivable].onward
        if m.places[drivable].length - vehicle.distance > t.kinds[vehicle.kind].look_ahead:
            link = -1
    return link


@inlined
def fetch_behind(m: Map, t: Traffic, v: int) -> None:
    """Prefetch the vehicle behind `v`, which is visited next, and its plan if that may be needed."""
    vehicle = t.vehicles[v]
    prefetch(t.vehicles, vehicle.behind, 0)
    if m.places[vehicle.drivable].length - vehicle.distance <= t.kinds[vehicle.kind].look_ahead:
        prefetch(t.vehicles, vehicle.behind, LINE)
        prefetch(t.plans, vehicle.behind * PLAN, 0)


@kernel
def include(words: np.ndarray, member: int) -> None:
    """Add a number to a bit set."""
    words[member >> 6] |= _ONE << np.uint64(member & 63)


@kernel
def exclude(words: np.ndarray, member: int) -> None:
    """Remove a number from a bit set."""
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
    return y  # type: ignore[return-value]


@kernel
def place_in_pool(priorities: np.ndarray, start: int, end: int, priority: int) -> int:
    """The position that a vehicle of this priority has, or would have, among the sorted members of the pool in [start,
    end)."""
    low, high = start, end
    while low < high:
        middle = (low + high) >> 1
        if priorities[middle] < priority:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def take_slot(vehicles: np.ndarray, p: Pool, counts: np.ndarray, settled: int) -> int:
    """A slot for a new vehicle, which gets a unique priority.

    The priority consists of 32 random bits, read as a signed integer and redrawn while it is in use. The first
    `settled` members of the pool are sorted, and so are those after them; `settle` merges the two. With `settled` = 0,
    the vehicle is inserted at its final position at once.
    """
    while True:
        priority = draw(p.random, counts)
        if priority >= 0x80000000:
            priority -= 0x100000000
        place = place_in_pool(p.priorities, 0, settled, priority)
        if place < settled and p.priorities[place] == priority:
            continue
        place = place_in_pool(p.priorities, settled, counts[POOL], priority)
        if place == counts[POOL] or p.priorities[place] != priority:
            break
    counts[FREE] -= 1
    slot = p.free[counts[FREE]]
    for i in range(counts[POOL], place, -1):
        p.members[i], p.priorities[i] = p.members[i - 1], p.priorities[i - 1]
    p.members[place], p.priorities[place] = slot, priority
    counts[POOL] += 1
    vehicles[slot].priority = priority
    return slot


@kernel
def settle(vehicles: np.ndarray, p: Pool, counts: np.ndarray, settled: int) -> None:
    """Merge the members of the pool after the first `settled` into these; both parts are sorted."""
    added, end, scratch = counts[POOL] - settled, settled, p.moved
    for i in range(added):
        scratch[i] = p.members[settled + i]
    for i in range(added - 1, -1, -1):
        priority = vehicles[scratch[i]].priority
        place = place_in_pool(p.priorities, 0, end, priority)
        for j in range(end - 1, place - 1, -1):
            p.members[j + i + 1], p.priorities[j + i + 1] = p.members[j], p.priorities[j]
        p.members[place + i], p.priorities[place + i] = scratch[i], priority
        end = place


@kernel
def drop_slot(vehicles: np.ndarray, p: Pool, counts: np.ndarray, slot: int) -> None:
    """Remove a vehicle from the pool and free its slot."""
    place = place_in_pool(p.priorities, 0, counts[POOL], vehicles[slot].priority)
    counts[POOL] -= 1
    for i in range(place, counts[POOL]):
        p.members[i], p.priorities[i] = p.members[i + 1], p.priorities[i + 1]
    p.free[counts[FREE]] = slot
    counts[FREE] += 1


@kernel
def drop_slots(vehicles: np.ndarray, p: Pool, counts: np.ndarray, dropped: np.ndarray, count: int) -> None:
    """Remove `count` vehicles from the pool and free their slots. dropped: their slots; overwritten."""
    for i in range(count):
        dropped[i] = place_in_pool(p.priorities, 0, counts[POOL], vehicles[dropped[i]].priority)
    sort_whole_numbers(dropped, count)
    for i in range(count):
        place, following = dropped[i], dropped[i + 1] if i + 1 < count else counts[POOL]
        p.free[counts[FREE]] = p.members[place]
        counts[FREE] += 1
        for j in range(place + 1, following):
            p.members[j - i - 1], p.priorities[j - i - 1] = p.members[j], p.priorities[j]
    counts[POOL] -= count


@kernel
def sort_whole_numbers(numbers: np.ndarray, count: int) -> None:
    """Sort the first `count` numbers in place (Shell's method)."""
    gap = 1
    while gap < count // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, count):
            number, j = numbers[i], i
            while j >= gap and numbers[j - gap] > number:
                numbers[j] = numbers[j - gap]
                j -= gap
            numbers[j] = number
        gap //= 3


@kernel
def leads_to(m: Map, lane: int, road: int) -> bool:
    """Whether some lane link leads from `lane` to `road`."""
    for i in range(m.places[lane].leaving, m.places[lane].leaving_end):
        if m.places[m.places[m.leaving[i]].end].road == road:
            return True
    return False


@kernel
def following_drivable(m: Map, roads: np.ndarray, place: int, end: int, drivable: int) -> int:
    """The drivable after `drivable` for a vehicle whose route is `roads` in [place, end); NONE at the end of the route,
    or if the lane has no suitable link.

    Among the links to the next road from whose end the road after that can be reached, this is the one whose end lane
    is nearest in index to the current lane.
    """
    if drivable >= m.lanes:
        return m.places[drivable].end
    while place < end and roads[place] != m.places[drivable].road:
        place += 1
    if place >= end - 1:
        return NONE
    best, least = NONE, NEVER
    for i in range(m.places[drivable].leaving, m.places[drivable].leaving_end):
        lane = m.places[m.leaving[i]].end
        if m.places[lane].road != roads[place + 1]:
            continue
        if place + 2 < end and not leads_to(m, lane, roads[place + 2]):
            continue
        difference = abs(m.places[lane].index - m.places[drivable].index)
        if difference < least:
            best, least = m.leaving[i], difference
    return best


@kernel
def extend_plan(m: Map, t: Traffic, v: int, i: int) -> int:
    """The i-th next drivable of a vehicle whose plan is not yet that long; NONE if there is none.

    NONE becomes part of the plan as well, because on a route that visits a road twice the result could differ later.
    On such routes plans may also run in circles; they end `FARTHEST` drivables beyond the length of the route.
    """
    vehicle = t.vehicles[v]
    start, end = t.route_starts[vehicle.route], t.route_starts[vehicle.route + 1]
    place = start + vehicle.route_position
    length = vehicle.plan_length
    drivable = vehicle.drivable if length == 0 else t.plans[v * PLAN + length - 1]
    if drivable == NONE or i >= 2 * (end - start) + FARTHEST:
        return NONE
    while length <= i and drivable != NONE:
        drivable = following_drivable(m, t.route_roads, place, end, drivable)
        if length < PLAN:
            t.plans[v * PLAN + length] = drivable
            vehicle.plan_length = length + 1
        length += 1
    return drivable


@inlined
def planned(m: Map, t: Traffic, v: int, i: int) -> int:
    """The i-th next drivable of a vehicle, from 0; NONE if there is none."""
    if t.vehicles[v].plan_length > i:
        return t.plans[v * PLAN + i]
    return extend_plan(m, t, v, i)


@inlined
def next_drivable(m: Map, t: Traffic, v: int) -> int:
    """`planned(m, t, v, 0)`, without reading the plan if the result is known otherwise."""
    drivable = t.vehicles[v].drivable
    if drivable >= m.lanes:
        following = m.places[drivable].end
    elif t.queues[drivable].first == v and t.queues[drivable].onward != UNKNOWN:
        following = t.queues[drivable].onward
    else:
        following = planned(m, t, v, 0)
    return following


@inlined
def ends_on(t: Traffic, v: int, road: int) -> bool:
    """Whether `road` is the last road of a vehicle's route, which the route may also visit before."""
    return t.route_roads[t.route_starts[t.vehicles[v].route + 1] - 1] == road


@inlined
def sees_nobody(m: Map, t: Traffic, v: int) -> bool:
    """Whether a vehicle with none ahead on its drivable is on a lane whose end is beyond its horizon and whose outgoing
    links are empty."""
    vehicle = t.vehicles[v]
    far = m.places[vehicle.drivable].length - vehicle.distance
    beyond = far > t.kinds[vehicle.kind].look_ahead and vehicle.drivable < m.lanes
    return beyond and t.queues[vehicle.drivable].departing == 0


@kernel
def look_for_leader(m: Map, t: Traffic, v: int) -> None:
    """Set leader and gap of a vehicle with none ahead on its drivable: the next vehicle on its way within its horizon.

    Other vehicles are taken at the end of the step, at their `next_distance`, which equals `distance` between steps. At
    a lane link, all vehicles that left the same lane count, whichever link they took. Without a leader the gap stays.
    """
    vehicle = t.vehicles[v]
    vehicle.leader = NONE
    if sees_nobody(m, t, v):
        return
    far = m.places[vehicle.drivable].length - vehicle.distance
    horizon = t.kinds[vehicle.kind].look_ahead
    i = 0
    drivable = NONE
    while True:
        if i == 0:
            drivable = next_drivable(m, t, v)
        elif i == 1 and drivable >= m.lanes:
            drivable = m.places[drivable].end
        else:
            drivable = planned(m, t, v, i)
        if drivable == NONE:
            break
        found, nearest = NONE, 0.0
        if drivable >= m.lanes:
            lane = m.places[drivable].start
            if t.queues[lane].departing > 0:
                for j in range(m.places[lane].leaving, m.places[lane].leaving_end):
                    other = t.queues[m.leaving[j]].last
                    if other != NONE:
                        gap = far + t.vehicles[other].next_distance - t.kinds[t.vehicles[other].kind].length
                        if found == NONE or gap < nearest:
                            found, nearest = other, gap
        else:
            found = t.queues[drivable].last
            if found != NONE:
                nearest = far + t.vehicles[found].next_distance - t.kinds[t.vehicles[found].kind].length
        if found != NONE:
            vehicle.leader = found
            vehicle.gap = nearest
            break
        far += m.places[drivable].length
        if far > horizon:
            break
        i += 1


@inlined
def follow(t: Traffic, v: int, ahead: int) -> None:
    """Set leader and gap of a vehicle behind `ahead` on its drivable."""
    vehicle, leader = t.vehicles[v], t.vehicles[ahead]
    vehicle.leader = ahead
    vehicle.gap = leader.distance - t.kinds[leader.kind].length - vehicle.distance


@inlined
def set_leader(m: Map, t: Traffic, v: int, ahead: int) -> None:
    """Set leader and gap of a vehicle behind `ahead` on its drivable, or at its front if `ahead` is NONE."""
    if ahead == NONE:
        look_for_leader(m, t, v)
    else:
        follow(t, v, ahead)
