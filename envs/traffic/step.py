"""One step of the engine, from the vehicles that appear to the lights that change; all decisions are taken from the
state before, then carried out together.

Only drivables with vehicles, lanes with waiting vehicles and flows that are running are visited.
"""

from __future__ import annotations

import numpy as np

from envs.traffic.basics import (
    append,
    draw,
    drop_ended,
    drop_slot,
    exclude,
    following_drivable,
    include,
    inlined,
    kernel,
    leads_to,
    next_member,
    planned,
    set_leader,
    take_slot,
    unlink,
)
from envs.traffic.driving import braked_speed, decide_movement, is_open, wanted_speed
from envs.traffic.handles import flows_at, lanes_at, map_at, pool_at, sources_at, traffic_at
from envs.traffic.lane_change import change_lanes, decide_with_lane_changes, forget_signals
from envs.traffic.layout import NEVER, NONE, FlowArrays
from envs.traffic.map import Map
from envs.traffic.state import (
    CULPRIT,
    CUMULATIVE,
    FINE,
    FINISHED,
    FLOW_CLOCK,
    FREE,
    FULL,
    INVALID_ROUTE,
    NEW,
    NEXT_FLOW,
    PLAN,
    POOL,
    RUNNING,
    STATUS,
    STEP,
    STRANDED,
    Lanes,
    Pool,
    Sources,
    Traffic,
)


@kernel
def wake_flows(f: FlowArrays, t: Traffic, p: Pool, w: Sources, dt: float, lane_change: bool) -> bool:
    """Start the flows that are due; whether there are slots for all vehicles that this step may make."""
    clock, following = p.times[FLOW_CLOCK], t.counts[NEXT_FLOW]
    while following < w.flows and f.start[w.order[following]] <= clock:
        flow = w.order[following]
        if w.valid[flow]:
            include(w.active, flow)
        following += 1
    t.counts[NEXT_FLOW] = following
    needed = 0
    flow = next_member(w.active, 0, w.flows)
    while flow >= 0:
        needed += 2 + int(min(dt / f.interval[flow], dt))  # an interval below 1 s is that of a single vehicle
        flow = next_member(w.active, flow + 1, w.flows)
    if lane_change:  # every vehicle may get a shadow
        needed = 2 * needed + t.counts[POOL]
    return t.counts[FREE] >= needed


@kernel
def make_vehicle(t: Traffic, p: Pool, kind: int, route: int, enter_time: float) -> int:
    """A new vehicle that waits for its lane to be drawn. Draws its priority, and the number of a thread, which does
    nothing here but keeps the stream of random numbers that of CityFlow."""
    v = take_slot(t.vehicles, p.members, p.free, p.random, t.counts)
    draw(p.random, t.counts)
    reset_vehicle(t.vehicles, v)
    vehicle = t.vehicles[v]
    vehicle.kind, vehicle.route, vehicle.enter_time = kind, route, enter_time
    p.new[t.counts[NEW]] = v
    t.counts[NEW] += 1
    return v


@kernel
def reset_vehicle(vehicles, v: int) -> None:  # type: ignore[no-untyped-def]
    """Everything but the priority as it is for a vehicle that has just been made."""
    vehicle = vehicles[v]
    vehicle.speed = vehicle.distance = vehicle.gap = vehicle.next_speed = vehicle.next_distance = 0.0
    vehicle.leader_gap = vehicle.follower_gap = vehicle.last_change = vehicle.offset = vehicle.custom_speed = 0.0
    vehicle.drivable = vehicle.next_drivable = vehicle.previous = vehicle.leader = NONE
    vehicle.ahead = vehicle.behind = vehicle.blocker = vehicle.next_blocker = NONE
    vehicle.plan_length = vehicle.route_position = vehicle.partner_type = vehicle.signal_direction = 0
    vehicle.enter_link_time = NEVER
    vehicle.running = vehicle.ended = vehicle.moves = vehicle.has_custom_speed = False
    vehicle.sends = vehicle.changing = vehicle.speed_ready = vehicle.counted = False
    vehicle.partner = vehicle.signal_target = vehicle.received = NONE
    vehicle.target_leader = vehicle.target_follower = NONE
    vehicle.segment = vehicle.segment_ahead = vehicle.segment_behind = NONE
    vehicle.flow = vehicle.number = NONE


@kernel
def run_flows(f: FlowArrays, t: Traffic, p: Pool, w: Sources, dt: float) -> None:
    """Make the vehicles of this step."""
    clock, now = p.times[FLOW_CLOCK], t.counts[STEP] * dt
    flow = next_member(w.active, 0, w.flows)
    while flow >= 0:
        if f.end[flow] != -1 and clock > f.end[flow]:
            exclude(w.active, flow)
            w.stopped[flow] = clock
        else:
            while w.now[flow] >= f.interval[flow]:
                v = make_vehicle(t, p, f.kind[flow], f.route[flow], now)
                t.vehicles[v].flow = flow
                t.vehicles[v].number = w.made[flow]
                w.made[flow] += 1
                w.now[flow] -= f.interval[flow]
            w.now[flow] += dt
        flow = next_member(w.active, flow + 1, w.flows)
    p.times[FLOW_CLOCK] = clock + dt


@kernel
def choose_lanes(m: Map, t: Traffic, p: Pool, w: Sources, k: Lanes) -> None:
    """Put every new vehicle into the buffer of one of the lanes that lead on, drawn at random, road by road. A vehicle
    without route is taken away and its flow is switched off."""
    new, count = p.new, t.counts[NEW]
    for i in range(count):
        if t.vehicles[new[i]].route < 0:
            vehicle = t.vehicles[new[i]]
            if vehicle.flow >= 0 and w.valid[vehicle.flow]:
                w.valid[vehicle.flow] = False
                w.stopped[vehicle.flow] = p.times[FLOW_CLOCK]
                exclude(w.active, vehicle.flow)
                t.counts[STATUS], t.counts[CULPRIT] = INVALID_ROUTE, vehicle.flow
    for i in range(1, count):  # stable insertion sort by first road
        v = new[i]
        road, j = _first_road(t, v), i
        while j > 0 and _first_road(t, new[j - 1]) > road:
            new[j] = new[j - 1]
            j -= 1
        new[j] = v
    for i in range(count):
        v = new[i]
        vehicle = t.vehicles[v]
        if vehicle.route < 0:
            drop_slot(t.vehicles, p.members, p.free, t.counts, v)
            continue
        start = t.route_starts[vehicle.route]
        first_lane, end_lane = m.road_lane_starts[t.route_roads[start]], m.road_lane_starts[t.route_roads[start] + 1]
        target, candidates = t.route_roads[start + 1], 0
        for lane in range(first_lane, end_lane):
            candidates += leads_to(m, lane, target)
        chosen = draw(p.random, t.counts) % candidates
        for lane in range(first_lane, end_lane):
            if leads_to(m, lane, target):
                if chosen == 0:
                    _queue(t, k, lane, v)
                    break
                chosen -= 1
    t.counts[NEW] = 0


@inlined
def _first_road(t: Traffic, v: int) -> int:
    route = t.vehicles[v].route
    return -1 if route < 0 else t.route_roads[t.route_starts[route]]


@inlined
def _queue(t: Traffic, k: Lanes, lane: int, v: int) -> None:
    """Let a vehicle wait for a lane."""
    t.vehicles[v].drivable = lane
    t.vehicles[v].behind = NONE
    if t.queues[lane].waiting_size == 0:
        t.queues[lane].waiting_first = v
        include(k.waited, lane)
    else:
        t.vehicles[t.queues[lane].waiting_last].behind = v
    t.queues[lane].waiting_last = v
    t.queues[lane].waiting_size += 1


@kernel
def enter(m: Map, t: Traffic, k: Lanes) -> None:
    """Let the first waiting vehicle of each lane in, where there is room."""
    lane = next_member(k.waited, 0, m.lanes)
    while lane >= 0:
        v = t.queues[lane].waiting_first
        vehicle = t.vehicles[v]
        tail = t.queues[lane].last
        if (
            tail == NONE
            or t.vehicles[tail].distance > t.kinds[t.vehicles[tail].kind].length + t.kinds[vehicle.kind].min_gap
        ):
            t.queues[lane].waiting_first = vehicle.behind
            t.queues[lane].waiting_size -= 1
            if t.queues[lane].waiting_size == 0:
                exclude(k.waited, lane)
                t.queues[lane].waiting_last = NONE
            vehicle.running = True
            t.counts[RUNNING] += 1
            append(m, t, lane, v)
            set_leader(m, t, v, tail)
        lane = next_member(k.waited, lane + 1, m.lanes)


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
            speed = braked_speed(t, v, wanted_speed(m, t, v, dt), dt)
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
def push(network: np.ndarray, state: np.ndarray, kind: int, route: int, enter_time: float) -> int:
    """A new vehicle that was not made by a flow; its slot."""
    return make_vehicle(traffic_at(state), pool_at(state), kind, route, enter_time)


@kernel
def leads_on(network: np.ndarray, roads: np.ndarray, lane: int) -> bool:
    """Whether a vehicle on `lane`, part of the first of some roads, can go on to the next one."""
    return following_drivable(map_at(network), roads, 0, roads.size, lane) != NONE
