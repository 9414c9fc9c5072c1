"""Recorded traces of the CityFlow engine: one folder per case.

Steps are counted from 0: step t refers to the state after the (t + 1)-st `next_step()`. Axes: T steps, R repeats (1
without lane changes), S recorded steps, L lanes, N rows (one per vehicle and recorded step).

A folder always contains `case.json`, `roadnet.json.gz` and `flow.json.gz`. If a script called the engine's functions,
it contains `script.json.gz`; otherwise `trace.npz` and, if recorded, `vehicles.npz` or `vehicles.json.gz` (all
vehicles), `lists.json.gz` (vehicles by lane) and `geometry.json.gz` (lengths and crosses).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from envs.errors import TraceError
from envs.traffic.recordings.fields import (
    check_range,
    checked_list,
    checked_object,
    integer,
    number_array,
    read_arrays,
    read_bytes,
    read_json,
    text_array,
)

TOTALS = (
    "vehicle_count",
    "vehicles_incl_waiting",
    "average_travel_time",
    "waiting_sum",
    "speed_fsum",
    "distance_fsum",
)
"""Totals recorded after every step. Sums of speeds (m/s) and distances (m) are correctly rounded; travel times are in
seconds."""
LANE_CHANGE_TOTALS = ("vehicle_count", "average_travel_time", "real_vehicles", "waiting", "speed_sum", "shadows")
"""Totals recorded with lane changes; speeds are summed in the order of vehicle names."""
LIST_NAMES = ("lane_vehicles", "vehicle_order", "vehicle_order_all", "waiting", "info", "leader")
STATE_NAMES = ("time", "count", "att", "speed", "distance", "order", "order_all", "lane_vehicles")
SCRIPT_METHODS = (
    *("get_average_travel_time", "get_current_time", "get_vehicle_count", "get_vehicles", "get_lane_vehicles"),
    *("get_lane_vehicle_count", "get_lane_waiting_vehicle_count", "get_vehicle_speed", "get_vehicle_distance"),
    *("get_vehicle_info", "get_leader", "set_tl_phase", "set_vehicle_speed", "set_vehicle_route", "push_vehicle"),
    *("set_random_seed", "reset", "snapshot", "load"),
)
"""Functions that a script may call; `snapshot` and `load` take a label."""

VEHICLE_COLUMNS = {
    "running": "running",
    "dis": "distance",
    "speed": "speed",
    "gap": "gap",
    "enter_lanelink_time": "enter_link_time",
    "priority": "priority",
    "enter_time": "enter_time",
    "partner_type": "partner_type",
    "offset": "offset",
}
"""Numeric columns of `vehicles.npz`, with the engine's names for them."""
SHADOW_COLUMNS = ("vehicle", "drivable", "distance", "speed", "partner_type", "offset", "priority")
"""Columns of `vehicles.json.gz`."""


class LaneCounts(NamedTuple):
    """Numbers of vehicles on each lane after some steps or, with lane changes, on average."""

    ids: tuple[str, ...]
    steps: np.ndarray
    """(S,), recorded steps."""
    vehicles: np.ndarray
    """(S, L), running vehicles."""
    waiting: np.ndarray
    """(S, L), standing vehicles."""
    mean: np.ndarray | None
    """(L,), mean over all steps and repeats."""


class VehicleRows(NamedTuple):
    """All vehicles in the recorded steps, sorted by step and then by ascending priority."""

    steps: np.ndarray
    """(S,), recorded steps, including those without vehicles."""
    step: np.ndarray
    """(N,)"""
    columns: dict[str, np.ndarray]
    """Columns of shape (N,) by name. `vehicle`, `drivable`, `leader` and `blocker` are ids as text, empty for none.
    Without the column `running`, waiting vehicles are excluded."""


class Call(NamedTuple):
    """A call made by a script just before a step."""

    step: int
    method: str
    arguments: list[Any]
    result: Any
    """The result as JSON; `{"RuntimeError": message}` for an error."""


class Inputs(NamedTuple):
    """Inputs of the engine."""

    interval: float
    """Duration of a step in seconds."""
    seed: int
    rl_traffic_light: bool
    lane_change: bool
    roadnet: bytes
    """JSON text, as the engine read it."""
    flow: bytes


class Phases(NamedTuple):
    """Phases set from outside, just before every `every`-th step."""

    every: int
    """Number of steps between settings."""
    intersections: tuple[str, ...]
    schedule: np.ndarray
    """(settings, intersections), phases to set."""


@dataclass(frozen=True, slots=True)
class Case:
    """The contents of a folder: inputs and recorded outputs of the engine."""

    path: Path
    steps: int
    inputs: Inputs
    exact: bool = True
    """False if the recorded engine is not reproducible, so that only distributions can be compared."""
    phases: Phases | None = None
    totals: dict[str, np.ndarray] = field(default_factory=dict)
    """Arrays (R, T) by name."""
    lanes: LaneCounts | None = None
    vehicles: VehicleRows | None = None
    lists: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Recorded lists of vehicles, by step."""
    geometry: dict[str, dict[str, Any]] | None = None
    """`lanes`: by id [length, segments]; `lanelinks`: by id length and crosses [other link, distance, distance there].
    """
    script: tuple[Call, ...] = ()
    states: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Recorded states of a script, by step."""


def load_case(path: Path) -> Case:
    """Read and check a folder. Raises TraceError with a one-line message if a file is missing or invalid."""
    file = path / "case.json"
    if not file.is_file():
        raise TraceError(
            f"{path}: no case.json in it, so this is not the folder of a case; for all cases in it give {path}/*/"
        )
    about = checked_object(file, read_json(file))
    steps = integer(file, about, "steps")
    if steps < 1:
        raise TraceError(f"{file}: steps is {steps} instead of a positive number")
    if (path / "script.json.gz").exists():
        return _script_case(path, steps)
    return _trace_case(path, about, steps)


def _script_case(path: Path, steps: int) -> Case:
    file = path / "script.json.gz"
    content = checked_object(file, read_json(file), "config", "ops", "states")
    inputs = _inputs(path, file, checked_object(file, content["config"]))
    states = _by_step(file, content["states"], steps, STATE_NAMES)
    return Case(path, steps, inputs, script=_calls(file, steps, content["ops"]), states=states)


def _trace_case(path: Path, about: dict[str, Any], steps: int) -> Case:
    inputs = _inputs(path, path / "case.json", about)
    file = path / "trace.npz"
    arrays = read_arrays(file)
    repeats = integer(path / "case.json", about, "repeats") if inputs.lane_change else 1
    names, shape = (LANE_CHANGE_TOTALS, (repeats, steps)) if inputs.lane_change else (TOTALS, (steps,))
    lists, geometry = path / "lists.json.gz", path / "geometry.json.gz"
    return Case(
        path,
        steps,
        inputs,
        exact=bool(about.get("exact", True)),
        phases=_phases(path, about, arrays, steps),
        totals={name: number_array(file, arrays, name, shape).reshape(repeats, steps) for name in names},
        lanes=_lane_counts(file, arrays, steps, inputs.lane_change),
        vehicles=_vehicle_rows(path, steps),
        lists=_lists(lists, steps) if lists.exists() else {},
        geometry=_geometry(geometry) if geometry.exists() else None,
    )


def _inputs(path: Path, file: Path, about: dict[str, Any]) -> Inputs:
    """The inputs: settings from `about`, which was read from `file`, and the files of the map and the flows."""
    for name, kinds in (("interval", (int, float)), ("rlTrafficLight", (bool,)), ("laneChange", (bool,))):
        if type(about.get(name)) not in kinds:
            raise TraceError(f"{file}: {name} is {about.get(name)!r}")
    return Inputs(
        interval=float(about["interval"]),
        seed=integer(file, about, "seed"),
        rl_traffic_light=about["rlTrafficLight"],
        lane_change=about["laneChange"],
        roadnet=read_bytes(path / "roadnet.json.gz"),
        flow=read_bytes(path / "flow.json.gz"),
    )


def _phases(path: Path, about: dict[str, Any], arrays: dict[str, np.ndarray], steps: int) -> Phases | None:
    if about.get("phase_every") is None:
        return None
    every = integer(path / "case.json", about, "phase_every")
    if every < 1:
        raise TraceError(f"{path / 'case.json'}: phase_every is {every} instead of null or a positive number")
    intersections = text_array(path / "trace.npz", arrays, "intersections")
    shape = (-(-steps // every), len(intersections))
    return Phases(every, intersections, number_array(path / "trace.npz", arrays, "schedule", shape))


def _calls(file: Path, steps: int, content: Any) -> tuple[Call, ...]:
    """The calls of a script, which must use known methods, be ordered by step, and load only saved snapshots."""
    calls: list[Call] = []
    saved = []
    for entry in checked_list(file, "ops", content):
        if not isinstance(entry, list) or len(entry) != 4 or not isinstance(entry[2], list):
            raise TraceError(f"{file}: an entry of ops is {str(entry)[:80]}, not [step, method, arguments, result]")
        call = Call(*entry)
        if call.method not in SCRIPT_METHODS:
            raise TraceError(f"{file}: ops call the unknown method {call.method!r}")
        earliest = calls[-1].step if calls else 0
        if type(call.step) is not int or not earliest <= call.step < steps:
            raise TraceError(f"{file}: ops have the step {call.step!r} where {earliest} to {steps - 1} is expected")
        if call.method in ("snapshot", "load") and len(call.arguments) != 1:
            raise TraceError(f"{file}: {call.method} has the arguments {call.arguments} instead of one label")
        if call.method == "load" and call.arguments[0] not in saved:
            raise TraceError(f"{file}: ops load the snapshot {call.arguments[0]!r}, which is not saved before")
        saved += call.arguments if call.method == "snapshot" else []
        calls.append(call)
    return tuple(calls)


def _lane_counts(file: Path, arrays: dict[str, np.ndarray], steps: int, lane_change: bool) -> LaneCounts:
    ids = text_array(file, arrays, "lane_ids")
    if lane_change:
        none = np.zeros((0, len(ids)), np.int64)
        return LaneCounts(ids, none[:, 0], none, none, number_array(file, arrays, "lane_count_mean", (len(ids),)))
    times = number_array(file, arrays, "lane_steps", None).ravel()
    check_range(file, "lane_steps", times, 0, steps)
    shape = (len(times), len(ids))
    vehicles, waiting = (number_array(file, arrays, name, shape) for name in ("lane_count", "lane_waiting"))
    return LaneCounts(ids, times, vehicles, waiting, None)


def _vehicle_rows(path: Path, steps: int) -> VehicleRows | None:
    if (path / "vehicles.npz").exists():
        return _rows_of_archive(path / "vehicles.npz", steps)
    if (path / "vehicles.json.gz").exists():
        return _rows_of_json(path / "vehicles.json.gz", steps)
    return None


def _rows_of_archive(file: Path, steps: int) -> VehicleRows:
    arrays = read_arrays(file)
    step = number_array(file, arrays, "step", None).ravel().astype(np.int64)
    check_range(file, "step", step, 0, steps)
    if (np.diff(step) < 0).any():
        raise TraceError(f"{file}: step does not ascend")
    numbers = {
        name: number_array(file, arrays, recorded, step.shape, finite=recorded != "gap")
        for recorded, name in VEHICLE_COLUMNS.items()
    }
    vehicles, drivables = text_array(file, arrays, "vehicle_ids"), text_array(file, arrays, "drivable_ids")
    names = {}
    for column, ids in {"vehicle": vehicles, "drivable": drivables, "leader": vehicles, "blocker": vehicles}.items():
        indices = number_array(file, arrays, column, step.shape)
        check_range(file, column, indices, -1, len(ids))
        names[column] = np.array([*ids, ""])[indices]
    stride = int(np.gcd.reduce(step)) or steps  # recording interval; steps without vehicles have no rows
    return VehicleRows(np.arange(0, steps, stride), step, names | numbers)


def _rows_of_json(file: Path, steps: int) -> VehicleRows:
    content = checked_object(file, read_json(file), "fields", "steps")
    recorded = checked_list(file, "steps", content["steps"])
    if len(recorded) != steps:
        raise TraceError(f"{file}: holds {len(recorded)} steps instead of {steps}")
    rows = [row for vehicles in recorded for row in checked_list(file, "steps", vehicles)]
    kinds = (str, str, float, float, int, float, int)
    for row in rows:
        if not isinstance(row, list) or [type(value) for value in row] != list(kinds):
            raise TraceError(f"{file}: a vehicle is {str(row)[:80]} instead of [{', '.join(SHADOW_COLUMNS)}]")
    columns: dict[str, np.ndarray] = {
        name: np.array([row[number] for row in rows], kind)
        for number, (name, kind) in enumerate(zip(SHADOW_COLUMNS, kinds, strict=True))
    }
    step = np.repeat(np.arange(steps), [len(vehicles) for vehicles in recorded])
    return VehicleRows(np.arange(steps), step, columns)


def _by_step(file: Path, content: Any, steps: int, names: tuple[str, ...]) -> dict[int, dict[str, Any]]:
    """Entries keyed by step, each of which must contain all of `names`."""
    found = {}
    for key, entry in checked_object(file, content).items():
        if not key.isdigit() or int(key) >= steps:
            raise TraceError(f"{file}: {key!r} is not a step from 0 to {steps - 1}")
        found[int(key)] = checked_object(file, entry, *names)
    return found


def _lists(file: Path, steps: int) -> dict[int, dict[str, Any]]:
    lists = _by_step(file, read_json(file), steps, LIST_NAMES)
    for entry in lists.values():
        checked_object(file, entry["info"])
        checked_object(file, entry["leader"])
    return lists


def _geometry(file: Path) -> dict[str, dict[str, Any]]:
    """The geometry with numbers in the engine's types; JSON may write a length of 24.0 as 24."""
    content = checked_object(file, read_json(file), "lanes", "lanelinks")
    try:
        lanes = {lane: [float(length), int(segments)] for lane, (length, segments) in content["lanes"].items()}
        links = {
            link: {
                "length": float(entry["length"]),
                "crosses": [[str(foe), float(here), float(there)] for foe, here, there in entry["crosses"]],
            }
            for link, entry in content["lanelinks"].items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TraceError(f"{file}: lengths and crosses are not in the expected form ({error!r})") from error
    return {"lanes": lanes, "lanelinks": links}
