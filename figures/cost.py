"""What the runs cost: hours by task and algorithm, environment steps a second, and where the time went."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from statistics import median

from figures.style import algorithm_label, task_title
from figures.tables import DASH, Cell, html_table
from results.checks import algorithm_order, group_runs
from results.records import Results, Run

GPU, CORE = "GPU", "core"
STAGE = "timing/seconds/"
ABSENT: Cell = (DASH, float("-inf"))


def resource_of(run: Run) -> str:
    """What the hours of a run are hours of: a `GPU`, where its machine has one and it was not told to leave it, or a
    CPU `CORE`."""
    on_cpu = str(run.machine.get("device") or "").startswith("cpu")
    return GPU if run.machine.get("gpu") and not on_cpu else CORE


def hours_of(run: Run) -> float:
    """GPU hours, or core hours: wall-clock hours times the threads the run was given (one, where its config does not
    say)."""
    threads = int(run.config.get("training", {}).get("threads") or 1) if resource_of(run) == CORE else 1
    return run.status.wall_seconds / 3600 * threads


def speed_of(run: Run) -> float | None:
    """Environment steps a second from start to end, evaluations included, as last logged; None where nothing was."""
    logged = [row.values[name] for row in run.metrics if (name := "timing/env_steps_per_second") in row.values]
    if logged:
        return logged[-1]
    return run.status.step / run.status.wall_seconds if run.status.step and run.status.wall_seconds else None


def stage_seconds(run: Run) -> dict[str, float]:
    """Seconds of each stage of a run, as last logged: they are sums since its start."""
    last: dict[str, float] = {}
    for row in run.metrics:
        last |= {name.removeprefix(STAGE): value for name, value in row.values.items() if name.startswith(STAGE)}
    return last


def total_text(runs: Iterable[Run]) -> str:
    """``12.3 core hours``; with both kinds ``3.0 GPU hours and 12.3 core hours``."""
    sums = {kind: sum(hours_of(run) for run in own) for kind, own in _by_resource(runs).items()}
    return " and ".join(f"{_hours(value)} {kind} hours" for kind, value in sums.items())


def cost_section(results: Results) -> str:
    """Tables of hours, of speed and of stages, as HTML."""
    runs = results.runs
    parts = [
        f"<p>All runs together took <strong>{total_text(runs)}</strong>. {EXPLAINED}</p>",
    ]
    for kind, own in _by_resource(runs).items():
        parts += [f"<h3>{kind} hours</h3>".replace("<h3>c", "<h3>C"), _hours_table(own)]
    parts += ["<h3>Environment steps a second</h3>", _speed_table(runs), f'<p class="caption">{SPEED_CAPTION}</p>']
    stages = _stage_table(runs)
    if stages is not None:
        parts += ["<h3>Where the time goes</h3>", stages, f'<p class="caption">{STAGE_CAPTION}</p>']
    return "\n".join(parts)


def _by_resource(runs: Iterable[Run]) -> dict[str, list[Run]]:
    listed = list(runs)
    found = {kind: [run for run in listed if resource_of(run) == kind] for kind in (GPU, CORE)}
    return {kind: own for kind, own in found.items() if own}


def _hours_table(runs: Sequence[Run]) -> str:
    """Tasks down, algorithms across, sums at both ends."""
    names = algorithm_order({run.key.algorithm for run in runs})
    rows: list[list[Cell]] = []
    for (task, variant), algorithms in group_runs(Results(tuple(runs))).items():
        title = task_title(task, variant)
        own = [_hours_cell(algorithms.get(name, [])) for name in names]
        rows.append([(title, title), *own, _hours_cell([run for found in algorithms.values() for run in found])])
    sums = [_hours_cell([run for run in runs if run.key.algorithm == name]) for name in names] + [_hours_cell(runs)]
    header = ["Task", *map(algorithm_label, names), "Sum"]
    foot = "".join(f'<td class="number">{escape(text)}</td>' for text, _ in sums)
    table = html_table(header, rows)
    table = table.replace("</table>", f'<tfoot><tr><th scope="row">Sum</th>{foot}</tr></tfoot></table>')
    return f'<div class="matrix">{table}</div>'


def _hours_cell(runs: Sequence[Run]) -> Cell:
    total = sum(hours_of(run) for run in runs)
    return (_hours(total), total) if runs else ABSENT


def _hours(value: float) -> str:
    return (
        f"{value:,.0f}"
        if value >= 100
        else f"{value:.1f}"
        if value >= 1
        else "< 0.01"
        if value < 0.005
        else f"{value:.2f}"
    )


def _speed_table(runs: Sequence[Run]) -> str:
    """Tasks down, algorithms across: median over runs, and the range."""
    names = algorithm_order({run.key.algorithm for run in runs})
    rows: list[list[Cell]] = []
    for (task, variant), algorithms in group_runs(Results(tuple(runs))).items():
        title = task_title(task, variant)
        rows.append([(title, title), *(_speed_cell(algorithms.get(name, [])) for name in names)])
    return f'<div class="matrix">{html_table(["Task", *map(algorithm_label, names)], rows)}</div>'


def _speed_cell(runs: Sequence[Run]) -> Cell:
    speeds = sorted(speed for run in runs if (speed := speed_of(run)) is not None)
    if not speeds:
        return ABSENT
    middle = median(speeds)
    ends = f"\n{_speed(speeds[0])}{DASH}{_speed(speeds[-1])}" if len(speeds) > 1 else ""
    return f"{_speed(middle)}{ends}", middle


def _speed(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _stage_table(runs: Sequence[Run]) -> str | None:
    """Share of the timed seconds of each stage by algorithm; None where no run timed its stages."""
    names = algorithm_order({run.key.algorithm for run in runs})
    seconds: dict[str, dict[str, float]] = {name: {} for name in names}
    for run in runs:
        own = seconds[run.key.algorithm]
        for stage, value in stage_seconds(run).items():
            own[stage] = own.get(stage, 0.0) + value
    totals = {name: sum(own.values()) for name, own in seconds.items()}
    timed = [name for name in names if totals[name] > 0]
    stages = list(dict.fromkeys(stage for name in timed for stage in seconds[name]))
    if not stages:
        return None
    rows: list[list[Cell]] = []
    for name in timed:
        shares = [100 * seconds[name].get(stage, 0.0) / totals[name] for stage in stages]
        cells: list[Cell] = [(f"{share:.0f} %", share) for share in shares]
        rows.append([(algorithm_label(name), algorithm_label(name)), *cells])
    return html_table(["Algorithm", *(stage.replace("_", " ") for stage in stages)], rows)


EXPLAINED = (
    "GPU hours are wall-clock hours of runs on a GPU; core hours are those of all other runs, times the threads that "
    "each was given. Runs that failed or stopped early count with the time they took."
)
SPEED_CAPTION = (
    "Steps of all copies of a task together, from the start of a run to its end, evaluations included: median over "
    "runs and, below it, the slowest and the fastest. Runs that share a machine slow one another down; results do not "
    "say which did."
)
STAGE_CAPTION = "Share of the timed seconds, over all runs of an algorithm."
