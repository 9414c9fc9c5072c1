"""Panels of learning curves: mean and standard deviation over seeds, with reference policies as dashed lines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter
from numpy.typing import ArrayLike

from figures.analysis.curves import Curve
from figures.analysis.scores import SCALE_TOPS
from figures.analysis.statistics import SeedMeans
from figures.style import (
    GRID,
    INK,
    MUTED,
    PAPER,
    AlgorithmStyle,
    PanelSize,
    format_steps_axis,
    format_value_axis,
    legend_shape,
    panel_grid,
    row_major,
    short_number,
)

COLUMNS = 3
SINGLE_PANEL = PanelSize(width=4.3, height=2.7, right=1.1)
REFERENCE_DASHES = {
    "random": (0, (1, 2)),
    **dict.fromkeys(("stay", "fixed_time"), (0, (4, 2, 1, 2))),
    **dict.fromkeys(SCALE_TOPS, (0, (5, 2))),
}
SCALE_ENDS = ("random", *SCALE_TOPS)
"""Reference policies at the ends of the normalised score, which are always inside the vertical axis."""
OTHER_DASHES = (0, (2, 3))
LABEL_POINTS = 8.5
LEGEND_ROW = 0.24
"""Height of a legend row in inches."""
PLAIN_LEGEND: dict[str, Any] = {"frameon": False, "borderpad": 0, "borderaxespad": 0, "labelspacing": 0.3}
CURVES_EXPLAINED = (
    "Line: mean over seeds; band: one sample standard deviation (n\u00a0\u2212\u00a01) to either side, none for a "
    "single seed. Hairline without a band: steps at which not all seeds of that curve were evaluated. Open circle: "
    "the last evaluation of a run that does not count, because it failed or was not evaluated to its end. Evaluations "
    "that are not finite are left out. Larger is better."
)


@dataclass(frozen=True, slots=True)
class Panel:
    """Contents of one panel: several curves, each the mean over the seeds of one series of runs."""

    title: str
    curves: Mapping[str, Curve]
    """Curves by name, which is an algorithm or a setting of one algorithm."""
    references: Mapping[str, float]
    """Mean return of each reference policy."""
    note: str = ""
    """Text in front of the number of seeds."""
    value_label: str = "episode return"
    step_label: str = "environment steps"
    log_steps: bool = False
    """Whether the horizontal axis is logarithmic, which leaves out points at 0."""
    close_up: bool = False
    """Whether the vertical axis is fitted to the curves alone, so that small differences between them are visible."""


def draw_panels(
    panels: Sequence[Panel],
    styles: Mapping[str, AlgorithmStyle] | Sequence[Mapping[str, AlgorithmStyle]],
    columns: int = COLUMNS,
    size: PanelSize | None = None,
) -> Figure:
    """Panels in rows, with their legends; draw and save the figure inside `figure_style()`.

    Args:
        styles: styles of all curves, in drawing order, explained by one legend below all panels; or the styles of each
        panel, which then has a separate legend below it, for which `size` leaves room.
    """
    size = size or (PanelSize() if len(panels) > 1 else SINGLE_PANEL)
    width = min(columns, len(panels)) * (size.left + size.width + size.right)
    shared = styles if isinstance(styles, Mapping) else {}
    shown = [name for name in shared if any(name in panel.curves for panel in panels)]
    notes = note_handles(panels)
    legend_columns, rows = legend_shape(len(shown), width, entry_width=0.98) if shown else (1, 0)
    note_columns, note_rows = legend_shape(len(notes), width, entry_width=2.4)
    figure, axes = panel_grid(len(panels), columns, size, (rows + note_rows) * LEGEND_ROW + 0.12)
    for index, (panel, panel_axes) in enumerate(zip(panels, axes, strict=True)):
        shown_styles = styles if isinstance(styles, Mapping) else styles[index]
        draw_panel(panel_axes, panel, shown_styles, size.height)
        if not isinstance(styles, Mapping):
            _panel_legend(panel_axes, [curve_handle(style) for style in shown_styles.values()], size)
        first = index % columns == 0 or panel.value_label != panels[index - 1].value_label
        if first and any(not curve.empty for curve in panel.curves.values()):
            panel_axes.set_ylabel(panel.value_label)
    height = figure.get_size_inches()[1]
    _legend(
        figure, [curve_handle(shared[name]) for name in shown], legend_columns, (note_rows * LEGEND_ROW + 0.08) / height
    )
    _legend(figure, notes, note_columns, 0.04 / height, size=8.5)
    return figure


def draw_panel(axes: Axes, panel: Panel, styles: Mapping[str, AlgorithmStyle], height: float) -> None:
    """All curves of one panel, `height` inches tall, with its reference policies."""
    axes.set_title(panel.title, loc="left", pad=17, fontweight="bold")
    note = " · ".join(part for part in (panel.note, seeds_text(panel.curves, styles)) if part)
    axes.annotate(note, (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points", size=9, color=MUTED)
    drawn = {name: curve for name, curve in panel.curves.items() if not curve.empty}
    if not drawn:
        words = "no evaluation yet" if panel.curves else "not run"
        axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", color=MUTED)
        axes.set(xticks=[], yticks=[])
        return
    extremes: list[float] = []
    for index, (name, style) in reversed(list(enumerate(styles.items()))):
        if name in drawn:
            means = drawn[name].means
            draw_curve(axes, means, style, offset=index)
            _mark_stopped(axes, drawn[name], style)
            spread = np.nan_to_num(means.std)
            extremes += [float((means.mean - spread).min()), float((means.mean + spread).max())]
    last_step = max(float(curve.means.steps[-1]) for curve in drawn.values())
    if panel.log_steps and last_step > 0:
        steps = np.concatenate([curve.means.steps for curve in drawn.values()])
        axes.set_xscale("log")
        axes.set_xlim(float(steps[steps > 0].min()), 1.05 * last_step)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
        axes.set_xlabel(panel.step_label)
    else:
        format_steps_axis(axes, last_step, panel.step_label)
    ends = () if panel.close_up else SCALE_ENDS
    low, high = value_range([value for value in extremes if math.isfinite(value)], panel.references, ends)
    axes.set_ylim(low, high)
    format_value_axis(axes)
    _draw_references(axes, panel.references, (low, high), height)


def draw_curve(
    axes: Axes,
    curve: SeedMeans,
    style: AlgorithmStyle,
    offset: int = 0,
    band: tuple[ArrayLike, ArrayLike] | None = None,
) -> None:
    """Mean as a line, with a band around it; the line is thin where not all seeds have reached the step.

    Args:
        offset: shift of the markers along the curve, so that those of different algorithms do not overlap.
        band: lower and upper edge at each step; by default one standard deviation to either side.
    """
    complete, steps, mean = curve.complete, curve.steps, curve.mean
    if curve.count.max() > 1:
        edges = (mean - curve.std, mean + curve.std) if band is None else band
        low, high = (np.where(complete, edge, np.nan) for edge in edges)
        axes.fill_between(steps, low, high, color=style.colour, alpha=0.16, linewidth=0, zorder=2)
    if not complete.all():
        axes.plot(steps, mean, color=style.colour, linewidth=0.6, zorder=3)
    every = max(1, len(steps) // 6)
    axes.plot(
        steps,
        np.where(complete, mean, np.nan),
        color=style.colour,
        marker=style.marker,
        markersize=3.4,
        markeredgewidth=0,
        markevery=(offset * every // 7 % every, every),
        zorder=4,
    )


def seeds_text(curves: Mapping[str, Curve], styles: Mapping[str, AlgorithmStyle]) -> str:
    """Number of seeds averaged by each curve of a panel: `5 seeds`, or `5 seeds; IQL 3`; empty without evaluations."""
    counts = {name: curve.seeds for name, curve in curves.items() if not curve.empty}
    if not counts:
        return ""
    usual = max(set(counts.values()), key=lambda count: (list(counts.values()).count(count), count))
    exceptions = [f"{styles[name].label} {count}" for name, count in counts.items() if count != usual]
    text = f"{usual} seed" if usual == 1 else f"{usual} seeds"
    return "; ".join([text, ", ".join(exceptions)]) if exceptions else text


def value_range(
    extremes: Iterable[float], references: Mapping[str, float], ends: Sequence[str] = SCALE_ENDS
) -> tuple[float, float]:
    """Limits of the vertical axis, which include all curves, the references named by `ends`, and others that lie near
    them.

    A reference that would extend the axis by more than half is left outside, and its label says where it is.
    """
    inside = [*extremes, *(references[name] for name in ends if name in references)]
    if not inside:
        return 0.0, 1.0
    low, high = min(inside), max(inside)
    span = (high - low) or abs(high) or 1.0
    near = [value for value in references.values() if low - span / 2 <= value <= high + span / 2]
    low, high = min([low, *near]), max([high, *near])
    margin = 0.05 * ((high - low) or abs(high) or 1.0)
    return low - margin, high + margin


def spread_labels(places: list[float], gap: float, low: float = 0.0, high: float = 1.0) -> list[float]:
    """Sorted label positions moved apart by as little as possible until they are `gap` from each other, within the
    limits."""
    moved = list(places)
    for _ in range(200):
        still = True
        for index in range(len(moved) - 1):
            overlap = gap - (moved[index + 1] - moved[index])
            if overlap > 1e-9:
                moved[index] -= overlap / 2
                moved[index + 1] += overlap / 2
                still = False
        shift = max(0.0, low - moved[0]) - max(0.0, moved[-1] - high) if moved else 0.0
        moved = [place + shift for place in moved]
        if still:
            break
    return moved


def _mark_stopped(axes: Axes, curve: Curve, style: AlgorithmStyle) -> None:
    means = dict(zip(curve.means.steps, curve.means.mean, strict=True))
    for step in curve.stopped:
        axes.plot(
            [step], [means[step]], "o",
            markersize=6.5, color=PAPER, markeredgecolor=style.colour, clip_on=False, zorder=6,
        )  # fmt: skip


def _draw_references(axes: Axes, references: Mapping[str, float], limits: tuple[float, float], height: float) -> None:
    """Draw a horizontal line for each reference policy, named at the right edge."""
    low, high = limits
    ordered = sorted(references.items(), key=lambda item: item[1])
    places = [min(max((value - low) / (high - low), 0.0), 1.0) for _, value in ordered]
    moved = spread_labels(places, gap=LABEL_POINTS * 1.15 / (72 * height))
    for (name, value), place, label_place in zip(ordered, places, moved, strict=True):
        words = name.replace("_", " ")
        if low <= value <= high:
            axes.axhline(
                value, color=MUTED, linewidth=0.9, linestyle=REFERENCE_DASHES.get(name, OTHER_DASHES), zorder=1
            )
            axes.plot(
                [1.0, 1.03], [place, label_place], color=MUTED, linewidth=0.5, transform=axes.transAxes, clip_on=False
            )
        else:
            words += f" {short_number(value)} {'↓' if value < low else '↑'}"
        axes.text(1.04, label_place, words, transform=axes.transAxes, size=LABEL_POINTS, color=MUTED, va="center")


def curve_handle(style: AlgorithmStyle) -> Line2D:
    """Legend entry of a curve."""
    return Line2D([], [], color=style.colour, marker=style.marker, markersize=4.5, markeredgewidth=0, label=style.label)


def note_handles(panels: Sequence[Panel]) -> list[Line2D | Patch]:
    """Legend entries for the band, the thin line and the open circle, each only where a panel has one."""
    curves = [curve for panel in panels for curve in panel.curves.values() if not curve.empty]
    handles: list[Line2D | Patch] = []
    if any((curve.means.count > 1).any() for curve in curves):
        handles.append(Patch(color=GRID, label="± 1 standard deviation over seeds"))
    if any(not curve.means.complete.all() for curve in curves):
        handles.append(Line2D([], [], color=INK, linewidth=0.6, label="fewer than all seeds"))
    if any(curve.stopped for curve in curves):
        handles.append(
            Line2D(
                [], [], linestyle="", marker="o", markersize=6, color=PAPER, markeredgecolor=INK, label="unfinished run"
            )
        )
    if any(panel.references and panel.curves for panel in panels):
        handles.append(Line2D([], [], color=MUTED, linewidth=0.9, linestyle=OTHER_DASHES, label="reference policies"))
    return handles


def _panel_legend(axes: Axes, handles: list[Line2D], size: PanelSize) -> None:
    """Draw the legend of one panel below its horizontal axis."""
    columns, _ = legend_shape(len(handles), size.width, entry_width=0.72 if len(handles) > 2 else 1.2)
    axes.legend(
        handles=row_major(handles, columns),
        loc="upper center",
        bbox_to_anchor=(0.5, -0.52 / size.height),
        ncols=columns,
        fontsize=9,
        handlelength=1.6,
        columnspacing=1.2,
        **PLAIN_LEGEND,
    )


def _legend(
    figure: Figure, handles: list[Line2D] | list[Line2D | Patch], columns: int, bottom: float, size: float = 10
) -> None:
    if handles:
        figure.legend(
            handles=row_major(handles, columns),
            loc="lower center",
            bbox_to_anchor=(0.5, bottom),
            ncols=columns,
            fontsize=size,
            handlelength=1.8,
            columnspacing=1.6,
            **PLAIN_LEGEND,
        )
