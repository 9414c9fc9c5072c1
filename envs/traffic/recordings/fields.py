"""Files of recorded traces and their fields, read and checked. Every function raises TraceError with a one-line message
that names the file."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from envs.checks import why_unreadable
from envs.errors import TraceError


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Convert any error from reading a file to a one-line TraceError."""
    try:
        yield
    except FileNotFoundError as error:
        raise TraceError(f"{file}: no such file") from error
    except Exception as error:  # damaged bytes make numpy, zipfile, gzip and json raise a dozen unrelated types
        raise TraceError(f"{file}: not readable ({why_unreadable(error)})") from error


def read_bytes(file: Path) -> bytes:
    """The decompressed content of a gzip file, which must not be empty."""
    with _readable(file):
        content = gzip.decompress(file.read_bytes())
    if not content:
        raise TraceError(f"{file}: empty")
    return content


def read_json(file: Path) -> Any:
    """The content of a JSON file, compressed if its name ends in .gz."""
    content = read_bytes(file) if file.suffix == ".gz" else None
    with _readable(file):
        return json.loads(file.read_bytes() if content is None else content)


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, by name."""
    with _readable(file), np.load(file, allow_pickle=False) as archive:
        return dict(archive)


def checked_object(file: Path, content: Any, *names: str) -> dict[str, Any]:
    """`content`, which must be an object that contains all of `names`."""
    if not isinstance(content, dict):
        raise TraceError(f"{file}: holds {str(content)[:40]} where an object is expected")
    missing = [name for name in names if name not in content]
    if missing:
        raise TraceError(f"{file}: {', '.join(missing)} missing")
    return content


def checked_list(file: Path, name: str, content: Any) -> list[Any]:
    """`content` of the field `name`, which must be a list."""
    if not isinstance(content, list):
        raise TraceError(f"{file}: {name} holds {str(content)[:40]} where a list is expected")
    return content


def integer(file: Path, about: dict[str, Any], name: str) -> int:
    """The field `name` of `about`, which must be a whole number."""
    value = about.get(name)
    if type(value) is not int:
        raise TraceError(f"{file}: {name} is {value!r} instead of a whole number")
    return value


def text_array(file: Path, arrays: dict[str, np.ndarray], name: str) -> tuple[str, ...]:
    """The array `name`, which must be a list of text."""
    array = _field(file, arrays, name)
    if array.dtype.kind != "U" or array.ndim != 1:
        raise TraceError(f"{file}: {name} holds {array.dtype} {array.shape} instead of a list of text")
    return tuple(array.tolist())


def number_array(
    file: Path, arrays: dict[str, np.ndarray], name: str, shape: tuple[int, ...] | None, finite: bool = True
) -> np.ndarray:
    """The array `name`, which must hold numbers, finite unless `finite` is false, in the given shape (none: any)."""
    array = _field(file, arrays, name)
    if array.dtype.kind not in "fiu":
        raise TraceError(f"{file}: {name} holds {array.dtype} instead of numbers")
    if shape is not None and array.shape != shape:
        raise TraceError(f"{file}: {name} has the shape {array.shape} instead of {shape}")
    if finite and not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise TraceError(f"{file}: {name} is not finite at {where}")
    return array


def _field(file: Path, arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    if name not in arrays:
        raise TraceError(f"{file}: the field {name} is missing")
    return arrays[name]


def check_range(file: Path, name: str, values: np.ndarray, lowest: int, end: int) -> None:
    """Require whole numbers from `lowest` to `end` - 1."""
    if values.dtype.kind not in "iu":
        raise TraceError(f"{file}: {name} holds {values.dtype} instead of whole numbers")
    if len(values) and not lowest <= values.min() <= values.max() < end:
        raise TraceError(f"{file}: {name} goes from {values.min()} to {values.max()}, outside of {lowest} to {end - 1}")
