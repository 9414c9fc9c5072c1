"""Scaling with the number of agents N: normalised scores against N."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from figures.analysis import Analysis
from figures.analysis.policies import COLLAPSED_WORDS, LEARNED_WORDS, POLICY_WORDS, REWARDS
from figures.analysis.scaling import ScalingCurve, ScalingPanel
from figures.analysis.statistics import mean_half_width
from figures.names import algorithm_label
from figures.panels import LEGEND_ROW, curve_handle
from figures.style import MUTED, AlgorithmStyle, PanelSize, algorithm_styles, legend_shape, panel_grid, row_major
from figures.tables import ABSENT, DASH, Cell, Table, interval, number, plus_minus

SIZE = PanelSize(width=2.9, height=2.1, left=0.72, right=0.3)
COLUMNS = 3


def draw(analysis: Analysis) -> Figure | None:
    """Figure with a panel for each series of tasks and reward; None where nothing was run with two numbers of
    agents."""
    panels = analysis.scaling
    if not panels:
        return None
    styles = algorithm_styles(curve.algorithm for panel in panels for curve in panel.curves)
    width = min(COLUMNS, len(panels)) * (SIZE.left + SIZE.width + SIZE.right)
    columns, rows = legend_shape(len(styles), width, entry_width=0.98)
    figure, axes = panel_grid(len(panels), COLUMNS, SIZE, rows * LEGEND_ROW + 0.1)
    for index, (panel, panel_axes) in enumerate(zip(panels, axes, strict=True)):
        _draw_panel(panel_axes, panel, styles)
        if index % COLUMNS == 0:
            panel_axes.set_ylabel("normalised score (%)")
    handles = [curve_handle(style) for style in styles.values()]
    figure.legend(
        handles=row_major(handles, columns), loc="lower center", ncols=columns, frameon=False, handlelength=1.8
    )
    return figure


def caption(analysis: Analysis) -> str:
    """Caption of the figure."""
    steps = sorted({point.steps for panel in analysis.scaling for curve in panel.curves for point in curve.points})
    span = " to ".join(f"{step:,}" for step in dict.fromkeys((steps[0], steps[-1]))) if steps else "no"
    return (
        f"Normalised score in % against the number of agents on a logarithmic axis. {POLICY_WORDS} Points: mean over "
        "seeds, with Student's 95 % interval (none for a single seed); hollow: collapsed. For every task, the variant "
        "with most algorithms among those with the panel's reward and the default observations and actions is shown. "
        f"These runs differ in more than N: they are {span} environment steps long, with batches of different sizes, "
        "and the reference policy at 100 % differs with N, so that a slope is not yet a scaling law. Slopes are in the "
        f"table. The title of a panel names the reward that its environments pay. {LEARNED_WORDS} {COLLAPSED_WORDS}"
    )


def table(analysis: Analysis) -> Table:
    """Table with a row for each curve: slope per doubling of N, its interval and corrected p value, then its points."""
    rows: list[list[Cell]] = []
    for panel in analysis.scaling:
        rows += [_row(panel, curve) for curve in panel.curves]
    return Table(HEADER, rows, TABLE_CAPTION, words=3)


HEADER = ("Series", "Learned from", "Algorithm", "Slope", "95 % interval", "p (Holm)", "Normalised score by N, steps")
TABLE_CAPTION = (
    "Slope: change of the normalised score, in percentage points, per doubling of N: least squares through all seeds, "
    "with Student's interval; p values corrected by Holm for all slopes of the table. Points: normalised score in %, "
    "mean ± standard deviation over seeds, and environment steps of a run."
)


def panel_title(panel: ScalingPanel) -> str:
    """Title of a panel: `Cooperative navigation, team reward`."""
    return f"{panel.series[:1].upper()}{panel.series[1:]}, {REWARDS.get(panel.reward, panel.reward)}"


def _row(panel: ScalingPanel, curve: ScalingCurve) -> list[Cell]:
    label = algorithm_label(curve.algorithm)
    row: list[Cell] = [(text, text) for text in (panel.series, curve.learned_from, label)]
    if curve.trend is None or curve.adjusted_p is None:
        row += [ABSENT, (DASH, -math.inf), ABSENT]
    else:
        slope, half = curve.trend.slope, curve.trend.half_width
        row += [
            (number(slope, 1), slope),
            (interval(slope, half, 1), slope - half),
            (f"{curve.adjusted_p:.2g}", curve.adjusted_p),
        ]
    points = [
        f"{point.agents}: {plus_minus(point.normalised, 0)}{' (collapsed)' if point.collapsed else ''}, {point.steps:,}"
        for point in curve.points
    ]
    return [*row, ("; ".join(points), len(points))]


def _draw_panel(axes: Axes, panel: ScalingPanel, styles: dict[str, AlgorithmStyle]) -> None:
    axes.set_title(panel_title(panel), loc="left", pad=8, fontweight="bold")
    axes.axhline(0, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
    axes.set_xscale("log", base=2)
    for index, curve in enumerate(panel.curves):
        style = styles[curve.algorithm]
        shift = 2 ** (0.05 * (index - (len(panel.curves) - 1) / 2))
        places = [point.agents * shift for point in curve.points]
        means = [point.normalised.mean for point in curve.points]
        axes.plot(places, means, color=style.colour, linewidth=1.2, zorder=3)
        for place, point in zip(places, curve.points, strict=True):
            half = mean_half_width(point.normalised) or 0.0
            axes.plot(
                [place, place],
                [point.normalised.mean - half, point.normalised.mean + half],
                color=style.colour,
                linewidth=0.9,
                zorder=2,
            )
            fill = "none" if point.collapsed else style.colour
            axes.plot(
                [place], [point.normalised.mean], style.marker, color=style.colour, markerfacecolor=fill, markersize=5
            )
    agents = sorted({point.agents for curve in panel.curves for point in curve.points})
    axes.xaxis.set_major_locator(FixedLocator(agents))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlim(agents[0] / 1.3, agents[-1] * 1.3)
    axes.set_xlabel("agents N")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "\u2212")))
