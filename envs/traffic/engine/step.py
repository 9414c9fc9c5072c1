"""One step of the engine, from the vehicles that appear to the lights that change; all decisions are taken from the
state before, then carried out together.

Only drivables with vehicles, lanes with waiting vehicles and flows that are running are visited.
"""

from __future__ import annotations

import numpy as np

from envs.traffic.engine.arrivals import choose_lanes, enter, run_flows, wake_flows
from envs.traffic.engine.basics import (
    arrive,
    drop_slots,
    fetch_drivable,
    fetch_ends,
    fetch_first,
    follow,
    following_drivable,
    inlined,
    kernel,
    look_for_leader,
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
def announce(m: Map, t: Traffic, start: int, end: int) -> None:
    """Announce vehicles at the crosses of the lane links they are on, have just left or are next to enter.

    As all phases with `start` and `end`, of the drivables from `start` to before `end`, multiples of 64 or the number
    of all. Threads that share the drivables out change nothing that others read, or the same words to the same values:
    here a link may be announced, and the next drivable of a vehicle planned, by two.
    """
    drivable = next_member(t.occupied, start, end)
    second = next_member(t.occupied, drivable + 1, end)
    third = -1 if second < 0 else next_member(t.occupied, second + 1, end)
    while drivable >= 0:
        fourth = -1
        if third >= 0:
            fourth = next_member(t.occupied, third + 1, end)
            if fourth >= 0:
                fetch_drivable(m, t, fourth)
            fetch_first(t, third)
        if second >= 0:
            fetch_ends(m, t, second)
        if drivable >= m.lanes:
            _announce_on(m, t, drivable)
        else:
            left = t.vehicles[t.queues[drivable].last].previous
            if left >= m.lanes:
                _announce_on(m, t, left)
            following = planned(m, t, t.queues[drivable].first, 0)
            if following != NONE and is_open(m, t, following):
                _announce_on(m, t, following)
        drivable, second, third = second, third, fourth


@kernel
def _announce_on(m: Map, t: Traffic, link: int) -> None:
    """Announce at the crosses of one link, walking back from its end: each cross goes to the vehicle nearest behind it
    whose rear has not cleared it. Those that are left for the vehicle which comes next onto the link are not written:
    `driving.crossing_speed` works out where it is."""
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
    comes = v != NONE and planned(m, t, v, 0) == link and is_open(m, t, link)
    t.queues[link].announced = first - cross - 2 if comes else cross + 1


@kernel
def decide(m: Map, t: Traffic, moved: np.ndarray, dt: float, start: int, end: int) -> tuple[int, int]:
    """Decide the movement of every vehicle; returns how many leave their drivable, kept in `moved`, and who cannot go
    on, the last of several (NONE)."""
    count, stranded = 0, NONE
    drivable = next_member(t.occupied, start, end)
    second = next_member(t.occupied, drivable + 1, end)
    while drivable >= 0:
        third = -1
        if second >= 0:
            third = next_member(t.occupied, second + 1, end)
            if third >= 0:
                fetch_drivable(m, t, third)
            fetch_first(t, second)
        v = t.queues[drivable].first
        while v != NONE:
            speed = smaller(wanted_speed(m, t, v, dt), NOT_YIELDING)
            speed = braked_speed(t, v, speed_to_lane_end(m, t, v, speed, dt), dt)
            if not decide_movement(m, t, v, speed, dt):
                stranded = v
            vehicle = t.vehicles[v]
            if vehicle.moves:
                moved[count] = v
                count += 1
            v = vehicle.behind
        drivable, second = second, third
    return count, stranded


@kernel
def move(m: Map, t: Traffic, p: Pool, count: int, dt: float) -> int:
    """Take the `count` vehicles in `moved` off their drivables and put those that go on onto their new ones. All new
    vehicles wait for lanes already, so that the list of them is free for those that have ended: they come into it, and
    how many they are is returned."""
    moved, ended, going, gone = p.moved, p.new, 0, 0
    for i in range(count):
        v = moved[i]
        vehicle = t.vehicles[v]
        unlink(m, t, vehicle.drivable, v)
        if vehicle.ended:
            ended[gone] = v
            gone += 1
            t.counts[RUNNING] -= 1
            if vehicle.counted:
                t.counts[FINISHED] += 1
                p.times[CUMULATIVE] += t.counts[STEP] * dt - vehicle.enter_time
        else:
            moved[going] = v
            going += 1
    for i in range(going):
        arrive(m, t, t.vehicles[moved[i]].next_drivable, moved[i])
    return gone


@kernel
def commit(m: Map, t: Traffic, start: int, end: int) -> int:
    """Make what was decided the present state; returns who has got off its route, the last of several (NONE). Those who
    are behind others on their drivable get leader and gap, too: where all of them are is known by then."""
    step, stranded = t.counts[STEP], NONE
    drivable = next_member(t.occupied, start, end)
    second = next_member(t.occupied, drivable + 1, end)
    while drivable >= 0:
        third = -1
        if second >= 0:
            third = next_member(t.occupied, second + 1, end)
            if third >= 0:
                fetch_drivable(m, t, third)
            fetch_first(t, second)
        v, ahead = t.queues[drivable].first, NONE
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
                    place = t.route_starts[vehicle.route] + vehicle.route_position
                    last = t.route_starts[vehicle.route + 1]
                    while place < last and t.route_roads[place] != m.places[drivable].road:
                        place += 1
                    vehicle.route_position = place - t.route_starts[vehicle.route]
                    if place == last:  # its plan went round a circle, and off the route
                        stranded = v
            if ahead != NONE:
                follow(t, v, ahead)
            v, ahead = vehicle.behind, v
        drivable, second = second, third
    return stranded


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
def find_leaders(m: Map, t: Traffic, start: int, end: int) -> None:
    """Leader and gap of every vehicle."""
    drivable = next_member(t.occupied, start, end)
    while drivable >= 0:
        ahead = NONE
        v = t.queues[drivable].first
        while v != NONE:
            set_leader(m, t, v, ahead)
            ahead = v
            v = t.vehicles[v].behind
        drivable = next_member(t.occupied, drivable + 1, end)


@kernel
def find_leaders_of_first(m: Map, t: Traffic, start: int, end: int) -> None:
    """Leader and gap of every vehicle that is the first on its drivable."""
    drivable = next_member(t.occupied, start, end)
    second = next_member(t.occupied, drivable + 1, end)
    while drivable >= 0:
        third = -1
        if second >= 0:
            third = next_member(t.occupied, second + 1, end)
            if third >= 0:
                fetch_drivable(m, t, third)
            fetch_first(t, second)
        look_for_leader(m, t, t.queues[drivable].first)
        drivable, second = second, third


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
def begin(m: Map, f: FlowArrays, t: Traffic, p: Pool, w: Sources, k: Lanes, dt: float, lane_change: bool) -> bool:
    """Let new vehicles come and enter; False, and nothing is changed but STATUS, where there are too few slots."""
    t.counts[STATUS] = FINE
    if not wake_flows(f, t, p, w, dt, lane_change):
        t.counts[STATUS] = FULL
        return False
    run_flows(f, t, p, w, dt)
    if t.counts[NEW] > 0:
        choose_lanes(m, t, p, w, k)
    enter(m, t, k)
    return True


@inlined
def fails(t: Traffic, stranded: int) -> bool:
    """Whether some vehicle cannot go on, which is noted."""
    if stranded != NONE:
        t.counts[STATUS], t.counts[CULPRIT] = STRANDED, stranded
    return stranded != NONE


@kernel
def end_step(m: Map, t: Traffic, k: Lanes, dt: float, built_in_lights: bool) -> None:
    """Let time go on."""
    if built_in_lights:
        cycle_lights(m, t, k, dt)
    t.counts[STEP] += 1
    count_seconds(m, t, k, dt)


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
        if not begin(m, f, t, p, w, k, dt, lane_change):
            return taken
        if lane_change:
            change_lanes(m, t, p, k, dt)
            find_leaders(m, t, 0, m.drivables)
        announce(m, t, 0, m.drivables)
        if lane_change:
            moving = decide_with_lane_changes(m, t, p, dt)
            if t.counts[STATUS] == STRANDED:
                return taken
        else:
            moving, stranded = decide(m, t, p.moved, dt, 0, m.drivables)
            if fails(t, stranded):
                return taken
        gone = move(m, t, p, moving, dt)
        if fails(t, commit(m, t, 0, m.drivables)):
            return taken
        drop_slots(t.vehicles, p.members, p.free, t.counts, p.new, gone)
        if lane_change:
            forget_signals(t, p)
        find_leaders_of_first(m, t, 0, m.drivables)
        end_step(m, t, k, dt, built_in_lights)
        if t.counts[STATUS] != FINE:
            return taken + 1
    return steps


# The same step in parts, for several threads: what stands between two of these functions waits for all threads


@kernel
def begin_step(network: np.ndarray, flows: np.ndarray, state: np.ndarray, dt: float) -> bool:
    """See `begin`."""
    m, f, t, p = map_at(network), flows_at(flows), traffic_at(state), pool_at(state)
    return begin(m, f, t, p, sources_at(state), lanes_at(state), dt, False)


@kernel
def announce_part(network: np.ndarray, state: np.ndarray, start: int, end: int) -> None:
    """See `announce`."""
    announce(map_at(network), traffic_at(state), start, end)


@kernel
def decide_part(
    network: np.ndarray, state: np.ndarray, moved: np.ndarray, dt: float, start: int, end: int
) -> tuple[int, int]:
    """See `decide`."""
    return decide(map_at(network), traffic_at(state), moved, dt, start, end)


@kernel
def move_all(network: np.ndarray, state: np.ndarray, count: int, dt: float) -> int:
    """See `move`."""
    return move(map_at(network), traffic_at(state), pool_at(state), count, dt)


@kernel
def commit_part(network: np.ndarray, state: np.ndarray, start: int, end: int) -> int:
    """See `commit`."""
    return commit(map_at(network), traffic_at(state), start, end)


@kernel
def drop(state: np.ndarray, count: int) -> None:
    """Give back the slots of the `count` vehicles that `move` has found to have ended."""
    t, p = traffic_at(state), pool_at(state)
    drop_slots(t.vehicles, p.members, p.free, t.counts, p.new, count)


@kernel
def find_leaders_part(network: np.ndarray, state: np.ndarray, start: int, end: int) -> None:
    """See `find_leaders_of_first`."""
    find_leaders_of_first(map_at(network), traffic_at(state), start, end)


@kernel
def finish_step(network: np.ndarray, state: np.ndarray, dt: float, built_in_lights: bool) -> None:
    """See `end_step`."""
    end_step(map_at(network), traffic_at(state), lanes_at(state), dt, built_in_lights)


@kernel
def leads_on(network: np.ndarray, roads: np.ndarray, lane: int) -> bool:
    """Whether a vehicle on `lane`, part of the first of some roads, can go on to the next one."""
    return following_drivable(map_at(network), roads, 0, roads.size, lane) != NONE
