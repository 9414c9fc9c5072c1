"""Learning curves as in the paper's Figures 3 to 5 and 8: mean and standard deviation over seeds, one panel a task."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from figures.scores import GAP_TOPS
from figures.statistics import across_seeds
from figures.style import (
    GRID,
    INK,
    MUTED,
    PAPER,
    AlgorithmStyle,
    PanelSize,
    algorithm_styles,
    family_of,
    family_title,
    format_steps_axis,
    format_value_axis,
    legend_shape,
    panel_grid,
    row_major,
    short_number,
    task_title,
)
from results.checks import group_runs
from results.frames import evaluations_frame
from results.records import POLICIES, Results, Run

COLUMNS = 3
SINGLE_PANEL = PanelSize(width=4.3, height=2.7, right=1.1)
REFERENCE_DASHES = {
    "random": (0, (1, 2)),
    **dict.fromkeys(("stay", "fixed_time"), (0, (4, 2, 1, 2))),
    **dict.fromkeys(GAP_TOPS, (0, (5, 2))),
}
GAP_ENDS = ("random", *GAP_TOPS)
"""The reference policies that bound the gap: they are always inside the vertical axis."""
OTHER_DASHES = (0, (2, 3))
LABEL_POINTS = 8.5
LEGEND_ROW = 0.24
"""Height of one legend row, inches."""


@dataclass(frozen=True, slots=True)
class Panel:
    """What one panel shows: one task in one variant, under one evaluation policy."""

    task: str
    variant: str
    policy: str
    evaluations: pd.DataFrame
    runs: tuple[Run, ...]
    references: dict[str, float]
    """Mean return of each reference policy."""


def panels_of(results: Results, family: str, policy: str) -> list[Panel]:
    """The panels of one family of tasks, tasks in natural order, the default variant of each first."""
    members = tuple(run for run in results.runs if family_of(run.cell.task) == family)
    frame = evaluations_frame(Results(members))
    panels = []
    for task, variant in group_runs(Results(members)):
        own = frame[(frame["task"] == task) & (frame["variant"] == variant) & (frame["policy"] == policy)]
        runs = tuple(run for run in members if (run.cell.task, run.cell.variant) == (task, variant))
        references = results.references.get(task)
        means = {name: float(np.mean(own)) for name, own in references.returns.items()} if references else {}
        panels.append(Panel(task, variant, policy, own, runs, means))
    return panels


def draw_learning_curves(results: Results, family: str, policy: str) -> Figure:
    """One figure of all tasks of ``family``; draw and save it inside ``figure_style()``."""
    if policy not in POLICIES:
        raise ValueError(f"policy is {policy!r}, expected one of {', '.join(POLICIES)}")
    panels = panels_of(results, family, policy)
    styles = algorithm_styles(run.cell.algorithm for run in results.runs)
    size = PanelSize() if len(panels) > 1 else SINGLE_PANEL
    width = min(COLUMNS, len(panels)) * (size.left + size.width + size.right)
    shown = [name for name in styles if any(name == run.cell.algorithm for panel in panels for run in panel.runs)]
    notes = _note_handles(panels)
    columns, rows = legend_shape(len(shown), width, entry_width=0.98)
    note_columns, note_rows = legend_shape(len(notes), width, entry_width=2.4)
    legend_height = (rows + note_rows) * LEGEND_ROW + 0.12
    figure, axes = panel_grid(len(panels), COLUMNS, size, legend_height)
    for index, (panel, own_axes) in enumerate(zip(panels, axes, strict=True)):
        draw_panel(own_axes, panel, styles, size.height)
        if index % COLUMNS == 0:
            own_axes.set_ylabel("episode return")
    height = figure.get_size_inches()[1]
    handles = [_curve_handle(styles[name]) for name in shown]
    _legend(figure, handles, columns, (note_rows * LEGEND_ROW + 0.08) / height)
    _legend(figure, notes, note_columns, 0.04 / height, size=8.5)
    return figure


def draw_panel(axes: Axes, panel: Panel, styles: dict[str, AlgorithmStyle], height: float) -> None:
    """All algorithms of one panel, ``height`` inches tall, with its reference policies."""
    axes.set_title(task_title(panel.task, panel.variant), loc="left", pad=17, fontweight="bold")
    seeds = seeds_text(panel, styles)
    axes.annotate(seeds, (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points", size=9, color=MUTED)
    if panel.evaluations.empty:
        axes.text(0.5, 0.5, f"no {panel.policy} evaluation yet", transform=axes.transAxes, ha="center", color=MUTED)
        axes.set(xticks=[], yticks=[])
        return
    extremes = []
    for index, (name, style) in reversed(list(enumerate(styles.items()))):
        own = panel.evaluations[panel.evaluations["algorithm"] == name]
        if not own.empty:
            curve = across_seeds(own.rename(columns={"return_mean": "value"})[["seed", "step", "value"]])
            draw_curve(axes, curve, style, offset=index)
            _mark_unfinished(
                axes, curve, style, [run for run in panel.runs if run.cell.algorithm == name], panel.policy
            )
            spread = curve["std"].fillna(0.0)
            extremes += [(curve["mean"] - spread).min(), (curve["mean"] + spread).max()]
    format_steps_axis(axes, float(panel.evaluations["step"].max()))
    low, high = value_range([value for value in extremes if math.isfinite(value)], panel.references)
    axes.set_ylim(low, high)
    format_value_axis(axes)
    _draw_references(axes, panel.references, (low, high), height)


def draw_curve(axes: Axes, curve: pd.DataFrame, style: AlgorithmStyle, offset: int = 0) -> None:
    """Mean as a line, one standard deviation as a band; a hairline where fewer than all seeds have come that far.

    Args:
        curve: columns step, mean, std, count, as returned by ``across_seeds``.
        offset: shifts the markers along the curve, so that those of different algorithms do not cover each other.
    """
    complete = curve["count"] == curve["count"].max()
    steps, mean = curve["step"].to_numpy(), curve["mean"].to_numpy()
    if curve["count"].max() > 1:
        std = curve["std"].where(complete).to_numpy()
        axes.fill_between(steps, mean - std, mean + std, color=style.colour, alpha=0.16, linewidth=0, zorder=2)
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


def seeds_text(panel: Panel, styles: dict[str, AlgorithmStyle]) -> str:
    """How many seeds each curve of a panel averages: ``5 seeds``, or ``5 seeds; IQL 3``."""
    counts = panel.evaluations.groupby("algorithm")["seed"].nunique()
    if counts.empty:
        return ""
    usual = int(counts.mode().max())
    exceptions = [f"{style.label} {counts[name]}" for name, style in styles.items() if counts.get(name, usual) != usual]
    text = f"{usual} seed" if usual == 1 else f"{usual} seeds"
    return "; ".join([text, ", ".join(exceptions)]) if exceptions else text


def value_range(extremes: Iterable[float], references: dict[str, float]) -> tuple[float, float]:
    """Limits of the vertical axis: all curves and both ends of the gap, and other references that lie near them.

    A reference that would stretch the axis by more than half is left outside; its label then says where it is.
    """
    inside = [*extremes, *(references[name] for name in GAP_ENDS if name in references)]
    if not inside:
        return 0.0, 1.0
    low, high = min(inside), max(inside)
    span = (high - low) or abs(high) or 1.0
    near = [value for value in references.values() if low - span / 2 <= value <= high + span / 2]
    low, high = min([low, *near]), max([high, *near])
    margin = 0.05 * ((high - low) or abs(high) or 1.0)
    return low - margin, high + margin


def spread_labels(places: list[float], gap: float, low: float = 0.0, high: float = 1.0) -> list[float]:
    """Move sorted label places apart until they are ``gap`` from each other, as little as needed, within the ends."""
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


def curves_caption(family: str, policy: str) -> str:
    """What the reader of a figure of learning curves must know, in whole sentences."""
    actions = "the most probable action of each agent" if policy == "greedy" else "actions drawn from the policy"
    return (
        f"{family_title(family)} tasks, evaluated with {actions}. Line: mean over seeds; band: one sample standard "
        "deviation (n\u00a0\u2212\u00a01) to either side, none for a single seed. Hairline without a band: steps that "
        "fewer than all seeds of that curve were evaluated at. Open circle: the last evaluation of an unfinished or "
        "failed run. Larger is better."
    )


def _mark_unfinished(axes: Axes, curve: pd.DataFrame, style: AlgorithmStyle, runs: list[Run], policy: str) -> None:
    means = curve.set_index("step")["mean"]
    for run in runs:
        steps = [evaluation.step for evaluation in run.evaluations if evaluation.policy == policy]
        if steps and not run.status.finished:
            last = max(steps)
            axes.plot(
                [last],
                [means[last]],
                "o",
                markersize=6.5,
                color=PAPER,
                markeredgecolor=style.colour,
                clip_on=False,
                zorder=6,
            )


def _draw_references(axes: Axes, references: dict[str, float], limits: tuple[float, float], height: float) -> None:
    """A horizontal line for each reference policy, named at the right edge."""
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


def _curve_handle(style: AlgorithmStyle) -> Line2D:
    return Line2D([], [], color=style.colour, marker=style.marker, markersize=4.5, markeredgewidth=0, label=style.label)


def _note_handles(panels: list[Panel]) -> list[Line2D | Patch]:
    """Legend entries for the band, the hairline and the open circle, each only where a panel has one."""
    runs = [run for panel in panels for run in panel.runs if run.evaluations]
    counts = [
        panel.evaluations.groupby(["algorithm", "step"])["seed"].nunique().groupby("algorithm")
        for panel in panels
        if not panel.evaluations.empty
    ]
    handles: list[Line2D | Patch] = []
    if any((own.max() > 1).any() for own in counts):
        handles.append(Patch(color=GRID, label="± 1 standard deviation over seeds"))
    if any((own.max() != own.min()).any() for own in counts):
        handles.append(Line2D([], [], color=INK, linewidth=0.6, label="fewer than all seeds"))
    if any(not run.status.finished for run in runs):
        handles.append(
            Line2D(
                [], [], linestyle="", marker="o", markersize=6, color=PAPER, markeredgecolor=INK, label="unfinished run"
            )
        )
    if any(panel.references for panel in panels):
        handles.append(Line2D([], [], color=MUTED, linewidth=0.9, linestyle=OTHER_DASHES, label="reference policies"))
    return handles


def _legend(
    figure: Figure, handles: list[Line2D] | list[Line2D | Patch], columns: int, bottom: float, size: float = 10
) -> None:
    if handles:
        figure.legend(
            handles=row_major(handles, columns),
            loc="lower center",
            bbox_to_anchor=(0.5, bottom),
            ncols=columns,
            frameon=False,
            fontsize=size,
            borderpad=0,
            borderaxespad=0,
            handlelength=1.8,
            columnspacing=1.6,
            labelspacing=0.3,
        )
