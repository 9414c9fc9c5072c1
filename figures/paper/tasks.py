"""The paper's Table 1: its tasks, with the runs of each."""

from __future__ import annotations

from collections.abc import Sequence

from figures.analysis import Analysis
from figures.analysis.paper_values import Entry, load_paper
from figures.analysis.selection import PAPER_VARIANT
from figures.names import algorithm_label, platform_of, platform_title
from figures.tables import DASH, Cell, Table
from results.checks import algorithm_order
from results.records import Run

HEADER = ("Platform", "Scenario", "Task", "Variant", "Finished runs", "N", "Steps planned", "Steps run")


def table(analysis: Analysis) -> Table:
    """Table with one row for each task of the paper, run or not."""
    return Table(HEADER, [_row(analysis, entry) for entry in load_paper() if entry.kind == "task"], CAPTION, words=5)


def finished_text(runs: Sequence[Run]) -> str:
    """`7 algorithms x 3 seeds`; where algorithms differ, `IP 3, IQL 2 of 3`; a dash without runs."""
    if not runs:
        return DASH
    counts = {}
    for name in algorithm_order({run.key.algorithm for run in runs}):
        members = [run for run in runs if run.key.algorithm == name]
        counts[name] = (sum(run.status.finished for run in members), len(members))
    done, planned = next(iter(counts.values()))
    if len(counts) > 1 and set(counts.values()) == {(done, planned)}:
        seeds = f"{done} seed{'s' if done != 1 else ''}" if done == planned else f"{done} of {planned} seeds"
        return f"{len(counts)} algorithms \u00d7 {seeds}"
    texts = [
        f"{algorithm_label(name)} {done if done == all_ else f'{done} of {all_}'}"
        for name, (done, all_) in counts.items()
    ]
    return ", ".join(texts)


def _row(analysis: Analysis, entry: Entry) -> list[Cell]:
    (task,) = entry.tasks
    runs, variant = analysis.shown_runs(task), analysis.shown.get(task)
    number = int(entry.value or 0)
    row: list[Cell] = [
        (text, text) for text in (platform_title(platform_of(task)), entry.text, task, variant or "not run")
    ]
    row.append((finished_text(runs), finished_text(runs)))
    row.append((f"{number:,}", number))
    for steps in ([run.total_steps for run in runs], [run.status.step for run in runs]):
        row.append((_span(steps), max(steps, default=-1)))
    return row


def _span(steps: Sequence[int]) -> str:
    return " to ".join(f"{step:,}" for step in sorted({min(steps), max(steps)})) if steps else DASH


CAPTION = (
    "The paper's tasks, scenarios named as in its Table 1, and the runs of the variant that is shown of each: "
    f"{PAPER_VARIANT}, the paper's own settings, where it was run, otherwise the one with most algorithms. Steps are "
    "environment steps of a run, over all its copies of the task."
)
