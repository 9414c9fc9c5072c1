"""Tables made by columns hold the numbers of every record, worked out one by one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from results.frames import evaluations_frame, metrics_frame
from results.keys import RunKey
from results.records import Evaluation, MetricRow, Results, Run, Status

FINISHED = Status("finished", 10, "", "", 0.0)


def run_of(seed: int, evaluations: list[Evaluation], metrics: list[MetricRow], **facts: Any) -> Run:
    key = RunKey("mpe/push_3", "ip" if seed % 2 else "new", "default", seed)
    return Run(key, {}, {}, facts.get("status", FINISHED), tuple(evaluations), tuple(metrics), ())


def made_up() -> Results:
    """Runs of unequal numbers of evaluations and episodes, some not finite, some without scores or without anything."""
    generator = np.random.default_rng(0)
    evaluations = [
        Evaluation(step, policy, tuple(generator.normal(-1e3, 10, episodes).tolist()), {"coverage": float(step)})
        for step, policy, episodes in ((0, "greedy", 32), (0, "sampled", 1), (5, "greedy", 7), (9, "sampled", 32))
    ]
    broken = [
        Evaluation(0, "greedy", (math.inf, 1.0), {"collisions": 2.0, "coverage": math.nan}),
        Evaluation(5, "greedy", (math.nan, 1.0), {}),
        Evaluation(9, "greedy", (math.nan,), {"collisions": math.inf}),
    ]
    rows = [MetricRow(0, {"loss": 1.0}), MetricRow(5, {}), MetricRow(9, {"entropy": math.nan, "loss": -math.inf})]
    return Results(
        (
            run_of(0, evaluations, rows),
            run_of(1, [], []),
            run_of(2, broken, rows[1:2], status=Status("failed", 5, "", "", 0.0)),
            run_of(12, evaluations[:1], rows[2:]),
        )
    )


def test_every_evaluation_has_its_row() -> None:
    results = made_up()
    frame = evaluations_frame(results)
    pairs = [(run, evaluation) for run in results.runs for evaluation in run.evaluations]
    assert len(frame) == len(pairs) == 8
    for row, (run, evaluation) in zip(frame.to_dict("records"), pairs, strict=True):
        expected = {
            "task": run.key.task,
            "algorithm": run.key.algorithm,
            "variant": run.key.variant,
            "seed": run.key.seed,
            "finished": run.status.finished,
            "step": evaluation.step,
            "policy": evaluation.policy,
            "episodes": len(evaluation.returns),
        }
        assert {name: row[name] for name in expected} == expected
        finite = all(map(math.isfinite, evaluation.returns))
        spread = float(np.std(evaluation.returns, ddof=1)) if len(evaluation.returns) > 1 and finite else 0.0
        moments = [float(np.mean(evaluation.returns)), spread] if finite else [math.nan, math.nan]
        assert [row["return_mean"], row["return_std"]] == pytest.approx(moments, rel=0, abs=0, nan_ok=True)
        scores = [evaluation.scores.get(name, math.nan) for name in ("coverage", "collisions")]
        assert [row["score/coverage"], row["score/collisions"]] == pytest.approx(scores, nan_ok=True)
    assert list(frame.columns[-2:]) == ["score/coverage", "score/collisions"]
    assert frame.dtypes[["seed", "step", "episodes", "finished", "return_mean"]].tolist() == [
        int,
        int,
        int,
        bool,
        float,
    ]


def test_every_logged_value_has_its_row() -> None:
    frame = metrics_frame(made_up())
    assert list(frame.columns) == ["task", "algorithm", "variant", "seed", "step", "name", "value"]
    values = [("loss", 0, 0, 1.0), ("entropy", 0, 9, math.nan), ("loss", 0, 9, -math.inf)]
    values += [("entropy", 12, 9, math.nan), ("loss", 12, 9, -math.inf)]
    expected = pd.DataFrame(values, columns=["name", "seed", "step", "value"])
    pd.testing.assert_frame_equal(frame[["name", "seed", "step", "value"]], expected)
    assert set(frame["algorithm"]) == {"new"}


@pytest.mark.parametrize("results", [Results(()), Results((run_of(1, [], [MetricRow(0, {})]),))])
def test_without_rows_the_columns_are_there(results: Results) -> None:
    assert list(evaluations_frame(results).columns[:6]) == ["task", "algorithm", "variant", "seed", "finished", "step"]
    assert list(metrics_frame(results).columns[-2:]) == ["name", "value"]
    assert evaluations_frame(results).empty
    assert metrics_frame(results).empty
