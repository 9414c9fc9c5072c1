"""IP with two rounds of messages against its controls: a deaf policy of the same size, and no rounds at all."""

from __future__ import annotations

from dataclasses import dataclass, replace

from figures.analysis.analysis import Analysis
from figures.analysis.scores import Score
from figures.analysis.statistics import holm, mean_difference

FULL, CONTROLS = "M2", ("deaf", "M0")
"""Suffixes of the variants' names."""
ALGORITHM = "ip"


@dataclass(frozen=True, slots=True)
class ArmDifference:
    """Normalised score of IP with two rounds minus that of a control, in percentage points, for the headline policy."""

    task: str
    base: str
    """Common prefix of the names of both variants."""
    other: str
    """One of `CONTROLS`."""
    difference: float
    half_width: float
    """Half width of Welch's 95 % interval."""
    adjusted_p: float
    """p value with Holm's correction over all such comparisons."""
    below_random: bool
    """Whether neither is better than random play."""


def arm_differences(analysis: Analysis) -> list[ArmDifference]:
    """Every pair with two or more finished seeds on each side."""
    made = []
    for (task, variant), scores in analysis.scores_of.items():
        base, _, ending = variant.rpartition("-")
        full = _score(scores)
        if ending != FULL or full is None:
            continue
        for control in CONTROLS:
            other = _score(analysis.scores_of.get((task, f"{base}-{control}"), []))
            if other is not None and other.normalised is not None and full.normalised is not None:
                found = mean_difference(full.normalised, other.normalised)
                if found is not None:
                    useless = full.below_random and other.below_random
                    made.append(ArmDifference(task, base, control, *found, useless))
    adjusted = holm([arm.adjusted_p for arm in made])
    return [replace(arm, adjusted_p=p) for arm, p in zip(made, adjusted, strict=True)]


def _score(scores: list[Score]) -> Score | None:
    return next((score for score in scores if score.algorithm == ALGORITHM and not score.provisional), None)
