"""CityFlow's road network file, validated and read into columns."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass, field
from typing import Any

from envs.errors import TrafficFileError
from envs.traffic.files.json_objects import ROADNET, JsonObject, require_kind

LINK_RANKS = {"go_straight": 3, "turn_left": 2, "turn_right": 1}
"""Ranks of links by type; at a cross, the lower rank yields. Any other type has rank 0."""


@dataclass(slots=True)
class Roadnet:
    """The validated content of a road network file, in columns. Roads, lanes, intersections, road links and lane links
    are numbered in file order; `..._starts` hold the start offset of each one's entries, plus a final end offset."""

    road_ids: list[str] = field(default_factory=list)
    road_from: list[int] = field(default_factory=list)
    road_to: list[int] = field(default_factory=list)
    road_coordinates: list[float] = field(default_factory=list)
    """Points of all roads, as alternating x and y."""
    road_point_starts: list[int] = field(default_factory=lambda: [0])
    road_lane_starts: list[int] = field(default_factory=lambda: [0])
    lane_width: list[float] = field(default_factory=list)
    lane_speed: list[float] = field(default_factory=list)
    intersection_ids: list[str] = field(default_factory=list)
    virtual: list[bool] = field(default_factory=list)
    point: list[tuple[float, float]] = field(default_factory=list)
    width: list[float] = field(default_factory=list)
    """Widths of intersections in metres; 0 for virtual ones."""
    adjacent: list[int] = field(default_factory=list)
    adjacent_starts: list[int] = field(default_factory=lambda: [0])
    road_link_starts: list[int] = field(default_factory=lambda: [0])
    """Start offsets of each intersection's road links."""
    road_link_from: list[int] = field(default_factory=list)
    road_link_to: list[int] = field(default_factory=list)
    road_link_rank: list[int] = field(default_factory=list)
    lane_link_starts: list[int] = field(default_factory=lambda: [0])
    """Start offsets of each road link's lane links."""
    lane_link_from: list[int] = field(default_factory=list)
    lane_link_to: list[int] = field(default_factory=list)
    link_coordinates: list[float] = field(default_factory=list)
    link_point_starts: list[int] = field(default_factory=lambda: [0])
    """Start offsets of each lane link's points. Links without points have none; a single point is stored twice."""
    phase_starts: list[int] = field(default_factory=lambda: [0])
    """Start offsets of each intersection's phases."""
    phase_time: list[float] = field(default_factory=list)
    phase_links: list[list[int]] = field(default_factory=list)
    """Open road links of each phase, numbered within the intersection."""


def parse_roadnet(document: Any, source: str) -> Roadnet:
    """The columns of a road network given as JSON objects, which `source` names in error messages. Raises
    TrafficFileError if it is invalid."""
    require_kind(document, ROADNET, source)
    top = JsonObject(document, source)
    roads = top.items("roads", "a list of roads")
    intersections = top.items("intersections", "a list of intersections")
    roadnet = Roadnet()
    roadnet.road_ids = _ids(roads, f"{source}: road")
    roadnet.intersection_ids = _ids(intersections, f"{source}: intersection")
    intersection_index = {name: number for number, name in enumerate(roadnet.intersection_ids)}
    for values in roads:
        _add_road(roadnet, JsonObject(values, f"{source}: road {values['id']!r}"), intersection_index)
    road_index = {name: number for number, name in enumerate(roadnet.road_ids)}
    for values in intersections:
        record = JsonObject(values, f"{source}: intersection {values['id']!r}")
        _add_intersection(roadnet, record, road_index)
    return roadnet


def _ids(objects: list[Any], what: str) -> list[str]:
    """The ids of roads or intersections, which must be unique."""
    ids = [JsonObject(values, f"{what} {position}").text("id") for position, values in enumerate(objects)]
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        for position, name in enumerate(ids):
            if name in seen:
                raise TrafficFileError(f"{what} {position}: 'id' is {name!r} again; expected an id used once")
            seen.add(name)
    return ids


def _add_road(roadnet: Roadnet, road: JsonObject, intersection_index: dict[str, int]) -> None:
    roadnet.road_from.append(road.reference("startIntersection", intersection_index, "an intersection"))
    roadnet.road_to.append(road.reference("endIntersection", intersection_index, "an intersection"))
    points = road.coordinates(road.items("points", "a list of at least two points", least=2), "points")
    if any(points[i : i + 2] == points[i + 2 : i + 4] for i in range(0, len(points) - 2, 2)):
        raise road.complain("points", "no point twice in a row")
    roadnet.road_coordinates += points
    roadnet.road_point_starts.append(len(roadnet.road_coordinates) // 2)
    for position, values in enumerate(road.items("lanes", "a list of lanes")):
        lane = JsonObject(values, f"{road.where}: lane {position}")
        roadnet.lane_width.append(lane.number("width", least=0))
        roadnet.lane_speed.append(lane.number("maxSpeed", least=0))
    roadnet.road_lane_starts.append(len(roadnet.lane_width))


def _add_intersection(roadnet: Roadnet, intersection: JsonObject, road_index: dict[str, int]) -> None:
    point = JsonObject(intersection.values.get("point"), f"{intersection.where}: 'point'")
    roadnet.point.append((point.coordinate("x"), point.coordinate("y")))
    for position, name in enumerate(intersection.items("roads", "a list of road ids")):
        number = road_index.get(name) if isinstance(name, str) else None
        if number is None:
            raise TrafficFileError(
                f"{intersection.where}: entry {position} of 'roads' is {reprlib.repr(name)}; expected the id of a road "
                "of this file"
            )
        roadnet.adjacent.append(number)
    roadnet.adjacent_starts.append(len(roadnet.adjacent))
    virtual = intersection.flag("virtual")
    roadnet.virtual.append(virtual)
    roadnet.width.append(0.0 if virtual else intersection.number("width", least=0))
    if not virtual:
        links = intersection.items("roadLinks", "a list of road links")
        for position, values in enumerate(links):
            _add_road_link(roadnet, JsonObject(values, f"{intersection.where}: road link {position}"), road_index)
        _add_phases(roadnet, intersection, len(links))
    roadnet.road_link_starts.append(len(roadnet.road_link_from))
    roadnet.phase_starts.append(len(roadnet.phase_time))


def _add_road_link(roadnet: Roadnet, link: JsonObject, road_index: dict[str, int]) -> None:
    start = link.reference("startRoad", road_index, "a road")
    end = link.reference("endRoad", road_index, "a road")
    here = len(roadnet.virtual) - 1
    if roadnet.road_to[start] != here:
        raise link.complain("startRoad", "a road that ends at this intersection")
    if roadnet.road_from[end] != here:
        raise link.complain("endRoad", "a road that starts at this intersection")
    roadnet.road_link_from.append(start)
    roadnet.road_link_to.append(end)
    roadnet.road_link_rank.append(LINK_RANKS.get(link.text("type"), 0))
    first_start, end_of_start = roadnet.road_lane_starts[start : start + 2]
    first_end, end_of_end = roadnet.road_lane_starts[end : end + 2]
    for position, values in enumerate(link.items("laneLinks", "a list of lane links")):
        lane_link = JsonObject(values, f"{link.where}: lane link {position}")
        start_lane = lane_link.integer("startLaneIndex", 0, end_of_start - first_start)
        end_lane = lane_link.integer("endLaneIndex", 0, end_of_end - first_end)
        roadnet.lane_link_from.append(first_start + start_lane)
        roadnet.lane_link_to.append(first_end + end_lane)
        points = values.get("points")
        if "points" in values and not isinstance(points, list):
            raise lane_link.complain("points", "a list of points, or to be left out")
        if points:
            coordinates = lane_link.coordinates(points, "points")
            roadnet.link_coordinates += coordinates * 2 if len(points) == 1 else coordinates
        roadnet.link_point_starts.append(len(roadnet.link_coordinates) // 2)
    roadnet.lane_link_starts.append(len(roadnet.lane_link_from))


def _add_phases(roadnet: Roadnet, intersection: JsonObject, num_links: int) -> None:
    light = JsonObject(intersection.values.get("trafficLight"), f"{intersection.where}: 'trafficLight'")
    for position, values in enumerate(light.items("lightphases", "a list of at least one phase", least=1)):
        phase = JsonObject(values, f"{intersection.where}: phase {position}")
        roadnet.phase_time.append(phase.number("time", least=0))
        links = phase.items("availableRoadLinks", "a list of indices of road links")
        for place, link in enumerate(links):
            if not isinstance(link, int) or isinstance(link, bool) or not 0 <= link < num_links:
                raise TrafficFileError(
                    f"{phase.where}: entry {place} of 'availableRoadLinks' is {reprlib.repr(link)}; expected indices "
                    f"of the intersection's {num_links} road links, counted from 0"
                )
        roadnet.phase_links.append(links)
