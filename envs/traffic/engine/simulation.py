"""A simulation of one network with its vehicles, without files and names; the basis of `Engine` and `BatchEngine`."""

from __future__ import annotations

import warnings

import numpy as np

from envs.traffic.engine import inspection, locality
from envs.traffic.engine.arrivals import push
from envs.traffic.engine.movements import count_movements
from envs.traffic.engine.pointer import addresses
from envs.traffic.engine.queues import complete, renote_onward
from envs.traffic.engine.state import (
    CULPRIT,
    FINISHED,
    FREE,
    FULL,
    INVALID_ROUTE,
    NEW,
    POOL,
    RUNNING,
    SHARED,
    SLOTS,
    STATUS,
    STEP,
    STRANDED,
    State,
    grown,
    new_state,
    restart,
    seed,
)
from envs.traffic.engine.step import advance, leads_on
from envs.traffic.engine.team import LEAST_DRIVABLES, Team
from envs.traffic.files import MOST_WARNINGS
from envs.traffic.network import Network
from envs.traffic.network.routes import Flows

FIRST_CAPACITY = 256
"""Number of vehicle slots of a new engine; it grows as needed."""


class Simulation:
    """Vehicles on a network. Networks and flows are never modified, so many simulations can share them."""

    def __init__(
        self, network: Network, flows: Flows, interval: float = 1.0, lane_change: bool = False, lights: bool = False
    ) -> None:
        self.network, self.flows, self.interval = network, flows, interval
        self.lane_change, self.built_in_lights = lane_change, lights
        self.map = network.map
        self._network_at = addresses(self.map)
        self.changes = 0
        """Number of operations so far that may have changed the vehicles."""
        self._team: Team | None = None
        self._sorted_at = 0
        self.take(flows)

    def take(self, flows: Flows) -> None:
        """Restart with other flows, and with the random generator of a new simulation."""
        self.flows, self._flows_at = flows, addresses(flows.arrays)
        self.state = new_state(self.map, flows.arrays, self.interval, self.lane_change, FIRST_CAPACITY)
        self.seed(0)  # an unseeded generator repeats one number forever, and priorities must differ
        self._reported = np.zeros(len(flows.arrays.kind), dtype=np.bool_)

    @property
    def state(self) -> State:
        """The changing part of the simulation."""
        return self._state

    @state.setter
    def state(self, value: State) -> None:
        self._state, self._state_at = value, addresses(*value)
        self.changes += 1

    def load(self, state: State) -> None:
        """Continue from a state, which is completed in place (see `queues.complete`). Raises ValueError for a state of
        another network, interval, flow or kind of engine."""
        fresh = new_state(self.map, self.flows.arrays, self.interval, self.lane_change, 0)
        given = {name: part for group in state for name, part in group._asdict().items()}
        for name, expected in ((name, part) for group in fresh for name, part in group._asdict().items()):
            if name in SHARED:  # entries beyond the given ones belong to pushed vehicles
                fits = np.array_equal(given[name][: len(expected)], expected)
            else:
                fits = name in SLOTS or np.shape(given[name]) == np.shape(expected)
            if not fits:
                raise ValueError(f"the state belongs to another road network, interval or flow: {name} does not fit")
        if not self.lane_change and state.traffic.vehicles["partner_type"][inspection.pool(state)].any():
            raise ValueError("the state has lane changes under way, which this engine does not support")
        self.state = state
        complete(state, self._network_at, self._state_at)

    def use_threads(self, count: int) -> None:
        """Use `count` threads per step from now on where this is faster: without lane changes, in cities with at least
        `team.LEAST_DRIVABLES` lanes and lane links. Results do not depend on it. Raises ValueError below 1."""
        if count < 1:
            raise ValueError(f"threads = {count}: expected a positive whole number")
        several = count > 1 and self.map.drivables >= LEAST_DRIVABLES and not self.lane_change
        self._team = Team(count) if several else None

    @property
    def threads(self) -> int:
        """Number of threads that compute a step together."""
        return 1 if self._team is None else self._team.threads

    def run(self, steps: int) -> None:
        """Take `steps` steps. Raises RuntimeError if a vehicle leaves its route, which happens if it cannot stop at the
        end of a lane that does not continue along it."""
        self.changes += 1
        while steps > 0:
            steps -= self._advance(self._until_sorting(steps))
            status = self.state.traffic.counts[STATUS]
            if status == FULL:
                self.state = grown(self.state, 2 * len(self.state.pool.free))
            elif status == INVALID_ROUTE:
                self._report_switched_off()
            elif status == STRANDED:
                vehicle = self.state.traffic.vehicles[self.state.traffic.counts[CULPRIT]]
                name = inspection.vehicle_name(vehicle)
                lane = self.network.drivable_ids[vehicle["drivable"]]
                raise RuntimeError(
                    f"vehicle {name} cannot follow its route from lane {lane}: no lane link continues it there, and "
                    "the vehicle was too fast to stop or drove in a circle, where CityFlow would crash; reset the "
                    "engine, and add a lane link or change the route"
                )

    def _until_sorting(self, steps: int) -> int:
        """The number of steps, at most `steps`, until slots are sorted next; sorts them if due (see `locality`)."""
        counts = self.state.traffic.counts
        if self.lane_change or counts[POOL] < locality.LEAST_VEHICLES:
            return steps
        now = int(counts[STEP])
        if not 0 <= now - self._sorted_at < locality.INTERVAL:
            locality.sort_slots(self.state)
            self._sorted_at = now
        return min(steps, self._sorted_at + locality.INTERVAL - now)

    def _advance(self, steps: int) -> int:
        """Take up to `steps` steps; see `step.advance`."""
        where = (self._network_at, self._flows_at, self._state_at)
        if self._team is not None:
            return self._team.advance(*where, self.state, steps, self.interval, self.built_in_lights)
        return int(advance(*where, steps, self.interval, self.lane_change, self.built_in_lights))

    def _report_switched_off(self) -> None:
        """Warn once of each flow that has been disabled; after the first ones, only that there are more."""
        known = int(self._reported.sum())
        new = np.flatnonzero(~self.state.sources.valid & ~self._reported).tolist()
        self._reported[new] = True
        texts = [f"flow_{flow} has no route and is switched off" for flow in new[: max(MOST_WARNINGS - known, 0)]]
        if known <= MOST_WARNINGS < known + len(new):
            texts.append("more flows have no route and are switched off")
        for text in texts:
            warnings.warn(text, RuntimeWarning, stacklevel=3)

    def restart(self) -> None:
        """Restart; the random generator continues."""
        self.changes += 1
        restart(self.state, self.map, self.flows.arrays)

    def seed(self, value: int) -> None:
        """Restart the random generator from a 32-bit seed."""
        seed(self.state, value)

    @property
    def time(self) -> float:
        """Simulated time in seconds."""
        return float(self.state.traffic.counts[STEP] * self.interval)

    def average_travel_time(self) -> float:
        """Average travel time in seconds, over vehicles that have finished and those still driving or waiting."""
        return inspection.average_travel_time(self.state, self.time)

    @property
    def finished(self) -> int:
        """Number of vehicles that have arrived."""
        return int(self.state.traffic.counts[FINISHED])

    @property
    def running(self) -> int:
        """Number of vehicles on the roads, including shadows of lane changes."""
        return int(self.state.traffic.counts[RUNNING])

    def take_notice(self, v: int) -> None:
        """Update what lane links record of a vehicle on a lane whose route has changed."""
        lane = int(self.state.traffic.vehicles[v]["drivable"])
        if self.state.traffic.queues[lane]["first"] == v:
            renote_onward(self._network_at, self._state_at, lane)

    def push(self, kind: int, route: int) -> int:
        """Add a vehicle with a kind and a route of the state; returns its slot."""
        if not self.state.traffic.counts[FREE]:
            self.state = grown(self.state, 2 * len(self.state.pool.free))
        self.changes += 1
        return int(push(self._state_at, kind, route, self.time))

    def leads_on(self, roads: np.ndarray, lane: int) -> bool:
        """Whether a vehicle on `lane`, a lane of the first of `roads` (int32), can continue to the next road."""
        return bool(leads_on(self._network_at, roads.astype(np.int32), lane))

    @property
    def waiting(self) -> int:
        """Number of vehicles waiting to enter."""
        return int(self.state.traffic.queues["waiting_size"].sum() + self.state.traffic.counts[NEW])

    def lane_waiting(self) -> np.ndarray:
        """Number of standing vehicles on every lane, (lane,) int32."""
        return inspection.lane_waiting(self.state, self.map.lanes)

    def lane_near(self, seconds: float) -> np.ndarray:
        """Number of vehicles per lane that could reach its end within `seconds` at the speed limit, (lane,) int32."""
        return inspection.lane_near(self.map, self.state, seconds)

    def count_movements(
        self, link_agent: np.ndarray, link_movement: np.ndarray, present: np.ndarray, arrived: np.ndarray
    ) -> None:
        """Add the vehicles on incoming lanes by movement; see `movements.count_movements`."""
        count_movements(self._network_at, self._state_at, link_agent, link_movement, present, arrived)
