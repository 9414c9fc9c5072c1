"""Differences between the final scores of two result sets; `python -m figures.compare` is the command."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from figures import HEADLINE, LEVEL
from figures.analysis.policies import headline_policy
from figures.analysis.scores import final_of
from figures.analysis.statistics import Summary, holm, summarise, welch_half_width
from figures.tables import DASH, Cell, Table, decimals, number, plus_minus
from results.checks import differing_keys, group_runs
from results.records import Results, Run

BETTER, WORSE, NO_DIFFERENCE, NOT_COMPARABLE = "better", "worse", "no difference shown", "not comparable"
SPEED = "timing/env_steps_per_second"
HARDWARE = ("cpu", "gpu", "device", "cores")
SHOWN_KEYS = 6
"""Largest number of differing settings to name."""
ROUNDING = 1e-7
"""Relative difference that counts as none, since returns are stored as float32."""
Name = tuple[str, str, str]
"""Task, variant and algorithm."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of B minus mean of A, with its confidence interval and the two-sided p value of no difference."""

    mean: float
    low: float
    high: float
    p: float
    paired: bool


@dataclass(frozen=True, slots=True)
class CellComparison:
    """One algorithm on one task and variant in both sets."""

    task: str
    variant: str
    algorithm: str
    a: Summary | None
    """Final scores of the finished seeds of A; None where there are none."""
    b: Summary | None
    difference: Difference | None
    verdict: str
    reason: str = ""
    """Reason why the two cannot be compared."""
    adjusted_p: float | None = None
    """p value with Holm's correction for all comparisons made."""
    speed_ratio: float | None = None
    """Environment steps per second of B over those of A, for information."""
    note: str = ""
    """Note on unfinished runs and different hardware."""


@dataclass(frozen=True, slots=True)
class Report:
    """The comparisons of the contents common to two sets, and what only one of them has."""

    cells: tuple[CellComparison, ...]
    only_a: tuple[Name, ...]
    only_b: tuple[Name, ...]
    level: float

    @property
    def compared(self) -> int:
        """Number of comparisons made."""
        return sum(cell.difference is not None for cell in self.cells)

    def count(self, verdict: str) -> int:
        return sum(cell.verdict == verdict for cell in self.cells)

    @property
    def regressions(self) -> tuple[CellComparison, ...]:
        """Cells that are worse after Holm's correction."""
        limit = 1 - self.level
        return tuple(
            cell
            for cell in self.cells
            if cell.verdict == WORSE and cell.adjusted_p is not None and cell.adjusted_p < limit
        )


def compare(
    a: Results, b: Results, policy: str = HEADLINE, level: float = LEVEL, ignored: Iterable[str] = ()
) -> Report:
    """Comparison of every task, variant and algorithm of two sets.

    Args:
        policy: the policy compared for all algorithms, or `HEADLINE` for the headline policy of each.
        level: level of the confidence intervals, between 0 and 1.
        ignored: dotted settings that may differ, such as `training.threads`.
    """
    runs_a, runs_b = _by_cell(a), _by_cell(b)
    cells = [
        _compared(name, runs_a[name], runs_b[name], policy, level, set(ignored)) for name in runs_a if name in runs_b
    ]
    made = [cell.difference.p for cell in cells if cell.difference is not None]
    adjusted = iter(holm(made))
    return Report(
        cells=tuple(cell if cell.difference is None else replace(cell, adjusted_p=next(adjusted)) for cell in cells),
        only_a=tuple(name for name in runs_a if name not in runs_b),
        only_b=tuple(name for name in runs_b if name not in runs_a),
        level=level,
    )


def difference(a: Sequence[float], b: Sequence[float], paired: bool, level: float = LEVEL) -> Difference:
    """Mean of `b` minus mean of `a`, for one number per seed and two or more on either side.

    Args:
        paired: whether the numbers of both sides belong to the same seeds in the same order, so that Student's t of
        their differences is used; otherwise Welch's t.

    A difference within rounding counts as 0, with p = 1. Where nothing varies the interval has no width, and any other
    difference has p = 0.
    """
    one, two = summarise(a), summarise(b)
    if one.std is None or two.std is None:
        raise ValueError(f"got {one.count} and {two.count} seeds: expected two or more on either side")
    mean = two.mean - one.mean
    if paired:
        differences = summarise(np.asarray(b, dtype=float) - np.asarray(a, dtype=float))
        error = (differences.std or 0.0) / math.sqrt(differences.count)
        half_width = float(stats.t.ppf(0.5 + level / 2, differences.count - 1)) * error
        p = 2 * float(stats.t.sf(abs(differences.mean) / error, differences.count - 1)) if error else 0.0
    else:
        half_width = welch_half_width(one, two, level) or 0.0
        sides = (two.mean, two.std, two.count, one.mean, one.std, one.count)
        p = float(stats.ttest_ind_from_stats(*sides, equal_var=False)[1]) if half_width else 0.0
    if abs(mean) <= ROUNDING * max(abs(one.mean), abs(two.mean)):
        mean, p = 0.0, 1.0
    return Difference(mean, mean - half_width, mean + half_width, p, paired)


def _by_cell(results: Results) -> dict[Name, list[Run]]:
    groups = group_runs(results)
    return {(*cell, name): runs for cell, algorithms in groups.items() for name, runs in algorithms.items()}


def _words(name: Name) -> str:
    task, variant, algorithm = name
    return f"{task} ({variant}) {algorithm}"


def _compared(name: Name, a: list[Run], b: list[Run], policy: str, level: float, ignored: set[str]) -> CellComparison:
    finals_a, finals_b = _finals(a, policy), _finals(b, policy)
    side_a, side_b = (summarise(list(finals.values())) if finals else None for finals in (finals_a, finals_b))
    speed, note = _speed_ratio(a, b), _note(a, b)
    reason = _differing(_finished(a), _finished(b), ignored) or _too_few(finals_a, finals_b)
    if reason:
        return CellComparison(*name, side_a, side_b, None, NOT_COMPARABLE, reason, speed_ratio=speed, note=note)
    values_a, values_b = ([finals[seed] for seed in sorted(finals)] for finals in (finals_a, finals_b))
    found = difference(values_a, values_b, set(finals_a) == set(finals_b), level)
    verdict = BETTER if found.low > 0 else WORSE if found.high < 0 else NO_DIFFERENCE
    return CellComparison(*name, side_a, side_b, found, verdict, speed_ratio=speed, note=note)


def _finished(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.status.finished]


def _finals(runs: Sequence[Run], policy: str) -> dict[int, float]:
    """Seed -> final score, for finished runs with evaluations."""
    found = {}
    for run in _finished(runs):
        value = final_of(run, headline_policy(run.key.algorithm) if policy == HEADLINE else policy)
        if value is not None:
            found[run.key.seed] = value
    return found


def _differing(a: list[Run], b: list[Run], ignored: set[str]) -> str:
    """The settings in which the runs of both sides differ; empty when there are none, or a side has no run."""
    if not a or not b:
        return ""
    names = [name for name in differing_keys([*a, *b]) if name == "total_steps" or name not in ignored]
    if not names:
        lasts = [sorted({run.last_evaluation_step() or 0 for run in runs}) for runs in (a, b)]
        evaluated = " and ".join(", ".join(f"{step:,}" for step in steps) for steps in lasts)
        return f"last evaluated at step {evaluated}" if lasts[0] != lasts[1] else ""
    if "total_steps" in names:
        totals = (sorted({run.total_steps for run in runs}) for runs in (a, b))
        listed = " and ".join(", ".join(f"{steps:,}" for steps in side) for side in totals)
        names = [f"total_steps ({listed})", *(name for name in names if name != "total_steps")]
    more = f" and {len(names) - SHOWN_KEYS} more" if len(names) > SHOWN_KEYS else ""
    return f"settings differ: {', '.join(names[:SHOWN_KEYS])}{more}"


def _too_few(a: dict[int, float], b: dict[int, float]) -> str:
    for side, finals in (("A", a), ("B", b)):
        broken = [str(seed) for seed, value in sorted(finals.items()) if not math.isfinite(value)]
        if broken:
            return f"returns of {side} are not finite (seed {', '.join(broken)})"
        if len(finals) < 2:
            return f"{side} has {'a single finished seed' if finals else 'no finished seed'}"
    return ""


def _speed_ratio(a: list[Run], b: list[Run]) -> float | None:
    """Median speed of B over that of A; the speed of a run is the median of its logged speeds."""
    speeds = [[speed for run in runs if (speed := _speed(run)) is not None] for runs in (a, b)]
    if not all(speeds) or not np.median(speeds[0]) > 0:
        return None
    return float(np.median(speeds[1]) / np.median(speeds[0]))


def _speed(run: Run) -> float | None:
    logged = [row.values[SPEED] for row in run.metrics if math.isfinite(row.values.get(SPEED, math.nan))]
    return float(np.median(logged)) if logged else None


def _note(a: list[Run], b: list[Run]) -> str:
    parts = [
        f"{side}: {count} unfinished or failed"
        for side, runs in (("A", a), ("B", b))
        if (count := len(runs) - len(_finished(runs)))
    ]
    machines = [{tuple(run.machine.get(name) for name in HARDWARE) for run in runs} for runs in (a, b)]
    return "; ".join([*parts, *(["other hardware"] if machines[0] != machines[1] else [])])


def report_table(report: Report) -> Table:
    """The comparisons as a table for display."""
    percent = f"{100 * report.level:g} %"
    header = (
        "Task",
        "Variant",
        "Algorithm",
        "Verdict",
        "A",
        "B",
        "B \u2212 A",
        f"{percent} interval",
        "p (Holm)",
        "Speed",
    )
    caption = (
        "A, B: final score of the headline policy, unless another was requested, mean ± standard deviation over "
        "finished seeds. The interval is that of paired differences where both sets have the same seeds, otherwise "
        f"(w) Welch's. Verdicts go by the interval; p (Holm) is corrected for all {report.compared} comparisons. "
        "Speed: environment steps per second, change from A to B; * different hardware."
    )
    return Table(header, [_row(cell) for cell in report.cells], caption, words=4)


def _row(cell: CellComparison) -> list[Cell]:
    words: list[Cell] = [(name, name) for name in (cell.task, cell.variant, cell.algorithm, cell.verdict)]
    scores: list[Cell] = [(plus_minus(side), side.mean if side else -math.inf) for side in (cell.a, cell.b)]
    change, place = DASH, -math.inf
    if cell.speed_ratio is not None:
        mark = "*" if "other hardware" in cell.note else ""
        change, place = f"{round(100 * (cell.speed_ratio - 1)):+d} %{mark}".replace("-", "\u2212"), cell.speed_ratio
    if cell.difference is None or cell.adjusted_p is None:
        return [*words, *scores, *[(DASH, -math.inf)] * 3, (change, place)]
    found = cell.difference
    digits = decimals(max(abs(found.low), abs(found.high)))
    interval = f"{number(found.low, digits)} to {number(found.high, digits)}{'' if found.paired else ' (w)'}"
    return [
        *words,
        *scores,
        (number(found.mean, digits), found.mean),
        (interval, found.low),
        (f"{cell.adjusted_p:.2g}", cell.adjusted_p),
        (change, place),
    ]


def report_frame(report: Report) -> pd.DataFrame:
    """Plain numbers for the CSV: one row per comparison, then the contents of only one set. Absent values are empty."""
    columns = ["task", "variant", "algorithm", "verdict", "reason", "note"]
    rows = []
    for cell in report.cells:
        row: dict[str, object] = {name: getattr(cell, name) for name in columns}
        for side, summary in (("a", cell.a), ("b", cell.b)):
            row |= {f"{side}_{name}": getattr(summary, name, None) for name in ("mean", "std", "count")}
        row |= {
            f"difference_{name}": getattr(cell.difference, name, None)
            for name in ("mean", "low", "high", "p", "paired")
        }
        rows.append({**row, "adjusted_p": cell.adjusted_p, "speed_ratio": cell.speed_ratio})
    for side, names in (("A", report.only_a), ("B", report.only_b)):
        rows += [dict(zip(columns, (*name, f"only in {side}"), strict=False)) for name in names]
    return pd.DataFrame(rows)


def report_text(report: Report) -> str:
    """The comparison as Markdown: a table, the cells that cannot be compared with the reasons, and a summary."""
    lines = [report_table(report).markdown()] if report.cells else []
    told = [
        f"- {_words((cell.task, cell.variant, cell.algorithm))}: {words}"
        for cell in report.cells
        if (words := "; ".join(part for part in (cell.reason, cell.note) if part))
    ]
    lines += [*told, ""] if told else []
    for side, names in (("A", report.only_a), ("B", report.only_b)):
        if names:
            lines += [f"Only in {side}: {', '.join(map(_words, names))}.", ""]
    counts = ", ".join(f"{report.count(word)} {word}" for word in (BETTER, WORSE, NO_DIFFERENCE))
    lines.append(f"{report.compared} comparisons were made: {counts}; {report.count(NOT_COMPARABLE)} {NOT_COMPARABLE}.")
    if report.compared:
        lines[-1] += (
            f" If nothing had changed, about {(1 - report.level) * report.compared:.1f} of them would still come out "
            f"better or worse. After Holm's correction {len(report.regressions)} are worse."
        )
    return "\n".join(lines) + "\n"
