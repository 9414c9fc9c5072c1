"""Replay of recorded cases of the CityFlow engine with the built-in engine, and comparison of all recorded values.

Everything is compared exactly, floating-point numbers to the last bit, with one exception. With lane changes, the
recorded engine is not reproducible (it visits vehicles in the order of their addresses) unless it was modified to visit
them by priority. Such a case contains repeats of one run, and `NUM_SEEDS` seeds are played here. The final travel time
and the means of the other totals over all steps are computed for every run. Their means over repeats and over seeds
must lie within 3 sqrt(s^2 + s'^2) of each other, where s and s' are the standard deviations over repeats and seeds.
Both enter because the repeats share one seed, and hence one draw of priorities and initial lanes.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from envs.errors import TraceError, TrafficFileError
from envs.traffic.cityflow.interface import Engine
from envs.traffic.network import Network
from envs.traffic.recordings.comparison import Comparison
from envs.traffic.recordings.traces import Call, Case, LaneCounts, VehicleRows

NUM_SEEDS = 8
"""Number of seeds, from the recorded one upwards, that sample the distribution of a case with lane changes."""

TOTALS: dict[str, Callable[[Engine], float]] = {
    "vehicle_count": lambda engine: engine.get_vehicle_count(),
    "vehicles_incl_waiting": lambda engine: len(engine.get_vehicles(include_waiting=True)),
    "real_vehicles": lambda engine: len(engine.get_vehicles()),
    "shadows": lambda engine: engine.get_vehicle_count() - len(engine.get_vehicles()),
    "average_travel_time": lambda engine: engine.get_average_travel_time(),
    "waiting": lambda engine: sum(engine.get_lane_waiting_vehicle_count().values()),
    "waiting_sum": lambda engine: sum(engine.get_lane_waiting_vehicle_count().values()),
    "speed_fsum": lambda engine: math.fsum(engine.get_vehicle_speed().values()),
    "speed_sum": lambda engine: _sum_in_order(engine.get_vehicle_speed()),
    "distance_fsum": lambda engine: math.fsum(engine.get_vehicle_distance().values()),
}
"""Functions that compute the recorded totals of an engine."""
LISTS: dict[str, Callable[[Engine], Any]] = {
    "lane_vehicles": lambda engine: _occupied(engine.get_lane_vehicles()),
    "vehicle_order": lambda engine: engine.get_vehicles(),
    "vehicle_order_all": lambda engine: engine.get_vehicles(include_waiting=True),
    "waiting": lambda engine: dict(sorted(engine.waiting_vehicles().items())),
}
STATES: dict[str, Callable[[Engine], Any]] = {
    "time": lambda engine: engine.get_current_time(),
    "count": lambda engine: engine.get_vehicle_count(),
    "att": lambda engine: engine.get_average_travel_time(),
    "speed": lambda engine: engine.get_vehicle_speed(),
    "distance": lambda engine: engine.get_vehicle_distance(),
    "order": LISTS["vehicle_order"],
    "order_all": LISTS["vehicle_order_all"],
    "lane_vehicles": LISTS["lane_vehicles"],
}
"""Functions that compute the recorded states of a script."""


def verify(case: Case) -> Comparison:
    """Replay a case and compare everything that was recorded.

    Differences are listed in the result's `failures`. Raises TraceError if the engine rejects the recorded files.
    """
    result = Comparison()
    compare = _compare_script if case.script else _compare_replay if case.exact else _compare_distributions
    try:
        compare(case, result)
    except (RuntimeError, ValueError) as error:
        if isinstance(error, TraceError):
            raise
        result.values("engine", "errors", None, f"{type(error).__name__}: {error}")
    return result


def make_engine(case: Case, seed: int | None = None) -> Engine:
    """An engine with the recorded inputs, optionally with another seed. Raises TraceError if it rejects them."""
    inputs = case.inputs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "roadnet.json").write_bytes(inputs.roadnet)
        (folder / "flow.json").write_bytes(inputs.flow)
        config = {
            "interval": inputs.interval,
            "seed": inputs.seed if seed is None else seed,
            "dir": f"{folder}/",
            "roadnetFile": "roadnet.json",
            "flowFile": "flow.json",
            "rlTrafficLight": inputs.rl_traffic_light,
            "laneChange": inputs.lane_change,
            "saveReplay": False,
        }
        (folder / "config.json").write_text(json.dumps(config))
        try:
            return Engine(folder / "config.json")
        except TrafficFileError as error:
            raise TraceError(f"{case.path}: the engine refuses the recorded files ({error})") from error


def play(case: Case, engine: Engine) -> Iterator[int]:
    """Step the engine through a case, setting the recorded phases; yields the number of each step after it is done."""
    for step in range(case.steps):
        if case.phases is not None and step % case.phases.every == 0:
            setting = case.phases.schedule[step // case.phases.every].tolist()
            for intersection, phase in zip(case.phases.intersections, setting, strict=True):
                engine.set_tl_phase(intersection, phase)
        engine.next_step()
        yield step


def geometry(network: Network) -> dict[str, dict[str, Any]]:
    """Lengths and crosses of a network in the recorded format, sorted by id."""
    arrays = network.arrays
    num_lanes = len(network.lane_ids)
    lengths, distance = arrays.length.tolist(), arrays.cross_distance.tolist()
    lanes = {lane: [lengths[i], int(arrays.lane_segments[i])] for i, lane in enumerate(network.lane_ids)}
    links = {}
    for i, link in enumerate(network.link_ids):
        crosses = range(arrays.cross_starts[i], arrays.cross_starts[i + 1])
        foes = [(network.link_ids[arrays.cross_foe[c]], distance[c], distance[arrays.cross_twin[c]]) for c in crosses]
        links[link] = {"length": lengths[num_lanes + i], "crosses": [list(foe) for foe in foes]}
    return {"lanes": dict(sorted(lanes.items())), "lanelinks": dict(sorted(links.items()))}


def _compare_replay(case: Case, result: Comparison) -> None:
    engine = make_engine(case)
    if case.geometry is not None:
        given = geometry(engine.network)
        for name, values_by_id in case.geometry.items():
            result.values("geometry", name, dict(sorted(values_by_id.items())), given[name])
    totals: dict[str, list[float]] = {name: [] for name in case.totals}
    lanes = None if case.lanes is None else _Lanes(case.lanes)
    vehicles = None if case.vehicles is None else _Vehicles(case.vehicles)
    for step in play(case, engine):
        for name, values in totals.items():
            values.append(TOTALS[name](engine))
        if lanes is not None:
            lanes.collect(step, engine)
        if vehicles is not None:
            vehicles.collect(step, engine)
        if step in case.lists:
            _compare_lists(case.lists[step], engine, step, result)
    for name, values in totals.items():
        recorded = case.totals[name]
        given_totals = np.broadcast_to(np.array(values), recorded.shape)
        result.arrays("totals", name, recorded, given_totals, np.arange(case.steps), np.array(""))
    if lanes is not None:
        lanes.compare(case, result)
    if vehicles is not None:
        vehicles.compare(result)


def _compare_lists(recorded: dict[str, Any], engine: Engine, step: int, result: Comparison) -> None:
    """Compare the vehicles on each lane, and the single-vehicle functions for the vehicles that have them recorded."""
    given = {name: function(engine) for name, function in LISTS.items()}
    given["info"] = {vehicle: _result(engine.get_vehicle_info, vehicle) for vehicle in recorded["info"]}
    given["leader"] = {vehicle: _result(engine.get_leader, vehicle) for vehicle in recorded["leader"]}
    for name, values in given.items():
        result.values("lists", name, recorded[name], values, step)


class _Lanes:
    """Collects the vehicles on each lane after the recorded steps, or their sum over all steps."""

    def __init__(self, recorded: LaneCounts) -> None:
        self.recorded = recorded
        self.wanted = set(recorded.steps.tolist())
        self.ids: list[str] = []
        self.sum = np.zeros(len(recorded.ids), np.int64)
        self.vehicles: list[list[int]] = []
        self.waiting: list[list[int]] = []

    def collect(self, step: int, engine: Engine) -> None:
        """Look at the engine after a step."""
        if step not in self.wanted and self.recorded.mean is None:
            return
        vehicles, waiting = engine.get_lane_vehicle_count(), engine.get_lane_waiting_vehicle_count()
        self.ids = list(vehicles)
        counts = [vehicles.get(lane, -1) for lane in self.recorded.ids]
        self.sum += counts
        if step in self.wanted:
            self.vehicles.append(counts)
            self.waiting.append([waiting.get(lane, -1) for lane in self.recorded.ids])

    def compare(self, case: Case, result: Comparison) -> None:
        """Compare the collected counts; `lane_steps` must ascend."""
        recorded, labels = self.recorded, np.array(self.recorded.ids)
        result.values("lanes", "lane ids", list(recorded.ids), self.ids)
        if recorded.mean is not None:
            # The recorded mean was itself averaged over equal means, which may change the last bit.
            mean = np.mean([self.sum / case.steps] * len(case.totals["shadows"]), axis=0)
            result.arrays("lanes", "mean vehicles", recorded.mean, mean, np.array(case.steps - 1), labels)
            return
        for name, counts, given in (
            ("vehicles", recorded.vehicles, self.vehicles),
            ("waiting", recorded.waiting, self.waiting),
        ):
            result.arrays("lanes", name, counts, np.array(given), recorded.steps[:, None], labels)


class _Vehicles:
    """Collects every vehicle after the recorded steps."""

    def __init__(self, recorded: VehicleRows) -> None:
        self.recorded = recorded
        self.wanted = set(recorded.steps.tolist())
        self.tables: list[dict[str, np.ndarray]] = []

    def collect(self, step: int, engine: Engine) -> None:
        """Look at the engine after a step."""
        if step in self.wanted:
            self.tables.append(vehicle_columns(engine, self.recorded.columns))

    def compare(self, result: Comparison) -> None:
        """Compare the collected vehicles; rows only in steps with the recorded number of vehicles."""
        recorded = self.recorded
        num_recorded = np.searchsorted(recorded.step, recorded.steps, "right")
        num_recorded -= np.searchsorted(recorded.step, recorded.steps, "left")
        num_given = np.array([len(table["vehicle"]) for table in self.tables])
        result.arrays("vehicles", "number of vehicles", num_recorded, num_given, recorded.steps, np.array(""))
        agrees = num_recorded == num_given
        rows, rows_given = np.repeat(agrees, num_recorded), np.repeat(agrees, num_given)
        step, vehicle = recorded.step[rows], recorded.columns["vehicle"][rows]
        for name, column in recorded.columns.items():
            given = np.concatenate([table[name] for table in self.tables])[rows_given]
            result.arrays("vehicles", name, column[rows], given, step, vehicle)


def vehicle_columns(engine: Engine, names: Collection[str]) -> dict[str, np.ndarray]:
    """The named columns of an engine's vehicle table, with ids as text; without `running`, only running vehicles."""
    table = engine.vehicle_table()
    ids = np.array([*table.ids, ""])  # the last entry, index -1, stands for none
    texts = {
        "vehicle": ids[:-1],
        "drivable": np.array(engine.network.drivable_ids)[table.drivable],
        "leader": ids[table.leader],
        "blocker": ids[table.blocker],
    }
    rows = np.ones(len(table.ids), bool) if "running" in names else table.running
    return {name: (texts[name] if name in texts else getattr(table, name))[rows] for name in names}


def _compare_script(case: Case, result: Comparison) -> None:
    engine = make_engine(case)
    archives: dict[str, Any] = {}
    calls = iter([*case.script, None])
    call = next(calls)
    for step in range(case.steps):
        while call is not None and call.step == step:
            given = _call(engine, call, archives)
            where = f"{call.method}({', '.join(map(repr, call.arguments))})"
            result.values("results", call.method, call.result, given, step, where)
            call = next(calls)
        engine.next_step()
        for name, recorded in case.states.get(step, {}).items():
            result.values("states", name, recorded, STATES[name](engine), step)


def _call(engine: Engine, call: Call, archives: dict[str, Any]) -> Any:
    """Execute a call of a script; the arguments of `snapshot` and `load` are labels."""
    if call.method == "snapshot":
        archives[call.arguments[0]] = engine.snapshot()
        return None
    if call.method == "load":
        return _result(engine.load, archives[call.arguments[0]])
    return _result(getattr(engine, call.method), *call.arguments)


def _result(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a function of the engine, with errors in the recorded form."""
    try:
        return function(*arguments)
    except RuntimeError as error:
        return {"RuntimeError": str(error)}


def _compare_distributions(case: Case, result: Comparison) -> None:
    plays: dict[str, list[float]] = {name: [] for name in case.totals}
    for seed in range(case.inputs.seed, case.inputs.seed + NUM_SEEDS):
        engine = make_engine(case, seed)
        totals = np.array([[TOTALS[name](engine) for name in plays] for _ in play(case, engine)])
        for values, (name, summaries) in zip(totals.T, plays.items(), strict=True):
            summaries.append(float(_summary(name, values)))
    for name, summaries in plays.items():
        result.spreads(name, _summary(name, case.totals[name]), np.array(summaries))


def _summary(name: str, values: np.ndarray) -> np.ndarray:
    """One number per run from values (..., T): the final value of a travel time, the mean of any other total."""
    return np.asarray(values[..., -1] if name == "average_travel_time" else values.mean(-1))


def _occupied(vehicles: dict[str, list[str]]) -> dict[str, list[str]]:
    return {lane: ids for lane, ids in vehicles.items() if ids}


def _sum_in_order(values: dict[str, float]) -> float:
    total = 0.0
    for value in values.values():
        total += value
    return total
