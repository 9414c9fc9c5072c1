"""Validated reading of JSON files key by key, and atomic writing of files.

Errors are `TrafficFileError`s that name the file, the object in it and the key. As in CityFlow, an optional key with a
value of the wrong type is treated as missing, but with a warning; unknown keys are ignored.
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
from pathlib import Path
from typing import Any

from envs.errors import TrafficFileError
from envs.traffic.files.numbers import parse_json

_GZIP_MAGIC = b"\x1f\x8b"
_INT32 = 2**31
_HUGE = 1e300
LARGEST_COORDINATE = 1e9
"""Largest coordinate in metres: far beyond any map, and small enough that no sum of squares overflows."""


class IgnoredValueWarning(UserWarning):
    """Warning that a value of the wrong type is treated as missing, which CityFlow does silently."""


MOST_WARNINGS = 10
"""Maximum number of individual warnings about ignored values of a file, or about flows without a route."""


def warn_of_ignored(messages: Sequence[str]) -> None:
    """Warn of ignored values, individually for the first ones."""
    shown = [*messages[:MOST_WARNINGS], f"{len(messages) - MOST_WARNINGS} more values are ignored like these"]
    for message in shown[: len(messages)]:
        warnings.warn(message, IgnoredValueWarning, stacklevel=3)


class JsonObject:
    """An object of a JSON file, read and checked key by key."""

    __slots__ = ("values", "where")

    def __init__(self, values: Any, where: str) -> None:
        if not isinstance(values, dict):
            raise TrafficFileError(f"{where} is {reprlib.repr(values)}; expected an object")
        self.values: dict[str, Any] = values
        self.where = where

    def complain(self, key: str, expected: str) -> TrafficFileError:
        """The error to raise for the value of a key."""
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
        """A 32-bit integer; `default` for any other value, which is reported in `ignored`."""
        value = self.values.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and -_INT32 <= value < _INT32:
            return value
        ignored.append(self._ignored(key, "a whole number without a decimal point", default))
        return default

    def optional_flag(self, key: str, default: bool, ignored: list[str]) -> bool:
        """A boolean; `default` for any other value, which is reported in `ignored`."""
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
        """A boolean."""
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
        """The number of the road or intersection with the id under `key`."""
        number = index.get(self.text(key))
        if number is None:
            raise self.complain(key, f"the id of {kind} of this file")
        return number

    def coordinates(self, points: Sequence[Any], key: str) -> list[float]:
        """Coordinates of all points in the list under `key`, as alternating x and y."""
        try:
            flat = [value for point in points for value in (point["x"], point["y"])]
            if _are_coordinates(flat):
                return flat
        except (KeyError, TypeError, ValueError):
            pass  # reported below
        records = (JsonObject(point, f"{self.where}: point {i} of {key!r}") for i, point in enumerate(points))
        return [record.coordinate(name) for record in records for name in ("x", "y")]

    def coordinate(self, key: str) -> float:
        """A coordinate on the map in metres."""
        return self.number(key, -LARGEST_COORDINATE, LARGEST_COORDINATE)


def _are_coordinates(values: list[Any]) -> bool:
    in_range = set(map(type, values)) <= {int, float} and max(map(abs, values)) <= LARGEST_COORDINATE
    return in_range and not math.isnan(sum(values))


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and rename it; missing folders are created.

    Raises TrafficFileError with a one-line message on failure, and then leaves nothing behind.
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
            f"cannot write {path}: {error.strerror or error}; give a writable folder with enough space"
        ) from error


def decompressed(path: str | Path) -> bytes:
    """The content of a file, plain or compressed with gzip. Raises TrafficFileError if it cannot be read."""
    try:
        raw = Path(path).read_bytes()
        return gzip.decompress(raw) if raw.startswith(_GZIP_MAGIC) else raw
    except FileNotFoundError:
        raise TrafficFileError(f"{path}: there is no such file") from None
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise TrafficFileError(f"{path}: the file cannot be read ({error})") from error


def read_json_file(path: str | Path) -> Any:
    """The value of a JSON file, plain or compressed with gzip. Raises TrafficFileError if it cannot be read."""
    content = decompressed(path)
    try:
        return parse_json(content)
    except json.JSONDecodeError as error:
        raise TrafficFileError(f"{path}: not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from error
    except ValueError as error:
        raise TrafficFileError(f"{path}: not JSON: {error}") from error


ROADNET, FLOWS, CONFIG = "a road network (roadnetFile)", "a list of flows (flowFile)", "a configuration"
SNAPSHOT, VIEWER_LOG = "a snapshot of an engine", "the log of a road network that the viewer of replays reads"
_MARKS = {"static": VIEWER_LOG, "intersections": ROADNET, "roadnetFile": CONFIG, "drivables": SNAPSHOT}
"""Kinds of CityFlow's files, by a key that only they contain."""


def require_kind(document: Any, expected: str, source: str) -> None:
    """Raise TrafficFileError if a document is recognisably of another kind than `expected`."""
    given = None
    if isinstance(document, dict):
        given = next((kind for mark, kind in _MARKS.items() if mark in document), None)
    elif isinstance(document, list) and document and isinstance(document[0], dict) and "route" in document[0]:
        given = FLOWS
    if given not in (None, expected):
        raise TrafficFileError(f"{source}: this is {given}; expected {expected}")
