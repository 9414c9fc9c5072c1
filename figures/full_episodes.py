"""Trained policies on longer episodes than those they were trained on: the whole hour of traffic tasks."""

from __future__ import annotations

import numpy as np

from figures.statistics import summarise
from figures.style import algorithm_styles, task_title
from figures.tables import DASH, Cell, html_table, number, plus_minus
from results.checks import algorithm_order, group_runs
from results.records import POLICIES, Results, Run

CAPTION = (
    "Mean return over seeds, ± one sample standard deviation, of the trained policies on the longer episode; for "
    "traffic, minus the average travel time over the whole hour. In brackets the sampled policy. On the right, "
    "reference policies."
)


def full_episode_table(results: Results) -> str | None:
    """Tasks down, algorithms and reference policies across, as HTML; None where no run has such an evaluation."""
    groups = {key: own for key, own in group_runs(results).items() if any(_evaluated(runs) for runs in own.values())}
    if not groups:
        return None
    styles = algorithm_styles(name for own in groups.values() for name in algorithm_order(set(own)))
    policies = list(dict.fromkeys(name for own in results.references.values() for name in own.full_returns))
    rows: list[list[Cell]] = []
    for (task, variant), algorithms in groups.items():
        title = task_title(task, variant)
        references = results.references.get(task)
        row: list[Cell] = [(title, title)]
        row += [_cell(algorithms.get(name, [])) for name in styles]
        for name in policies:
            returns = references.full_returns.get(name) if references else None
            mean = float(np.mean(returns)) if returns else None
            row.append((number(mean), float("-inf") if mean is None else mean))
        rows.append(row)
    header = ["Task", *(style.label for style in styles.values()), *(name.replace("_", " ") for name in policies)]
    return html_table(header, rows) + f'<p class="caption">{CAPTION}</p>'


def _evaluated(runs: list[Run]) -> list[Run]:
    return [run for run in runs if run.full_evaluations]


def _cell(runs: list[Run]) -> Cell:
    if not _evaluated(runs):
        return DASH, float("-inf")
    texts, key = [], float("-inf")
    for policy in POLICIES:
        means = [
            float(np.mean(evaluation.returns))
            for run in _evaluated(runs)
            for evaluation in run.full_evaluations
            if evaluation.policy == policy
        ]
        summary = summarise(means) if means else None
        texts.append(plus_minus(summary))
        if policy == POLICIES[0] and summary:
            key = summary.mean
    return f"{texts[0]}\n({texts[1]})", key
