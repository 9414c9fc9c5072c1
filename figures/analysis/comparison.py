"""Comparison over all tasks: normalised scores of the algorithms, their distribution, and how often IP beats each
baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from figures.analysis.bootstrap import (
    Estimate,
    improvement_interval,
    improvement_probability,
    interquartile_mean,
    performance_profile,
    performance_profile_band,
    stratified_bootstrap_interval,
)
from figures.analysis.policies import TEAM
from figures.analysis.scores import BOOTSTRAP_SEED, Score
from figures.analysis.statistics import Values
from results.checks import algorithm_order
from results.keys import natural_key
from results.paper import COMPARED_ALGORITHMS

GAME_PLATFORM = "game"
"""Platform of the games with a known optimum, which show what a method can express and are not part of the
benchmark."""
OURS = "ip"
PROFILE_LIMITS = (-100.0, 200.0)
"""Normalised scores in % beyond which profiles are not drawn, because single runs are far worse than random play."""
PROFILE_POINTS = 301


@dataclass(frozen=True, slots=True)
class Comparison:
    """Normalised score of every seed of every compared algorithm on the tasks that all of them finished."""

    tasks: tuple[tuple[str, str], ...]
    """Task and variant."""
    normalised_scores: dict[str, tuple[Values, ...]]
    """Algorithm -> normalised score of each seed, in %, on each of the tasks, for the headline policy; algorithms in
    drawing order."""
    unequal: dict[str, int]
    """Algorithm -> number of tasks on which it learned from the team's reward and others did not."""
    collapses: dict[str, int]
    """Algorithm -> number of tasks on which its policy collapsed."""

    @property
    def seed_counts(self) -> set[int]:
        """The different numbers of seeds that an algorithm has on a task."""
        return {values.size for strata in self.normalised_scores.values() for values in strata}

    @property
    def single_seeds(self) -> int:
        """Number of tasks on which some algorithm has one seed, whose spread no interval can reflect."""
        return sum(
            any(strata[place].size == 1 for strata in self.normalised_scores.values())
            for place in range(len(self.tasks))
        )

    def runs(self, name: str) -> int:
        """Runs of one algorithm on all tasks."""
        return sum(values.size for values in self.normalised_scores[name])


def comparison(scores: Sequence[Score], shown: Mapping[str, str]) -> Comparison | None:
    """The compared tasks: of each task other than the matrix and toy games, the shown variant, provided that all of the
    paper's algorithms in these results have finished runs and a finite normalised score on it.

    None where fewer than two algorithms or tasks remain.

    Args:
        shown: task -> the variant shown of it.
    """
    candidates = [score for score in scores if _is_compared(score) and score.variant == shown[score.task]]
    everyone = algorithm_order({score.algorithm for score in candidates})
    usable = {(score.task, score.variant, score.algorithm): score for score in candidates if _usable(score)}
    cells = sorted({(score.task, score.variant) for score in candidates}, key=lambda cell: natural_key(cell[0]))
    tasks = tuple(cell for cell in cells if all((*cell, name) in usable for name in everyone))
    if len(tasks) < 2 or len(everyone) < 2:
        return None
    normalised_scores = {
        name: tuple(np.array(_normalised_scores(usable[(*cell, name)])) for cell in tasks) for name in everyone
    }
    signals = {cell: {usable[(*cell, name)].learned_from for name in everyone} for cell in tasks}
    unequal = {
        name: sum(len(signals[cell]) > 1 and usable[(*cell, name)].learned_from == TEAM for cell in tasks)
        for name in everyone
    }
    collapses = {name: sum(usable[(*cell, name)].collapsed for cell in tasks) for name in everyone}
    return Comparison(tasks, normalised_scores, unequal, collapses)


def normalised_estimates(compared: Comparison) -> dict[str, Estimate]:
    """Interquartile mean of the normalised score over all runs of each algorithm, in %, with its bootstrap interval."""
    found = {}
    for name, strata in compared.normalised_scores.items():
        centre = interquartile_mean(np.concatenate(strata))
        interval = stratified_bootstrap_interval(strata, interquartile_mean, np.random.default_rng(BOOTSTRAP_SEED))
        found[name] = Estimate(centre, *interval)
    return found


def improvement_estimates(compared: Comparison) -> dict[str, Estimate]:
    """Probability that a run of IP beats a run of each baseline on the same task; empty without IP."""
    found: dict[str, Estimate] = {}
    if OURS not in compared.normalised_scores:
        return found
    ours = compared.normalised_scores[OURS]
    for name, theirs in compared.normalised_scores.items():
        if name != OURS:
            interval = improvement_interval(ours, theirs, np.random.default_rng(BOOTSTRAP_SEED))
            found[name] = Estimate(improvement_probability(ours, theirs), *interval)
    return found


@dataclass(frozen=True, slots=True)
class Profile:
    """Share of runs of one algorithm above each normalised score, with its bootstrap band."""

    share: Values
    low: Values
    high: Values


def profile_thresholds(compared: Comparison) -> Values:
    """Normalised scores in % from the smallest to the largest of any run, within `PROFILE_LIMITS`."""
    pooled = np.concatenate([values for strata in compared.normalised_scores.values() for values in strata])
    low, high = np.clip([pooled.min() - 2, pooled.max() + 2], *PROFILE_LIMITS)
    return np.linspace(low, high, PROFILE_POINTS)


def profiles(compared: Comparison) -> dict[str, Profile]:
    """Performance profile of each algorithm at `profile_thresholds`."""
    levels = profile_thresholds(compared)
    found = {}
    for name, strata in compared.normalised_scores.items():
        band = performance_profile_band(strata, levels, np.random.default_rng(BOOTSTRAP_SEED))
        found[name] = Profile(performance_profile(strata, levels), *band)
    return found


def _is_compared(score: Score) -> bool:
    return not score.task.startswith(f"{GAME_PLATFORM}/") and score.algorithm in COMPARED_ALGORITHMS


def _normalised_scores(score: Score) -> tuple[float, ...]:
    return score.normalised_seeds.get(score.policy, ())


def _usable(score: Score) -> bool:
    normalised_scores = _normalised_scores(score)
    return (
        not score.provisional
        and not score.diverged
        and bool(normalised_scores)
        and all(map(math.isfinite, normalised_scores))
    )
