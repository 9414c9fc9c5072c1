"""Runs of a suite with changed settings, for `--set` of `benchmark.sweep`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.config import (
    GROUPS,
    MOST_LABEL,
    RunConfig,
    hashed_label,
    name_hint,
    resolve,
    setting_types,
    variant_label,
)
from benchmark.errors import UserError
from benchmark.requests import RunRequest
from envs.fields import kinds


def with_settings(requests: Sequence[RunRequest], assignments: Mapping[str, str]) -> list[RunRequest]:
    """The runs with settings changed, as `{"algorithm.alpha": "0.1"}`.

    Each becomes a separate variant, `<variant>+alpha=0.1`. A setting changes the runs whose task and algorithm have it.
    Runs that have none of the settings or already have these values stay unchanged, as do runs in which only settings
    without effect on numbers change.

    Raises UserError for a setting that no run has and for values that a run with the setting does not accept.
    """
    if not assignments:  # the names of settings are found without importing anything
        return list(requests)
    names = {pair: _names(*pair) for pair in dict.fromkeys(map(_task_and_algorithm, requests))}
    everywhere = list(dict.fromkeys(name for found in names.values() for name in found))
    for key in assignments:
        if key not in everywhere:
            raise UserError(f"--set {key}: none of these runs has this setting; {name_hint(key, everywhere)}")
    return [
        _changed(
            request, {key: value for key, value in assignments.items() if key in names[_task_and_algorithm(request)]}
        )
        for request in requests
    ]


def _task_and_algorithm(request: RunRequest) -> tuple[str, str]:
    return request.key.task, request.key.algorithm


def _names(task: str, algorithm: str) -> list[str]:
    types = setting_types(task, algorithm)
    return [f"{group}.{name}" for group in GROUPS for name in kinds(types[group])]


def _changed(request: RunRequest, changes: Mapping[str, str]) -> RunRequest:
    if not changes:
        return request
    task, algorithm, variant, seed = request.key
    overrides = request.overrides | dict(changes)
    try:
        before, after = (
            _values(resolve(task, algorithm, seed, request.total_steps, settings), changes)
            for settings in (request.overrides, overrides)
        )
    except UserError as error:
        raise UserError(f"{task} {algorithm}: {error}; --tasks and --algorithms choose runs") from error
    label = variant_label({key: value for key, value in after.items() if value != before[key]})
    if label == "default":
        return dataclasses.replace(request, overrides=overrides)
    changed = f"{variant}+{label}"
    if len(changed) > MOST_LABEL:
        changed = f"{variant}+{hashed_label(label)}"
    return dataclasses.replace(request, key=request.key._replace(variant=changed), overrides=overrides)


def _values(config: RunConfig, keys: Mapping[str, str]) -> dict[str, Any]:
    groups = {"environment": config.environment, "training": config.training, "algorithm": config.algorithm_settings}
    return {key: getattr(groups[group], name) for key in keys for group, name in [key.split(".", 1)]}
