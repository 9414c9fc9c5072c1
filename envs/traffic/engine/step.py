"""One step of the engine, from the vehicles that appear to the lights that change; all decisions are taken from the
state before, then carried out together.

Only drivables with vehicles, lanes with waiting vehicles and flows that are running are visited.
"""

from __future__ import annotations

import numpy as np

from envs.traffic.engine.arrivals import choose_lanes, enter, run_flows, wake_flows
from envs.traffic.engine.basics import (
    append,
    drop_ended,
    following_drivable,
    inlined,
    kernel,
    next_member,
    planned,
    set_leader,
    unlink,
)
from envs.traffic.engine.driving import (
    NOT_YIELDING,
    braked_speed,
    decide_movement,
    is_open,
    smaller,
    speed_to_lane_end,
    wanted_speed,
)
from envs.traffic.engine.handles import flows_at, lanes_at, map_at, pool_at, sources_at, traffic_at
from envs.traffic.engine.lane_change import change_lanes, decide_with_lane_changes, forget_signals
from envs.traffic.engine.state import (
    CULPRIT,
    CUMULATIVE,
    FINE,
    FINISHED,
    FULL,
    NEW,
    PLAN,
    RUNNING,
    STATUS,
    STEP,
    STRANDED,
    Lanes,
    Pool,
    Traffic,
)
from envs.traffic.network.layout import NEVER, NONE
from envs.traffic.network.map import Map


@kernel
def announce(m: Map, t: Traffic) -> None:
    """Announce vehicles at the crosses of the lane links they are on, have just left or are next to enter."""
    drivable = next_member(t.occupied, 0, m.drivables)
    while drivable >= 0:
        if drivable >= m.lanes:
            _announce_on(m, t, drivable)
        else:
            left = t.vehicles[t.queues[drivable].last].previous
            if left >= m.lanes:
                _announce_on(m, t, left)
            following = planned(m, t, t.queues[drivable].first, 0)
            if following != NONE and is_open(m, t, following):
                _announce_on(m, t, following)
        drivable = next_member(t.occupied, drivable + 1, m.drivables)


@kernel
def _announce_on(m: Map, t: Traffic, link: int) -> None:
    """Announce at the crosses of one link, walking back from its end: each cross goes to the vehicle nearest behind it
    whose rear has not cleared it."""
    stamp = t.counts[STEP] + 1
    if t.queues[link].stamp == stamp:
        return
    t.queues[link].stamp = stamp
    length, first = m.places[link].length, m.places[link].crosses
    cross = m.places[link].crosses_end - 1
    v = t.queues[m.places[link].end].last
    if v != NONE and t.vehicles[v].previous == link:
        vehicle = t.vehicles[v]
        rear = vehicle.distance - t.kinds[vehicle.kind].length
        while cross >= first and (length - m.crosses[cross].distance) + rear < 0:
            t.announcements[cross].vehicle = v
            t.announcements[cross].distance = -(vehicle.distance + (length - m.crosses[cross].distance))
            cross -= 1
    v = t.queues[link].first
    while v != NONE:
        vehicle = t.vehicles[v]
        while cross >= first:
            distance = m.crosses[cross].distance
            if vehicle.distance > distance and not vehicle.distance - distance - t.kinds[vehicle.kind].length <= 0:
                break
            t.announcements[cross].vehicle = v
            t.announcements[cross].distance = distance - vehicle.distance
            cross -= 1
        v = vehicle.behind
    lane = m.places[link].start
    v = t.queues[lane].first
    if v != NONE and planned(m, t, v, 0) == link and is_open(m, t, link):
        rest = m.places[lane].length - t.vehicles[v].distance
        while cross >= first:
            t.announcements[cross].vehicle = v
            t.announcements[cross].distance = rest + m.crosses[cross].distance
            cross -= 1
    t.queues[link].announced = cross + 1


@kernel
def decide(m: Map, t: Traffic, moved: np.ndarray, dt: float) -> int:
    """Decide the movement of every vehicle; returns how many leave their drivable, kept in `moved`."""
    count = 0
    drivable = next_member(t.occupied, 0, m.drivables)
    while drivable >= 0:
        v = t.queues[drivable].first
        while v != NONE:
            speed = smaller(wanted_speed(m, t, v, dt), NOT_YIELDING)
            speed = braked_speed(t, v, speed_to_lane_end(m, t, v, speed, dt), dt)
            if not decide_movement(m, t, v, speed, dt):
                t.counts[STATUS], t.counts[CULPRIT] = STRANDED, v
            vehicle = t.vehicles[v]
            if vehicle.moves:
                moved[count] = v
                count += 1
            v = vehicle.behind
        drivable = next_member(t.occupied, drivable + 1, m.drivables)
    return count


@kernel
def move(m: Map, t: Traffic, p: Pool, count: int, dt: float) -> None:
    """Take the `count` vehicles in `moved` off their drivables and put those that go on onto their new ones, the
    farthest first."""
    moved, going, ended = p.moved, 0, False
    for i in range(count):
        v = moved[i]
        vehicle = t.vehicles[v]
        unlink(m, t, vehicle.drivable, v)
        if vehicle.ended:
            ended = True
            t.counts[RUNNING] -= 1
            if vehicle.counted:
                t.counts[FINISHED] += 1
                p.times[CUMULATIVE] += t.counts[STEP] * dt - vehicle.enter_time
        else:
            moved[going] = v
            going += 1
    for i in range(1, going):
        v, j = moved[i], i
        while j > 0 and _goes_before(t, v, moved[j - 1]):
            moved[j] = moved[j - 1]
            j -= 1
        moved[j] = v
    for i in range(going):
        append(m, t, t.vehicles[moved[i]].next_drivable, moved[i])
    commit(m, t)
    if ended:
        drop_ended(t.vehicles, p.members, p.free, t.counts)


@inlined
def _goes_before(t: Traffic, v: int, w: int) -> bool:
    first, second = t.vehicles[v].next_distance, t.vehicles[w].next_distance
    return first > second or (first == second and t.vehicles[v].priority < t.vehicles[w].priority)


@kernel
def commit(m: Map, t: Traffic) -> None:
    """Make what was decided the present state."""
    step = t.counts[STEP]
    drivable = next_member(t.occupied, 0, m.drivables)
    while drivable >= 0:
        v = t.queues[drivable].first
        while v != NONE:
            vehicle = t.vehicles[v]
            vehicle.distance = vehicle.next_distance
            vehicle.speed = vehicle.next_speed
            vehicle.has_custom_speed = False
            blocker = vehicle.next_blocker
            vehicle.blocker = NONE if blocker == NONE or t.vehicles[blocker].ended else blocker
            if vehicle.moves:
                vehicle.moves = False
                vehicle.previous = vehicle.drivable
                vehicle.drivable = drivable
                vehicle.enter_link_time = step if drivable >= m.lanes else NEVER
                _shorten_plan(t, v, drivable)
                if drivable < m.lanes:
                    start, end = t.route_starts[vehicle.route], t.route_starts[vehicle.route + 1]
                    position = vehicle.route_position
                    while start + position < end and t.route_roads[start + position] != m.places[drivable].road:
                        position += 1
                    vehicle.route_position = position
                    if start + position == end:  # its plan went round a circle, and off the route
                        t.counts[STATUS], t.counts[CULPRIT] = STRANDED, v
            v = vehicle.behind
        drivable = next_member(t.occupied, drivable + 1, m.drivables)


@inlined
def _shorten_plan(t: Traffic, v: int, drivable: int) -> None:
    """Forget the plan of a vehicle up to the drivable it has reached."""
    length = t.vehicles[v].plan_length
    done = 0
    while done < length and t.plans[v * PLAN + done] != drivable:
        done += 1
    done += 1
    for i in range(done, length):
        t.plans[v * PLAN + i - done] = t.plans[v * PLAN + i]
    t.vehicles[v].plan_length = length - done if length > done else 0


@kernel
def find_leaders(m: Map, t: Traffic) -> None:
    """Leader and gap of every vehicle."""
    drivable = next_member(t.occupied, 0, m.drivables)
    while drivable >= 0:
        ahead = NONE
        v = t.queues[drivable].first
        while v != NONE:
            set_leader(m, t, v, ahead)
            ahead = v
            v = t.vehicles[v].behind
        drivable = next_member(t.occupied, drivable + 1, m.drivables)


@kernel
def cycle_lights(m: Map, t: Traffic, k: Lanes, dt: float) -> None:
    """Advance the built-in cycle of the lights."""
    for i in range(m.intersections):
        phases = m.lights[i].phases
        if phases > 0:
            k.remaining[i] -= dt
            while k.remaining[i] <= 0:
                t.phase[i] = (t.phase[i] + 1) % phases
                k.remaining[i] += m.phase_time[m.lights[i].first_phase + t.phase[i]]


@kernel
def count_seconds(m: Map, t: Traffic, k: Lanes, dt: float) -> None:
    """Add this step's vehicle-seconds of every lane, waiting vehicles included."""
    lane = next_member(t.occupied, 0, m.drivables)
    while 0 <= lane < m.lanes:
        k.seconds[lane] += t.queues[lane].size * dt
        lane = next_member(t.occupied, lane + 1, m.drivables)
    lane = next_member(k.waited, 0, m.lanes)
    while lane >= 0:
        k.seconds[lane] += t.queues[lane].waiting_size * dt
        lane = next_member(k.waited, lane + 1, m.lanes)


@kernel
def advance(
    network: np.ndarray,
    flows: np.ndarray,
    state: np.ndarray,
    steps: int,
    dt: float,
    lane_change: bool,
    built_in_lights: bool,
) -> int:
    """Take up to `steps` steps of `dt` seconds, given the addresses of network, flows and state; returns how many were
    taken. Fewer than asked for mean that
    `counts[STATUS]` wants attention: FULL before a step that needs more slots, STRANDED in the midst of one (the state
    is of no use then); INVALID_ROUTE after one that met a flow without route."""
    m, f = map_at(network), flows_at(flows)
    t, p, w, k = traffic_at(state), pool_at(state), sources_at(state), lanes_at(state)
    for taken in range(steps):
        t.counts[STATUS] = FINE
        if not wake_flows(f, t, p, w, dt, lane_change):
            t.counts[STATUS] = FULL
            return taken
        run_flows(f, t, p, w, dt)
        if t.counts[NEW] > 0:
            choose_lanes(m, t, p, w, k)
        enter(m, t, k)
        if lane_change:
            change_lanes(m, t, p, k, dt)
            find_leaders(m, t)
        announce(m, t)
        moving = decide_with_lane_changes(m, t, p, dt) if lane_change else decide(m, t, p.moved, dt)
        if t.counts[STATUS] == STRANDED:
            return taken
        move(m, t, p, moving, dt)
        if t.counts[STATUS] == STRANDED:
            return taken
        if lane_change:
            forget_signals(t, p)
        find_leaders(m, t)
        if built_in_lights:
            cycle_lights(m, t, k, dt)
        t.counts[STEP] += 1
        count_seconds(m, t, k, dt)
        if t.counts[STATUS] != FINE:
            return taken + 1
    return steps


@kernel
def leads_on(network: np.ndarray, roads: np.ndarray, lane: int) -> bool:
    """Whether a vehicle on `lane`, part of the first of some roads, can go on to the next one."""
    return following_drivable(map_at(network), roads, 0, roads.size, lane) != NONE
