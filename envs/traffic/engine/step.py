"""One step of the engine, from new vehicles to changing lights. All decisions are based on the previous state and then
carried out together.

Only drivables with vehicles, lanes with waiting vehicles and active flows are visited.
"""

from __future__ import annotations

import numpy as np

from envs.traffic.engine.arrivals import choose_lanes, enter, run_flows, wake_flows
from envs.traffic.engine.basics import (
    drop_slots,
    fetch_ahead,
    fetch_behind,
    follow,
    following_drivable,
    inlined,
    kernel,
    look_for_leader,
    next_member,
    next_members,
    sees_nobody,
    set_leader,
)
from envs.traffic.engine.driving import (
    NOT_YIELDING,
    braked_speed,
    decide_movement,
    smaller,
    speed_to_lane_end,
    wanted_speed,
)
from envs.traffic.engine.handles import flows_at, lanes_at, map_at, pool_at, sources_at, traffic_at
from envs.traffic.engine.lane_change import change_lanes, decide_with_lane_changes, forget_signals
from envs.traffic.engine.pointer import prefetch
from envs.traffic.engine.queues import CLEARED, arrive, note_leaving, note_onward, unlink
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
    UNKNOWN,
    Lanes,
    Pool,
    Sources,
    Traffic,
)
from envs.traffic.network.layout import NEVER, NONE, FlowArrays
from envs.traffic.network.map import Map


@kernel
def decide(m: Map, t: Traffic, moved: np.ndarray, dt: float, start: int, end: int) -> tuple[int, int]:
    """Decide the movement of every vehicle; returns the number of vehicles that leave their drivable, which are listed
    in `moved`, and the last vehicle that cannot continue (or NONE).

    Like all phases with `start` and `end`, this covers the drivables in [start, end), where both are multiples of 64 or
    the total number. Threads working on different ranges never write what others read.
    """
    count, stranded = 0, NONE
    drivable, second, third, fourth, fifth = next_members(t.occupied, start, end)
    while drivable >= 0:
        sixth = fetch_ahead(m, t, second, third, fourth, fifth, end)
        v = t.queues[drivable].first
        while v != NONE:
            vehicle = t.vehicles[v]
            fetch_behind(m, t, v)
            speed = smaller(wanted_speed(m, t, v, dt), NOT_YIELDING)
            speed = braked_speed(t, v, speed_to_lane_end(m, t, v, speed, dt), dt)
            if not decide_movement(m, t, v, speed, dt):
                stranded = v
            if vehicle.moves:
                moved[count] = v
                count += 1
            v = vehicle.behind
        drivable, second, third, fourth, fifth = second, third, fourth, fifth, sixth
    return count, stranded


@kernel
def move(m: Map, t: Traffic, p: Pool, count: int, dt: float) -> int:
    """Move the `count` vehicles in `moved` from their drivables to the next ones. Vehicles that have ended are written
    to the list of new vehicles, which is unused at this point, and their number is returned."""
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
def commit(m: Map, t: Traffic, k: Lanes, dt: float, start: int, end: int) -> int:
    """Apply the decisions, find leaders and gaps, and add this step's vehicle-seconds of the lanes; returns the last
    vehicle that has left its route (or NONE)."""
    step, stranded = t.counts[STEP], NONE
    drivable, second, third, fourth, fifth = next_members(t.occupied, start, end)
    while drivable >= 0:
        sixth = fetch_ahead(m, t, second, third, fourth, fifth, end)
        v, ahead = t.queues[drivable].first, NONE
        while v != NONE:
            vehicle = t.vehicles[v]
            prefetch(t.vehicles, vehicle.behind, 0)
            leaves_link = drivable < m.lanes and vehicle.distance - t.kinds[vehicle.kind].length < CLEARED
            vehicle.distance = vehicle.next_distance
            vehicle.speed = vehicle.next_speed
            vehicle.has_custom_speed = False
            blocker = vehicle.next_blocker
            if vehicle.yields or blocker != NONE:
                vehicle.blocker = NONE if blocker == NONE or t.vehicles[blocker].ended else blocker
                vehicle.yields = vehicle.blocker != NONE
            if vehicle.moves:
                vehicle.moves = False
                vehicle.previous = vehicle.drivable
                vehicle.drivable = drivable
                vehicle.enter_link_time = step if drivable >= m.lanes else NEVER
                _shorten_plan(t, v, drivable)
                if drivable < m.lanes:
                    leaves_link = True
                    if not _find_on_route(m, t, v):
                        stranded = v
            if leaves_link:
                note_leaving(m, t, v)
            if ahead != NONE:
                follow(t, v, ahead)
            v, ahead = vehicle.behind, v
        if drivable < m.lanes:
            k.seconds[drivable] += t.queues[drivable].size * dt
            if t.queues[drivable].onward == UNKNOWN:
                note_onward(m, t, drivable)
        v = t.queues[drivable].first
        if sees_nobody(m, t, v):
            t.vehicles[v].leader = NONE
        else:
            look_for_leader(m, t, v)
        drivable, second, third, fourth, fifth = second, third, fourth, fifth, sixth
    return stranded


@inlined
def _find_on_route(m: Map, t: Traffic, v: int) -> bool:
    """Find the position of a vehicle's lane on its route; False if its plan ran in a circle and left the route."""
    vehicle = t.vehicles[v]
    place, last = t.route_starts[vehicle.route] + vehicle.route_position, t.route_starts[vehicle.route + 1]
    while place < last and t.route_roads[place] != m.places[vehicle.drivable].road:
        place += 1
    vehicle.route_position = place - t.route_starts[vehicle.route]
    return place != last


@inlined
def _shorten_plan(t: Traffic, v: int, drivable: int) -> None:
    """Drop the plan of a vehicle up to the drivable that it has reached."""
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
    """Find leader and gap of every vehicle."""
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
def count_waiting_seconds(m: Map, t: Traffic, k: Lanes, dt: float) -> None:
    """Add this step's vehicle-seconds of vehicles waiting to enter."""
    lane = next_member(k.waited, 0, m.lanes)
    while lane >= 0:
        k.seconds[lane] += t.queues[lane].waiting_size * dt
        lane = next_member(k.waited, lane + 1, m.lanes)


@kernel
def begin(m: Map, f: FlowArrays, t: Traffic, p: Pool, w: Sources, k: Lanes, dt: float, lane_change: bool) -> bool:
    """Create new vehicles and let vehicles enter. Returns False and changes only STATUS if there are too few slots."""
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
    """Whether `stranded` is a vehicle, which is then recorded in `counts`."""
    if stranded != NONE:
        t.counts[STATUS], t.counts[CULPRIT] = STRANDED, stranded
    return stranded != NONE


@kernel
def end_step(m: Map, t: Traffic, k: Lanes, dt: float, built_in_lights: bool) -> None:
    """Advance the lights and the step counter."""
    if built_in_lights:
        cycle_lights(m, t, k, dt)
    t.counts[STEP] += 1
    count_waiting_seconds(m, t, k, dt)


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
    """Take up to `steps` steps of `dt` seconds, given the addresses of network, flows and state; returns the number of
    steps taken. If it is smaller, `counts[STATUS]` gives the reason: FULL before a step that needs more slots, STRANDED
    in the middle of one (the state is then unusable), INVALID_ROUTE after one that met a flow without a route."""
    m, f = map_at(network), flows_at(flows)
    t, p, w, k = traffic_at(state), pool_at(state), sources_at(state), lanes_at(state)
    for taken in range(steps):
        if not begin(m, f, t, p, w, k, dt, lane_change):
            return taken
        if lane_change:
            change_lanes(m, t, p, k, dt)
            find_leaders(m, t, 0, m.drivables)
        if lane_change:
            moving = decide_with_lane_changes(m, t, p, dt)
            if t.counts[STATUS] == STRANDED:
                return taken
        else:
            moving, stranded = decide(m, t, p.moved, dt, 0, m.drivables)
            if fails(t, stranded):
                return taken
        gone = move(m, t, p, moving, dt)
        if fails(t, commit(m, t, k, dt, 0, m.drivables)):
            return taken
        drop_slots(t.vehicles, p, t.counts, p.new, gone)
        if lane_change:
            forget_signals(t, p)
        end_step(m, t, k, dt, built_in_lights)
        if t.counts[STATUS] != FINE:
            return taken + 1
    return steps


# The same step in parts for several threads, which synchronise between these functions


@kernel
def begin_step(network: np.ndarray, flows: np.ndarray, state: np.ndarray, dt: float) -> bool:
    """See `begin`."""
    m, f, t, p = map_at(network), flows_at(flows), traffic_at(state), pool_at(state)
    return begin(m, f, t, p, sources_at(state), lanes_at(state), dt, False)


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
def commit_part(network: np.ndarray, state: np.ndarray, dt: float, start: int, end: int) -> int:
    """See `commit`."""
    return commit(map_at(network), traffic_at(state), lanes_at(state), dt, start, end)


@kernel
def drop(state: np.ndarray, count: int) -> None:
    """Free the slots of the `count` vehicles that ended according to `move`."""
    t, p = traffic_at(state), pool_at(state)
    drop_slots(t.vehicles, p, t.counts, p.new, count)


@kernel
def finish_step(network: np.ndarray, state: np.ndarray, dt: float, built_in_lights: bool) -> None:
    """See `end_step`."""
    end_step(map_at(network), traffic_at(state), lanes_at(state), dt, built_in_lights)


@kernel
def leads_on(network: np.ndarray, roads: np.ndarray, lane: int) -> bool:
    """Whether a vehicle on `lane`, a lane of the first of `roads`, can continue to the next road."""
    return following_drivable(map_at(network), roads, 0, roads.size, lane) != NONE
