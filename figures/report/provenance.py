"""Provenance of runs: code, hardware, time and settings, as sentences and tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from figures.analysis import Analysis
from figures.names import algorithm_label
from figures.tables import DASH, Cell, Table
from results.checks import IDENTITY_KEYS, flatten
from results.records import Results, Run

DIRTY_NOTE = "+ after a commit: made with uncommitted changes."
CELL_KEYS = IDENTITY_KEYS | {"task", "algorithm", "variant"}
"""Config entries already named in the headings and tables around the settings."""
NO_VALUE = object()


def duration(seconds: float) -> str:
    """A duration in words: `45 s`, `12 min`, `3 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02d} min"


def count_text(count: int) -> str:
    """A large count, shortened: `12,345`, `1.2 M`."""
    return f"{count:,}" if count < 1_000_000 else f"{count / 1e6:,.1f} M"


def commit_text(machine: Mapping[str, Any]) -> str:
    """The first digits of the commit, with a plus sign for uncommitted changes."""
    commit = machine.get("commit")
    return (str(commit)[:10] + ("+" if machine.get("dirty") else "")) if commit else "unknown"


def numbered_machines(results: Results) -> dict[tuple[str, ...], int]:
    """Code and hardware of the runs, as in `machine_facts`, numbered from 1."""
    return {facts: number for number, facts in enumerate(sorted(set(map(machine_facts, results.runs))), start=1)}


def machine_facts(run: Run) -> tuple[str, ...]:
    """Code and hardware of a run, on which its numbers may depend besides its config, and its speed does."""
    facts = (_fact(run.machine.get(name)) or DASH for name in ("python", "torch", "cpu", "cores", "gpu"))
    return commit_text(run.machine), *facts


def machines_table(analysis: Analysis) -> Table:
    """Table of code and hardware, with the runs and their total time."""
    rows: list[list[Cell]] = []
    for facts, number in numbered_machines(analysis.results).items():
        runs = [run for run in analysis.results.runs if machine_facts(run) == facts]
        seconds = sum(run.status.wall_seconds for run in runs)
        words: list[Cell] = [(text, text) for text in facts]
        rows.append([(str(number), number), *words, (str(len(runs)), len(runs)), (duration(seconds), seconds)])
    header = ("Machine", "Commit", "Python", "PyTorch", "CPU", "Cores", "GPU", "Runs", "Time")
    return Table(header, rows, DIRTY_NOTE, words=7)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of all runs of one task and variant."""

    labels: list[str]
    """Names of the algorithms."""
    rows: list[tuple[str, list[str]]]
    """Dotted name, and the value of each algorithm as JSON; a single value where all share it."""


def settings_of(algorithms: Mapping[str, Sequence[Run]]) -> Settings:
    """The settings of all runs of one task and variant. Where the seeds of an algorithm differ, each value is listed
    with its seeds; a dash marks settings that an algorithm lacks."""
    columns = {name: _settings(runs) for name, runs in algorithms.items()}
    rows = []
    for name in dict.fromkeys(name for column in columns.values() for name in column):
        values = [column.get(name) for column in columns.values()]
        shared = len(set(values)) == 1
        texts = [DASH if value is None else value for value in values]
        rows.append((name, texts[:1] if shared else texts))
    return Settings([algorithm_label(name) for name in columns], rows)


def _settings(runs: Sequence[Run]) -> dict[str, str]:
    """Dotted name of every setting -> its value as JSON."""
    flat = [flatten(run.config) for run in runs]
    names = dict.fromkeys(name for config in flat for name in config if name not in CELL_KEYS)
    return {name: _by_seed(runs, [config.get(name, NO_VALUE) for config in flat]) for name in names}


def _by_seed(runs: Sequence[Run], values: Sequence[Any]) -> str:
    """Value of a setting: `0.01`; where seeds differ `0.01 (seed 0), 0.02 (seeds 1, 2)`."""
    seeds: dict[str, list[int]] = {}
    for run, value in zip(runs, values, strict=True):
        text = "absent" if value is NO_VALUE else json.dumps(value, ensure_ascii=False)
        seeds.setdefault(text, []).append(run.key.seed)
    if len(seeds) == 1:
        return next(iter(seeds))
    return ", ".join(
        f"{text} (seed{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))})" for text, numbers in seeds.items()
    )


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_fact(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_fact, value))
    return "" if value is None else str(value)
