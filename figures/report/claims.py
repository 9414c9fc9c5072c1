"""The paper's claims one by one: a paragraph and a table of measurements for each, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from figures.analysis import Analysis
from figures.analysis.claims import (
    CLAIMED,
    CLAIMS,
    INTERPRETED,
    NOT_MEASURED,
    OPPOSITE,
    UNDECIDED,
    WELL,
    Comparison,
    Evidence,
    evidence,
    side_label,
)
from figures.analysis.paper_values import Entry, load_paper
from figures.analysis.scores import task_scale
from figures.analysis.statistics import Summary, mean_half_width, welch_half_width
from figures.names import listed, task_title
from figures.tables import DASH, Cell, decimals, markdown_lines, number, plus_minus, signed

RULES = (
    "Each table has a row for each task (and algorithm claimed to be better). Rankings: its normalised score in % (or "
    "its return, where there is none) ± sample standard deviation, then how far it is ahead of each other algorithm ± "
    "half of Welch's 95 % interval, in points of the normalised score. Variation over seeds: standard deviations. "
    f"An algorithm does well if its normalised score is above {WELL:g} % and fails if it is below; shown ± half of the "
    "95 % interval. "
    "Greens and traffic: divergences in nats, or distances, ± standard deviation; lower is better. **Bold**: "
    "significant, as claimed or opposite. \\*: learned from different rewards. †: the policy of either collapsed. A "
    "single seed has no interval and decides nothing. Steps: also in % of those that a test of the claim needs."
)


@dataclass(frozen=True, slots=True)
class Case:
    """A claim on one task, and what was measured."""

    entry: Entry
    task: str
    evidence: Evidence | None

    @property
    def title(self) -> str:
        return task_title(self.task)

    @property
    def comparisons(self) -> int:
        """Number of comparisons that the claim makes here."""
        return len(self.entry.better) * max(len(self.entry.worse), 1)

    @property
    def measured(self) -> bool:
        """Whether at least one comparison could be made."""
        return self.evidence is not None and self.evidence.counts[NOT_MEASURED] < self.comparisons


def cases_of(analysis: Analysis) -> dict[str, list[Case]]:
    """Statement of a claim -> its tasks, in the order of the paper."""
    found: dict[str, list[Case]] = {}
    for entry in load_paper():
        if entry.kind in CLAIMS:
            found.setdefault(entry.text, []).extend(
                Case(entry, task, evidence(analysis, entry, task)) for task in entry.tasks
            )
    return found


def outcome_words(analysis: Analysis) -> str:
    """The outcomes of all comparisons in one sentence."""
    cases = [case for group in cases_of(analysis).values() for case in group]
    found = [case.evidence.counts for case in cases if case.evidence is not None]
    claimed, opposite, undecided = (sum(counts[name] for counts in found) for name in (CLAIMED, OPPOSITE, UNDECIDED))
    total = sum(case.comparisons for case in cases)
    return (
        f"Of the {total} comparisons that its claims make, {claimed} are as claimed, {opposite} opposite, {undecided} "
        f"undecided and {total - claimed - opposite - undecided} not measured."
    )


def sections(analysis: Analysis) -> str:
    """The rules of the tables, then a section for each claim."""
    parts = [RULES]
    for statement, cases in cases_of(analysis).items():
        parts += [f"### {statement[:1].upper()}{statement[1:]}", _paragraph(cases)]
        lines = _table(analysis, [case for case in cases if case.measured])
        if lines:
            parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _paragraph(cases: Sequence[Case]) -> str:
    """Where the claim holds, where not, what is open, and the budgets of the runs."""
    places = list(dict.fromkeys(case.entry.where for case in cases))
    words = [f"Section {places[0]}." if len(places) == 1 else f"Sections {'; '.join(places)}."]
    measured = [(case, case.evidence) for case in cases if case.measured and case.evidence is not None]
    holds = [case.title for case, found in measured if found.counts[CLAIMED] == case.comparisons]
    partly = [
        f"{case.title} ({found.counts[CLAIMED]} of {case.comparisons})"
        for case, found in measured
        if 0 < found.counts[CLAIMED] < case.comparisons
    ]
    opposite = [
        f"{case.title} ({listed([_pair_words(pair) for pair in found.comparisons if pair.outcome == OPPOSITE])})"
        for case, found in measured
        if found.counts[OPPOSITE]
    ]
    undecided = [case.title for case, found in measured if not found.counts[CLAIMED] and not found.counts[OPPOSITE]]
    absent = [case.title for case in cases if not case.measured]
    enough = cases[0].entry.kind == "enough"
    for label, names in (
        ("As claimed", holds),
        ("In part", partly),
        ("Opposite", opposite),
        ("Not contradicted" if enough else "Undecided", undecided),
        ("Not measured", absent),
    ):
        if names:
            words.append(f"{label}: {'; '.join(names)}.")
    if measured:
        seeds = sorted({count for _, found in measured for count in found.seeds})
        shares = sorted(_percent(case.entry, steps) for case, found in measured for steps in found.steps)
        words.append(
            f"Runs: {_span([str(count) for count in seeds])} {'seed' if seeds == [1] else 'seeds'}, "
            f"{_span([_percent_text(share) for share in shares])} % of the steps."
        )
    tested = [case.title for case, found in measured if found.tested]
    if tested:
        words.append(f"Tested with the paper's settings and length: {'; '.join(tested)}.")
    return " ".join(words)


def _pair_words(pair: Comparison) -> str:
    return f"{side_label(pair.better)} and {side_label(pair.worse)}" if pair.worse else side_label(pair.better)


def _span(texts: Sequence[str]) -> str:
    return texts[0] if texts[0] == texts[-1] else f"{texts[0]} to {texts[-1]}"


def _percent(entry: Entry, steps: int) -> float:
    return 100 * steps / entry.steps


def _percent_text(share: float) -> str:
    return f"{share:.2g}" if share < 10 else f"{share:.0f}"


def _table(analysis: Analysis, cases: Sequence[Case]) -> list[str]:
    """The lines of the table of one claim; empty where nothing was measured."""
    if not cases:
        return []
    entry = cases[0].entry
    others = list(dict.fromkeys(side for case in cases for side in case.entry.worse))
    alone = len(entry.better) == 1 and bool(others)
    header = ["Task", *([] if alone else ["Algorithm"]), "Seeds", "Steps"]
    header += [side_label(entry.better[0]) if alone else "Value", *map(side_label, others)]
    rows: list[list[Cell]] = []
    bold: set[tuple[int, int]] = set()
    for case in cases:
        found = case.evidence
        for better in case.entry.better:
            if found is not None and better in found.values:
                cells, marked = _row(analysis, case, found, better, others)
                bold |= {(len(rows), len(header) - 1 - len(others) + column) for column in marked}
                cells = cells if alone else [cells[0], side_label(better), *cells[1:]]
                rows.append([(text, text) for text in cells])
    return markdown_lines(header, rows, bold, words=1 if alone else 2)


def _row(
    analysis: Analysis, case: Case, found: Evidence, better: str, others: Sequence[str]
) -> tuple[list[str], list[int]]:
    """Cells of one row, and which values are significant: 0 is that of `better`, then come `others`."""
    scale = task_scale(analysis.results.references.get(case.task))
    factor = scale[1] if scale is not None else None
    outcomes = {pair.worse: pair.outcome for pair in found.comparisons if pair.better == better}
    marked = [place for place, side in enumerate(("", *others)) if outcomes.get(side) in (CLAIMED, OPPOSITE)]
    texts = [
        task_title(case.task, found.variant),
        _span([str(count) for count in found.seeds]),
        _steps_text(case, found),
    ]
    texts.append(_value_text(case, better, found))
    return texts + [_other_text(case, found, better, side, factor) for side in others], marked


def _steps_text(case: Case, found: Evidence) -> str:
    steps = _span([f"{count:,}" for count in found.steps])
    return f"{steps} ({_span([_percent_text(_percent(case.entry, count)) for count in found.steps])} %)"


def _value_text(case: Case, side: str, found: Evidence) -> str:
    """The value of an algorithm claimed to be better."""
    value = found.values[side]
    if case.entry.kind == "spread":
        return _deviation(value)
    if case.entry.kind in ("well", "badly"):
        half = mean_half_width(value)
        return number(value.mean, 1) + (f" ± {number(half, 1)}" if half is not None else "")
    score = found.scores.get(side)
    if score is not None and score.normalised is not None:
        return f"{plus_minus(score.normalised, 1)} %"
    return plus_minus(value, 3 if case.entry.kind in INTERPRETED else None)


def _other_text(case: Case, found: Evidence, better: str, side: str, factor: float | None) -> str:
    """Another algorithm beside one claimed to be better."""
    one, other = found.values[better], found.values.get(side)
    if other is None or side not in case.entry.worse:
        return DASH
    if case.entry.kind == "spread":
        text = _deviation(other)
    elif case.entry.kind in INTERPRETED:
        text = plus_minus(other, 3)
    else:
        difference, half = one.mean - other.mean, welch_half_width(one, other)
        digits = decimals(difference) if factor is None else 1
        points = factor or 1.0
        text = signed(difference * points, digits)
        text += f" ± {number(half * points, digits)}" if half is not None else ""
    return text + _marks(found, better, side)


def _marks(found: Evidence, better: str, side: str) -> str:
    one, other = found.scores.get(better), found.scores.get(side)
    if one is None or other is None:
        return ""
    return ("\\*" if one.learned_from != other.learned_from else "") + ("†" if one.collapsed or other.collapsed else "")


def _deviation(value: Summary) -> str:
    return DASH if value.std is None else number(value.std)
