"""Transfer of policies: their scores with other numbers of agents, on other maps, and with lost messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from figures.analysis.scores import SCALE_TOPS
from figures.analysis.statistics import Summary, normalisation, summarise
from results.checks import algorithm_order
from results.keys import natural_key
from results.records import Run, Trial


@dataclass(frozen=True, slots=True)
class TrialScore:
    """Trials of one algorithm and variant that differ only in the seed of training."""

    algorithm: str
    variant: str
    trained_on: str
    trial: Trial
    """Trial of the first seed: its settings, and the reference policies on its episodes."""
    returns: Summary
    """Mean return over seeds."""
    normalised: Summary | None
    """Normalised score relative to the reference policies on the same episodes, in %; None where they do not bound
    one."""
    normalised_references: dict[str, float]
    """Normalised score of every reference policy."""
    normalised_seeds: dict[int, float]
    """Seed of training -> normalised score in %."""

    @property
    def whole(self) -> bool:
        """Whether all messages arrived in time."""
        return self.trial.lossless


@dataclass(frozen=True, slots=True)
class TrialCurve:
    """One algorithm over numbers of agents, or over shares of lost messages."""

    algorithm: str
    variant: str
    points: tuple[tuple[float, TrialScore], ...]


@dataclass(frozen=True, slots=True)
class TrialPanel:
    """The curves of policies trained on one task."""

    trained_on: str
    steps: int
    """Environment steps of the episodes."""
    curves: tuple[TrialCurve, ...]

    def reference_curves(self) -> dict[str, list[tuple[float, float]]]:
        """Reference policy -> its normalised scores in % at the positions of the points."""
        found: dict[str, dict[float, float]] = {}
        for curve in self.curves:
            for place, score in curve.points:
                for name, normalised in score.normalised_references.items():
                    found.setdefault(name, {}).setdefault(place, normalised)
        return {name: sorted(points.items()) for name, points in found.items()}


def trial_scores(runs: Iterable[Run]) -> list[TrialScore]:
    """One score for each algorithm, variant, training task and kind of trial."""
    found: dict[tuple[object, ...], list[tuple[Run, Trial]]] = {}
    for run in runs:
        for trial in run.trials:
            task, algorithm, variant = run.key.kind
            found.setdefault((task, algorithm, variant, *trial.place), []).append((run, trial))
    order = algorithm_order({run.key.algorithm for pairs in found.values() for run, _ in pairs})
    scores = [_score(pairs) for pairs in found.values()]
    return sorted(
        scores,
        key=lambda score: (
            natural_key(score.trained_on),
            order.index(score.algorithm),
            score.variant,
            natural_key(score.trial.task),
            score.trial.steps,
            score.trial.policy,
            score.trial.drop,
            score.trial.drop_agents,
            score.trial.delay,
        ),
    )


def fall(base: TrialScore, other: TrialScore) -> Summary | None:
    """Difference of the normalised scores of `base` and `other` in percentage points, paired by seed: mean over the
    seeds that both have; None where there is none."""
    shared = [seed for seed in base.normalised_seeds if seed in other.normalised_seeds]
    return (
        summarise([base.normalised_seeds[seed] - other.normalised_seeds[seed] for seed in shared]) if shared else None
    )


def size_panels(scores: Sequence[TrialScore]) -> list[TrialPanel]:
    """Normalised score over the number of agents with all messages delivered: a panel for each training task."""
    alike = [score for score in scores if score.whole and series(score.trial.task) == series(score.trained_on)]
    return _panels(alike, lambda score: float(score.trial.agents))


def loss_panels(scores: Sequence[TrialScore]) -> list[TrialPanel]:
    """Normalised score over the share of lost messages on the training task: a panel for each task."""
    there = [
        score
        for score in scores
        if score.trial.task == score.trained_on and not score.trial.drop_agents and not score.trial.delay
    ]
    return _panels(there, lambda score: 100 * score.trial.drop)


def series(task: str) -> str:
    """What a task has in common with the same task for other numbers of agents."""
    return task.rpartition("_")[0]


def _panels(scores: Sequence[TrialScore], place: Callable[[TrialScore], float]) -> list[TrialPanel]:
    """Panels of curves with two or more points. A policy played greedily and sampled has a curve for each."""
    found: dict[tuple[str, int], dict[tuple[str, str, str], dict[float, TrialScore]]] = {}
    for score in scores:
        if score.normalised is not None:
            curves = found.setdefault((score.trained_on, score.trial.steps), {})
            points = curves.setdefault((score.algorithm, score.variant, score.trial.policy), {})
            kept = points.get(place(score))
            if kept is None or len(score.trial.returns) > len(kept.trial.returns):
                points[place(score)] = score
    panels = []
    for (trained_on, steps), curves in found.items():
        drawn = tuple(
            TrialCurve(algorithm, variant, tuple(sorted(points.items(), key=lambda item: item[0])))
            for (algorithm, variant, _), points in curves.items()
            if len(points) > 1
        )
        if drawn:
            panels.append(TrialPanel(trained_on, steps, drawn))
    return panels


def _score(trials: Sequence[tuple[Run, Trial]]) -> TrialScore:
    run, first = trials[0]
    means = [float(np.mean(trial.returns)) for _, trial in trials]
    references = {name: float(np.mean(returns)) for name, returns in first.references.items()}
    top = next((name for name in SCALE_TOPS if name in references), None)
    scale = normalisation(references["random"], references[top]) if top and "random" in references else None
    normalised, normalised_scores, normalised_seeds = None, {}, {}
    if scale is not None:
        normalised_seeds = {
            each.key.seed: (mean - scale[0]) * scale[1] for (each, _), mean in zip(trials, means, strict=True)
        }
        normalised = summarise(list(normalised_seeds.values()))
        normalised_scores = {name: (mean - scale[0]) * scale[1] for name, mean in references.items()}
    task, algorithm, variant = run.key.kind
    return TrialScore(
        algorithm, variant, task, first, summarise(means), normalised, normalised_scores, normalised_seeds
    )
