"""Ways to train on a GPU that are timed against each other: sets of training settings, from plain to fastest."""

from __future__ import annotations

import dataclasses
from typing import Any

from benchmark import acceleration
from benchmark.config import TrainingConfig
from benchmark.errors import UserError

_GRAPH = {"training.acceleration": "cuda_graph"}
_BLOCKS = {"training.acceleration": "cuda_blocks", "training.tf32": True}
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
COPIES = {"mpe": 100, "magent": 100, "cityflow": 16}
"""Copies of a task in lockstep in every mode but the plain one, by platform; others keep the default. Tensors take 100
in the time of 4, and with `update_interval` copies a block has one round of environment steps; engines of traffic are
on the CPU, one copy for each of the cores that a GPU has beside it."""


def settings_of(mode: str, task: str) -> dict[str, Any]:
    """Overrides of a run of `task` in a mode."""
    copies = COPIES.get(task.partition("/")[0])
    return MODES[mode] | ({} if mode == PLAIN or copies is None else {"training.num_envs": copies})


def obstacle(mode: str, device: str) -> str:
    """Why this version, or the device, has no such mode; empty where it has."""
    settings = {key.partition(".")[2]: value for key, value in MODES[mode].items()}
    missing = settings.keys() - {setting.name for setting in dataclasses.fields(TrainingConfig)}
    if missing:
        return f"this version has no setting training.{', training.'.join(sorted(missing))}"
    try:
        chosen = TrainingConfig(**settings)
        acceleration.require(chosen.acceleration, device)
    except (ValueError, UserError) as error:
        return str(error)
    return ""


def mode_of(training: dict[str, Any]) -> str | None:
    """The mode in which a run with these training settings was made: the last of which it has all; None where it has
    another acceleration than any."""
    found = None
    for mode, settings in MODES.items():
        if all(training.get(key.partition(".")[2]) == value for key, value in settings.items()):
            found = mode
    plain = training.get("acceleration", "none") == "none"
    return found if found != PLAIN or plain else None
