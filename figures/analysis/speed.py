"""Measured speed of this project, of the original environments and of other suites, read from a file of
measurements."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results.errors import ResultsError

FILE = Path(__file__).resolve().parents[2] / "results" / "speed.json"
HERE = "here"
"""Name of this project in the file."""


@dataclass(frozen=True, slots=True)
class SpeedRow:
    """One task and number of copies on one core."""

    task: str
    copies: int
    rates: dict[str, float]
    """Suite, including `HERE` -> steps per second of all copies."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Quantity measured, the same for all rows."""

    date: str
    """Year and month."""
    hardware: str
    what: str
    """The unit: environment steps or simulated seconds."""
    setup: str
    command: str
    """Command that repeats the measurement."""
    rows: tuple[SpeedRow, ...]


def load_speed(path: Path = FILE) -> list[Measurement]:
    """All measurements of the file; none where the file does not exist. Raises ResultsError for any other content."""
    if not path.exists():
        return []
    try:
        return [_measurement(entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ResultsError(
            f"cannot read {path}: {type(error).__name__} {error}; expected a list of measurements with date, hardware, "
            f"what, setup, command and rows of task, copies and steps per second by suite, {HERE} among them"
        ) from error


def _measurement(entry: dict[str, Any]) -> Measurement:
    rows = []
    for row in entry["rows"]:
        rates = {name: float(value) for name, value in row.items() if name not in ("task", "copies")}
        rates[HERE]
        if min(rates.values()) <= 0:
            raise ValueError(f"{row['task']}: a speed is not above 0")
        rows.append(SpeedRow(str(row["task"]), int(row["copies"]), rates))
    date, hardware, what, setup, command = (
        str(entry[name]) for name in ("date", "hardware", "what", "setup", "command")
    )
    return Measurement(date, hardware, what, setup, command, tuple(rows))
