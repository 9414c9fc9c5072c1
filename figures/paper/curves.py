"""The paper's Figures 3, 4, 5 and 8: a panel for each task, a curve for each algorithm."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from figures.analysis import Analysis
from figures.analysis.policies import POLICY_WORDS
from figures.analysis.selection import PAPER_VARIANT
from figures.names import algorithm_label, platform_of
from figures.panels import CURVES_EXPLAINED, Panel, draw_panels
from figures.style import algorithm_styles
from results.paper import COMPARED_ALGORITHMS

Titles = Mapping[str, str]
"""Tasks of a figure and the titles of their panels, in the order of the paper."""
FIGURE_3 = {
    "cityflow/manhattan_96": "(a) Manhattan, N = 96",
    "cityflow/synthetic_225": "(b) 15 by 15 grid, N = 225",
    "cityflow/synthetic_1225": "(c) 35 by 35 grid, N = 1225",
}
FIGURE_4 = {
    "mpe/cooperative_navigation_30": "(a) Cooperative navigation, N = 30",
    "mpe/heterogeneous_navigation_100": "(b) Heterogeneous navigation, N = 100",
    "mpe/prey_and_predator_100": "(c) Prey and predator, N = 100",
}
FIGURE_5 = {
    "cityflow/hangzhou_16": "(a) Hangzhou, N = 16",
    "cityflow/synthetic_49": "(b) 7 by 7 grid, N = 49",
    "cityflow/manhattan_96": "(c) Manhattan, N = 96",
    "cityflow/synthetic_100": "(d) 10 by 10 grid, N = 100",
    "cityflow/synthetic_225": "(e) 15 by 15 grid, N = 225",
    "cityflow/synthetic_1225": "(f) 35 by 35 grid, N = 1225",
}
FIGURE_8 = {
    "mpe/cooperative_navigation_15": "(a) Cooperative navigation, N = 15",
    "mpe/cooperative_navigation_30": "(b) Cooperative navigation, N = 30",
    "mpe/cooperative_navigation_200": "(c) Cooperative navigation, N = 200",
    "magent/jungle_20": "(d) Jungle, N = 20, F = 12",
    "mpe/prey_and_predator_100": "(e) Prey and predator, N = 100",
    "mpe/cooperative_push_100": "(f) Cooperative push, N = 100",
}
VALUE_LABELS = {"cityflow": "\u2212 average travel time, s"}
"""Label of the vertical axis by platform; otherwise the return of an episode."""


def value_label(task: str) -> str:
    """Label of the vertical axis of a task's learning curves."""
    return VALUE_LABELS.get(platform_of(task), "episode return")


def draw_tasks(analysis: Analysis, titles: Titles) -> Figure | None:
    """A figure of the paper, with an empty panel for a task that was not run; None where none was."""
    panels = [_panel(analysis, task, title) for task, title in titles.items()]
    if not any(panel.curves for panel in panels):
        return None
    return draw_panels(panels, algorithm_styles(name for panel in panels for name in panel.curves))


def tasks_caption(analysis: Analysis, titles: Titles) -> str:
    """Caption: what is shown, how to read it, and which cells are missing."""
    parts = [POLICY_WORDS, CURVES_EXPLAINED]
    signals = {titles[task][:3]: words for task in titles if (words := learned_words(analysis, task))}
    if signals:
        parts.append(f"Learned from {'; '.join(f'{letter} {words}' for letter, words in signals.items())}.")
    shown = {task: analysis.shown.get(task) for task in titles}
    other = [f"{titles[task][:3]} {variant}" for task, variant in shown.items() if variant not in (None, PAPER_VARIANT)]
    if other:
        parts.append(
            f"Not the paper's settings, but those of smaller runs, by the names of their variants: {', '.join(other)}."
        )
    lacking = {titles[task][:3]: words for task in titles if (words := _absent(analysis, task))}
    if lacking:
        parts.append(f"Not run: {'; '.join(f'{letter} {words}' for letter, words in lacking.items())}.")
    return " ".join(parts)


def learned_words(analysis: Analysis, task: str) -> str:
    """Learning signals of a task's curves: `team reward (QMIX, PIC), agent rewards (IP)`; empty without runs."""
    scores = analysis.scores_of.get((task, analysis.shown.get(task, "")), [])
    groups: dict[str, list[str]] = {}
    for score in scores:
        groups.setdefault(score.learned_from, []).append(algorithm_label(score.algorithm))
    return ", ".join(f"{signal} ({', '.join(names)})" for signal, names in groups.items())


def _panel(analysis: Analysis, task: str, title: str) -> Panel:
    variant = analysis.shown.get(task, "")
    curves = {name: analysis.curve(task, variant, name) for name in analysis.shown_algorithms(task)}
    note = "" if variant in ("", PAPER_VARIANT) else f"variant {variant}"
    return Panel(title, curves, analysis.reference_means(task), note, value_label(task))


def _absent(analysis: Analysis, task: str) -> str:
    """The paper's algorithms missing from the panel of a task, in words."""
    present = analysis.shown_algorithms(task)
    absent = [algorithm_label(name) for name in COMPARED_ALGORITHMS if name not in present]
    return ", ".join(absent) if present else "all"
