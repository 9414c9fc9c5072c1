"""Which variant of a task a figure of the paper shows: the paper's own settings where they were run, else the fullest.

Published sets come from suites for a CPU, whose settings differ from the paper's; their variants have names of their
own, and every figure that shows one says so.
"""

from __future__ import annotations

from results.checks import group_runs
from results.paper import COMPARED_ALGORITHMS
from results.records import Results, Run

PAPER_VARIANT = "default"


def shown_variant(results: Results, task: str) -> str | None:
    """The variant of ``task`` to show: ``default`` where it has runs, else the one with most of the paper's algorithms,
    then most runs, then the first by name. None where the task was not run."""
    groups = {variant: own for (name, variant), own in group_runs(results).items() if name == task}
    if PAPER_VARIANT in groups or not groups:
        return PAPER_VARIANT if groups else None

    def rank(variant: str) -> tuple[int, int, str]:
        own = groups[variant]
        return -len(set(own) & set(COMPARED_ALGORITHMS)), -sum(map(len, own.values())), variant

    return min(groups, key=rank)


def shown_runs(results: Results, task: str) -> tuple[Run, ...]:
    """The runs of the variant that is shown of ``task``, in the order of their cells; none where it was not run."""
    variant = shown_variant(results, task)
    return tuple(run for run in results.runs if (run.key.task, run.key.variant) == (task, variant))
