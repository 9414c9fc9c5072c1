"""Data of a small chart for each logged metric of the runs of one task.

A report has hundreds of these charts. The page draws them with uPlot when their block is unfolded; here values are
averaged in equal bins of steps and written as JSON.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from figures.style import AlgorithmStyle
from results.records import Run

Values = NDArray[np.float64]
Points = tuple[Values, Values]
"""Steps and values."""
Series = dict[str, dict[str, dict[int, list[Points]]]]
"""Metric -> algorithm -> seed -> parts of the logged values; only finite values below `LARGEST` in size."""
BINS = 50
LARGEST = 1e100
"""Values beyond this size are not drawn, because their squares would overflow."""
DIGITS = 4
"""Significant digits of a value in a chart."""
COUNTERS = frozenset({"update", "timing/wall_seconds"})
"""Logged values that only increase; they are kept in the data and not drawn."""
UNDRAWN = ("timing/seconds/", "interpretation/")
FIRST = ("train/return", "policy/entropy", "timing/env_steps_per_second")
NAMES = {"timing/env_steps_per_second": "environment steps per second"}


@dataclass(frozen=True, slots=True)
class BinnedCurve:
    """Mean over seeds in equal bins of steps, at the end of each bin; only bins in which a seed logged something."""

    steps: Values
    mean: Values
    std: Values
    """Sample standard deviation; NaN for a single seed."""
    complete: NDArray[np.bool_]
    """Whether a bin has as many seeds as the fullest one."""


def chart_data(runs: Sequence[Run], styles: Mapping[str, AlgorithmStyle]) -> str | None:
    """The charts of one task and variant as JSON; None when the runs logged nothing.

    The JSON object has `steps`, the ends of the bins; `algorithms`, with name and colour of each; and `charts`, each
    with a name and, for each algorithm that logged the metric, its index in `algorithms`, means, standard deviations
    and whether all seeds are in the bin, null for an empty bin.

    Args:
        styles: styles of the algorithms of these runs, in drawing order.
    """
    series = diagnostic_series(runs)
    if not series:
        return None
    present = [name for name in styles if any(name in logged for logged in series.values())]
    parts = (
        part for logged in series.values() for seeds in logged.values() for seed in seeds.values() for part in seed
    )
    last_step = max(float(steps[-1]) for steps, _ in parts)
    width = last_step / BINS or 1.0
    charts = [_chart(name, series[name], present, width) for name in metric_order(set(series))]
    steps = _numbers(np.linspace(width, BINS * width, BINS), np.ones(BINS, dtype=bool))
    labels = ",".join(f"[{json.dumps(styles[name].label)},{json.dumps(styles[name].colour)}]" for name in present)
    text = f'{{"steps":{steps},"algorithms":[{labels}],"charts":[{",".join(charts)}]}}'
    return text.replace("<", "\\u003c")  # no name may end the script element that holds the data


def diagnostic_series(runs: Sequence[Run]) -> Series:
    """All values that the runs logged, except counters, seconds of stages and traffic statistics, and the scores of the
    greedy evaluation as `evaluation/<name>`."""
    series: Series = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for run in runs:
        rows = [(row.step, row.values) for row in run.metrics]
        rows += [
            (found.step, {f"evaluation/{name}": value for name, value in found.scores.items()})
            for found in run.evaluations
            if found.policy == "greedy"
        ]
        alike: dict[tuple[str, ...], tuple[list[int], list[list[float]]]] = {}
        for step, values in rows:
            steps, table = alike.setdefault(tuple(values), ([], []))
            steps.append(step)
            table.append(list(values.values()))
        for names, (steps, table) in alike.items():
            _collect(series, run, names, np.array(steps, dtype=float), np.array(table, dtype=float))
    return series


def _collect(series: Series, run: Run, names: Sequence[str], steps: Values, table: Values) -> None:
    """Collect rows with the same metrics, metric by metric."""
    for name, column in zip(names, table.T, strict=True):
        if name not in COUNTERS and not name.startswith(UNDRAWN):
            kept = np.abs(column) < LARGEST
            if kept.any():
                series[name][run.key.algorithm][run.key.seed].append((steps[kept], column[kept]))


def metric_order(names: set[str]) -> list[str]:
    """Sort order: training return, entropy and throughput first, then all other metrics by name."""
    return [name for name in FIRST if name in names] + sorted(names - set(FIRST))


def binned_curve(seeds: Sequence[Points], bin_width: float) -> BinnedCurve:
    """Values averaged within each seed and bin of `bin_width` steps, then over seeds; the first bin includes step 0.

    Args:
        seeds: steps and values of each seed, at least one of each.
    """
    if bin_width <= 0:
        bin_width = 1.0
    rounding = 1e-9  # 57 / (57 / 50) is slightly more than 50
    places = [np.maximum(np.ceil(np.asarray(steps) / bin_width - rounding), 1).astype(int) for steps, _ in seeds]
    length = max(int(bins.max()) for bins in places) + 1
    counts = np.array([np.bincount(bins, minlength=length) for bins in places])
    sums = np.array(
        [np.bincount(bins, values, minlength=length) for bins, (_, values) in zip(places, seeds, strict=True)]
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


def _chart(name: str, algorithms: Mapping[str, Mapping[int, list[Points]]], order: Sequence[str], width: float) -> str:
    curves = []
    for place, algorithm in enumerate(order):
        if algorithm in algorithms:
            seeds = [
                (np.concatenate([steps for steps, _ in parts]), np.concatenate([values for _, values in parts]))
                for parts in algorithms[algorithm].values()
            ]
            curves.append(f"[{place},{_arrays(binned_curve(seeds, width), width)}]")
    return f'{{"name":{json.dumps(NAMES.get(name, name.replace("_", " ")))},"curves":[{",".join(curves)}]}}'


def _arrays(curve: BinnedCurve, width: float) -> str:
    """Means, standard deviations and completeness, each with an entry for every bin."""
    places = np.rint(curve.steps / width).astype(int) - 1
    mean, std = np.zeros((2, BINS))
    complete, known = np.zeros((2, BINS), dtype=bool)
    mean[places], std[places], complete[places], known[places] = curve.mean, curve.std, curve.complete, True
    flags = ",".join(map(str, complete.astype(int)))
    return f"{_numbers(mean, known)},{_numbers(std, known & np.isfinite(std))},[{flags}]"


def _numbers(values: Values, known: NDArray[np.bool_]) -> str:
    texts = [f"{value:.{DIGITS}g}" if shown else "null" for value, shown in zip(values.tolist(), known, strict=True)]
    return f"[{','.join(texts)}]"


CAPTION = (
    f"Means of each seed within {BINS} equal bins of environment steps; line: mean over seeds, band: one sample "
    "standard deviation, hairline: not all seeds have reached the step. evaluation/ is the greedy policy. Values that "
    f"are not finite are left out here and listed under the issues; values beyond {LARGEST:g} are also left out."
)
