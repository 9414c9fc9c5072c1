"""Style of the figures: one colour and one marker per algorithm, sizes in inches, fonts in points."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import matplotlib
import matplotlib.colors
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from figures.names import algorithm_label
from results.checks import algorithm_order

matplotlib.use("Agg")

Entry = TypeVar("Entry")

INK, MUTED, GRID, PAPER = "#1f2328", "#66707b", "#e4e7eb", "#ffffff"


@dataclass(frozen=True, slots=True)
class AlgorithmStyle:
    """Label, colour and marker of one algorithm."""

    label: str
    colour: str
    marker: str


# Colours of Okabe and Ito (2008), which stay distinct under the common forms of colour blindness; markers distinguish
# the curves in black and white.
KNOWN_STYLES = {
    name: AlgorithmStyle(algorithm_label(name), colour, marker)
    for name, colour, marker in (
        ("ip", "#d55e00", "o"),
        ("qmix", "#cc79a7", "s"),
        ("maddpg", "#56b4e9", "^"),
        ("maddpgs", "#e69f00", "v"),
        ("pic", "#0072b2", "D"),
        ("dgn", "#009e73", "P"),
        ("iql", "#5b5f66", "X"),
    )
}
EXTRA_COLOURS = tuple(seaborn.color_palette("dark").as_hex()[4:])
"""Colours of algorithms that are not in the paper, in order."""
EXTRA_MARKERS = ("*", "h", "<", ">", "p", "d")

SETTINGS: dict[Any, Any] = {
    "font.family": "STIXGeneral",  # included in matplotlib: the same glyphs on every machine
    "mathtext.fontset": "stix",
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.titley": 1.0,  # fixed position of titles; otherwise each drawing measures all tick labels
    "axes.labelsize": 10.0,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "legend.fontsize": 10.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.edgecolor": MUTED,
    "axes.facecolor": PAPER,
    "figure.facecolor": PAPER,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.5,
    "lines.solid_capstyle": "round",
    "pdf.fonttype": 42,  # text stays text in a vector program
    "svg.fonttype": "path",
    "svg.hashsalt": "intention-propagation-benchmark",  # element names that do not change from run to run
}


@contextmanager
def figure_style() -> Iterator[None]:
    """Context in which everything drawn and saved looks the same, whatever the reader's matplotlib settings."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


def algorithm_styles(names: Iterable[str]) -> dict[str, AlgorithmStyle]:
    """The style of every algorithm, in drawing order. Algorithms that are not in the paper get the extra colours in
    turn."""
    ordered = algorithm_order(set(names))
    extra = [name for name in ordered if name not in KNOWN_STYLES]
    styles = dict(KNOWN_STYLES)
    for index, name in enumerate(extra):
        place = index % len(EXTRA_COLOURS)
        styles[name] = AlgorithmStyle(name, EXTRA_COLOURS[place], EXTRA_MARKERS[place])
    return {name: styles[name] for name in ordered}


@dataclass(frozen=True, slots=True)
class PanelSize:
    """Inner size of a panel and its margins, in inches."""

    width: float = 2.36
    height: float = 1.9
    left: float = 0.76
    right: float = 0.94
    top: float = 0.52
    bottom: float = 0.5


def panel_grid(count: int, columns: int, size: PanelSize, legend_height: float) -> tuple[Figure, list[Axes]]:
    """A figure of `count` equal panels, `columns` per row, with `legend_height` inches free below them.

    Panels have a fixed size, so that text stays in place and lines have the same weight in every figure.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    cell_width, cell_height = size.left + size.width + size.right, size.top + size.height + size.bottom
    width, height = columns * cell_width, rows * cell_height + legend_height
    figure = Figure(figsize=(width, height))
    axes = []
    for index in range(count):
        row, column = divmod(index, columns)
        left = column * cell_width + size.left
        bottom = height - (row + 1) * cell_height + size.bottom
        axes.append(figure.add_axes((left / width, bottom / height, size.width / width, size.height / height)))
    return figure, axes


def legend_shape(count: int, width: float, entry_width: float) -> tuple[int, int]:
    """(columns, rows) of a legend of `count` entries, each `entry_width` inches wide, in rows of nearly equal
    length."""
    rows = max(1, -(-count // max(1, int(width / entry_width))))
    return max(1, -(-count // rows)), rows


def row_major(entries: Sequence[Entry], columns: int) -> list[Entry]:
    """Entries in the order that a legend, which fills column by column, needs in order to read along its rows."""
    return [entry for column in range(columns) for entry in entries[column::columns]]


def format_steps_axis(axes: Axes, last_step: float, unit_of_steps: str = "environment steps") -> None:
    """Format the horizontal axis in thousands or millions of environment steps, or of another unit, starting at 0."""
    scale, unit = (1e6, "millions") if last_step >= 1e6 else (1e3, "thousands") if last_step >= 2e3 else (1, "")
    axes.set_xlim(0, 1.01 * last_step if last_step > 0 else 1)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / scale:g}"))
    axes.set_xlabel(f"{unit_of_steps} ({unit})" if unit else unit_of_steps)


def format_value_axis(axes: Axes) -> None:
    """Format the vertical axis with few ticks and short numbers: 12k, 3.4M, a true minus sign."""
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))


def short_number(value: float) -> str:
    """A number as a tick label: at most four significant digits, with k and M from ten thousand on."""
    size = abs(value)
    scale, unit = (1e6, "M") if size >= 1e6 else (1e3, "k") if size >= 1e4 else (1.0, "")
    return f"{value / scale:.4g}{unit}".replace("-", "\u2212")
