"""Trained policies on longer episodes than in training: whole hours of traffic."""

from __future__ import annotations

import numpy as np

from figures.analysis import Analysis
from figures.analysis.policies import POLICY_WORDS, headline_policy, other_policy
from figures.analysis.statistics import Summary, summarise
from figures.names import task_title
from figures.style import algorithm_styles
from figures.tables import ABSENT, Cell, Table, number, plus_minus
from results.records import Run

CAPTION = (
    "Mean return over seeds, ± one sample standard deviation, of the trained policies on the longer episode; for "
    f"traffic, minus the average travel time over the whole hour. {POLICY_WORDS} The other policy is in brackets; "
    "reference policies are on the right."
)


def full_episode_table(analysis: Analysis) -> Table | None:
    """Table of tasks by algorithms and reference policies; None where no run has such an evaluation."""
    references = analysis.results.references
    groups = {
        key: algorithms
        for key, algorithms in analysis.groups.items()
        if any(_evaluated(runs) for runs in algorithms.values())
    }
    if not groups:
        return None
    styles = algorithm_styles(name for algorithms in groups.values() for name in algorithms)
    policies = list(dict.fromkeys(name for record in references.values() for name in record.full_returns))
    rows: list[list[Cell]] = []
    for (task, variant), algorithms in groups.items():
        title = task_title(task, variant)
        row: list[Cell] = [(title, title)]
        row += [_cell(name, algorithms.get(name, [])) for name in styles]
        for name in policies:
            returns = references[task].full_returns.get(name) if task in references else None
            row.append((number(float(np.mean(returns))), float(np.mean(returns))) if returns else ABSENT)
        rows.append(row)
    header = ("Task", *(style.label for style in styles.values()), *(name.replace("_", " ") for name in policies))
    return Table(header, rows, CAPTION, matrix=True)


def _evaluated(runs: list[Run]) -> list[Run]:
    return [run for run in runs if run.full_evaluations]


def _summary(runs: list[Run], policy: str) -> Summary | None:
    means = [
        float(np.mean(evaluation.returns))
        for run in runs
        for evaluation in run.full_evaluations
        if evaluation.policy == policy
    ]
    return summarise(means) if means else None


def _cell(algorithm: str, runs: list[Run]) -> Cell:
    if not _evaluated(runs):
        return ABSENT
    headline, other = (_summary(runs, policy(algorithm)) for policy in (headline_policy, other_policy))
    return f"{plus_minus(headline)}\n({plus_minus(other)})", headline.mean if headline else float("-inf")
