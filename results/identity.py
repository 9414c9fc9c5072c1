"""The identity of a run: its settings without those that have no effect on numbers.

Settings without effect may be added, renamed or removed without changing the identity of earlier runs, since their hash
is that of the same record.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

WITHOUT_EFFECT: Mapping[str, tuple[str, ...]] = {
    "training": (
        "checkpoint_seconds",
        "checkpoint_replay_gib",
        "keep_checkpoint",
        "tensorboard",
        "synchronise_timing",
        "environment_threads",
        "initial_policy",
    ),
    "algorithm_settings": ("micro_batch", "piece"),
    "environment": ("map", "workers"),
}
"""Settings left out of the identity, by group. `piece` is the name of `micro_batch` from the time when it was part of
the identity. The paths of a city's files or of an initial policy have no effect on numbers; their contents have."""
FILES: Mapping[str, str] = {"roadnet_sha256": "road network", "flow_sha256": "flow"}
"""Environment settings that hold the SHA-256 of a city's files, with descriptions of the files. In names of variants
the task's name stands for them."""
OF_PACKAGES = ("source", "package")
"""Environment settings of a task from another package that names of variants omit, since the task's name and
machine.json hold them."""
ADDED: Mapping[str, Mapping[str, Any]] = {
    "training": {"kernels": "reference", "tf32": False, "initial_digest": ""},
    "environment": {**dict.fromkeys(FILES, ""), "observe_agents": True, "protocol": "paper", "observation": "counts"},
    "algorithm_settings": {"action_noise": 0.3},
}
"""Settings added later, by group, with the values that correspond to earlier behaviour. They are left out at these
values, so that earlier runs keep their identity."""

_NEVER = object()


def identity_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """A run's settings, from config.json or a published set, without the hash and settings without effect on
    numbers."""
    kept = {key: value for key, value in record.items() if key != "config_hash"}
    for group, names in WITHOUT_EFFECT.items():
        if group in kept:
            kept[group] = {name: value for name, value in kept[group].items() if name not in names}
    for group, before in ADDED.items():
        if group in kept:
            kept[group] = {name: value for name, value in kept[group].items() if before.get(name, _NEVER) != value}
    return kept


def changed_files(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Description of the city files in which two records differ; empty where they agree."""
    sums = [[record.get("environment", {}).get(name, "") for record in (before, now)] for name in FILES]
    rows = [
        f"its {what} had the sha256 {was[:12] or '(none)'}, now {found[:12] or '(none)'}"
        for what, (was, found) in zip(FILES.values(), sums, strict=True)
        if was != found
    ]
    return " and ".join(rows)


def digest_of(record: Mapping[str, Any]) -> str:
    """Short hash of the identity, equal to that of runs made while it still held the default `piece`."""
    identity = identity_of(record)
    identity["algorithm_settings"] = {**identity["algorithm_settings"], "piece": None}
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def hash_of(record: Mapping[str, Any]) -> str:
    """The hash that identifies a recorded run: its recorded hash, unless that depended on the size of micro-batches.
    Empty where it has none."""
    told_apart = record.get("algorithm_settings", {}).get("piece") is not None
    return digest_of(record) if told_apart else str(record.get("config_hash", ""))
