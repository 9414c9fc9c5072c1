"""What the paper's Figures 3, 4, 5 and 8 have in common: a panel for each task, a curve for each algorithm."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from figures.panels import CURVES_EXPLAINED, Panel, by_algorithm, draw_panels, reference_means
from figures.selection import PAPER_VARIANT, shown_runs, shown_variant
from figures.style import algorithm_label, algorithm_styles, family_of
from results.paper import COMPARED_ALGORITHMS
from results.records import Results

POLICY = "greedy"
VALUE_LABELS = {"cityflow": "\u2212 average travel time, s"}
"""What the vertical axis shows, by family; elsewhere the return of an episode."""
Titles = Mapping[str, str]
"""Tasks of a figure and the titles of their panels, in the order of the paper."""


def draw_tasks(results: Results, titles: Titles) -> Figure | None:
    """A figure of the paper, with an empty panel for a task that was not run; None where none was."""
    panels = [_panel(results, task, title) for task, title in titles.items()]
    if not any(panel.series for panel in panels):
        return None
    return draw_panels(panels, algorithm_styles(name for panel in panels for name in panel.series))


def tasks_caption(results: Results, titles: Titles) -> str:
    """What is shown, how to read it, and which cells are missing, in whole sentences."""
    shown = {task: shown_variant(results, task) for task in titles}
    parts = ["Evaluated with the most probable action of each agent.", CURVES_EXPLAINED]
    other = [f"{titles[task][:3]} {variant}" for task, variant in shown.items() if variant not in (None, PAPER_VARIANT)]
    if other:
        parts.append(
            f"Not the paper's settings, but those of smaller runs, by the names of their variants: {', '.join(other)}."
        )
    lacking = {titles[task][:3]: words for task in titles if (words := _absent(results, task))}
    if lacking:
        parts.append(f"Not run: {'; '.join(f'{letter} {words}' for letter, words in lacking.items())}.")
    return " ".join(parts)


def _panel(results: Results, task: str, title: str) -> Panel:
    variant, runs = shown_variant(results, task), shown_runs(results, task)
    note = "" if variant in (None, PAPER_VARIANT) else f"variant {variant}"
    label = VALUE_LABELS.get(family_of(task), "episode return")
    return Panel(title, by_algorithm(runs), POLICY, reference_means(results, task), note, label)


def _absent(results: Results, task: str) -> str:
    """The paper's algorithms that the panel of a task lacks, as words."""
    present = {run.key.algorithm for run in shown_runs(results, task)}
    absent = [algorithm_label(name) for name in COMPARED_ALGORITHMS if name not in present]
    return ", ".join(absent) if present else "all"
