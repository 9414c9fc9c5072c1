"""Score tables of the report: tasks by algorithms, aggregates over tasks, and reference policies."""

from __future__ import annotations

import math

from figures.analysis import Analysis
from figures.analysis.policies import LEARNED_WORDS, POLICY_WORDS, TEAM
from figures.analysis.scores import SCALE_TOPS, Aggregate, Score, leaders
from figures.names import algorithm_label, task_title
from figures.style import algorithm_styles
from figures.tables import ABSENT, AGGREGATE_CAPTION, Cell, Table, number, plus_minus

TEAM_MARK = " \u1d57"
"""Mark after the score of an algorithm that learned from the team's reward where others did not."""
MATRIX_CAPTION = (
    f"{POLICY_WORDS} Mean \u00b1 sample standard deviation over finished seeds of the mean over their last 3 "
    f"evaluations. \u1d57: learned from one team reward where others learned from each agent's. {LEARNED_WORDS} Bold: "
    "among those that learned from the same reward, the best and all that Welch's 95 % interval does not distinguish "
    "from it. c: collapsed. \u2193: no better than random play. \u2020: no seed has finished."
)


def policy_table(analysis: Analysis, other: bool, alone: bool | None = None) -> Table:
    """Table of tasks and variants by algorithms, with the reference policies at both ends of the normalised score.

    Args:
        other: show the other policy of each algorithm instead of its headline policy.
        alone: show only the tasks and variants with a single algorithm, or only those with several.
    """
    cells = [cell for cell, scores in analysis.scores_of.items() if alone is None or (len(scores) == 1) == alone]
    styles = algorithm_styles(score.algorithm for cell in cells for score in analysis.scores_of[cell])
    rows: list[list[Cell]] = []
    bold = set()
    for task, variant in cells:
        present = {score.algorithm: score for score in analysis.scores_of[task, variant]}
        best = set() if other else leaders(list(present.values()))
        mixed = len({score.learned_from for score in present.values()}) > 1
        title = task_title(task, variant)
        row: list[Cell] = [(title, title)]
        for name in styles:
            if name in best:
                bold.add((len(rows), len(row)))
            row.append(_score_cell(present[name], other, mixed) if name in present else ABSENT)
        rows.append([*row, *_bounds(analysis.reference_means(task))])
    header = ("Task", *(style.label for style in styles.values()), "random", "100 %")
    words = "The other policy: greedy for algorithms that learn a stochastic policy, exploring for Q-learners."
    caption = words if other else MATRIX_CAPTION
    return Table(header, rows, caption, bold, matrix=True)


def aggregate_table(rows: list[Aggregate]) -> Table:
    """Table of normalised scores over tasks."""
    header = (
        "Variant",
        "Algorithm",
        "Learned from",
        "Tasks",
        "Runs",
        "Mean normalised score %",
        "Interquartile mean %",
        "95 % interval",
    )
    cells: list[list[Cell]] = [
        [
            (row.variant, row.variant),
            (algorithm_label(row.algorithm), algorithm_label(row.algorithm)),
            (row.learned_from, row.learned_from),
            (str(row.tasks), row.tasks),
            (str(row.runs), row.runs),
            (number(row.mean, 1), row.mean),
            (number(row.interquartile_mean, 1), row.interquartile_mean),
            (f"{number(row.low, 1)} to {number(row.high, 1)}", row.low),
        ]
        for row in rows
    ]
    return Table(header, cells, f"{POLICY_WORDS} {AGGREGATE_CAPTION}", words=3)


def reference_table(analysis: Analysis) -> Table:
    """Table of the reference policies."""
    header = ("Task", "Policy", "Return", "Standard error", "Episodes", "Evaluation seed")
    cells: list[list[Cell]] = [
        [
            (row.task, row.task),
            (row.policy, row.policy),
            (number(row.return_mean), row.return_mean),
            (number(row.standard_error), -math.inf if row.standard_error is None else row.standard_error),
            (str(row.episodes), row.episodes),
            (str(row.evaluation_seed), row.evaluation_seed),
        ]
        for row in analysis.references
    ]
    return Table(header, cells, words=2)


def _score_cell(score: Score, other: bool, mixed: bool) -> Cell:
    summary = score.other if other else score.summary
    if summary is None:
        return ABSENT
    marks = "\u2020" if score.provisional else ""
    if not other:
        marks += TEAM_MARK if mixed and score.learned_from == TEAM else ""
        marks += " c" if score.collapsed else ""
        marks += " \u2193" if score.below_random else ""
    return plus_minus(summary).replace(" \u00b1", "\n\u00b1") + marks, summary.mean


def _bounds(means: dict[str, float]) -> list[Cell]:
    """Random play (0 %) and the reference policy that stands for 100 %."""
    top = next((name for name in SCALE_TOPS if name in means), None)
    low: Cell = (number(means["random"]), means["random"]) if "random" in means else ABSENT
    return [low, (f"{number(means[top])}\n{top.replace('_', ' ')}", means[top]) if top else ABSENT]
