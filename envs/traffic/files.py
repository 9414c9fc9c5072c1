"""What stands in the files of the traffic engine: configurations and road networks, read and checked.

Complaints are `TrafficFileError`s that name the file, the object in it and the key. As CityFlow does, a key that may be
left out and has a value of the wrong type counts as left out, but with a warning; unknown keys are ignored.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import reprlib
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envs.errors import TrafficFileError
from envs.traffic.numbers import parse_json

_GZIP_MAGIC = b"\x1f\x8b"
_INT32 = 2**31
_HUGE = 1e300
LARGEST_COORDINATE = 1e9
"""Metres; far beyond any map, and small enough that no sum of squares overflows."""
LONGEST_STEP = 60.0
"""Seconds. Drivers decide once in a step; with far longer ones, flows would make vehicles without end."""
LINK_RANKS = {"go_straight": 3, "turn_left": 2, "turn_right": 1}
"""Who has to yield at a cross: the lower rank. Any other type of link has rank 0."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """One configuration file. File names are as written; `path` puts the directory in front."""

    interval: float
    """Seconds of one step."""
    seed: int
    """32 bits with a sign; the seed of the Mersenne twister."""
    directory: str
    """Put in front of every file name as it is, so it normally ends with a slash."""
    roadnet_file: str
    flow_file: str
    rl_traffic_light: bool
    """True: phases change only when told to. False: each intersection runs through its phases."""
    lane_change: bool
    save_replay: bool
    roadnet_log_file: str
    """Empty where the file gives none, which is allowed without a replay; likewise the next."""
    replay_log_file: str

    def path(self, name: str) -> Path:
        """Where the file called `name` lies."""
        return Path(self.directory + name)


@dataclass(slots=True)
class Roadnet:
    """A road network as its file gives it, checked, in columns. Roads, lanes, intersections, road links and lane links
    are numbered in the order of the file; `..._starts` say where the part of each begins, with one entry more."""

    road_ids: list[str] = field(default_factory=list)
    road_from: list[int] = field(default_factory=list)
    road_to: list[int] = field(default_factory=list)
    road_coordinates: list[float] = field(default_factory=list)
    """x, y of the points of all roads, one after the other."""
    road_point_starts: list[int] = field(default_factory=lambda: [0])
    road_lane_starts: list[int] = field(default_factory=lambda: [0])
    lane_width: list[float] = field(default_factory=list)
    lane_speed: list[float] = field(default_factory=list)
    intersection_ids: list[str] = field(default_factory=list)
    virtual: list[bool] = field(default_factory=list)
    point: list[tuple[float, float]] = field(default_factory=list)
    width: list[float] = field(default_factory=list)
    """0 for virtual intersections."""
    adjacent: list[int] = field(default_factory=list)
    adjacent_starts: list[int] = field(default_factory=lambda: [0])
    road_link_starts: list[int] = field(default_factory=lambda: [0])
    """Road links of each intersection."""
    road_link_from: list[int] = field(default_factory=list)
    road_link_to: list[int] = field(default_factory=list)
    road_link_rank: list[int] = field(default_factory=list)
    lane_link_starts: list[int] = field(default_factory=lambda: [0])
    """Lane links of each road link."""
    lane_link_from: list[int] = field(default_factory=list)
    lane_link_to: list[int] = field(default_factory=list)
    link_coordinates: list[float] = field(default_factory=list)
    link_point_starts: list[int] = field(default_factory=lambda: [0])
    """Lane links without points of their own have none; a single point is there twice."""
    phase_starts: list[int] = field(default_factory=lambda: [0])
    """Phases of each intersection."""
    phase_time: list[float] = field(default_factory=list)
    phase_links: list[list[int]] = field(default_factory=list)
    """Road links that are open in a phase, counted within the intersection."""


class IgnoredValueWarning(UserWarning):
    """A value of the wrong type counts as left out, as it does in CityFlow without a word."""


MOST_WARNINGS = 10
"""Ignored values of one file, and flows without route, that are warned of one by one."""


def warn_of_ignored(messages: Sequence[str]) -> None:
    """Warn of values that are ignored, the first ones each by itself."""
    shown = [*messages[:MOST_WARNINGS], f"{len(messages) - MOST_WARNINGS} more values are ignored like these"]
    for message in shown[: len(messages)]:
        warnings.warn(message, IgnoredValueWarning, stacklevel=3)


class Record:
    """One object of a JSON file, read key by key."""

    __slots__ = ("values", "where")

    def __init__(self, values: Any, where: str) -> None:
        if not isinstance(values, dict):
            raise TrafficFileError(f"{where} is {reprlib.repr(values)}; expected an object")
        self.values: dict[str, Any] = values
        self.where = where

    def complain(self, key: str, expected: str) -> TrafficFileError:
        """What to raise about the value of a key."""
        if key not in self.values:
            return TrafficFileError(f"{self.where}: {key!r} is missing; expected {expected}")
        return TrafficFileError(f"{self.where}: {key!r} is {reprlib.repr(self.values[key])}; expected {expected}")

    def number(self, key: str, least: float = -_HUGE, most: float = _HUGE, positive: bool = False) -> float:
        """A finite number from `least` to `most`, and above 0 if `positive`."""
        value = self.values.get(key)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most:
            number = float(value)
            if number > 0 or not positive:
                return number
        lower = " > 0" if positive else f" >= {least:g}" * (least > -_HUGE)
        raise self.complain(key, f"a finite number{lower}" + f" <= {most:g}" * (most < _HUGE))

    def integer(self, key: str, least: int = -_INT32, below: int = _INT32) -> int:
        """An integer from `least` to `below` - 1."""
        value = self.values.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and least <= value < below:
            return value
        raise self.complain(key, f"an integer from {least} to {below - 1}")

    def optional_integer(self, key: str, default: int, ignored: list[str]) -> int:
        """An integer of 32 bits; `default` for anything else, which is told to `ignored`."""
        value = self.values.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and -_INT32 <= value < _INT32:
            return value
        ignored.append(self._ignored(key, "a whole number without a decimal point", default))
        return default

    def optional_flag(self, key: str, default: bool, ignored: list[str]) -> bool:
        """true or false; `default` for anything else, which is told to `ignored`."""
        value = self.values.get(key, default)
        if isinstance(value, bool):
            return value
        ignored.append(self._ignored(key, "true or false", default))
        return default

    def _ignored(self, key: str, expected: str, default: object) -> str:
        given = reprlib.repr(self.values[key])
        return (
            f"{self.where}: {key!r} is {given}, expected {expected}; as in CityFlow the value is ignored and "
            f"{json.dumps(default)} taken"
        )

    def text(self, key: str) -> str:
        """A string."""
        value = self.values.get(key)
        if not isinstance(value, str):
            raise self.complain(key, "a string")
        return value

    def flag(self, key: str) -> bool:
        """true or false."""
        value = self.values.get(key)
        if not isinstance(value, bool):
            raise self.complain(key, "true or false")
        return value

    def items(self, key: str, expected: str, least: int = 0) -> list[Any]:
        """A list with at least `least` entries."""
        value = self.values.get(key)
        if not isinstance(value, list) or len(value) < least:
            raise self.complain(key, expected)
        return value

    def reference(self, key: str, index: dict[str, int], kind: str) -> int:
        """The number of the road or intersection whose id is given."""
        number = index.get(self.text(key))
        if number is None:
            raise self.complain(key, f"the id of {kind} of this file")
        return number

    def coordinates(self, points: Sequence[Any], key: str) -> list[float]:
        """x, y of all points of the list under `key`, one after the other."""
        try:
            flat = [value for point in points for value in (point["x"], point["y"])]
            if _are_coordinates(flat):
                return flat
        except (KeyError, TypeError, ValueError):
            pass  # named below
        records = (Record(point, f"{self.where}: point {i} of {key!r}") for i, point in enumerate(points))
        return [record.coordinate(name) for record in records for name in ("x", "y")]

    def coordinate(self, key: str) -> float:
        """A number of metres on the map."""
        return self.number(key, -LARGEST_COORDINATE, LARGEST_COORDINATE)


def _are_coordinates(values: list[Any]) -> bool:
    in_range = set(map(type, values)) <= {int, float} and max(map(abs, values)) <= LARGEST_COORDINATE
    return in_range and not math.isnan(sum(values))


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and rename it; folders are made.

    Raises TrafficFileError, in one line, if that fails; nothing is left behind then.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # another process may write the same file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise TrafficFileError(
            f"cannot write {path}: {error.strerror or error}; give a folder that can be written to and has room"
        ) from error


def decompressed(path: str | Path) -> bytes:
    """What a file holds that is plain or compressed with gzip. Raises TrafficFileError if it cannot be read."""
    try:
        raw = Path(path).read_bytes()
        return gzip.decompress(raw) if raw.startswith(_GZIP_MAGIC) else raw
    except FileNotFoundError:
        raise TrafficFileError(f"{path}: there is no such file") from None
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise TrafficFileError(f"{path}: the file cannot be read ({error})") from error


def read_json_file(path: str | Path) -> Any:
    """The value of a JSON file, plain or compressed with gzip. Raises TrafficFileError if it cannot be read."""
    try:
        return parse_json(decompressed(path))
    except json.JSONDecodeError as error:
        raise TrafficFileError(f"{path}: not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from error
    except ValueError as error:
        raise TrafficFileError(f"{path}: not JSON: {error}") from error


def read_config(path: str | Path) -> EngineConfig:
    """The configuration in a file. Raises TrafficFileError."""
    document = read_json_file(path)
    require_kind(document, CONFIG, str(path))
    config = Record(document, str(path))
    ignored: list[str] = []
    lane_change = config.optional_flag("laneChange", False, ignored)
    warn_of_ignored(ignored)
    save_replay = config.flag("saveReplay")

    def log_file(key: str) -> str:
        return (
            config.text(key) if save_replay else config.values[key] if isinstance(config.values.get(key), str) else ""
        )

    return EngineConfig(
        interval=config.number("interval", most=LONGEST_STEP, positive=True),
        seed=config.integer("seed"),
        directory=config.text("dir"),
        roadnet_file=config.text("roadnetFile"),
        flow_file=config.text("flowFile"),
        rl_traffic_light=config.flag("rlTrafficLight"),
        lane_change=lane_change,
        save_replay=save_replay,
        roadnet_log_file=log_file("roadnetLogFile"),
        replay_log_file=log_file("replayLogFile"),
    )


def parse_roadnet(document: Any, source: str) -> Roadnet:
    """The columns of a road network given as JSON objects; `source` names it in complaints. Raises TrafficFileError."""
    require_kind(document, ROADNET, source)
    top = Record(document, source)
    roads = top.items("roads", "a list of roads")
    intersections = top.items("intersections", "a list of intersections")
    roadnet = Roadnet()
    roadnet.road_ids = _ids(roads, f"{source}: road")
    roadnet.intersection_ids = _ids(intersections, f"{source}: intersection")
    intersection_index = {name: number for number, name in enumerate(roadnet.intersection_ids)}
    for values in roads:
        _add_road(roadnet, Record(values, f"{source}: road {values['id']!r}"), intersection_index)
    road_index = {name: number for number, name in enumerate(roadnet.road_ids)}
    for values in intersections:
        record = Record(values, f"{source}: intersection {values['id']!r}")
        _add_intersection(roadnet, record, road_index)
    return roadnet


ROADNET, FLOWS, CONFIG = "a road network (roadnetFile)", "a list of flows (flowFile)", "a configuration"
SNAPSHOT, VIEWER_LOG = "a snapshot of an engine", "the log of a road network that the viewer of replays reads"
_MARKS = {"static": VIEWER_LOG, "intersections": ROADNET, "roadnetFile": CONFIG, "drivables": SNAPSHOT}
"""What CityFlow's files are, by a key that only they have."""


def require_kind(document: Any, expected: str, source: str) -> None:
    """Raise TrafficFileError if a document is of another kind than `expected`, and that can be told."""
    given = None
    if isinstance(document, dict):
        given = next((kind for mark, kind in _MARKS.items() if mark in document), None)
    elif isinstance(document, list) and document and isinstance(document[0], dict) and "route" in document[0]:
        given = FLOWS
    if given not in (None, expected):
        raise TrafficFileError(f"{source}: this is {given}; expected {expected}")


def _ids(objects: list[Any], what: str) -> list[str]:
    """The ids of roads or intersections, none of them twice."""
    ids = [Record(values, f"{what} {position}").text("id") for position, values in enumerate(objects)]
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        for position, name in enumerate(ids):
            if name in seen:
                raise TrafficFileError(f"{what} {position}: 'id' is {name!r} again; expected an id used once")
            seen.add(name)
    return ids


def _add_road(roadnet: Roadnet, road: Record, intersection_index: dict[str, int]) -> None:
    roadnet.road_from.append(road.reference("startIntersection", intersection_index, "an intersection"))
    roadnet.road_to.append(road.reference("endIntersection", intersection_index, "an intersection"))
    points = road.coordinates(road.items("points", "a list of at least two points", least=2), "points")
    if any(points[i : i + 2] == points[i + 2 : i + 4] for i in range(0, len(points) - 2, 2)):
        raise road.complain("points", "no point twice in a row")
    roadnet.road_coordinates += points
    roadnet.road_point_starts.append(len(roadnet.road_coordinates) // 2)
    for position, values in enumerate(road.items("lanes", "a list of lanes")):
        lane = Record(values, f"{road.where}: lane {position}")
        roadnet.lane_width.append(lane.number("width", least=0))
        roadnet.lane_speed.append(lane.number("maxSpeed", least=0))
    roadnet.road_lane_starts.append(len(roadnet.lane_width))


def _add_intersection(roadnet: Roadnet, intersection: Record, road_index: dict[str, int]) -> None:
    point = Record(intersection.values.get("point"), f"{intersection.where}: 'point'")
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
            _add_road_link(roadnet, Record(values, f"{intersection.where}: road link {position}"), road_index)
        _add_phases(roadnet, intersection, len(links))
    roadnet.road_link_starts.append(len(roadnet.road_link_from))
    roadnet.phase_starts.append(len(roadnet.phase_time))


def _add_road_link(roadnet: Roadnet, link: Record, road_index: dict[str, int]) -> None:
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
        lane_link = Record(values, f"{link.where}: lane link {position}")
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


def _add_phases(roadnet: Roadnet, intersection: Record, num_links: int) -> None:
    light = Record(intersection.values.get("trafficLight"), f"{intersection.where}: 'trafficLight'")
    for position, values in enumerate(light.items("lightphases", "a list of at least one phase", least=1)):
        phase = Record(values, f"{intersection.where}: phase {position}")
        roadnet.phase_time.append(phase.number("time", least=0))
        links = phase.items("availableRoadLinks", "a list of indices of road links")
        for place, link in enumerate(links):
            if not isinstance(link, int) or isinstance(link, bool) or not 0 <= link < num_links:
                raise TrafficFileError(
                    f"{phase.where}: entry {place} of 'availableRoadLinks' is {reprlib.repr(link)}; expected indices "
                    f"of the intersection's {num_links} road links, counted from 0"
                )
        roadnet.phase_links.append(links)
