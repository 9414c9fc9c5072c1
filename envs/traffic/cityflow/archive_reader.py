"""Reader and validator of snapshots written by `archive_json` or CityFlow. Whatever a file contains, the engine's
kernels, which perform no checks, can safely continue from the resulting state."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from envs.errors import TrafficFileError
from envs.traffic.cityflow.archive_original import is_original, translated
from envs.traffic.engine.inspection import VEHICLE_ID, vehicle_name
from envs.traffic.engine.state import (
    CUMULATIVE,
    FINISHED,
    FLOW_CLOCK,
    FREE,
    NEW,
    NEXT_FLOW,
    NOT_PAIRED,
    PLAN,
    POOL,
    PUSHED,
    RANDOM,
    REAL,
    RUNNING,
    SHADOW,
    STEP,
    TWISTER,
    drivers,
    new_state,
)
from envs.traffic.files import JsonObject
from envs.traffic.network import Network
from envs.traffic.network.layout import NONE, VEHICLE_KIND, FlowArrays
from envs.traffic.network.routes import make_kind

LATEST_STEP = 2**30
"""Largest step number and vehicle number accepted in a file."""
_FIRST_CAPACITY = 256
_ROUTE = "a list of two or more roads of this engine's network, each linked to the next one"
_NONE_AT_FIRST = (
    "next_drivable",
    "ahead",
    "behind",
    "next_blocker",
    "partner",
    "signal_target",
    "received",
    "target_leader",
    "target_follower",
    "segment",
    "segment_ahead",
    "segment_behind",
)
_WORD = re.compile(r"[0-9]{1,10}")


def _load(path: Path) -> Any:
    """The value of a JSON file, with numbers parsed with correct rounding, unlike in CityFlow."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise TrafficFileError(f"{path}: there is no such file") from None
    except OSError as error:
        raise TrafficFileError(f"{path}: the file cannot be read ({error})") from error
    if not content:
        raise TrafficFileError(
            f"{path}: the file is empty, as CityFlow leaves it if some gap is not a number; take the snapshot again "
            "some steps later"
        )
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        raise TrafficFileError(f"{path}: not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from error
    except (ValueError, RecursionError) as error:
        raise TrafficFileError(f"{path}: not JSON: {error}") from error


class SnapshotReader:
    """Fills a new state from a file, part by part."""

    def __init__(self, path: Path, network: Network, flows: FlowArrays, interval: float, lane_change: bool) -> None:
        self.path, self.network, self.flows, self.interval = path, network, flows, interval
        self.lane_change = lane_change
        document = _load(path)
        if is_original(document):
            document = translated(document, network, flows, interval, str(path))
        self.top = JsonObject(document, str(path))
        self.vehicles = [
            JsonObject(v, f"{path}: vehicle {i}") for i, v in enumerate(self.top.items("vehicles", "a list"))
        ]
        capacity = max(_FIRST_CAPACITY, 1 << len(self.vehicles).bit_length())
        self.state = new_state(network.map, flows, interval, lane_change, capacity)
        self.places = {name: drivable for drivable, name in enumerate(network.drivable_keys)}
        self.slots: dict[str, int] = {}
        """Slots of vehicles by id, which are the positions in the file's list."""
        self.kinds = {kind: number for number, kind in enumerate(flows.kinds.tolist())}
        self.routes: dict[tuple[int, ...], int] = {}
        """Numbers of routes that differ from those of the vehicles' flows."""

    def read_totals(self) -> None:
        """Read time, statistics and random generator."""
        if self.top.number("interval") != self.interval:
            raise self.top.complain("interval", f"that of this engine, {self.interval!r}")
        counts = self.state.traffic.counts
        counts[STEP] = self.top.integer("step", 0, LATEST_STEP)
        counts[FINISHED] = self.top.integer("finishedVehicleCnt", 0)
        self.state.pool.times[CUMULATIVE] = self.top.number("cumulativeTravelTime")
        words = self.top.text("rnd").split()
        valid = len(words) == TWISTER + 1 and all(map(_WORD.fullmatch, words))
        numbers = np.array(words if valid else [2**32], dtype=np.int64)
        *state, position = numbers.tolist()
        if position > TWISTER or numbers.max() >= 2**32 or not (any(state[1:]) or state[0] >> 31):
            raise self.top.complain("rnd", f"{TWISTER} words of 32 bits, not all of them 0, and a position")
        self.state.pool.random[:], counts[RANDOM] = state, position

    def read_vehicles(self) -> None:
        """Read all vehicles, then the relations between them."""
        for slot, vehicle in enumerate(self.vehicles):
            name = vehicle.text("id")
            if name in self.slots:
                raise vehicle.complain("id", "an id used once")
            self.slots[name] = slot
            vehicle.where = f"{self.path}: vehicle {name!r}"
        for name in _NONE_AT_FIRST:
            self.state.traffic.vehicles[name] = NONE
        for slot, vehicle in enumerate(self.vehicles):
            self._read_vehicle(slot, vehicle)
            self._read_way(slot, vehicle)
        for slot, vehicle in enumerate(self.vehicles):
            if "laneChange" in vehicle.values:
                self._read_lane_change(slot, JsonObject(vehicle.values["laneChange"], f"{vehicle.where}: 'laneChange'"))
        for slot, vehicle in enumerate(self.vehicles):
            self._check_pair(slot, vehicle)
        self._add_kinds_and_routes()
        self._fill_pool()

    def _read_vehicle(self, slot: int, given: JsonObject) -> None:
        """Read the properties of a single vehicle other than its place and route."""
        vehicle = self.state.traffic.vehicles[slot]
        match = VEHICLE_ID.fullmatch(given.text("id"))
        flow = PUSHED if match is None or match[2] is None else int(match[2])
        if match is None or flow >= len(self.flows.kind) or int(match[3]) >= LATEST_STEP:
            raise given.complain("id", f"flow_F_N with F below {len(self.flows.kind)}, or manually_pushed_N")
        vehicle["flow"], vehicle["number"] = flow, int(match[3])
        vehicle["priority"] = given.integer("priority")
        vehicle["enter_time"], vehicle["gap"] = given.number("enterTime"), given.number("gap")
        vehicle["speed"], vehicle["running"] = given.number("speed", least=0), given.flag("running")
        if given.values.get("customSpeed") is not None:
            vehicle["custom_speed"], vehicle["has_custom_speed"] = given.number("customSpeed", least=0), True
        vehicle["leader"], vehicle["blocker"] = self._vehicle(given, "leader"), self._vehicle(given, "blocker")
        vehicle["enter_link_time"] = given.integer("enterLaneLinkTime", 0)
        kind = tuple(make_kind(given.values, given.where).tolist())
        vehicle["kind"] = self.kinds.setdefault(kind, len(self.kinds))

    def _read_way(self, slot: int, given: JsonObject) -> None:
        """Read a vehicle's place, route and plan; its drivable and plan must lie on the roads of its route."""
        vehicle, arrays = self.state.traffic.vehicles[slot], self.network.arrays
        here = self._place(given, "drivable")
        vehicle["drivable"], vehicle["previous"] = here, self._place(given, "prevDrivable")
        if vehicle["running"] and here == NONE:
            raise given.complain("drivable", "the lane or lane link on which the vehicle is running")
        length = float(arrays.length[here]) if vehicle["running"] else 0.0
        vehicle["distance"] = given.number("dis", least=0, most=length)
        names, index = given.items("route", _ROUTE, least=2), self.network.road_index
        roads = [index.get(name, NONE) if isinstance(name, str) else NONE for name in names]
        vehicle["route"] = self._route(given, int(vehicle["flow"]), tuple(roads))
        vehicle["route_position"] = given.integer("routePosition", 0, len(roads) + 1)
        plan = given.items("plan", "a list of drivables")
        if len(plan) > PLAN or (plan and here == NONE):
            raise given.complain("plan", f"the next drivables, at most {PLAN}")
        on_route = set(roads)
        if here != NONE and not self._roads_of(here) <= on_route:
            raise given.complain("drivable", "a place on the vehicle's route")
        lanes = len(self.network.lane_ids)
        for i, name in enumerate(plan):
            if name is None and i == len(plan) - 1 and here < lanes:  # a plan also records that nothing follows a lane
                self.state.traffic.plans[slot, i] = NONE
                break
            following = self.places.get(name, NONE) if isinstance(name, str) else NONE
            if here >= lanes:
                joined = following == arrays.link_to[here - lanes]
            else:
                joined = following >= lanes and arrays.link_from[following - lanes] == here
            if not joined or not self._roads_of(following) <= on_route:
                raise given.complain("plan", "drivables on the vehicle's route, each one behind the one before")
            self.state.traffic.plans[slot, i] = here = following
        vehicle["plan_length"] = len(plan)

    def _roads_of(self, drivable: int) -> set[int]:
        """The road of a lane, or the two roads that a lane link connects."""
        arrays, link = self.network.arrays, drivable - len(self.network.lane_ids)
        lanes = [drivable] if link < 0 else [arrays.link_from[link], arrays.link_to[link]]
        return {int(arrays.lane_road[lane]) for lane in lanes}

    def _route(self, given: JsonObject, flow: int, roads: tuple[int, ...]) -> int:
        """The number of a route: that of the vehicle's flow, one read before, or a new one."""
        starts, route = self.flows.route_starts, self.flows.route[flow] if flow != PUSHED else NONE
        if route != NONE and tuple(self.flows.route_roads[starts[route] : starts[route + 1]].tolist()) == roads:
            return int(route)
        if roads not in self.routes:
            next_starts, next_roads = self.network.next_road_starts, self.network.next_roads
            if NONE in roads or any(
                b not in next_roads[next_starts[a] : next_starts[a + 1]] for a, b in pairwise(roads)
            ):
                raise given.complain("route", _ROUTE)
            self.routes[roads] = len(starts) - 1 + len(self.routes)
        return self.routes[roads]

    def _read_lane_change(self, slot: int, given: JsonObject) -> None:
        vehicles, lane_road = self.state.traffic.vehicles, self.network.arrays.lane_road
        vehicle = vehicles[slot]
        kind = given.integer("partnerType", NOT_PAIRED, (SHADOW if self.lane_change else NOT_PAIRED) + 1)
        partner, target = self._vehicle(given, "partner"), self._place(given, "target")
        if (kind == NOT_PAIRED) != (partner == NONE) or partner == slot:
            raise given.complain("partner", "another vehicle if and only if there is a partner type")
        vehicle["partner_type"], vehicle["partner"] = kind, partner
        vehicle["offset"], vehicle["last_change"] = given.number("offset"), given.number("lastChangeTime")
        if kind == REAL:
            if not 0 <= target < len(lane_road) or vehicles["drivable"][partner] != target:
                raise given.complain("target", "the lane of the partner")
            vehicle["signal_target"], vehicle["changing"], vehicle["sends"] = target, True, True
            vehicle["signal_direction"] = given.integer("direction", -1, 2)
            vehicle["segment"] = given.integer("segment", 0, int(self.network.arrays.lane_segments[target]))

    def _check_pair(self, slot: int, given: JsonObject) -> None:
        """Check that a pair consists of a real vehicle and its shadow, by their ids, and that both are running."""
        vehicles = self.state.traffic.vehicles
        kind, partner = int(vehicles["partner_type"][slot]), int(vehicles["partner"][slot])
        if vehicle_name(vehicles[slot]) != given.text("id"):
            raise given.complain("id", "one that ends in _shadow if and only if the partner type is 2")
        if kind != NOT_PAIRED:
            mutual = vehicles["partner"][partner] == slot and kind + vehicles["partner_type"][partner] == REAL + SHADOW
            if not (mutual and vehicles["running"][slot] and vehicles["running"][partner]):
                raise given.complain("laneChange", "that of a running vehicle whose partner is its counterpart")

    def _add_kinds_and_routes(self) -> None:
        traffic = self.state.traffic
        kinds = np.array(list(self.kinds), dtype=VEHICLE_KIND)
        routes = [np.array(roads, dtype=np.int32) for roads in self.routes]
        ends = int(traffic.route_starts[-1]) + np.cumsum([len(roads) for roads in routes], dtype=np.int64)
        self.state = self.state._replace(
            traffic=traffic._replace(
                kinds=drivers(kinds, self.interval),
                route_starts=np.concatenate((traffic.route_starts, ends)).astype(np.int32),
                route_roads=np.concatenate((traffic.route_roads, *routes)),
            )
        )

    def _fill_pool(self) -> None:
        number, (members, free, *_), counts = len(self.vehicles), self.state.pool, self.state.traffic.counts
        priorities = self.state.traffic.vehicles["priority"][:number]
        members[:number] = np.argsort(priorities)
        same = np.flatnonzero(np.diff(priorities[members[:number]]) == 0)
        if len(same):
            raise self.vehicles[members[same[0]]].complain("priority", "a number that no other vehicle has")
        counts[POOL], counts[FREE] = number, len(free) - number
        free[: counts[FREE]] = np.arange(len(free) - 1, number - 1, -1)

    def read_drivables(self) -> None:
        """Read the vehicles on lanes and lane links, those waiting to enter a lane, and those not assigned to one."""
        traffic, lanes = self.state.traffic, self.state.lanes
        drivables = self._objects("drivables", self.network.drivable_keys)
        placed: set[int] = set()
        running = 0
        for drivable, given in enumerate(drivables):
            slots = self._vehicles(given, "vehicles", placed, drivable, running=True)
            running += len(slots)
            queue = traffic.queues[drivable]
            if slots:
                traffic.vehicles["ahead"][slots[1:]] = slots[:-1]
                traffic.vehicles["behind"][slots[:-1]] = slots[1:]
                queue["first"], queue["last"], queue["size"] = slots[0], slots[-1], len(slots)
                _include(traffic.occupied, drivable)
            if drivable >= len(self.network.lane_ids):
                lane = self.network.arrays.link_from[drivable - len(self.network.lane_ids)]
                traffic.queues["departing"][lane] += len(slots)
                continue
            lanes.seconds[drivable] = given.number("vehicleSeconds", least=0)
            slots = self._vehicles(given, "waitingBuffer", placed, drivable, running=False)
            if slots:
                traffic.vehicles["behind"][slots[:-1]] = slots[1:]
                queue["waiting_first"], queue["waiting_last"], queue["waiting_size"] = slots[0], slots[-1], len(slots)
                _include(lanes.waited, drivable)
        new = self._vehicles(self.top, "toBeRouted", placed, NONE, running=False)
        self.state.pool.new[: len(new)] = new
        lost = set(range(len(self.vehicles))) - placed
        if lost:
            raise TrafficFileError(f"{self.vehicles[min(lost)].where} is in no list of a drivable, nor in 'toBeRouted'")
        if self.top.integer("activeVehicleCount") != running:
            raise self.top.complain("activeVehicleCount", f"the number of running vehicles, {running}")
        traffic.counts[RUNNING], traffic.counts[NEW] = running, len(new)

    def _vehicles(self, given: JsonObject, key: str, placed: set[int], drivable: int, running: bool) -> list[int]:
        """Slots of a list of vehicles, which must all be on `drivable` and in no other list."""
        vehicles, slots = self.state.traffic.vehicles, []
        for name in given.items(key, "a list of vehicles"):
            slot = self.slots.get(name, NONE) if isinstance(name, str) else NONE
            if slot == NONE or slot in placed:
                raise given.complain(key, f"vehicles of this file, each once, which {name!r} is not")
            if vehicles["drivable"][slot] != drivable or vehicles["running"][slot] != running:
                raise given.complain(key, f"vehicles whose 'drivable' and 'running' say so, unlike those of {name!r}")
            placed.add(slot)
            slots.append(slot)
        return slots

    def read_flows(self) -> None:
        """Read the progress of the flows; all that have not ended share the same clock."""
        sources, start, end = self.state.sources, self.flows.start, self.flows.end
        given = self._objects("flows", [f"flow_{i}" for i in range(len(start))])
        current = np.zeros(len(given))
        for i, flow in enumerate(given):
            sources.now[i], current[i] = flow.number("nowTime", least=0), flow.number("currentTime", least=0)
            sources.made[i], sources.valid[i] = flow.integer("cnt", 0, LATEST_STEP), flow.flag("valid")
        runs = sources.valid & ((end == -1) | (current <= end))
        clock = float(current[runs][0]) if runs.any() else float(current.max(initial=0.0))
        for i in np.flatnonzero(runs & (current != clock))[:1]:
            raise given[i].complain("currentTime", f"{clock!r}, the time of the other flows that have not ended")
        most = self.flows.interval + np.where(start == end, 0.0, self.interval)  # a larger one creates many at once
        for i in np.flatnonzero(runs & (sources.now > most))[:1]:
            raise given[i].complain("nowTime", f"at most {most[i]:g}, by the flow's interval")
        sources.stopped[~runs] = current[~runs]
        self.state.pool.times[FLOW_CLOCK] = clock
        self.state.traffic.counts[NEXT_FLOW] = np.searchsorted(start[sources.order], clock, side="right")
        for i in np.flatnonzero(runs & (start <= clock)).tolist():
            _include(sources.active, i)

    def read_lights(self) -> None:
        """Read the phases of the lights and the seconds until they end."""
        numbers = [i for i in range(len(self.network.intersection_ids)) if self.network.num_phases(i)]
        given = self._objects("trafficLights", [self.network.intersection_ids[i] for i in numbers])
        for i, light in zip(numbers, given, strict=True):
            self.state.traffic.phase[i] = light.integer("curPhaseIndex", 0, self.network.num_phases(i))
            self.state.lanes.remaining[i] = light.number("remainDuration", least=0)

    def _objects(self, key: str, names: Sequence[str]) -> list[JsonObject]:
        """The objects under `key`, which must have exactly the given names."""
        where = f"{self.path}: {key!r}"
        given = JsonObject(self.top.values.get(key), where)
        for name in names:
            if name not in given.values:
                raise given.complain(name, "an object for everything in this engine's files")
        if len(given.values) > len(names):
            unknown = min(given.values.keys() - set(names))
            raise TrafficFileError(f"{where}: {unknown!r} is not in this engine's files")
        return [JsonObject(given.values[name], f"{where}: {name!r}") for name in names]

    def _place(self, given: JsonObject, key: str) -> int:
        return self._optional(given, key, self.places, "null or the id of a lane or lane link of the network")

    def _vehicle(self, given: JsonObject, key: str) -> int:
        return self._optional(given, key, self.slots, "null or the id of a vehicle of this file")

    def _optional(self, given: JsonObject, key: str, index: dict[str, int], expected: str) -> int:
        name = given.values.get(key)
        number = NONE if key in given.values and name is None else index.get(name) if isinstance(name, str) else None
        if number is None:
            raise given.complain(key, expected)
        return number


def _include(words: np.ndarray, member: int) -> None:
    """Add a number to a bit set."""
    words[member >> 6] |= np.uint64(1 << (member & 63))
