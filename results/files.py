"""Reading JSON with errors that name file and line, and writing files that are never seen half written."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from results.records import ResultsError


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``. Raises ResultsError when it is unreadable or is something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ResultsError(f"corrupt file {path}, line {error.lineno}: not JSON ({error.msg})") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ResultsError(f"cannot read {path}: {error}") from error
    if not isinstance(value, dict):
        raise ResultsError(f"corrupt file {path}: expected a JSON object, found a {type(value).__name__}")
    return value


def read_json_lines(path: Path, may_end_torn: bool) -> tuple[list[tuple[int, dict[str, Any]]], str | None]:
    """The objects of a JSON-lines file, each with its line number (from 1), and a note on a torn last line.

    A process killed while it writes leaves half a line. That is accepted as the very last line, and only where
    ``may_end_torn`` says that the run never finished; anywhere else it raises ResultsError with file and line.
    A file that does not exist has no lines.
    """
    if not path.exists():
        return [], None
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error}") from error
    if lines[-1] == b"":
        lines.pop()
    rows: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line.decode("utf-8"))
        except ValueError as error:
            if may_end_torn and number == len(lines):
                return rows, f"{path.name} ends in a torn line ({number}), which was left out"
            hint = "is torn, although the run says it finished" if number == len(lines) else "is not JSON"
            raise ResultsError(f"corrupt file {path}, line {number}: {hint}; run this seed again") from error
        if not isinstance(row, dict):
            raise ResultsError(f"corrupt file {path}, line {number}: expected a JSON object")
        rows.append((number, row))
    return rows, None


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write ``path`` by way of a temporary file beside it, so that no reader meets half of it.

    Raises ResultsError when the folder cannot be made or written.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ResultsError(f"cannot write {path}: {error.strerror or error}; choose another --output") from error


def write_together(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write the files of a folder that belong together, some of them in folders in it, and leave its others alone.

    All are written whole under a hidden folder first, and only then take their places, in the order given: whatever
    goes wrong before that leaves the old ones as they were. Raises ResultsError when the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=".partial") as hidden:
            for name, data in contents.items():
                path = Path(hidden) / name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(data)
            for name in contents:
                (folder / name).parent.mkdir(exist_ok=True)
                (Path(hidden) / name).replace(folder / name)
    except OSError as error:
        raise ResultsError(f"cannot write {folder}: {error.strerror or error}; choose another --output") from error
