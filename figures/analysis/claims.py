"""Comparison of the paper's printed numbers and claims with measurements.

Scores are those of each algorithm's headline policy. Only finished runs with the paper's settings (variant `default`)
and at least the paper's length test a number or a claim; other runs are shown with a note of their settings.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from figures import LEVEL
from figures.analysis.ablations import PAPER_BASES
from figures.analysis.analysis import Analysis
from figures.analysis.interpretation import Account, summaries_of
from figures.analysis.paper_values import MISSING, NOT_TESTED, Entry, Finding
from figures.analysis.scores import Score
from figures.analysis.selection import PAPER_VARIANT
from figures.analysis.settings import find_setting
from figures.analysis.statistics import Summary, welch_half_width
from figures.names import algorithm_label, platform_of
from figures.tables import plus_minus
from results.checks import algorithm_order
from results.records import Run

PAPER_SEEDS = 5
WELL = 50.0
"""Normalised score in % that counts as doing well; the paper gives no number."""
TWO_HOPS = ("hops-2", "rounds-2")
"""Variants of the suites `ablations` and `why-cpu` with two rounds in all networks, with which others are compared."""
BAR = Summary(WELL, 0.0, 2)
"""The level of doing well, without an error, so that Welch's interval is that of the mean alone."""
CLAIMED, OPPOSITE, UNDECIDED, NOT_MEASURED = "as claimed", "opposite", "undecided", "not measured"
CLAIMS = ("ranking", "spread", "enough", "well", "badly", "divergence", "closer")
"""Kinds of entries that are claims."""
INTERPRETED = ("divergence", "closer")
"""Claims about greens and traffic, in which lower values are better."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One of the comparisons that a claim makes."""

    better: str
    """Algorithm, or `algorithm:ablation`, that is claimed to be better."""
    worse: str
    """The other one; empty where the claim names a level instead of an algorithm."""
    outcome: str
    """`CLAIMED`, `OPPOSITE`, `UNDECIDED` or `NOT_MEASURED`."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The measurements that bear on a claim on one task."""

    values: dict[str, Summary]
    """Algorithm, or `algorithm:ablation` -> its score, normalised score (`well`, `badly`), divergence or distance."""
    comparisons: tuple[Comparison, ...]
    seeds: tuple[int, ...]
    """Numbers of seeds of the algorithms, sorted."""
    steps: tuple[int, ...]
    """Environment steps of the runs, sorted."""
    variant: str
    tested: bool
    """Whether the runs test the paper."""
    scores: dict[str, Score]
    """Scores by side; empty for claims about greens and traffic."""

    @property
    def counts(self) -> Counter[str]:
        """Number of comparisons with each outcome."""
        return Counter(comparison.outcome for comparison in self.comparisons)


def find(analysis: Analysis, entry: Entry, task: str) -> Finding:
    """The measurement of one entry on one task."""
    if entry.kind in ("task", "setting"):
        return find_setting(analysis, entry)
    if entry.kind == "distance" or entry.kind in INTERPRETED:
        return _interpreted(analysis, entry, task)
    if entry.kind == "score":
        return _number(entry, task, _scores(analysis, entry, task).get(entry.better[0]))
    found = evidence(analysis, entry, task)
    if found is None:
        return MISSING
    verdict = _verdict(entry, found.counts, found.tested)
    sides = {side: found.scores.get(side) for side in _sides(entry)}
    measured = _measured(entry, sides, found.values)
    return Finding(measured, verdict if verdict == NOT_TESTED else verdict + _unequal(sides))


def evidence(analysis: Analysis, entry: Entry, task: str) -> Evidence | None:
    """The measurements that bear on one of `CLAIMS`; None where nothing was run."""
    if entry.kind in INTERPRETED:
        return _interpreted_evidence(analysis, entry, task)
    scores = _scores(analysis, entry, task)
    values = {side: value for side, score in scores.items() if (value := _value(entry, score)) is not None}
    if not values:
        return None
    return Evidence(
        values,
        _comparisons(entry, values),
        tuple(sorted({score.seeds for score in scores.values()})),
        tuple(sorted({score.steps for score in scores.values()})),
        next(iter(scores.values())).variant,
        all(side in scores and _tests(entry, scores[side]) for side in _sides(entry)),
        scores,
    )


def _scores(analysis: Analysis, entry: Entry, task: str) -> dict[str, Score]:
    """Score of each side that was run."""
    variant = _base_variant(analysis, entry, task)
    if variant is None:
        return {}
    cells = {side: (task, _variant_of(variant, side), side.partition(":")[0]) for side in _sides(entry)}
    known = analysis.scores_by_cell
    return {side: known[cell] for side, cell in cells.items() if cell in known}


def compare_means(better: Summary, worse: Summary) -> str:
    """Outcome of the claim that a mean is the better one, by Welch's 95 % interval of the difference: `CLAIMED`,
    `OPPOSITE`, or `UNDECIDED` where the interval contains 0."""
    half_width = welch_half_width(better, worse)
    difference = better.mean - worse.mean
    if half_width is None or not math.isfinite(difference):
        return UNDECIDED
    return CLAIMED if difference > half_width else OPPOSITE if difference < -half_width else UNDECIDED


def compare_spreads(steady: Summary, varied: Summary) -> str:
    """Outcome of the claim that a variance is the smaller one, by a two-sided F test at 5 %: `CLAIMED`, `OPPOSITE` or
    `UNDECIDED`."""
    if steady.std is None or varied.std is None:
        return UNDECIDED
    for first, second, outcome in ((varied, steady, CLAIMED), (steady, varied, OPPOSITE)):
        bound = float(stats.f.ppf(0.5 + LEVEL / 2, first.count - 1, second.count - 1))
        if (first.std or 0.0) ** 2 > bound * (second.std or 0.0) ** 2:
            return outcome
    return UNDECIDED


def _sides(entry: Entry) -> tuple[str, ...]:
    return (*entry.better, *entry.worse)


def _base_variant(analysis: Analysis, entry: Entry, task: str) -> str | None:
    """The variant to examine: for a comparison of ablations, one that exists together with an ablation of it."""
    ablated = [side for side in _sides(entry) if ":" in side]
    if not ablated:
        return analysis.shown.get(task)
    scores = analysis.scores_by_cell
    variants = sorted(
        {variant for name, variant, _ in scores if name == task},
        key=lambda variant: (variant != TWO_HOPS[0], variant != PAPER_VARIANT, variant),
    )
    for base in variants:
        names = {(task, _variant_of(base, side), side.partition(":")[0]) for side in ablated}
        if names & set(scores) and any((task, base, side) in scores for side in entry.better):
            return base
    return None


def _variant_of(base: str, side: str) -> str:
    """The variant of an ablation of a base variant: `graph-full` of `default`, `small-neighbours-3` of `small`,
    `hops-3` of `hops-2`, `rounds-3` of `rounds-2`."""
    ablation = side.partition(":")[2]
    if not ablation:
        return base
    name, _, value = ablation.rpartition("-")
    if base in TWO_HOPS and name == "hops":
        return f"{base.rpartition('-')[0]}-{value}"
    return ablation if base == PAPER_VARIANT else f"{base}-{ablation}"


def side_label(side: str) -> str:
    """Name of an algorithm, with its ablation in brackets."""
    name, _, ablation = side.partition(":")
    return f"{algorithm_label(name)} ({ablation})" if ablation else algorithm_label(name)


def _value(entry: Entry, score: Score) -> Summary | None:
    return score.normalised if entry.kind in ("well", "badly") else score.summary


def _tests(entry: Entry, score: Score) -> bool:
    """Whether a score comes from finished runs with the paper's settings and length."""
    long_enough = score.steps == entry.steps if entry.kind == "score" else score.steps >= entry.steps
    settings = {_variant_of(base, side) for base in PAPER_BASES for side in _sides(entry)}
    return score.variant in settings and long_enough and not score.provisional and not score.unfinished


def _comparisons(entry: Entry, values: dict[str, Summary]) -> tuple[Comparison, ...]:
    """Every comparison that the claim makes; larger values are better."""
    compare = compare_spreads if entry.kind == "spread" else compare_means
    found = []
    for better in entry.better:
        for worse in entry.worse or ("",):
            one, other = values.get(better), BAR if not worse else values.get(worse)
            if one is None or other is None or (entry.kind == "spread" and None in (one.std, other.std)):
                outcome = NOT_MEASURED
            else:
                outcome = compare(other, one) if entry.kind == "badly" else compare(one, other)
            found.append(Comparison(better, worse, outcome))
    return tuple(found)


def _verdict(entry: Entry, counts: Counter[str], tested: bool) -> str:
    total, opposite = counts.total(), counts[OPPOSITE]
    if counts[NOT_MEASURED] == total:
        return NOT_TESTED
    if not tested:
        said = [f"{counts[name]} {name}" for name in (OPPOSITE, UNDECIDED, NOT_MEASURED) if counts[name]]
        return ", ".join([f"smaller runs: {counts[CLAIMED]} of {total} {CLAIMED}", *said])
    if opposite:
        return f"differs ({opposite} of {total} {OPPOSITE})"
    if entry.kind == "enough":
        return "not contradicted"
    return "agrees" if counts[CLAIMED] == total else f"not shown ({counts[UNDECIDED]} of {total} {UNDECIDED})"


def _measured(entry: Entry, sides: dict[str, Score | None], values: dict[str, Summary]) -> str:
    """The values of all sides, the best first, and the settings they were measured with."""
    unit = " %" if entry.kind in ("well", "badly") else ""
    ordered = sorted(values, key=lambda side: -values[side].mean)
    parts = [f"{side_label(side)} {plus_minus(values[side], 1 if unit else None)}{unit}" for side in ordered]
    parts += [f"no {side_label(side)}" for side in sides if side not in values]
    return f"{', '.join(parts)} ({_conditions([score for score in sides.values() if score is not None])})"


def _unequal(sides: dict[str, Score | None]) -> str:
    """Note on unequal conditions of a comparison, appended to its verdict; usually empty."""
    scores = [score for score in sides.values() if score is not None]
    words = ["unequal rewards"] if len({score.learned_from for score in scores}) > 1 else []
    fallen = [algorithm_label(score.algorithm) for score in scores if score.collapsed]
    words += [f"{', '.join(fallen)} collapsed"] if fallen else []
    return f"; {'; '.join(words)}" if words else ""


def _conditions(scores: list[Score]) -> str:
    seeds, steps = sorted({score.seeds for score in scores}), sorted({score.steps for score in scores})
    bases = list(dict.fromkeys(score.variant for score in scores))
    unfinished = ", unfinished" if any(score.unfinished for score in scores) else ""
    return f"{_seeds_text(seeds)}, {_span(steps)} steps, variant {bases[0]}{unfinished}"


def _seeds_text(counts: list[int]) -> str:
    return f"{_span(counts)} {'seed' if counts[-1] == 1 else 'seeds'}"


def _span(values: list[int]) -> str:
    return " to ".join(f"{value:,}" for value in sorted({values[0], values[-1]}))


def _number(entry: Entry, task: str, score: Score | None) -> Finding:
    """Verdict on a printed mean return."""
    summary = score.summary if score is not None else None
    if score is None or summary is None:
        return MISSING
    ours = f"{plus_minus(summary)} ({_conditions([score])})"
    if not _tests(entry, score):
        return Finding(f"run with other settings: {ours}", "smaller runs: not comparable")
    if entry.std is None or entry.mean is None or platform_of(task) == "cityflow":
        return Finding(ours, "numbers not comparable")
    outcome = compare_means(summary, Summary(entry.mean, entry.std, PAPER_SEEDS))
    single = summary.std is None
    return Finding(ours, NOT_TESTED if single else "agrees" if outcome == UNDECIDED else "differs")


def _interpreted(analysis: Analysis, entry: Entry, task: str) -> Finding:
    """Verdict on how well greens follow traffic: a distance, or a comparison of distances or divergences."""
    found = _interpreted_evidence(analysis, entry, task)
    if found is None:
        return MISSING
    texts = [f"{side_label(side)} {plus_minus(value, 4)}" for side, value in found.values.items()]
    texts += [f"no {side_label(side)}" for side in _sides(entry) if side not in found.values]
    account = analysis.account(task)
    runs = [run for side in found.values for run in account.counted(side)] if account else []
    ours = f"{', '.join(texts)} ({_run_conditions(found.variant, runs)})"
    if entry.kind == "distance":
        return Finding(ours, "numbers not comparable" if found.tested else "smaller runs: not comparable")
    return Finding(ours, _verdict(entry, found.counts, found.tested and not found.counts[NOT_MEASURED]))


def _interpreted_evidence(analysis: Analysis, entry: Entry, task: str) -> Evidence | None:
    account = analysis.account(task)
    present = {run.key.algorithm for run in account.runs} if account else set()
    wanted = [side for side in algorithm_order(set(_sides(entry))) if side in present]
    if account is None or not wanted:
        return None
    summaries = {side: summaries_of(account, side) for side in wanted}
    values = {
        side: found.divergence if entry.kind == "divergence" else found.distance for side, found in summaries.items()
    }
    runs = [run for side in wanted for run in account.counted(side)]
    return Evidence(
        values,
        _comparisons(entry, {side: value.scaled(0.0, -1.0) for side, value in values.items()}),
        tuple(sorted(set(Counter(run.key.algorithm for run in runs).values()))),
        tuple(sorted({run.status.step for run in runs})),
        account.variant,
        _account_tests(account, entry),
        {},
    )


def _run_conditions(variant: str, runs: Sequence[Run]) -> str:
    seeds = Counter(run.key.algorithm for run in runs).values()
    unfinished = "" if all(run.status.finished for run in runs) else ", unfinished"
    steps = sorted({run.status.step for run in runs})
    return f"{_seeds_text(sorted(seeds))}, {_span(steps)} steps, variant {variant}{unfinished}"


def _account_tests(account: Account, entry: Entry) -> bool:
    long_enough = all(run.status.finished and run.total_steps >= entry.steps for run in account.runs)
    return account.variant == PAPER_VARIANT and long_enough
