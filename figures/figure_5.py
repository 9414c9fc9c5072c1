"""Redraws the paper's Figure 5: all six traffic tasks, all algorithms."""

from __future__ import annotations

from matplotlib.figure import Figure

from figures.paper_panels import draw_tasks, tasks_caption
from results.records import Results

NAME = "figure_5"
HEADING = "Figure 5: all traffic tasks"
TITLES = {
    "cityflow/hangzhou_16": "(a) Hangzhou, N = 16",
    "cityflow/synthetic_49": "(b) 7 by 7 grid, N = 49",
    "cityflow/manhattan_96": "(c) Manhattan, N = 96",
    "cityflow/synthetic_100": "(d) 10 by 10 grid, N = 100",
    "cityflow/synthetic_225": "(e) 15 by 15 grid, N = 225",
    "cityflow/synthetic_1225": "(f) 35 by 35 grid, N = 1225",
}


def draw(results: Results) -> Figure | None:
    """The figure; None where no task of it was run. Use inside ``figure_style()``."""
    return draw_tasks(results, TITLES)


def caption(results: Results) -> str:
    """What the reader must know, in whole sentences."""
    return tasks_caption(results, TITLES)
