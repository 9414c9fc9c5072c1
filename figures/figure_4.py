"""Redraws the paper's Figure 4: three tasks of the particle environments, all algorithms."""

from __future__ import annotations

from matplotlib.figure import Figure

from figures.paper_panels import draw_tasks, tasks_caption
from results.records import Results

NAME = "figure_4"
HEADING = "Figure 4: particle environments"
TITLES = {
    "mpe/cooperative_navigation_30": "(a) Cooperative navigation, N = 30",
    "mpe/heterogeneous_navigation_100": "(b) Heterogeneous navigation, N = 100",
    "mpe/prey_and_predator_100": "(c) Prey and predator, N = 100",
}


def draw(results: Results) -> Figure | None:
    """The figure; None where no task of it was run. Use inside ``figure_style()``."""
    return draw_tasks(results, TITLES)


def caption(results: Results) -> str:
    """What the reader must know, in whole sentences."""
    return tasks_caption(results, TITLES)
