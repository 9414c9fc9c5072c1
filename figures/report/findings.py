"""Findings claim by claim, in sentences generated from the numbers: `results/FINDINGS.md`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from figures.analysis import Analysis
from figures.analysis.arms import ArmDifference, arm_differences
from figures.analysis.claims import NOT_TESTED, find, load_paper
from figures.analysis.interpretation import Account, MatchSummaries, local_summaries_of, summaries_of
from figures.analysis.policies import COLLAPSED_WORDS, LEARNED_WORDS, POLICY_WORDS
from figures.analysis.ranks import RankRow
from figures.analysis.scores import task_scale
from figures.analysis.speed import HERE
from figures.analysis.statistics import Summary
from figures.names import algorithm_label, counted, listed, task_title
from figures.paper.ablations import trend_words
from figures.report.coverage import scope_words
from figures.report.ranks import pairs_apart, winner_words
from figures.report.scaling import panel_title
from figures.report.speed import copies_text
from figures.tables import interval, number, plus_minus
from results.checks import algorithm_order
from results.errors import ResultsError
from results.paper import COMPARED_TASKS

LEVEL = 0.05
"""Significance level of the tests after correction."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One claim, and what the results say about it."""

    title: str
    short: str
    """Summary in one sentence or two."""
    lines: list[str] = field(default_factory=list)
    """The evidence, one sentence per line."""


def topics(analysis: Analysis) -> list[Topic]:
    """All topics with runs, in order of interest."""
    found = [
        _coverage(analysis),
        _winners(analysis),
        over_tasks(analysis),
        _ranks(analysis),
        _propagation(analysis),
        _ablations(analysis),
        _interpretation(analysis),
        _scaling(analysis),
        _collapses(analysis),
        _claims(analysis),
        _speed(analysis),
    ]
    return [topic for topic in found if topic is not None]


def page(analysis: Analysis) -> str:
    """The whole document as Markdown."""
    parts = [
        "# Findings",
        "Made by `python -m figures.documents` from `results/published`; a test holds it to those results. "
        f"{POLICY_WORDS} {LEARNED_WORDS} Scores are means over the last three evaluations of a seed, then over seeds; "
        "normalised scores run from random play (0 %) to a reference policy (100 %). Three seeds are few: an interval "
        "that excludes 0 is a reason to run more, not a proof.",
    ]
    for topic in topics(analysis):
        parts += [f"## {topic.title}", topic.short]
        if topic.lines:
            parts.append("\n".join(f"- {line}" for line in topic.lines))
    return "\n\n".join(parts) + "\n"


def summary(analysis: Analysis) -> str:
    """One line for each topic, as a Markdown list."""
    return "\n".join(f"- {topic.title}: {topic.short[:1].lower()}{topic.short[1:]}" for topic in topics(analysis)[:10])


def speed_summary(analysis: Analysis) -> str:
    """Speed of the environments compared with other suites, in a sentence. Raises ResultsError where nothing was
    measured."""
    topic = _speed(analysis)
    if topic is None:
        raise ResultsError(
            "results/speed.json holds no measured speed: python -m tests.benchmarks.peers --write makes it"
        )
    return topic.short


def _coverage(analysis: Analysis) -> Topic:
    runs = analysis.results.runs
    states = Counter(run.status.state for run in runs)
    short = f"{scope_words(analysis)} {counted(len(runs), 'run')}, {states['finished']:,} of them finished."
    present = [task_title(task, analysis.shown[task]) for task in COMPARED_TASKS if task in analysis.shown]
    return Topic("What was run", short, [f"Of the paper's tasks: {'; '.join(present) or 'none'}."])


def _winners(analysis: Analysis) -> Topic | None:
    rows = analysis.headline_rows
    if not rows:
        return None
    sure = [f"{winner_words(row)} on {task_title(row.task)} from {row.learned_from}" for row in rows if row.winner]
    short = (
        f"Among algorithms that learned from the same reward, one is surely first in {len(sure)} of "
        f"{counted(len(rows), 'comparison')}: {listed(sure) or 'nowhere'}."
    )
    return Topic("Who wins", short, [_row_words(analysis, row) for row in rows])


def _row_words(analysis: Analysis, row: RankRow) -> str:
    title = f"{task_title(row.task, row.variant)}, {row.learned_from}"
    if row.lead is None:
        return f"{title}: {winner_words(row)}."
    best, second = algorithm_label(row.lead.best), algorithm_label(row.lead.second)
    score = analysis.scores_by_cell[row.task, row.variant, row.lead.best]
    scale = task_scale(analysis.results.references.get(row.task))
    factor, unit = (scale[1], " points") if scale is not None else (1.0, "")
    closed = f" with a normalised score of {plus_minus(score.normalised, 0)} %" if score.normalised is not None else ""
    half = None if row.lead.half_width is None else row.lead.half_width * factor
    lead = number(row.lead.difference * factor, 1)
    words = (
        f"{best} first{closed}, {lead}{unit} before {second} (95 % {interval(row.lead.difference * factor, half, 1)})"
    )
    return f"{title}: {words}; {winner_words(row) if row.winner is None else 'surely first'}."


def over_tasks(analysis: Analysis) -> Topic | None:
    """The comparison over all tasks that every algorithm finished; None where there are fewer than two."""
    compared = analysis.comparison
    if compared is None:
        return None
    normalised_scores = analysis.normalised_estimates
    ordered = sorted(normalised_scores, key=lambda name: -normalised_scores[name].value)
    marks = {name: "*" if compared.unequal[name] else "" for name in ordered}
    texts = [f"{algorithm_label(name)}{marks[name]} {number(normalised_scores[name].value, 0)} %" for name in ordered]
    star = " (* learned from the team's reward where others learned from each agent's)" if any(marks.values()) else ""
    short = (
        f"Over {counted(len(compared.tasks), 'task')} that every algorithm finished, the interquartile mean of the "
        f"normalised score is {listed(texts)}{star}."
    )
    lines = [
        f"IP does better than {algorithm_label(name)}{marks[name]} with probability {number(chance.value, 2)} "
        f"(95 % {number(chance.low, 2)} to {number(chance.high, 2)})."
        for name, chance in analysis.improvements.items()
    ]
    return Topic("All tasks together", short, lines)


def _ranks(analysis: Analysis) -> Topic | None:
    groups = [group for group in analysis.mean_ranks if group.test is not None]
    if not groups:
        return None
    lines, apart = [], []
    for group in groups:
        if group.test is None:
            continue
        found = [f"{algorithm_label(one)} before {algorithm_label(other)}" for one, other in pairs_apart(group)]
        apart += [f"{words} ({group.learned_from}, {counted(len(group.tasks), 'task')})" for words in found]
        places = sorted(group.test.ranks.items(), key=lambda item: item[1])
        lines.append(
            f"{group.learned_from[:1].upper()}{group.learned_from[1:]}, {counted(len(group.tasks), 'task')}: mean "
            f"ranks {', '.join(f'{algorithm_label(name)} {place:.1f}' for name, place in places)}; Friedman p = "
            f"{group.test.p:.2g}, Nemenyi's critical difference {group.test.critical_difference:.1f}; apart: "
            f"{listed(found) or 'none'}."
        )
    short = f"Over tasks, mean ranks tell apart {listed(apart) or 'no two algorithms'}."
    return Topic("Ranks over tasks", short, lines)


def _propagation(analysis: Analysis) -> Topic | None:
    found = arm_differences(analysis)
    if not found:
        return None
    parts = []
    for other in dict.fromkeys(arm.other for arm in found):
        here = [arm for arm in found if arm.other == other]
        sure = [arm for arm in here if arm.adjusted_p < LEVEL and not arm.below_random]
        better = sum(arm.difference > 0 for arm in sure)
        parts.append(f"{_arm(other)} in {better} of {len(here)} settings (worse in {len(sure) - better})")
    short = (
        f"Two rounds of messages do surely better than {listed(parts)}, p corrected for all comparisons, and nothing "
        "below random play called better."
    )
    return Topic("Does propagation help in navigation", short, [_arm_words(arm) for arm in found])


def _arm(name: str) -> str:
    return {"deaf": "a deaf policy of the same size", "M0": "no rounds at all"}.get(name, name)


def _arm_words(arm: ArmDifference) -> str:
    title = task_title(arm.task, arm.base)
    span = interval(arm.difference, arm.half_width, 1)
    words = f"{number(arm.difference, 1)} points (95 % {span})"
    useless = "; both no better than random play" if arm.below_random else ""
    return f"{title}: two rounds against {_arm(arm.other)}: {words}, p = {arm.adjusted_p:.2g}{useless}."


def _ablations(analysis: Analysis) -> Topic | None:
    ran = [result for result in analysis.ablations if result.settings]
    if not ran:
        return None
    rising = [
        f"{result.ablation.title.split(',')[0].split(') ')[1].lower()} ({policy}, p = {p:.2g})"
        for result in ran
        for policy, p in result.adjusted.items()
        if p < LEVEL
    ]
    short = (
        f"Of the ordered settings of IP, scores follow {listed(rising) or 'none'}; more hops also mean more parameters."
    )
    return Topic("Graph, neighbours and hops", short, [trend_words(result)[4:] for result in ran if result.trends])


def _interpretation(analysis: Analysis) -> Topic | None:
    lines, nearest = [], []
    for account in analysis.accounts:
        names = algorithm_order({run.key.algorithm for run in account.runs})
        found: dict[str, MatchSummaries] = {name: summaries_of(account, name) for name in names}
        ordered = sorted(names, key=lambda name: found[name].last_divergence.mean)
        title = task_title(account.task, account.variant)
        even = found[ordered[0]].last_even_divergence.mean
        nearest.append(f"{algorithm_label(ordered[0])} on {title}")
        last = [f"{algorithm_label(name)} {plus_minus(found[name].last_divergence, 3)}" for name in ordered]
        mean = [f"{algorithm_label(name)} {number(found[name].divergence.mean, 3)}" for name in ordered]
        lines.append(
            f"{title}: KL(vehicles, green) in the last quarter, nats: {', '.join(last)}; equal green "
            f"{number(even, 3)}. Mean over all intervals: {', '.join(mean)}."
        )
        lines += _arrivals(account, names)
    if not nearest:
        return None
    short = f"Greens follow the vehicles that are present most closely for {listed(nearest)}."
    return Topic("Do greens follow traffic", short, lines)


def _arrivals(account: Account, names: Sequence[str]) -> Iterator[str]:
    """The same sentences for arrivals, and at each intersection, where these were counted."""
    title = task_title(account.task, account.variant)
    if account.counts("arrived"):
        found = {name: summaries_of(account, name, "arrived").last_divergence for name in names}
        words = [f"{algorithm_label(name)} {plus_minus(found[name], 3)}" for name in by_mean(found)]
        yield f"{title}: KL(arrivals, green) in the last quarter, nats: {', '.join(words)}."
    local = {name: summary for name in names if (summary := local_summaries_of(account, name, "arrived")) is not None}
    if local:
        found = {name: summary.last_divergence for name, summary in local.items()}
        even = number(next(iter(local.values())).last_even_divergence.mean, 3)
        words = [f"{algorithm_label(name)} {plus_minus(found[name], 3)}" for name in by_mean(found)]
        yield f"{title}: at each intersection, of an episode's arrivals there: {', '.join(words)}; equal green {even}."


def by_mean(summaries: Mapping[str, Summary]) -> list[str]:
    """Names in increasing order of their means."""
    return sorted(summaries, key=lambda name: summaries[name].mean)


def _scaling(analysis: Analysis) -> Topic | None:
    lines, falling, made = [], 0, 0
    for panel in analysis.scaling:
        for curve in panel.curves:
            if curve.trend is None or curve.adjusted_p is None:
                continue
            made += 1
            falling += curve.adjusted_p < LEVEL and curve.trend.slope < 0
            agents = ", ".join(str(point.agents) for point in curve.points)
            span = interval(curve.trend.slope, curve.trend.half_width, 1)
            lines.append(
                f"{panel_title(panel)}: {algorithm_label(curve.algorithm)} {number(curve.trend.slope, 1)} points for a "
                f"doubling of N (95 % {span}), p = {curve.adjusted_p:.2g}, N = {agents}."
            )
    if not made:
        return None
    short = (
        f"The normalised score falls with N for {falling} of {made} curves after correction; the runs differ in length "
        "and yardstick too, so this is no law yet."
    )
    return Topic("Scaling with the number of agents", short, lines)


def _collapses(analysis: Analysis) -> Topic | None:
    fallen = [score for score in analysis.scores if score.collapsed]
    learners = [score for score in analysis.scores if score.policy == "sampled" and score.summary is not None]
    if not learners:
        return None
    count = Counter(algorithm_label(score.algorithm) for score in fallen)
    names = listed([f"{name} {times}" for name, times in count.items()])
    short = f"{len(fallen)} of {len(learners)} cells of stochastic policies collapsed{f' ({names})' if names else ''}."
    lines = [
        f"{task_title(score.task, score.variant)}: {algorithm_label(score.algorithm)}, {score.collapsed_seeds} of "
        f"{counted(score.seeds, 'seed')}."
        for score in fallen
    ]
    return Topic("Collapsed policies", short, [COLLAPSED_WORDS, *lines])


def _claims(analysis: Analysis) -> Topic:
    kinds = ("ranking", "spread", "enough", "well", "badly", "divergence", "closer", "score", "distance")
    verdicts = Counter[str]()
    lines = []
    for entry in load_paper():
        if entry.kind not in kinds:
            continue
        for task in entry.tasks or ("",):
            finding = find(analysis, entry, task)
            measured = finding.verdict != NOT_TESTED
            verdicts["tested" if measured and not finding.verdict.startswith("smaller runs") else "other"] += 1
            if measured and entry.kind not in ("score", "distance"):
                lines.append(f"{entry.text} ({task_title(task) if task else entry.where}): {finding.verdict}.")
    tested = verdicts["tested"]
    short = (
        f"Of the paper's {verdicts.total()} results and claims, task by task, {tested or 'none'} "
        f"{'is' if tested < 2 else 'are'} tested by runs with its settings and length; what smaller runs say is "
        "listed apart."
    )
    return Topic("The paper's claims", short, lines)


def _speed(analysis: Analysis) -> Topic | None:
    lines = []
    ratios: dict[str, list[float]] = {}
    for measurement in analysis.speed:
        for row in measurement.rows:
            others = {name: row.rates[HERE] / rate for name, rate in row.rates.items() if name != HERE}
            for name, ratio in others.items():
                ratios.setdefault(name, []).append(ratio)
            words = listed([f"{_times(ratio)} times {name}" for name, ratio in others.items()])
            rate = f"{number(row.rates[HERE], 0)} {measurement.what} a second"
            lines.append(f"{task_title(row.task)}, {copies_text(row.copies)}: {rate}, {words}.")
    if not ratios:
        return None
    spans = [f"{_times(min(values))} to {_times(max(values))} times {name}" for name, values in ratios.items()]
    hardware: Sequence[str] = list(
        dict.fromkeys(f"{measurement.hardware}, {measurement.date}" for measurement in analysis.speed)
    )
    short = f"On {listed(list(hardware))}, environments step {listed(spans)} as fast."
    return Topic("Speed", short, lines)


def _times(ratio: float) -> str:
    return number(ratio, 1 if ratio < 10 else 0)
