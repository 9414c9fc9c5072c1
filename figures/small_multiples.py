"""What happened inside the runs of one task: a small chart for each logged metric, drawn straight into the page.

A report has hundreds of these charts. They are plain SVG with the page's own letters: no file, and milliseconds each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from figures.style import GRID, AlgorithmStyle, short_number
from figures.vector import join_numbers
from results.records import Run

Values = NDArray[np.float64]
Series = dict[str, dict[str, dict[int, tuple[list[int], list[float]]]]]
"""Metric, then algorithm, then seed, to the steps and the values logged; only finite ones below `LARGEST` in size."""
BINS = 50
LARGEST = 1e100
"""Values beyond this size are not drawn: their squares would overflow."""
COUNTERS = frozenset({"update", "timing/wall_seconds"})
"""Logged values that only count upwards: they are kept in the data and not drawn."""
UNDRAWN = ("timing/seconds/", "interpretation/")
FIRST = ("train/return", "policy/entropy", "timing/env_steps_per_second")
NAMES = {"timing/env_steps_per_second": "environment steps per second"}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 900, 480, 160, 24, 28, 68
"""Size of a chart and room around its axes, in units of its view box, about a quarter of a pixel each."""


@dataclass(frozen=True, slots=True)
class BinnedCurve:
    """Mean over seeds in equal bins of steps, at the end of each bin; only bins in which a seed logged something."""

    steps: Values
    mean: Values
    std: Values
    """Sample standard deviation; NaN for a single seed."""
    complete: NDArray[np.bool_]
    """Whether as many seeds are in the bin as in the fullest one."""


def small_multiples(runs: Sequence[Run], styles: Mapping[str, AlgorithmStyle]) -> str | None:
    """A legend and one chart a metric, as HTML; None when the runs logged nothing.

    Args:
        styles: of the algorithms of these runs, in drawing order.
    """
    series = diagnostic_series(runs)
    if not series:
        return None
    present = {name for own in series.values() for name in own}
    last_step = max(max(steps) for own in series.values() for seeds in own.values() for steps, _ in seeds.values())
    legend = "".join(_legend_entry(style) for name, style in styles.items() if name in present)
    charts = "".join(_chart(name, series[name], styles, float(last_step)) for name in metric_order(set(series)))
    return f'<ul class="legend drawing">{legend}</ul>\n<div class="multiples drawing">{charts}</div>'


def diagnostic_series(runs: Sequence[Run]) -> Series:
    """Everything the runs logged besides counters, seconds of stages and the account of what agents did, and the
    scores of the greedy evaluation as ``evaluation/<name>``."""
    series: Series = defaultdict(lambda: defaultdict(lambda: defaultdict(lambda: ([], []))))
    for run in runs:
        own = [(row.step, row.values) for row in run.metrics]
        own += [
            (found.step, {f"evaluation/{name}": value for name, value in found.scores.items()})
            for found in run.evaluations
            if found.policy == "greedy"
        ]
        for step, values in own:
            for name, value in values.items():
                if abs(value) < LARGEST and name not in COUNTERS and not name.startswith(UNDRAWN):
                    steps, logged = series[name][run.key.algorithm][run.key.seed]
                    steps.append(step)
                    logged.append(value)
    return series


def metric_order(names: set[str]) -> list[str]:
    """Training return, entropy and throughput first, then every other metric by name."""
    return [name for name in FIRST if name in names] + sorted(names - set(FIRST))


def binned_curve(seeds: Sequence[tuple[Sequence[int], Sequence[float]]], bin_width: float) -> BinnedCurve:
    """Values averaged within each seed and bin of ``bin_width`` steps (the first bin has step 0, too), then over seeds.

    Args:
        seeds: steps and values of each seed, at least one of each.
    """
    if bin_width <= 0:
        bin_width = 1.0
    places = [np.maximum(np.ceil(np.asarray(steps) / bin_width), 1).astype(int) for steps, _ in seeds]
    length = max(int(own.max()) for own in places) + 1
    counts = np.array([np.bincount(own, minlength=length) for own in places])
    sums = np.array(
        [np.bincount(own, values, minlength=length) for own, (_, values) in zip(places, seeds, strict=True)]
    )
    present = counts > 0
    filled = present.any(axis=0)
    means = np.where(present, sums / np.maximum(counts, 1), 0.0)[:, filled]
    present = present[:, filled]
    number = present.sum(axis=0)
    mean: Values = means.sum(axis=0) / number
    squares = (np.where(present, means - mean, 0.0) ** 2).sum(axis=0)
    std: Values = np.where(number > 1, np.sqrt(squares / np.maximum(number - 1, 1)), np.nan)
    return BinnedCurve(np.flatnonzero(filled).astype(np.float64) * bin_width, mean, std, number == number.max())


def _legend_entry(style: AlgorithmStyle) -> str:
    line = f'<svg viewBox="0 0 20 8" aria-hidden="true"><path d="M0 4h20" stroke="{style.colour}"/></svg>'
    return f"<li>{line}{escape(style.label)}</li>"


def _chart(
    name: str,
    algorithms: Mapping[str, Mapping[int, tuple[list[int], list[float]]]],
    styles: Mapping[str, AlgorithmStyle],
    last_step: float,
) -> str:
    curves = {
        own: binned_curve(list(algorithms[own].values()), last_step / BINS) for own in styles if own in algorithms
    }
    frame = _frame(list(curves.values()), last_step)
    ticks = "".join(_tick(frame, tick) for tick in frame.ticks)
    ends = "".join(
        f'<text x="{x}" y="{HEIGHT - 12}" text-anchor="{anchor}">{short_number(step)}</text>'
        for x, anchor, step in ((LEFT, "middle", 0.0), (WIDTH - RIGHT, "end", last_step))
    )
    drawn = "".join(_curve(curve, styles[own], frame) for own, curve in reversed(curves.items()))
    title = escape(NAMES.get(name, name.replace("_", " ")))
    return (
        f'<figure><figcaption>{title}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{title}">{ticks}{ends}{drawn}</svg></figure>'
    )


@dataclass(frozen=True, slots=True)
class Frame:
    """Where steps and values lie in a chart."""

    last_step: float
    low: float
    high: float
    ticks: list[float]

    def across(self, steps: Values) -> NDArray[np.int64]:
        """Steps in units of the view box, from the left."""
        places = LEFT + steps * ((WIDTH - LEFT - RIGHT) / (self.last_step or 1.0))
        return np.rint(places).astype(np.int64)

    def down(self, values: Values) -> NDArray[np.int64]:
        """Values in units of the view box, from the top."""
        share = (values - self.low) / (self.high - self.low)
        return np.rint(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)).astype(np.int64)


def _frame(curves: Sequence[BinnedCurve], last_step: float) -> Frame:
    """Axes that hold every mean and every band."""
    ends = [own.mean + sign * np.where(own.complete, np.nan_to_num(own.std), 0.0) for own in curves for sign in (-1, 1)]
    low, high = min(float(own.min()) for own in ends), max(float(own.max()) for own in ends)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = 0.5 * abs(high) or 0.5
        low, high = low - margin, high + margin
    ticks = [float(tick) for tick in MaxNLocator(3, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)]
    inside = [tick for tick in ticks if low <= tick <= high]
    if len(inside) < 2:
        inside, low, high = ticks, min(low, ticks[0]), max(high, ticks[-1])
    return Frame(last_step, low, high, inside)


def _tick(frame: Frame, tick: float) -> str:
    height = int(frame.down(np.array([tick]))[0])
    return (
        f'<path d="M{LEFT} {height}H{WIDTH - RIGHT}" stroke="{GRID}"/>'
        f'<text x="{LEFT - 16}" y="{height + 12}" text-anchor="end">{short_number(tick)}</text>'
    )


def _curve(curve: BinnedCurve, style: AlgorithmStyle, frame: Frame) -> str:
    """Band and line where every seed is present, a hairline under both; a dot where a line would have one point."""
    across, down = frame.across(curve.steps), frame.down(curve.mean)
    parts = []
    banded = curve.complete & np.isfinite(curve.std)
    for own in _segments(banded):
        upper, lower = frame.down((curve.mean + curve.std)[own]), frame.down((curve.mean - curve.std)[own])
        outline = _line(np.concatenate([across[own], across[own][::-1]]), np.concatenate([upper, lower[::-1]]))
        parts.append(f'<path class="band" d="{outline}z"/>')
    if not curve.complete.all():
        parts.append(f'<path class="thin" d="{_line(across, down)}"/>')
    lines = "".join(_line(across[own], down[own]) for own in _segments(curve.complete))
    parts.append(f'<path d="{lines}"/>')
    return f'<g fill="{style.colour}" stroke="{style.colour}"><title>{escape(style.label)}</title>{"".join(parts)}</g>'


def _segments(mask: NDArray[np.bool_]) -> list[slice]:
    """Where the mask is true without a break."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return [slice(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _line(across: NDArray[np.int64], down: NDArray[np.int64]) -> str:
    """A path through the points; a single one becomes a line of no length, which round ends show as a dot."""
    x, y = across.tolist(), down.tolist()
    steps = join_numbers([move for pair in zip(np.diff(x).tolist(), np.diff(y).tolist(), strict=True) for move in pair])
    return f"M{x[0]} {y[0]}l{steps or '0 0'}"


CAPTION = (
    f"Means of each seed within {BINS} equal bins of environment steps; line: mean over seeds, band: one sample "
    "standard deviation, hairline: fewer than all seeds have come that far. evaluation/ is the greedy policy. Values "
    f"that are not finite are left out here and listed under the issues; any beyond {LARGEST:g} are left out, too."
)
