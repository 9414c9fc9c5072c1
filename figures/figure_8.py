"""Redraws the paper's Figure 8: cooperative navigation at three sizes, Jungle, prey and predator, cooperative push."""

from __future__ import annotations

from matplotlib.figure import Figure

from figures.paper_panels import draw_tasks, tasks_caption
from results.records import Results

NAME = "figure_8"
HEADING = "Figure 8: more particle environments, and Jungle"
TITLES = {
    "mpe/cooperative_navigation_15": "(a) Cooperative navigation, N = 15",
    "mpe/cooperative_navigation_30": "(b) Cooperative navigation, N = 30",
    "mpe/cooperative_navigation_200": "(c) Cooperative navigation, N = 200",
    "magent/jungle_20": "(d) Jungle, N = 20, F = 12",
    "mpe/prey_and_predator_100": "(e) Prey and predator, N = 100",
    "mpe/cooperative_push_100": "(f) Cooperative push, N = 100",
}


def draw(results: Results) -> Figure | None:
    """The figure; None where no task of it was run. Use inside ``figure_style()``."""
    return draw_tasks(results, TITLES)


def caption(results: Results) -> str:
    """What the reader must know, in whole sentences."""
    return tasks_caption(results, TITLES)
