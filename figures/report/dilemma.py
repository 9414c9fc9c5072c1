"""Jungle's moral dilemma: what agents earn, how often they attack one another, and how often they eat, over
training."""

from __future__ import annotations

from matplotlib.figure import Figure

from figures.analysis import Analysis
from figures.analysis.curves import Curve, score_curve
from figures.analysis.policies import POLICY_WORDS, headline_policy
from figures.panels import curve_handle, draw_curve
from figures.style import (
    MUTED,
    PanelSize,
    algorithm_styles,
    format_steps_axis,
    format_value_axis,
    legend_shape,
    panel_grid,
    row_major,
)

PLATFORM = "magent"
PANELS = {
    "return_per_agent": "return per agent",
    "attacks_per_agent": "attacks on other agents",
    "food_per_agent": "food eaten",
}
"""Scores of an evaluation, each a mean over agents, and the titles of their panels."""
SIZE = PanelSize(width=2.5, height=1.9, left=0.55, right=0.35)
LEGEND_ROW = 0.24


def dilemma_curves(analysis: Analysis, task: str, variant: str) -> dict[str, dict[str, Curve]]:
    """Score -> algorithm -> its curve for the headline policy; empty where no evaluation has these scores."""
    algorithms = analysis.groups[task, variant]
    found = {
        score: {
            name: curve
            for name, runs in algorithms.items()
            if not (curve := score_curve(runs, headline_policy(name), score)).empty
        }
        for score in PANELS
    }
    return found if all(found.values()) else {}


def draw_dilemma(analysis: Analysis, task: str, variant: str) -> Figure | None:
    """Figure of one row of panels with all algorithms in each; None without evaluations. Use inside
    `figure_style()`."""
    curves = dilemma_curves(analysis, task, variant)
    if not curves:
        return None
    styles = algorithm_styles(analysis.algorithms)
    shown = [style for name, style in styles.items() if any(name in by_name for by_name in curves.values())]
    last_step = max(float(curve.means.steps[-1]) for by_name in curves.values() for curve in by_name.values())
    width = len(PANELS) * (SIZE.left + SIZE.width + SIZE.right)
    columns, rows = legend_shape(len(shown), width, entry_width=0.98)
    figure, axes = panel_grid(len(PANELS), len(PANELS), SIZE, rows * LEGEND_ROW + 0.08)
    for (score, title), panel_axes in zip(PANELS.items(), axes, strict=True):
        panel_axes.axhline(0, color=MUTED, linewidth=0.6, zorder=1)
        for index, (name, style) in reversed(list(enumerate(styles.items()))):
            if name in curves[score]:
                draw_curve(panel_axes, curves[score][name].means, style, offset=index)
        panel_axes.set_title(title, loc="left", fontweight="bold", pad=15)
        panel_axes.annotate(
            "per agent and episode", (0, 1), (0, 4), xycoords="axes fraction", textcoords="offset points", size=9,
            color=MUTED,
        )  # fmt: skip
        format_steps_axis(panel_axes, last_step)
        format_value_axis(panel_axes)
    handles = [curve_handle(style) for style in shown]
    figure.legend(
        handles=row_major(handles, columns), loc="lower center", ncols=columns, frameon=False, handlelength=1.8
    )
    return figure


def dilemma_caption() -> str:
    """Caption of the figure."""
    return (
        f"{POLICY_WORDS} With each action an agent moves, stays, or attacks an adjacent cell. Attacking food pays "
        "0.99, attacking an agent pays 1.99 and costs the victim 4, attacking nothing costs 0.01. Attacks thus pay "
        "the attacker and harm the team: a learner with an individual reward learns them first. The team's return in "
        "the learning curves is the return per agent times the number of agents. Line: mean over seeds; band: one "
        "sample standard deviation to either side."
    )
