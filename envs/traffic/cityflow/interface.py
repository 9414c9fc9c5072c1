"""The traffic engine: CityFlow's Python interface and results, with errors where CityFlow crashes.

    from envs.traffic import Engine
    engine = Engine("config.json")
    engine.set_tl_phase("intersection_1_1", 2)
    engine.next_step()
    engine.get_average_travel_time()

Results are bitwise equal to CityFlow's. With `laneChange`, CityFlow's results depend on the order in which it visits
vehicles, and those here belong to one such order (see `lane_change`). Arguments have CityFlow's names; numbers and
lists may be numpy's. Additions to CityFlow's methods: `run` takes many steps at once, the `lane_...` properties and
`vehicle_table` return arrays instead of dictionaries, and `state_dict` and `load_state_dict` save and restore exactly.
"""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, SupportsFloat, SupportsIndex

import numpy as np

from envs.errors import TrafficFileError
from envs.traffic.cityflow import archive
from envs.traffic.cityflow.additions import Additions
from envs.traffic.cityflow.archive import Archive
from envs.traffic.cityflow.replay import ReplayWriter, write_roadnet_log
from envs.traffic.cityflow.roster import Roster
from envs.traffic.engine import checkpoint, inspection
from envs.traffic.engine.batch import cores
from envs.traffic.engine.inspection import VehicleTable
from envs.traffic.engine.simulation import Simulation
from envs.traffic.engine.state import PUSHED, State, copied, drivers
from envs.traffic.files import EngineConfig, JsonObject, read_config, read_json_file
from envs.traffic.network import Network, build_network
from envs.traffic.network.routes import PUSHED_VEHICLE, build_flows, make_kind

SHORTEST_CYCLE = 1e-3
"""Minimum total duration of an intersection's phases in the built-in cycle, in steps."""


class Engine:
    """An engine with CityFlow's interface. `thread_num` is the number of threads used in large cities, at most the
    number of cores (`Simulation.use_threads`); small cities use one thread. Results do not depend on it.

    Raises `TrafficFileError` if a file is missing or invalid.
    """

    def __init__(self, config_file: str | Path, thread_num: SupportsIndex = 1) -> None:
        if isinstance(thread_num, bool) or not hasattr(thread_num, "__index__") or operator.index(thread_num) < 1:
            raise ValueError(f"thread_num = {thread_num!r}: expected a positive whole number")
        self.config: EngineConfig = read_config(config_file)
        roadnet_file = self.config.directory + self.config.roadnet_file
        flow_file = self.config.directory + self.config.flow_file
        self.network = build_network(read_json_file(roadnet_file), roadnet_file)
        if not self.config.rl_traffic_light:
            _require_cycles(self.network, self.config.interval, roadnet_file)
        self.flows = build_flows(read_json_file(flow_file), self.network, flow_file)
        self.simulation = Simulation(
            self.network,
            self.flows,
            self.config.interval,
            self.config.lane_change,
            lights=not self.config.rl_traffic_light,
        )
        self.simulation.use_threads(min(operator.index(thread_num), cores()))
        self.simulation.seed(self.config.seed)
        self._pushed = 0
        names = [name.encode("utf-8", "surrogatepass") for name in self.network.lane_ids]
        self._lane_order = np.array(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64)
        self._lanes_in_order = [self.network.lane_ids[i] for i in self._lane_order.tolist()]
        self._roster, self._roster_of = Roster(self.network), -1
        self._additions = Additions(self.network, self.config.interval)
        self._replay: ReplayWriter | None = None
        self._saves_replay = self.config.save_replay
        if self.config.save_replay:
            write_roadnet_log(self.network, Path(self.config.directory + self.config.roadnet_log_file))
            self._replay = ReplayWriter(self.network, Path(self.config.directory + self.config.replay_log_file))

    @property
    def state(self) -> State:
        """The arrays of the engine, for reading only."""
        return self.simulation.state

    # --- driving -----------------------------------------------------------------------------------------------------

    def next_step(self) -> None:
        """Simulate one step of `interval` seconds."""
        self.simulation.run(1)
        if self._replay is not None and self._saves_replay:
            self._replay.write(self.state)

    def run(self, steps: SupportsIndex) -> None:
        """Simulate `steps` steps at once, which is faster than as many calls of `next_step` and equivalent to them."""
        steps = operator.index(steps)
        if steps < 0:
            raise ValueError(f"steps = {steps}: expected zero or more")
        if self._replay is None:
            self.simulation.run(steps)
            return
        for _ in range(steps):
            self.next_step()

    def reset(self, seed: bool = False) -> None:
        """Restart without vehicles. With `seed` the random generator restarts from the configuration's seed; otherwise
        it continues."""
        arrays = self.flows.arrays
        if len(self.state.traffic.kinds) > len(arrays.kinds) or len(self.state.traffic.route_starts) > len(
            arrays.route_starts
        ):
            self._replace(
                kinds=drivers(arrays.kinds, self.config.interval),
                route_starts=arrays.route_starts,
                route_roads=arrays.route_roads,
            )
        self.simulation.restart()
        if seed:
            self.simulation.seed(self.config.seed)

    def set_random_seed(self, seed: SupportsIndex) -> None:
        """Restart the random generator from `seed`."""
        self.simulation.seed(operator.index(seed))

    # --- looking -----------------------------------------------------------------------------------------------------

    def get_current_time(self) -> float:
        """Simulated time in seconds."""
        return self.simulation.time

    def get_vehicle_count(self) -> int:
        """Number of running vehicles."""
        return self.simulation.running

    def get_average_travel_time(self) -> float:
        """Average travel time in seconds; see `Simulation.average_travel_time`."""
        return self.simulation.average_travel_time()

    def get_vehicles(self, include_waiting: bool = False) -> list[str]:
        """Ids of the running vehicles, or of all vehicles, in ascending order of priority."""
        return self._present().ids(self.state, bool(include_waiting))

    def get_lane_vehicle_count(self) -> dict[str, int]:
        """Number of running vehicles on every lane, by lane id."""
        return self._by_lane(self.lane_vehicle_count)

    def get_lane_waiting_vehicle_count(self) -> dict[str, int]:
        """Number of vehicles slower than 0.1 m/s on every lane, by lane id."""
        return self._by_lane(self.lane_waiting_vehicle_count)

    def get_lane_vehicles(self) -> dict[str, list[str]]:
        """Ids of the vehicles on every lane from front to rear, by lane id."""
        lists = self._present().on_lanes(self.state)
        order = self._lane_order.tolist()
        return dict(zip(self._lanes_in_order, [lists[i] for i in order], strict=True))

    def get_vehicle_speed(self) -> dict[str, float]:
        """Speed of every running vehicle in m/s, by vehicle id."""
        return self._present().by_id("speed")

    def get_vehicle_distance(self) -> dict[str, float]:
        """Distance in metres of every running vehicle from the start of its lane or lane link, by vehicle id."""
        return self._present().by_id("distance")

    def get_vehicle_info(self, vehicle_id: str) -> dict[str, str]:
        """Properties of one vehicle, as text. Raises RuntimeError for an unknown id."""
        return self._present().info(self.state, self._slot(vehicle_id))

    def get_leader(self, vehicle_id: str) -> str:
        """Id of the vehicle that the given one follows; empty if there is none. Raises RuntimeError for an unknown
        id."""
        slot = self._slot(vehicle_id)
        return self._roster.leader(slot)

    @property
    def lane_vehicle_count(self) -> np.ndarray:
        """Number of running vehicles on every lane, (lane,) int32 in the order of `network.lane_ids`; a copy."""
        return self.state.traffic.queues["size"][: len(self.network.lane_ids)].copy()

    @property
    def lane_waiting_vehicle_count(self) -> np.ndarray:
        """Number of vehicles slower than 0.1 m/s on every lane, (lane,) int32."""
        return inspection.lane_waiting(self.state, len(self.network.lane_ids))

    def vehicle_table(self) -> VehicleTable:
        """A table of all vehicles, including waiting ones."""
        return inspection.vehicle_table(self.state)

    def waiting_vehicles(self) -> dict[str, list[str]]:
        """Ids of the vehicles waiting to enter, by lane id, next one first; lanes without any are omitted."""
        lanes = np.flatnonzero(self.state.traffic.queues["waiting_size"]).tolist()
        names = self._present().names
        return {self.network.lane_ids[i]: [names[v] for v in inspection.waiting_for(self.state, i)] for i in lanes}

    # --- acting ------------------------------------------------------------------------------------------------------

    def set_tl_phase(self, intersection_id: str, phase_id: SupportsIndex) -> None:
        """Set the phase of an intersection from the next step on. Raises ValueError for an unknown intersection or
        phase, and TypeError for a phase that is not an integer. With the built-in cycle this only warns, as in
        CityFlow."""
        if not self.config.rl_traffic_light:
            warnings.warn("set_tl_phase needs rlTrafficLight = true in the configuration", RuntimeWarning, stacklevel=2)
            return
        index = self.network.intersection_index.get(intersection_id)
        if index is None:
            raise ValueError(f"there is no intersection {intersection_id!r} in {self.config.roadnet_file}")
        phases, phase = self.network.num_phases(index), operator.index(phase_id)
        if not 0 <= phase < phases:
            expected = f"expected 0 to {phases - 1}" if phases else "it is virtual and has no lights"
            raise ValueError(f"{intersection_id} has no phase {phase}: {expected}")
        self.state.traffic.phase[index] = phase

    def set_vehicle_speed(self, vehicle_id: str, speed: float) -> None:
        """Set the target speed of a vehicle for the next step; other limits still apply. Raises RuntimeError for an
        unknown id, and ValueError for a speed that is negative or not finite."""
        if not (math.isfinite(speed) and speed >= 0):
            raise ValueError(f"speed = {speed}: expected zero or a positive number of m/s")
        vehicle = self.state.traffic.vehicles[self._slot(vehicle_id)]
        vehicle["custom_speed"], vehicle["has_custom_speed"] = speed, True

    def set_vehicle_route(self, vehicle_id: str, route: Iterable[str]) -> bool:
        """Give a vehicle another route from its current road on. Returns False and keeps the route if that is not
        possible: on a lane link, for an unknown id or road, without a path, or on a lane that does not lead there.

        As in CityFlow, a vehicle that keeps its route continues from the first occurrence of its current road on it.
        """
        names = _road_names(route)
        slot = self._find(vehicle_id)
        index = self.network.road_index
        if slot is None or any(road not in index for road in names):
            return False
        vehicle = self.state.traffic.vehicles[slot]
        lane = int(vehicle["drivable"])
        if not 0 <= lane < len(self.network.lane_ids):
            return False
        road = int(self.network.arrays.lane_road[lane])
        roads = self._additions.expanded((road, *(index[name] for name in names)))
        if roads is None or not (roads[-1] == road or self.simulation.leads_on(roads, lane)):
            start, end = self.state.traffic.route_starts[vehicle["route"] : vehicle["route"] + 2]
            passed = np.flatnonzero(self.state.traffic.route_roads[start:end] == road)
            vehicle["route_position"], vehicle["plan_length"] = passed[0], 0
        else:
            vehicle["route"], vehicle["route_position"], vehicle["plan_length"] = self._add_route(roads), 0, 0
            passed = None
        self.simulation.take_notice(slot)
        return passed is None

    def push_vehicle(self, info: Mapping[str, SupportsFloat], route: Iterable[str]) -> None:
        """Add a vehicle that drives along `route` (anchor roads) from the next step on. `info` may contain speed,
        length, width, maxPosAcc, maxNegAcc, usualPosAcc, usualNegAcc, minGap, maxSpeed and headwayTime. Raises
        ValueError for an unknown key or road, an invalid number, or a route that cannot be driven."""
        strange = sorted(set(info) - {"speed", *PUSHED_VEHICLE})
        if strange:
            raise ValueError(f"push_vehicle: unknown key {strange[0]!r}; expected speed, {', '.join(PUSHED_VEHICLE)}")
        given = JsonObject({"speed": 0.0, **{key: _plain(value) for key, value in info.items()}}, "push_vehicle")
        kind, speed = make_kind(given.values, "push_vehicle", PUSHED_VEHICLE), given.number("speed", least=0)
        names = _road_names(route)
        unknown = [road for road in names if road not in self.network.road_index]
        if unknown:
            raise ValueError(f"push_vehicle: there is no road {unknown[0]!r} in {self.config.roadnet_file}")
        anchors = tuple(self.network.road_index[road] for road in names)
        roads = self._additions.expanded(anchors) if names else None
        if roads is None:
            raise ValueError(f"push_vehicle: no route leads along {names}: expected two or more linked roads")
        slot = self._make_vehicle(kind, roads)
        vehicle = self.state.traffic.vehicles[slot]
        vehicle["flow"], vehicle["number"], vehicle["speed"] = PUSHED, self._pushed, speed
        self._pushed += 1

    # --- saving ------------------------------------------------------------------------------------------------------

    def snapshot(self) -> archive.Archive:
        """A snapshot of the complete state, from which `load` continues."""
        return archive.Archive(self)

    def load(self, archive: Archive) -> None:
        """Continue from a snapshot, deterministically. Raises ValueError for a snapshot of an engine with other
        files."""
        if archive.network is not self.network and archive.network.drivable_ids != self.network.drivable_ids:
            raise ValueError("the snapshot belongs to another road network")
        self._go_on(copied(archive.state))

    def load_from_file(self, path: str | Path) -> None:
        """Continue from a file written by `Archive.dump`, here or in CityFlow. Raises TrafficFileError if the file is
        missing or invalid."""
        self._go_on(archive.read(Path(path), self.simulation))

    def state_dict(self) -> dict[str, Any]:
        """The complete state as arrays and plain numbers."""
        return checkpoint.state_dict(self.state) | {"pushed": self._pushed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly from `state`. Raises ValueError if it is incomplete or of an engine with other files."""
        if "pushed" not in state:
            raise ValueError("this is not a state of a traffic engine: pushed is missing")
        self.simulation.load(checkpoint.from_state_dict(state, self.state))
        self._pushed = int(state["pushed"])

    # --- replay ------------------------------------------------------------------------------------------------------

    def set_replay_file(self, replay_file: str) -> None:
        """Continue the replay in another file, in the directory of the configuration; its folder is created. Raises
        TrafficFileError if the file cannot be written."""
        if self._replay is None:
            warnings.warn("set_replay_file needs saveReplay = true in the configuration", RuntimeWarning, stacklevel=2)
            return
        following = ReplayWriter(self.network, Path(self.config.directory + replay_file))
        self._replay.close()
        self._replay = following

    def set_save_replay(self, open: bool) -> None:
        """Pause (False) or resume (True) writing the replay."""
        if self._replay is None:
            warnings.warn("set_save_replay needs saveReplay = true in the configuration", RuntimeWarning, stacklevel=2)
            return
        self._saves_replay = bool(open)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _go_on(self, state: State) -> None:
        """Adopt a state. Vehicles pushed later get ids that none of its vehicles has."""
        self.simulation.load(state)
        vehicles = state.traffic.vehicles[inspection.pool(state)]
        numbers = vehicles["number"][vehicles["flow"] == PUSHED]
        self._pushed = max(self._pushed, int(numbers.max(initial=-1)) + 1)

    def _present(self) -> Roster:
        """The up-to-date roster."""
        if self._roster_of != self.simulation.changes:
            self._roster.update(self.state)
            self._roster_of = self.simulation.changes
        return self._roster

    def _find(self, vehicle_id: str) -> int | None:
        return self._present().slots.get(vehicle_id) if isinstance(vehicle_id, str) else None

    def _slot(self, vehicle_id: str) -> int:
        slot = self._find(vehicle_id)
        if slot is None:
            raise RuntimeError(f"Vehicle '{vehicle_id}' not found")
        return slot

    def _by_lane(self, values: np.ndarray) -> dict[str, int]:
        return dict(zip(self._lanes_in_order, values[self._lane_order].tolist(), strict=True))

    def _add_route(self, roads: np.ndarray) -> int:
        number, parts = self._additions.route(self.state.traffic, roads)
        self._replace(**parts)
        return number

    def _add_kind(self, kind: np.void | np.ndarray) -> int:
        number, parts = self._additions.kind(self.state.traffic, kind)
        self._replace(**parts)
        return number

    def _replace(self, **parts: np.ndarray) -> None:
        if parts:
            self.simulation.state = self.state._replace(traffic=self.state.traffic._replace(**parts))

    def _make_vehicle(self, kind: np.void | np.ndarray, roads: np.ndarray) -> int:
        number, route = self._add_kind(kind), self._add_route(roads)
        return self.simulation.push(number, route)


def _road_names(route: Iterable[str]) -> list[str]:
    """The road ids of a route. Raises TypeError for a single string, as CityFlow does."""
    if isinstance(route, (str, bytes)):
        raise TypeError(f"route = {route!r}: expected a list of road ids")
    return [str(road) if isinstance(road, str) else road for road in route]


def _plain(value: Any) -> Any:
    """A numpy or torch scalar as a Python number; any other value unchanged."""
    if isinstance(value, np.ndarray) and value.size == 1:
        return value.item()
    return float(value) if hasattr(value, "__float__") and not isinstance(value, (int, float, np.ndarray)) else value


def _require_cycles(network: Network, interval: float, source: str) -> None:
    """Raise TrafficFileError if the built-in cycle of an intersection takes no time, because its lights would change
    endlessly within one step."""
    starts, phase_time = network.arrays.phase_starts, network.arrays.phase_time
    for index, name in enumerate(network.intersection_ids):
        phases = phase_time[starts[index] : starts[index + 1]]
        if len(phases) and phases.sum() < SHORTEST_CYCLE * interval:
            raise TrafficFileError(
                f"{source}: the phases of intersection {name!r} last {phases.sum():g} s in all; expected a longer "
                "'time', or rlTrafficLight = true in the configuration"
            )
