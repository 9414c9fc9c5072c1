"""Parquet files of a published set: the evaluations, metrics and transfer trials of runs as columns, both ways."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from results.keys import RunKey
from results.records import Evaluation, MetricRow, Run, Trial
from results.runs import INTERPRETATION, TIMING

NAME = pa.dictionary(pa.int32(), pa.string())
KEY_FIELDS = [("task", NAME), ("algorithm", NAME), ("variant", NAME), ("seed", pa.int32())]
EVALUATION_SCHEMA = pa.schema(
    [
        *KEY_FIELDS,
        ("step", pa.int64()),
        ("policy", NAME),
        ("returns", pa.list_(pa.float32())),
        ("scores", pa.map_(pa.string(), pa.float64())),
    ]
)
METRIC_SCHEMA = pa.schema([*KEY_FIELDS, ("step", pa.int64()), ("name", NAME), ("value", pa.float64())])
"""Files of metrics and timings, and of the statistics of agents and demand."""

_RETURNS = pa.list_(pa.float64())
TRIAL_SCHEMA = pa.schema(
    [
        *KEY_FIELDS,
        ("task_played", NAME),
        ("agents", pa.int64()),
        ("policy", NAME),
        ("episode_seed", pa.int64()),
        ("steps", pa.int64()),
        ("returns", _RETURNS),
        ("scores", pa.map_(pa.string(), pa.float64())),
        ("drop", pa.float64()),
        ("drop_agents", pa.float64()),
        ("delay", pa.int64()),
        ("references", pa.map_(pa.string(), _RETURNS)),
        ("commit", NAME),
    ]
)
"""Columns of trials: the key of the run, then the fields of `Trial`, with task and seed renamed."""
TRIAL_COLUMNS = {"task_played": "task", "episode_seed": "seed"}


def evaluations_file(runs: Sequence[Run]) -> bytes:
    """The contents of evaluations.parquet: a row per evaluation."""
    evaluations = [evaluation for run in runs for evaluation in run.evaluations]
    columns: dict[str, list[Any]] = {
        "step": [evaluation.step for evaluation in evaluations],
        "policy": [evaluation.policy for evaluation in evaluations],
        "returns": [evaluation.returns for evaluation in evaluations],
        "scores": [list(evaluation.scores.items()) for evaluation in evaluations],
    }
    return _parquet(_key_columns([(run, len(run.evaluations)) for run in runs]) | columns, EVALUATION_SCHEMA)


def read_evaluations(data: bytes) -> dict[RunKey, list[Evaluation]]:
    """The evaluations of each run, from the contents of evaluations.parquet."""
    found: dict[RunKey, list[Evaluation]] = defaultdict(list)
    for key, columns in _by_key(data):
        found[key] += map(Evaluation, *columns)
    return found


def metrics_file(runs: Sequence[Run], interpretation: bool) -> bytes:
    """The contents of interpretation.parquet, or of metrics.parquet with the other metrics and timings: a row per
    value."""
    chosen = [(run, [row for row in run.metrics if _is_interpretation(row) == interpretation]) for run in runs]
    rows = [row for _, its in chosen for row in its]
    columns: dict[str, list[Any]] = {
        "step": [row.step for row in rows for _ in row.values],
        "name": [name.removeprefix(INTERPRETATION) for row in rows for name in row.values],
        "value": [value for row in rows for value in row.values.values()],
    }
    counts = [(run, sum(len(row.values) for row in its)) for run, its in chosen]
    return _parquet(_key_columns(counts) | columns, METRIC_SCHEMA)


def read_metrics(data: bytes, prefix: str = "") -> dict[RunKey, list[MetricRow]]:
    """Rows of metrics of each run, under names that start with `prefix`. Metrics and timings of one step are separate
    rows, as they were logged."""
    found: dict[RunKey, list[MetricRow]] = defaultdict(list)
    for key, (steps, names, values) in _by_key(data):
        timing = [name.startswith(TIMING) for name in names]
        changes = (np.diff(steps) != 0) | np.diff(timing)
        full = [prefix + name for name in names]
        for first, last in pairwise([0, *(changes.nonzero()[0] + 1).tolist(), len(steps)]):
            row = dict(zip(full[first:last], values[first:last], strict=True))
            found[key].append(MetricRow(steps[first], row))
    return found


def _is_interpretation(row: MetricRow) -> bool:
    return next(iter(row.values), "").startswith(INTERPRETATION)


def trials_file(runs: Sequence[Run]) -> bytes:
    """The contents of transfer.parquet: a row per trial."""
    columns = _key_columns([(run, len(run.trials)) for run in runs])
    rows = [trial for run in runs for trial in run.trials]
    for column in TRIAL_SCHEMA.names[len(KEY_FIELDS) :]:
        values = [getattr(trial, TRIAL_COLUMNS.get(column, column)) for trial in rows]
        columns[column] = [list(value.items()) if isinstance(value, dict) else value for value in values]
    return _parquet(columns, TRIAL_SCHEMA)


def read_trials(data: bytes) -> dict[RunKey, list[Trial]]:
    """The trials of each run, from the contents of transfer.parquet."""
    found: dict[RunKey, list[Trial]] = defaultdict(list)
    for key, columns in _by_key(data):
        found[key] += map(Trial, *columns)  # the columns are in the order of the fields
    return found


def _parquet(columns: dict[str, list[Any]], schema: pa.Schema) -> bytes:
    """The contents of a Parquet file with the columns of a schema."""
    table = pa.table({name: pa.array(columns[name], type=schema.field(name).type) for name in schema.names}, schema)
    repeated = [field.name for field in schema if field.type == NAME or pa.types.is_integer(field.type)]
    buffer = pa.BufferOutputStream()  # a dictionary of numbers that never repeat would be larger than the numbers
    pq.write_table(table, buffer, compression="zstd", use_dictionary=repeated)
    return bytes(buffer.getvalue())


def _key_columns(counts: Sequence[tuple[Run, int]]) -> dict[str, list[Any]]:
    """Columns of run keys, each key repeated as often as its run has rows."""
    columns: dict[str, list[Any]] = {name: [] for name, _ in KEY_FIELDS}
    for run, count in counts:
        for name, column in columns.items():
            column += [getattr(run.key, name)] * count
    return columns


def _by_key(data: bytes) -> Iterator[tuple[RunKey, list[list[Any]]]]:
    """For every run in a Parquet file, its key and its part of each column after the key's.

    Columns are processed as a whole, since there may be millions of rows, and without pyarrow's threads, which
    occasionally abort a process at exit (Arrow issue 34314).
    """
    table = pq.read_table(pa.BufferReader(data), use_threads=False, pre_buffer=False).unify_dictionaries()
    columns = [column.combine_chunks() for column in table.columns]
    keys, rest = columns[: len(KEY_FIELDS)], list(map(_values, columns[len(KEY_FIELDS) :]))
    changes = np.any([np.diff(_codes(column)) != 0 for column in keys], axis=0).nonzero()[0] + 1
    bounds = [0, *changes.tolist(), table.num_rows] if table.num_rows else []
    for first, last in pairwise(bounds):
        task, algorithm, variant, seed = (column[first].as_py() for column in keys)
        yield RunKey(task, algorithm, variant, seed), [column[first:last] for column in rest]


def _codes(column: pa.Array) -> np.ndarray:
    """One integer per row; equal values have equal integers."""
    return (column.indices if pa.types.is_dictionary(column.type) else column).to_numpy()


def _values(column: pa.Array) -> list[Any]:
    """A column as Python values, lists as tuples and maps as dicts; much faster than to_pylist."""
    if pa.types.is_dictionary(column.type):
        names = column.dictionary.to_pylist()
        return [names[index] for index in column.indices.to_numpy().tolist()]
    if not pa.types.is_nested(column.type):
        return column.to_numpy().tolist()
    ends = list(pairwise(column.offsets.to_numpy().tolist()))
    if pa.types.is_list(column.type):
        numbers = _values(column.values)
        return [tuple(numbers[first:last]) for first, last in ends]
    names, items = _values(column.keys.dictionary_encode()), _values(column.items)
    return [dict(zip(names[first:last], items[first:last], strict=True)) for first, last in ends]
