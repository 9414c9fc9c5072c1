"""Final scores: returns and normalised scores of each algorithm on each task, and the leading algorithms."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from figures.analysis.bootstrap import interquartile_mean, stratified_bootstrap_interval
from figures.analysis.policies import TEAM, collapsed, headline_policy, learned_from, other_policy
from figures.analysis.selection import Groups
from figures.analysis.statistics import (
    FINAL_EVALUATIONS,
    Summary,
    final_score,
    normalisation,
    summarise,
    welch_half_width,
)
from results.checks import algorithm_order, ended, group_runs, uncounted
from results.keys import natural_key
from results.records import POLICIES, References, Results, Run

BOOTSTRAP_SEED = 0
SCALE_TOPS = ("optimal", "assignment", "max_pressure", "greedy")
"""Reference policies that define 100 %: the first of these that a task has."""


@dataclass(frozen=True, slots=True)
class Score:
    """The final score of one algorithm on one task and variant."""

    task: str
    variant: str
    algorithm: str
    summaries: dict[str, Summary]
    """Policy -> summary of its final scores over seeds."""
    normalised_scores: dict[str, Summary]
    """Policy -> normalised score in %; empty where the task lacks the reference policies."""
    normalised_seeds: dict[str, tuple[float, ...]]
    """Policy -> normalised score of each seed, in %."""
    seeds: int
    unfinished: int
    """Number of runs that failed, were not evaluated to their end, or diverged (`results.checks.uncounted`); they do
    not count unless the score is provisional."""
    provisional: bool
    """Whether no seed has finished, so that the score is that of unfinished runs."""
    steps: int
    """Environment steps after which the last evaluation counted was made (the earliest, where seeds differ)."""
    seed_finals: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Policy -> final score of each seed that counts."""
    diverged: int = 0
    """Number of finished runs that do not count because their last returns are not finite. A comparison of the
    remaining seeds would be unfair, so that the algorithm is neither ranked nor set in bold."""
    learned_from: str = TEAM
    """Reward that the algorithm learned from, see `policies`; joined by " or " where its seeds differ."""
    collapsed_seeds: int = 0
    """Number of counted seeds whose policy collapsed."""

    @property
    def policy(self) -> str:
        """The headline policy of the algorithm."""
        return headline_policy(self.algorithm)

    @property
    def summary(self) -> Summary | None:
        """Final scores of the headline policy; None where it was not evaluated."""
        return self.summaries.get(self.policy)

    @property
    def normalised(self) -> Summary | None:
        """Normalised score of the headline policy, in %."""
        return self.normalised_scores.get(self.policy)

    @property
    def other(self) -> Summary | None:
        """Final scores of the other policy."""
        return self.summaries.get(other_policy(self.algorithm))

    @property
    def finals(self) -> tuple[float, ...]:
        """Final score of each seed for the headline policy."""
        return self.seed_finals.get(self.policy, ())

    @property
    def comparable(self) -> bool:
        """Whether the score may be compared with others: some seed has finished, and none diverged, because leaving
        that seed out would flatter the algorithm."""
        return not self.provisional and not self.diverged

    @property
    def collapsed(self) -> bool:
        """Whether most seeds collapsed."""
        return 2 * self.collapsed_seeds > self.seeds > 0

    @property
    def below_random(self) -> bool:
        """Whether the mean of the headline policy is no better than random play, where that is known."""
        return self.normalised is not None and not self.normalised.mean > 0


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Normalised score of one algorithm over several tasks, in %."""

    variant: str
    algorithm: str
    learned_from: str
    """Learning signals on all those tasks, joined by " or " where they differ."""
    tasks: int
    runs: int
    mean: float
    interquartile_mean: float
    low: float
    high: float
    """Upper end of the 95 % interval of the interquartile mean."""


@dataclass(frozen=True, slots=True)
class ReferenceScore:
    """One reference policy on one task."""

    task: str
    policy: str
    return_mean: float
    standard_error: float | None
    episodes: int
    evaluation_seed: int


def final_scores(results: Results, groups: Groups | None = None) -> list[Score]:
    """One score for each task, variant and algorithm with runs, in the order of the figures.

    Args:
        groups: the runs as grouped by `results.checks.group_runs`, where available.
    """
    scores = []
    for (task, variant), algorithms in (group_runs(results) if groups is None else groups).items():
        scale = task_scale(results.references.get(task))
        for algorithm in algorithm_order(set(algorithms)):
            scores.append(_score(task, variant, algorithm, algorithms[algorithm], scale))
    return scores


def final_of(run: Run, policy: str) -> float | None:
    """Final score of one run, finished or not: the mean over its last evaluations; None without evaluations, NaN where
    one of them is not finite."""
    evaluations = (evaluation for evaluation in run.evaluations if evaluation.policy == policy)
    last = sorted(evaluations, key=lambda evaluation: evaluation.step)[-FINAL_EVALUATIONS:]
    if not last:
        return None
    means = [float(np.mean(row.returns)) if np.isfinite(row.returns).all() else math.nan for row in last]
    return final_score([row.step for row in last], means)


def leaders(scores: list[Score]) -> set[str]:
    """The algorithms to set in bold among the scores of one task and variant, by their headline policies.

    Only algorithms that learned from the same reward are compared. Bold are the best mean and all means that Welch's 95
    % interval does not distinguish from it. None is bold where the comparison means little: fewer than two algorithms,
    a provisional score, a single seed, unequal numbers of steps, or no two algorithms that differ significantly.
    Collapsed policies are not compared, and scores no better than random play are never bold.
    """
    bold: set[str] = set()
    for signal in {score.learned_from for score in scores}:
        bold |= _leaders([score for score in scores if score.learned_from == signal and not score.collapsed])
    return bold


def _leaders(scores: list[Score]) -> set[str]:
    candidates = [score for score in scores if score.summary is not None]
    summaries = {score.algorithm: score.summary for score in candidates if score.summary is not None}
    comparable = (
        len(candidates) > 1
        and len({score.steps for score in candidates}) == 1
        and not any(score.provisional or score.diverged for score in candidates)
        and all(summary.std is not None and math.isfinite(summary.mean) for summary in summaries.values())
    )
    if not comparable:
        return set()
    best = max(summaries.values(), key=lambda summary: summary.mean)
    tied = set()
    for name, summary in summaries.items():
        half_width = welch_half_width(best, summary)
        if summary is best or (half_width is not None and best.mean - summary.mean <= half_width):
            tied.add(name)
    useless = {score.algorithm for score in candidates if score.below_random}
    return tied - useless if len(tied) < len(summaries) else set()


def aggregate(scores: list[Score], policy: str | None = None) -> list[Aggregate]:
    """Normalised scores over the tasks of a variant that every algorithm finished; the interval is a bootstrap within
    tasks.

    Args:
        policy: policy of all algorithms; None for the headline policy of each.

    A variant with fewer than two such tasks or algorithms has no rows.
    """
    variants = sorted({score.variant for score in scores}, key=lambda name: (name != "default", name))
    return [row for variant in variants for row in _aggregate_variant(scores, policy, variant)]


def _aggregate_variant(scores: list[Score], policy: str | None, variant: str) -> list[Aggregate]:
    present = [score for score in scores if score.variant == variant]
    normalised_scores = {
        (score.task, score.algorithm): score.normalised_seeds.get(policy or score.policy, ()) for score in present
    }
    usable = [score for score in present if normalised_scores[score.task, score.algorithm] and not score.provisional]
    usable = [
        score
        for score in usable
        if not score.diverged and all(map(math.isfinite, normalised_scores[score.task, score.algorithm]))
    ]
    everyone = {score.algorithm for score in present}
    tasks = [
        task
        for task in sorted({score.task for score in usable})
        if {score.algorithm for score in usable if score.task == task} == everyone
    ]
    if len(tasks) < 2 or len(everyone) < 2:
        return []
    rows = []
    for algorithm in algorithm_order(everyone):
        strata = [np.array(normalised_scores[task, algorithm]) for task in tasks]
        pooled = np.concatenate(strata)
        generator = np.random.default_rng(BOOTSTRAP_SEED)
        low, high = stratified_bootstrap_interval(strata, interquartile_mean, generator)
        centre = interquartile_mean(pooled)
        signals = dict.fromkeys(score.learned_from for score in usable if score.algorithm == algorithm)
        rows.append(
            Aggregate(
                variant,
                algorithm,
                " or ".join(signals),
                len(tasks),
                pooled.size,
                float(pooled.mean()),
                centre,
                low,
                high,
            )
        )
    return rows


def reference_scores(results: Results) -> list[ReferenceScore]:
    """The mean return of every reference policy, with its standard error over the evaluation episodes."""
    rows = []
    for task, references in sorted(results.references.items(), key=lambda item: natural_key(item[0])):
        for policy, returns in references.returns.items():
            summary = summarise(returns)
            error = summary.std / math.sqrt(summary.count) if summary.std is not None else None
            rows.append(ReferenceScore(task, policy, summary.mean, error, summary.count, references.evaluation_seed))
    return rows


def task_scale(references: References | None) -> tuple[float, float] | None:
    """(offset, factor) of the normalised score on a task; None where its reference policies do not bound one."""
    top = next((name for name in SCALE_TOPS if references is not None and name in references.returns), None)
    if references is None or top is None or "random" not in references.returns:
        return None
    return normalisation(float(np.mean(references.returns["random"])), float(np.mean(references.returns[top])))


def _score(task: str, variant: str, algorithm: str, runs: list[Run], scale: tuple[float, float] | None) -> Score:
    evaluated = [run for run in runs if run.evaluations]
    finished = [run for run in evaluated if not uncounted(run)]
    counted = finished or evaluated
    finals = {policy: [value for run in counted if (value := final_of(run, policy)) is not None] for policy in POLICIES}
    summaries = {policy: summarise(values) for policy, values in finals.items() if values}
    normalised_scores, normalised_seeds = {}, {}
    if scale is not None:
        offset, factor = scale
        normalised_scores = {policy: summary.scaled(offset, factor) for policy, summary in summaries.items()}
        normalised_seeds = {
            policy: tuple((value - offset) * factor for value in finals[policy]) for policy in summaries
        }
    return Score(
        task=task,
        variant=variant,
        algorithm=algorithm,
        summaries=summaries,
        normalised_scores=normalised_scores,
        normalised_seeds=normalised_seeds,
        seeds=len(counted),
        unfinished=sum(bool(uncounted(run)) for run in runs),
        diverged=sum(ended(run) and bool(uncounted(run)) for run in runs),
        provisional=bool(counted) and not finished,
        steps=min((run.last_evaluation_step() or 0 for run in counted), default=0),
        seed_finals={policy: tuple(values) for policy, values in finals.items() if values},
        learned_from=" or ".join(dict.fromkeys(map(learned_from, runs))),
        collapsed_seeds=sum(collapsed(run, scale) for run in counted),
    )
