"""Comparison of the paper's printed numbers and claims with measurements.

Scores are those of each algorithm's headline policy.

Numbers and claims are in `paper_values.json`, each with the words of the paper that state it. Only finished runs with
the paper's settings (variant `default`) and at least the paper's length test them; other runs are shown with a note of
their settings.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from scipy import stats

from figures.analysis.analysis import Analysis
from figures.analysis.interpretation import Account, summaries_of
from figures.analysis.scores import Score
from figures.analysis.selection import PAPER_VARIANT
from figures.analysis.statistics import Summary, welch_half_width
from figures.names import algorithm_label, platform_of, task_title
from figures.tables import plus_minus
from results.checks import algorithm_order, flatten
from results.errors import ResultsError
from results.paper import COMPARED_TASKS
from results.records import Run

FILE = Path(__file__).with_name("paper_values.json")
KINDS = ("task", "setting", "score", "distance", "ranking", "spread", "enough", "well", "badly", "divergence", "closer")
PAPER_SEEDS = 5
WELL = 50.0
"""Normalised score in % that counts as doing well; the paper gives no number."""
LEVEL = 0.95
CLAIMED, OPPOSITE, UNDECIDED, ABSENT = "as claimed", "opposite", "undecided", "not measured"
NOT_RUN, NOT_TESTED = "not run", "not tested"


@dataclass(frozen=True, slots=True)
class Entry:
    """One number or claim of the paper."""

    id: str
    kind: str
    """One of `KINDS`."""
    where: str
    """Section or table."""
    line: int
    """Line of the paper's text, from 1."""
    quote: str
    """Words on that line."""
    printed: str
    """The number as printed, part of the quote; empty for a claim."""
    text: str
    """Subject of the number, or statement of the claim."""
    tasks: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    """Platforms of the tasks concerned, for a setting that only these have."""
    better: tuple[str, ...] = ()
    """Algorithms, or `algorithm:ablation`: those that a number belongs to, or that are claimed to be better."""
    worse: tuple[str, ...] = ()
    mean: float | None = None
    std: float | None = None
    steps: int = 0
    """Environment steps that a run needs to test the entry: exactly, for a number; at least, for a claim."""
    value: float | None = None
    """Value of a setting."""
    config: str = ""
    """Dotted name of a setting in a run's config, or two of them as `one / other`."""
    here: str = ""
    """This project's value of a setting that is in no config."""
    deviations: tuple[str, ...] = ()
    """Rows of DEVIATIONS.md."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A measurement and the resulting verdict."""

    ours: str
    verdict: str


MISSING = Finding(NOT_RUN, NOT_TESTED)


@cache
def load_paper(path: Path = FILE) -> tuple[Entry, ...]:
    """Every number and claim, in the order of the file.

    Raises ResultsError for a file that is not a list of entries with known fields and kinds, and no id twice.
    """
    try:
        values: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        entries = tuple(Entry(**{name: _frozen(content) for name, content in value.items()}) for value in values)
    except (OSError, TypeError, AttributeError, ValueError) as error:
        known = ", ".join(known_field.name for known_field in fields(Entry))
        raise ResultsError(f"cannot read {path}: {error}; expected a list of entries with {known}") from error
    wrong = sorted({entry.kind for entry in entries} - set(KINDS))
    twice = [name for name, count in Counter(entry.id for entry in entries).items() if count > 1]
    if wrong or twice:
        raise ResultsError(f"corrupt file {path}: unknown kinds {wrong}, ids used twice {twice}")
    return entries


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def find(analysis: Analysis, entry: Entry, task: str) -> Finding:
    """The measurement of one entry on one task."""
    if entry.kind in ("task", "setting"):
        return find_setting(analysis, entry)
    if entry.kind in ("distance", "divergence", "closer"):
        return _interpreted(analysis, entry, task)
    variant = _base_variant(analysis, entry, task)
    if variant is None:
        return MISSING
    scores = analysis.scores_by_cell
    sides = {side: scores.get((task, _variant_of(variant, side), side.partition(":")[0])) for side in _sides(entry)}
    if entry.kind == "score":
        return _number(entry, task, sides[entry.better[0]])
    values = {side: _value(entry, score) for side, score in sides.items() if score is not None}
    if not any(value is not None for value in values.values()):
        return MISSING
    counts = Counter(_outcomes(entry, values))
    tested = all(score is not None and _tests(entry, score) for score in sides.values())
    return Finding(_measured(entry, sides, values), _verdict(entry, counts, tested) + _unequal(sides))


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


def find_setting(analysis: Analysis, entry: Entry) -> Finding:
    """Finding for a setting: this project's value, or that of the runs."""
    if entry.kind == "task":
        known = entry.tasks[0] in COMPARED_TASKS and entry.tasks[0].endswith(f"_{entry.value:g}")
        return Finding(entry.tasks[0], "agrees" if known else "differs")
    if not entry.config:
        same = entry.here == entry.printed or (entry.value is not None and entry.here == f"{entry.value:.0f}")
        ours = f"{int(entry.here):,}" if entry.here.isdigit() else entry.here
        return Finding(ours, "agrees" if same else "differs")
    runs = setting_runs(analysis)
    values = [(value, run) for run in runs if (value := setting_of(run, entry)) is not None]
    if not values:
        return MISSING
    same = all(value == entry.value for value, _ in values)
    if all(run.key.variant == PAPER_VARIANT for _, run in values):
        return Finding(describe(values), "agrees" if same else "differs")
    return Finding(describe(values), f"smaller runs: {'as printed' if same else 'not as printed'}")


def setting_runs(analysis: Analysis) -> tuple[Run, ...]:
    """The runs whose settings are shown: those of variant `default`, otherwise the shown runs of the paper's tasks,
    otherwise the shown runs of any task."""
    runs = analysis.results.runs
    usual = tuple(run for run in runs if run.key.variant == PAPER_VARIANT)
    shown = [run for task in dict.fromkeys(run.key.task for run in runs) for run in analysis.shown_runs(task)]
    return usual or tuple(run for run in shown if run.key.task in COMPARED_TASKS) or tuple(shown)


def setting_of(run: Run, entry: Entry) -> float | None:
    """A setting of one run; None where the run lacks it or it is not a number."""
    if entry.platforms and platform_of(run.key.task) not in entry.platforms:
        return None
    flat = flatten(run.config)
    numbers: list[Any] = [flat.get(name) for name in entry.config.split(" / ")]
    if (
        not all(isinstance(number, (int, float)) and not isinstance(number, bool) for number in numbers)
        or 0 in numbers[1:]
    ):
        return None
    return float(numbers[0] / numbers[1]) if len(numbers) > 1 else float(numbers[0])


def describe(values: Iterable[tuple[float, Run]]) -> str:
    """The values in words: `0.95`; `0.01 (IP, PIC); 0.001 (IQL)`; or by task, or by both, where values depend on
    these."""
    pairs = list(values)
    keys: tuple[Callable[[Run], str], ...] = (
        lambda run: "",
        lambda run: algorithm_label(run.key.algorithm),
        lambda run: task_title(run.key.task, run.key.variant),
        lambda run: f"{algorithm_label(run.key.algorithm)} on {task_title(run.key.task, run.key.variant)}",
    )
    for key in keys:
        groups: dict[float, list[str]] = {}
        for value, run in pairs:
            groups[value] = list(dict.fromkeys([*groups.get(value, []), key(run)]))
        names = [name for group in groups.values() for name in group]
        if len(set(names)) == len(names):
            break
    return "; ".join(
        f"{value:,.10g}" + (f" ({', '.join(group)})" if any(group) else "") for value, group in groups.items()
    )


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
        key=lambda variant: (variant != PAPER_VARIANT, variant),
    )
    for base in variants:
        names = {(task, _variant_of(base, side), side.partition(":")[0]) for side in ablated}
        if names & set(scores) and any((task, base, side) in scores for side in entry.better):
            return base
    return None


def _variant_of(base: str, side: str) -> str:
    """The variant of an ablation of a base variant: `graph-full` of `default`, `small-hops-3` of `small`."""
    ablation = side.partition(":")[2]
    return base if not ablation else ablation if base == PAPER_VARIANT else f"{base}-{ablation}"


def _side_label(side: str) -> str:
    name, _, ablation = side.partition(":")
    return f"{algorithm_label(name)} ({ablation})" if ablation else algorithm_label(name)


def _value(entry: Entry, score: Score) -> Summary | None:
    return score.normalised if entry.kind in ("well", "badly") else score.summary


def _tests(entry: Entry, score: Score) -> bool:
    """Whether a score comes from finished runs with the paper's settings and length."""
    long_enough = score.steps == entry.steps if entry.kind == "score" else score.steps >= entry.steps
    settings = {_variant_of(PAPER_VARIANT, side) for side in _sides(entry)}
    return score.variant in settings and long_enough and not score.provisional and not score.unfinished


def _outcomes(entry: Entry, values: dict[str, Summary | None]) -> list[str]:
    """One outcome for each comparison that the claim makes."""
    bar = Summary(WELL, 0.0, 2)  # without an error of its own: Welch's interval is that of the mean alone
    pairs: list[tuple[Summary | None, Summary | None]]
    if entry.kind == "well":
        pairs = [(values.get(side), bar) for side in entry.better]
    elif entry.kind == "badly":
        pairs = [(bar, values.get(side)) for side in entry.better]
    else:
        pairs = [(values.get(one), values.get(other)) for one in entry.better for other in entry.worse]
    compare = compare_spreads if entry.kind == "spread" else compare_means
    return [compare(one, other) if one is not None and other is not None else ABSENT for one, other in pairs]


def _verdict(entry: Entry, counts: Counter[str], tested: bool) -> str:
    total, opposite = counts.total(), counts[OPPOSITE]
    if counts[ABSENT] == total:
        return NOT_TESTED
    if not tested:
        said = [f"{counts[name]} {name}" for name in (OPPOSITE, UNDECIDED, ABSENT) if counts[name]]
        return ", ".join([f"smaller runs: {counts[CLAIMED]} of {total} {CLAIMED}", *said])
    if opposite:
        return f"differs ({opposite} of {total} {OPPOSITE})"
    if entry.kind == "enough":
        return "not contradicted"
    return "agrees" if counts[CLAIMED] == total else f"not shown ({counts[UNDECIDED]} of {total} {UNDECIDED})"


def _measured(entry: Entry, sides: dict[str, Score | None], values: dict[str, Summary | None]) -> str:
    """The values of all sides, the best first, and the settings they were measured with."""
    known = {side: value for side, value in values.items() if value is not None}
    unit = " %" if entry.kind in ("well", "badly") else ""
    ordered = sorted(known, key=lambda side: -known[side].mean)
    parts = [f"{_side_label(side)} {plus_minus(known[side], 1 if unit else None)}{unit}" for side in ordered]
    parts += [f"no {_side_label(side)}" for side in sides if side not in known]
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
    return f"{_span(seeds)} seeds, {_span(steps)} steps, variant {bases[0]}{unfinished}"


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
    """Verdict on how well greens follow traffic: a distance, or a comparison of distances or divergences, where lower
    is better."""
    account = analysis.account(task)
    present = {run.key.algorithm for run in account.runs} if account else set()
    wanted = [side for side in algorithm_order(set(_sides(entry))) if side in present]
    if account is None or not wanted:
        return MISSING
    summaries = {side: summaries_of(account, side) for side in wanted}
    values: dict[str, Summary | None] = {
        side: (found.divergence if entry.kind == "divergence" else found.distance) for side, found in summaries.items()
    }
    texts = [f"{_side_label(side)} {plus_minus(value, 4)}" for side, value in values.items()]
    texts += [f"no {_side_label(side)}" for side in _sides(entry) if side not in present]
    runs = [run for side in wanted for run in account.counted(side)]
    ours = f"{', '.join(texts)} ({_run_conditions(account.variant, runs)})"
    tested = _account_tests(account, entry)
    if entry.kind == "distance":
        return Finding(ours, "numbers not comparable" if tested else "smaller runs: not comparable")
    negated = {side: value.scaled(0.0, -1.0) if value else None for side, value in values.items()}
    counts = Counter(_outcomes(entry, negated))
    return Finding(ours, _verdict(entry, counts, tested and not counts[ABSENT]))


def _run_conditions(variant: str, runs: Sequence[Run]) -> str:
    seeds = Counter(run.key.algorithm for run in runs).values()
    unfinished = "" if all(run.status.finished for run in runs) else ", unfinished"
    steps = sorted({run.status.step for run in runs})
    return f"{_span(sorted(seeds))} seeds, {_span(steps)} steps, variant {variant}{unfinished}"


def _account_tests(account: Account, entry: Entry) -> bool:
    long_enough = all(run.status.finished and run.total_steps >= entry.steps for run in account.runs)
    return account.variant == PAPER_VARIANT and long_enough
