"""Figures of the comparison over all tasks: normalised score, performance profiles, and the probability that IP beats
each baseline."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from figures.analysis import Analysis
from figures.analysis.bootstrap import Estimate
from figures.analysis.comparison import (
    OURS,
    PROFILE_LIMITS,
    PROFILE_POINTS,
    Comparison,
    Profile,
    profile_thresholds,
)
from figures.analysis.policies import POLICY_WORDS
from figures.names import algorithm_label, listed, task_title
from figures.panels import LEGEND_ROW, curve_handle
from figures.style import MUTED, AlgorithmStyle, PanelSize, algorithm_styles, panel_grid
from results.paper import COMPARED_ALGORITHMS
from results.words import counted

PANEL = PanelSize(width=2.55, height=2.1, left=0.96, right=0.34)
UNEQUAL = "*"
"""Mark of algorithms that learned from the team's reward where others learned from each agent's."""


def draw(analysis: Analysis) -> Figure | None:
    """Figure of three panels, or two where IP was not run; None where fewer than two tasks can be compared.

    Use inside `figure_style()`.
    """
    compared = analysis.comparison
    if compared is None:
        return None
    styles = algorithm_styles(compared.normalised_scores)
    count = 3 if OURS in compared.normalised_scores else 2
    figure, axes = panel_grid(count, count, PANEL, LEGEND_ROW + 0.16)
    draw_intervals(axes[0], compared, analysis.normalised_estimates, styles)
    draw_profiles(axes[1], compared, analysis.profiles, styles)
    if count == 3:
        draw_improvement(axes[2], compared, analysis.improvements, styles)
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


def draw_intervals(
    axes: Axes, compared: Comparison, estimates: Mapping[str, Estimate], styles: dict[str, AlgorithmStyle]
) -> None:
    """Interquartile mean of the normalised score, one row per algorithm."""
    _title(axes, "Normalised score", compared)
    _dots(axes, compared, estimates, styles)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "\u2212"))
    axes.set_xlabel("interquartile mean of the normalised score (%)")


def draw_profiles(
    axes: Axes, compared: Comparison, shares: Mapping[str, Profile], styles: dict[str, AlgorithmStyle]
) -> None:
    """Share of runs above a given normalised score, one curve per algorithm."""
    _title(axes, "Performance profile", compared)
    thresholds = profile_thresholds(compared)
    for index, (name, style) in reversed(list(enumerate(styles.items()))):
        profile = shares[name]
        axes.fill_between(
            thresholds, 100 * profile.low, 100 * profile.high, color=style.colour, alpha=0.13, linewidth=0, zorder=2
        )
        every = PROFILE_POINTS // 5
        axes.plot(
            thresholds,
            100 * profile.share,
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
    axes.set_xlabel("normalised score (%)")
    axes.set_ylabel("runs above the score (%)")


def draw_improvement(
    axes: Axes, compared: Comparison, estimates: Mapping[str, Estimate], styles: dict[str, AlgorithmStyle]
) -> None:
    """Probability that IP beats each baseline, one row per baseline, with a line at one half."""
    _title(axes, f"{styles[OURS].label} against each baseline", compared)
    axes.axvline(0.5, color=MUTED, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
    _dots(axes, compared, estimates, styles)
    axes.set(xlim=(-0.03, 1.03), xticks=[0, 0.25, 0.5, 0.75, 1])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel(f"probability that {styles[OURS].label} does better")


def caption(analysis: Analysis) -> str:
    """Caption: what is compared and how to read it, or why nothing can be compared."""
    compared = analysis.comparison
    if compared is None:
        return (
            "Nothing is compared over tasks: there are fewer than two tasks other than matrix and toy games on which "
            "two or more algorithms of the paper have runs, all of these have finished runs, and the reference "
            "policies are known."
        )
    styles = algorithm_styles(compared.normalised_scores)
    titles = "; ".join(task_title(*cell) for cell in compared.tasks)
    parts = [
        f"{POLICY_WORDS} The {len(compared.tasks)} tasks other than matrix and toy games on which every one of "
        f"{listed([style.label for style in styles.values()])} has finished runs: {titles}. {BRACKETS}",
        _absent_words(compared),
        _unequal_words(compared),
        "A run is one seed, its score the mean over its last 3 evaluations. Normalised score: 0 % is the random "
        "policy, 100 % the reference policy of the task, whose strength differs from task to task.",
        "Left: mean of the middle half of all runs of an algorithm.",
        "Middle: share of runs above the normalised score on the horizontal axis, mean over tasks."
        if OURS in compared.normalised_scores
        else "Right: share of runs above the normalised score on the horizontal axis, mean over tasks.",
        _clipped_words(compared),
        "Right: probability that a run of IP does better than one of the baseline on the same task, ties counted "
        "half, mean over tasks; dashed line: neither is favoured."
        if OURS in compared.normalised_scores
        else "",
        "Whiskers and bands: 95 % percentile bootstrap (2,000 draws), resampling seeds within each task; with few "
        "seeds they are too narrow, and they do not extend to other tasks. A whisker shorter than its dot is hidden.",
        _seeds_words(compared),
    ]
    return " ".join(part for part in parts if part)


BRACKETS = "Words in brackets name settings other than the paper's."


def _title(axes: Axes, title: str, compared: Comparison) -> None:
    """Title of a panel and, below it, the numbers of tasks and runs behind it."""
    counts = sorted({compared.runs(name) for name in compared.normalised_scores})
    runs = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    words = f"{len(compared.tasks)} tasks, {runs} runs of each algorithm"
    axes.set_title(title, loc="left", pad=17, fontweight="bold")
    axes.annotate(words, (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points", size=9, color=MUTED)


def _dots(
    axes: Axes, compared: Comparison, estimates: Mapping[str, Estimate], styles: dict[str, AlgorithmStyle]
) -> None:
    """A dot and an interval for each algorithm, the first at the top."""
    for row, (name, estimate) in enumerate(estimates.items()):
        style = styles[name]
        axes.plot([estimate.low, estimate.high], [row, row], color=style.colour, linewidth=1.8, zorder=3)
        axes.plot(
            [estimate.value], [row], color=style.colour, marker=style.marker, markersize=6, markeredgewidth=0, zorder=4
        )
    axes.set_ylim(len(estimates) - 0.5, -0.5)
    axes.set_yticks(
        range(len(estimates)), [styles[name].label + (UNEQUAL if compared.unequal[name] else "") for name in estimates]
    )
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.grid(True, axis="x")


def _absent_words(compared: Comparison) -> str:
    absent = [name for name in COMPARED_ALGORITHMS if name not in compared.normalised_scores]
    labels = [style.label for style in algorithm_styles(absent).values()]
    return f"{listed(labels)} {'was' if len(labels) == 1 else 'were'} not run on such tasks." if labels else ""


def _clipped_words(compared: Comparison) -> str:
    pooled = np.concatenate([values for strata in compared.normalised_scores.values() for values in strata])
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


def _unequal_words(compared: Comparison) -> str:
    """Algorithms with a different learning signal from the others, and the number of tasks concerned."""
    parts = []
    marked = [f"{algorithm_label(name)} on {count}" for name, count in compared.unequal.items() if count]
    if marked:
        parts.append(
            f"{UNEQUAL} learned from one team reward on tasks where others learned from each agent's reward, so that "
            f"they are not comparable there: {listed(marked)} of {counted(len(compared.tasks), 'task')}."
        )
    fallen = [f"{algorithm_label(name)} on {count}" for name, count in compared.collapses.items() if count]
    if fallen:
        parts.append(f"Policies that collapsed before they had learned anything are counted: {listed(fallen)}.")
    return " ".join(parts)
