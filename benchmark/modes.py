"""Ways to train on a GPU that are timed against each other: sets of training settings, from plain to fastest."""

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
"""Name -> settings, the plain way first, each faster than the one before it if all is as it should be."""
PLAIN = "eager"
"""Training as the defaults have it, with few copies of a task: what other modes are compared with."""
KEYS = {"training.num_envs", *(key for settings in MODES.values() for key in settings)}
"""Settings that a mode decides about."""


def settings_of(mode: str, task: str) -> dict[str, Any]:
    """Overrides of a run of `task` in a mode; all modes but the plain one step as many copies as the paper's suite."""
    copies = COPIES.get(task.partition("/")[0])
    return MODES[mode] | ({} if mode == PLAIN or copies is None else {"training.num_envs": copies})


def in_mode(overrides: Mapping[str, Any], mode: str, task: str) -> dict[str, Any]:
    """Overrides with the settings of a mode in the place of those of another."""
    return {key: value for key, value in overrides.items() if key not in KEYS} | settings_of(mode, task)


def obstacle(mode: str, device: str) -> str:
    """Why this version, or the device, has no such mode; empty where it has."""
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
    """The mode in which a run with these training settings was made: the last of which it has all; None where it has
    another acceleration than any."""
    found = None
    for mode, settings in MODES.items():
        if all(training.get(key.partition(".")[2]) == value for key, value in settings.items()):
            found = mode
    plain = training.get("acceleration", "none") == "none"
    return found if found != PLAIN or plain else None
