"""Read-only access to an engine's state: counts, tables, names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from envs.traffic.engine.basics import kernel
from envs.traffic.engine.state import CUMULATIVE, FINISHED, POOL, PUSHED, SHADOW, State
from envs.traffic.network import Network
from envs.traffic.network.geometry import point_and_direction
from envs.traffic.network.layout import NONE
from envs.traffic.network.map import Map

STANDING = 0.1
"""Speed in m/s below which a vehicle counts as standing."""
VEHICLE_ID = re.compile(r"(flow_(0|[1-9][0-9]{0,9})|manually_pushed)_(0|[1-9][0-9]{0,9})(_shadow)?")
"""Pattern of vehicle ids. Groups 2 to 4: flow, unless the vehicle was pushed; number; suffix of a shadow."""


class VehicleTable(NamedTuple):
    """All vehicles of an engine, one row each, in ascending order of priority."""

    ids: list[str]
    running: np.ndarray
    """bool, False for vehicles waiting to enter."""
    drivable: np.ndarray
    """int32, index into `network.drivable_ids`; for waiting vehicles the lane they wait for."""
    distance: np.ndarray
    """float64, position along the drivable in metres."""
    speed: np.ndarray
    """float64, speed in m/s."""
    gap: np.ndarray
    """float64, metres to the rear of the leader; NaN without one."""
    leader: np.ndarray
    """int32, row of the leader in this table; -1 for none."""
    blocker: np.ndarray
    """int32, row of the vehicle to which this one yields; -1 for none."""
    enter_link_time: np.ndarray
    """int32, step at which the lane link was entered; 2147483647 on a lane."""
    priority: np.ndarray
    """int32, unique priority."""
    enter_time: np.ndarray
    """float64, creation time in seconds."""
    partner_type: np.ndarray
    """int32, 0 not changing lanes, 1 changing, 2 the shadow of a changing vehicle."""
    offset: np.ndarray
    """float64, lateral offset in metres during a lane change."""


def vehicle_name(vehicle: Any) -> str:
    """Id of a vehicle record."""
    flow, number = int(vehicle["flow"]), int(vehicle["number"])
    name = f"manually_pushed_{number}" if flow == PUSHED else f"flow_{flow}_{number}"
    return f"{name}_shadow" if vehicle["partner_type"] == SHADOW else name


def vehicle_names(vehicles: np.ndarray) -> list[str]:
    """Ids of vehicle records."""
    columns = (vehicles["flow"].tolist(), vehicles["number"].tolist(), (vehicles["partner_type"] == SHADOW).tolist())
    return [
        (f"manually_pushed_{number}" if flow == PUSHED else f"flow_{flow}_{number}") + "_shadow" * shadow
        for flow, number, shadow in zip(*columns, strict=True)
    ]


def pool(state: State) -> np.ndarray:
    """Slots of all vehicles, by priority."""
    return state.pool.members[: state.traffic.counts[POOL]]


def on_drivable(state: State, drivable: int) -> Iterator[int]:
    """Slots of the vehicles on a lane or lane link, from front to rear."""
    slot = int(state.traffic.queues[drivable]["first"])
    while slot != NONE:
        yield slot
        slot = int(state.traffic.vehicles[slot]["behind"])


def waiting_for(state: State, lane: int) -> Iterator[int]:
    """Slots of the vehicles waiting to enter a lane, next one first."""
    slot = int(state.traffic.queues[lane]["waiting_first"])
    for _ in range(state.traffic.queues[lane]["waiting_size"]):
        yield slot
        slot = int(state.traffic.vehicles[slot]["behind"])


def average_travel_time(state: State, now: float) -> float:
    """Average travel time in seconds, over finished and present vehicles; 0 if there have been none."""
    enter_times = state.traffic.vehicles["enter_time"][pool(state)]
    count = int(state.traffic.counts[FINISHED]) + len(enter_times)
    if not count:
        return 0.0
    return _travel_time(enter_times, float(state.pool.times[CUMULATIVE]), now) / count


@kernel
def _travel_time(enter_times: np.ndarray, total: float, now: float) -> float:
    for enter_time in enter_times:
        total += now - enter_time
    return total


def lane_waiting(state: State, lanes: int) -> np.ndarray:
    """Number of standing vehicles on every lane, (lane,) int32."""
    counts = np.zeros(lanes, dtype=np.int32)
    _count_standing(state.traffic.vehicles, pool(state), counts)
    return counts


@kernel
def _count_standing(vehicles: np.ndarray, slots: np.ndarray, counts: np.ndarray) -> None:
    for slot in slots:
        vehicle = vehicles[slot]
        if vehicle.running and vehicle.speed < STANDING and vehicle.drivable < counts.size:
            counts[vehicle.drivable] += 1


def lane_near(m: Map, state: State, seconds: float) -> np.ndarray:
    """Number of running vehicles per lane that could reach its end within `seconds` at the speed limit, (lane,)
    int32."""
    counts = np.zeros(m.lanes, dtype=np.int32)
    _count_near(m.places, state.traffic.vehicles, pool(state), seconds, counts)
    return counts


@kernel
def _count_near(
    places: np.ndarray, vehicles: np.ndarray, slots: np.ndarray, seconds: float, counts: np.ndarray
) -> None:
    for slot in slots:
        vehicle = vehicles[slot]
        if vehicle.running and vehicle.drivable < counts.size:
            lane = places[vehicle.drivable]
            if lane.length - vehicle.distance <= lane.max_speed * seconds:
                counts[vehicle.drivable] += 1


def vehicle_table(state: State) -> VehicleTable:
    """The table of all vehicles, by priority."""
    slots = pool(state)
    vehicles = state.traffic.vehicles[slots]
    row = np.full(len(state.pool.free) + 1, NONE, dtype=np.int32)  # the last entry, index -1, stands for none
    row[slots] = np.arange(len(slots), dtype=np.int32)
    gap = np.where(vehicles["leader"] == NONE, np.nan, vehicles["gap"])
    return VehicleTable(
        vehicle_names(vehicles),
        vehicles["running"],
        vehicles["drivable"],
        vehicles["distance"],
        vehicles["speed"],
        gap,
        row[vehicles["leader"]],
        row[vehicles["blocker"]],
        vehicles["enter_link_time"],
        vehicles["priority"],
        vehicles["enter_time"],
        vehicles["partner_type"],
        vehicles["offset"],
    )


def vehicle_positions(network: Network, state: State, slots: np.ndarray) -> np.ndarray:
    """Position and direction (x, y, radians) of the fronts of running vehicles, (vehicle, 3) float64. Vehicles that are
    changing lanes are placed between the lanes."""
    places = np.empty((len(slots), 3))
    _place(network.shape_points, network.shape_starts, state.traffic.vehicles, slots, places)
    return places


@kernel
def _place(points: np.ndarray, starts: np.ndarray, vehicles: np.ndarray, slots: np.ndarray, result: np.ndarray) -> None:
    for i in range(slots.size):
        vehicle = vehicles[slots[i]]
        line = points[starts[vehicle.drivable] : starts[vehicle.drivable + 1]]
        x, y, direction_x, direction_y = point_and_direction(line, vehicle.distance)
        if vehicle.offset != 0:
            x, y = x + direction_y * vehicle.offset, y - direction_x * vehicle.offset
        result[i] = x, y, math.atan2(direction_y, direction_x)


def lane_colours(network: Network, state: State) -> np.ndarray:
    """Colour of every lane, (lane,) int: 0 red, 1 green (every link of the lane is open), 2 without changing lights."""
    colours = np.zeros(len(network.lane_ids), dtype=np.int32)
    _colour(network.map, network.arrays.road_to, state.traffic.phase, colours)
    return colours


@kernel
def _colour(m: Map, road_to: np.ndarray, phase: np.ndarray, colours: np.ndarray) -> None:
    for lane in range(m.lanes):
        if m.lights[road_to[m.places[lane].road]].phases <= 1:
            colours[lane] = 2
            continue
        colours[lane] = 1
        for i in range(m.places[lane].leaving, m.places[lane].leaving_end):
            link = m.places[m.leaving[i]]
            if not m.open[link.light + phase[link.intersection] * m.lights[link.intersection].stride]:
                colours[lane] = 0
