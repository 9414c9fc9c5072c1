"""Redraws the paper's Figure 3: traffic signals of Manhattan and of two large synthetic maps, all algorithms."""

from __future__ import annotations

from matplotlib.figure import Figure

from figures.paper_panels import draw_tasks, tasks_caption
from results.records import Results

NAME = "figure_3"
HEADING = "Figure 3: traffic signals on a large scale"
TITLES = {
    "cityflow/manhattan_96": "(a) Manhattan, N = 96",
    "cityflow/synthetic_225": "(b) 15 by 15 grid, N = 225",
    "cityflow/synthetic_1225": "(c) 35 by 35 grid, N = 1225",
}


def draw(results: Results) -> Figure | None:
    """The figure; None where no task of it was run. Use inside ``figure_style()``."""
    return draw_tasks(results, TITLES)


def caption(results: Results) -> str:
    """What the reader must know, in whole sentences."""
    return tasks_caption(results, TITLES)
