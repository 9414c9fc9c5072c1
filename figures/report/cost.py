"""Cost of the runs: hours by task and algorithm, environment steps per second, and time per stage."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from figures.analysis import Analysis
from figures.analysis.cost import by_resource, hours_of, hours_text, speed_of, stage_seconds
from figures.names import algorithm_label, task_title
from figures.tables import ABSENT, DASH, Cell, Table
from results.checks import algorithm_order, group_runs
from results.records import Results, Run


def hour_tables(analysis: Analysis) -> list[tuple[str, Table]]:
    """Heading and table of the hours of each resource."""
    found = by_resource(analysis.results.runs)
    return [(f"{kind[:1].upper()}{kind[1:]} hours", _hours_table(runs)) for kind, runs in found.items()]


def speed_table(analysis: Analysis) -> Table:
    """Table of environment steps per second, tasks by algorithms: median over runs, and the range."""
    names = algorithm_order(set(analysis.algorithms))
    rows: list[list[Cell]] = []
    for (task, variant), algorithms in analysis.groups.items():
        title = task_title(task, variant)
        rows.append([(title, title), *(_speed_cell(algorithms.get(name, [])) for name in names)])
    return Table(("Task", *map(algorithm_label, names)), rows, SPEED_CAPTION, matrix=True)


def stage_table(analysis: Analysis) -> Table:
    """Share of the timed seconds of each stage by algorithm; without rows where no run timed its stages."""
    names = algorithm_order(set(analysis.algorithms))
    seconds: dict[str, dict[str, float]] = {name: {} for name in names}
    for run in analysis.results.runs:
        spent = seconds[run.key.algorithm]
        for stage, value in stage_seconds(run).items():
            spent[stage] = spent.get(stage, 0.0) + value
    totals = {name: sum(spent.values()) for name, spent in seconds.items()}
    timed = [name for name in names if totals[name] > 0]
    stages = list(dict.fromkeys(stage for name in timed for stage in seconds[name]))
    rows: list[list[Cell]] = []
    for name in timed:
        shares = [100 * seconds[name].get(stage, 0.0) / totals[name] for stage in stages]
        cells: list[Cell] = [(f"{share:.0f} %", share) for share in shares]
        rows.append([(algorithm_label(name), algorithm_label(name)), *cells])
    return Table(("Algorithm", *(stage.replace("_", " ") for stage in stages)), rows, STAGE_CAPTION)


def _hours_table(runs: Sequence[Run]) -> Table:
    """Table of hours, tasks by algorithms, with sums of rows and columns."""
    names = algorithm_order({run.key.algorithm for run in runs})
    rows: list[list[Cell]] = []
    for (task, variant), algorithms in group_runs(Results(tuple(runs))).items():
        title = task_title(task, variant)
        cells = [_hours_cell(algorithms.get(name, [])) for name in names]
        rows.append([(title, title), *cells, _hours_cell([run for found in algorithms.values() for run in found])])
    sums = [_hours_cell([run for run in runs if run.key.algorithm == name]) for name in names] + [_hours_cell(runs)]
    foot = ["Sum", *(text for text, _ in sums)]
    return Table(("Task", *map(algorithm_label, names), "Sum"), rows, foot=foot, matrix=True)


def _hours_cell(runs: Sequence[Run]) -> Cell:
    total = sum(hours_of(run) for run in runs)
    return (hours_text(total), total) if runs else ABSENT


def _speed_cell(runs: Sequence[Run]) -> Cell:
    speeds = sorted(speed for run in runs if (speed := speed_of(run)) is not None)
    if not speeds:
        return ABSENT
    middle = median(speeds)
    ends = f"\n{_speed(speeds[0])}{DASH}{_speed(speeds[-1])}" if len(speeds) > 1 else ""
    return f"{_speed(middle)}{ends}", middle


def _speed(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


SPEED_CAPTION = (
    "Steps of all copies of a task together, from the start of a run to its end, evaluations included: median over "
    "runs and, below it, the slowest and the fastest. Runs that share a machine slow one another down; results do not "
    "record which runs did."
)
STAGE_CAPTION = "Share of the timed seconds, over all runs of an algorithm."
