"""Which variant of a task a figure of the paper shows: the paper's own settings where they were run, else the fullest.

Published sets come from suites for a CPU, whose settings differ from the paper's; their variants have names of their
own, and every figure that shows one says so.
"""

from __future__ import annotations

from collections.abc import Mapping

from results.paper import COMPARED_ALGORITHMS
from results.records import Run

PAPER_VARIANT = "default"
Groups = Mapping[tuple[str, str], Mapping[str, list[Run]]]
"""(task, variant) to algorithm to its runs."""


def shown_variants(groups: Groups) -> dict[str, str]:
    """Task to the variant to show: `default` where it has runs, else the one with most of the paper's algorithms,
    then most runs, then the first by name."""
    tasks: dict[str, list[str]] = {}
    for task, variant in groups:
        tasks.setdefault(task, []).append(variant)
    return {
        task: min(variants, key=lambda variant: _preference(variant, groups[task, variant]))
        for task, variants in tasks.items()
    }


def _preference(variant: str, algorithms: Mapping[str, list[Run]]) -> tuple[bool, int, int, str]:
    """Sorts the variant to show first."""
    known = len(set(algorithms) & set(COMPARED_ALGORITHMS))
    return variant != PAPER_VARIANT, -known, -sum(map(len, algorithms.values())), variant
