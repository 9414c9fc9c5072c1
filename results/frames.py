"""Tidy tables of records: one row for each evaluation, or for each logged value.

Tables are built by columns, since a full comparison has hundreds of thousands of evaluations and millions of logged
values.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from results.records import Evaluation, Results, Run

KEY_COLUMNS = ["task", "algorithm", "variant", "seed"]


def evaluations_frame(results: Results) -> pd.DataFrame:
    """One row for each run, evaluation and policy.

    Columns: task, algorithm, variant, seed, finished (whether the run is finished), step (environment steps), policy
    (greedy or sampled), return_mean and return_std (over the episodes; the deviation is 0 for one episode, both are NaN
    when a return is not finite), episodes, and one `score/<name>` column for each other score.
    """
    rows = [evaluation for run in results.runs for evaluation in run.evaluations]
    if not rows:
        columns = [*KEY_COLUMNS, "finished", "step", "policy", "return_mean", "return_std", "episodes"]
        return pd.DataFrame(columns=columns)
    counts = [len(run.evaluations) for run in results.runs]
    means, deviations = _moments(rows)
    return pd.DataFrame(
        {
            **_key_columns(results.runs, counts),
            "finished": np.repeat([run.status.finished for run in results.runs], counts),
            "step": [row.step for row in rows],
            "policy": _names([row.policy for row in rows]),
            "return_mean": means,
            "return_std": deviations,
            "episodes": [len(row.returns) for row in rows],
            **_scores(rows),
        }
    )


def metrics_frame(results: Results) -> pd.DataFrame:
    """One row for each logged value: task, algorithm, variant, seed, step, name, value; thinned as loaded."""
    rows = [row for run in results.runs for row in run.metrics]
    names = [name for row in rows for name in row.values]
    if not names:
        return pd.DataFrame(columns=[*KEY_COLUMNS, "step", "name", "value"])
    counts = [sum(len(row.values) for row in run.metrics) for run in results.runs]
    values = chain.from_iterable(row.values.values() for row in rows)
    return pd.DataFrame(
        {
            **_key_columns(results.runs, counts),
            "step": np.repeat([row.step for row in rows], [len(row.values) for row in rows]),
            "name": _names(names),
            "value": np.fromiter(values, dtype=float, count=len(names)),
        }
    )


def _key_columns(runs: Sequence[Run], counts: Sequence[int]) -> dict[str, Any]:
    """Columns of run keys, each key repeated as often as its run has rows."""
    owners = np.repeat(np.arange(len(runs)), counts)
    words = {name: [getattr(run.key, name) for run in runs] for name in KEY_COLUMNS[:-1]}
    return {
        **{name: pd.Series(column).array.take(owners) for name, column in words.items()},
        "seed": np.repeat([run.key.seed for run in runs], counts),
    }


def _names(names: Sequence[str]) -> Any:
    """A column of strings, of which each distinct one is converted only once."""
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return pd.Series(list(places)).array.take(np.array([places[name] for name in names]))


def _moments(rows: Sequence[Evaluation]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and sample deviation of the returns of each evaluation, computed together for evaluations with equal numbers
    of episodes."""
    means, deviations = np.full((2, len(rows)), np.nan)
    lengths = np.array([len(row.returns) for row in rows])
    for episodes in np.unique(lengths):
        alike = (lengths == episodes).nonzero()[0]
        returns = np.array([rows[index].returns for index in alike], dtype=float)
        finite = np.isfinite(returns).all(axis=1)
        means[alike[finite]] = returns[finite].mean(axis=1)
        deviations[alike[finite]] = returns[finite].std(axis=1, ddof=1) if episodes > 1 else 0.0
    return means, deviations


def _scores(rows: Sequence[Evaluation]) -> dict[str, NDArray[np.float64]]:
    """Score name -> value in each evaluation, NaN where the evaluation lacks it."""
    columns: dict[str, NDArray[np.float64]] = {}
    for place, row in enumerate(rows):
        for name, value in row.scores.items():
            if name not in columns:
                columns[name] = np.full(len(rows), np.nan)
            columns[name][place] = value
    return {f"score/{name}": column for name, column in columns.items()}
