"""Pairs of variants that answer a question: the same algorithm on the same task with and without one thing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from scipy import stats

from figures.analysis.analysis import Analysis
from figures.analysis.scores import Score
from figures.analysis.statistics import Summary, Trend, holm, mean_difference, mean_half_width, summarise, trend

WITHOUT = {
    "deaf": "a policy of the same size without messages",
    "isac": "policy and critics of the same size without messages",
    "M0": "a policy without propagation rounds",
}
"""End of a variant's name -> what it is."""
FULL = "-M2"
"""End of the names of variants with two rounds, where the variant without messages has a name of its own."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question that pairs of variants answer."""

    title: str
    subject: str
    """The first of each pair, as the subject of a sentence with its verb."""
    others: Callable[[str, Set[str]], Mapping[str, str]]
    """From the name of a variant, and those of all variants of the task, to the variants compared with it: name ->
    description."""
    algorithm: str = ""
    """The algorithm asked about; empty for all."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """The difference between two variants, for the headline policy."""

    task: str
    algorithm: str
    variant: str
    other: str
    """Description of the other variant."""
    first: Summary
    """Normalised score in %, or the return where there is none."""
    second: Summary
    normalised: bool
    difference: float
    """First minus second."""
    half_width: float | None
    """Half width of Welch's 95 % interval; None with a single seed on either side."""
    adjusted_p: float | None
    """p value with Holm's correction over all contrasts of the question."""
    below_random: bool
    """Whether neither is better than random play."""


def _messages(variant: str, known: Set[str]) -> Mapping[str, str]:
    if variant + FULL in known:
        return {}
    base = variant.removesuffix(FULL)
    return {f"{base}-{end}": words for end, words in WITHOUT.items()}


def _instead(first: str, second: str, words: str) -> Callable[[str, Set[str]], Mapping[str, str]]:
    return lambda variant, known: {second: words} if variant == first else {}


QUESTIONS = (
    Question("Effect of messages", "With its messages, IP is", _messages, "ip"),
    Question(
        "Effect of difference rewards",
        "Learning from difference rewards is",
        _instead("table1-difference", "table1", "learning from the team's reward"),
    ),
    Question(
        "Effect of a tuned entropy weight",
        "IP with tuned alpha is",
        _instead("alpha-tuned", "table1", "alpha = 0.2"),
        "ip",
    ),
    Question(
        "Effect of loopy belief propagation",
        "Loopy belief propagation is",
        _instead("belief-propagation", "mean-field", "mean-field inference"),
        "ip",
    ),
    Question(
        "Effect of continuous actions",
        "Learning with continuous forces is",
        _instead("actions-continuous", "actions-discrete", "five directions"),
        "ip",
    ),
)
"""All questions, in order of interest."""


def contrasts(analysis: Analysis, question: Question) -> list[Contrast]:
    """Every pair with finished seeds on both sides, by task."""
    found: list[Contrast] = []
    variants: dict[str, set[str]] = {}
    for task, variant in analysis.scores_of:
        variants.setdefault(task, set()).add(variant)
    for (task, variant), scores in analysis.scores_of.items():
        for other, words in question.others(variant, variants[task]).items():
            for score in scores:
                if question.algorithm in ("", score.algorithm):
                    found += _contrast(score, analysis.scores_by_cell.get((task, other, score.algorithm)), words)
    tested = [contrast for contrast in found if contrast.adjusted_p is not None]
    adjusted = iter(holm([contrast.adjusted_p or 0.0 for contrast in tested]))
    return [one if one.adjusted_p is None else replace(one, adjusted_p=next(adjusted)) for one in found]


def _contrast(score: Score, other: Score | None, words: str) -> list[Contrast]:
    if other is None or not score.comparable or not other.comparable:
        return []
    normalised = score.normalised is not None and other.normalised is not None
    first, second = (one.normalised if normalised else one.summary for one in (score, other))
    if first is None or second is None:
        return []
    tested = mean_difference(first, second)
    _, half_width, p = tested if tested is not None else (None, None, None)
    return [
        Contrast(
            score.task,
            score.algorithm,
            score.variant,
            words,
            first,
            second,
            normalised,
            first.mean - second.mean,
            half_width,
            p,
            score.below_random and other.below_random,
        )
    ]


FEWEST_TASKS = 5
"""Number of tasks from which differences are combined."""


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The mean of one contrast over tasks, in points of the normalised score. The unit of replication is the task, so
    that tasks with a single seed count as well."""

    algorithm: str
    variant: str
    other: str
    tasks: int
    mean: float
    half_width: float
    """Half width of Student's 95 % interval."""
    p: float
    """Two-sided p value of Wilcoxon's signed-rank test."""


def over_tasks(found: Sequence[Contrast]) -> list[PairedDifference]:
    """The contrasts that at least `FEWEST_TASKS` tasks with a normalised score share."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for one in found:
        if one.normalised:
            groups.setdefault((one.algorithm, one.variant, one.other), []).append(one.difference)
    combined = []
    for name, differences in groups.items():
        if len(differences) >= FEWEST_TASKS:
            summary = summarise(differences)
            p = float(stats.wilcoxon(differences).pvalue) if any(differences) else 1.0
            half_width = mean_half_width(summary) or 0.0
            combined.append(PairedDifference(*name, len(differences), summary.mean, half_width, p))
    return combined


ROUNDS = re.compile(r"rounds-(?P<count>\d+)(?P<deaf>-deaf)?")
"""Names of variants with a number of propagation rounds in all networks, with and without messages."""


def round_trends(analysis: Analysis) -> dict[tuple[str, bool], Trend]:
    """Trend of the normalised score over the number of rounds: (task, whether there are messages) -> points per round.

    More rounds are also a deeper network; without messages, that is all they are. The p values have Holm's correction
    over all these trends.
    """
    points: dict[tuple[str, bool], list[tuple[int, float]]] = {}
    for score in analysis.scores:
        named = ROUNDS.fullmatch(score.variant)
        if named and score.comparable:
            finals = score.normalised_seeds.get(score.policy, ())
            key = score.task, named["deaf"] is None
            points.setdefault(key, []).extend((int(named["count"]), final) for final in finals)
    found = {key: trend([count for count, _ in pairs], [final for _, final in pairs]) for key, pairs in points.items()}
    lines = {key: line for key, line in found.items() if line is not None}
    adjusted = holm([line.p for line in lines.values()])
    return {key: replace(line, p=p) for (key, line), p in zip(lines.items(), adjusted, strict=True)}
