"""Records of a run folder, read with a check of the entries that readers rely on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from results.errors import ResultsError
from results.files import REMEDY, read_json
from results.records import STATES

_NUMBER = (int, float)
_WORDS = {int: "a whole number", _NUMBER: "a number", str: "a text", dict: "an object", list: "a list"}
_ASKED = ("task", "algorithm", "variant", "seed", "total_steps")
_CONFIG = {"total_steps": int, "environment": dict, "training": dict, "algorithm_settings": dict}
_STATUS = {"step": _NUMBER, "total_steps": _NUMBER, "wall_seconds": _NUMBER, "message": str, "scores": dict}
_FACTS = ("commit", "cpu", "gpu", "cores", "torch", "note")


def read_config(path: Path, remedy: str = REMEDY) -> dict[str, Any]:
    """A run's config.json. Raises ResultsError, with the remedy, where it is damaged; other entries may be missing."""
    record = read_json(path, remedy)
    if missing := [name for name in _ASKED if name not in record]:
        raise ResultsError(f"corrupt file {path}: no {', '.join(missing)}; {remedy}")
    _require(path, record, _CONFIG, remedy)
    _require(path, record.get("training", {}), {"evaluation_interval": int}, remedy)
    return record


def read_status(path: Path, remedy: str = REMEDY) -> dict[str, Any]:
    """A run's status.json: its state and step are there. Raises ResultsError, with the remedy, where it is damaged."""
    record = read_json(path, remedy)
    if record.get("state") not in STATES:
        given = repr(record.get("state"))
        raise ResultsError(f"corrupt file {path}: state is {given}, expected one of {', '.join(STATES)}; {remedy}")
    if "step" not in record:
        raise ResultsError(f"corrupt file {path}: step is missing; {remedy}")
    _require(path, record, _STATUS, remedy)
    scores = record.get("scores", {})
    _require(path, scores, dict.fromkeys(scores, _NUMBER), remedy)
    return {"wall_seconds": 0.0, **record}


def read_machine(path: Path, remedy: str = REMEDY) -> dict[str, Any]:
    """A run's machine.json. Raises ResultsError, with the remedy, where it is damaged."""
    record = read_json(path, remedy)
    _require(path, record, {"starts": list}, remedy)
    for facts in (record, *record.get("starts", [])):
        if not isinstance(facts, dict) or any(isinstance(facts.get(name), dict | list) for name in _FACTS):
            raise ResultsError(f"corrupt file {path}: expected the facts of every start of the run; {remedy}")
    return record


def _require(path: Path, record: Mapping[str, Any], form: Mapping[str, Any], remedy: str) -> None:
    """Raises ResultsError for an entry of another type; entries may be missing."""
    for name, kind in form.items():
        value = record.get(name)
        if name in record and (not isinstance(value, kind) or isinstance(value, bool)):
            raise ResultsError(f"corrupt file {path}: {name} is {repr(value)[:40]}, expected {_WORDS[kind]}; {remedy}")
