"""Transfer of policies, without further training: other numbers of agents, other maps, lost messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from figures.analysis import Analysis
from figures.analysis.policies import POLICY_WORDS
from figures.analysis.statistics import mean_half_width
from figures.analysis.transfer import TrialPanel, TrialScore, fall, series
from figures.names import agents_of, algorithm_label, task_title
from figures.panels import LEGEND_ROW, curve_handle
from figures.style import (
    MUTED,
    AlgorithmStyle,
    PanelSize,
    algorithm_styles,
    legend_shape,
    panel_grid,
    row_major,
    short_number,
)
from figures.tables import ABSENT, Cell, Table, interval, number, plus_minus
from results.keys import natural_key
from results.words import counted

SIZE = PanelSize(width=2.9, height=2.1, left=0.72, right=0.85)
COLUMNS = 2
LINES = ("-", "--", ":", "-.")
"""Line styles for the variants of one algorithm in a panel, in turn."""
BOUNDS = ("random", "optimal", "assignment", "max_pressure", "greedy")
"""Reference policies at 0 and 100 %, which need no separate line."""
MOST_APART = 5.0
"""Number of curves from which on a point's neighbours move closer together, so that all stay at their place."""
UNSEEN = -30.0
"""Lower limit of the vertical axes, normalised score in %; lower scores are only in the table."""


def draw_sizes(analysis: Analysis) -> Figure | None:
    """Normalised score over the number of agents; None without such trials."""
    figure = _draw(analysis.size_panels, lambda place, shift: place * 2 ** (0.08 * shift))
    for axes, panel in zip(figure.axes if figure else (), analysis.size_panels, strict=bool(figure)):
        agents = sorted({place for curve in panel.curves for place, _ in curve.points})
        trained = int(panel.trained_on.rpartition("_")[2])
        axes.set_xscale("log", base=2)
        axes.axvline(trained, color=MUTED, linewidth=0.9, zorder=1)
        axes.xaxis.set_major_locator(FixedLocator(agents))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_xlim(agents[0] / 1.3, agents[-1] * 1.3)
        axes.set_xlabel("agents N")
    return figure


def draw_losses(analysis: Analysis) -> Figure | None:
    """Normalised score over the share of lost messages; None without such trials."""
    figure = _draw(analysis.loss_panels, lambda place, shift: place + 1.5 * shift)
    for axes in figure.axes if figure else ():
        axes.set_xlabel("messages lost (%)")
        axes.set_xlim(-4, 104)
    return figure


def sizes_caption(analysis: Analysis) -> str:
    """Caption of the figure."""
    return (
        "Zero-shot transfer: policies evaluated with other numbers of agents than in training (the vertical line), "
        "without further training. Normalised score between random play (0 %) and the reference policy (100 %) at "
        f"each N. {POLICY_WORDS} Points: mean over training seeds, with Student's 95 % interval (none for a single "
        f"seed). Dotted grey: other reference policies. No axis goes below {number(UNSEEN, 0)} %: the table has lower "
        "scores."
    )


def losses_caption(analysis: Analysis) -> str:
    """Caption of the figure."""
    return (
        "Policies on their training task with lost messages: each directed edge loses its message independently at "
        "each step. No policy was trained with lost messages. A policy without messages keeps its score exactly; the "
        "decrease of the others shows how much their actions depend on messages. At 100 %, no message arrives. Points "
        "and intervals as in the figure for other numbers of agents; the table includes silent agents and delayed "
        "messages."
    )


def sizes_table(analysis: Analysis) -> Table:
    """Table with a row for each policy and task with all messages delivered; of trials on several numbers of episodes,
    the largest."""
    most: dict[tuple[object, ...], TrialScore] = {}
    for score in analysis.trial_scores:
        trial = score.trial
        place = (score.trained_on, score.algorithm, score.variant, trial.task, trial.policy, trial.steps)
        if score.whole and (place not in most or len(trial.returns) > len(most[place].trial.returns)):
            most[place] = score
    rows = [_row(score) for score in most.values()]
    return Table(HEADER, rows, TABLE_CAPTION, words=4)


def losses_table(analysis: Analysis) -> Table:
    """Table with a row for each policy and kind of loss, with the decrease from the same episodes without losses."""
    groups: dict[tuple[object, ...], list[TrialScore]] = {}
    for score in analysis.trial_scores:
        trial = score.trial
        kind = (score.trained_on, score.algorithm, score.variant, trial.task, trial.policy, trial.seed, trial.steps)
        groups.setdefault((*kind, len(trial.returns)), []).append(score)
    rows: list[list[Cell]] = []
    for scores in groups.values():
        if all(score.whole for score in scores):
            continue
        base = next((score for score in scores if score.whole), None)
        rows += [[*_row(score)[:4], _loss(score), *_row(score)[4:-1], *_fall(score, base)] for score in scores]
    header = (*WHAT, "Messages", *HEADER[4:-1], "Points lost", "95 % interval")
    return Table(header, rows, LOSSES_TABLE_CAPTION, words=5)


def sizes_page(analysis: Analysis) -> str:
    """Markdown for a page: a table for each training task, with a row for each policy and a column for each task."""
    groups: dict[tuple[str, int], list[TrialScore]] = {}
    for score in analysis.trial_scores:
        if score.whole and score.normalised is not None:
            groups.setdefault((score.trained_on, score.trial.steps), []).append(score)
    parts = []
    for (trained_on, steps), scores in groups.items():
        same = series(trained_on)
        tasks = {score.trial.task for score in scores}
        columns = sorted(tasks, key=lambda task: (series(task) != same, natural_key(task)))
        titles = [f"N = {agents_of(task):,}" if series(task) == same else _short(task) for task in columns]
        rows = _pivoted(scores, columns, lambda score: score.trial.task)
        table = Table((*POLICY, *titles), rows, words=2).markdown().strip()
        parts.append(f"Trained on {task_title(trained_on)}, episodes of {steps} steps:\n\n{table}")
    return "\n\n".join((*parts, PAGE_CAPTION))


def losses_page(analysis: Analysis) -> str:
    """Markdown for a page: a table for each training task, with a row for each policy and a column for each loss."""
    groups: dict[tuple[str, int], list[TrialScore]] = {}
    for score in analysis.trial_scores:
        if score.trial.task == score.trained_on and score.normalised is not None:
            groups.setdefault((score.trained_on, score.trial.steps), []).append(score)
    parts = []
    for (trained_on, _), scores in groups.items():
        kinds = list(dict.fromkeys(_loss(score)[0] for score in sorted(scores, key=lambda score: score.trial.place)))
        with_losses = {_policy_of(score) for score in scores if not score.whole}
        if with_losses:
            tried = [score for score in scores if _policy_of(score) in with_losses]
            rows = _pivoted(tried, kinds, lambda score: str(_loss(score)[0]))
            table = Table((*POLICY, *kinds), rows, words=2).markdown().strip()
            parts.append(f"{task_title(trained_on)}:\n\n{table}")
    return "\n\n".join((*parts, PAGE_CAPTION))


POLICY = ("Algorithm", "Policy", "Seeds")
PAGE_CAPTION = (
    "Normalised score in % (random play 0, the reference policy 100), mean ± standard deviation over training seeds. "
    "The report has the returns and intervals."
)


def _pivoted(
    scores: Sequence[TrialScore], places: Sequence[str], place_of: Callable[[TrialScore], str]
) -> list[list[Cell]]:
    """A row for each policy, with its normalised score at each place; of several, that on the most episodes."""
    found: dict[tuple[str, str], dict[str, TrialScore]] = {}
    for score in scores:
        kept = found.setdefault(_policy_of(score), {})
        place = place_of(score)
        if place not in kept or len(score.trial.returns) > len(kept[place].trial.returns):
            kept[place] = score
    rows: list[list[Cell]] = []
    for (label, policy), kept in found.items():
        seeds = max(score.returns.count for score in kept.values())
        cells = [plus_minus(kept[place].normalised, 0) if place in kept else ABSENT[0] for place in places]
        rows.append([(label, label), (policy, policy), (str(seeds), seeds), *((cell, cell) for cell in cells)])
    return rows


def _policy_of(score: TrialScore) -> tuple[str, str]:
    return f"{algorithm_label(score.algorithm)} ({score.variant})", score.trial.policy


def _short(task: str) -> str:
    return task_title(task).partition(": ")[2] or task_title(task)


WHAT = ("Trained on", "Algorithm", "Played on", "Policy")
HEADER = (*WHAT, "Seeds", "Episodes", "Steps", "Return", "Normalised score", "95 % interval")
TABLE_CAPTION = (
    "Steps: length of an episode. Return and normalised score in %: mean ± standard deviation over seeds of training, "
    "each a mean over the same episodes; the interval is Student's."
)

LOSSES_TABLE_CAPTION = (
    "Steps: length of an episode. Return and normalised score in %: mean ± standard deviation over training seeds, "
    "each a mean over the same episodes. Points lost: decrease of the normalised score in percentage points, relative "
    "to the same policy with all messages delivered; mean over seeds, with Student's interval."
)


def _loss(score: TrialScore) -> Cell:
    trial = score.trial
    words = [f"{100 * trial.drop:g} % lost"] if trial.drop else []
    words += [f"{100 * trial.drop_agents:g} % of agents silent"] if trial.drop_agents else []
    words += [f"delayed by {counted(trial.delay, 'step')}"] if trial.delay else []
    return (", ".join(words) or "all delivered", ", ".join(words))


def _fall(score: TrialScore, base: TrialScore | None) -> list[Cell]:
    lost = fall(base, score) if base is not None and base is not score else None
    if lost is None:
        return [ABSENT, ABSENT]
    half = mean_half_width(lost)
    return [(number(lost.mean, 1), lost.mean), (interval(lost.mean, half, 1), lost.mean - (half or 0.0))]


def _row(score: TrialScore) -> list[Cell]:
    trained = task_title(score.trained_on, score.variant)
    played = task_title(score.trial.task)
    label, normalised, count = algorithm_label(score.algorithm), score.normalised, len(score.trial.returns)
    row: list[Cell] = [(trained, trained), (label, label), (played, played), (score.trial.policy, score.trial.policy)]
    row += [(str(score.returns.count), score.returns.count), (f"{count:,}", count)]
    row.append((f"{score.trial.steps:,}", score.trial.steps))
    row.append((plus_minus(score.returns), score.returns.mean))
    if normalised is None:
        return [*row, ABSENT, ABSENT]
    half = mean_half_width(normalised)
    return [
        *row,
        (plus_minus(normalised, 0), normalised.mean),
        (interval(normalised.mean, half, 0), normalised.mean - (half or 0.0)),
    ]


def _draw(panels: Sequence[TrialPanel], dodge: Callable[[float, float], float]) -> Figure | None:
    if not panels:
        return None
    styles = algorithm_styles(curve.algorithm for panel in panels for curve in panel.curves)
    columns_used = min(COLUMNS, len(panels))
    columns, rows = legend_shape(len(styles), columns_used * (SIZE.left + SIZE.width + SIZE.right), entry_width=0.98)
    figure, axes = panel_grid(len(panels), COLUMNS, SIZE, rows * LEGEND_ROW + 0.1)
    for index, (panel, panel_axes) in enumerate(zip(panels, axes, strict=True)):
        ambiguous = sum(other.trained_on == panel.trained_on for other in panels) > 1
        title = task_title(panel.trained_on) + (f", {panel.steps} steps" if ambiguous else "")
        panel_axes.set_title(f"Trained on {title}", loc="left", pad=8, fontweight="bold")
        _draw_panel(panel_axes, panel, styles, dodge)
        if index % COLUMNS == 0:
            panel_axes.set_ylabel("normalised score (%)")
    handles: list[Line2D] = [curve_handle(style) for style in styles.values()]
    figure.legend(
        handles=row_major(handles, columns), loc="lower center", ncols=columns, frameon=False, handlelength=1.8
    )
    return figure


def _draw_panel(
    axes: Axes, panel: TrialPanel, styles: dict[str, AlgorithmStyle], dodge: Callable[[float, float], float]
) -> None:
    """Draw one panel. `dodge` shifts positions by a fraction, so that the intervals of several curves do not
    overlap."""
    axes.axhline(0, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
    axes.axhline(100, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
    lowest = 0.0
    for name, points in panel.reference_curves().items():
        shown = [(place, normalised) for place, normalised in points if normalised >= UNSEEN]
        if name in BOUNDS or not shown:
            continue
        axes.plot(*zip(*shown, strict=True), color=MUTED, linewidth=0.9, linestyle=":", zorder=2)
        axes.annotate(
            name.replace("_", " "), shown[-1], (9, 0), textcoords="offset points", color=MUTED, fontsize=8, va="center"
        )
        lowest = min(lowest, *(normalised for _, normalised in shown))
    drawn: dict[str, int] = {}
    for index, curve in enumerate(panel.curves):
        shift = (index - (len(panel.curves) - 1) / 2) * min(1.0, MOST_APART / len(panel.curves))
        style, nth = styles[curve.algorithm], drawn.get(curve.algorithm, 0)
        drawn[curve.algorithm] = nth + 1
        normalised_scores = [(place, score.normalised) for place, score in curve.points if score.normalised is not None]
        normalised_scores = [(dodge(place, shift), normalised) for place, normalised in normalised_scores]
        places, means = (
            [place for place, _ in normalised_scores],
            [normalised.mean for _, normalised in normalised_scores],
        )
        axes.plot(places, means, f"{LINES[nth % len(LINES)]}", color=style.colour, linewidth=1.2, zorder=3)
        axes.plot(places, means, style.marker, color=style.colour, markersize=5, zorder=4)
        for place, normalised in normalised_scores:
            half = mean_half_width(normalised) or 0.0
            axes.plot(
                [place] * 2,
                [normalised.mean - half, normalised.mean + half],
                color=style.colour,
                linewidth=0.9,
                zorder=3,
            )
            lowest = min(lowest, normalised.mean - half)
    axes.set_ylim(bottom=max(UNSEEN, lowest) - 6)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value).replace("-", "\u2212")))
