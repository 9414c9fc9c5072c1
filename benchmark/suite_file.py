"""Custom suites from TOML files: `python -m benchmark.sweep --suite my_suite.toml`.

    tasks = ["mpe/cooperative_navigation_6"]
    algorithms = ["ip", "iql"]
    seeds = [0, 1, 2]                      # default: 0
    total_steps = 20_000                   # default: the task's
    variant = "mine"                       # default: the name of the file

    [settings]
    "training.batch_size" = 64
    "algorithm.learning_rate" = [0.001, 0.003]

A task may also be the path of a CityFlow configuration, or `pettingzoo:package.module:function`. A list of values makes
a variant of each: `mine-learning_rate=0.001` and so on, and of two lists every pair. Settings may also stand in tables,
as `[settings.training]` with `batch_size = 64`.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.requests import RunRequest
from benchmark.tasks import default_total_steps, located
from envs.fields import closest
from results.keys import RunKey

ENDING = ".toml"
KINDS: dict[str, type] = {
    "tasks": list,
    "algorithms": list,
    "seeds": list,
    "total_steps": int,
    "variant": str,
    "settings": dict,
}
"""Entries of a file, with their types."""
WORDS = {list: "a list", int: "a whole number", str: "a text", dict: "a table"}


def read_suite(path: Path) -> list[RunRequest]:
    """The runs listed in a file, with tasks in the outermost loop; a task may be a path or `pettingzoo:...`, as
    everywhere. Raises UserError for a file in another format, and what `envs.locate` raises."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors write a byte order mark
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"--suite {path}: cannot be read: {error}") from error
    _check(path, table)
    settings = dict(_flat(table.get("settings", {})))
    _check_settings(path, settings)
    steps = table.get("total_steps")
    return [
        RunRequest(RunKey(task, algorithm, variant, seed), steps or default_total_steps(task), origin | chosen)
        for task, origin in map(located, table["tasks"])
        for algorithm in table["algorithms"]
        for variant, chosen in _variants(table.get("variant", path.stem), settings)
        for seed in table.get("seeds", [0])
    ]


def _check(path: Path, table: dict[str, Any]) -> None:
    for name, value in table.items():
        if name not in KINDS:
            hint = closest(name, KINDS) or f"there are {', '.join(KINDS)}"
            raise UserError(f"--suite {path}: {name}: there is no such entry; {hint}")
        if not isinstance(value, KINDS[name]) or isinstance(value, bool):
            raise UserError(f"--suite {path}: {name} = {value!r}: expected {WORDS[KINDS[name]]}")
    for name, kind in (("tasks", str), ("algorithms", str), ("seeds", int)):
        values = table.get(name, [0] if name == "seeds" else [])
        if not values or not all(isinstance(value, kind) and not isinstance(value, bool) for value in values):
            raise UserError(f"--suite {path}: {name} = {values!r}: expected {WORDS[list]} of {WORDS[kind]} or several")
        if len(set(values)) < len(values):
            raise UserError(f"--suite {path}: {name} = {values!r}: the same one twice")
    if table.get("total_steps", 1) < 1:
        raise UserError(f"--suite {path}: total_steps = {table['total_steps']}: expected a positive number of steps")


def _flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by their full names, also those that stand in tables of their groups."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _check_settings(path: Path, settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(each, str | int | float) for each in values):
            expected = "expected a text, a number, true or false, or a list of at least one of these"
            raise UserError(f"--suite {path}: {name} = {value!r}: {expected}")
        if len(set(map(str, values))) < len(values):
            raise UserError(f"--suite {path}: {name} = {value!r}: the same one twice")


def _variants(name: str, settings: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and settings of the variants."""
    lists = {key: value for key, value in settings.items() if isinstance(value, list)}
    for chosen in itertools.product(*lists.values()):
        varied = dict(zip(lists, chosen, strict=True))
        words = [f"{key.rpartition('.')[2]}={str(value).lower()}" for key, value in varied.items()]
        yield "-".join([name, *words]), settings | varied
