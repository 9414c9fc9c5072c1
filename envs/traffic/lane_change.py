"""Lane changes: who wants another lane and tells its neighbours there, and the shadow that drives on both lanes until
the change is done.

CityFlow itself visits vehicles in the order of their memory addresses, so that its results with lane changes cannot be
repeated. Here they are visited in ascending order of priority, with stable sorts, and gaps start at zero: one of the
orders CityFlow could have taken, always the same.
"""

from __future__ import annotations

from envs.traffic.basics import (
    following_drivable,
    include,
    inlined,
    kernel,
    look_for_leader,
    next_member,
    planned,
    set_leader,
    take_slot,
)
from envs.traffic.driving import braked_speed, decide_movement, larger, safe_speed, smaller, wanted_speed
from envs.traffic.layout import NONE, NetworkArrays
from envs.traffic.state import (
    CULPRIT,
    NOT_PAIRED,
    POOL,
    REAL,
    RUNNING,
    SHADOW,
    STATUS,
    STEP,
    STRANDED,
    State,
)

PAUSE = 3.0
"""Seconds from one change of a vehicle to its next wish."""
NO_CHANGE_ZONE = 30.0
"""Metres before the end of a lane in which nobody wants to change."""
LINK_WIDTH = 4.0
"""Metres."""
SIDEWAYS, LEAST_SIDEWAYS = 0.2, 1.0
"""Speed across lanes: a share of the speed, but at least so many m/s."""
UNLIMITED = 1.7976931348623157e308
NOT_YIELDING = 100.0
"""m/s."""


@kernel
def change_lanes(n: NetworkArrays, s: State, dt: float) -> None:
    """Find out who wants to change, let them tell their neighbours, and begin the changes that are safe."""
    cut_segments(n, s)
    count = 0
    for i in range(s.counts[POOL]):
        v = s.pool[i]
        vehicle = s.vehicles[v]
        if not vehicle.running or vehicle.partner_type == SHADOW:
            continue
        if not vehicle.changing and s.counts[STEP] * dt - vehicle.last_change >= PAUSE:
            make_signal(n, s, v, dt)
        wants = vehicle.sends and vehicle.signal_target != NONE and vehicle.signal_target != vehicle.drivable
        if wants or vehicle.changing:
            s.moved[count] = v
            count += 1
    for i in range(count):
        v = s.moved[i]
        find_target_neighbours(n, s, v)
        send_signal(s, v, s.vehicles[v].target_leader)
        send_signal(s, v, s.vehicles[v].target_follower)
        if may_change(n, s, v):
            insert_shadow(n, s, v)


@kernel
def cut_segments(n: NetworkArrays, s: State) -> None:
    """Sort the vehicles of every lane into its equal parts, from the front on."""
    s.segment_first[:] = NONE
    s.segment_last[:] = NONE
    lane, lanes = next_member(s.occupied, 0), n.lane_road.size
    while 0 <= lane < lanes:
        v, parts = s.first[lane], n.lane_segments[lane]
        for part in range(parts - 1, -1, -1):
            start, place = part * n.length[lane] / parts, s.segment_starts[lane] + part
            while v != NONE and s.vehicles[v].distance >= start:
                vehicle = s.vehicles[v]
                vehicle.segment = part
                vehicle.segment_ahead = s.segment_last[place]
                vehicle.segment_behind = NONE
                if vehicle.segment_ahead == NONE:
                    s.segment_first[place] = v
                else:
                    s.vehicles[vehicle.segment_ahead].segment_behind = v
                s.segment_last[place] = v
                v = vehicle.behind
        lane = next_member(s.occupied, lane + 1)


@inlined
def next_at_or_after(n: NetworkArrays, s: State, lane: int, distance: float, segment: int) -> int:
    """The first vehicle of a lane that is not behind `distance`, looking from its part of the lane forwards."""
    found, part = NONE, segment
    while found == NONE and part < n.lane_segments[lane]:
        v = s.segment_last[s.segment_starts[lane] + part]
        while v != NONE and s.vehicles[v].distance < distance:
            v = s.vehicles[v].segment_ahead
        found = v
        part += 1
    return found


@inlined
def next_before(s: State, lane: int, distance: float, segment: int) -> int:
    """The first vehicle of a lane that is behind `distance`, looking from its part of the lane backwards."""
    found, part = NONE, segment
    while found == NONE and part >= 0:
        v = s.segment_first[s.segment_starts[lane] + part]
        while v != NONE and s.vehicles[v].distance >= distance:
            v = s.vehicles[v].segment_behind
        found = v
        part -= 1
    return found


@inlined
def room_on(n: NetworkArrays, s: State, v: int, lane: int) -> float:
    """Gap that a vehicle would have on another lane of its road."""
    vehicle = s.vehicles[v]
    other = next_at_or_after(n, s, lane, vehicle.distance, vehicle.segment)
    if other == NONE:
        room = n.length[lane] - vehicle.distance
    else:
        room = s.vehicles[other].distance - vehicle.distance - s.kinds[s.vehicles[other].kind].length
    return room


@inlined
def leads_on(n: NetworkArrays, s: State, v: int, lane: int) -> bool:
    """Whether a vehicle could follow its route from another lane of its road."""
    start = s.route_starts[s.vehicles[v].route]
    route = s.route_roads[start : s.route_starts[s.vehicles[v].route + 1]]
    position = s.vehicles[v].route_position
    return position == route.size - 1 or (
        following_drivable(
            n.lane_road, n.lane_index, n.leaving_starts, n.leaving, n.link_to, route, position, lane
        )
        != NONE
    )


@kernel
def make_signal(n: NetworkArrays, s: State, v: int, dt: float) -> None:
    """Let a vehicle say which lane it wants, if any: one with more room ahead."""
    vehicle = s.vehicles[v]
    vehicle.sends, vehicle.signal_target, vehicle.signal_direction = True, NONE, 0
    lane = vehicle.drivable
    if lane >= n.lane_road.size:
        return
    kind = s.kinds[vehicle.kind]
    current = vehicle.gap
    if (
        n.length[lane] - vehicle.distance < NO_CHANGE_ZONE
        or current > 2 * kind.length + 4 * dt * kind.max_speed
        or current < 1.5 * kind.length
    ):
        return
    road, outer_room = n.lane_road[lane], 0.0
    if lane + 1 < n.road_lane_starts[road + 1] and leads_on(n, s, v, lane + 1):
        outer_room = room_on(n, s, v, lane + 1)
        if outer_room > current + kind.length:
            vehicle.signal_target, vehicle.signal_direction = lane + 1, 1
    if lane > n.road_lane_starts[road] and leads_on(n, s, v, lane - 1):
        inner_room = room_on(n, s, v, lane - 1)
        if inner_room > current + kind.length and inner_room > outer_room:
            vehicle.signal_target, vehicle.signal_direction = lane - 1, -1


@kernel
def find_target_neighbours(n: NetworkArrays, s: State, v: int) -> None:
    """Who would be ahead of and behind a vehicle on the lane it wants, and the gaps to them."""
    vehicle = s.vehicles[v]
    target, lanes = vehicle.signal_target, n.lane_road.size
    leader = next_at_or_after(n, s, target, vehicle.distance, vehicle.segment)
    if leader != NONE:
        other = s.vehicles[leader]
        vehicle.leader_gap = other.distance - vehicle.distance - s.kinds[other.kind].length
    else:
        rest = n.length[vehicle.drivable] - vehicle.distance
        vehicle.leader_gap = rest
        nearest = UNLIMITED
        for i in range(n.leaving_starts[target], n.leaving_starts[target + 1]):
            u = s.last[lanes + n.leaving[i]]
            if u != NONE and s.vehicles[u].distance + rest < nearest:
                nearest = s.vehicles[u].distance + rest
                length = s.kinds[s.vehicles[u].kind].length
                if nearest < length:
                    leader = u
                    vehicle.leader_gap = rest - (length - nearest)
    vehicle.target_leader = leader
    follower = next_before(s, target, vehicle.distance, vehicle.segment)
    vehicle.target_follower = follower
    vehicle.follower_gap = UNLIMITED
    if follower != NONE:
        vehicle.follower_gap = (
            vehicle.distance - s.vehicles[follower].distance - s.kinds[vehicle.kind].length
        )


@kernel
def send_signal(s: State, v: int, receiver: int) -> None:
    """Tell a neighbour of the wish of vehicle v; it listens to the higher priority."""
    if receiver == NONE or s.vehicles[receiver].changing:
        return
    other, priority = s.vehicles[receiver], s.vehicles[v].priority
    heard = other.received
    if (heard == NONE or s.vehicles[heard].priority < priority) and (not other.sends or other.priority < priority):
        other.received = v


@inlined
def braking_distance(s: State, v: int) -> float:
    """Metres to a stop at full braking; 0 for nobody."""
    distance = 0.0
    if v != NONE:
        vehicle = s.vehicles[v]
        distance = 0.5 * vehicle.speed * vehicle.speed / s.kinds[vehicle.kind].max_deceleration
    return distance


@inlined
def may_change(n: NetworkArrays, s: State, v: int) -> bool:
    """Whether a vehicle that wants to change can begin now."""
    vehicle = s.vehicles[v]
    return (
        not vehicle.changing
        and vehicle.received == NONE
        and vehicle.leader_gap >= braking_distance(s, v)
        and vehicle.follower_gap >= braking_distance(s, vehicle.target_follower)
        and vehicle.drivable < n.lane_road.size
    )


@kernel
def insert_shadow(n: NetworkArrays, s: State, v: int) -> None:
    """Begin a change: a second vehicle with the same motion takes its place on the wanted lane."""
    w = take_slot(s.vehicles, s.pool, s.free, s.random, s.counts)
    priority = s.vehicles[w].priority
    s.vehicles[w] = s.vehicles[v]
    vehicle, shadow = s.vehicles[v], s.vehicles[w]
    lane = vehicle.signal_target
    shadow.priority = priority
    shadow.drivable = lane
    shadow.sends = shadow.changing = shadow.has_custom_speed = False
    shadow.received = shadow.target_leader = shadow.target_follower = shadow.signal_target = NONE
    shadow.blocker = NONE
    shadow.leader_gap = shadow.follower_gap = shadow.last_change = 0.0
    shadow.plan_length = 0
    start, position = s.route_starts[vehicle.route], 0
    while s.route_roads[start + position] != n.lane_road[lane]:
        position += 1
    shadow.route_position = position
    vehicle.changing = True
    vehicle.partner, vehicle.partner_type = w, REAL
    shadow.partner, shadow.partner_type = v, SHADOW
    s.counts[RUNNING] += 1
    _insert_ahead_of(s, lane, vehicle.target_follower, w)
    _insert_into_segment(s, s.segment_starts[lane] + vehicle.segment, w)
    leader = vehicle.target_leader
    if leader != NONE and s.vehicles[leader].drivable == lane:
        set_leader(n, s, w, leader)
    else:
        look_for_leader(n, s, w)
    if vehicle.target_follower != NONE:
        set_leader(n, s, vehicle.target_follower, w)


@inlined
def _insert_ahead_of(s: State, lane: int, follower: int, v: int) -> None:
    """Put a vehicle into the list of a lane just ahead of another, or at the rear (NONE)."""
    ahead = s.last[lane] if follower == NONE else s.vehicles[follower].ahead
    s.vehicles[v].ahead, s.vehicles[v].behind = ahead, follower
    if ahead == NONE:
        s.first[lane] = v
    else:
        s.vehicles[ahead].behind = v
    if follower == NONE:
        s.last[lane] = v
    else:
        s.vehicles[follower].ahead = v
    if s.size[lane] == 0:
        include(s.occupied, lane)
    s.size[lane] += 1


@inlined
def _insert_into_segment(s: State, place: int, v: int) -> None:
    """Put a vehicle into a part of a lane, before the first that is not farther along."""
    behind, ahead = s.segment_first[place], NONE
    while behind != NONE and s.vehicles[behind].distance > s.vehicles[v].distance:
        ahead = behind
        behind = s.vehicles[behind].segment_behind
    s.vehicles[v].segment_ahead, s.vehicles[v].segment_behind = ahead, behind
    if ahead == NONE:
        s.segment_first[place] = v
    else:
        s.vehicles[ahead].segment_behind = v
    if behind == NONE:
        s.segment_last[place] = v
    else:
        s.vehicles[behind].segment_ahead = v


@inlined
def yielding_speed(s: State, v: int, dt: float) -> float:
    """Speed that lets whoever told this vehicle of its wish come in ahead of it."""
    vehicle = s.vehicles[v]
    result = NOT_YIELDING
    if vehicle.received != NONE:
        source = s.vehicles[vehicle.received]
        if source.target_leader != v:
            kind = s.kinds[vehicle.kind]
            gap = source.follower_gap - braking_distance(s, source.target_follower)
            speed = safe_speed(
                kind.brake_a,
                kind.brake_4a,
                kind.brake_half_over_a,
                source.speed,
                s.kinds[source.kind].max_deceleration,
                vehicle.speed,
                gap,
                0.0,
                dt,
            )
            result = speed if speed >= 0 else NOT_YIELDING
    return result


@kernel
def changing_speed(n: NetworkArrays, s: State, v: int, dt: float) -> float:
    """The next speed of a vehicle where lanes can be changed; it also stops where its lane does not lead on."""
    vehicle = s.vehicles[v]
    result = smaller(wanted_speed(n, s, v, dt), yielding_speed(s, v, dt))
    last = s.route_starts[vehicle.route] + vehicle.route_position == s.route_starts[vehicle.route + 1] - 1
    if planned(n, s, v, 0) == NONE and not last:
        kind = s.kinds[vehicle.kind]
        end = safe_speed(
            kind.brake_a,
            kind.brake_4a,
            kind.brake_half_over_a,
            0.0,
            1.0,
            vehicle.speed,
            n.length[vehicle.drivable] - vehicle.distance,
            kind.min_gap,
            dt,
        )
        result = smaller(result, end)
    return braked_speed(s, v, result, dt)


@kernel
def decide_with_lane_changes(n: NetworkArrays, s: State, dt: float) -> int:
    """Decide the movement of every vehicle; returns how many leave their drivable, kept in `moved`."""
    for i in range(s.counts[POOL]):
        v = s.pool[i]
        vehicle = s.vehicles[v]
        if not vehicle.running:
            continue
        if vehicle.speed_ready:
            vehicle.speed_ready = False
        else:
            vehicle.next_speed = changing_speed(n, s, v, dt)
            if vehicle.partner_type != NOT_PAIRED:
                partner = s.vehicles[vehicle.partner]
                shared = smaller(vehicle.next_speed, changing_speed(n, s, vehicle.partner, dt))
                vehicle.next_speed = partner.next_speed = shared
                partner.speed_ready = True
        if not decide_movement(n, s, v, vehicle.next_speed, dt):
            s.counts[STATUS], s.counts[CULPRIT] = STRANDED, v
        if vehicle.partner_type == SHADOW and vehicle.next_drivable != vehicle.drivable:
            vehicle.ended = vehicle.counted = vehicle.moves = True
            _part(s, vehicle.partner)
        elif vehicle.partner_type == REAL and vehicle.changing:
            _drift(n, s, v, dt)
    return _collect(s)


@inlined
def _part(s: State, v: int) -> None:
    """End a change of a vehicle that stays where it is."""
    s.vehicles[v].changing = False
    s.vehicles[v].partner_type, s.vehicles[v].partner, s.vehicles[v].offset = NOT_PAIRED, NONE, 0.0


@inlined
def _drift(n: NetworkArrays, s: State, v: int, dt: float) -> None:
    """Move a changing vehicle sideways; across, its shadow becomes the vehicle."""
    vehicle = s.vehicles[v]
    width = n.lane_width[vehicle.drivable] if vehicle.drivable < n.lane_road.size else LINK_WIDTH
    farthest = (width + n.lane_width[vehicle.signal_target]) / 2
    direction = vehicle.signal_direction
    across = larger(SIDEWAYS * vehicle.next_speed, LEAST_SIDEWAYS) * dt * direction
    offset = smaller(abs(vehicle.offset + across), farthest)
    vehicle.offset = offset * direction
    if offset >= farthest:
        _part(s, vehicle.partner)
        vehicle.ended, vehicle.counted, vehicle.moves = True, False, True


@inlined
def _collect(s: State) -> int:
    """Gather who leaves its drivable, drivable by drivable. A pair of which one has reached the end of its route is
    separated: the shadow of a vehicle that has ended goes with it."""
    for i in range(s.counts[POOL]):
        vehicle = s.vehicles[s.pool[i]]
        if vehicle.running and vehicle.ended and vehicle.partner_type != NOT_PAIRED:
            partner = s.vehicles[vehicle.partner]
            if not partner.ended:
                if vehicle.partner_type == REAL and vehicle.counted:
                    partner.ended, partner.counted, partner.moves = True, False, True
                elif vehicle.partner_type == SHADOW:
                    _part(s, vehicle.partner)
    count = 0
    drivable = next_member(s.occupied, 0)
    while drivable >= 0:
        v = s.first[drivable]
        while v != NONE:
            if s.vehicles[v].moves:
                s.moved[count] = v
                count += 1
            v = s.vehicles[v].behind
        drivable = next_member(s.occupied, drivable + 1)
    return count


@kernel
def forget_signals(s: State) -> None:
    """What was said counts for one step, but a changing vehicle keeps its own signal."""
    for i in range(s.counts[POOL]):
        vehicle = s.vehicles[s.pool[i]]
        if vehicle.running:
            vehicle.target_leader = vehicle.target_follower = NONE
            if not vehicle.changing:
                vehicle.sends = False
                vehicle.received = NONE
