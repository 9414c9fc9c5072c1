"""Arrival of vehicles: flows create them, a lane is drawn for each, and they enter where there is room."""

from __future__ import annotations

import numpy as np

from envs.traffic.engine.basics import (
    draw,
    drop_slot,
    exclude,
    include,
    inlined,
    kernel,
    leads_to,
    next_member,
    set_leader,
    settle,
    take_slot,
)
from envs.traffic.engine.handles import pool_at, traffic_at
from envs.traffic.engine.pointer import prefetch
from envs.traffic.engine.queues import append, note_onward
from envs.traffic.engine.state import (
    CULPRIT,
    FLOW_CLOCK,
    FREE,
    INVALID_ROUTE,
    NEW,
    NEXT_FLOW,
    POOL,
    RUNNING,
    STATUS,
    STEP,
    Lanes,
    Pool,
    Sources,
    Traffic,
)
from envs.traffic.network.layout import NEVER, NONE, FlowArrays
from envs.traffic.network.map import Map


@kernel
def wake_flows(f: FlowArrays, t: Traffic, p: Pool, w: Sources, dt: float, lane_change: bool) -> bool:
    """Activate the flows that are due; returns whether there are slots for all vehicles that this step may create."""
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
        needed += 2 + int(min(dt / f.interval[flow], dt))  # only flows of a single vehicle have intervals below 1 s
        prefetch(f.end, flow, 0)
        prefetch(w.now, flow, 0)
        prefetch(f.kind, flow, 0)
        prefetch(f.route, flow, 0)
        prefetch(w.made, flow, 0)
        flow = next_member(w.active, flow + 1, w.flows)
    if lane_change:  # every vehicle may get a shadow
        needed = 2 * needed + t.counts[POOL]
    return t.counts[FREE] >= needed


@kernel
def make_vehicle(t: Traffic, p: Pool, kind: int, route: int, enter_time: float, settled: int) -> int:
    """A new vehicle whose lane is still to be drawn; see `take_slot` for `settled`. Draws its priority and a thread
    number, which is unused but keeps the stream of random numbers equal to CityFlow's."""
    v = take_slot(t.vehicles, p, t.counts, settled)
    draw(p.random, t.counts)
    reset_vehicle(t.vehicles, v)
    vehicle = t.vehicles[v]
    vehicle.kind, vehicle.route, vehicle.enter_time = kind, route, enter_time
    p.tallies[v] = 0
    prefetch(t.route_starts, route, 0)
    p.new[t.counts[NEW]] = v
    t.counts[NEW] += 1
    return v


@kernel
def reset_vehicle(vehicles, v: int) -> None:  # type: ignore[no-untyped-def]
    """Reset all fields but the priority to those of a new vehicle."""
    vehicle = vehicles[v]
    vehicle.speed = vehicle.distance = vehicle.gap = vehicle.next_speed = vehicle.next_distance = 0.0
    vehicle.leader_gap = vehicle.follower_gap = vehicle.last_change = vehicle.offset = vehicle.custom_speed = 0.0
    vehicle.drivable = vehicle.next_drivable = vehicle.previous = vehicle.leader = NONE
    vehicle.ahead = vehicle.behind = vehicle.blocker = vehicle.next_blocker = NONE
    vehicle.plan_length = vehicle.route_position = vehicle.partner_type = vehicle.signal_direction = 0
    vehicle.enter_link_time = NEVER
    vehicle.running = vehicle.ended = vehicle.moves = vehicle.has_custom_speed = False
    vehicle.sends = vehicle.changing = vehicle.speed_ready = vehicle.counted = vehicle.yields = False
    vehicle.partner = vehicle.signal_target = vehicle.received = NONE
    vehicle.target_leader = vehicle.target_follower = NONE
    vehicle.segment = vehicle.segment_ahead = vehicle.segment_behind = NONE
    vehicle.flow = vehicle.number = NONE


@kernel
def run_flows(f: FlowArrays, t: Traffic, p: Pool, w: Sources, dt: float) -> None:
    """Create the vehicles of this step."""
    clock, now, settled = p.times[FLOW_CLOCK], t.counts[STEP] * dt, t.counts[POOL]
    flow = next_member(w.active, 0, w.flows)
    while flow >= 0:
        if f.end[flow] != -1 and clock > f.end[flow]:
            exclude(w.active, flow)
            w.stopped[flow] = clock
        else:
            while w.now[flow] >= f.interval[flow]:
                v = make_vehicle(t, p, f.kind[flow], f.route[flow], now, settled)
                t.vehicles[v].flow = flow
                t.vehicles[v].number = w.made[flow]
                w.made[flow] += 1
                w.now[flow] -= f.interval[flow]
            w.now[flow] += dt
        flow = next_member(w.active, flow + 1, w.flows)
    settle(t.vehicles, p, t.counts, settled)
    p.times[FLOW_CLOCK] = clock + dt


@kernel
def choose_lanes(m: Map, t: Traffic, p: Pool, w: Sources, k: Lanes) -> None:
    """Add every new vehicle to the queue of one of the lanes that continue its route, drawn at random, road by road. A
    vehicle without a route is removed and its flow disabled."""
    new, count = p.new, t.counts[NEW]
    for i in range(count):
        route = t.vehicles[new[i]].route
        if route >= 0:
            prefetch(t.route_roads, t.route_starts[route], 0)
        else:
            vehicle = t.vehicles[new[i]]
            if vehicle.flow >= 0 and w.valid[vehicle.flow]:
                w.valid[vehicle.flow] = False
                w.stopped[vehicle.flow] = p.times[FLOW_CLOCK]
                exclude(w.active, vehicle.flow)
                t.counts[STATUS], t.counts[CULPRIT] = INVALID_ROUTE, vehicle.flow
    _sort_by_first_road(t, new, p.moved, count)
    for i in range(count):
        v = new[i]
        vehicle = t.vehicles[v]
        if vehicle.route < 0:
            drop_slot(t.vehicles, p, t.counts, v)
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


@kernel
def _sort_by_first_road(t: Traffic, new: np.ndarray, scratch: np.ndarray, count: int) -> None:
    """Sort new vehicles by their first road with a merge sort, which is stable."""
    width = 1
    while width < count:
        for start in range(0, count, 2 * width):
            middle, end = min(start + width, count), min(start + 2 * width, count)
            left, right = start, middle
            for i in range(start, end):
                takes_left = right == end or (left < middle and _first_road(t, new[left]) <= _first_road(t, new[right]))
                if takes_left:
                    scratch[i] = new[left]
                    left += 1
                else:
                    scratch[i] = new[right]
                    right += 1
        for i in range(count):
            new[i] = scratch[i]
        width *= 2


@inlined
def _first_road(t: Traffic, v: int) -> int:
    route = t.vehicles[v].route
    return -1 if route < 0 else t.route_roads[t.route_starts[route]]


@inlined
def _queue(t: Traffic, k: Lanes, lane: int, v: int) -> None:
    """Add a vehicle to the queue of a lane."""
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
    """Let the first waiting vehicle enter each lane that has room."""
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
            if tail == NONE:
                note_onward(m, t, lane)
            set_leader(m, t, v, tail)
        lane = next_member(k.waited, lane + 1, m.lanes)


@kernel
def push(state: np.ndarray, kind: int, route: int, enter_time: float) -> int:
    """Create a vehicle that does not belong to a flow; returns its slot."""
    t = traffic_at(state)
    return make_vehicle(t, pool_at(state), kind, route, enter_time, 0)
