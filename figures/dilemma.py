"""Jungle's moral dilemma: what agents earn, how often they hit one another, and how often they eat, as they learn."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures.panels import draw_curve
from figures.statistics import across_seeds
from figures.style import (
    MUTED,
    AlgorithmStyle,
    PanelSize,
    algorithm_styles,
    family_of,
    format_steps_axis,
    format_value_axis,
    legend_shape,
    panel_grid,
    row_major,
)
from results.frames import evaluations_frame
from results.records import Results

FAMILY = "magent"
PANELS = {
    "score/return_per_agent": "return of an agent",
    "score/attacks_per_agent": "blows dealt to other agents",
    "score/food_per_agent": "meals",
}
"""Scores of an evaluation, each a mean over agents, and what their panels are called."""
SIZE = PanelSize(width=2.5, height=1.9, left=0.55, right=0.35)
LEGEND_ROW = 0.24


def dilemma_frame(results: Results, task: str, variant: str, policy: str) -> pd.DataFrame:
    """Evaluations of one task and variant with their scores; empty where there are none, or none of these scores."""
    frame = evaluations_frame(Results(tuple(run for run in results.runs if family_of(run.key.task) == FAMILY)))
    own = frame[(frame["task"] == task) & (frame["variant"] == variant) & (frame["policy"] == policy)]
    return own.dropna(subset=list(PANELS)) if set(PANELS) <= set(own.columns) else own.iloc[:0]


def draw_dilemma(results: Results, task: str, variant: str, policy: str) -> Figure | None:
    """One row of panels, all algorithms in each; None without evaluations. Use inside ``figure_style()``."""
    frame = dilemma_frame(results, task, variant, policy)
    if frame.empty:
        return None
    styles = algorithm_styles(run.key.algorithm for run in results.runs)
    shown = [style for name, style in styles.items() if name in set(frame["algorithm"])]
    width = len(PANELS) * (SIZE.left + SIZE.width + SIZE.right)
    columns, rows = legend_shape(len(shown), width, entry_width=0.98)
    figure, axes = panel_grid(len(PANELS), len(PANELS), SIZE, rows * LEGEND_ROW + 0.08)
    for (name, title), own_axes in zip(PANELS.items(), axes, strict=True):
        _draw_panel(own_axes, frame, name, styles)
        own_axes.set_title(title, loc="left", fontweight="bold", pad=15)
        own_axes.annotate(
            "per agent and episode", (0, 1), (0, 4), xycoords="axes fraction", textcoords="offset points", size=9,
            color=MUTED,
        )  # fmt: skip
        format_steps_axis(own_axes, float(frame["step"].max()))
        format_value_axis(own_axes)
    handles = [Line2D([], [], color=s.colour, marker=s.marker, markeredgewidth=0, label=s.label) for s in shown]
    figure.legend(
        handles=row_major(handles, columns), loc="lower center", ncols=columns, frameon=False, handlelength=1.8
    )
    return figure


def dilemma_caption(policy: str) -> str:
    """What the reader of the figure must know, in whole sentences."""
    return (
        f"Evaluations of the {policy} policy. With each action an agent moves, stays, or strikes a cell beside it. "
        "Striking food pays 0.99, striking an agent pays 1.99 and costs the one who is struck 4, striking nothing "
        "costs 0.01. So blows pay whoever deals them and ruin everybody together: a learner that is paid for itself "
        "alone first falls for them. The return of the team, which the learning curves show, is that of an agent times "
        "the number of agents. Line: mean over seeds; band: one sample standard deviation to either side."
    )


def _draw_panel(axes: Axes, frame: pd.DataFrame, name: str, styles: dict[str, AlgorithmStyle]) -> None:
    axes.axhline(0, color=MUTED, linewidth=0.6, zorder=1)
    for index, (algorithm, style) in reversed(list(enumerate(styles.items()))):
        own = frame[frame["algorithm"] == algorithm]
        if not own.empty:
            curve = across_seeds(own.rename(columns={name: "value"})[["seed", "step", "value"]])
            draw_curve(axes, curve, style, offset=index)
