"""What happened inside the runs: losses, policy entropy, throughput, training return, other evaluation scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures.panels import draw_curve
from figures.statistics import across_seeds
from figures.style import (
    PanelSize,
    algorithm_styles,
    format_steps_axis,
    format_value_axis,
    legend_shape,
    panel_grid,
    row_major,
)
from results.frames import evaluations_frame, metrics_frame
from results.records import Results

COLUMNS = 4
BINS = 50
SIZE = PanelSize(width=1.95, height=1.35, left=0.58, right=0.14, top=0.4, bottom=0.46)
COUNTERS = frozenset({"update", "timing/wall_seconds"})
"""Logged values that only count upwards: they are kept in the data and not drawn."""
FIRST = ("train/return", "policy/entropy", "timing/env_steps_per_second")
NAMES = {"timing/env_steps_per_second": "environment steps per second"}


def diagnostics_frame(results: Results, task: str, variant: str) -> pd.DataFrame:
    """Every diagnostic of one task and variant: columns algorithm, seed, step, name, value.

    Scores of the greedy evaluation appear as ``evaluation/<name>``; counters and the seconds of each stage do not.
    """
    own = Results(tuple(run for run in results.runs if (run.cell.task, run.cell.variant) == (task, variant)))
    metrics = metrics_frame(own)
    undrawn = metrics["name"].str.startswith(("timing/seconds/", "interpretation/"))
    metrics = metrics[~metrics["name"].isin(COUNTERS) & ~undrawn]
    evaluations = evaluations_frame(own)
    scores = [name for name in evaluations.columns if name.startswith("score/")]
    greedy = evaluations[evaluations["policy"] == "greedy"].melt(
        ["task", "algorithm", "variant", "seed", "step"], scores, var_name="name", value_name="value"
    )
    greedy["name"] = "evaluation/" + greedy["name"].str.removeprefix("score/")
    parts = [part for part in (metrics, greedy.dropna(subset="value")) if not part.empty]
    return pd.concat(parts or [metrics])[["algorithm", "seed", "step", "name", "value"]]


def in_bins(values: pd.DataFrame, bin_width: float) -> pd.DataFrame:
    """Mean of each seed within each ``bin_width`` steps, at the end of the bin: columns seed, step, value."""
    ends = np.ceil(values["step"] / bin_width).clip(lower=1) * bin_width if bin_width > 0 else values["step"]
    return values.assign(step=ends).groupby(["seed", "step"])["value"].mean().reset_index()


def metric_order(names: set[str]) -> list[str]:
    """Training return, entropy and throughput first, then every other metric by name."""
    return [name for name in FIRST if name in names] + sorted(names - set(FIRST))


def draw_diagnostics(results: Results, task: str, variant: str) -> Figure | None:
    """Small multiples, one panel a metric; None when the runs logged nothing. Use inside ``figure_style()``."""
    frame = diagnostics_frame(results, task, variant)
    names = metric_order(set(frame["name"]))
    if not names:
        return None
    styles = algorithm_styles(run.cell.algorithm for run in results.runs)
    present = [style for name, style in styles.items() if name in set(frame["algorithm"])]
    width = min(COLUMNS, len(names)) * (SIZE.left + SIZE.width + SIZE.right)
    legend = legend_shape(len(present), width, entry_width=0.98)
    figure, axes = panel_grid(len(names), COLUMNS, SIZE, legend_height=0.24 * legend[1] + 0.1)
    last_step = float(frame["step"].max())
    for name, own_axes in zip(names, axes, strict=True):
        own_axes.set_title(NAMES.get(name, name.replace("_", " ")), loc="left", fontsize=10)
        for index, (algorithm, style) in reversed(list(enumerate(styles.items()))):
            own = frame[(frame["name"] == name) & (frame["algorithm"] == algorithm)]
            finite = own[np.isfinite(own["value"])]
            if not finite.empty:
                draw_curve(own_axes, across_seeds(in_bins(finite, last_step / BINS)), style, offset=index)
        format_steps_axis(own_axes, last_step)
        format_value_axis(own_axes)
    handles = [Line2D([], [], color=s.colour, marker=s.marker, markeredgewidth=0, label=s.label) for s in present]
    figure.legend(
        handles=row_major(handles, legend[0]), loc="lower center", ncols=legend[0], frameon=False, handlelength=1.8
    )
    return figure


DIAGNOSTICS_CAPTION = (
    f"The values of each seed are averaged within {BINS} equal bins of environment steps; the line is the mean over "
    "seeds, the band one sample standard deviation, a hairline where fewer than all seeds have come that far. "
    "evaluation/ is the greedy policy. Values that are not finite are left out here and listed under the issues."
)
