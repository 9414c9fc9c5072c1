"""The changing part of an engine, as arrays that can be copied, saved and handed to compiled kernels.

Vehicles live in slots. The vehicles on a drivable form a list from the front to the rear, linked through `ahead` and
`behind`; so do those that wait to enter a lane. The pool is every vehicle that exists, waiting ones included, in
ascending order of priority. A vehicle is one record, and so is what is known of a drivable, because a step reads most
of it together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from envs.traffic.network.layout import NONE, VEHICLE_KIND, FlowArrays, lined_up
from envs.traffic.network.map import Map

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
        # the first 64 bytes: all that most vehicles need in a step
        ("speed", np.float64),
        ("distance", np.float64),
        ("gap", np.float64),
        ("next_speed", np.float64),
        ("next_distance", np.float64),
        ("kind", np.int32),
        ("drivable", np.int32),
        ("leader", np.int32),
        ("behind", np.int32),
        ("next_blocker", np.int32),
        ("moves", np.bool_),
        ("ended", np.bool_),
        ("has_custom_speed", np.bool_),
        ("yields", np.bool_),
        # the next 64: who changes drivables, and who comes near a crossing
        ("ahead", np.int32),
        ("blocker", np.int32),
        ("next_drivable", np.int32),
        ("previous", np.int32),
        ("route", np.int32),
        ("route_position", np.int32),
        ("enter_link_time", np.int32),
        ("priority", np.int32),
        ("enter_time", np.float64),
        ("custom_speed", np.float64),
        ("flow", np.int32),
        ("number", np.int32),
        ("plan_length", np.int8),
        ("running", np.bool_),
        ("counted", np.bool_),
        # lane changes
        ("sends", np.bool_),
        ("changing", np.bool_),
        ("speed_ready", np.bool_),
        ("partner_type", np.int8),
        ("signal_direction", np.int8),
        ("leader_gap", np.float64),
        ("follower_gap", np.float64),
        ("last_change", np.float64),
        ("offset", np.float64),
        ("partner", np.int32),
        ("signal_target", np.int32),
        ("received", np.int32),
        ("target_leader", np.int32),
        ("target_follower", np.int32),
        ("segment", np.int32),
        ("segment_ahead", np.int32),
        ("segment_behind", np.int32),
    ],
    align=True,
)
"""One vehicle, three lines of a cache, in the order of use. `distance` is that of its front along `drivable` (m);
`next_...` is what the running step has decided, `next_drivable` only where the vehicle `moves`; `yields` is false only
where `blocker` is nobody; `previous` is the drivable before; `flow` is -1 for a vehicle that was pushed. Partner types:
0 none, 1 real, 2 shadow. `counted` tells whether a vehicle that has ended counts as finished."""

QUEUE = np.dtype(
    [
        ("first", np.int32),
        ("last", np.int32),
        ("size", np.int32),
        ("departing", np.int32),
        ("waiting_first", np.int32),
        ("waiting_last", np.int32),
        ("waiting_size", np.int32),
        ("onward", np.int32),
    ],
    align=True,
)
"""Who is on a drivable, front and rear, and how many. Lanes: vehicles on the lane links that leave it, who waits to
enter, and in `onward` the lane link that the first vehicle takes next, NONE where there is none and UNKNOWN where it is
not known yet.

Nobody waits for a lane link. It has in `waiting_first` the first vehicle of the lane before, where that takes this link
next (NONE elsewhere), and in `waiting_last` who was the last to leave it and still stood out onto it, which may have
changed since. All of this follows from the rest (`queues.find_onward`)."""

UNKNOWN = -2

ALERT = np.dtype([("on", np.bool_), ("comes", np.bool_), ("leaves", np.bool_)])
"""Whether anybody is on a lane link, comes onto it next, or may stand out onto it still: what is asked of all links
that cross another one, in few bytes. It follows from the rest, too."""

PUSHED = -1
"""`flow` of a vehicle that was pushed by hand."""
NOT_PAIRED, REAL, SHADOW = 0, 1, 2

# Places in `Traffic.counts`
STEP, FINISHED, RUNNING, POOL, FREE, NEXT_FLOW, RANDOM, NEW, STATUS, CULPRIT = range(10)
# Places in `Pool.times`
CUMULATIVE, FLOW_CLOCK = range(2)
# Values of `counts[STATUS]`
FINE, FULL, STRANDED, INVALID_ROUTE = range(4)

TWISTER = 624
"""Words of the random generator (Mersenne twister)."""


class Traffic(NamedTuple):
    """What drives. V slots; D, L, I, C as in `layout`."""

    vehicles: np.ndarray
    """(V,) VEHICLE."""
    plans: np.ndarray
    """(V, PLAN) int32, next drivables already chosen; to compiled code one row after the other."""
    queues: np.ndarray
    """(D,) QUEUE."""
    occupied: np.ndarray
    """Bits of the drivables with vehicles."""
    alerts: np.ndarray
    """(D,) ALERT."""
    phase: np.ndarray
    """(I,) int32."""
    counts: np.ndarray
    """int64: step, finished vehicles, running vehicles, and the lengths of lists."""
    kinds: np.ndarray
    """DRIVER."""
    route_starts: np.ndarray
    """int32 into `route_roads`."""
    route_roads: np.ndarray
    """int32."""


class Pool(NamedTuple):
    """Which vehicles there are, and the random generator that tells them apart."""

    members: np.ndarray
    """(V,) int32, slots in ascending order of priority; `counts[POOL]` of them."""
    priorities: np.ndarray
    """(V,) int32, those of the members."""
    free: np.ndarray
    """(V,) int32, a stack of slots without vehicle; `counts[FREE]` of them."""
    new: np.ndarray
    """(V,) int32, vehicles that wait for their lane to be drawn; `counts[NEW]` of them."""
    moved: np.ndarray
    """(V,) int32, scratch."""
    random: np.ndarray
    """(TWISTER,) uint32."""
    times: np.ndarray
    """float64 seconds: travel time of finished vehicles, clock of the flows."""
    tallies: np.ndarray
    """(V,) int32, 1 + the place in its route of the road on which a vehicle was last counted as an arrival, 0 before
    the first."""


class Sources(NamedTuple):
    """How far the flows are. F flows."""

    now: np.ndarray
    """(F,) float64, seconds since the last vehicle."""
    stopped: np.ndarray
    """(F,) float64, clock at which the flow ended or was switched off; NaN before."""
    made: np.ndarray
    """(F,) int32, vehicles so far."""
    valid: np.ndarray
    """(F,) bool; False once a vehicle had no route."""
    order: np.ndarray
    """(F,) int32, flows by starting time."""
    active: np.ndarray
    """Bits of the flows that have started and not ended."""
    flows: int
    """Number of flows."""


class Lanes(NamedTuple):
    """What concerns lanes apart from driving."""

    waited: np.ndarray
    """Bits of the lanes with waiting vehicles."""
    seconds: np.ndarray
    """(L,) float64, vehicle-seconds on each lane and waiting for it, since it was last set to zero."""
    remaining: np.ndarray
    """(I,) float64 seconds to the end of the phase in the built-in cycle."""
    segment_first: np.ndarray
    """int32, front vehicle of each lane segment; `segment_starts` says where a lane's begin."""
    segment_last: np.ndarray
    segment_starts: np.ndarray
    """(L + 1,) int32."""


class State(NamedTuple):
    """All that changes."""

    traffic: Traffic
    pool: Pool
    sources: Sources
    lanes: Lanes


SHARED = frozenset({"order", "kinds", "route_starts", "route_roads", "segment_starts"})
"""Parts that kernels never write to."""
SLOTS = frozenset({"vehicles", "plans", "members", "priorities", "free", "new", "moved", "tallies"})
"""Parts with one entry for each slot."""


def words(size: int) -> np.ndarray:
    """An empty set of the numbers below `size`, as bits."""
    return np.zeros((size + 63) // 64, dtype=np.uint64)


def drivers(kinds: np.ndarray, interval: float) -> np.ndarray:
    """What follows from vehicle kinds for steps of `interval` seconds."""
    result = np.zeros(len(kinds), dtype=DRIVER)
    for name in VEHICLE_KIND.names or ():
        result[name] = kinds[name]
    with np.errstate(all="ignore"):  # absurd numbers may overflow, which does no harm
        speed, usual = kinds["max_speed"], kinds["usual_deceleration"]
        result["look_ahead"] = speed * speed / usual / 2 + speed * interval * 2
        for prefix, deceleration in (("brake", kinds["max_deceleration"]), ("usual", usual)):
            a = 0.5 / deceleration
            result[f"{prefix}_a"] = a
            result[f"{prefix}_4a"] = 4 * a
            result[f"{prefix}_half_over_a"] = 0.5 / a
    return result


def new_state(m: Map, flows: FlowArrays, interval: float, lane_change: bool, capacity: int) -> State:
    """An engine before its first step, its random generator not yet seeded."""
    num_flows, lights = len(flows.kind), len(m.lights)
    segments = m.places["segments"][: m.lanes] if lane_change else np.zeros(m.lanes, dtype=np.int32)
    segment_starts = np.concatenate(([0], np.cumsum(segments))).astype(np.int32)
    traffic = Traffic(
        lined_up(capacity, VEHICLE),
        lined_up((capacity, PLAN), np.int32),
        lined_up(len(m.places), QUEUE),
        words(len(m.places)),
        np.zeros(len(m.places), dtype=ALERT),
        np.zeros(lights, dtype=np.int32),
        np.zeros(10, dtype=np.int64),
        drivers(flows.kinds, interval),
        flows.route_starts,
        flows.route_roads,
    )
    slots = [np.zeros(capacity, dtype=np.int32) for _ in range(6)]
    random, times = np.zeros(TWISTER, dtype=np.uint32), np.zeros(2)
    pool = Pool(slots[0], slots[1], slots[2], slots[3], slots[4], random, times, slots[5])
    sources = Sources(
        flows.interval.copy(),
        np.full(num_flows, np.nan),
        np.zeros(num_flows, dtype=np.int32),
        np.ones(num_flows, dtype=np.bool_),
        np.argsort(flows.start, kind="stable").astype(np.int32),
        words(num_flows),
        num_flows,
    )
    parts = [np.zeros(segment_starts[-1], dtype=np.int32) for _ in range(2)]
    lanes = Lanes(words(m.lanes), np.zeros(m.lanes), np.zeros(lights), parts[0], parts[1], segment_starts)
    state = State(traffic, pool, sources, lanes)
    restart(state, m, flows)
    return state


def restart(state: State, m: Map, flows: FlowArrays) -> None:
    """Take all vehicles away and begin again; the random generator goes on, and flows without route stay switched
    off."""
    traffic, pool, sources, lanes = state
    position, capacity = traffic.counts[RANDOM], len(pool.free)
    for part in (traffic.occupied, traffic.phase, traffic.counts, pool.times, pool.tallies, sources.made):
        part[:] = 0
    for part in (sources.active, lanes.waited, lanes.seconds, lanes.remaining):
        part[:] = 0
    traffic.alerts[:] = (False, False, False)
    traffic.queues[:] = (NONE, NONE, 0, 0, NONE, NONE, 0, UNKNOWN)
    pool.free[:] = np.arange(capacity - 1, -1, -1)
    traffic.counts[FREE], traffic.counts[RANDOM] = capacity, position
    sources.now[:] = flows.interval
    sources.stopped[:] = np.nan
    lit = m.lights["phases"] > 0
    lanes.remaining[lit] = m.phase_time[m.lights["first_phase"][lit]]


def seed(state: State, value: int) -> None:
    """Restart the random generator, a Mersenne twister, from a 32-bit seed."""
    twister = np.random.RandomState(value & 0xFFFFFFFF)
    state.pool.random[:] = twister.get_state()[1]  # type: ignore[index]
    state.traffic.counts[RANDOM] = TWISTER


def grown(state: State, capacity: int) -> State:
    """The same state with more slots."""
    before, added = len(state.pool.free), capacity - len(state.pool.free)

    def longer(group: Any) -> Any:
        parts = {}
        for name in SLOTS & set(group._fields):
            part = getattr(group, name)
            parts[name] = lined_up((capacity, *part.shape[1:]), part.dtype)
            parts[name][:before] = part
        return group._replace(**parts)

    result = State(longer(state.traffic), longer(state.pool), state.sources, state.lanes)
    free = int(state.traffic.counts[FREE])
    result.pool.free[:added] = np.arange(capacity - 1, before - 1, -1)
    result.pool.free[added : added + free] = state.pool.free[:free]
    state.traffic.counts[FREE] = free + added
    return result


def copied(state: State) -> State:
    """An independent copy; what kernels never write to is shared."""

    def own(name: str, part: Any) -> Any:
        if name in SHARED or not isinstance(part, np.ndarray):
            return part
        copy = lined_up(part.shape, part.dtype)
        copy[:] = part
        return copy

    return mapped(state, own)


def mapped(state: State, change: Callable[[str, Any], Any]) -> State:
    """The state that has `change(name, part)` in place of every part."""
    groups: list[Any] = []
    for group in state:
        parts: dict[str, Any] = group._asdict()
        groups.append(type(group)(**{name: change(name, part) for name, part in parts.items()}))
    return State(*groups)
