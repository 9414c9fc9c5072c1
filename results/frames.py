"""Records to tidy tables: one row for each evaluation, or for each logged value."""

from __future__ import annotations

import numpy as np
import pandas as pd

from results.records import Results, Run

CELL_COLUMNS = ["task", "algorithm", "variant", "seed"]


def evaluations_frame(results: Results) -> pd.DataFrame:
    """One row for each run, evaluation and policy.

    Columns: task, algorithm, variant, seed, finished (the run came to its end), step (environment steps), policy
    (greedy or sampled), return_mean and return_std (over the episodes; the deviation is 0 for one episode,
    both are NaN when a return is not finite), episodes,
    and one ``score/<name>`` column for each other score.
    """
    rows = [
        {
            **_cell_columns(run),
            "finished": run.status.finished,
            "step": evaluation.step,
            "policy": evaluation.policy,
            **_moments(evaluation.returns),
            "episodes": len(evaluation.returns),
            **{f"score/{name}": value for name, value in evaluation.scores.items()},
        }
        for run in results.runs
        for evaluation in run.evaluations
    ]
    columns = [*CELL_COLUMNS, "finished", "step", "policy", "return_mean", "return_std", "episodes"]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)


def metrics_frame(results: Results) -> pd.DataFrame:
    """One row for each logged value: task, algorithm, variant, seed, step, name, value; thinned as loaded."""
    rows = [
        (*_cell_columns(run).values(), row.step, name, value)
        for run in results.runs
        for row in run.metrics
        for name, value in row.values.items()
    ]
    return pd.DataFrame(rows, columns=[*CELL_COLUMNS, "step", "name", "value"])


def _cell_columns(run: Run) -> dict[str, str | int]:
    cell = run.cell
    return {"task": cell.task, "algorithm": cell.algorithm, "variant": cell.variant, "seed": cell.seed}


def _moments(returns: tuple[float, ...]) -> dict[str, float]:
    values = np.asarray(returns)
    if not np.isfinite(values).all():
        return {"return_mean": np.nan, "return_std": np.nan}
    return {"return_mean": values.mean(), "return_std": values.std(ddof=1) if len(values) > 1 else 0.0}
