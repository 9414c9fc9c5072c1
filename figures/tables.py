"""Tables: plain numbers for CSV, formatted cells for Markdown and for the report."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pandas as pd

from figures.analysis.policies import COLLAPSED_WORDS, LEARNED_WORDS, POLICY_WORDS, other_policy
from figures.analysis.scores import Score, leaders
from figures.analysis.statistics import Summary, mean_half_width, new_seed_half_width
from figures.names import algorithm_label
from results.records import POLICIES

DASH = "\u2013"
Cell = tuple[str, float | str]
"""Text of a table cell, and the value it is sorted by."""
ABSENT: Cell = (DASH, -math.inf)


@dataclass(frozen=True, slots=True)
class Table:
    """A table for display, as Markdown and in the report."""

    header: tuple[str, ...]
    rows: list[list[Cell]]
    caption: str = ""
    bold: set[tuple[int, int]] = field(default_factory=set)
    """(row, column) of cells in bold."""
    words: int = 1
    """Number of text columns at the left; the others are numbers, aligned right in Markdown."""
    foot: list[str] = field(default_factory=list)
    """A last row of sums, which sorting leaves in place; empty for none."""
    matrix: bool = False
    """Whether the first column stays visible where the table is wider than the page."""

    def markdown(self) -> str:
        """The table and its caption as Markdown."""
        return "\n".join([*markdown_lines(list(self.header), self.rows, self.bold, self.words), "", self.caption, ""])

    @property
    def numeric(self) -> list[bool]:
        """Whether each column holds only numbers."""
        columns = range(len(self.header))
        return [
            bool(self.rows) and all(isinstance(row[place][1], int | float) for row in self.rows) for place in columns
        ]


def scores_frame(scores: list[Score]) -> pd.DataFrame:
    """Plain numbers, one row per score: the contents of scores.csv. Absent values are empty."""
    rows = []
    for score in scores:
        row: dict[str, object] = {
            "task": score.task,
            "variant": score.variant,
            "algorithm": score.algorithm,
            "learned_from": score.learned_from,
            "headline_policy": score.policy,
            "seeds": score.seeds,
            "unfinished_runs": score.unfinished,
            "collapsed_seeds": score.collapsed_seeds,
            "provisional": score.provisional,
            "steps": score.steps,
        }
        for policy in POLICIES:
            for name, summaries in (("return", score.summaries), ("normalised_score_percent", score.normalised_scores)):
                summary = summaries.get(policy)
                row[f"{policy}_{name}_mean"] = summary.mean if summary else None
                row[f"{policy}_{name}_std"] = summary.std if summary else None
        headline = score.summary
        row["headline_return_mean_half_width"] = mean_half_width(headline) if headline else None
        row["headline_return_new_seed_half_width"] = new_seed_half_width(headline) if headline else None
        rows.append(row)
    return pd.DataFrame(rows)


def decimals(value: float) -> int:
    """Number of decimals appropriate for a score of this size."""
    size = abs(value)
    return 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 else 3


def number(value: float | None, digits: int | None = None) -> str:
    """A number for display: thousands separated, a true minus sign, zero without one; a dash when there is none."""
    if value is None:
        return DASH
    if not math.isfinite(value):
        return "not finite"
    text = f"{value:,.{decimals(value) if digits is None else digits}f}"
    return text.replace("-", "\u2212" if text.strip("-0.") else "")


def signed(value: float, digits: int) -> str:
    """A difference for display, with its sign."""
    return ("+" if value > 0 else "") + number(value, digits)


def plus_minus(summary: Summary | None, digits: int | None = None) -> str:
    """`mean ± std`; only the mean for a single seed; a dash when there is no score."""
    if summary is None:
        return DASH
    if not math.isfinite(summary.mean):
        return number(summary.mean)
    digits = decimals(summary.mean) if digits is None else digits
    spread = f" ± {number(summary.std, digits)}" if summary.std is not None else ""
    return number(summary.mean, digits) + spread


def interval(centre: float, half_width: float | None, digits: int | None = None) -> str:
    """`low to high`; a dash where there is no interval."""
    if half_width is None or not math.isfinite(half_width):
        return DASH
    places = decimals(abs(centre) + half_width) if digits is None else digits
    return f"{number(centre - half_width, places)} to {number(centre + half_width, places)}"


def score_table(scores: list[Score], bold_of: dict[tuple[str, str], set[str]] | None = None) -> Table:
    """All scores: the headline policy with its intervals, then the other one.

    Args:
        bold_of: (task, variant) -> the algorithms in bold, where known.
    """
    groups: dict[tuple[str, str], list[Score]] = {}
    for score in scores:
        groups.setdefault((score.task, score.variant), []).append(score)
    best = {cell: leaders(group) for cell, group in groups.items()} if bold_of is None else bold_of
    bold: set[tuple[int, int]] = set()
    rows: list[list[Cell]] = []
    for score in scores:
        if score.algorithm in best[score.task, score.variant]:
            bold |= {(len(rows), RETURN), (len(rows), RETURN + 3)}
        rows.append(_score_row(score))
    return Table(SCORE_HEADER, rows, SCORES_CAPTION, bold, words=5)


SCORE_HEADER = (
    "Task",
    "Variant",
    "Algorithm",
    "Learned from",
    "Policy",
    "Return",
    "95 % of the mean",
    "95 % of a new seed",
    "Normalised %",
    "Other policy",
    "Its normalised %",
    "Seeds",
    "Steps",
    "Remark",
)
RETURN = SCORE_HEADER.index("Return")


def _score_row(score: Score) -> list[Cell]:
    names = (score.task, score.variant, algorithm_label(score.algorithm), score.learned_from, score.policy)
    row: list[Cell] = [(name, name) for name in names]
    headline, other = score.summary, other_policy(score.algorithm)
    mark = "†" if score.provisional else ""
    row.append((plus_minus(headline) + mark if headline else DASH, headline.mean if headline else -math.inf))
    for half in (mean_half_width(headline), new_seed_half_width(headline)) if headline else (None, None):
        text = interval(headline.mean, half, decimals(headline.mean)) if headline else DASH
        row.append((text, headline.mean - half if headline and half is not None else -math.inf))
    for summary, digits in ((score.normalised, 1), (score.other, None), (score.normalised_scores.get(other), 1)):
        row.append((plus_minus(summary, digits) + (mark if summary else ""), summary.mean if summary else -math.inf))
    remark = remark_of(score)
    return [*row, (_seeds_text(score), score.seeds), (f"{score.steps:,}", score.steps), (remark, remark)]


def remark_of(score: Score) -> str:
    """Note on a score that is not ranked or means little; usually empty."""
    words = []
    if score.collapsed_seeds:
        words.append("collapsed" if score.collapsed else f"{score.collapsed_seeds} of {score.seeds} seeds collapsed")
    if score.below_random:
        words.append("no better than random")
    if score.diverged:
        words.append(f"{score.diverged} diverged")
    return ", ".join(words)


def markdown_lines(
    header: list[str], rows: list[list[Cell]], bold: set[tuple[int, int]] | None = None, words: int = 0
) -> list[str]:
    """The lines of a Markdown table whose first `words` columns are text; the others are numbers, aligned right."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * words + "---:|" * (len(header) - words)]
    for row_index, row in enumerate(rows):
        cells = [
            f"**{text}**" if (row_index, column) in (bold or set()) else text for column, (text, _) in enumerate(row)
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


SCORES_CAPTION = (
    f"{POLICY_WORDS} Final score of a seed: its mean over the last 3 evaluations; checkpoints are never chosen by "
    "their score. Shown: mean ± sample standard deviation over finished seeds (no deviation for a single seed); "
    "Student's interval of the mean; the prediction interval for one new seed. Normalised score: 100 (R \u2212 "
    "random) / (top \u2212 random), with both reference policies of the same task; top is the optimal policy where it "
    "is known, otherwise the assignment (MPE), max pressure (CityFlow) or agents that never attack one another "
    "(Jungle). Bold: among algorithms that learned from the same reward, the best mean, and all that Welch's 95 % "
    "interval does not distinguish from it; nothing is bold with fewer than two such algorithms, a single seed or "
    "unequal steps, or where no two differ significantly; scores no better than random play never are. "
    f"{LEARNED_WORDS} {COLLAPSED_WORDS} †: no seed has finished, the score is provisional."
)


AGGREGATE_CAPTION = (
    "Normalised score, pooled over seeds and over the tasks of a variant on which every algorithm has a finished run. "
    "The interval is that of the interquartile mean: 95 % percentile bootstrap, resampling seeds within each task. "
    "Algorithms that learned from different rewards are not comparable."
)


def _seeds_text(score: Score) -> str:
    """Number of seeds: `3`, `3 (1 unfinished)` when a fourth does not count yet, `1 unfinished` when no other
    exists."""
    if score.provisional or not score.seeds:
        return f"{score.unfinished} unfinished"
    return f"{score.seeds} ({score.unfinished} unfinished)" if score.unfinished else str(score.seeds)
