"""Conversion of CityFlow's snapshots to the format of `archive_json`.

CityFlow's snapshots contain less: not the duration of a step, the planned drivables of vehicles, or their positions on
their routes. As when CityFlow loads them, vehicles continue their routes from the first occurrence of their current
road, and plan anew. A flow whose clock has stopped before its end was disabled for lack of a route.
"""

from __future__ import annotations

from typing import Any

from envs.errors import TrafficFileError
from envs.traffic.engine.state import REAL
from envs.traffic.files import JsonObject
from envs.traffic.network import Network
from envs.traffic.network.layout import FlowArrays


def is_original(document: Any) -> bool:
    """Whether a document is a snapshot written by CityFlow rather than by `archive_json`."""
    return isinstance(document, dict) and "drivables" in document and not {"interval", "toBeRouted"} & document.keys()


def translated(document: Any, network: Network, flows: FlowArrays, interval: float, source: str) -> dict[str, Any]:
    """The snapshot with everything that `archive_reader` requires. Raises TrafficFileError if it is malformed."""
    top = JsonObject(document, source)
    vehicles = [JsonObject(v, f"{source}: vehicle {i}") for i, v in enumerate(top.items("vehicles", "a list"))]
    return {
        **document,
        "interval": interval,
        "vehicles": [_vehicle(vehicle, network) for vehicle in vehicles],
        "toBeRouted": [],
        "drivables": _drivables(JsonObject(top.values["drivables"], f"{source}: 'drivables'"), network),
        "flows": _flows(JsonObject(top.values.get("flows"), f"{source}: 'flows'"), flows),
        "trafficLights": _lights(JsonObject(top.values.get("trafficLights"), f"{source}: 'trafficLights'"), network),
    }


def _vehicle(given: JsonObject, network: Network) -> dict[str, Any]:
    values = given.values
    place, route = given.text("drivable"), given.items("route", "a list of roads")
    _require_told_apart(network, place, given)
    road = network.road_of.get(place)
    vehicle = {
        **values,
        "length": values.get("len"),
        "customSpeed": None,
        "routePosition": route.index(road) if road in route else 0,
        "plan": [],
    }
    for key in ("prevDrivable", "leader", "blocker"):
        vehicle[key] = values.get(key)  # omitted if there is none
    changing = values.get("partnerType") == REAL
    vehicle["laneChange"] = {
        "partnerType": values.get("partnerType"),
        "partner": values.get("partner"),
        "target": values.get("laneChangeTarget") if changing else None,
        "direction": values.get("laneChangeDirection") if changing else 0,
        "segment": 0,
        "offset": values.get("offset"),
        "lastChangeTime": values.get("laneChangeLastTime"),
    }
    return vehicle


def _require_told_apart(network: Network, place: str, given: JsonObject) -> None:
    """Raise TrafficFileError if several lane links share the id of the one on which a vehicle is."""
    if f"{place}#" in network.repeated_keys:
        raise TrafficFileError(
            f"{given.where} is on {place}, the id of several lane links, which CityFlow's snapshots do not separate; "
            "take the snapshot when no vehicle is there, or with this engine"
        )


def _drivables(given: JsonObject, network: Network) -> dict[str, dict[str, Any]]:
    result: dict[str, dict[str, Any]] = {}
    for key in network.drivable_keys:
        if key in network.repeated_keys:
            result[key] = {"vehicles": []}
            continue
        if key not in given.values:
            raise given.complain(key, "an object for every lane and lane link of this engine's files")
        place = JsonObject(given.values[key], f"{given.where}: {key!r}")
        result[key] = {"vehicles": place.values.get("vehicles"), "vehicleSeconds": 0.0}
        if "waitingBuffer" in place.values:
            result[key]["waitingBuffer"] = place.values["waitingBuffer"]
    return result


def _flows(given: JsonObject, flows: FlowArrays) -> dict[str, dict[str, Any]]:
    records = {name: JsonObject(values, f"{given.where}: {name!r}") for name, values in given.values.items()}
    times = {name: record.number("currentTime", least=0) for name, record in records.items()}
    clock = max(times.values(), default=0.0)
    ends = {f"flow_{i}": end for i, end in enumerate(flows.end.tolist())}
    return {
        name: {**record.values, "valid": times[name] == clock or 0 <= ends.get(name, -1) < times[name]}
        for name, record in records.items()
    }


def _lights(given: JsonObject, network: Network) -> dict[str, Any]:
    """The traffic lights without virtual intersections, which have no phases."""
    names = network.intersection_ids
    return {name: given.values.get(name) for i, name in enumerate(names) if network.num_phases(i)}
