"""Training modes on a GPU that are timed against each other: sets of training settings, from plain to fastest."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from benchmark.config import TrainingConfig
from benchmark.errors import UserError
from benchmark.suites import COPIES

_GRAPH = {"training.acceleration": "cuda_graph"}
_BLOCKS = {"training.acceleration": "auto", "training.tf32": True}
MODES: dict[str, dict[str, Any]] = {
    "eager": {},
    "graph": _GRAPH,
    "graph+tf32": {**_GRAPH, "training.tf32": True},
    "blocks+tf32": _BLOCKS,
    "fused": {**_BLOCKS, "training.kernels": "fused"},
}
"""Name -> settings, the plain mode first; each is expected to be faster than the one before it."""
PLAIN = "eager"
"""Default training, with few copies of a task: the baseline of the other modes."""
KEYS = {"training.num_envs", *(key for settings in MODES.values() for key in settings)}
"""Settings that a mode determines."""


def settings_of(mode: str, task: str) -> dict[str, Any]:
    """Overrides of a run of `task` in a mode; all modes but the plain one use as many copies as the paper's suite."""
    copies = COPIES.get(task.partition("/")[0])
    return MODES[mode] | ({} if mode == PLAIN or copies is None else {"training.num_envs": copies})


def in_mode(overrides: Mapping[str, Any], mode: str, task: str) -> dict[str, Any]:
    """Overrides with the settings of this mode in place of those of another."""
    return {key: value for key, value in overrides.items() if key not in KEYS} | settings_of(mode, task)


def obstacle(mode: str, device: str) -> str:
    """Reason why the mode is not available in this version or on this device; empty where it is."""
    from benchmark import acceleration, kernels

    settings = {key.partition(".")[2]: value for key, value in MODES[mode].items()}
    missing = settings.keys() - {setting.name for setting in dataclasses.fields(TrainingConfig)}
    if missing:
        return f"this version has no setting training.{', training.'.join(sorted(missing))}"
    try:
        chosen = TrainingConfig(**settings)
        acceleration.require(chosen.acceleration, device)
        kernels.require(chosen.kernels, device)
    except (ValueError, UserError) as error:
        return str(error)
    return ""


def mode_of(training: Mapping[str, Any]) -> str | None:
    """The mode of a run with these training settings: the last mode whose settings they all have; None where their
    acceleration belongs to no mode."""
    found = None
    for mode, settings in MODES.items():
        if all(training.get(key.partition(".")[2]) == value for key, value in settings.items()):
            found = mode
    plain = training.get("acceleration", "none") == "none"
    return found if found != PLAIN or plain else None
