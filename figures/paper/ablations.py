"""Redraws the paper's Figure 6: ablations of IP by graph (traffic, N = 49 and 100), neighbours and hops (N = 30)."""

from __future__ import annotations

import math

import seaborn
from matplotlib.figure import Figure

from figures.analysis import Analysis
from figures.analysis.ablations import ALGORITHM, PAPER_BASES, AblationResult, Setting
from figures.analysis.curves import learning_curve
from figures.analysis.policies import headline_policy, other_policy
from figures.analysis.statistics import Summary, mean_half_width, welch_half_width
from figures.panels import CURVES_EXPLAINED, SCALE_ENDS, Panel, draw_panels
from figures.paper.curves import value_label
from figures.style import AlgorithmStyle, PanelSize
from figures.tables import DASH, Cell, Table, decimals, number, plus_minus
from results.words import counted

MARKERS = "osDv^PX*"
SIZE = PanelSize(width=2.9, height=2.1, right=1.35, bottom=1.08)
POLICY = headline_policy(ALGORITHM)
BELOW = " \u2193"
"""Mark of scores no better than random play."""


def draw(analysis: Analysis) -> Figure | None:
    """Figure 6, with an empty panel for an ablation that was not run; None where none was. Use inside
    `figure_style()`."""
    panels = [_panel(analysis, result) for result in analysis.ablations]
    if not any(panel.curves for panel in panels):
        return None
    return draw_panels(panels, [_styles(panel) for panel in panels], columns=2, size=SIZE)


def caption(analysis: Analysis) -> str:
    """Caption of the figure."""
    parts = [
        f"Intention Propagation alone, {POLICY} policy, with random play as a dashed line. The runs of a panel differ "
        "only in the named setting; with 30 agents the paper's default is 8 neighbours, and 2 hops everywhere. "
        f"{CURVES_EXPLAINED} The vertical axis is fitted to the curves; an arrow points to a reference outside it."
    ]
    variants = {result.ablation.title[:3]: result.base for result in analysis.ablations}
    other = [f"{letter} {name}" for letter, name in variants.items() if name not in ("", *PAPER_BASES)]
    if other:
        parts.append(f"Not the paper's settings, but those of smaller runs (variants): {', '.join(other)}.")
    absent = [letter for letter, name in variants.items() if not name]
    if absent:
        parts.append(f"Not run: {', '.join(absent)}.")
    return " ".join(parts)


def table(analysis: Analysis) -> Table:
    """Final scores of the curves of every panel, their differences from IP's default, and the trends of ordered
    settings."""
    rows = [row for result in analysis.ablations for row in _rows(result)]
    return Table(HEADER, rows, _table_caption(analysis), words=2)


HEADER = (
    "Panel",
    "Setting",
    POLICY.capitalize(),
    "95 % interval of the mean",
    other_policy(ALGORITHM).capitalize(),
    "Seeds",
    "Difference from the default",
    "95 % interval",
    "Random play",
)
TABLE_CAPTION = (
    f"Final return, headline policy first ({POLICY}): a seed's mean over its last 3 evaluations, then mean \u00b1 "
    "sample standard deviation over the seeds that were evaluated to the end; Student's interval of the mean. The "
    "interval of the difference is Welch's; where it contains 0, these seeds do not separate the two settings. "
    "\u2193: no better than random play, so that no difference from it is an improvement."
)


def _rows(result: AblationResult) -> list[list[Cell]]:
    title = result.ablation.title
    return [[(title, title), *_cells(result, setting)] for setting in result.settings]


def _cells(result: AblationResult, setting: Setting) -> list[Cell]:
    score, other = setting.summary(POLICY), setting.summary(other_policy(ALGORITHM))
    base = result.default.summary(POLICY) if result.default is not None and result.default is not setting else None
    useless = score is not None and result.random is not None and score.mean <= result.random
    mark = BELOW if useless else ""
    return [
        (setting.label, setting.label),
        (plus_minus(score) + mark, score.mean if score else -math.inf),
        interval_cell(score),
        (plus_minus(other), other.mean if other else -math.inf),
        (str(score.count if score else 0), score.count if score else 0),
        *_difference_cells(score, base),
        (number(result.random), -math.inf if result.random is None else result.random),
    ]


def interval_cell(score: Summary | None) -> Cell:
    """Student's 95 % interval of a mean over seeds; a dash without two seeds."""
    half = mean_half_width(score) if score is not None else None
    if score is None or half is None:
        return DASH, -math.inf
    digits = decimals(score.mean)
    return f"{number(score.mean - half, digits)} to {number(score.mean + half, digits)}", score.mean - half


def _difference_cells(score: Summary | None, base: Summary | None) -> list[Cell]:
    if score is None or base is None:
        return [(DASH, -math.inf)] * 2
    difference, half = score.mean - base.mean, welch_half_width(score, base)
    digits = decimals(base.mean)
    words = DASH if half is None else f"{number(difference - half, digits)} to {number(difference + half, digits)}"
    return [(number(difference, digits), difference), (words, -math.inf if half is None else difference - half)]


def _table_caption(analysis: Analysis) -> str:
    """Caption of the table: its rules, then the trend of every ordered setting."""
    words = [trend_words(result) for result in analysis.ablations if result.trends]
    if not words:
        return TABLE_CAPTION
    return (
        f"{TABLE_CAPTION} Ordered settings are tested by the slope of a straight line through the final scores of all "
        f"seeds, p values corrected by Holm for {counted(len(words), 'trend')} of each policy; more hops also mean "
        f"more parameters and depth. {' '.join(words)}"
    )


def trend_words(result: AblationResult) -> str:
    """Trends of a panel in one sentence: `(d) Hops: sampled +85 per hop (12 to 158), p = 0.03; greedy ...`."""
    parts = []
    for policy, found in result.trends.items():
        digits = decimals(abs(found.slope) + found.half_width)
        low, high = (number(found.slope + sign * found.half_width, digits) for sign in (-1, 1))
        p = result.adjusted[policy]
        parts.append(
            f"{policy} {number(found.slope, digits)} per {result.ablation.unit} ({low} to {high}), p = {p:.2g}"
        )
    return f"{result.ablation.title.split(',')[0]}: {'; '.join(parts)}."


def _panel(analysis: Analysis, result: AblationResult) -> Panel:
    task = result.ablation.task
    curves = {setting.label: learning_curve(setting.runs, POLICY, analysis.evaluations) for setting in result.settings}
    bounds = {name: mean for name, mean in analysis.reference_means(task).items() if name in SCALE_ENDS}
    note = "" if result.base in ("", *PAPER_BASES) else f"variants {result.base}"
    return Panel(result.ablation.title, curves, bounds, note, value_label(task), close_up=True)


def _styles(panel: Panel) -> dict[str, AlgorithmStyle]:
    """Styles from dark to light, whose order is preserved under every form of colour blindness and in print."""
    colours = seaborn.color_palette("viridis", len(panel.curves) + 1).as_hex()[: len(panel.curves)]
    return {
        name: AlgorithmStyle(name, colour, MARKERS[index % len(MARKERS)])
        for index, (name, colour) in enumerate(zip(panel.curves, colours, strict=True))
    }
