"""What happened inside the runs: losses, policy entropy, throughput, training return, other evaluation scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures.curves import draw_curve
from figures.statistics import across_seeds
from figures.style import PanelSize, algorithm_styles, format_steps_axis, format_value_axis, panel_grid
from results.frames import evaluations_frame, metrics_frame
from results.records import Results

COLUMNS = 4
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
    metrics = metrics[~metrics["name"].isin(COUNTERS) & ~metrics["name"].str.startswith("timing/seconds/")]
    evaluations = evaluations_frame(own)
    scores = [name for name in evaluations.columns if name.startswith("score/")]
    greedy = evaluations[evaluations["policy"] == "greedy"].melt(
        ["task", "algorithm", "variant", "seed", "step"], scores, var_name="name", value_name="value"
    )
    greedy["name"] = "evaluation/" + greedy["name"].str.removeprefix("score/")
    parts = [part for part in (metrics, greedy.dropna(subset="value")) if not part.empty]
    return pd.concat(parts or [metrics])[["algorithm", "seed", "step", "name", "value"]]


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
    figure, axes = panel_grid(len(names), COLUMNS, SIZE, legend_height=0.34)
    last_step = float(frame["step"].max())
    for name, own_axes in zip(names, axes, strict=True):
        own_axes.set_title(NAMES.get(name, name.replace("_", " ")), loc="left", fontsize=10)
        for index, (algorithm, style) in reversed(list(enumerate(styles.items()))):
            own = frame[(frame["name"] == name) & (frame["algorithm"] == algorithm)]
            finite = own[np.isfinite(own["value"])]
            if not finite.empty:
                draw_curve(own_axes, across_seeds(finite[["seed", "step", "value"]]), style, offset=index)
        format_steps_axis(own_axes, last_step)
        format_value_axis(own_axes)
    present = [style for name, style in styles.items() if name in set(frame["algorithm"])]
    handles = [Line2D([], [], color=s.colour, marker=s.marker, markeredgewidth=0, label=s.label) for s in present]
    columns = max(1, min(len(handles), int(figure.get_size_inches()[0] / 0.98)))
    figure.legend(handles=handles, loc="lower center", ncols=columns, frameon=False, handlelength=1.8)
    return figure


DIAGNOSTICS_CAPTION = (
    "Mean over seeds and one sample standard deviation, as in the learning curves, at the steps all seeds logged; a "
    "hairline where fewer did. Each run keeps at most 200 logged rows, the last of each bin of steps. Values that "
    "are not finite are left out here and listed under the issues."
)
