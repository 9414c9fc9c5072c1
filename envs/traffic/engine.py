"""The traffic engine: CityFlow's Python interface and CityFlow's numbers, with errors where CityFlow crashes.

    from envs.traffic import Engine
    engine = Engine("config.json")
    engine.set_tl_phase("intersection_1_1", 2)
    engine.next_step()
    engine.get_average_travel_time()

Results equal those of CityFlow bit for bit; with `laneChange` they equal one of the orders in which CityFlow may visit
its vehicles (see `lane_change`). Beyond CityFlow's methods: `run` takes many steps at once, the `lane_...` properties
and `vehicle_table` give arrays without dictionaries, `state_dict` and `load_state_dict` save and continue exactly.
"""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from envs.errors import TrafficFileError
from envs.traffic import archive, inspection
from envs.traffic.files import EngineConfig, Record, read_config, read_json_file
from envs.traffic.inspection import VehicleTable
from envs.traffic.layout import NONE
from envs.traffic.network import Network, build_network
from envs.traffic.replay import ReplayWriter, write_roadnet_log
from envs.traffic.routes import PUSHED_VEHICLE, build_flows, expand_route, make_kind
from envs.traffic.simulation import Simulation
from envs.traffic.state import PUSHED, State, copied, drivers

SHORTEST_CYCLE = 1e-3
"""Steps that all phases of an intersection together last at least in the built-in cycle."""


class Engine:
    """CityFlow's engine. `thread_num` is accepted for its sake and changes no result: one thread does the work.

    Raises `TrafficFileError` for a file that is missing or wrong.
    """

    def __init__(self, config_file: str | Path, thread_num: int = 1) -> None:
        if isinstance(thread_num, bool) or not isinstance(thread_num, int) or thread_num < 1:
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
        self.simulation.seed(self.config.seed)
        self._pushed = 0
        names = [name.encode("utf-8", "surrogatepass") for name in self.network.lane_ids]
        self._lane_order = sorted(range(len(names)), key=names.__getitem__)
        self._replay: ReplayWriter | None = None
        self._saves_replay = self.config.save_replay
        if self.config.save_replay:
            write_roadnet_log(self.network, Path(self.config.directory + self.config.roadnet_log_file))
            self._replay = ReplayWriter(self.network, Path(self.config.directory + self.config.replay_log_file))

    @property
    def state(self) -> State:
        """The arrays behind the engine, to look at."""
        return self.simulation.state

    # --- driving -----------------------------------------------------------------------------------------------------

    def next_step(self) -> None:
        """Simulate one step of `interval` seconds."""
        self.simulation.run(1)
        if self._replay is not None and self._saves_replay:
            self._replay.write(self.state)

    def run(self, steps: int) -> None:
        """Simulate many steps at once, which is faster than one by one; the same as calling `next_step` so often."""
        if operator.index(steps) < 0:
            raise ValueError(f"steps = {steps}: expected zero or more")
        if self._replay is None:
            self.simulation.run(steps)
            return
        for _ in range(steps):
            self.next_step()

    def reset(self, seed: bool = False) -> None:
        """Begin anew without vehicles. The random generator goes on, or starts again with the seed of the
        configuration if `seed`."""
        self.simulation.restart()
        if seed:
            self.simulation.seed(self.config.seed)

    def set_random_seed(self, seed: int) -> None:
        """Restart the random generator."""
        self.simulation.seed(seed)

    # --- looking -----------------------------------------------------------------------------------------------------

    def get_current_time(self) -> float:
        """Simulated seconds."""
        return self.simulation.time

    def get_vehicle_count(self) -> int:
        """Number of running vehicles."""
        return self.simulation.running

    def get_average_travel_time(self) -> float:
        """See `Simulation.average_travel_time`."""
        return self.simulation.average_travel_time()

    def get_vehicles(self, include_waiting: bool = False) -> list[str]:
        """Ids of the running vehicles, or of all, in ascending order of priority."""
        return [self._name(v) for v in inspection.members(self.state, include_waiting)]

    def get_lane_vehicle_count(self) -> dict[str, int]:
        """Running vehicles on every lane, by lane id."""
        return self._by_lane(self.lane_vehicle_count)

    def get_lane_waiting_vehicle_count(self) -> dict[str, int]:
        """Vehicles slower than 0.1 m/s on every lane, by lane id."""
        return self._by_lane(self.lane_waiting_vehicle_count)

    def get_lane_vehicles(self) -> dict[str, list[str]]:
        """Ids of the vehicles on every lane, front first."""
        ids = self.network.lane_ids
        return {ids[i]: [self._name(v) for v in inspection.on_drivable(self.state, i)] for i in self._lane_order}

    def get_vehicle_speed(self) -> dict[str, float]:
        """Speed of every running vehicle, m/s."""
        return self._by_vehicle("speed")

    def get_vehicle_distance(self) -> dict[str, float]:
        """Metres that every running vehicle has gone on its lane or lane link."""
        return self._by_vehicle("distance")

    def get_vehicle_info(self, vehicle_id: str) -> dict[str, str]:
        """What is known of one vehicle, as text. Raises RuntimeError for an unknown id."""
        return inspection.vehicle_info(self.network, self.state, self._slot(vehicle_id))

    def get_leader(self, vehicle_id: str) -> str:
        """Id of the vehicle that this one follows; empty if there is none."""
        leader = int(self.state.traffic.vehicles[self._slot(vehicle_id)]["leader"])
        return "" if leader == NONE else self._name(leader)

    @property
    def lane_vehicle_count(self) -> np.ndarray:
        """Running vehicles on every lane, (lane,) int32 in the order of `network.lane_ids`; a copy."""
        return self.state.traffic.queues["size"][: len(self.network.lane_ids)].copy()

    @property
    def lane_waiting_vehicle_count(self) -> np.ndarray:
        """Vehicles slower than 0.1 m/s on every lane, (lane,) int32."""
        return inspection.lane_waiting(self.state, len(self.network.lane_ids))

    def vehicle_table(self) -> VehicleTable:
        """All vehicles, waiting ones included."""
        return inspection.vehicle_table(self.state)

    def waiting_vehicles(self) -> dict[str, list[str]]:
        """Ids of the vehicles that wait to enter, by lane, next one first; lanes with none are left out."""
        lanes = np.flatnonzero(self.state.traffic.queues["waiting_size"]).tolist()
        return {self.network.lane_ids[i]: [self._name(v) for v in inspection.waiting_for(self.state, i)] for i in lanes}

    # --- acting ------------------------------------------------------------------------------------------------------

    def set_tl_phase(self, intersection_id: str, phase_id: int) -> None:
        """Set the phase of an intersection from the next step on. Raises ValueError for an unknown intersection or
        phase, TypeError for a phase that is no whole number. Where the built-in cycle is in charge, nothing happens but
        a warning, as in CityFlow."""
        if not self.config.rl_traffic_light:
            warnings.warn("set_tl_phase needs rlTrafficLight = true in the configuration", RuntimeWarning, stacklevel=2)
            return
        index = self.network.intersection_index.get(intersection_id)
        if index is None:
            raise ValueError(f"there is no intersection {intersection_id!r} in {self.config.roadnet_file}")
        phases = self.network.num_phases(index)
        if not 0 <= operator.index(phase_id) < phases:
            expected = f"expected 0 to {phases - 1}" if phases else "it is virtual and has no lights"
            raise ValueError(f"{intersection_id} has no phase {phase_id}: {expected}")
        self.state.traffic.phase[index] = phase_id

    def set_vehicle_speed(self, vehicle_id: str, speed: float) -> None:
        """Speed that a vehicle aims at in the next step; other limits still hold. Raises RuntimeError for an unknown
        id, ValueError for a speed that is negative or not finite."""
        if not (math.isfinite(speed) and speed >= 0):
            raise ValueError(f"speed = {speed}: expected zero or a positive number of m/s")
        vehicle = self.state.traffic.vehicles[self._slot(vehicle_id)]
        vehicle["custom_speed"], vehicle["has_custom_speed"] = speed, True

    def set_vehicle_route(self, vehicle_id: str, route: Sequence[str]) -> bool:
        """Give a vehicle another route from its present road on; False, with nothing changed, where that is not
        possible: on a lane link, for an unknown id or road, without a path, or on a lane that does not lead there."""
        slot = self._find(vehicle_id)
        if slot is None or any(road not in self.network.road_index for road in route):
            return False
        arrays, vehicle = self.network.arrays, self.state.traffic.vehicles[slot]
        lane = int(vehicle["drivable"])
        if not 0 <= lane < len(self.network.lane_ids):
            return False
        anchors = [int(arrays.lane_road[lane]), *(self.network.road_index[road] for road in route)]
        roads = expand_route(self.network, anchors)
        if roads is None or len(roads) < 2:
            return False
        if not self.simulation.leads_on(roads, lane):
            return False
        vehicle["route"], vehicle["route_position"], vehicle["plan_length"] = self._add_route(roads), 0, 0
        return True

    def push_vehicle(self, info: Mapping[str, float], route: Sequence[str]) -> None:
        """Add a vehicle that drives along `route` (anchor roads) from the next step on. `info` may hold speed, length,
        width, maxPosAcc, maxNegAcc, usualPosAcc, usualNegAcc, minGap, maxSpeed, headwayTime. Raises ValueError for an
        unknown key or road, a bad number, or a route that cannot be driven."""
        strange = sorted(set(info) - {"speed", *PUSHED_VEHICLE})
        if strange:
            raise ValueError(f"push_vehicle: unknown key {strange[0]!r}; expected speed, {', '.join(PUSHED_VEHICLE)}")
        given = Record({"speed": 0.0, **info}, "push_vehicle")
        kind, speed = make_kind(given.values, "push_vehicle", PUSHED_VEHICLE), given.number("speed", least=0)
        unknown = [road for road in route if road not in self.network.road_index]
        if unknown:
            raise ValueError(f"push_vehicle: there is no road {unknown[0]!r} in {self.config.roadnet_file}")
        roads = expand_route(self.network, [self.network.road_index[road] for road in route]) if route else None
        if roads is None or len(roads) < 2:
            raise ValueError(f"push_vehicle: no route leads along {list(route)}: expected two or more linked roads")
        slot = self._make_vehicle(kind, roads)
        vehicle = self.state.traffic.vehicles[slot]
        vehicle["flow"], vehicle["number"], vehicle["speed"] = PUSHED, self._pushed, speed
        self._pushed += 1

    # --- saving ------------------------------------------------------------------------------------------------------

    def snapshot(self) -> archive.Archive:
        """Everything, to go on from later with `load`."""
        return archive.Archive(self.network, copied(self.state), self.config.interval)

    def load(self, saved: archive.Archive) -> None:
        """Go on from a snapshot; what follows is the same each time. Raises ValueError for one of an engine with other
        files."""
        if saved.network is not self.network and saved.network.drivable_ids != self.network.drivable_ids:
            raise ValueError("the snapshot is of another road network")
        self._go_on(copied(saved.state))

    def load_from_file(self, path: str | Path) -> None:
        """Go on from a file written by `Archive.dump`. Raises TrafficFileError for a file that is missing or wrong."""
        self._go_on(archive.read(Path(path), self.simulation))

    def state_dict(self) -> dict[str, Any]:
        """Everything, as arrays and plain numbers."""
        return archive.state_dict(self.state) | {"pushed": self._pushed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly. Raises ValueError if the state is partial or of an engine with other files."""
        if "pushed" not in state:
            raise ValueError("this is no state of a traffic engine: pushed is missing")
        self.simulation.load(archive.from_state_dict(state, self.state))
        self._pushed = int(state["pushed"])

    # --- replay ------------------------------------------------------------------------------------------------------

    def set_replay_file(self, name: str) -> None:
        """Go on writing the replay to another file (in the directory of the configuration)."""
        if self._replay is None:
            warnings.warn("set_replay_file needs saveReplay = true in the configuration", RuntimeWarning, stacklevel=2)
            return
        following = ReplayWriter(self.network, Path(self.config.directory + name))
        self._replay.close()
        self._replay = following

    def set_save_replay(self, open: bool) -> None:
        """Pause (False) or continue (True) writing the replay."""
        if self._replay is None:
            warnings.warn("set_save_replay needs saveReplay = true in the configuration", RuntimeWarning, stacklevel=2)
            return
        self._saves_replay = open

    # --- inside ------------------------------------------------------------------------------------------------------

    def _go_on(self, state: State) -> None:
        """Take over a state. Vehicles that are pushed later get ids that none of its vehicles has."""
        self.simulation.load(state)
        vehicles = state.traffic.vehicles[inspection.pool(state)]
        numbers = vehicles["number"][vehicles["flow"] == PUSHED]
        self._pushed = max(self._pushed, int(numbers.max(initial=-1)) + 1)

    def _name(self, slot: int) -> str:
        return inspection.vehicle_name(self.state.traffic.vehicles[slot])

    def _find(self, vehicle_id: str) -> int | None:
        return inspection.find(self.state, vehicle_id)

    def _slot(self, vehicle_id: str) -> int:
        slot = self._find(vehicle_id)
        if slot is None:
            raise RuntimeError(f"Vehicle '{vehicle_id}' not found")
        return slot

    def _by_lane(self, values: np.ndarray) -> dict[str, int]:
        numbers, ids = values.tolist(), self.network.lane_ids
        return {ids[i]: numbers[i] for i in self._lane_order}

    def _by_vehicle(self, field: str) -> dict[str, float]:
        slots = inspection.members(self.state, False)
        values = self.state.traffic.vehicles[field]
        return dict(sorted((self._name(v), float(values[v])) for v in slots))

    def _add_route(self, roads: np.ndarray) -> int:
        starts, all_roads = self.state.traffic.route_starts, self.state.traffic.route_roads
        self._extend(
            route_starts=np.append(starts, starts[-1] + len(roads)).astype(np.int32),
            route_roads=np.concatenate((all_roads, roads)).astype(np.int32),
        )
        return len(starts) - 1

    def _add_kind(self, kind: np.void | np.ndarray) -> int:
        driver = drivers(np.atleast_1d(kind), self.config.interval)
        kinds = self.state.traffic.kinds
        same = np.flatnonzero(kinds == driver)
        if len(same):
            return int(same[0])
        self._extend(kinds=np.concatenate((kinds, driver)))
        return len(kinds)

    def _extend(self, **parts: np.ndarray) -> None:
        self.simulation.state = self.state._replace(traffic=self.state.traffic._replace(**parts))

    def _make_vehicle(self, kind: np.void | np.ndarray, roads: np.ndarray) -> int:
        number, route = self._add_kind(kind), self._add_route(roads)
        return self.simulation.push(number, route)


def _require_cycles(network: Network, interval: float, source: str) -> None:
    """Raise unless the built-in cycle of every intersection takes time: lights would change without end in one step."""
    starts, phase_time = network.arrays.phase_starts, network.arrays.phase_time
    for index, name in enumerate(network.intersection_ids):
        phases = phase_time[starts[index] : starts[index + 1]]
        if len(phases) and phases.sum() < SHORTEST_CYCLE * interval:
            raise TrafficFileError(
                f"{source}: the phases of intersection {name!r} last {phases.sum():g} s in all; expected a longer "
                "'time', or rlTrafficLight = true in the configuration"
            )
