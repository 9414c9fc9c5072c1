"""Comparison of the settings that the paper prints with those of this project and of its runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from figures.analysis.analysis import Analysis
from figures.analysis.paper_values import MISSING, Entry, Finding
from figures.analysis.selection import PAPER_VARIANT
from figures.names import algorithm_label, platform_of, task_title
from results.checks import flatten
from results.paper import COMPARED_TASKS
from results.records import Run


def find_setting(analysis: Analysis, entry: Entry) -> Finding:
    """Finding for a setting: this project's value, or that of the runs."""
    if entry.kind == "task":
        known = entry.tasks[0] in COMPARED_TASKS and entry.tasks[0].endswith(f"_{entry.value:g}")
        return Finding(entry.tasks[0], "agrees" if known else "differs")
    if not entry.config:
        same = entry.here == entry.printed or (entry.value is not None and entry.here == f"{entry.value:.0f}")
        ours = f"{int(entry.here):,}" if entry.here.isdigit() else entry.here
        return Finding(ours, "agrees" if same else "differs")
    runs = setting_runs(analysis)
    values = [(value, run) for run in runs if (value := setting_of(run, entry)) is not None]
    if not values:
        return MISSING
    same = all(value == entry.value for value, _ in values)
    if all(run.key.variant == PAPER_VARIANT for _, run in values):
        return Finding(describe(values), "agrees" if same else "differs")
    return Finding(describe(values), f"smaller runs: {'as printed' if same else 'not as printed'}")


def setting_runs(analysis: Analysis) -> tuple[Run, ...]:
    """The runs whose settings are shown: those of variant `default`, otherwise the shown runs of the paper's tasks,
    otherwise the shown runs of any task."""
    runs = analysis.results.runs
    usual = tuple(run for run in runs if run.key.variant == PAPER_VARIANT)
    shown = [run for task in dict.fromkeys(run.key.task for run in runs) for run in analysis.shown_runs(task)]
    return usual or tuple(run for run in shown if run.key.task in COMPARED_TASKS) or tuple(shown)


def setting_of(run: Run, entry: Entry) -> float | None:
    """A setting of one run; None where the run lacks it or it is not a number."""
    if entry.platforms and platform_of(run.key.task) not in entry.platforms:
        return None
    flat = flatten(run.config)
    numbers: list[Any] = [flat.get(name) for name in entry.config.split(" / ")]
    if (
        not all(isinstance(number, (int, float)) and not isinstance(number, bool) for number in numbers)
        or 0 in numbers[1:]
    ):
        return None
    return float(numbers[0] / numbers[1]) if len(numbers) > 1 else float(numbers[0])


def describe(values: Iterable[tuple[float, Run]]) -> str:
    """The values in words: `0.95`; `0.01 (IP, PIC); 0.001 (IQL)`; or by task, or by both, where values depend on
    these."""
    pairs = list(values)
    keys: tuple[Callable[[Run], str], ...] = (
        lambda run: "",
        lambda run: algorithm_label(run.key.algorithm),
        lambda run: task_title(run.key.task, run.key.variant),
        lambda run: f"{algorithm_label(run.key.algorithm)} on {task_title(run.key.task, run.key.variant)}",
    )
    for key in keys:
        groups: dict[float, list[str]] = {}
        for value, run in pairs:
            groups[value] = list(dict.fromkeys([*groups.get(value, []), key(run)]))
        names = [name for group in groups.values() for name in group]
        if len(set(names)) == len(names):
            break
    return "; ".join(
        f"{value:,.10g}" + (f" ({', '.join(group)})" if any(group) else "") for value, group in groups.items()
    )
