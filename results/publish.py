"""Run folders to a small, checksummed set of files that ships with the project, and back.

python -m results.publish --results DIR [--output results/published] [--compact] [--add]
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from results.files import read_json, write_atomically
from results.records import Cell, Evaluation, MetricRow, Results, ResultsError, Run, Status
from results.runs import full_evaluations_from_json, load_runs, log_of, references_from_json

FORMAT = 1
MANIFEST = "manifest.json"
CODE_FACTS = ("commit", "dirty", "started", "from_step", "note", "python", "torch", "numpy")
HARDWARE_FACTS = ("device", "gpu", "cpu", "cores")
PUBLISHED_MACHINE_FACTS = CODE_FACTS + HARDWARE_FACTS
"""Facts of machine.json that may explain a number. Others, such as the host or the command, are not published."""

NAME = pa.dictionary(pa.int32(), pa.string())
CELL_FIELDS = [("task", NAME), ("algorithm", NAME), ("variant", NAME), ("seed", pa.int32())]
EVALUATION_SCHEMA = pa.schema(
    [
        *CELL_FIELDS,
        ("step", pa.int64()),
        ("policy", NAME),
        ("returns", pa.list_(pa.float32())),
        ("scores", pa.map_(pa.string(), pa.float64())),
    ]
)
METRIC_SCHEMA = pa.schema([*CELL_FIELDS, ("step", pa.int64()), ("name", NAME), ("value", pa.float64())])


WHOLE_EVALUATIONS = 3
"""The last evaluations of each policy, of which `compact` keeps every episode: those that final scores are made of."""
COMPACT_NOTE = f"of all but the last {WHOLE_EVALUATIONS} evaluations of a run, only the mean over episodes is kept"


def compact(results: Results) -> Results:
    """The same results with the returns of earlier evaluations replaced by their mean: curves and scores stay."""
    return replace(
        results, runs=tuple(map(_compact_run, results.runs)), notes=(*dict.fromkeys((*results.notes, COMPACT_NOTE)),)
    )


def _compact_run(run: Run) -> Run:
    kept: set[tuple[str, int]] = set()
    for policy in {evaluation.policy for evaluation in run.evaluations}:
        steps = sorted(evaluation.step for evaluation in run.evaluations if evaluation.policy == policy)
        kept |= {(policy, step) for step in steps[-WHOLE_EVALUATIONS:]}
    return replace(
        run,
        evaluations=tuple(
            own if (own.policy, own.step) in kept else replace(own, returns=(sum(own.returns) / len(own.returns),))
            for own in run.evaluations
        ),
    )


def added(before: Results, new: Results) -> Results:
    """Both sets together; a run or a task's reference policies that both have are those of the new one."""
    cells = {run.cell for run in new.runs}
    runs = [*(run for run in before.runs if run.cell not in cells), *new.runs]
    return Results(
        runs=tuple(sorted(runs, key=lambda run: run.cell.order())),
        references=before.references | new.references,
        notes=tuple(dict.fromkeys((*before.notes, *new.notes))),
    )


def publish(results: Results, output: Path) -> tuple[Path, ...]:
    """Write evaluations.parquet, metrics.parquet and, last, manifest.json; returns their paths.

    The manifest carries the checksums, so a set that was interrupted half way is refused when it is read.
    """
    contents = {
        "evaluations.parquet": _parquet(_evaluation_columns(results.runs), EVALUATION_SCHEMA),
        "metrics.parquet": _parquet(_metric_columns(results.runs), METRIC_SCHEMA),
    }
    manifest = {
        "format": FORMAT,
        "files": {name: {"sha256": _sha256(data), "bytes": len(data)} for name, data in contents.items()},
        "runs": [_run_to_json(run) for run in results.runs],
        "references": {task: _references_to_json(results, task) for task in sorted(results.references)},
        "notes": list(results.notes),
    }
    for name, data in contents.items():
        write_atomically(output / name, data)
    write_atomically(output / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    return (*(output / name for name in contents), output / MANIFEST)


def read_published(directory: Path) -> Results:
    """The published set in ``directory``. Raises ResultsError when a file is missing or its checksum is wrong."""
    path = directory / MANIFEST
    manifest = read_json(path)
    if manifest.get("format") != FORMAT:
        raise ResultsError(
            f"{path}: format is {manifest.get('format')!r}, this version reads {FORMAT}; publish it again"
        )
    try:
        files = {name: _verified(directory / name, facts["sha256"]) for name, facts in manifest["files"].items()}
        evaluations = _read_evaluations(files["evaluations.parquet"])
        metrics = _read_metrics(files["metrics.parquet"])
        runs = tuple(_run_from_json(value, evaluations, metrics) for value in manifest["runs"])
        references = {
            task: references_from_json(task, value, f"{path} ({task})")
            for task, value in manifest["references"].items()
        }
        return Results(runs, references, tuple(manifest["notes"]))
    except (KeyError, TypeError, pa.ArrowException) as error:
        raise ResultsError(f"corrupt file {path}: {error!r}; publish the runs again") from error


def load_results(directory: Path) -> Results:
    """Published results when ``directory`` holds a manifest.json, run folders otherwise."""
    return read_published(directory) if (directory / MANIFEST).exists() else load_runs(directory)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _verified(path: Path, expected: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error.strerror}; the published set is incomplete") from error
    found = _sha256(data)
    if found != expected:
        raise ResultsError(
            f"{path} does not match {MANIFEST}: expected sha256 {expected[:12]}, found {found[:12]}; "
            "it was changed or copied in part: fetch it again, or publish the runs again"
        )
    return data


def _parquet(columns: dict[str, list[Any]], schema: pa.Schema) -> bytes:
    table = pa.table({name: pa.array(columns[name], type=schema.field(name).type) for name in schema.names}, schema)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _evaluation_columns(runs: Sequence[Run]) -> dict[str, list[Any]]:
    rows = [
        (
            *_cell_values(run),
            evaluation.step,
            evaluation.policy,
            list(evaluation.returns),
            list(evaluation.scores.items()),
        )
        for run in runs
        for evaluation in run.evaluations
    ]
    return _columns(rows, EVALUATION_SCHEMA)


def _metric_columns(runs: Sequence[Run]) -> dict[str, list[Any]]:
    rows = [
        (*_cell_values(run), row.step, name, value)
        for run in runs
        for row in run.metrics
        for name, value in row.values.items()
    ]
    return _columns(rows, METRIC_SCHEMA)


def _columns(rows: list[tuple[Any, ...]], schema: pa.Schema) -> dict[str, list[Any]]:
    return {name: [row[index] for row in rows] for index, name in enumerate(schema.names)}


def _cell_values(run: Run) -> tuple[str, str, str, int]:
    return run.cell.task, run.cell.algorithm, run.cell.variant, run.cell.seed


def _rows(data: bytes) -> Iterator[tuple[Cell, list[Any]]]:
    """The cell of every row of a Parquet file, and what follows the cell's columns."""
    table = pq.read_table(io.BytesIO(data))
    for task, algorithm, variant, seed, *rest in zip(*(column.to_pylist() for column in table.columns), strict=True):
        yield Cell(task, variant, algorithm, seed), rest


def _read_evaluations(data: bytes) -> dict[Cell, list[Evaluation]]:
    found: dict[Cell, list[Evaluation]] = defaultdict(list)
    for cell, (step, policy, returns, scores) in _rows(data):
        found[cell].append(Evaluation(step, policy, tuple(returns), dict(scores)))
    return found


def _read_metrics(data: bytes) -> dict[Cell, list[MetricRow]]:
    found: dict[Cell, list[MetricRow]] = defaultdict(list)
    for cell, (step, name, value) in _rows(data):
        rows = found[cell]
        same_line = rows and rows[-1].step == step and log_of(name) == log_of(next(iter(rows[-1].values)))
        if not same_line:
            rows.append(MetricRow(step, {}))
        rows[-1].values[name] = value
    return found


def _published_facts(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: facts[name] for name in PUBLISHED_MACHINE_FACTS if name in facts}


def _run_to_json(run: Run) -> dict[str, Any]:
    machine = _published_facts(run.machine)
    if run.machine.get("starts"):
        machine["starts"] = [_published_facts(start) for start in run.machine["starts"]]
    return {
        **asdict(run.cell),
        "config_hash": run.config_hash,
        "status": asdict(run.status),
        "machine": machine,
        "config": run.config,
        "notes": list(run.notes),
        **({"full_evaluation": [asdict(own) for own in run.full_evaluations]} if run.full_evaluations else {}),
    }


def _run_from_json(
    value: dict[str, Any], evaluations: dict[Cell, list[Evaluation]], metrics: dict[Cell, list[MetricRow]]
) -> Run:
    cell = Cell(value["task"], value["variant"], value["algorithm"], value["seed"])
    return Run(
        cell=cell,
        config=value["config"],
        machine=value["machine"],
        status=Status(**value["status"]),
        evaluations=tuple(evaluations.get(cell, [])),
        metrics=tuple(metrics.get(cell, [])),
        notes=tuple(value["notes"]),
        full_evaluations=full_evaluations_from_json(value.get("full_evaluation", []), str(cell)),
    )


def _references_to_json(results: Results, task: str) -> dict[str, Any]:
    references = results.references[task]
    return {
        "evaluation_seed": references.evaluation_seed,
        "episodes": references.episodes,
        "policies": _returns_to_json(references.returns),
        **({"full_evaluation": {"policies": _returns_to_json(full)}} if (full := references.full_returns) else {}),
    }


def _returns_to_json(returns: dict[str, tuple[float, ...]]) -> dict[str, Any]:
    return {name: {"returns": list(own)} for name, own in returns.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: 0 when the set was written and read back, 1 with one line on standard error otherwise."""
    parser = argparse.ArgumentParser(prog="python -m results.publish", description="Publish run folders as Parquet.")
    parser.add_argument("--results", type=Path, required=True, metavar="DIR", help="folder that holds the run folders")
    parser.add_argument(
        "--output", type=Path, default=Path("results/published"), metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument(
        "--compact", action="store_true", help=f"{COMPACT_NOTE}: a smaller set that draws the same curves and scores"
    )
    parser.add_argument("--add", action="store_true", help="keep the runs that the set in --output has already")
    options = parser.parse_args(arguments)
    try:
        results = load_runs(options.results)
        if options.compact:
            results = compact(results)
        if options.add:
            results = added(read_published(options.output), results)
        for path in publish(results, options.output):
            print(f"wrote {path} ({path.stat().st_size:,} bytes)")
        read_published(options.output)
    except ResultsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    unfinished = sum(not run.status.finished for run in results.runs)
    print(f"published {len(results.runs)} runs, {unfinished} of them unfinished or failed; checksums verified")
    return 0


if __name__ == "__main__":
    sys.exit(main())
