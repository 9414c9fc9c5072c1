"""The paper's Figure 7 redrawn: how far the greens of learned signals are from the traffic, with distances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from figures.analysis import Analysis
from figures.analysis.curves import Curve
from figures.analysis.interpretation import (
    HALF_COUNT,
    LAST_PARTS,
    PAPER_TASK,
    Account,
    Traffic,
    local_summaries_of,
    summaries_of,
    widths,
)
from figures.analysis.paper_values import load_paper
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
from figures.tables import ABSENT, Cell, Table, number, plus_minus
from results.checks import algorithm_order
from results.records import Run

COLUMNS = 2
SIZE = PanelSize(width=3.7, height=2.5, left=0.72, right=0.28)
TRAFFIC: dict[Traffic, str] = {"present": "vehicles present", "arrived": "arrivals"}
LOWEST = 1e-3
"""Lower limit of the vertical axis in nats."""


def draw(analysis: Analysis) -> Figure | None:
    """Figure with a panel for each task shown; None where no run has traffic statistics. Use inside
    `figure_style()`."""
    shown = analysis.accounts
    if not shown:
        return None
    styles = algorithm_styles(run.key.algorithm for account in shown for run in account.runs)
    handles: list[Line2D | Patch] = [curve_handle(style) for style in styles.values()]
    handles.append(Line2D([], [], color=MUTED, linewidth=0.9, linestyle="--", label="equal green"))
    if any(run.key.seed != account.runs[0].key.seed for account in shown for run in account.runs):
        handles.append(Patch(color=GRID, label="range over seeds"))
    if any(not run.status.finished for account in shown for run in account.runs):
        handles.append(Line2D([], [], color=INK, linewidth=0.6, label="fewer seeds"))
    panels = [(account, kind) for account in shown for kind in TRAFFIC if account.counts(kind)]
    width = min(COLUMNS, len(panels)) * (SIZE.left + SIZE.width + SIZE.right)
    columns, rows = legend_shape(len(handles), width, entry_width=1.05)
    figure, axes = panel_grid(len(panels), COLUMNS, SIZE, rows * LEGEND_ROW + 0.1)
    for index, ((account, kind), panel) in enumerate(zip(panels, axes, strict=True)):
        _draw_panel(panel, account, kind, styles)
        if index % COLUMNS == 0:
            panel.set_ylabel("KL divergence, nats")
    figure.legend(
        handles=row_major(handles, columns), loc="lower center", ncols=columns, frameon=False, handlelength=1.8
    )
    return figure


def caption(analysis: Analysis) -> str:
    """Caption of the figure."""
    shown = analysis.accounts
    parts = [
        "Kullback\u2013Leibler divergence KL(v \u2016 g) in nats: v are the shares of the movements among the "
        "vehicles on incoming roads, or among the vehicles that arrive there, and g their shares in the greens of the "
        "sampled policy, during training. Lower values mean that green follows traffic more closely. A movement is a "
        "heading of arrival and a turn, over all intersections; right turns, which need no green, are left out. Line: "
        "mean over seeds; band: from the lowest to the highest seed; hairline: not all seeds have reached the step. "
        "Dashed line: equal green for every movement, mean over all runs of the panel. The paper shows the last 69 of "
        "80 parts of a run, 20,000 steps each; here the same part of each run is shown, in the intervals of its log, "
        "merged until each spans at least an episode of all its copies, because traffic builds up during an episode. "
        "Vehicles present are counted at every decision, so that a movement without green fills up and weighs more; "
        "an arrival is counted once. Runs whose logs have no arrivals have one panel. The table also has the "
        "divergences at each intersection.",
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
    rows = [
        row
        for account in analysis.accounts
        for algorithm in algorithm_order({run.key.algorithm for run in account.runs})
        for row in (*_rows(account, algorithm), *_local_rows(account, algorithm))
    ]
    return Table(HEADER, rows, _table_caption(), words=4)


HEADER = (
    "Task",
    "Variant",
    "Algorithm",
    "Vehicles",
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


def _draw_panel(axes: Axes, account: Account, kind: Traffic, styles: dict[str, AlgorithmStyle]) -> None:
    axes.set_title(task_title(account.task, account.variant), loc="left", pad=17, fontweight="bold")
    runs = [run for run in account.runs if account.matches(run, kind)]
    names = dict.fromkeys(run.key.algorithm for run in runs)
    curves = {name: _curve(account, kind, [run for run in runs if run.key.algorithm == name]) for name in names}
    note = f"{TRAFFIC[kind]}; {seeds_text(curves, styles)}; {intervals_text(account)}"
    axes.annotate(note, (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points", size=9, color=MUTED)
    axes.set_yscale("log")
    for index, (name, style) in reversed(list(enumerate(styles.items()))):
        if name in curves:
            means = curves[name].means
            draw_curve(axes, means, style, offset=index, band=(means.lowest, means.highest))
    even = across_seeds([_series(account, kind, run, "even_divergence") for run in runs])
    axes.plot(even.steps, even.mean, color=MUTED, linewidth=0.9, linestyle="--", zorder=3.5)
    values = np.concatenate([*(_series(account, kind, run, "divergence")[1] for run in runs), even.mean])
    low = max(float(values[values > 0].min()) / 1.5, LOWEST) if (values > 0).any() else LOWEST
    axes.set_ylim(low, max(float(values.max()) * 1.5, 2 * low))
    format_steps_axis(axes, float(even.steps[-1]))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=20))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _series(account: Account, kind: Traffic, run: Run, name: str) -> tuple[list[int], list[float]]:
    matches = account.matches(run, kind)
    return [one.end for one in matches], [getattr(one, name) for one in matches]


def _curve(account: Account, kind: Traffic, runs: Sequence[Run]) -> Curve:
    series = [_series(account, kind, run, "divergence") for run in runs]
    return Curve(across_seeds(series), len({run.key.seed for run in runs}))


def intervals_text(account: Account) -> str:
    """Largest number of intervals of a run, and their length: `69 intervals of 20,000 steps`."""
    count = max(len(account.intervals[run.key]) for run in account.runs)
    lengths = widths(one for run in account.runs for one in account.intervals[run.key])
    length = " to ".join(f"{steps:,}" for steps in sorted({lengths[0], lengths[-1]}))
    return f"{count} interval{'s' if count != 1 else ''} of {length} steps"


def _rows(account: Account, algorithm: str) -> Iterator[list[Cell]]:
    """Rows over all intersections together: vehicles present, and arrivals where they were counted."""
    runs = account.counted(algorithm)
    for kind, words in TRAFFIC.items():
        each = [one for run in runs for one in account.matches(run, kind)]
        if not each:
            continue
        row = _first_cells(account, algorithm, words)
        row += [(plus_minus(summary, 4), summary.mean) for summary in summaries_of(account, algorithm, kind)]
        infinite = sum(one.infinite for one in each)
        row.append((f"{infinite} of {len(each)}", infinite / len(each)))
        yield row + _last_cells(account, algorithm)


def _local_rows(account: Account, algorithm: str) -> Iterator[list[Cell]]:
    """Rows of divergences at each intersection, where runs counted them."""
    for kind, words in TRAFFIC.items():
        found = local_summaries_of(account, algorithm, kind)
        if found is None:
            continue
        columns = {
            "KL(vehicles, green)": found.divergence,
            "KL, equal green": found.even_divergence,
            "KL(vehicles, green), last quarter": found.last_divergence,
            "KL, equal green, last quarter": found.last_even_divergence,
        }
        row = _first_cells(account, algorithm, f"{words}, at each intersection")
        for name in HEADER[len(row) : -2]:
            summary = columns.get(name)
            row.append(ABSENT if summary is None else (plus_minus(summary, 4), summary.mean))
        yield row + _last_cells(account, algorithm)


def _first_cells(account: Account, algorithm: str, words: str) -> list[Cell]:
    return [(name, name) for name in (account.task, account.variant, algorithm_label(algorithm), words)]


def _last_cells(account: Account, algorithm: str) -> list[Cell]:
    runs = account.counted(algorithm)
    counts = sorted({len(account.matches(run)) for run in runs})
    intervals: Cell = (" to ".join(map(str, sorted({counts[0], counts[-1]}))), counts[-1])
    return [intervals, (_seeds_text(account, algorithm), len(runs))]


def _seeds_text(account: Account, algorithm: str) -> str:
    """Number of seeds: `3`; `2 (1 unfinished)` when a third does not count yet; `1 unfinished` when no other exists."""
    states = [run.status.finished for run in account.runs if run.key.algorithm == algorithm]
    finished, unfinished = sum(states), len(states) - sum(states)
    if not finished:
        return f"{unfinished} unfinished"
    return f"{finished} ({unfinished} unfinished)" if unfinished else str(finished)


def _table_caption() -> str:
    printed = {entry.better[0]: entry.printed for entry in load_paper() if entry.kind == "distance"}
    words = ", ".join(f"{value} for {algorithm_label(name)}" for name, value in printed.items())
    return (
        "Distance of green from traffic. Distance: Euclidean distance between the shares of movements among the "
        "vehicles and among the greens in each interval, mean over the intervals of a run; then mean \u00b1 sample "
        "standard deviation over finished seeds. Pooled: the distance between the shares over all intervals together. "
        f"The paper prints {words}, on 49 signals after 1,600,000 steps, and does not say which of the two these are. "
        f"KL: Kullback\u2013Leibler divergences in nats, mean over intervals, with {number(HALF_COUNT, 1)} added to "
        "the counts of every movement. Without green: intervals in which a movement had vehicles and no green, so "
        f"that only this addition keeps the divergence finite. Last quarter: mean over the last of {LAST_PARTS} equal "
        "parts of the intervals, which describes the trained policy; the mean over all of them includes earlier "
        "stages of training. Equal green: a policy that gives equal green to every movement, with the traffic of the "
        "same runs. Vehicles are those present at each decision, or arrivals, each counted once on a road; where runs "
        "counted them, divergences are also computed at each intersection from the counts of an episode there, with "
        "the same addition, and are means over intersections and episodes. Right turns are left out, and the shares "
        "of the others add up to one."
    )
