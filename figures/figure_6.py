"""Redraws the paper's Figure 6: ablations of IP by graph (traffic, N = 49 and 100), neighbours and hops (N = 30).

The curves of a panel are runs of IP whose configs differ in one setting and in nothing else: the settings are read from
the configs, not from names.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import seaborn
from matplotlib.figure import Figure

from figures.panels import CURVES_EXPLAINED, GAP_ENDS, Panel, draw_panels, reference_means
from figures.paper_panels import POLICY, VALUE_LABELS
from figures.scores import final_of
from figures.selection import PAPER_VARIANT
from figures.statistics import Summary, summarise, welch_half_width
from figures.style import AlgorithmStyle, PanelSize, family_of
from figures.tables import DASH, Cell, Table, decimals, number, plus_minus
from results.checks import IDENTITY_KEYS, flatten, uncounted
from results.records import Results, Run

NAME = "figure_6"
HEADING = "Figure 6: ablations of IP"
ALGORITHM = "ip"
MARKERS = "osDv^PX*"
SIZE = PanelSize(width=2.9, height=2.1, right=1.0, bottom=1.08)
DEFAULTS = ("road graph", "k = 8", "2 hops")
"""What IP has by default, as labels."""


@dataclass(frozen=True, slots=True)
class Ablation:
    """One panel: which setting differs, on which task."""

    task: str
    title: str
    setting: str
    """Dotted name in the config."""
    label: Callable[[Any], str]


def _graph(value: Any) -> str:
    return {"task": "road graph", "full": "full graph"}.get(value, str(value))


def _neighbours(value: Any) -> str:
    """The paper's default for 30 agents and more is 8 (5.3)."""
    return "k = 8" if value is None else f"k = {value}"


def _hops(value: Any) -> str:
    return f"{value} hop" if value == 1 else f"{value} hops"


ABLATIONS = (
    Ablation("cityflow/synthetic_49", "(a) Graph, traffic, N = 49", "algorithm_settings.graph", _graph),
    Ablation("cityflow/synthetic_100", "(b) Graph, traffic, N = 100", "algorithm_settings.graph", _graph),
    Ablation(
        "mpe/cooperative_navigation_30", "(c) Neighbours, navigation, N = 30", "environment.num_neighbours", _neighbours
    ),
    Ablation("mpe/cooperative_navigation_30", "(d) Hops, navigation, N = 30", "algorithm_settings.hops", _hops),
)


def ablated_runs(results: Results, ablation: Ablation) -> dict[Any, tuple[Run, ...]]:
    """Value of the ablated setting to the runs of IP with it, all else in their configs being equal.

    Of several such groups the one with the paper's settings (its default variant) is taken, then the one with most
    values, then most runs. Empty where no two values were run.
    """
    groups: dict[str, dict[Any, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in results.runs:
        if (run.key.task, run.key.algorithm) == (ablation.task, ALGORITHM):
            config = flatten(run.config)
            value = config.pop(ablation.setting, None)
            shared = {name: own for name, own in config.items() if name not in IDENTITY_KEYS | {"variant"}}
            groups[json.dumps(shared, sort_keys=True)][value].append(run)
    compared = [own for own in groups.values() if len(own) > 1]
    if not compared:
        return {}

    def rank(group: dict[Any, list[Run]]) -> tuple[bool, int, int]:
        runs = [run for own in group.values() for run in own]
        return any(run.key.variant == PAPER_VARIANT for run in runs), len(group), len(runs)

    best = max(compared, key=rank)
    return {value: tuple(best[value]) for value in sorted(best, key=lambda own: _order(ablation.label(own)))}


def draw(results: Results) -> Figure | None:
    """The figure, with an empty panel for an ablation that was not run; None where none was. Use inside
    ``figure_style()``."""
    panels = [_panel(results, ablation) for ablation in ABLATIONS]
    if not any(panel.series for panel in panels):
        return None
    return draw_panels(panels, [_styles(panel) for panel in panels], columns=2, size=SIZE)


def caption(results: Results) -> str:
    """What the reader must know, in whole sentences."""
    parts = [
        "Intention Propagation alone, evaluated with the most probable action of each agent. The runs of a panel "
        "differ in the named setting and in nothing else; with 30 agents the paper's default is 8 neighbours, and "
        f"2 hops everywhere. {CURVES_EXPLAINED}"
    ]
    variants = {ablation.title[:3]: _base(results, ablation) for ablation in ABLATIONS}
    other = [f"{letter} {name}" for letter, name in variants.items() if name not in ("", PAPER_VARIANT)]
    if other:
        parts.append(f"Not the paper's settings, but those of smaller runs (variants): {', '.join(other)}.")
    absent = [letter for letter, name in variants.items() if not name]
    if absent:
        parts.append(f"Not run: {', '.join(absent)}.")
    return " ".join(parts)


def table(results: Results) -> Table:
    """Final scores of the curves of every panel, and how far each is from IP's default."""
    rows: list[list[Cell]] = []
    for ablation in ABLATIONS:
        runs = {ablation.label(value): own for value, own in ablated_runs(results, ablation).items()}
        scores = {label: _score(own) for label, own in runs.items()}
        base = next((scores[label] for label in DEFAULTS if label in scores), None)
        for label, score in scores.items():
            own = None if label in DEFAULTS else base
            rows.append([(ablation.title, ablation.title), *_score_cells(label, score), *_difference_cells(score, own)])
    return Table(HEADER, rows, TABLE_CAPTION, words=2)


HEADER = ("Panel", "Setting", "Final return", "Seeds", "Difference from the default", "95 % interval")
TABLE_CAPTION = (
    "Final return of the greedy policy: a seed's mean over its last 3 evaluations, then mean \u00b1 sample standard "
    "deviation over the seeds that were evaluated to the end. The interval of the difference is Welch's; one that "
    "holds 0 says that so few seeds cannot tell the two settings apart."
)


def _score(runs: Sequence[Run]) -> Summary | None:
    finals = [value for run in runs if not uncounted(run) and (value := final_of(run, POLICY)) is not None]
    return summarise(finals) if finals else None


def _score_cells(label: str, score: Summary | None) -> list[Cell]:
    mean, count = (score.mean, score.count) if score else (-math.inf, 0)
    return [(label, label), (plus_minus(score), mean), (str(count), count)]


def _difference_cells(score: Summary | None, base: Summary | None) -> list[Cell]:
    if score is None or base is None:
        return [(DASH, -math.inf)] * 2
    difference, half = score.mean - base.mean, welch_half_width(score, base)
    digits = decimals(base.mean)
    words = DASH if half is None else f"{number(difference - half, digits)} to {number(difference + half, digits)}"
    return [(number(difference, digits), difference), (words, -math.inf if half is None else difference - half)]


def _panel(results: Results, ablation: Ablation) -> Panel:
    series = {ablation.label(value): runs for value, runs in ablated_runs(results, ablation).items()}
    base = _base(results, ablation)
    bounds = {name: mean for name, mean in reference_means(results, ablation.task).items() if name in GAP_ENDS}
    return Panel(
        ablation.title,
        series,
        POLICY,
        bounds,
        "" if base in ("", PAPER_VARIANT) else f"variants {base}",
        VALUE_LABELS.get(family_of(ablation.task), "episode return"),
    )


def _base(results: Results, ablation: Ablation) -> str:
    """The shortest name among the variants of a panel, which is that of the settings it starts from; empty without."""
    names = {run.key.variant for runs in ablated_runs(results, ablation).values() for run in runs}
    return min(names, key=lambda name: (name != PAPER_VARIANT, len(name), name), default="")


def _styles(panel: Panel) -> dict[str, AlgorithmStyle]:
    """A ramp from dark to light, which keeps its order under every form of colour blindness and in print."""
    colours = seaborn.color_palette("viridis", len(panel.series) + 1).as_hex()[: len(panel.series)]
    return {
        name: AlgorithmStyle(name, colour, MARKERS[index % len(MARKERS)])
        for index, (name, colour) in enumerate(zip(panel.series, colours, strict=True))
    }


def _order(label: str) -> tuple[float, str]:
    """Numbers by their size; of the graphs, the road graph first."""
    numbers = [word for word in label.split() if word.isdigit()]
    return (float(numbers[0]), "") if numbers else (0.0 if label in DEFAULTS else 1.0, label)
