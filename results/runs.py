"""Reading of run folders into records; the files are described in `results.layout`."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from pathlib import Path
from sys import intern
from typing import Any, TypeVar

from results import layout
from results.episodes import load_episodes
from results.errors import ResultsError
from results.files import read_json, read_json_lines
from results.forms import read_config, read_machine, read_status
from results.frames import evaluations_frame, metrics_frame
from results.json_records import (
    evaluation_from_json,
    full_evaluations_from_json,
    references_from_json,
    trials_from_json,
)
from results.keys import RunKey
from results.layout import LOST_CONFIG, folders_of_runs, lost_config, seed_folders
from results.records import POLICIES, Evaluation, MetricRow, References, Results, Run, Status, Trial
from results.words import counted

__all__ = [
    "evaluations_frame",
    "load_run",
    "load_runs",
    "metrics_frame",
    "thin",
]

Row = TypeVar("Row", Evaluation, MetricRow)
TIMING = "timing/"
INTERPRETATION = "interpretation/"
"""Prefixes of the names of values from timing.jsonl and interpretation.jsonl."""
CONFIG_KEYS = ("task", "algorithm", "variant", "seed", "total_steps", "config_hash")
INTERPRETATION_POINTS = 80
"""Number of rows of traffic statistics kept for each run; the paper draws 69 of them, of 20,000 steps each."""
METRIC_POINTS = 200
"""Number of rows of training metrics and of timings kept for each run: enough for a curve, small enough to publish."""


def load_runs(directory: Path, wanted: Collection[RunKey] | None = None) -> Results:
    """All runs below `directory`, finished or not; runs that are not `wanted` are not read.

    Raises ResultsError where there are none, where a file is corrupt (naming file and line), where a config disagrees
    with its folder, or where one run was made twice with different configs.
    """
    folders = list(seed_folders(directory))
    if wanted is not None:
        folders = _of_keys(folders, wanted)
    lost = {folder.relative_to(directory).as_posix(): LOST_CONFIG for folder in folders if lost_config(folder)}
    without = [folder.relative_to(directory) for folder in folders if not (folder / layout.CONFIG).exists()]
    notes = [f"{folder}: {reason}" for folder, reason in lost.items()]
    notes += [
        f"{folder} has no config.json: the run never started, it is not counted"
        for folder in without
        if folder.as_posix() not in lost
    ]
    if wanted is not None:  # missing runs are reported by the caller
        notes = []
    runs = [(folder, load_run(folder)) for folder in folders if (folder / layout.CONFIG).exists()]
    if not runs and lost:
        first = next(iter(lost))
        raise ResultsError(f"no run of {directory} can be counted: {len(lost)} as {first}: {lost[first]}")
    if not runs and wanted is not None:
        raise ResultsError(
            f"{directory}: none of the wanted runs has begun ({len(set(wanted))}): make them, or name their folder "
            "with --results"
        )
    if not runs:
        raise ResultsError(
            f"no runs found in {directory}: expected run folders <task>/<algorithm>/<variant>/seed_<k>/ or published "
            "results (manifest.json); make runs with: python -m benchmark.sweep --suite smoke --results results/smoke, "
            "and name that folder with --results results/smoke"
        )
    kept, repeated = _without_repetitions(runs)
    references, unused = _load_references(directory, {run.key.task for _, run in kept})
    runs = sorted(kept, key=lambda pair: pair[1].key.order())
    episodes, halves = load_episodes({run.key: folder for folder, run in runs})
    return Results(
        runs=tuple(run for _, run in runs),
        references=references,
        notes=(*notes, *repeated, *(unused if wanted is None else ()), *halves),
        episodes=episodes,
        lost=lost,
    )


def load_run(folder: Path) -> Run:
    """The run in one folder. A truncated last line is left out, with a note, when the run has not finished."""
    config = read_config(folder / layout.CONFIG)
    key = _key_of(folder, config)
    machine_file = folder / layout.MACHINE
    notes: list[str] = []
    if machine_file.exists():
        machine = read_machine(machine_file)
    else:
        machine = {}
        notes.append("machine.json is missing: the run cannot say which code and hardware made it")
    status = _load_status(folder / layout.STATUS)
    unfinished = not status.finished
    evaluations = _load_evaluations(folder / layout.EVALUATION, unfinished, notes)
    bin_width = max(1.0, int(config["total_steps"]) / METRIC_POINTS)
    metrics = _load_metrics(folder / layout.METRICS, unfinished, notes, bin_width, prefix="")
    timing = _load_metrics(folder / layout.TIMING, unfinished, notes, bin_width, prefix=TIMING)
    counted = _load_interpretation(folder, unfinished, notes, int(config["total_steps"]))
    rows = (*metrics, *timing, *counted)
    full = _load_full_evaluation(folder / layout.FULL_EVALUATION)
    trials = _load_trials(folder / layout.TRANSFER, notes)
    return Run(key, config, machine, status, evaluations, rows, tuple(notes), full, trials)


def thin(rows: list[MetricRow], bin_width: float) -> list[MetricRow]:
    """The last row of every `bin_width` steps, so that runs with equal settings keep the same steps, whatever their
    lengths."""
    last_of_bin = {int((row.step - 1) // bin_width): row for row in rows}
    return list(last_of_bin.values())


def added_up(rows: list[MetricRow], bin_width: float) -> list[MetricRow]:
    """The sums of the rows of every `bin_width` steps, at the last of their steps."""
    bins: dict[int, list[MetricRow]] = {}
    for row in rows:
        bins.setdefault(int((row.step - 1) // bin_width), []).append(row)
    sums = []
    for group in bins.values():
        names = dict.fromkeys(name for row in group for name in row.values)
        sums.append(
            MetricRow(group[-1].step, {name: sum(row.values.get(name, 0.0) for row in group) for name in names})
        )
    return sums


def _of_keys(folders: Iterable[Path], keys: Collection[RunKey]) -> list[Path]:
    """The run folders that belong to one of the keys."""
    names = set(map(str, keys))
    parts = [(folder, folder.resolve().parts) for folder in folders]
    return [
        folder
        for folder, names_of in parts
        if any("/".join(names_of[first:]) in names for first in range(len(names_of)))
    ]


def _key_of(folder: Path, config: dict[str, Any]) -> RunKey:
    missing = [name for name in CONFIG_KEYS if name not in config]
    if missing:
        raise ResultsError(f"corrupt file {folder / layout.CONFIG}: no {', '.join(missing)}")
    try:
        key = RunKey.of(config)
        int(config["total_steps"])
    except (TypeError, ValueError) as error:
        raise ResultsError(f"corrupt file {folder / layout.CONFIG}: seed and total_steps must be integers") from error
    expected = tuple(str(key).split("/"))
    if folder.resolve().parts[-len(expected) :] != expected:
        raise ResultsError(
            f"{folder / layout.CONFIG} describes {key}, which is not the folder it lies in; move it back"
        )
    return key


def _load_status(path: Path) -> Status:
    if not path.exists():
        return Status("running", 0, "status.json is missing: the run was killed before its first report", "", 0.0)
    value = read_status(path)
    try:
        return Status(
            state=value["state"],
            step=int(value["step"]),
            message=value.get("message", ""),
            updated=str(value.get("updated") or ""),
            wall_seconds=float(value["wall_seconds"]),
        )
    except (OverflowError, ValueError) as error:  # not a number, or infinite
        raise ResultsError(f"corrupt file {path}: step and wall_seconds must be numbers") from error


def _load_evaluations(path: Path, may_be_truncated: bool, notes: list[str]) -> tuple[Evaluation, ...]:
    rows, truncated = read_json_lines(path, may_be_truncated)
    notes.extend([truncated] if truncated else [])
    by_policy: dict[str, list[Evaluation]] = {policy: [] for policy in POLICIES}
    for number, row in rows:
        evaluation = evaluation_from_json(row, f"{path}, line {number}")
        _append_newest(by_policy[evaluation.policy], evaluation, path.name, notes)
    evaluations = [evaluation for policy in POLICIES for evaluation in by_policy[policy]]
    for policy, its in by_policy.items():
        broken = [evaluation.step for evaluation in its if not all(map(math.isfinite, evaluation.returns))]
        if broken:
            notes.append(
                f"{policy} returns are not finite from step {broken[0]} on ({counted(len(broken), 'evaluation')})"
            )
    return tuple(sorted(evaluations, key=lambda evaluation: (evaluation.step, evaluation.policy)))


def _load_interpretation(folder: Path, may_be_truncated: bool, notes: list[str], total_steps: int) -> list[MetricRow]:
    """Sums from interpretation.jsonl; empty where the task keeps no such statistics."""
    path = folder / layout.INTERPRETATION
    if not path.exists():
        return []
    rows = _read_metrics(path, may_be_truncated, notes, INTERPRETATION)
    return added_up(rows, max(1.0, total_steps / INTERPRETATION_POINTS))


def _load_full_evaluation(path: Path) -> tuple[Evaluation, ...]:
    """Evaluations of the trained policies on longer episodes; empty where the task has none."""
    return full_evaluations_from_json(read_json(path).get("evaluations", []), str(path)) if path.exists() else ()


def _load_trials(path: Path, notes: list[str]) -> tuple[Trial, ...]:
    """Trials of the trained policies. A truncated last line is left out with a note: the command that adds lines
    repeats the trial."""
    rows, truncated = read_json_lines(path, may_be_truncated=True)
    notes.extend([truncated] if truncated else [])
    return trials_from_json([row for _, row in rows], str(path))


def _load_metrics(
    path: Path, may_be_truncated: bool, notes: list[str], bin_width: float, prefix: str
) -> list[MetricRow]:
    return thin(_read_metrics(path, may_be_truncated, notes, prefix), bin_width)


def _read_metrics(path: Path, may_be_truncated: bool, notes: list[str], prefix: str) -> list[MetricRow]:
    lines, truncated = read_json_lines(path, may_be_truncated)
    notes.extend([truncated] if truncated else [])
    rows: list[MetricRow] = []
    first_broken: dict[str, int] = {}
    for number, line in lines:
        try:
            row = MetricRow(int(line.pop("step")), _numbers(line, prefix))
        except (KeyError, TypeError, ValueError) as error:
            raise ResultsError(f"corrupt file {path}, line {number}: expected a step and named numbers") from error
        _append_newest(rows, row, path.name, notes)
        if not all(map(math.isfinite, row.values.values())):
            for name in (name for name, value in row.values.items() if not math.isfinite(value)):
                first_broken.setdefault(name, row.step)
    notes.extend(f"{name} is not finite, first at step {step}" for name, step in first_broken.items())
    return [row for row in rows if row.values]


def _numbers(line: dict[str, Any], prefix: str) -> dict[str, float]:
    """Named numbers of one line; names of nested objects are joined with a slash, and null values are dropped.

    Names are interned, since the same few occur in every line.
    """
    numbers: dict[str, float] = {}
    for name, value in line.items():
        if isinstance(value, dict):
            numbers |= _numbers(value, f"{prefix}{name}/")
        elif value is not None:
            numbers[intern(prefix + name)] = float(value)
    return numbers


def _append_newest(rows: list[Row], row: Row, name: str, notes: list[str]) -> None:
    """Append a row; a row with an earlier step was written after a resume and replaces the rows it repeats."""
    length = len(rows)
    while rows and rows[-1].step >= row.step:
        rows.pop()
    if len(rows) < length:
        notes.append(
            f"{name}: resumed at step {row.step}, which replaced {counted(length - len(rows), 'earlier line')}"
        )
    rows.append(row)


def _without_repetitions(runs: Iterable[tuple[Path, Run]]) -> tuple[list[tuple[Path, Run]], list[str]]:
    """One run for each key. Of copies with one config, the most advanced one is kept; different configs are an
    error."""
    kept: dict[RunKey, tuple[Path, Run]] = {}
    notes = []
    for folder, run in runs:
        if run.key not in kept:
            kept[run.key] = (folder, run)
            continue
        other_folder, other = kept[run.key]
        if other.config_hash != run.config_hash:
            raise ResultsError(
                f"{run.key} was run twice with different configs ({other_folder}: {other.config_hash[:12]}, "
                f"{folder}: {run.config_hash[:12]}); keep one, or give one another variant name"
            )
        if (run.status.finished, run.status.step) > (other.status.finished, other.status.step):
            kept[run.key] = (folder, run)
        notes.append(f"{run.key} was found twice with the same config: the most advanced copy is used")
    return list(kept.values()), notes


def _load_references(directory: Path, tasks: set[str]) -> tuple[dict[str, References], list[str]]:
    found: dict[str, References] = {}
    notes = []
    for folder, _ in folders_of_runs(directory):
        path = folder / layout.REFERENCES
        if not path.exists():
            continue
        parent = folder.relative_to(directory).as_posix()
        task = next((task for task in sorted(tasks) if f"/{parent}".endswith(f"/{task}")), None)
        if task is None:
            notes.append(f"{path.relative_to(directory)}: no run of this task, its references are not shown")
            continue
        references = references_from_json(task, read_json(path), str(path))
        if found.setdefault(task, references) != references:
            raise ResultsError(f"{path}: a second references.json for {task} with other numbers; keep one")
    return found, notes
