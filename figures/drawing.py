"""What is drawn, on its way to files and into the report."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from matplotlib.figure import Figure

from figures.style import save_figure
from figures.tables import Table
from results.files import write_output
from results.records import Results


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure ready for the page."""

    name: str
    """Name of its files, without the ending."""
    heading: str
    svg: str
    caption: str


@dataclass(frozen=True, slots=True)
class NamedTable:
    """A table ready for the page."""

    name: str
    """Name of its file, without the ending."""
    heading: str
    table: Table


@dataclass(slots=True)
class Content:
    """Everything that the report shows besides what it reads from the results itself."""

    figures: list[Drawing] = field(default_factory=list)
    """The paper's figures, in its order."""
    tables: list[NamedTable] = field(default_factory=list)
    """The paper's tables, and what it says beside what was measured."""
    comparison: list[Drawing] = field(default_factory=list)
    """Statistics over all tasks."""
    curves: list[Drawing] = field(default_factory=list)
    """Learning curves of every task and variant, by family."""
    headline: Table | None = None
    """Who ranks where on which task."""
    absent: list[str] = field(default_factory=list)
    """Headings of figures for which there is no run."""


def write_figure(
    figure: Figure, output: Path, name: str, heading: str, caption: str
) -> tuple[Drawing, tuple[Path, ...]]:
    """Write ``name``.png and .pdf under ``output``; returns the drawing for the report, and the paths."""
    svg, paths = save_figure(figure, output / name)
    return Drawing(name, heading, svg, caption), paths


def draw_module(module: ModuleType, results: Results, output: Path) -> tuple[Drawing, tuple[Path, ...]] | None:
    """What a module of a figure draws; None where it has nothing to draw. Use inside ``figure_style()``.

    A module of a figure has NAME, HEADING, draw(results) -> Figure | None and caption(results) -> str.
    """
    figure = module.draw(results)
    if figure is None:
        return None
    return write_figure(figure, output, module.NAME, module.HEADING, module.caption(results))


def write_table(module: ModuleType, results: Results, output: Path) -> tuple[NamedTable, tuple[Path, ...]]:
    """Write the table of a module, which has NAME, HEADING and table(results) -> Table, as ``NAME``.md."""
    table = module.table(results)
    path = output / f"{module.NAME}.md"
    write_output(path, table.markdown())
    return NamedTable(module.NAME, module.HEADING, table), (path,)
