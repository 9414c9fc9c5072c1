"""Every task and variant as a collapsible block: its runs, issues, logged metrics and settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from figures.analysis import Analysis
from figures.analysis.cost import speed_of, total_text
from figures.analysis.scores import final_of
from figures.names import algorithm_label, task_title
from figures.report.charts import CAPTION, chart_data
from figures.report.provenance import (
    Settings,
    commit_text,
    duration,
    machine_facts,
    numbered_machines,
    settings_of,
)
from figures.style import AlgorithmStyle, algorithm_styles
from figures.tables import ABSENT, Cell, Table, number
from results.checks import Issue
from results.records import POLICIES, Run

__all__ = ["CAPTION", "STATES", "Block", "block_anchor", "blocks", "issues_of", "state_counts"]

STATES = {"finished": "finished", "running": "unfinished", "failed": "failed"}
"""State of a run -> its display name, which is also its class in the style sheet."""
HEADER = ("Algorithm", "Seed", "State", "Greedy", "Sampled", "Steps", "Time", "Steps/s", "Machine", "Commit", "Config")


@dataclass(frozen=True, slots=True)
class Block:
    """Everything about the runs of one task and variant."""

    task: str
    variant: str
    anchor: str
    title: str
    labels: str
    """Names of the algorithms."""
    states: dict[str, int]
    total: str
    """Hours of all runs together."""
    table: Table
    issues: list[Issue]
    charts: str | None
    """Data of the charts of logged metrics as JSON; None where nothing was logged."""
    settings: Settings


def blocks(analysis: Analysis) -> list[Block]:
    """A block for each task and variant."""
    styles = algorithm_styles(analysis.algorithms)
    machines = numbered_machines(analysis.results)
    return [
        _block(*cell, algorithms, styles, machines, analysis.issues) for cell, algorithms in analysis.groups.items()
    ]


def state_counts(runs: Sequence[Run]) -> dict[str, int]:
    """Display name of a state -> number of runs in it, for states with runs."""
    states = [run.status.state for run in runs]
    return {word: states.count(state) for state, word in STATES.items() if state in states}


def block_anchor(task: str, variant: str) -> str:
    """Anchor of a block, made of characters that need no escaping."""
    return re.sub(r"[^\w.,=+-]", "-", f"runs-{task}-{variant}")


def issues_of(issues: Sequence[Issue], task: str, variant: str, algorithms: Sequence[str]) -> list[Issue]:
    """The issues of one task and variant: those of its runs, of the pair itself, and of the task as a whole."""
    subjects = {task, f"{task} ({variant})", *(f"{task}/{name}/{variant}" for name in algorithms)}
    return [issue for issue in issues if issue.subject in subjects]


def _block(
    task: str,
    variant: str,
    algorithms: Mapping[str, Sequence[Run]],
    styles: Mapping[str, AlgorithmStyle],
    machines: Mapping[tuple[str, ...], int],
    issues: Sequence[Issue],
) -> Block:
    runs = [run for seeds in algorithms.values() for run in seeds]
    return Block(
        task=task,
        variant=variant,
        anchor=block_anchor(task, variant),
        title=task_title(task, variant),
        labels=", ".join(map(algorithm_label, algorithms)),
        states=state_counts(runs),
        total=total_text(runs),
        table=Table(HEADER, [_row(run, machines[machine_facts(run)]) for run in runs]),
        issues=issues_of(issues, task, variant, list(algorithms)),
        charts=chart_data(runs, styles),
        settings=settings_of(algorithms),
    )


def _row(run: Run, machine: int) -> list[Cell]:
    status, speed = run.status, speed_of(run)
    commit, state = commit_text(run.machine), STATES[status.state]
    label = algorithm_label(run.key.algorithm)
    finals = [final_of(run, policy) for policy in POLICIES]
    of = "" if status.step == run.total_steps else f" of {run.total_steps:,}"
    return [
        (label, label),
        (str(run.key.seed), run.key.seed),
        (state, state),
        *((number(value), value) if value is not None else ABSENT for value in finals),
        (f"{status.step:,}{of}", status.step),
        (duration(status.wall_seconds), status.wall_seconds),
        (f"{speed:,.0f}", speed) if speed is not None else ABSENT,
        (str(machine), machine),
        (commit, commit),
        (run.config_hash[:12], run.config_hash),
    ]
