"""All tasks at once: how much of the gap each algorithm closes, how often, and how often IP beats each baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from figures.panels import LEGEND_ROW, curve_handle
from figures.scores import BOOTSTRAP_SEED, Score, final_scores
from figures.selection import shown_variant
from figures.statistics import (
    Estimate,
    Values,
    improvement_interval,
    improvement_probability,
    interquartile_mean,
    performance_profile,
    performance_profile_band,
    stratified_bootstrap_interval,
)
from figures.style import MUTED, AlgorithmStyle, PanelSize, algorithm_styles, family_of, panel_grid, task_title
from results.checks import algorithm_order
from results.keys import natural_key
from results.paper import COMPARED_ALGORITHMS
from results.records import Results

NAME, HEADING = "comparison", "Comparison over tasks"
POLICY = "greedy"
PROOF_FAMILY = "game"
"""Games with a known optimum show what a method can express; they are no part of the benchmark."""
OURS = "ip"
PANEL = PanelSize(width=2.55, height=2.1, left=0.86, right=0.34)
PROFILE_LIMITS = (-100.0, 200.0)
"""Gap closed, in %, beyond which profiles are not drawn: single runs that are far worse than random play."""
PROFILE_POINTS = 301


@dataclass(frozen=True, slots=True)
class Comparison:
    """The gap closed by every seed of every compared algorithm on the tasks that all of them finished."""

    tasks: tuple[tuple[str, str], ...]
    """Task and variant."""
    gaps: dict[str, tuple[Values, ...]]
    """Algorithm to the gap closed by each seed, in %, on each of the tasks; algorithms in their order."""

    @property
    def seed_counts(self) -> set[int]:
        """Every number of seeds that an algorithm has on a task."""
        return {values.size for own in self.gaps.values() for values in own}

    def runs(self, name: str) -> int:
        """Runs of one algorithm on all tasks."""
        return sum(values.size for values in self.gaps[name])


def comparison(results: Results) -> Comparison | None:
    """What is compared: the shown variant of each task outside the proving ground on which every algorithm of the
    paper that these results hold has finished runs and closes a finite part of the gap.

    None where fewer than two algorithms or tasks are left.
    """
    variants = {task: shown_variant(results, task) for task in {run.key.task for run in results.runs}}
    shown = [own for own in final_scores(results) if _is_compared(own) and own.variant == variants[own.task]]
    everyone = algorithm_order({own.algorithm for own in shown})
    usable = {(own.task, own.variant, own.algorithm): np.array(own.seed_gaps[POLICY]) for own in shown if _usable(own)}
    cells = sorted({(own.task, own.variant) for own in shown}, key=lambda cell: natural_key(cell[0]))
    tasks = tuple(cell for cell in cells if all((*cell, name) in usable for name in everyone))
    if len(tasks) < 2 or len(everyone) < 2:
        return None
    return Comparison(tasks, {name: tuple(usable[(*cell, name)] for cell in tasks) for name in everyone})


def gap_estimates(compared: Comparison) -> dict[str, Estimate]:
    """Interquartile mean over all runs of each algorithm of the gap closed, in %, with its bootstrap interval."""
    found = {}
    for name, strata in compared.gaps.items():
        centre = interquartile_mean(np.concatenate(strata))
        interval = stratified_bootstrap_interval(strata, interquartile_mean, np.random.default_rng(BOOTSTRAP_SEED))
        found[name] = Estimate(centre, *interval)
    return found


def improvement_estimates(compared: Comparison) -> dict[str, Estimate]:
    """Probability that a run of IP beats one of each baseline on the same task; empty without IP."""
    found: dict[str, Estimate] = {}
    if OURS not in compared.gaps:
        return found
    ours = compared.gaps[OURS]
    for name, theirs in compared.gaps.items():
        if name != OURS:
            interval = improvement_interval(ours, theirs, np.random.default_rng(BOOTSTRAP_SEED))
            found[name] = Estimate(improvement_probability(ours, theirs), *interval)
    return found


def draw(results: Results) -> Figure | None:
    """Three panels, two where IP was not run; None where fewer than two tasks can be compared.

    Use inside ``figure_style()``.
    """
    compared = comparison(results)
    if compared is None:
        return None
    styles = algorithm_styles(compared.gaps)
    count = 3 if OURS in compared.gaps else 2
    figure, axes = panel_grid(count, count, PANEL, LEGEND_ROW + 0.16)
    draw_intervals(axes[0], compared, styles)
    draw_profiles(axes[1], compared, styles)
    if count == 3:
        draw_improvement(axes[2], compared, styles)
    figure.legend(
        handles=[curve_handle(style) for style in styles.values()],
        loc="lower center",
        bbox_to_anchor=(0.5, 0.08 / figure.get_size_inches()[1]),
        ncols=len(styles),
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        handlelength=1.8,
        columnspacing=1.6,
    )
    return figure


def draw_intervals(axes: Axes, compared: Comparison, styles: dict[str, AlgorithmStyle]) -> None:
    """Interquartile mean of the gap closed, one algorithm a row."""
    _title(axes, "Gap closed", compared, list(compared.gaps))
    _dots(axes, gap_estimates(compared), styles)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "\u2212"))
    axes.set_xlabel("interquartile mean of the gap closed (%)")


def draw_profiles(axes: Axes, compared: Comparison, styles: dict[str, AlgorithmStyle]) -> None:
    """Share of runs that close more than a given part of the gap, one curve an algorithm."""
    _title(axes, "Performance profile", compared, list(compared.gaps))
    thresholds = profile_thresholds(compared)
    for index, (name, style) in reversed(list(enumerate(styles.items()))):
        strata = compared.gaps[name]
        low, high = performance_profile_band(strata, thresholds, np.random.default_rng(BOOTSTRAP_SEED))
        axes.fill_between(thresholds, 100 * low, 100 * high, color=style.colour, alpha=0.13, linewidth=0, zorder=2)
        every = PROFILE_POINTS // 5
        axes.plot(
            thresholds,
            100 * performance_profile(strata, thresholds),
            color=style.colour,
            marker=style.marker,
            markersize=3.4,
            markeredgewidth=0,
            markevery=(index * every // 7, every),
            zorder=3,
        )
    axes.set(xlim=(thresholds[0], thresholds[-1]), ylim=(-2, 102), yticks=range(0, 101, 25))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "\u2212"))
    axes.set_xlabel("gap closed (%)")
    axes.set_ylabel("runs that close more (%)")


def draw_improvement(axes: Axes, compared: Comparison, styles: dict[str, AlgorithmStyle]) -> None:
    """Probability that IP beats each baseline, one baseline a row; a line where neither is favoured."""
    _title(axes, f"{styles[OURS].label} against each baseline", compared, list(compared.gaps))
    axes.axvline(0.5, color=MUTED, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
    _dots(axes, improvement_estimates(compared), styles)
    axes.set(xlim=(-0.03, 1.03), xticks=[0, 0.25, 0.5, 0.75, 1])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel(f"probability that {styles[OURS].label} does better")


def profile_thresholds(compared: Comparison) -> Values:
    """Parts of the gap, in %, from the smallest to the largest that a run closes, within `PROFILE_LIMITS`."""
    pooled = np.concatenate([values for own in compared.gaps.values() for values in own])
    low, high = np.clip([pooled.min() - 2, pooled.max() + 2], *PROFILE_LIMITS)
    return np.linspace(low, high, PROFILE_POINTS)


def caption(results: Results) -> str:
    """What is compared and how to read it, in whole sentences; why not, where nothing can be compared."""
    compared = comparison(results)
    if compared is None:
        return (
            "Nothing is compared over tasks: there are fewer than two tasks outside the proving ground on which two "
            "or more algorithms of the paper have runs, all of them have finished ones, and the gap is known."
        )
    styles = algorithm_styles(compared.gaps)
    listed = "; ".join(task_title(*cell) for cell in compared.tasks)
    parts = [
        f"Greedy policy on the {len(compared.tasks)} tasks outside the proving ground on which every one of "
        f"{_listed([style.label for style in styles.values()])} has finished runs: {listed}. {BRACKETS}",
        _absent_words(compared),
        "A run is one seed, its score the mean over its last 3 evaluations. Gap closed: 0 % is the random policy, "
        "100 % the reference policy of the task, which is a yardstick and differs in strength from task to task.",
        "Left: mean of the middle half of all runs of an algorithm.",
        "Middle: share of runs that close more than the part of the gap on the horizontal axis, mean over tasks."
        if OURS in compared.gaps
        else "Right: share of runs that close more than the part of the gap on the horizontal axis, mean over tasks.",
        _clipped_words(compared),
        "Right: probability that a run of IP does better than one of the baseline on the same task, ties counted half, "
        "mean over tasks; broken line: neither is favoured."
        if OURS in compared.gaps
        else "",
        "Whiskers and bands: 95 % percentile bootstrap (2,000 draws), seeds redrawn within each task; with few seeds "
        "they are too narrow, and they say nothing of other tasks. A whisker shorter than its dot is not seen.",
        _seeds_words(compared),
    ]
    return " ".join(part for part in parts if part)


BRACKETS = "Words in brackets name settings other than the paper's."


def _is_compared(score: Score) -> bool:
    return family_of(score.task) != PROOF_FAMILY and score.algorithm in COMPARED_ALGORITHMS


def _usable(score: Score) -> bool:
    gaps = score.seed_gaps.get(POLICY, ())
    return not score.provisional and not score.diverged and bool(gaps) and all(map(math.isfinite, gaps))


def _title(axes: Axes, title: str, compared: Comparison, names: Sequence[str]) -> None:
    """The title of a panel and, below it, how many tasks and runs it rests on."""
    counts = sorted({compared.runs(name) for name in names})
    runs = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    words = f"{len(compared.tasks)} tasks, {runs} runs of each algorithm"
    axes.set_title(title, loc="left", pad=17, fontweight="bold")
    axes.annotate(words, (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points", size=9, color=MUTED)


def _dots(axes: Axes, estimates: dict[str, Estimate], styles: dict[str, AlgorithmStyle]) -> None:
    """A dot and a whisker for each algorithm, the first at the top."""
    for row, (name, own) in enumerate(estimates.items()):
        style = styles[name]
        axes.plot([own.low, own.high], [row, row], color=style.colour, linewidth=1.8, zorder=3)
        axes.plot(
            [own.value], [row], color=style.colour, marker=style.marker, markersize=6, markeredgewidth=0, zorder=4
        )
    axes.set_ylim(len(estimates) - 0.5, -0.5)
    axes.set_yticks(range(len(estimates)), [styles[name].label for name in estimates])
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.grid(True, axis="x")


def _absent_words(compared: Comparison) -> str:
    absent = [name for name in COMPARED_ALGORITHMS if name not in compared.gaps]
    labels = [style.label for style in algorithm_styles(absent).values()]
    return f"{_listed(labels)} {'was' if len(labels) == 1 else 'were'} not run on such tasks." if labels else ""


def _clipped_words(compared: Comparison) -> str:
    pooled = np.concatenate([values for own in compared.gaps.values() for values in own])
    outside = int(((pooled < PROFILE_LIMITS[0]) | (pooled > PROFILE_LIMITS[1])).sum())
    if not outside:
        return ""
    runs = "1 run lies" if outside == 1 else f"{outside} runs lie"
    return f"{runs} outside its horizontal axis, and {'is' if outside == 1 else 'are'} counted all the same."


def _seeds_words(compared: Comparison) -> str:
    counts = compared.seed_counts
    unequal = "Numbers of seeds differ: on the left, a task with more of them weighs more." if len(counts) > 1 else ""
    single = "A single seed has no spread and adds nothing to an interval." if 1 in counts else ""
    return " ".join(part for part in (unequal, single) if part)


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
