"""Snapshots of an engine as JSON, laid out like CityFlow's: vehicles, drivables, flows and lights by their ids.

Keys are CityFlow's where it has them. More is written than by CityFlow, so that a loaded engine continues exactly:
complete routes and kinds of vehicles, vehicles not yet assigned to a lane (`toBeRouted`), disabled flows (`valid`),
plans and lane changes in progress. Numbers are written so that reading them restores every bit.

The order of lists is significant: `vehicles` is sorted by priority, the vehicles of a drivable from front to rear.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from envs.traffic.cityflow.archive_reader import SnapshotReader
from envs.traffic.engine.inspection import on_drivable, pool, vehicle_name, waiting_for
from envs.traffic.engine.state import (
    CUMULATIVE,
    DRIVER,
    FINISHED,
    FLOW_CLOCK,
    NEW,
    RANDOM,
    REAL,
    RUNNING,
    STEP,
    State,
)
from envs.traffic.files import write_atomically
from envs.traffic.network import Network
from envs.traffic.network.layout import NONE, VEHICLE_KIND, FlowArrays
from envs.traffic.network.routes import KIND_KEYS


def write(path: Path, network: Network, state: State, interval: float) -> None:
    """Write a snapshot of an engine whose steps last `interval` seconds. Raises TrafficFileError if the file cannot be
    written, and ValueError if the state contains a value that is not a number."""
    counts, times = state.traffic.counts.tolist(), state.pool.times.tolist()
    document = {
        "step": counts[STEP],
        "interval": interval,
        "activeVehicleCount": counts[RUNNING],
        "rnd": " ".join(map(str, [*state.pool.random.tolist(), counts[RANDOM]])),
        "vehicles": _vehicles(network, state),
        "toBeRouted": [vehicle_name(state.traffic.vehicles[slot]) for slot in state.pool.new[: counts[NEW]]],
        "drivables": _drivables(network, state),
        "flows": _flows(state),
        "trafficLights": {
            name: {"curPhaseIndex": int(state.traffic.phase[i]), "remainDuration": float(state.lanes.remaining[i])}
            for i, name in enumerate(network.intersection_ids)
            if network.num_phases(i)
        },
        "finishedVehicleCnt": counts[FINISHED],
        "cumulativeTravelTime": times[CUMULATIVE],
    }
    write_atomically(path, json.dumps(document, allow_nan=False).encode())


def _vehicles(network: Network, state: State) -> list[dict[str, Any]]:
    traffic = state.traffic
    places = (*network.drivable_keys, None)  # the last entry, index -1, stands for none
    slots = pool(state).tolist()
    names: dict[int, str | None] = {slot: vehicle_name(traffic.vehicles[slot]) for slot in slots}
    names[NONE] = None
    changes_lanes = len(state.lanes.segment_first) > 0
    result = []
    for slot in slots:
        vehicle = dict(zip(traffic.vehicles.dtype.names or (), traffic.vehicles[slot].tolist(), strict=True))
        kind = dict(zip(DRIVER.names or (), traffic.kinds[vehicle["kind"]].tolist(), strict=True))
        route = slice(*traffic.route_starts[vehicle["route"] : vehicle["route"] + 2])
        plan = traffic.plans[slot, : vehicle["plan_length"]]
        entry = {
            "id": names[slot],
            "priority": vehicle["priority"],
            "enterTime": vehicle["enter_time"],
            **{key: kind[name] for key, name in zip(KIND_KEYS, VEHICLE_KIND.names or (), strict=True)},
            "running": vehicle["running"],
            "drivable": places[vehicle["drivable"]],
            "prevDrivable": places[vehicle["previous"]],
            "dis": vehicle["distance"],
            "speed": vehicle["speed"],
            "customSpeed": vehicle["custom_speed"] if vehicle["has_custom_speed"] else None,
            "gap": vehicle["gap"],
            "leader": names[vehicle["leader"]],
            "blocker": names[vehicle["blocker"]],
            "enterLaneLinkTime": vehicle["enter_link_time"],
            "route": [network.road_ids[road] for road in traffic.route_roads[route]],
            "routePosition": vehicle["route_position"],
            "plan": [places[drivable] for drivable in plan],
        }
        if changes_lanes:
            changing = vehicle["partner_type"] == REAL
            entry["laneChange"] = {
                "partnerType": vehicle["partner_type"],
                "partner": names[vehicle["partner"]],
                "target": places[vehicle["signal_target"]] if changing else None,
                "direction": vehicle["signal_direction"] if changing else 0,
                "segment": vehicle["segment"] if changing else 0,
                "offset": vehicle["offset"],
                "lastChangeTime": vehicle["last_change"],
            }
        result.append(entry)
    return result


def _drivables(network: Network, state: State) -> dict[str, dict[str, Any]]:
    vehicles, result = state.traffic.vehicles, {}
    for drivable, name in enumerate(network.drivable_keys):
        entry: dict[str, Any] = {"vehicles": [vehicle_name(vehicles[v]) for v in on_drivable(state, drivable)]}
        if drivable < len(network.lane_ids):
            entry["waitingBuffer"] = [vehicle_name(vehicles[v]) for v in waiting_for(state, drivable)]
            entry["vehicleSeconds"] = float(state.lanes.seconds[drivable])
        result[name] = entry
    return result


def _flows(state: State) -> dict[str, dict[str, Any]]:
    sources = state.sources
    clock = np.where(sources.valid, state.pool.times[FLOW_CLOCK], 0.0)  # not valid and not stopped: since a reset
    current = np.where(np.isnan(sources.stopped), clock, sources.stopped)
    columns = (sources.now.tolist(), current.tolist(), sources.made.tolist(), sources.valid.tolist())
    return {
        f"flow_{i}": {"nowTime": now, "currentTime": time, "cnt": made, "valid": valid}
        for i, (now, time, made, valid) in enumerate(zip(*columns, strict=True))
    }


def read(path: Path, network: Network, flows: FlowArrays, interval: float, lane_change: bool) -> State:
    """The state in a file written by `write`, for an engine of the same files.

    Raises TrafficFileError if the file is missing, malformed, inconsistent, or belongs to an engine of other files.
    """
    reader = SnapshotReader(path, network, flows, interval, lane_change)
    reader.read_totals()
    reader.read_vehicles()
    reader.read_drivables()
    reader.read_flows()
    reader.read_lights()
    return reader.state
