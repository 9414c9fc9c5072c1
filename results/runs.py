"""Reading of run folders into records; the files are described in `results.layout`."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from pathlib import Path
from sys import intern
from typing import Any, TypeVar

import numpy as np

from results import layout
from results.episodes import load_episodes
from results.errors import ResultsError
from results.files import read_json, read_json_lines
from results.forms import read_config, read_machine, read_status
from results.frames import evaluations_frame, metrics_frame
from results.keys import RunKey
from results.layout import LOST_CONFIG, folders_of_runs, lost_config, seed_folders
from results.records import POLICIES, Evaluation, MetricRow, References, Results, Run, Status, Trial

__all__ = [
    "evaluations_frame",
    "load_run",
    "load_runs",
    "metrics_frame",
    "references_from_json",
    "thin",
    "trials_from_json",
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
            f"{directory}: none of the {len(set(wanted))} runs that are wanted has begun: make them, or name their "
            "folder with --results"
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
    torn = not status.finished
    evaluations = _load_evaluations(folder / layout.EVALUATION, torn, notes)
    bin_width = max(1.0, int(config["total_steps"]) / METRIC_POINTS)
    metrics = _load_metrics(folder / layout.METRICS, torn, notes, bin_width, prefix="")
    timing = _load_metrics(folder / layout.TIMING, torn, notes, bin_width, prefix=TIMING)
    counted = _load_interpretation(folder, torn, notes, int(config["total_steps"]))
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


def _load_evaluations(path: Path, may_end_torn: bool, notes: list[str]) -> tuple[Evaluation, ...]:
    rows, torn = read_json_lines(path, may_end_torn)
    notes.extend([torn] if torn else [])
    by_policy: dict[str, list[Evaluation]] = {policy: [] for policy in POLICIES}
    for number, row in rows:
        evaluation = _evaluation(row, f"{path}, line {number}")
        _append_newest(by_policy[evaluation.policy], evaluation, path.name, notes)
    evaluations = [evaluation for policy in POLICIES for evaluation in by_policy[policy]]
    for policy, its in by_policy.items():
        broken = [evaluation.step for evaluation in its if not all(map(math.isfinite, evaluation.returns))]
        if broken:
            notes.append(f"{policy} returns are not finite from step {broken[0]} on ({len(broken)} evaluations)")
    return tuple(sorted(evaluations, key=lambda evaluation: (evaluation.step, evaluation.policy)))


def _evaluation(row: dict[str, Any], where: str) -> Evaluation:
    try:
        policy, returns = str(row["policy"]), _single(row["returns"])
        scores = {str(name): float(value) for name, value in (row.get("scores") or {}).items()}
        step = int(row["step"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResultsError(f"corrupt file {where}: expected step, policy, returns (numbers) and scores") from error
    if policy not in POLICIES:
        raise ResultsError(f"corrupt file {where}: policy is {policy!r}, expected one of {', '.join(POLICIES)}")
    if returns.ndim != 1 or not returns.size:
        raise ResultsError(f"corrupt file {where}: returns must be a list with one number for each episode")
    return Evaluation(step, policy, tuple(returns.tolist()), scores)


def _single(returns: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Returns rounded to float32, where too large ones become infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(returns, dtype=np.float32)


def _load_interpretation(folder: Path, may_end_torn: bool, notes: list[str], total_steps: int) -> list[MetricRow]:
    """Sums from interpretation.jsonl; empty where the task keeps no such statistics."""
    path = folder / layout.INTERPRETATION
    if not path.exists():
        return []
    rows = _read_metrics(path, may_end_torn, notes, INTERPRETATION)
    return added_up(rows, max(1.0, total_steps / INTERPRETATION_POINTS))


def _load_full_evaluation(path: Path) -> tuple[Evaluation, ...]:
    """Evaluations of the trained policies on longer episodes; empty where the task has none."""
    return full_evaluations_from_json(read_json(path).get("evaluations", []), str(path)) if path.exists() else ()


def full_evaluations_from_json(rows: list[dict[str, Any]], where: str) -> tuple[Evaluation, ...]:
    """Evaluations on longer episodes; `where` names the file in errors."""
    return tuple(_evaluation(row, where) for row in rows)


def _load_trials(path: Path, notes: list[str]) -> tuple[Trial, ...]:
    """Trials of the trained policies. A truncated last line is left out with a note: the command that adds lines
    repeats the trial."""
    rows, torn = read_json_lines(path, may_end_torn=True)
    notes.extend([torn] if torn else [])
    return trials_from_json([row for _, row in rows], str(path))


def trials_from_json(rows: list[dict[str, Any]], where: str) -> tuple[Trial, ...]:
    """Trials, only the last of equal ones; `where` names the file in errors."""
    found: dict[tuple[Any, ...], Trial] = {}
    for number, row in enumerate(rows, start=1):
        try:
            references = {
                str(name): tuple(map(float, returns)) for name, returns in (row.get("references") or {}).items()
            }
            trial = Trial(
                task=str(row["task"]),
                agents=int(row["agents"]),
                policy=str(row["policy"]),
                seed=int(row["seed"]),
                steps=int(row["steps"]),
                returns=tuple(map(float, row["returns"])),
                scores={str(name): float(value) for name, value in (row.get("scores") or {}).items()},
                drop=float(row.get("drop", 0.0)),
                drop_agents=float(row.get("drop_agents", 0.0)),
                delay=int(row.get("delay", 0)),
                references=references,
                commit=str(row.get("commit") or ""),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ResultsError(
                f"corrupt file {where}, line {number}: expected task, agents, policy, seed, steps and returns (numbers)"
            ) from error
        if trial.policy not in POLICIES or not trial.returns:
            raise ResultsError(
                f"corrupt file {where}, line {number}: expected a policy, {' or '.join(POLICIES)}, and its returns"
            )
        found[trial.place] = trial
    return tuple(found.values())


def _load_metrics(path: Path, may_end_torn: bool, notes: list[str], bin_width: float, prefix: str) -> list[MetricRow]:
    return thin(_read_metrics(path, may_end_torn, notes, prefix), bin_width)


def _read_metrics(path: Path, may_end_torn: bool, notes: list[str], prefix: str) -> list[MetricRow]:
    lines, torn = read_json_lines(path, may_end_torn)
    notes.extend([torn] if torn else [])
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
        notes.append(f"{name}: resumed at step {row.step}, which replaced {length - len(rows)} earlier line(s)")
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


def references_from_json(task: str, value: dict[str, Any], where: str) -> References:
    """The reference policies of one task; `where` names the file in errors."""
    try:
        returns = {str(name): tuple(_single(policy["returns"]).tolist()) for name, policy in value["policies"].items()}
        full = value.get("full_evaluation", {}).get("policies", {})
        full_returns = {str(name): tuple(map(float, policy["returns"])) for name, policy in full.items()}
        references = References(task, int(value["evaluation_seed"]), int(value["episodes"]), returns, full_returns)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResultsError(
            f"corrupt file {where}: expected evaluation_seed, episodes and policies, each with its returns"
        ) from error
    wrong = [name for name, values in returns.items() if len(values) != references.episodes]
    if wrong:
        raise ResultsError(f"corrupt file {where}: {', '.join(wrong)} must have {references.episodes} returns")
    return references
