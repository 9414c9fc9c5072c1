"""Cells and rows of these tables."""

from __future__ import annotations

from collections.abc import Sequence

from figures.analysis import Analysis
from figures.analysis.statistics import summarise
from figures.tables import DASH, Cell, markdown_lines, plus_minus
from results.checks import uncounted
from results.records import Evaluation, Run

ScoreName = tuple[str, str, str]
"""Task, variant, algorithm."""
PENALISED = ("maddpg", "maddpgs", "pic")
"""Algorithms that were also run with a larger penalty on logits."""


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> str:
    """A Markdown table whose first `words` columns are text; the others are numbers, aligned right."""
    cells: list[list[Cell]] = [[(text, text) for text in row] for row in rows]
    return "\n".join(markdown_lines(list(header), cells, words=words))


def normalised_cell(analysis: Analysis, name: ScoreName, policy: str, digits: int = 0) -> str:
    """Normalised score of a policy in %, mean ± standard deviation over seeds; a dash where it was not run."""
    score = analysis.scores_by_cell.get(name)
    return plus_minus(score.normalised_scores.get(policy), digits) if score else DASH


def return_cell(analysis: Analysis, name: ScoreName, policy: str, digits: int = 0) -> str:
    """Return of a policy, mean ± standard deviation over seeds; a dash where it was not run."""
    score = analysis.scores_by_cell.get(name)
    return plus_minus(score.summaries.get(policy), digits) if score else DASH


def runs_of(analysis: Analysis, name: ScoreName) -> Sequence[Run]:
    """The runs that count, by seed; none where it was not run."""
    task, variant, algorithm = name
    return [run for run in analysis.groups.get((task, variant), {}).get(algorithm, []) if not uncounted(run)]


def over_seeds(values: Sequence[float], digits: int = 0) -> str:
    """Mean ± standard deviation of one value for each seed; a dash without values."""
    return plus_minus(summarise(values), digits) if values else DASH


def last_of(evaluations: Sequence[Evaluation], policy: str) -> Evaluation:
    """The last evaluation of a policy."""
    return [evaluation for evaluation in evaluations if evaluation.policy == policy][-1]
