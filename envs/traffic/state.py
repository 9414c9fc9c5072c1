"""The changing part of an engine, as arrays that can be copied, saved and handed to compiled kernels.

Vehicles live in slots. The vehicles on a drivable form a list from the front to the rear, linked through `ahead` and
`behind`; so do those that wait to enter a lane. The pool is every vehicle that exists, waiting ones included, in
ascending order of priority.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from envs.traffic.layout import NEVER, NONE, VEHICLE_KIND, FlowArrays, NetworkArrays

PLAN = 16
"""Next drivables that a vehicle remembers; those farther ahead are found anew each time."""

DRIVER = np.dtype(
    [
        *[(name, np.float64) for name in VEHICLE_KIND.names or ()],
        ("look_ahead", np.float64),
        ("brake_a", np.float64),
        ("brake_4a", np.float64),
        ("brake_half_over_a", np.float64),
        ("usual_a", np.float64),
        ("usual_4a", np.float64),
        ("usual_half_over_a", np.float64),
    ],
    align=True,
)
"""A vehicle kind and what follows from it: how far it looks ahead (m), and the quadratic of its stopping distance."""

VEHICLE = np.dtype(
    [
        ("speed", np.float64),
        ("distance", np.float64),
        ("gap", np.float64),
        ("next_speed", np.float64),
        ("next_distance", np.float64),
        ("kind", np.int32),
        ("drivable", np.int32),
        ("next_drivable", np.int32),
        ("leader", np.int32),
        ("ahead", np.int32),
        ("behind", np.int32),
        ("blocker", np.int32),
        ("next_blocker", np.int32),
        ("plan_length", np.int32),
        ("route", np.int32),
        ("route_position", np.int32),
        ("previous", np.int32),
        ("enter_link_time", np.int32),
        ("priority", np.int32),
        ("running", np.bool_),
        ("ended", np.bool_),
        ("moves", np.bool_),
        ("has_custom_speed", np.bool_),
        ("custom_speed", np.float64),
        ("enter_time", np.float64),
        ("flow", np.int32),
        ("number", np.int32),
        # lane changes
        ("partner", np.int32),
        ("partner_type", np.int32),
        ("sends", np.bool_),
        ("changing", np.bool_),
        ("speed_ready", np.bool_),
        ("counted", np.bool_),
        ("signal_target", np.int32),
        ("signal_direction", np.int32),
        ("received", np.int32),
        ("target_leader", np.int32),
        ("target_follower", np.int32),
        ("segment", np.int32),
        ("segment_ahead", np.int32),
        ("segment_behind", np.int32),
        ("leader_gap", np.float64),
        ("follower_gap", np.float64),
        ("last_change", np.float64),
        ("offset", np.float64),
    ],
    align=True,
)
"""One vehicle. `distance` is that of its front along `drivable` (m); `next_...` is what the running step has decided;
`previous` is the drivable before; `flow` is -1 for a vehicle that was pushed. Partner types: 0 none, 1 real, 2 shadow."""

PUSHED = -1
"""`flow` of a vehicle that was pushed by hand."""
NOT_PAIRED, REAL, SHADOW = 0, 1, 2

# Places in `State.counts`
STEP, FINISHED, RUNNING, POOL, FREE, NEXT_FLOW, RANDOM, NEW, STATUS, CULPRIT = range(10)
# Places in `State.times`
CUMULATIVE, FLOW_CLOCK = range(2)
# Values of `counts[STATUS]`
FINE, FULL, STRANDED, INVALID_ROUTE = range(4)

TWISTER = 624
"""Words of the random generator (Mersenne twister)."""


class State(NamedTuple):
    """All that changes. V slots; R, L, K, D, I, C, F as in `layout`."""

    vehicles: np.ndarray
    """(V,) VEHICLE."""
    plans: np.ndarray
    """(V, PLAN) int32, next drivables already chosen."""
    free: np.ndarray
    """(V,) int32, a stack of slots without vehicle; `counts[FREE]` of them."""
    pool: np.ndarray
    """(V,) int32, slots in ascending order of priority; `counts[POOL]` of them."""
    new: np.ndarray
    """(V,) int32, vehicles that wait for their lane to be drawn; `counts[NEW]` of them."""
    moved: np.ndarray
    """(V,) int32, scratch."""
    counts: np.ndarray
    """int64: step, finished vehicles, running vehicles, and the lengths of lists."""
    times: np.ndarray
    """float64 seconds: travel time of finished vehicles, clock of the flows."""
    first: np.ndarray
    """(D,) int32, front vehicle."""
    last: np.ndarray
    """(D,) int32, rear vehicle."""
    size: np.ndarray
    """(D,) int32, number of vehicles."""
    departing: np.ndarray
    """(L,) int32, vehicles on the lane links that leave a lane."""
    waiting_first: np.ndarray
    """(L,) int32, next to enter."""
    waiting_last: np.ndarray
    """(L,) int32."""
    waiting_size: np.ndarray
    """(L,) int32."""
    occupied: np.ndarray
    """Bits of the drivables with vehicles."""
    waited: np.ndarray
    """Bits of the lanes with waiting vehicles."""
    phase: np.ndarray
    """(I,) int32."""
    remaining: np.ndarray
    """(I,) float64 seconds to the end of the phase in the built-in cycle."""
    random: np.ndarray
    """(TWISTER,) uint32."""
    link_stamp: np.ndarray
    """(K,) int32, step + 1 at which the crosses of the link were last announced."""
    link_announced: np.ndarray
    """(K,) int32, first of its crosses for which a vehicle is announced; those behind it have one too."""
    announced: np.ndarray
    """(C,) int32, vehicle announced for a cross."""
    announced_distance: np.ndarray
    """(C,) float64, its distance to the cross: still to go where positive, past where negative."""
    flow_now: np.ndarray
    """(F,) float64, seconds since the last vehicle."""
    flow_stopped: np.ndarray
    """(F,) float64, clock at which the flow ended; NaN before."""
    flow_count: np.ndarray
    """(F,) int32, vehicles made."""
    flow_valid: np.ndarray
    """(F,) bool; False once a vehicle had no route."""
    flow_order: np.ndarray
    """(F,) int32, flows by starting time."""
    flow_active: np.ndarray
    """Bits of the flows that have started and not ended."""
    kinds: np.ndarray
    """DRIVER."""
    route_starts: np.ndarray
    """int32 into `route_roads`."""
    route_roads: np.ndarray
    """int32."""
    lane_seconds: np.ndarray
    """(L,) float64, vehicle-seconds on each lane and waiting for it, since it was last set to zero."""
    segment_first: np.ndarray
    """int32, front vehicle of each lane segment; `segment_starts` says where a lane's begin."""
    segment_last: np.ndarray
    segment_starts: np.ndarray
    """(L + 1,) int32."""


SHARED = frozenset({"flow_order", "kinds", "route_starts", "route_roads", "segment_starts"})
"""Parts that kernels never write to."""
SLOTS = frozenset({"vehicles", "plans", "free", "pool", "new", "moved"})
"""Parts with one entry for each slot."""


def words(size: int) -> np.ndarray:
    """An empty set of the numbers below `size`, as bits."""
    return np.zeros((size + 63) // 64, dtype=np.uint64)


def drivers(kinds: np.ndarray, interval: float) -> np.ndarray:
    """What follows from vehicle kinds for steps of `interval` seconds."""
    result = np.zeros(len(kinds), dtype=DRIVER)
    for name in VEHICLE_KIND.names or ():
        result[name] = kinds[name]
    speed, usual = kinds["max_speed"], kinds["usual_deceleration"]
    result["look_ahead"] = speed * speed / usual / 2 + speed * interval * 2
    for prefix, deceleration in (("brake", kinds["max_deceleration"]), ("usual", usual)):
        a = 0.5 / deceleration
        result[f"{prefix}_a"] = a
        result[f"{prefix}_4a"] = 4 * a
        result[f"{prefix}_half_over_a"] = 0.5 / a
    return result


def new_state(network: NetworkArrays, flows: FlowArrays, interval: float, lane_change: bool, capacity: int) -> State:
    """An engine before its first step, its random generator not yet seeded."""
    lanes, drivables, links = len(network.lane_road), len(network.length), len(network.link_from)
    crosses, num_flows, lights = len(network.cross_foe), len(flows.kind), len(network.light_stride)
    segments = network.lane_segments if lane_change else np.zeros(lanes, dtype=np.int32)
    segment_starts = np.concatenate(([0], np.cumsum(segments))).astype(np.int32)
    nobody = {name: np.full(drivables, NONE, dtype=np.int32) for name in ("first", "last")}
    state = State(
        **nobody,
        vehicles=np.zeros(capacity, dtype=VEHICLE),
        plans=np.zeros((capacity, PLAN), dtype=np.int32),
        free=np.zeros(capacity, dtype=np.int32),
        pool=np.zeros(capacity, dtype=np.int32),
        new=np.zeros(capacity, dtype=np.int32),
        moved=np.zeros(capacity, dtype=np.int32),
        counts=np.zeros(10, dtype=np.int64),
        times=np.zeros(2),
        size=np.zeros(drivables, dtype=np.int32),
        departing=np.zeros(lanes, dtype=np.int32),
        waiting_first=np.full(lanes, NONE, dtype=np.int32),
        waiting_last=np.full(lanes, NONE, dtype=np.int32),
        waiting_size=np.zeros(lanes, dtype=np.int32),
        occupied=words(drivables),
        waited=words(lanes),
        phase=np.zeros(lights, dtype=np.int32),
        remaining=np.zeros(lights),
        random=np.zeros(TWISTER, dtype=np.uint32),
        link_stamp=np.zeros(links, dtype=np.int32),
        link_announced=np.zeros(links, dtype=np.int32),
        announced=np.zeros(crosses, dtype=np.int32),
        announced_distance=np.zeros(crosses),
        flow_now=flows.interval.copy(),
        flow_stopped=np.full(num_flows, np.nan),
        flow_count=np.zeros(num_flows, dtype=np.int32),
        flow_valid=np.ones(num_flows, dtype=np.bool_),
        flow_order=np.argsort(flows.start, kind="stable").astype(np.int32),
        flow_active=words(num_flows),
        kinds=drivers(flows.kinds, interval),
        route_starts=flows.route_starts,
        route_roads=flows.route_roads,
        lane_seconds=np.zeros(lanes),
        segment_first=np.full(segment_starts[-1], NONE, dtype=np.int32),
        segment_last=np.full(segment_starts[-1], NONE, dtype=np.int32),
        segment_starts=segment_starts,
    )
    restart(state, network, flows)
    return state


def restart(state: State, network: NetworkArrays, flows: FlowArrays) -> None:
    """Take all vehicles away and begin again; the random generator goes on, and flows without route stay switched
    off."""
    position = state.counts[RANDOM]
    for part in (state.counts, state.times, state.size, state.departing, state.waiting_size, state.occupied):
        part[:] = 0
    for part in (state.waited, state.link_stamp, state.flow_count, state.flow_active, state.lane_seconds, state.phase):
        part[:] = 0
    for part in (state.first, state.last, state.waiting_first, state.waiting_last):
        part[:] = NONE
    for part in (state.segment_first, state.segment_last):
        part[:] = NONE
    capacity = len(state.free)
    state.free[:] = np.arange(capacity - 1, -1, -1)
    state.counts[FREE] = capacity
    state.counts[RANDOM] = position
    state.flow_now[:] = flows.interval
    state.flow_stopped[:] = np.nan
    starts = network.phase_starts
    lit = starts[1:] > starts[:-1]
    state.remaining[:] = 0.0
    state.remaining[lit] = network.phase_time[starts[:-1][lit]]


def seed(state: State, value: int) -> None:
    """Restart the random generator, a Mersenne twister, from a 32-bit seed."""
    state.random[:] = np.random.RandomState(value & 0xFFFFFFFF).get_state()[1]  # noqa: NPY002 - its stream is needed
    state.counts[RANDOM] = TWISTER


def grown(state: State, capacity: int) -> State:
    """The same state with more slots."""
    before = len(state.free)
    parts = {}
    for name in SLOTS:
        part = getattr(state, name)
        parts[name] = np.zeros((capacity, *part.shape[1:]), dtype=part.dtype)
        parts[name][:before] = part
    added = capacity - before
    free = state.counts[FREE]
    parts["free"][:] = 0
    parts["free"][:added] = np.arange(capacity - 1, before - 1, -1)
    parts["free"][added : added + free] = state.free[:free]
    state.counts[FREE] = free + added
    return state._replace(**parts)


def copied(state: State) -> State:
    """An independent copy; what kernels never write to is shared."""
    return State(*(p if name in SHARED else p.copy() for name, p in zip(State._fields, state, strict=True)))


def blank_vehicle() -> np.ndarray:
    """A record with nothing yet: no leader, no drivable, never on a lane link."""
    vehicle = np.zeros((), dtype=VEHICLE)
    for name in ("drivable", "next_drivable", "leader", "ahead", "behind", "blocker", "next_blocker", "previous"):
        vehicle[name] = NONE
    for name in ("partner", "signal_target", "received", "target_leader", "target_follower", "segment"):
        vehicle[name] = NONE
    for name in ("segment_ahead", "segment_behind"):
        vehicle[name] = NONE
    vehicle["enter_link_time"] = NEVER
    return vehicle
