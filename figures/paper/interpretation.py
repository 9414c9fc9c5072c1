"""Redraws the paper's Figure 7: how far the greens of learned signals are from the traffic, with its distances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from figures.analysis import Analysis
from figures.analysis.claims import load_paper
from figures.analysis.curves import Curve
from figures.analysis.interpretation import HALF_COUNT, LAST_PARTS, PAPER_TASK, Account, summaries_of, widths
from figures.analysis.selection import PAPER_VARIANT
from figures.analysis.statistics import across_seeds
from figures.names import algorithm_label, task_title
from figures.panels import LEGEND_ROW, curve_handle, draw_curve, seeds_text
from figures.style import (
    GRID,
    INK,
    MUTED,
    AlgorithmStyle,
    PanelSize,
    algorithm_styles,
    format_steps_axis,
    legend_shape,
    panel_grid,
    row_major,
)
from figures.tables import Cell, Table, number, plus_minus
from results.checks import algorithm_order
from results.records import Run

COLUMNS = 2
SIZE = PanelSize(width=3.7, height=2.5, left=0.72, right=0.28)
LOWEST = 1e-3
"""Nats at which the vertical axis ends at the latest."""


def draw(analysis: Analysis) -> Figure | None:
    """One panel for each task that is shown; None where no run kept account. Use inside ``figure_style()``."""
    shown = analysis.accounts
    if not shown:
        return None
    styles = algorithm_styles(run.key.algorithm for account in shown for run in account.runs)
    handles: list[Line2D | Patch] = [curve_handle(style) for style in styles.values()]
    handles.append(Line2D([], [], color=MUTED, linewidth=0.9, linestyle="--", label="equal green"))
    if any(run.key.seed != account.runs[0].key.seed for account in shown for run in account.runs):
        handles.append(Patch(color=GRID, label="± 1 std"))
    if any(not run.status.finished for account in shown for run in account.runs):
        handles.append(Line2D([], [], color=INK, linewidth=0.6, label="fewer seeds"))
    width = min(COLUMNS, len(shown)) * (SIZE.left + SIZE.width + SIZE.right)
    columns, rows = legend_shape(len(handles), width, entry_width=1.05)
    figure, axes = panel_grid(len(shown), COLUMNS, SIZE, rows * LEGEND_ROW + 0.1)
    for index, (account, own_axes) in enumerate(zip(shown, axes, strict=True)):
        _draw_panel(own_axes, account, styles)
        if index % COLUMNS == 0:
            own_axes.set_ylabel("KL divergence, nats")
    figure.legend(
        handles=row_major(handles, columns), loc="lower center", ncols=columns, frameon=False, handlelength=1.8
    )
    return figure


def caption(analysis: Analysis) -> str:
    """What the reader must know, in whole sentences."""
    shown = analysis.accounts
    parts = [
        "Kullback\u2013Leibler divergence KL(v \u2016 g) in nats: v are the shares of the movements in the vehicles on "
        "incoming roads, g their shares in the greens that the sampled policy gave, during training. The lower, the "
        "better green follows traffic. A movement is a heading of arrival and a turn, over all intersections; right "
        "turns, which need no green, are left out. Line: mean over seeds; band: one sample standard deviation to "
        "either side; hairline: fewer than all seeds have come that far. Broken line: as much green for every "
        "movement, mean over all runs of the panel. The paper shows the last 69 of 80 parts of a run, 20,000 steps "
        "each; here the same part of each run, in the intervals that its rows of the log allow, but none shorter than "
        "an episode of all its copies, because traffic builds up during an episode. Where a deviation is "
        "larger than its mean, the band goes on below the axis. Vehicles are those present, so a movement that gets no "
        "green fills up and counts for more; arrivals, and shares at each intersection, are in no log, so that a "
        "divergence of either cannot be shown.",
    ]
    other = [
        f"{task_title(account.task)}: variant {account.variant}"
        for account in shown
        if account.variant != PAPER_VARIANT
    ]
    if other:
        parts.append(f"Not the paper's settings, but those of smaller runs. {'; '.join(other)}.")
    if shown and shown[0].task != PAPER_TASK:
        parts.append(f"The paper's task, {task_title(PAPER_TASK)}, was not run.")
    return " ".join(parts)


def table(analysis: Analysis) -> Table:
    """Distances and divergences: mean over intervals, then mean and deviation over seeds."""
    rows = []
    for account in analysis.accounts:
        for algorithm in algorithm_order({run.key.algorithm for run in account.runs}):
            rows.append(_row(account, algorithm))
    return Table(HEADER, rows, _table_caption(), words=3)


HEADER = (
    "Task",
    "Variant",
    "Algorithm",
    "Distance",
    "Distance, pooled",
    "Distance, equal green",
    "KL(vehicles, green)",
    "KL(green, vehicles)",
    "KL, equal green",
    "Distance, last quarter",
    "KL(vehicles, green), last quarter",
    "KL, equal green, last quarter",
    "Without green",
    "Intervals",
    "Seeds",
)


def _draw_panel(axes: Axes, account: Account, styles: dict[str, AlgorithmStyle]) -> None:
    axes.set_title(task_title(account.task, account.variant), loc="left", pad=17, fontweight="bold")
    present = dict.fromkeys(run.key.algorithm for run in account.runs)
    curves = {name: _curve(account, [run for run in account.runs if run.key.algorithm == name]) for name in present}
    note = f"{seeds_text(curves, styles)}; {intervals_text(account)}"
    axes.annotate(note, (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points", size=9, color=MUTED)
    axes.set_yscale("log")
    for index, (name, style) in reversed(list(enumerate(styles.items()))):
        if name in curves:
            draw_curve(axes, curves[name].means, style, offset=index)
    even = across_seeds([_series(account, run, "even_divergence") for run in account.runs])
    axes.plot(even.steps, even.mean, color=MUTED, linewidth=0.9, linestyle="--", zorder=3.5)
    values = np.concatenate([*(_series(account, run, "divergence")[1] for run in account.runs), even.mean])
    low = max(float(values[values > 0].min()) / 1.5, LOWEST) if (values > 0).any() else LOWEST
    axes.set_ylim(low, max(float(values.max()) * 1.5, 2 * low))
    format_steps_axis(axes, float(even.steps[-1]))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=20))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _series(account: Account, run: Run, name: str) -> tuple[list[int], list[float]]:
    matches = account.matches(run)
    return [one.end for one in matches], [getattr(one, name) for one in matches]


def _curve(account: Account, runs: Sequence[Run]) -> Curve:
    return Curve(
        across_seeds([_series(account, run, "divergence") for run in runs]), len({run.key.seed for run in runs})
    )


def intervals_text(account: Account) -> str:
    """``69 intervals of 20,000 steps``: how many a run has at most, and how long they are."""
    count = max(len(account.intervals[run.key]) for run in account.runs)
    lengths = widths(one for run in account.runs for one in account.intervals[run.key])
    length = " to ".join(f"{steps:,}" for steps in sorted({lengths[0], lengths[-1]}))
    return f"{count} interval{'s' if count != 1 else ''} of {length} steps"


def _row(account: Account, algorithm: str) -> list[Cell]:
    runs = account.counted(algorithm)
    each = [one for run in runs for one in account.matches(run)]
    row: list[Cell] = [(name, name) for name in (account.task, account.variant, algorithm_label(algorithm))]
    row += [(plus_minus(summary, 4), summary.mean) for summary in summaries_of(account, algorithm)]
    infinite = sum(one.infinite for one in each)
    row.append((f"{infinite} of {len(each)}", infinite / len(each)))
    counts = sorted({len(account.matches(run)) for run in runs})
    row.append((" to ".join(map(str, sorted({counts[0], counts[-1]}))), counts[-1]))
    row.append((_seeds_text(account, algorithm), len(runs)))
    return row


def _seeds_text(account: Account, algorithm: str) -> str:
    """``3``; ``2 (1 unfinished)`` when a third does not count yet; ``1 unfinished`` when there are only such."""
    states = [run.status.finished for run in account.runs if run.key.algorithm == algorithm]
    finished, unfinished = sum(states), len(states) - sum(states)
    if not finished:
        return f"{unfinished} unfinished"
    return f"{finished} ({unfinished} unfinished)" if unfinished else str(finished)


def _table_caption() -> str:
    printed = {entry.better[0]: entry.printed for entry in load_paper() if entry.kind == "distance"}
    words = ", ".join(f"{value} for {algorithm_label(name)}" for name, value in printed.items())
    return (
        "How far green is from traffic. Distance: Euclidean distance between the shares of movements in the vehicles "
        "and in the greens, of each interval, mean over the intervals of a run; then mean \u00b1 sample standard "
        "deviation over finished seeds. Pooled: the distance between the shares over all intervals together. The "
        f"paper prints {words}, on 49 signals after 1,600,000 steps, and does not say which of the two these are. KL: "
        f"Kullback\u2013Leibler divergences in nats, mean over intervals, with {number(HALF_COUNT, 1)} added to the "
        "counts of every movement. Without green: intervals in which a movement had vehicles and no green, so that "
        f"only this addition keeps the divergence finite. Last quarter: mean over the last of {LAST_PARTS} equal "
        "parts of the intervals, what the trained policy does; the mean over all of them includes what it did before. "
        "Equal green: as much green for every movement, with the traffic of the same runs; a policy that looks at "
        "nothing. Right turns are left out, and the shares of the others add up to one."
    )
