"""Scaling with the number of agents N: the normalised score of each algorithm as N grows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from figures.analysis.scores import Score
from figures.analysis.selection import Groups, longest
from figures.analysis.statistics import Summary, Trend, holm, trend
from figures.names import agents_of
from results.checks import algorithm_order
from results.paper import COMPARED_ALGORITHMS
from results.records import Run

SERIES = {
    "cooperative navigation": "mpe/cooperative_navigation_",
    "synthetic traffic signals": "cityflow/synthetic_",
}
"""Prefixes of task names, for families of tasks that differ only in the number of agents."""
DEFAULTS = {
    "actions": "discrete",
    "neighbour_order": "published",
    "observe_agents": True,
    "observation": "counts",
    "protocol": "paper",
}
"""Environment settings that change what a score means, and their defaults; runs with other values are left out."""


@dataclass(frozen=True, slots=True)
class ScalingPoint:
    """One algorithm at one number of agents."""

    agents: int
    task: str
    variant: str
    steps: int
    normalised: Summary
    """Normalised score of the headline policy, in %."""
    normalised_seeds: tuple[float, ...]
    collapsed: bool


@dataclass(frozen=True, slots=True)
class ScalingCurve:
    """One algorithm over the numbers of agents it was run with, the smallest first."""

    algorithm: str
    learned_from: str
    points: tuple[ScalingPoint, ...]
    trend: Trend | None
    """Trend of the normalised score in % per doubling of N; None below two numbers of agents or three seeds."""
    adjusted_p: float | None = None
    """p value with Holm's correction over all trends of all panels."""


@dataclass(frozen=True, slots=True)
class ScalingPanel:
    """The curves of one series of tasks whose environments pay the same kind of reward."""

    series: str
    reward: str
    """The setting environment.reward."""
    curves: tuple[ScalingCurve, ...]


def scaling_panels(scores: Sequence[Score], groups: Groups) -> list[ScalingPanel]:
    """A panel for each series and reward that was run with two or more numbers of agents.

    For each task and reward, the variant with most of the paper's algorithms is shown among those with the default
    observations and actions; among equals, that with most runs, then that with the longest runs.
    """
    by_cell: dict[tuple[str, str], list[Score]] = {}
    for score in scores:
        by_cell.setdefault((score.task, score.variant), []).append(score)
    panels = []
    for series, prefix in SERIES.items():
        chosen = _chosen(groups, prefix)
        for reward in dict.fromkeys(reward for _, reward in chosen):
            cells = [cell for (_, paid), cell in chosen.items() if paid == reward]
            curves = _curves([score for cell in cells for score in by_cell.get(cell, [])])
            if any(len(curve.points) > 1 for curve in curves):
                panels.append(ScalingPanel(series, reward, curves))
    return _adjusted(panels)


def _chosen(groups: Groups, prefix: str) -> dict[tuple[str, str], tuple[str, str]]:
    """(task, reward) -> the task and variant shown."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for (task, variant), algorithms in groups.items():
        if task.startswith(prefix) and agents_of(task) is not None and _has_defaults(algorithms):
            found.setdefault((task, _reward(algorithms)), []).append((task, variant))

    def preference(cell: tuple[str, str]) -> tuple[int, int, int, str]:
        algorithms = groups[cell]
        known = len(set(algorithms) & set(COMPARED_ALGORITHMS))
        return -known, -sum(map(len, algorithms.values())), -longest(algorithms), cell[1]

    return {key: min(cells, key=preference) for key, cells in found.items()}


def _has_defaults(algorithms: Mapping[str, Sequence[Run]]) -> bool:
    settings = [run.config.get("environment", {}) for runs in algorithms.values() for run in runs]
    return all(found.get(name, value) == value for found in settings for name, value in DEFAULTS.items())


def _reward(algorithms: Mapping[str, Sequence[Run]]) -> str:
    """Reward setting of most runs of a cell."""
    rewards = [str(run.config.get("environment", {}).get("reward", "")) for runs in algorithms.values() for run in runs]
    return max(dict.fromkeys(rewards), key=rewards.count)


def _curves(scores: Sequence[Score]) -> tuple[ScalingCurve, ...]:
    points: dict[str, list[ScalingPoint]] = {}
    rewards: dict[str, str] = {}
    for score in scores:
        normalised_scores, agents = score.normalised_seeds.get(score.policy, ()), agents_of(score.task)
        if (
            score.normalised is None
            or agents is None
            or not score.comparable
            or not all(map(math.isfinite, normalised_scores))
        ):
            continue
        point = ScalingPoint(
            agents, score.task, score.variant, score.steps, score.normalised, normalised_scores, score.collapsed
        )
        points.setdefault(score.algorithm, []).append(point)
        rewards[score.algorithm] = score.learned_from
    curves = []
    for name in algorithm_order(set(points)):
        ordered = sorted(points[name], key=lambda point: point.agents)
        pairs = [(math.log2(point.agents), normalised) for point in ordered for normalised in point.normalised_seeds]
        found = trend([level for level, _ in pairs], [normalised for _, normalised in pairs])
        curves.append(ScalingCurve(name, rewards[name], tuple(ordered), found))
    return tuple(curves)


def _adjusted(panels: Sequence[ScalingPanel]) -> list[ScalingPanel]:
    made = [curve.trend.p for panel in panels for curve in panel.curves if curve.trend is not None]
    adjusted = iter(holm(made))
    return [
        replace(
            panel,
            curves=tuple(
                curve if curve.trend is None else replace(curve, adjusted_p=next(adjusted)) for curve in panel.curves
            ),
        )
        for panel in panels
    ]
