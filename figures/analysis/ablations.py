"""Ablations of IP: runs whose configurations differ in exactly one setting, whatever their variants are called."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from figures.analysis.policies import headline_policy, other_policy
from figures.analysis.scores import final_of
from figures.analysis.selection import PAPER_VARIANT
from figures.analysis.statistics import Summary, Trend, holm, summarise, trend
from results.checks import IDENTITY_KEYS, flatten, uncounted
from results.records import Results, Run

ALGORITHM = "ip"
DEFAULTS = ("road graph", "k = 8", "2 hops")
"""Labels of IP's default settings."""
PAPER_BASES = (PAPER_VARIANT, "hops-2")
"""Variants with the default settings in runs of the paper's size; the second has two rounds in all networks."""


@dataclass(frozen=True, slots=True)
class Ablation:
    """One panel of the paper's Figure 6: the setting that differs, and the task."""

    task: str
    title: str
    setting: str
    """Dotted name in the config."""
    label: Callable[[Any], str]
    level: Callable[[Any], float] | None = None
    """Position of a value on an ordered scale; None where values have no order."""
    unit: str = ""
    """Unit of that scale, in words."""


def _graph(value: Any) -> str:
    return {"task": "road graph", "full": "full graph"}.get(value, str(value))


def _neighbours(value: Any) -> str:
    """Label of a number of neighbours; the paper's default for 30 agents and more is 8 (5.3)."""
    return "k = 8" if value is None else f"k = {value}"


def _hops(value: Any) -> str:
    return f"{value} hop" if value == 1 else f"{value} hops"


ABLATIONS = (
    Ablation("cityflow/synthetic_49", "(a) Graph, traffic, N = 49", "algorithm_settings.graph", _graph),
    Ablation("cityflow/synthetic_100", "(b) Graph, traffic, N = 100", "algorithm_settings.graph", _graph),
    Ablation(
        "mpe/cooperative_navigation_30",
        "(c) Neighbours, navigation, N = 30",
        "environment.num_neighbours",
        _neighbours,
        lambda value: 8.0 if value is None else float(value),
        "neighbour",
    ),
    Ablation(
        "mpe/cooperative_navigation_30", "(d) Hops, navigation, N = 30", "algorithm_settings.hops", _hops, float, "hop"
    ),
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One curve of a panel."""

    label: str
    level: float | None
    runs: tuple[Run, ...]
    finals: dict[str, tuple[float, ...]]
    """Policy -> final score of each seed that counts."""

    def summary(self, policy: str) -> Summary | None:
        return summarise(self.finals[policy]) if self.finals.get(policy) else None


@dataclass(frozen=True, slots=True)
class AblationResult:
    """The runs of one panel."""

    ablation: Ablation
    settings: tuple[Setting, ...]
    """Settings in the order of their values; empty where fewer than two were run."""
    random: float | None
    """Mean return of random play."""
    trends: dict[str, Trend]
    """Policy -> trend of final scores over the ordered setting."""
    adjusted: dict[str, float]
    """Policy -> p value of that trend, with Holm's correction over all trends of the same policy in the figure."""

    @property
    def base(self) -> str:
        """The variant with the default setting or, without it, the shortest name; empty without runs."""
        unchanged = [self.default] if self.default is not None else self.settings
        names = {run.key.variant for setting in unchanged for run in setting.runs}
        return min(names, key=lambda name: (name not in PAPER_BASES, len(name), name), default="")

    @property
    def default(self) -> Setting | None:
        """IP with its default settings; None where it was not run."""
        return next((setting for setting in self.settings if setting.label in DEFAULTS), None)


def ablation_results(results: Results) -> list[AblationResult]:
    """Every panel, in the order of the paper."""
    found = [_result(results, ablation) for ablation in ABLATIONS]
    for policy in (headline_policy(ALGORITHM), other_policy(ALGORITHM)):
        tested = [result for result in found if policy in result.trends]
        for result, p in zip(tested, holm([result.trends[policy].p for result in tested]), strict=True):
            result.adjusted[policy] = p
    return found


def ablated_runs(results: Results, ablation: Ablation) -> dict[Any, tuple[Run, ...]]:
    """Value of the ablated setting -> the runs of IP with that value, whose configurations otherwise agree.

    Of several such groups, the one with the paper's settings (`PAPER_BASES`) is preferred, then the one with most
    values, then the one with most runs, then the one with the shortest variant names. Empty where fewer than two values
    were run.
    """
    groups: dict[str, dict[Any, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in results.runs:
        if (run.key.task, run.key.algorithm) == (ablation.task, ALGORITHM):
            config = flatten(run.config)
            value = config.pop(ablation.setting, None)
            shared = {name: entry for name, entry in config.items() if name not in IDENTITY_KEYS | {"variant"}}
            groups[json.dumps(shared, sort_keys=True)][value].append(run)
    compared = [group for group in groups.values() if len(group) > 1]
    if not compared:
        return {}

    def preference(group: dict[Any, list[Run]]) -> tuple[bool, int, int, int]:
        runs = [run for part in group.values() for run in part]
        names = {run.key.variant for run in runs}
        return not names.isdisjoint(PAPER_BASES), len(group), len(runs), -min(map(len, names))

    best = max(compared, key=preference)
    return {value: tuple(best[value]) for value in sorted(best, key=lambda level: _order(ablation.label(level)))}


def _result(results: Results, ablation: Ablation) -> AblationResult:
    settings = tuple(_setting(ablation, value, runs) for value, runs in ablated_runs(results, ablation).items())
    references = results.references.get(ablation.task)
    random = references.returns.get("random") if references else None
    trends = {}
    for policy in (headline_policy(ALGORITHM), other_policy(ALGORITHM)):
        points = [
            (setting.level, value)
            for setting in settings
            if setting.level is not None
            for value in setting.finals[policy]
        ]
        levels = {level for level, _ in points}
        found = trend([level for level, _ in points], [value for _, value in points]) if len(levels) > 2 else None
        if found is not None:
            trends[policy] = found
    return AblationResult(ablation, settings, None if random is None else float(np.mean(random)), trends, {})


def _setting(ablation: Ablation, value: Any, runs: Sequence[Run]) -> Setting:
    finals = {
        policy: tuple(final for run in runs if not uncounted(run) and (final := final_of(run, policy)) is not None)
        for policy in (headline_policy(ALGORITHM), other_policy(ALGORITHM))
    }
    level = ablation.level(value) if ablation.level is not None else None
    return Setting(ablation.label(value), level, tuple(runs), finals)


def _order(label: str) -> tuple[float, str]:
    """Sort key: numbers by size; of the graphs, the road graph first."""
    numbers = [word for word in label.split() if word.isdigit()]
    return (float(numbers[0]), "") if numbers else (0.0 if label in DEFAULTS else 1.0, label)
