"""Runs of a suite with settings changed: what `--set` of `benchmark.sweep` makes of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.cells import Cell
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
from envs.fields import kinds


def with_settings(cells: Sequence[Cell], assignments: Mapping[str, str]) -> list[Cell]:
    """The cells with settings changed, as `{"algorithm.alpha": "0.1"}`.

    Each is a variant of its own, `<variant>+alpha=0.1`, beside the suite's. A setting changes the runs whose task and
    algorithm have it. Runs that have none of the settings, or have these values already, are the suite's runs as they
    are, and so are those where only settings without effect on numbers change.

    Raises UserError for a setting that no run has and for values that a run that has the setting does not take.
    """
    names = {(cell.task, cell.algorithm): _names(cell) for cell in {(c.task, c.algorithm): c for c in cells}.values()}
    everywhere = list(dict.fromkeys(name for found in names.values() for name in found))
    for key in assignments:
        if key not in everywhere:
            raise UserError(f"--set {key}: no run of these has such a setting; {name_hint(key, everywhere)}")
    return [
        _changed(cell, {key: value for key, value in assignments.items() if key in names[cell.task, cell.algorithm]})
        for cell in cells
    ]


def _names(cell: Cell) -> list[str]:
    types = setting_types(cell.task, cell.algorithm)
    return [f"{group}.{name}" for group in GROUPS for name in kinds(types[group])]


def _changed(cell: Cell, changes: Mapping[str, str]) -> Cell:
    if not changes:
        return cell
    overrides = cell.overrides | dict(changes)
    try:
        before, after = (
            _values(resolve(cell.task, cell.algorithm, cell.seed, cell.total_steps, settings), changes)
            for settings in (cell.overrides, overrides)
        )
    except UserError as error:
        raise UserError(f"{cell.task} {cell.algorithm}: {error}; --tasks and --algorithms choose runs") from error
    label = variant_label({key: value for key, value in after.items() if value != before[key]})
    if label == "default":
        return dataclasses.replace(cell, overrides=overrides)
    variant = f"{cell.variant}+{label}"
    if len(variant) > MOST_LABEL:
        variant = f"{cell.variant}+{hashed_label(label)}"
    return dataclasses.replace(cell, variant=variant, overrides=overrides)


def _values(config: RunConfig, keys: Mapping[str, str]) -> dict[str, Any]:
    groups = {"environment": config.environment, "training": config.training, "algorithm": config.algorithm_settings}
    return {key: getattr(groups[group], name) for key in keys for group, name in [key.split(".", 1)]}
