"""Compact results: only what curves and final scores need."""

from __future__ import annotations

from dataclasses import replace

from results.checks import SCORED_EVALUATIONS
from results.records import Evaluation, Results, Run, Trial

WHOLE_EVALUATIONS = SCORED_EVALUATIONS
"""Number of last evaluations of each policy of which a compact set keeps every episode, those of the final scores."""
COMPACT_NOTE = f"of all but the last {WHOLE_EVALUATIONS} evaluations of a run, only the mean over episodes is kept"


def compacted(results: Results) -> Results:
    """The results with the returns of earlier evaluations replaced by their mean, which keeps curves and scores."""
    return replace(
        results, runs=tuple(map(_compact_run, results.runs)), notes=(*dict.fromkeys((*results.notes, COMPACT_NOTE)),)
    )


def compacted_trials(results: Results) -> Results:
    """The results with the mean return of each reference policy in the trials."""
    runs = (replace(run, trials=tuple(map(_compact_trial, run.trials))) for run in results.runs)
    return replace(results, runs=tuple(runs))


def _compact_run(run: Run) -> Run:
    kept: set[tuple[str, int]] = set()
    for policy in {evaluation.policy for evaluation in run.evaluations}:
        steps = sorted(evaluation.step for evaluation in run.evaluations if evaluation.policy == policy)
        kept |= {(policy, step) for step in steps[-WHOLE_EVALUATIONS:]}
    return replace(
        run,
        trials=tuple(map(_compact_trial, run.trials)),
        evaluations=tuple(
            evaluation if (evaluation.policy, evaluation.step) in kept else _averaged(evaluation)
            for evaluation in run.evaluations
        ),
    )


def _averaged(evaluation: Evaluation) -> Evaluation:
    """The evaluation with the mean of its returns in their place."""
    return replace(evaluation, returns=(sum(evaluation.returns) / len(evaluation.returns),))


def _compact_trial(trial: Trial) -> Trial:
    """The trial with the mean return of each reference policy."""
    means: dict[str, tuple[float, ...]] = {
        name: (sum(returns) / len(returns),) for name, returns in trial.references.items()
    }
    return replace(trial, references=means)
