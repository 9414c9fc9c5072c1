"""Lane changes: vehicles that want another lane signal to their neighbours there, and a shadow occupies the second lane
until the change is complete.

CityFlow visits vehicles in the order of their memory addresses, so its results with lane changes are not reproducible.
Here vehicles are visited in ascending order of priority, with stable sorts, and gaps start at zero: a fixed order that
CityFlow could have taken.
"""

from __future__ import annotations

from envs.traffic.engine.basics import (
    ends_on,
    following_drivable,
    inlined,
    kernel,
    look_for_leader,
    next_member,
    set_leader,
    take_slot,
)
from envs.traffic.engine.driving import (
    NOT_YIELDING,
    braked_speed,
    decide_movement,
    larger,
    safe_speed,
    smaller,
    speed_to_lane_end,
    wanted_speed,
)
from envs.traffic.engine.queues import forget_onward, insert, note_onward
from envs.traffic.engine.state import (
    CULPRIT,
    NOT_PAIRED,
    POOL,
    REAL,
    RUNNING,
    SHADOW,
    STATUS,
    STEP,
    STRANDED,
    Lanes,
    Pool,
    Traffic,
)
from envs.traffic.network.layout import NONE
from envs.traffic.network.map import Map

PAUSE = 3.0
"""Seconds after a change before a vehicle may want another."""
NO_CHANGE_ZONE = 30.0
"""Metres before the end of a lane within which vehicles do not want to change."""
SIDEWAYS, LEAST_SIDEWAYS = 0.2, 1.0
"""Lateral speed: a fraction of the speed, and its minimum in m/s."""
UNLIMITED = 1.7976931348623157e308


@kernel
def change_lanes(m: Map, t: Traffic, p: Pool, k: Lanes, dt: float) -> None:
    """Find the vehicles that want to change, let them signal to their neighbours, and begin the changes that are
    safe."""
    cut_segments(m, t, k)
    count = 0
    for i in range(t.counts[POOL]):
        v = p.members[i]
        vehicle = t.vehicles[v]
        if not vehicle.running or vehicle.partner_type == SHADOW:
            continue
        if not vehicle.changing and t.counts[STEP] * dt - vehicle.last_change >= PAUSE:
            make_signal(m, t, k, v, dt)
        wants = vehicle.sends and vehicle.signal_target != NONE and vehicle.signal_target != vehicle.drivable
        if wants or vehicle.changing:
            p.moved[count] = v
            count += 1
    for i in range(count):
        v = p.moved[i]
        find_target_neighbours(m, t, k, v)
        send_signal(t, v, t.vehicles[v].target_leader)
        send_signal(t, v, t.vehicles[v].target_follower)
        if may_change(m, t, v):
            insert_shadow(m, t, p, k, v)


@kernel
def cut_segments(m: Map, t: Traffic, k: Lanes) -> None:
    """Divide the vehicles of every lane among its equal segments, from the front on; the first takes the rest."""
    for place in range(k.segment_starts[m.lanes]):
        k.segment_first[place] = k.segment_last[place] = NONE
    lane = next_member(t.occupied, 0, m.drivables)
    while 0 <= lane < m.lanes:
        v, parts = t.queues[lane].first, m.places[lane].segments
        for part in range(parts - 1, -1, -1):
            start, place = part * m.places[lane].length / parts, k.segment_starts[lane] + part
            while v != NONE and (part == 0 or t.vehicles[v].distance >= start):
                vehicle = t.vehicles[v]
                vehicle.segment = part
                vehicle.segment_ahead = k.segment_last[place]
                vehicle.segment_behind = NONE
                if vehicle.segment_ahead == NONE:
                    k.segment_first[place] = v
                else:
                    t.vehicles[vehicle.segment_ahead].segment_behind = v
                k.segment_last[place] = v
                v = vehicle.behind
        lane = next_member(t.occupied, lane + 1, m.drivables)


@inlined
def next_at_or_after(m: Map, t: Traffic, k: Lanes, lane: int, distance: float, segment: int) -> int:
    """The nearest vehicle of a lane at or ahead of `distance`, searching forwards from the given segment."""
    found, part = NONE, segment
    while found == NONE and part < m.places[lane].segments:
        v = k.segment_last[k.segment_starts[lane] + part]
        while v != NONE and t.vehicles[v].distance < distance:
            v = t.vehicles[v].segment_ahead
        found = v
        part += 1
    return found


@inlined
def next_before(t: Traffic, k: Lanes, lane: int, distance: float, segment: int) -> int:
    """The nearest vehicle of a lane behind `distance`, searching backwards from the given segment."""
    found, part = NONE, segment
    while found == NONE and part >= 0:
        v = k.segment_first[k.segment_starts[lane] + part]
        while v != NONE and t.vehicles[v].distance >= distance:
            v = t.vehicles[v].segment_behind
        found = v
        part -= 1
    return found


@inlined
def room_on(m: Map, t: Traffic, k: Lanes, v: int, lane: int) -> float:
    """The gap ahead that a vehicle would have on another lane of its road."""
    vehicle = t.vehicles[v]
    other = next_at_or_after(m, t, k, lane, vehicle.distance, vehicle.segment)
    if other == NONE:
        room = m.places[lane].length - vehicle.distance
    else:
        room = t.vehicles[other].distance - vehicle.distance - t.kinds[t.vehicles[other].kind].length
    return room


@inlined
def leads_on(m: Map, t: Traffic, v: int, lane: int) -> bool:
    """Whether a vehicle could follow its route from another lane of its road."""
    vehicle = t.vehicles[v]
    place, end = t.route_starts[vehicle.route] + vehicle.route_position, t.route_starts[vehicle.route + 1]
    return ends_on(t, v, m.places[lane].road) or following_drivable(m, t.route_roads, place, end, lane) != NONE


@kernel
def make_signal(m: Map, t: Traffic, k: Lanes, v: int, dt: float) -> None:
    """Determine the lane that a vehicle wants, if any: one with more room ahead."""
    vehicle = t.vehicles[v]
    vehicle.sends, vehicle.signal_target, vehicle.signal_direction = True, NONE, 0
    lane = vehicle.drivable
    if lane >= m.lanes:
        return
    kind = t.kinds[vehicle.kind]
    current = vehicle.gap
    if (
        m.places[lane].length - vehicle.distance < NO_CHANGE_ZONE
        or current > 2 * kind.length + 4 * dt * kind.max_speed
        or current < 1.5 * kind.length
    ):
        return
    road, outer_room = m.places[lane].road, 0.0
    if lane + 1 < m.road_lane_starts[road + 1] and leads_on(m, t, v, lane + 1):
        outer_room = room_on(m, t, k, v, lane + 1)
        if outer_room > current + kind.length:
            vehicle.signal_target, vehicle.signal_direction = lane + 1, 1
    if lane > m.road_lane_starts[road] and leads_on(m, t, v, lane - 1):
        inner_room = room_on(m, t, k, v, lane - 1)
        if inner_room > current + kind.length and inner_room > outer_room:
            vehicle.signal_target, vehicle.signal_direction = lane - 1, -1


@kernel
def find_target_neighbours(m: Map, t: Traffic, k: Lanes, v: int) -> None:
    """Find the vehicles that would be ahead of and behind a vehicle on its target lane, and the gaps to them."""
    vehicle = t.vehicles[v]
    target = vehicle.signal_target
    segment = min(vehicle.segment, m.places[target].segments - 1)  # the vehicle may be moving to another road
    leader = next_at_or_after(m, t, k, target, vehicle.distance, segment)
    if leader != NONE:
        other = t.vehicles[leader]
        vehicle.leader_gap = other.distance - vehicle.distance - t.kinds[other.kind].length
    else:
        rest = m.places[vehicle.drivable].length - vehicle.distance
        vehicle.leader_gap = rest
        nearest = UNLIMITED
        for i in range(m.places[target].leaving, m.places[target].leaving_end):
            u = t.queues[m.leaving[i]].last
            if u != NONE and t.vehicles[u].distance + rest < nearest:
                nearest = t.vehicles[u].distance + rest
                length = t.kinds[t.vehicles[u].kind].length
                if nearest < length:
                    leader = u
                    vehicle.leader_gap = rest - (length - nearest)
    vehicle.target_leader = leader
    follower = next_before(t, k, target, vehicle.distance, segment)
    vehicle.target_follower = follower
    vehicle.follower_gap = UNLIMITED
    if follower != NONE:
        vehicle.follower_gap = vehicle.distance - t.vehicles[follower].distance - t.kinds[vehicle.kind].length


@kernel
def send_signal(t: Traffic, v: int, receiver: int) -> None:
    """Signal the wish of vehicle v to a neighbour, which heeds the signal of the highest priority."""
    if receiver == NONE or t.vehicles[receiver].changing:
        return
    other, priority = t.vehicles[receiver], t.vehicles[v].priority
    last = other.received
    if (last == NONE or t.vehicles[last].priority < priority) and (not other.sends or other.priority < priority):
        other.received = v


@inlined
def braking_distance(t: Traffic, v: int) -> float:
    """Distance in metres to a stop at full braking; 0 for NONE."""
    distance = 0.0
    if v != NONE:
        vehicle = t.vehicles[v]
        distance = 0.5 * vehicle.speed * vehicle.speed / t.kinds[vehicle.kind].max_deceleration
    return distance


@inlined
def may_change(m: Map, t: Traffic, v: int) -> bool:
    """Whether a vehicle that wants to change can begin its change now."""
    vehicle = t.vehicles[v]
    return (
        not vehicle.changing
        and vehicle.received == NONE
        and vehicle.leader_gap >= braking_distance(t, v)
        and vehicle.follower_gap >= braking_distance(t, vehicle.target_follower)
        and vehicle.drivable < m.lanes
    )


@kernel
def insert_shadow(m: Map, t: Traffic, p: Pool, k: Lanes, v: int) -> None:
    """Begin a change: a shadow, a second vehicle with the same motion, is inserted into the target lane."""
    w = take_slot(t.vehicles, p, t.counts, 0)
    priority = t.vehicles[w].priority
    t.vehicles[w], p.tallies[w] = t.vehicles[v], p.tallies[v]
    vehicle, shadow = t.vehicles[v], t.vehicles[w]
    lane = vehicle.signal_target
    shadow.priority = priority
    shadow.drivable = lane
    shadow.sends = shadow.changing = shadow.has_custom_speed = False
    shadow.received = shadow.target_leader = shadow.target_follower = shadow.signal_target = NONE
    shadow.blocker = NONE
    shadow.leader_gap = shadow.follower_gap = shadow.last_change = 0.0
    shadow.plan_length = 0
    start, position = t.route_starts[vehicle.route], 0
    while t.route_roads[start + position] != m.places[lane].road:
        position += 1
    shadow.route_position = position
    vehicle.changing = True
    vehicle.partner, vehicle.partner_type = w, REAL
    shadow.partner, shadow.partner_type = v, SHADOW
    t.counts[RUNNING] += 1
    _insert_ahead_of(m, t, lane, vehicle.target_follower, w)
    _insert_into_segment(t, k, k.segment_starts[lane] + vehicle.segment, w)
    leader = vehicle.target_leader
    if leader != NONE and t.vehicles[leader].drivable == lane:
        set_leader(m, t, w, leader)
    else:
        look_for_leader(m, t, w)
    if vehicle.target_follower != NONE:
        set_leader(m, t, vehicle.target_follower, w)


@inlined
def _insert_ahead_of(m: Map, t: Traffic, lane: int, follower: int, v: int) -> None:
    """Insert a vehicle into the list of a lane just ahead of `follower`, or at the rear if that is NONE."""
    ahead = t.queues[lane].last if follower == NONE else t.vehicles[follower].ahead
    if ahead == NONE:
        forget_onward(t, lane)
    insert(m, t, lane, v, ahead, follower)
    if ahead == NONE:
        note_onward(m, t, lane)


@inlined
def _insert_into_segment(t: Traffic, k: Lanes, place: int, v: int) -> None:
    """Insert a vehicle into a segment of a lane, ahead of the first vehicle that is not farther along."""
    behind, ahead = k.segment_first[place], NONE
    while behind != NONE and t.vehicles[behind].distance > t.vehicles[v].distance:
        ahead = behind
        behind = t.vehicles[behind].segment_behind
    t.vehicles[v].segment_ahead, t.vehicles[v].segment_behind = ahead, behind
    if ahead == NONE:
        k.segment_first[place] = v
    else:
        t.vehicles[ahead].segment_behind = v
    if behind == NONE:
        k.segment_last[place] = v
    else:
        t.vehicles[behind].segment_ahead = v


@inlined
def yielding_speed(t: Traffic, v: int, dt: float) -> float:
    """Speed that lets the vehicle whose signal this one received move in ahead of it."""
    vehicle = t.vehicles[v]
    result = NOT_YIELDING
    if vehicle.received != NONE:
        source = t.vehicles[vehicle.received]
        if source.target_leader != v:
            kind = t.kinds[vehicle.kind]
            gap = source.follower_gap - braking_distance(t, source.target_follower)
            speed = safe_speed(
                kind.brake_a,
                kind.brake_4a,
                kind.brake_half_over_a,
                source.speed,
                t.kinds[source.kind].max_deceleration,
                vehicle.speed,
                gap,
                0.0,
                dt,
            )
            result = speed if speed >= 0 else NOT_YIELDING
    return result


@kernel
def changing_speed(m: Map, t: Traffic, v: int, dt: float) -> float:
    """The next speed of a vehicle in simulations with lane changes."""
    result = smaller(wanted_speed(m, t, v, dt), yielding_speed(t, v, dt))
    return braked_speed(t, v, speed_to_lane_end(m, t, v, result, dt), dt)


@kernel
def decide_with_lane_changes(m: Map, t: Traffic, p: Pool, dt: float) -> int:
    """Decide the movement of every vehicle; returns the number that leave their drivable, listed in `moved`."""
    for i in range(t.counts[POOL]):
        v = p.members[i]
        vehicle = t.vehicles[v]
        if not vehicle.running:
            continue
        if vehicle.speed_ready:
            vehicle.speed_ready = False
        else:
            vehicle.next_speed = changing_speed(m, t, v, dt)
            if vehicle.partner_type != NOT_PAIRED:
                partner = t.vehicles[vehicle.partner]
                shared = smaller(vehicle.next_speed, changing_speed(m, t, vehicle.partner, dt))
                vehicle.next_speed = partner.next_speed = shared
                partner.speed_ready = True
        if not decide_movement(m, t, v, vehicle.next_speed, dt):
            t.counts[STATUS], t.counts[CULPRIT] = STRANDED, v
        if vehicle.partner_type == SHADOW and vehicle.moves and vehicle.next_drivable != vehicle.drivable:
            vehicle.ended = vehicle.counted = vehicle.moves = True
            _part(t, vehicle.partner)
        elif vehicle.partner_type == REAL and vehicle.changing:
            _drift(m, t, v, dt)
    return _collect(m, t, p)


@inlined
def _part(t: Traffic, v: int) -> None:
    """End the change of a vehicle, which stays on its lane without its partner."""
    t.vehicles[v].changing = False
    t.vehicles[v].partner_type, t.vehicles[v].partner, t.vehicles[v].offset = NOT_PAIRED, NONE, 0.0


@inlined
def _drift(m: Map, t: Traffic, v: int, dt: float) -> None:
    """Move a changing vehicle sideways; once it is across, its shadow becomes the vehicle."""
    vehicle = t.vehicles[v]
    farthest = (m.widths[vehicle.drivable] + m.widths[vehicle.signal_target]) / 2
    direction = vehicle.signal_direction
    across = larger(SIDEWAYS * vehicle.next_speed, LEAST_SIDEWAYS) * dt * direction
    offset = smaller(abs(vehicle.offset + across), farthest)
    vehicle.offset = offset * direction
    if offset >= farthest:
        _part(t, vehicle.partner)
        vehicle.ended, vehicle.counted, vehicle.moves = True, False, True


@inlined
def _collect(m: Map, t: Traffic, p: Pool) -> int:
    """Collect the vehicles that leave their drivable, drivable by drivable. If one of a pair has reached the end of its
    route, the pair is separated; the shadow of a vehicle that has ended is removed with it."""
    for i in range(t.counts[POOL]):
        vehicle = t.vehicles[p.members[i]]
        if vehicle.running and vehicle.ended and vehicle.partner_type != NOT_PAIRED:
            partner = t.vehicles[vehicle.partner]
            if not partner.ended:
                if vehicle.partner_type == REAL and vehicle.counted:
                    partner.ended, partner.counted, partner.moves = True, False, True
                elif vehicle.partner_type == SHADOW:
                    _part(t, vehicle.partner)
    count = 0
    drivable = next_member(t.occupied, 0, m.drivables)
    while drivable >= 0:
        v = t.queues[drivable].first
        while v != NONE:
            if t.vehicles[v].moves:
                p.moved[count] = v
                count += 1
            v = t.vehicles[v].behind
        drivable = next_member(t.occupied, drivable + 1, m.drivables)
    return count


@kernel
def forget_signals(t: Traffic, p: Pool) -> None:
    """Clear all signals, which are valid for one step; a changing vehicle keeps the one it sent."""
    for i in range(t.counts[POOL]):
        vehicle = t.vehicles[p.members[i]]
        if vehicle.running:
            vehicle.target_leader = vehicle.target_follower = NONE
            if not vehicle.changing:
                vehicle.sends = False
                vehicle.received = NONE
