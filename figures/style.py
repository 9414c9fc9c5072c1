"""How figures look: one colour and one marker for each algorithm everywhere, sizes in inches, fonts in points."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import matplotlib
import matplotlib.colors
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from figures.vector import inline_svg
from results.checks import algorithm_order
from results.files import write_output

matplotlib.use("Agg")

Entry = TypeVar("Entry")

INK, MUTED, GRID, PAPER = "#1f2328", "#66707b", "#e4e7eb", "#ffffff"


@dataclass(frozen=True, slots=True)
class AlgorithmStyle:
    """How one algorithm is named and drawn."""

    label: str
    colour: str
    marker: str


# Colours of Okabe and Ito (2008), which stay apart under the common forms of colour blindness; markers tell
# the curves apart in black and white.
KNOWN_STYLES = {
    "ip": AlgorithmStyle("IP", "#d55e00", "o"),
    "qmix": AlgorithmStyle("QMIX", "#cc79a7", "s"),
    "maddpg": AlgorithmStyle("MADDPG", "#56b4e9", "^"),
    "maddpgs": AlgorithmStyle("MADDPGS", "#e69f00", "v"),
    "pic": AlgorithmStyle("PIC", "#0072b2", "D"),
    "dgn": AlgorithmStyle("DGN", "#009e73", "P"),
    "iql": AlgorithmStyle("IQL", "#5b5f66", "X"),
}
FAMILY_TITLES = {"mpe": "MPE", "cityflow": "CityFlow", "magent": "MAgent", "game": "Proving ground"}
SPEAKING_FAMILIES = ("mpe", "magent", "game")
"""Families whose task names speak for themselves."""

EXTRA_COLOURS = tuple(seaborn.color_palette("dark").as_hex()[4:])
"""For algorithms that the paper does not know, in order."""
EXTRA_MARKERS = ("*", "h", "<", ">", "p", "d")

DARK_COLOURS = {
    INK: "#e6e8eb",
    MUTED: "#9aa4af",
    GRID: "#2c323a",
    PAPER: "#14171c",
    KNOWN_STYLES["pic"].colour: "#3d8fd1",
    KNOWN_STYLES["maddpg"].colour: "#8fd0f7",
    KNOWN_STYLES["iql"].colour: "#a7adb5",
}
"""What replaces a colour on a dark page; others are lightened there where they must be."""
LOWEST_CONTRAST = 3.5
"""Of a drawing with a dark page; WCAG 2.2 asks for 3 (success criterion 1.4.11)."""

SETTINGS: dict[Any, Any] = {
    "font.family": "STIXGeneral",  # ships with matplotlib: the same letters on every machine
    "mathtext.fontset": "stix",
    "font.size": 10.0,
    "axes.titlesize": 11.0,
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
    "pdf.fonttype": 42,  # letters stay letters in a vector program
    "svg.fonttype": "path",
    "svg.hashsalt": "intention-propagation-benchmark",  # element names that do not change from run to run
}


@contextmanager
def figure_style() -> Iterator[None]:
    """Everything drawn and saved inside looks the same, whatever the reader's own matplotlib settings."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


def algorithm_styles(names: Iterable[str]) -> dict[str, AlgorithmStyle]:
    """The style of every algorithm, in drawing order. Names the paper does not have get the extra colours in turn."""
    ordered = algorithm_order(set(names))
    extra = [name for name in ordered if name not in KNOWN_STYLES]
    styles = dict(KNOWN_STYLES)
    for index, name in enumerate(extra):
        place = index % len(EXTRA_COLOURS)
        styles[name] = AlgorithmStyle(name, EXTRA_COLOURS[place], EXTRA_MARKERS[place])
    return {name: styles[name] for name in ordered}


def algorithm_label(name: str) -> str:
    """The name of an algorithm as readers know it: ``MADDPG`` for ``maddpg``."""
    return KNOWN_STYLES[name].label if name in KNOWN_STYLES else name


def task_title(task: str, variant: str = "default") -> str:
    """``mpe/cooperative_navigation_30`` as ``Cooperative navigation, N = 30``, with the variant when it has a name.

    Where the name alone says little, the family comes first: ``CityFlow: Synthetic, N = 49``.
    """
    family, words = family_of(task), task.rsplit("/", 1)[-1].split("_")
    count = f", N = {words.pop()}" if len(words) > 1 and words[-1].isdigit() else ""
    title = " ".join(words)
    prefix = "" if family in SPEAKING_FAMILIES else f"{family_title(family)}: "
    suffix = "" if variant == "default" else f" ({variant.replace('_', ' ')})"
    return f"{prefix}{title[:1].upper()}{title[1:]}{count}{suffix}"


def family_of(task: str) -> str:
    """The part of a task's name before the first slash: ``mpe``, ``cityflow``, ``magent``."""
    return task.split("/", 1)[0]


def family_title(family: str) -> str:
    """A family as a word in a heading."""
    return FAMILY_TITLES.get(family, f"{family[:1].upper()}{family[1:]}")


@dataclass(frozen=True, slots=True)
class PanelSize:
    """Inner size of a panel and the room around it, in inches."""

    width: float = 2.36
    height: float = 1.9
    left: float = 0.76
    right: float = 0.94
    top: float = 0.52
    bottom: float = 0.5


def panel_grid(count: int, columns: int, size: PanelSize, legend_height: float) -> tuple[Figure, list[Axes]]:
    """A figure of ``count`` equal panels, ``columns`` in a row, and ``legend_height`` inches free below them.

    Panels have a fixed size, so that text sits where it is put and ink has the same weight in every figure.
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
    """(columns, rows) of a legend of ``count`` entries, each ``entry_width`` inches, in rows of nearly equal length."""
    rows = max(1, -(-count // max(1, int(width / entry_width))))
    return max(1, -(-count // rows)), rows


def row_major(entries: Sequence[Entry], columns: int) -> list[Entry]:
    """Entries in the order in which a legend, which fills column by column, must get them to read along its rows."""
    return [entry for column in range(columns) for entry in entries[column::columns]]


def format_steps_axis(axes: Axes, last_step: float) -> None:
    """Horizontal axis in thousands or millions of environment steps, starting at 0."""
    scale, unit = (1e6, "millions") if last_step >= 1e6 else (1e3, "thousands") if last_step >= 2e3 else (1, "")
    axes.set_xlim(0, 1.01 * last_step if last_step > 0 else 1)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / scale:g}"))
    axes.set_xlabel(f"environment steps ({unit})" if unit else "environment steps")


def format_value_axis(axes: Axes) -> None:
    """Vertical axis with few ticks and short numbers: 12k, 3.4M, a true minus sign."""
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))


def short_number(value: float) -> str:
    """A number as a tick label: at most four significant digits, k and M from ten thousand on."""
    size = abs(value)
    scale, unit = (1e6, "M") if size >= 1e6 else (1e3, "k") if size >= 1e4 else (1.0, "")
    return f"{value / scale:.4g}{unit}".replace("-", "\u2212")


def svg_text(figure: Figure) -> str:
    """The figure as SVG for a page, see `figures.vector`; the same figure gives the same text, byte for byte."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return inline_svg(buffer.getvalue())


def dark_rules(scope: str, colours: Iterable[str]) -> str:
    """Rules of a style sheet that show drawings inside ``scope`` in the colours for a dark page.

    Args:
        colours: that the drawings have, as ``#rrggbb``.
    """
    changed = [(colour, own) for colour in sorted(set(colours)) if (own := dark_colour(colour)) != colour]
    return "\n".join(
        f'{scope} [{part}="{colour}"] {{ {part}: {own}; }}' for colour, own in changed for part in ("fill", "stroke")
    )


def dark_colour(colour: str) -> str:
    """What shows a colour on a dark page: its own form where it has one, else itself, lightened as far as it must be
    to stand out."""
    if colour in DARK_COLOURS:
        return DARK_COLOURS[colour]
    parts = matplotlib.colors.to_rgb(colour)
    for white in range(21):
        red, green, blue = (part + (1 - part) * white / 20 for part in parts)
        mixed = matplotlib.colors.to_hex((red, green, blue))
        if contrast(mixed, DARK_COLOURS[PAPER]) >= LOWEST_CONTRAST:
            return mixed
    raise AssertionError("white stands out from a dark page")


def contrast(first: str, second: str) -> float:
    """Contrast of two colours between 1 and 21, as WCAG 2.2 defines it."""
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    red, green, blue = (
        own / 12.92 if own <= 0.04045 else ((own + 0.055) / 1.055) ** 2.4 for own in matplotlib.colors.to_rgb(colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def save_figure(figure: Figure, path: Path) -> tuple[str, tuple[Path, Path]]:
    """Write ``path`` with the endings .png (200 dots an inch) and .pdf; returns the figure as SVG and both paths.

    The same figure gives the same files, byte for byte.
    """
    raster, vector = io.BytesIO(), io.BytesIO()
    figure.savefig(raster, format="png", dpi=200, metadata={"Software": None})
    figure.savefig(vector, format="pdf", metadata=dict.fromkeys(("CreationDate", "Creator", "Producer")))
    paths = path.with_name(path.name + ".png"), path.with_name(path.name + ".pdf")
    write_output(paths[0], raster.getvalue())
    write_output(paths[1], vector.getvalue())
    return svg_text(figure), paths
