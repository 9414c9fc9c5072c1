"""Speed of vehicles: following the leader, stopping, and yielding where lane links cross.

Every formula is evaluated from left to right as written, in double precision, so that all results are bitwise equal to
CityFlow's. `smaller` and `larger` treat NaN as CityFlow does.
"""

from __future__ import annotations

import math

import numpy as np

from envs.traffic.engine.basics import ends_on, inlined, kernel, next_drivable, planned
from envs.traffic.engine.state import Traffic
from envs.traffic.network.layout import NONE
from envs.traffic.network.map import Map

YIELD_DISTANCE = 5.0
"""Distance before a cross at which a yielding vehicle stops, in metres."""
TURN_SPEED = 8.3333
"""Maximum speed at the beginning of a turn, m/s."""
SLOW = 2.0
"""Speed in m/s from which the last vehicle of a lane no longer blocks its entry."""
RANK_OF_RIGHT, RANK_OF_LEFT = 1, 2
FAR = 1.0
"""Margin in metres beyond the stopping distance from which the end of a lane is ignored; exceeds any rounding error."""
LEAST_A = 1e-9
"""Smallest half inverse of a deceleration, in s^2/m, for which braking distances are not lost in rounding."""
NOT_YIELDING = 100.0
"""Upper limit in m/s on the speed of vehicles that need not yield to a neighbour's lane change, and of all vehicles in
simulations without lane changes."""


@inlined
def smaller(x: float, y: float) -> float:
    """The smaller of two numbers; y if either is NaN."""
    return x if x < y else y


@inlined
def larger(x: float, y: float) -> float:
    """The larger of two numbers; y if either is NaN."""
    return x if x > y else y


@inlined
def is_turn(rank: int) -> bool:
    """Whether a lane link turns left or right."""
    return rank in (RANK_OF_LEFT, RANK_OF_RIGHT)


@inlined
def safe_speed(
    a: float,
    four_a: float,
    half_over_a: float,
    leader_speed: float,
    leader_deceleration: float,
    speed: float,
    gap: float,
    target: float,
    dt: float,
) -> float:
    """Largest next speed that still ends `target` metres behind a braking leader; -100 if there is none.

    a: half the inverse of the vehicle's deceleration, passed along with products of it.
    """
    c = speed * dt / 2 + target - 0.5 * leader_speed * leader_speed / leader_deceleration - gap
    b = 0.5 * dt
    under = b * b - four_a * c
    result = -100.0
    if not b * b < four_a * c:
        result = smaller(
            half_over_a * (math.sqrt(under) - b),
            2 * leader_speed - leader_deceleration * dt + 2 * (gap - target) / dt,
        )
    return result


@inlined
def following_speed(t: Traffic, v: int, dt: float) -> float:
    """Speed that keeps the distance to the leader, or a speed that was set from outside."""
    vehicle = t.vehicles[v]
    kind = t.kinds[vehicle.kind]
    result = kind.max_speed
    if vehicle.leader == NONE:
        if vehicle.has_custom_speed:
            result = vehicle.custom_speed
    else:
        leader = t.vehicles[vehicle.leader]
        of_leader = t.kinds[leader.kind]
        gap = vehicle.gap
        result = safe_speed(
            kind.brake_a,
            kind.brake_4a,
            kind.brake_half_over_a,
            leader.speed,
            of_leader.max_deceleration,
            vehicle.speed,
            gap,
            0.0,
            dt,
        )
        if vehicle.has_custom_speed:
            result = smaller(vehicle.custom_speed, result)
        else:
            excess = vehicle.speed - leader.speed if vehicle.speed > leader.speed else 0.0
            usual = safe_speed(
                kind.usual_a,
                kind.usual_4a,
                kind.usual_half_over_a,
                leader.speed,
                of_leader.usual_deceleration,
                vehicle.speed,
                gap,
                kind.min_gap,
                dt,
            )
            result = smaller(result, usual)
            headway = (gap + (leader.speed + excess / 2) * dt - vehicle.speed * dt / 2) / (kind.headway_time + dt / 2)
            result = smaller(result, headway)
    return result


@kernel
def stopping_speed(speed: float, acceleration: float, deceleration: float, distance: float, dt: float) -> float:
    """Next speed of a vehicle that is to stop after `distance` metres; NaN if speed and distance are zero."""
    faster = speed + acceleration * dt
    if (speed + faster) * dt / 2 + faster * faster / deceleration / 2 < distance:
        return faster
    steps = 2 * distance / (speed + 1e-8) / dt
    if steps >= 1:
        whole = -2147483648 if steps >= 2147483648.0 else np.int64(steps)
        return speed - speed / whole
    return speed - speed / steps


@kernel
def steps_to(speed: float, top_speed: float, acceleration: float, distance: float, turns: bool, dt: float) -> float:
    """Estimated number of steps until a vehicle has driven `distance` metres on a lane link."""
    target = TURN_SPEED if turns else top_speed
    if distance <= 0:
        return 0.0
    if speed > target:
        return math.ceil(distance / speed)
    until = 0.0
    if target > speed:
        whole = math.floor((target - speed) / acceleration / dt)
        reached = speed + whole * acceleration / dt
        until = (speed + reached) * (whole * dt) / 2
        until = until + ((reached + target) * dt / 2 if reached < target else 0.0)
    if until > distance:
        return math.ceil((math.sqrt(speed * speed + 2 * acceleration * distance) - speed) / acceleration / dt)
    return math.ceil((target - speed) / acceleration / dt) + math.ceil((distance - until) / target / dt)


@inlined
def can_yield(speed: float, deceleration: float, length: float, distance: float) -> bool:
    """Whether a vehicle can still stop before a cross, or has passed it."""
    return (distance > 0 and 0.5 * speed * speed / deceleration < distance - YIELD_DISTANCE) or (
        distance < 0 and distance + length < 0
    )


@kernel
def in_deadlock(vehicles: np.ndarray, foe: int) -> bool:
    """Whether the chain of blocking vehicles from `foe` on contains a cycle."""
    fast = slow = foe
    while fast != NONE and vehicles[fast].blocker != NONE:
        slow = vehicles[slow].blocker
        fast = vehicles[vehicles[fast].blocker].blocker
        if slow == fast:
            return True
    return False


@kernel
def may_pass(
    vehicles: np.ndarray,
    kinds: np.ndarray,
    v: int,
    foe: int,
    own_rank: int,
    foe_rank: int,
    own_distance: float,
    foe_distance: float,
    dt: float,
) -> bool:
    """Whether vehicle v goes first where its lane link crosses that of `foe`. Ranks: 3 straight, 2 left, 1 right."""
    vehicle, other = vehicles[v], vehicles[foe]
    kind, of_other = kinds[vehicle.kind], kinds[other.kind]
    if not can_yield(vehicle.speed, kind.max_deceleration, kind.length, own_distance):
        return True
    goes = False
    if can_yield(other.speed, of_other.max_deceleration, of_other.length, foe_distance):
        if own_rank > foe_rank:
            goes = True
        elif foe_distance > 0:
            turns = is_turn(foe_rank)
            foe_steps = steps_to(other.speed, of_other.max_speed, of_other.usual_acceleration, foe_distance, turns, dt)
            turns = is_turn(own_rank)
            own_steps = steps_to(vehicle.speed, kind.max_speed, kind.usual_acceleration, own_distance, turns, dt)
            if foe_steps > own_steps:
                goes = True
            elif own_rank == foe_rank and foe_steps == own_steps:
                if vehicle.enter_link_time != other.enter_link_time:
                    goes = vehicle.enter_link_time < other.enter_link_time
                elif own_distance == foe_distance:
                    goes = vehicle.priority > other.priority
                else:
                    goes = own_distance < foe_distance
        else:
            goes = foe_distance + of_other.length < 0
    return goes or in_deadlock(vehicles, foe)


@inlined
def is_open(m: Map, t: Traffic, link: int) -> bool:
    """Whether the current phase opens a lane link."""
    intersection = m.places[link].intersection
    return m.open[m.places[link].light + t.phase[intersection] * m.lights[intersection].stride] != 0


@kernel
def expected(m: Map, t: Traffic, link: int, distance: float, comes: bool) -> tuple[int, float]:
    """The vehicle to expect at a cross `distance` metres along a lane link (or NONE), and its distance: positive before
    the cross, negative past it.

    This is the foremost vehicle whose rear has not cleared the cross: the one that has just left the link, one on the
    link, or, if `comes`, the one that enters it next.
    """
    v = t.queues[link].waiting_last
    if v != NONE and t.vehicles[v].previous == link and t.queues[m.places[link].end].last == v:
        vehicle = t.vehicles[v]
        rest = m.places[link].length - distance
        if rest + (vehicle.distance - t.kinds[vehicle.kind].length) < 0:
            return v, -(vehicle.distance + rest)
    v = t.queues[link].first
    while v != NONE:
        vehicle = t.vehicles[v]
        if vehicle.distance <= distance or vehicle.distance - distance - t.kinds[vehicle.kind].length <= 0:
            return v, distance - vehicle.distance
        v = vehicle.behind
    if comes:
        v = t.queues[link].waiting_first
        return v, (m.places[m.places[link].start].length - t.vehicles[v].distance) + distance
    return NONE, 0.0


@kernel
def crossing_speed(m: Map, t: Traffic, v: int, link: int, travelled: float, limit: float, dt: float) -> float:
    """Speed that yields to all vehicles with right of way where lane link `link` crosses others; records to which.

    travelled: position on the link, negative before its start.
    """
    vehicle = t.vehicles[v]
    kind = t.kinds[vehicle.kind]
    intersection = m.places[link].intersection
    row = t.phase[intersection] * m.lights[intersection].stride
    result = limit
    for cross in range(m.places[link].crosses, m.places[link].crosses_end):
        other_link = m.foes[cross].link
        alert = t.alerts[other_link]
        comes = alert.comes and m.open[m.foes[cross].light + row] != 0
        if not (comes or alert.on or alert.leaves):
            continue
        distance = m.crosses[cross].distance
        if distance < travelled:
            continue
        foe, foe_distance = expected(m, t, other_link, m.crosses[cross].foe_distance, comes)
        if foe == NONE:
            continue
        passes = may_pass(
            t.vehicles,
            t.kinds,
            v,
            foe,
            m.places[link].rank,
            m.places[other_link].rank,
            distance - travelled,
            foe_distance,
            dt,
        )
        if not passes:
            stop = stopping_speed(
                vehicle.speed,
                kind.usual_acceleration,
                kind.usual_deceleration,
                distance - travelled - YIELD_DISTANCE,
                dt,
            )
            result = smaller(result, stop)
            vehicle.next_blocker = foe
            break
    return result


@inlined
def intersection_speed(m: Map, t: Traffic, v: int, dt: float) -> float:
    """Speed allowed by lights, turns and crossing traffic; the vehicle's maximum if none of them applies."""
    vehicle = t.vehicles[v]
    kind = t.kinds[vehicle.kind]
    result = kind.max_speed
    link, travelled, goes_on = vehicle.drivable, vehicle.distance, True
    if vehicle.drivable < m.lanes:
        rest = m.places[vehicle.drivable].length - vehicle.distance
        link, travelled = NONE, -rest
        if rest <= kind.look_ahead:
            link = next_drivable(m, t, v)
        if link == NONE:
            goes_on = False
        else:
            blocked = not is_open(m, t, link)
            if not blocked:
                tail = t.queues[m.places[link].end].last
                if tail != NONE:
                    rear = t.vehicles[tail]
                    blocked = not (rear.distance > t.kinds[rear.kind].length + kind.length or rear.speed >= SLOW)
            if blocked and not 0.5 * vehicle.speed * vehicle.speed / kind.max_deceleration > rest:
                stop = stopping_speed(vehicle.speed, kind.usual_acceleration, kind.usual_deceleration, rest, dt)
                result = smaller(result, stop)
                goes_on = False
            elif is_turn(m.places[link].rank):
                result = smaller(result, TURN_SPEED)
    if goes_on:
        result = crossing_speed(m, t, v, link, travelled, result, dt)
    return result


@inlined
def wanted_speed(m: Map, t: Traffic, v: int, dt: float) -> float:
    """The desired next speed of a vehicle, before the limit on braking; records in `next_blocker` to whom it yields."""
    vehicle = t.vehicles[v]
    kind = t.kinds[vehicle.kind]
    vehicle.next_blocker = NONE
    result = smaller(kind.max_speed, vehicle.speed + kind.max_acceleration * dt)
    result = smaller(result, m.places[vehicle.drivable].max_speed)
    result = smaller(result, following_speed(t, v, dt))
    return smaller(result, intersection_speed(m, t, v, dt))


@inlined
def speed_to_lane_end(m: Map, t: Traffic, v: int, speed: float, dt: float) -> float:
    """`speed`, reduced if the lane does not continue along the route, so that the vehicle stops its gap before the end.
    The route is not checked while the vehicle could stop from its maximum speed."""
    result = speed
    vehicle = t.vehicles[v]
    kind = t.kinds[vehicle.kind]
    rest = m.places[vehicle.drivable].length - vehicle.distance
    stops = kind.max_speed * kind.max_speed * kind.brake_a + (kind.max_speed + vehicle.speed) * dt / 2 + kind.min_gap
    far = rest > stops + FAR and 2 * (rest - kind.min_gap) / dt - dt > kind.max_speed
    far = far and speed <= kind.max_speed and kind.brake_a > LEAST_A  # only for sensible values
    if not far and next_drivable(m, t, v) == NONE and not ends_on(t, v, m.places[vehicle.drivable].road):
        end = safe_speed(
            kind.brake_a,
            kind.brake_4a,
            kind.brake_half_over_a,
            0.0,
            1.0,
            vehicle.speed,
            rest,
            kind.min_gap,
            dt,
        )
        result = smaller(result, end)
    return result


@inlined
def braked_speed(t: Traffic, v: int, speed: float, dt: float) -> float:
    """`speed`, or the speed reached by maximum braking if that is larger; negative if the vehicle stops within the
    step."""
    vehicle = t.vehicles[v]
    return larger(speed, vehicle.speed - t.kinds[vehicle.kind].max_deceleration * dt)


@inlined
def decide_movement(m: Map, t: Traffic, v: int, speed: float, dt: float) -> bool:
    """Write the vehicle's position at the end of the step to its `next_...` fields; returns whether that was possible.

    It is not possible to pass the end of a lane that neither continues the route nor lies on its last road.
    """
    vehicle = t.vehicles[v]
    if speed < 0:
        gone = 0.5 * vehicle.speed * vehicle.speed / t.kinds[vehicle.kind].max_deceleration
        vehicle.next_speed = 0.0
    else:
        gone = (vehicle.speed + speed) * dt / 2
        vehicle.next_speed = speed
    distance = gone + vehicle.distance
    drivable = vehicle.drivable
    i, possible = 0, True
    vehicle.ended = False
    while distance > m.places[drivable].length:
        distance -= m.places[drivable].length
        following = planned(m, t, v, i)
        if following == NONE:
            vehicle.ended = True
            possible = ends_on(t, v, m.places[drivable].road)
            break
        drivable = following
        i += 1
    vehicle.next_distance = distance
    vehicle.moves = vehicle.ended or drivable != vehicle.drivable
    if vehicle.moves:
        vehicle.next_drivable = drivable
        vehicle.counted = vehicle.ended
    return possible
