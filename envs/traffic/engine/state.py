"""The changing part of an engine, as arrays that can be copied, saved and passed to compiled kernels.

Vehicles occupy slots. The vehicles on a drivable form a linked list from front to rear through `ahead` and `behind`;
so do those waiting to enter a lane. The pool contains all existing vehicles, including waiting ones, in ascending order
of priority. A vehicle is one record, and so is the state of a drivable, because a step reads most of it together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from envs.traffic.network.layout import NONE, VEHICLE_KIND, FlowArrays, lined_up
from envs.traffic.network.map import Map

PLAN = 16
"""Number of next drivables that a vehicle stores; those farther ahead are recomputed each time."""

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
"""A vehicle kind with derived values: its look-ahead distance (m), and the quadratic of its stopping distance."""

VEHICLE = np.dtype(
    [
        # the first 64 bytes: all that a step needs of most vehicles
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
        # the next 64 bytes: for vehicles that change drivables or approach a crossing
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
"""A vehicle, in three cache lines ordered by use. `distance` is the position of its front along `drivable` (m);
`next_...` are the decisions of the current step, with `next_drivable` valid only if the vehicle `moves`; `yields` is
false only if there is no `blocker`; `previous` is the previous drivable; `flow` is -1 for pushed vehicles. Partner
types: 0 none, 1 real, 2 shadow. `counted` says whether a vehicle that has ended counts as finished."""

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
"""The front and rear vehicle on a drivable and the number of vehicles. For lanes also the number of vehicles on their
outgoing links, the vehicles waiting to enter, and in `onward` the lane link that the first vehicle takes next (NONE if
there is none, UNKNOWN if it is not yet known).

No vehicles wait for a lane link. Instead, its `waiting_first` is the first vehicle of the preceding lane if that takes
this link next (otherwise NONE), and its `waiting_last` is the last vehicle that left it while its rear was still on it,
which may have cleared it since. These values are derived from the rest (`queues.find_onward`)."""

UNKNOWN = -2

ALERT = np.dtype([("on", np.bool_), ("comes", np.bool_), ("leaves", np.bool_)])
"""Whether any vehicle is on a lane link, enters it next, or may still have its rear on it. Compact, because it is read
for all links that cross another one; derived from the rest."""

PUSHED = -1
"""`flow` of a pushed vehicle."""
NOT_PAIRED, REAL, SHADOW = 0, 1, 2

# Indices into `Traffic.counts`
STEP, FINISHED, RUNNING, POOL, FREE, NEXT_FLOW, RANDOM, NEW, STATUS, CULPRIT = range(10)
# Indices into `Pool.times`
CUMULATIVE, FLOW_CLOCK = range(2)
# Values of `counts[STATUS]`
FINE, FULL, STRANDED, INVALID_ROUTE = range(4)

TWISTER = 624
"""Number of words in the state of the random generator (Mersenne twister)."""


class Traffic(NamedTuple):
    """Vehicles, queues and phases. V slots; D, L, I, C as in `layout`."""

    vehicles: np.ndarray
    """(V,) VEHICLE, one per slot."""
    plans: np.ndarray
    """(V, PLAN) int32, next drivables already chosen; flattened row by row for compiled code."""
    queues: np.ndarray
    """(D,) QUEUE, one per drivable."""
    occupied: np.ndarray
    """Bit set of the drivables with vehicles."""
    alerts: np.ndarray
    """(D,) ALERT, meaningful for lane links."""
    phase: np.ndarray
    """(I,) int32, current phase of each intersection."""
    counts: np.ndarray
    """int64, step, finished vehicles, running vehicles, and the lengths of lists."""
    kinds: np.ndarray
    """DRIVER, one per kind of vehicle."""
    route_starts: np.ndarray
    """int32, offsets into `route_roads`."""
    route_roads: np.ndarray
    """int32, roads of all routes, end to end."""


class Pool(NamedTuple):
    """Existing vehicles and free slots, and the random generator, which draws priorities."""

    members: np.ndarray
    """(V,) int32, slots in ascending order of priority; `counts[POOL]` of them."""
    priorities: np.ndarray
    """(V,) int32, priorities of the members."""
    free: np.ndarray
    """(V,) int32, a stack of free slots; `counts[FREE]` of them."""
    new: np.ndarray
    """(V,) int32, vehicles whose lane has not been drawn yet; `counts[NEW]` of them."""
    moved: np.ndarray
    """(V,) int32, scratch space."""
    random: np.ndarray
    """(TWISTER,) uint32, state of the random generator."""
    times: np.ndarray
    """float64 seconds: total travel time of finished vehicles, clock of the flows."""
    tallies: np.ndarray
    """(V,) int32, 1 + the position on its route of the road where a vehicle was last counted as an arrival; 0 before
    the first."""


class Sources(NamedTuple):
    """Progress of the flows. F flows."""

    now: np.ndarray
    """(F,) float64, seconds since the last vehicle."""
    stopped: np.ndarray
    """(F,) float64, clock at which the flow ended or was disabled; NaN before."""
    made: np.ndarray
    """(F,) int32, number of vehicles created so far."""
    valid: np.ndarray
    """(F,) bool, False once a vehicle had no route."""
    order: np.ndarray
    """(F,) int32, flows sorted by starting time."""
    active: np.ndarray
    """Bit set of the flows that have started and not ended."""
    flows: int
    """Number of flows."""


class Lanes(NamedTuple):
    """State of lanes and lights that does not concern driving."""

    waited: np.ndarray
    """Bit set of the lanes with waiting vehicles."""
    seconds: np.ndarray
    """(L,) float64, vehicle-seconds on each lane and waiting to enter it, since last reset."""
    remaining: np.ndarray
    """(I,) float64, seconds to the end of the phase in the built-in cycle."""
    segment_first: np.ndarray
    """int32, front vehicle of each lane segment; see `segment_starts`."""
    segment_last: np.ndarray
    segment_starts: np.ndarray
    """(L + 1,) int32, starts of the lanes' segments."""


class State(NamedTuple):
    """The complete changing state of a simulation."""

    traffic: Traffic
    pool: Pool
    sources: Sources
    lanes: Lanes


SHARED = frozenset({"order", "kinds", "route_starts", "route_roads", "segment_starts"})
"""Parts that kernels never write to."""
SLOTS = frozenset({"vehicles", "plans", "members", "priorities", "free", "new", "moved", "tallies"})
"""Parts with one entry per slot."""


def words(size: int) -> np.ndarray:
    """An empty bit set for numbers below `size`."""
    return np.zeros((size + 63) // 64, dtype=np.uint64)


def drivers(kinds: np.ndarray, interval: float) -> np.ndarray:
    """DRIVER records of vehicle kinds, for steps of `interval` seconds."""
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
    """The state before the first step, with an unseeded random generator."""
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
    """Remove all vehicles and restart; the random generator continues, and flows without a route stay disabled."""
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
    """A copy of the state with more slots."""
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
    """An independent copy; parts that kernels never write to are shared."""

    def own(name: str, part: Any) -> Any:
        if name in SHARED or not isinstance(part, np.ndarray):
            return part
        copy = lined_up(part.shape, part.dtype)
        copy[:] = part
        return copy

    return mapped(state, own)


def mapped(state: State, change: Callable[[str, Any], Any]) -> State:
    """The state with every part replaced by `change(name, part)`."""
    groups: list[Any] = []
    for group in state:
        parts: dict[str, Any] = group._asdict()
        groups.append(type(group)(**{name: change(name, part) for name, part in parts.items()}))
    return State(*groups)
