"""Coverage: tasks and algorithms that were run, and those that were not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from figures.analysis import Analysis
from figures.analysis.selection import PAPER_VARIANT
from figures.report.drilldown import block_anchor, state_counts
from figures.style import algorithm_styles
from results.paper import COMPARED_ALGORITHMS, COMPARED_TASKS


@dataclass(frozen=True, slots=True)
class CoverageRow:
    """The runs of one task and variant."""

    task: str
    variant: str
    anchor: str
    cells: list[dict[str, int]]
    """For each algorithm, the states of its runs in words, with counts; empty without runs."""


def coverage_rows(analysis: Analysis, names: Sequence[str]) -> list[CoverageRow]:
    """A row for each task and variant, with a cell for each of the algorithms."""
    return [
        CoverageRow(
            task, variant, block_anchor(task, variant), [state_counts(algorithms.get(name, [])) for name in names]
        )
        for (task, variant), algorithms in analysis.groups.items()
    ]


def scope_words(analysis: Analysis) -> str:
    """How many of the paper's tasks were run, with which settings, and which algorithms are missing."""
    present = set(analysis.tasks) & set(COMPARED_TASKS)
    usual = {task for task, variant in analysis.groups if variant == PAPER_VARIANT} & present
    without = [name for name in COMPARED_ALGORITHMS if name not in analysis.algorithms]
    total = len(COMPARED_TASKS)
    covered = f"{len(present) or 'none'} of the paper\u2019s {total} tasks"
    if len(present) == total:
        covered = f"all {total} of the paper\u2019s tasks"
    words = [f"These results cover {covered}."]
    if present and not usual:
        words.append("None was run with the paper\u2019s settings; brackets name the variants that were run.")
    elif len(usual) < len(present):
        words.append(
            f"{len(usual)} of them {'was' if len(usual) == 1 else 'were'} run with the paper\u2019s settings; "
            "brackets name the variants of the others."
        )
    if without:
        labels = [style.label for style in algorithm_styles(without).values()]
        words.append(f"No runs: {', '.join(labels)}.")
    return " ".join(words)
