"""Learning curves: mean over seeds by environment step, and the transitions and seconds that a step costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from figures.analysis.statistics import SeedMeans, Values, across_seeds
from results.checks import ended
from results.frames import evaluations_frame
from results.keys import RunKey
from results.records import POLICIES, Results, Run

Evaluations = Mapping[tuple[RunKey, str], tuple[Values, Values]]
"""(run, policy) -> environment steps of its evaluations and their mean returns, NaN where one is not finite."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve over several seeds."""

    means: SeedMeans
    seeds: int
    """Number of seeds with a value."""
    stopped: tuple[float, ...] = ()
    """Last step of each run that does not count towards scores, because it failed or was not evaluated to its end."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self.means.steps.size

    def scaled(self, factor: float) -> Curve:
        """The curve over another axis, with `factor` units per environment step."""
        means = replace(self.means, steps=self.means.steps * factor)
        return Curve(means, self.seeds, tuple(step * factor for step in self.stopped))


def run_evaluations(results: Results) -> dict[tuple[RunKey, str], tuple[Values, Values]]:
    """The evaluations of every run and policy, read at once."""
    frame = evaluations_frame(results)
    steps, means = frame["step"].to_numpy(dtype=float), frame["return_mean"].to_numpy(dtype=float)
    policies = frame["policy"].to_numpy()
    found = {}
    start = 0
    for run in results.runs:
        rows = slice(start, start + len(run.evaluations))
        start = rows.stop
        for policy in POLICIES:
            chosen = policies[rows] == policy
            if chosen.any():
                found[run.key, policy] = steps[rows][chosen], means[rows][chosen]
    return found


def learning_curve(runs: Sequence[Run], policy: str, evaluations: Evaluations) -> Curve:
    """Returns of one policy over the seeds of one algorithm, or of one setting of it."""
    evaluated = [(run, evaluations[run.key, policy]) for run in runs if (run.key, policy) in evaluations]
    finite = [(run, steps[np.isfinite(means)]) for run, (steps, means) in evaluated if np.isfinite(means).any()]
    stopped = tuple(float(steps[-1]) for run, steps in finite if not ended(run))
    return Curve(across_seeds([pair for _, pair in evaluated]), len({run.key.seed for run, _ in finite}), stopped)


def score_curve(runs: Sequence[Run], policy: str, name: str) -> Curve:
    """Curves of another score of the evaluations, such as `food_per_agent`."""
    series = []
    for run in runs:
        rows = [
            (evaluation.step, evaluation.scores[name])
            for evaluation in run.evaluations
            if evaluation.policy == policy and name in evaluation.scores
        ]
        if rows:
            series.append(([step for step, _ in rows], [value for _, value in rows]))
    return Curve(across_seeds(series), len(series))


@dataclass(frozen=True, slots=True)
class StepCost:
    """Cost of an environment step of one algorithm on one task and variant, median over its runs."""

    transitions: float
    """Transitions used by gradient steps: gradient steps times batch size."""
    update_seconds: float | None
    """Seconds of updates; None where no run timed them."""


def step_cost(runs: Iterable[Run]) -> StepCost | None:
    """The cost according to the logs of the runs; None where none logged its gradient steps."""
    rates, seconds = [], []
    for run in runs:
        updates = _last(run, "update")
        if updates is None:
            continue
        step, count = updates
        rates.append(count / step * int(run.config["training"]["batch_size"]))
        timed = _last(run, "timing/seconds/update")
        if timed is not None and count:
            seconds.append(timed[1] / timed[0])
    return StepCost(median(rates), median(seconds) if seconds else None) if rates else None


def _last(run: Run, name: str) -> tuple[int, Any] | None:
    """Step and value of the last row that logged a name, after step 0."""
    return next(
        ((row.step, row.values[name]) for row in reversed(run.metrics) if name in row.values and row.step), None
    )
