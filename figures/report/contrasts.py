"""Answers to questions about pairs of variants: a sentence and a table for each, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from figures.analysis import Analysis
from figures.analysis.contrasts import Contrast, PairedDifference, Question, contrasts, over_tasks
from figures.names import algorithm_label, listed, task_title
from figures.tables import DASH, Cell, decimals, interval, markdown_lines, number, plus_minus, signed
from results.words import counted

SIGNIFICANCE = 0.05
"""Significance level of the tests after correction."""


RULES = (
    "Scores of the headline policy; p values by Welch's test, corrected by Holm for all pairs of the table. A pair "
    "with a single seed has none, but counts in the mean over tasks. **Bold**: p < 0.05. No policy below "
    "random play counts as better."
)


def answer(analysis: Analysis, question: Question) -> tuple[str, str] | None:
    """The answer in sentences, and a table of the pairs as Markdown; None where none was run."""
    found = contrasts(analysis, question)
    if not found:
        return None
    combined = list(_over_tasks(found))
    sentences = [_significant(question, found), *(combined or _higher(found))]
    rows = [_contrast_row(one) for one in found]
    bold = {(row, 5) for row, one in enumerate(found) if one.adjusted_p is not None and one.adjusted_p < SIGNIFICANCE}
    header = ["Task", "Algorithm", "Compared with", "Score", "Score of the other", "Difference", "p"]
    table = "\n".join(markdown_lines(header, rows, bold, words=3))
    return " ".join(sentences), f"{RULES}\n\n{table}"


def _significant(question: Question, found: list[Contrast]) -> str:
    """How often a difference is significant, by what is compared."""
    parts = []
    for other in dict.fromkeys(one.other for one in found if one.adjusted_p is not None):
        tested = [one for one in found if one.other == other and one.adjusted_p is not None]
        sure = [one for one in tested if (one.adjusted_p or 0.0) < SIGNIFICANCE and not one.below_random]
        better = sum(one.difference > 0 for one in sure)
        settings = counted(len(tested), "setting")
        parts.append(f"than {other} in {better} of {settings} (worse in {len(sure) - better})")
    if not parts:
        return f"{counted(len(found), 'pair')}, none with several seeds on both sides."
    return f"{question.subject} significantly better {listed(parts)}."


def _higher(found: list[Contrast]) -> Iterator[str]:
    """How often the mean is higher, where some pairs have a single seed."""
    if all(one.adjusted_p is not None for one in found):
        return
    parts = []
    for other in dict.fromkeys(one.other for one in found):
        pairs = [one for one in found if one.other == other]
        higher = sum(one.difference > 0 and not one.below_random for one in pairs)
        parts.append(f"than for {other} in {higher} of {counted(len(pairs), 'pair')}")
    yield f"Single seeds included, the mean is higher {listed(parts)}."


def _over_tasks(found: list[Contrast]) -> Iterator[str]:
    """Mean differences over tasks, one sentence for each variant of an algorithm."""
    groups: dict[tuple[str, str], list[PairedDifference]] = {}
    for paired in over_tasks(found):
        groups.setdefault((paired.algorithm, paired.variant), []).append(paired)
    for (algorithm, variant), parts in groups.items():
        words = [
            f"from {paired.other} is {signed(paired.mean, 1)} points (95 % "
            f"{interval(paired.mean, paired.half_width, 1)}, Wilcoxon p = {paired.p:.2g}, {paired.tasks} tasks)"
            for paired in parts
        ]
        yield f"Over tasks (variant {variant}), the mean difference of {algorithm_label(algorithm)} {listed(words)}."


def _contrast_row(one: Contrast) -> list[Cell]:
    digits, unit = (1, " %") if one.normalised else (decimals(one.difference), "")
    half = f" ± {number(one.half_width, digits)}" if one.half_width is not None else ""
    useless = ", neither above random play" if one.below_random else ""
    texts = [
        task_title(one.task, one.variant),
        algorithm_label(one.algorithm),
        one.other,
        *(f"{plus_minus(summary, 1 if one.normalised else None)}{unit}" for summary in (one.first, one.second)),
        signed(one.difference, digits) + half + useless,
        DASH if one.adjusted_p is None else f"{one.adjusted_p:.2g}",
    ]
    return [(text, text) for text in texts]
