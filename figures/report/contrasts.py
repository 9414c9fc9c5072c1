"""Answers to questions about pairs of variants: a sentence and a table for each, as Markdown."""

from __future__ import annotations

from figures.analysis import Analysis
from figures.analysis.contrasts import Contrast, Question, contrasts
from figures.names import algorithm_label, counted, task_title
from figures.tables import DASH, Cell, decimals, markdown_lines, number, plus_minus

LEVEL = 0.05
"""Significance level of the tests after correction."""


def answer(analysis: Analysis, question: Question) -> tuple[str, str] | None:
    """A sentence, and a table of the pairs as Markdown; None where none was run."""
    found = contrasts(analysis, question)
    if not found:
        return None
    parts = []
    for other in dict.fromkeys(one.other for one in found):
        here = [one for one in found if one.other == other]
        tested = [one for one in here if one.adjusted_p is not None]
        sure = [one for one in tested if (one.adjusted_p or 0.0) < LEVEL and not one.below_random]
        better = sum(one.difference > 0 for one in sure)
        if not tested:
            parts.append(f"than {other} in none of {counted(len(here), 'setting')}, all with a single seed")
            continue
        untested = f"; {len(here) - len(tested)} more with a single seed" if len(tested) < len(here) else ""
        parts.append(
            f"than {other} in {better} of {counted(len(tested), 'setting')} (worse in {len(sure) - better}{untested})"
        )
    short = (
        f"{question.subject} significantly better {'; '.join(parts)}. p values are corrected for all comparisons, and "
        "no policy below random play counts as better."
    )
    rows = [_contrast_row(one) for one in found]
    bold = {(row, 5) for row, one in enumerate(found) if one.adjusted_p is not None and one.adjusted_p < LEVEL}
    header = ["Task", "Algorithm", "Compared with", "Score", "Of the other", "Difference", "p"]
    return short, "\n".join(markdown_lines(header, rows, bold, words=3))


def _contrast_row(one: Contrast) -> list[Cell]:
    digits, unit = (1, " %") if one.normalised else (decimals(one.difference), "")
    half = f" ± {number(one.half_width, digits)}" if one.half_width is not None else ""
    useless = ", neither above random play" if one.below_random else ""
    texts = [
        task_title(one.task, one.variant),
        algorithm_label(one.algorithm),
        one.other,
        *(f"{plus_minus(summary, 1 if one.normalised else None)}{unit}" for summary in (one.first, one.second)),
        ("+" if one.difference > 0 else "") + number(one.difference, digits) + half + useless,
        DASH if one.adjusted_p is None else f"{one.adjusted_p:.2g}",
    ]
    return [(text, text) for text in texts]
