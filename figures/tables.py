"""Score tables for reading: plain numbers for CSV, formatted cells for Markdown and HTML."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape

import pandas as pd

from figures.page import page
from figures.scores import Aggregate, ReferenceScore, Score, leaders
from figures.statistics import Summary
from figures.style import algorithm_label
from results.records import POLICIES

DASH = "\u2013"
Cell = tuple[str, float | str]
"""What a table cell says, and the value it is sorted by."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table for reading, as Markdown and as HTML."""

    header: tuple[str, ...]
    rows: list[list[Cell]]
    caption: str
    bold: set[tuple[int, int]] = field(default_factory=set)
    """(row, column) of cells to set in bold."""
    words: int = 1
    """Columns of text at the left; the others are numbers, aligned right in Markdown."""

    def markdown(self) -> str:
        """The table and its caption as Markdown."""
        return "\n".join([*markdown_lines(list(self.header), self.rows, self.bold, self.words), "", self.caption, ""])

    def html(self) -> str:
        """The table, sortable, and its caption as HTML."""
        return f'{html_table(list(self.header), self.rows, self.bold)}\n<p class="caption">{escape(self.caption)}</p>'


def scores_frame(scores: list[Score]) -> pd.DataFrame:
    """Plain numbers, one row a score: what scores.csv holds. Absent values are empty."""
    rows = []
    for score in scores:
        row: dict[str, object] = {
            "task": score.task,
            "variant": score.variant,
            "algorithm": score.algorithm,
            "seeds": score.seeds,
            "unfinished_runs": score.unfinished,
            "provisional": score.provisional,
            "steps": score.steps,
        }
        for policy in POLICIES:
            for name, summaries in (("return", score.summaries), ("gap_closed_percent", score.gaps)):
                summary = summaries.get(policy)
                row[f"{policy}_{name}_mean"] = summary.mean if summary else None
                row[f"{policy}_{name}_std"] = summary.std if summary else None
        rows.append(row)
    return pd.DataFrame(rows)


def decimals(value: float) -> int:
    """Digits after the point that a score of this size deserves."""
    size = abs(value)
    return 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 else 3


def number(value: float | None, digits: int | None = None) -> str:
    """A number for reading: thousands separated, a true minus sign; a dash when there is none."""
    if value is None:
        return DASH
    if not math.isfinite(value):
        return "not finite"
    return f"{value:,.{decimals(value) if digits is None else digits}f}".replace("-", "\u2212")


def plus_minus(summary: Summary | None, digits: int | None = None) -> str:
    """``mean ± std``; only the mean for a single seed; a dash when there is no score."""
    if summary is None:
        return DASH
    if not math.isfinite(summary.mean):
        return number(summary.mean)
    digits = decimals(summary.mean) if digits is None else digits
    spread = f" ± {number(summary.std, digits)}" if summary.std is not None else ""
    return number(summary.mean, digits) + spread


def score_rows(scores: list[Score]) -> tuple[list[str], list[list[Cell]], set[tuple[int, int]]]:
    """The score table for reading: header, rows of (text, sort value), and the (row, column) of bold cells."""
    header = ["Task", "Variant", "Algorithm", "Greedy", "Gap %", "Sampled", "Gap %", "Seeds", "Steps"]
    bold = set()
    rows: list[list[Cell]] = []
    for score in scores:
        peers = [other for other in scores if (other.task, other.variant) == (score.task, score.variant)]
        row: list[Cell] = [(name, name) for name in (score.task, score.variant, algorithm_label(score.algorithm))]
        for policy in POLICIES:
            if score.algorithm in leaders(peers, policy):
                bold.add((len(rows), len(row)))
            mark = "†" if score.provisional and policy in score.summaries else ""
            for summary, digits in ((score.summaries.get(policy), None), (score.gaps.get(policy), 1)):
                row.append((plus_minus(summary, digits) + mark, summary.mean if summary else -math.inf))
        rows.append([*row, (_seeds_text(score), score.seeds), (f"{score.steps:,}", score.steps)])
    return header, rows, bold


def markdown_table(scores: list[Score]) -> str:
    """The score table as Markdown, with its explanation."""
    return "\n".join([*markdown_lines(*score_rows(scores), words=3), "", SCORES_CAPTION, ""])


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


def html_table(header: list[str], rows: list[list[Cell]], bold: set[tuple[int, int]] | None = None) -> str:
    """A sortable HTML table: click a header to sort. Numbers are right-aligned, line breaks are kept."""
    lines = ['<div class="scroll"><table class="sortable"><thead><tr>']
    numeric = [
        bool(rows) and all(isinstance(row[column][1], (int, float)) for row in rows) for column in range(len(header))
    ]
    for name, right in zip(header, numeric, strict=True):
        lines.append(f'<th scope="col"{_align(right)}><button type="button">{escape(name)}</button></th>')
    lines.append("</tr></thead><tbody>")
    for row_index, row in enumerate(rows):
        cells = []
        for column, (text, key) in enumerate(row):
            content = escape(text).replace("\n", "<br>")
            if (row_index, column) in (bold or set()):
                content = f"<strong>{content}</strong>"
            cells.append(f'<td{_align(numeric[column])} data-sort="{escape(_sort_key(key))}">{content}</td>')
        lines.append("<tr>" + "".join(cells) + "</tr>")
    lines.append("</tbody></table></div>")
    return "\n".join(lines)


def aggregate_table(rows: list[Aggregate]) -> str:
    """Gap closed over tasks, as HTML."""
    header = ["Variant", "Algorithm", "Tasks", "Runs", "Mean gap %", "Interquartile mean %", "95 % interval"]
    cells: list[list[Cell]] = [
        [
            (row.variant, row.variant),
            (algorithm_label(row.algorithm), algorithm_label(row.algorithm)),
            (str(row.tasks), row.tasks),
            (str(row.runs), row.runs),
            (number(row.mean, 1), row.mean),
            (number(row.interquartile_mean, 1), row.interquartile_mean),
            (f"{number(row.low, 1)} to {number(row.high, 1)}", row.low),
        ]
        for row in rows
    ]
    return html_table(header, cells)


def reference_table(rows: list[ReferenceScore]) -> str:
    """The reference policies, as HTML."""
    header = ["Task", "Policy", "Return", "Standard error", "Episodes", "Evaluation seed"]
    cells: list[list[Cell]] = [
        [
            (row.task, row.task),
            (row.policy, row.policy),
            (number(row.return_mean), row.return_mean),
            (number(row.standard_error), -math.inf if row.standard_error is None else row.standard_error),
            (str(row.episodes), row.episodes),
            (str(row.evaluation_seed), row.evaluation_seed),
        ]
        for row in rows
    ]
    return html_table(header, cells)


SCORES_CAPTION = (
    "Final score of a seed: its mean over the last 3 evaluations. Shown: mean ± sample standard deviation over "
    "finished seeds (no deviation for a single seed). Gap: 100 (R \u2212 random) / (top \u2212 random), with both "
    "scripted policies of the same task; top is the optimal policy where it is known, else the assignment (MPE), max "
    "pressure (CityFlow) or agents that never hit one another (Jungle). Bold: the "
    "best mean, and all that Welch's 95 % interval cannot tell from it; nothing is bold with fewer than two "
    "algorithms, a single seed, unequal steps, or where no two can be told apart. †: no seed has finished, the score "
    "is provisional."
)


AGGREGATE_CAPTION = (
    "Gap closed, pooled over seeds and over the tasks of a variant on which every algorithm has a finished run. The "
    "interval is that of the interquartile mean: 95 % percentile bootstrap, seeds redrawn within each task."
)


def scores_page(scores: list[Score]) -> str:
    """The score table as a page of its own."""
    content = (
        f'<h2>Final scores</h2>\n{html_table(*score_rows(scores))}\n<p class="caption">{escape(SCORES_CAPTION)}</p>'
    )
    return page("Final scores", "", content)


def _seeds_text(score: Score) -> str:
    """``3``, ``3 (1 unfinished)`` when a fourth does not count yet, ``1 unfinished`` when only such runs exist."""
    if score.provisional or not score.seeds:
        return f"{score.unfinished} unfinished"
    return f"{score.seeds} ({score.unfinished} unfinished)" if score.unfinished else str(score.seeds)


def _sort_key(key: float | str) -> str:
    """Absent and broken numbers sort below every number."""
    return "-Infinity" if isinstance(key, float) and not math.isfinite(key) else str(key)


def _align(right: bool) -> str:
    return ' class="number"' if right else ""
