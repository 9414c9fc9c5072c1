"""Selection of the variant of a task that a figure of the paper shows: the paper's settings where they were run,
otherwise the variant with most algorithms.

Published sets come from suites for a CPU, whose settings differ from the paper's; their variants have separate names,
and every figure that shows one says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from results.paper import COMPARED_ALGORITHMS
from results.records import Run

PAPER_VARIANT = "default"
Groups = Mapping[tuple[str, str], Mapping[str, list[Run]]]
"""(task, variant) -> algorithm -> its runs."""


def shown_variants(groups: Groups) -> dict[str, str]:
    """Task -> the variant to show: `default` where it has runs, otherwise the one with most of the paper's algorithms;
    among equals, the one with most runs, then with the longest runs, then the first by name."""
    tasks: dict[str, list[str]] = {}
    for task, variant in groups:
        tasks.setdefault(task, []).append(variant)
    return {
        task: min(variants, key=lambda variant: _preference(variant, groups[task, variant]))
        for task, variants in tasks.items()
    }


def _preference(variant: str, algorithms: Mapping[str, list[Run]]) -> tuple[bool, int, int, int, str]:
    """Sort key that puts the variant to show first."""
    known = len(set(algorithms) & set(COMPARED_ALGORITHMS))
    return variant != PAPER_VARIANT, -known, -sum(map(len, algorithms.values())), -longest(algorithms), variant


def longest(algorithms: Mapping[str, Sequence[Run]]) -> int:
    """Environment steps of the longest run."""
    return max(run.total_steps for runs in algorithms.values() for run in runs)
