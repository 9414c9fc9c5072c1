"""One step of the engine, from the vehicles that appear to the lights that change; all decisions are taken from the
state before, then carried out together.

Only drivables with vehicles, lanes with waiting vehicles and flows that are running are visited.
"""

from __future__ import annotations

from envs.traffic.basics import (
    append,
    draw,
    drop_ended,
    drop_slot,
    exclude,
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
from envs.traffic.lane_change import change_lanes, decide_with_lane_changes, forget_signals
from envs.traffic.layout import NEVER, NONE, FlowArrays, NetworkArrays
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
    POOL,
    RUNNING,
    STATUS,
    STEP,
    STRANDED,
    State,
)


@kernel
def wake_flows(f: FlowArrays, s: State, dt: float, lane_change: bool) -> bool:
    """Start the flows that are due; whether there are slots for all vehicles that this step may make."""
    clock, following = s.times[FLOW_CLOCK], s.counts[NEXT_FLOW]
    while following < f.start.size and f.start[s.flow_order[following]] <= clock:
        flow = s.flow_order[following]
        if s.flow_valid[flow]:
            include(s.flow_active, flow)
        following += 1
    s.counts[NEXT_FLOW] = following
    needed = s.counts[POOL] if lane_change else 0
    flow = next_member(s.flow_active, 0)
    while flow >= 0:
        needed += 2 + int(dt / f.interval[flow])
        flow = next_member(s.flow_active, flow + 1)
    return s.counts[FREE] >= needed


@kernel
def make_vehicle(s: State, kind: int, route: int, enter_time: float) -> int:
    """A new vehicle that waits for its lane to be drawn. Draws its priority, and the number of a thread, which does
    nothing here but keeps the stream of random numbers that of CityFlow."""
    v = take_slot(s.vehicles, s.pool, s.free, s.random, s.counts)
    draw(s.random, s.counts)
    reset_vehicle(s.vehicles, v)
    vehicle = s.vehicles[v]
    vehicle.kind, vehicle.route, vehicle.enter_time = kind, route, enter_time
    s.new[s.counts[NEW]] = v
    s.counts[NEW] += 1
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
def run_flows(f: FlowArrays, s: State, dt: float) -> None:
    """Make the vehicles of this step."""
    clock, now = s.times[FLOW_CLOCK], s.counts[STEP] * dt
    flow = next_member(s.flow_active, 0)
    while flow >= 0:
        if f.end[flow] != -1 and clock > f.end[flow]:
            exclude(s.flow_active, flow)
            s.flow_stopped[flow] = clock
        else:
            while s.flow_now[flow] >= f.interval[flow]:
                v = make_vehicle(s, f.kind[flow], f.route[flow], now)
                s.vehicles[v].flow = flow
                s.vehicles[v].number = s.flow_count[flow]
                s.flow_count[flow] += 1
                s.flow_now[flow] -= f.interval[flow]
            s.flow_now[flow] += dt
        flow = next_member(s.flow_active, flow + 1)
    s.times[FLOW_CLOCK] = clock + dt


@kernel
def choose_lanes(n: NetworkArrays, f: FlowArrays, s: State) -> None:
    """Put every new vehicle into the buffer of one of the lanes that lead on, drawn at random, road by road. A vehicle
    without route is taken away and its flow is switched off."""
    new, count = s.new, s.counts[NEW]
    for i in range(count):
        if s.vehicles[new[i]].route < 0:
            vehicle = s.vehicles[new[i]]
            if vehicle.flow >= 0 and s.flow_valid[vehicle.flow]:
                s.flow_valid[vehicle.flow] = False
                exclude(s.flow_active, vehicle.flow)
                s.counts[STATUS], s.counts[CULPRIT] = INVALID_ROUTE, vehicle.flow
    for i in range(1, count):  # stable insertion sort by first road
        v = new[i]
        road, j = _first_road(s, v), i
        while j > 0 and _first_road(s, new[j - 1]) > road:
            new[j] = new[j - 1]
            j -= 1
        new[j] = v
    for i in range(count):
        v = new[i]
        vehicle = s.vehicles[v]
        if vehicle.route < 0:
            drop_slot(s.vehicles, s.pool, s.free, s.counts, v)
            continue
        start = s.route_starts[vehicle.route]
        first_lane, end_lane = n.road_lane_starts[s.route_roads[start]], n.road_lane_starts[s.route_roads[start] + 1]
        target, candidates = s.route_roads[start + 1], 0
        for lane in range(first_lane, end_lane):
            candidates += leads_to(n.leaving_starts, n.leaving, n.link_to, n.lane_road, lane, target)
        chosen = draw(s.random, s.counts) % candidates
        for lane in range(first_lane, end_lane):
            if leads_to(n.leaving_starts, n.leaving, n.link_to, n.lane_road, lane, target):
                if chosen == 0:
                    _queue(s, lane, v)
                    break
                chosen -= 1
    s.counts[NEW] = 0


@inlined
def _first_road(s: State, v: int) -> int:
    route = s.vehicles[v].route
    return -1 if route < 0 else s.route_roads[s.route_starts[route]]


@inlined
def _queue(s: State, lane: int, v: int) -> None:
    """Let a vehicle wait for a lane."""
    s.vehicles[v].drivable = lane
    s.vehicles[v].behind = NONE
    if s.waiting_size[lane] == 0:
        s.waiting_first[lane] = v
        include(s.waited, lane)
    else:
        s.vehicles[s.waiting_last[lane]].behind = v
    s.waiting_last[lane] = v
    s.waiting_size[lane] += 1


@kernel
def enter(n: NetworkArrays, s: State) -> None:
    """Let the first waiting vehicle of each lane in, where there is room."""
    lane = next_member(s.waited, 0)
    while lane >= 0:
        v = s.waiting_first[lane]
        vehicle = s.vehicles[v]
        tail = s.last[lane]
        if (
            tail == NONE
            or s.vehicles[tail].distance > s.kinds[s.vehicles[tail].kind].length + s.kinds[vehicle.kind].min_gap
        ):
            s.waiting_first[lane] = vehicle.behind
            s.waiting_size[lane] -= 1
            if s.waiting_size[lane] == 0:
                exclude(s.waited, lane)
                s.waiting_last[lane] = NONE
            vehicle.running = True
            s.counts[RUNNING] += 1
            append(n, s, lane, v)
            set_leader(n, s, v, tail)
        lane = next_member(s.waited, lane + 1)


@kernel
def announce(n: NetworkArrays, s: State) -> None:
    """Announce vehicles at the crosses of the lane links they are on, have just left or are next to enter."""
    lanes = n.lane_road.size
    drivable = next_member(s.occupied, 0)
    while drivable >= 0:
        if drivable >= lanes:
            _announce_on(n, s, drivable - lanes)
        else:
            left = s.vehicles[s.last[drivable]].previous
            if left >= lanes:
                _announce_on(n, s, left - lanes)
            following = planned(n, s, s.first[drivable], 0)
            if following != NONE and is_open(n, s, following - lanes):
                _announce_on(n, s, following - lanes)
        drivable = next_member(s.occupied, drivable + 1)


@kernel
def _announce_on(n: NetworkArrays, s: State, link: int) -> None:
    """Announce at the crosses of one link, walking back from its end: each cross goes to the vehicle nearest behind it
    whose rear has not cleared it."""
    stamp = s.counts[STEP] + 1
    if s.link_stamp[link] == stamp:
        return
    lanes = n.lane_road.size
    s.link_stamp[link] = stamp
    length, first = n.length[lanes + link], n.cross_starts[link]
    cross = n.cross_starts[link + 1] - 1
    v = s.last[n.link_to[link]]
    if v != NONE and s.vehicles[v].previous == lanes + link:
        vehicle = s.vehicles[v]
        rear = vehicle.distance - s.kinds[vehicle.kind].length
        while cross >= first and (length - n.cross_distance[cross]) + rear < 0:
            s.announced[cross] = v
            s.announced_distance[cross] = -(vehicle.distance + (length - n.cross_distance[cross]))
            cross -= 1
    v = s.first[lanes + link]
    while v != NONE:
        vehicle = s.vehicles[v]
        while cross >= first:
            distance = n.cross_distance[cross]
            if vehicle.distance > distance and not vehicle.distance - distance - s.kinds[vehicle.kind].length <= 0:
                break
            s.announced[cross] = v
            s.announced_distance[cross] = distance - vehicle.distance
            cross -= 1
        v = vehicle.behind
    lane = n.link_from[link]
    v = s.first[lane]
    if v != NONE and planned(n, s, v, 0) == lanes + link and is_open(n, s, link):
        rest = n.length[lane] - s.vehicles[v].distance
        while cross >= first:
            s.announced[cross] = v
            s.announced_distance[cross] = rest + n.cross_distance[cross]
            cross -= 1
    s.link_announced[link] = cross + 1


@kernel
def decide(n: NetworkArrays, s: State, dt: float) -> int:
    """Decide the movement of every vehicle; returns how many leave their drivable, kept in `moved`."""
    count = 0
    drivable = next_member(s.occupied, 0)
    while drivable >= 0:
        v = s.first[drivable]
        while v != NONE:
            speed = braked_speed(s, v, wanted_speed(n, s, v, dt), dt)
            if not decide_movement(n, s, v, speed, dt):
                s.counts[STATUS], s.counts[CULPRIT] = STRANDED, v
            vehicle = s.vehicles[v]
            if vehicle.moves:
                s.moved[count] = v
                count += 1
            v = vehicle.behind
        drivable = next_member(s.occupied, drivable + 1)
    return count


@kernel
def move(n: NetworkArrays, s: State, count: int, dt: float) -> None:
    """Take the `count` vehicles in `moved` off their drivables and put those that go on onto their new ones, the
    farthest first."""
    moved, going, ended = s.moved, 0, False
    for i in range(count):
        v = moved[i]
        vehicle = s.vehicles[v]
        unlink(n, s, vehicle.drivable, v)
        if vehicle.ended:
            ended = True
            s.counts[RUNNING] -= 1
            if vehicle.counted:
                s.counts[FINISHED] += 1
                s.times[CUMULATIVE] += s.counts[STEP] * dt - vehicle.enter_time
        else:
            moved[going] = v
            going += 1
    for i in range(1, going):
        v, j = moved[i], i
        while j > 0 and _goes_before(s, v, moved[j - 1]):
            moved[j] = moved[j - 1]
            j -= 1
        moved[j] = v
    for i in range(going):
        append(n, s, s.vehicles[moved[i]].next_drivable, moved[i])
    commit(n, s)
    if ended:
        drop_ended(s.vehicles, s.pool, s.free, s.counts)


@inlined
def _goes_before(s: State, v: int, w: int) -> bool:
    first, second = s.vehicles[v].next_distance, s.vehicles[w].next_distance
    return first > second or (first == second and s.vehicles[v].priority < s.vehicles[w].priority)


@kernel
def commit(n: NetworkArrays, s: State) -> None:
    """Make what was decided the present state."""
    lanes, step = n.lane_road.size, s.counts[STEP]
    drivable = next_member(s.occupied, 0)
    while drivable >= 0:
        v = s.first[drivable]
        while v != NONE:
            vehicle = s.vehicles[v]
            vehicle.distance = vehicle.next_distance
            vehicle.speed = vehicle.next_speed
            vehicle.has_custom_speed = False
            blocker = vehicle.next_blocker
            vehicle.blocker = NONE if blocker == NONE or s.vehicles[blocker].ended else blocker
            if vehicle.moves:
                vehicle.moves = False
                vehicle.previous = vehicle.drivable
                vehicle.drivable = drivable
                vehicle.enter_link_time = step if drivable >= lanes else NEVER
                _shorten_plan(s, v, drivable)
                if drivable < lanes:
                    start, end = s.route_starts[vehicle.route], s.route_starts[vehicle.route + 1]
                    position = vehicle.route_position
                    while start + position < end and s.route_roads[start + position] != n.lane_road[drivable]:
                        position += 1
                    vehicle.route_position = position
            v = vehicle.behind
        drivable = next_member(s.occupied, drivable + 1)


@inlined
def _shorten_plan(s: State, v: int, drivable: int) -> None:
    """Forget the plan of a vehicle up to the drivable it has reached."""
    length = s.vehicles[v].plan_length
    done = 0
    while done < length and s.plans[v, done] != drivable:
        done += 1
    done += 1
    for i in range(done, length):
        s.plans[v, i - done] = s.plans[v, i]
    s.vehicles[v].plan_length = length - done if length > done else 0


@kernel
def find_leaders(n: NetworkArrays, s: State) -> None:
    """Leader and gap of every vehicle."""
    drivable = next_member(s.occupied, 0)
    while drivable >= 0:
        ahead = NONE
        v = s.first[drivable]
        while v != NONE:
            set_leader(n, s, v, ahead)
            ahead = v
            v = s.vehicles[v].behind
        drivable = next_member(s.occupied, drivable + 1)


@kernel
def cycle_lights(n: NetworkArrays, s: State, dt: float) -> None:
    """Advance the built-in cycle of the lights."""
    for i in range(n.light_stride.size):
        phases = n.phase_starts[i + 1] - n.phase_starts[i]
        if phases > 0:
            s.remaining[i] -= dt
            while s.remaining[i] <= 0:
                s.phase[i] = (s.phase[i] + 1) % phases
                s.remaining[i] += n.phase_time[n.phase_starts[i] + s.phase[i]]


@kernel
def count_seconds(s: State, lanes: int, dt: float) -> None:
    """Add this step's vehicle-seconds of every lane, waiting vehicles included."""
    lane = next_member(s.occupied, 0)
    while 0 <= lane < lanes:
        s.lane_seconds[lane] += s.size[lane] * dt
        lane = next_member(s.occupied, lane + 1)
    lane = next_member(s.waited, 0)
    while lane >= 0:
        s.lane_seconds[lane] += s.waiting_size[lane] * dt
        lane = next_member(s.waited, lane + 1)


@kernel
def advance(
    n: NetworkArrays, f: FlowArrays, s: State, steps: int, dt: float, lane_change: bool, built_in_lights: bool
) -> int:
    """Take up to `steps` steps of `dt` seconds; returns how many were taken. Fewer than asked for mean that
    `counts[STATUS]` wants attention: FULL before a step that needs more slots, STRANDED in the midst of one (the state
    is of no use then); INVALID_ROUTE after one that met a flow without route."""
    for taken in range(steps):
        s.counts[STATUS] = FINE
        if not wake_flows(f, s, dt, lane_change):
            s.counts[STATUS] = FULL
            return taken
        run_flows(f, s, dt)
        if s.counts[NEW] > 0:
            choose_lanes(n, f, s)
        enter(n, s)
        if lane_change:
            change_lanes(n, s, dt)
            find_leaders(n, s)
        announce(n, s)
        moving = decide_with_lane_changes(n, s, dt) if lane_change else decide(n, s, dt)
        if s.counts[STATUS] == STRANDED:
            return taken
        move(n, s, moving, dt)
        if lane_change:
            forget_signals(s)
        find_leaders(n, s)
        if built_in_lights:
            cycle_lights(n, s, dt)
        s.counts[STEP] += 1
        count_seconds(s, n.lane_road.size, dt)
        if s.counts[STATUS] != FINE:
            return taken + 1
    return steps
