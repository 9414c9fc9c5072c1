"""Measured speed of environments, in this project and others."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from figures.analysis import Analysis
from figures.analysis.speed import HERE, Measurement
from figures.names import listed, task_title
from figures.style import EXTRA_COLOURS, EXTRA_MARKERS, INK, PanelSize, panel_grid, short_number
from figures.tables import ABSENT, Cell, Table, number

SIZE = PanelSize(width=4.2, height=2.2, left=2.4, right=1.2, top=0.42)


def draw(analysis: Analysis) -> Figure | None:
    """Figure with a panel for each measurement, a row for each task and a mark for each suite, over steps per second on
    a logarithmic axis."""
    found = analysis.speed
    if not found:
        return None
    figure, axes = panel_grid(len(found), 1, SIZE, 0.1)
    for measurement, panel_axes in zip(found, axes, strict=True):
        _draw_panel(panel_axes, measurement)
    return figure


def caption(analysis: Analysis) -> str:
    """Caption: the sources of the numbers."""
    parts = [
        f"{measurement.what[:1].upper()}{measurement.what[1:]} per second, all copies together, {measurement.setup}; "
        f"{measurement.hardware}, {measurement.date} ({measurement.command})."
        for measurement in analysis.speed
    ]
    return " ".join([*parts, "These are speeds on one CPU core; the order may differ on a GPU."])


def table(analysis: Analysis) -> Table:
    """Table with a row for each task and a column for each suite, and this project's speed relative to the others."""
    suites = suites_of(analysis.speed)
    rows: list[list[Cell]] = []
    for measurement in analysis.speed:
        for row in measurement.rows:
            title = task_title(row.task)
            cells = [(number(row.rates[name], 0), row.rates[name]) if name in row.rates else ABSENT for name in suites]
            ratios = [row.rates[HERE] / rate for name, rate in row.rates.items() if name != HERE]
            text = listed([f"{number(ratio, 1 if ratio < 10 else 0)}" for ratio in ratios]) or ABSENT[0]
            rows.append(
                [(title, title), (measurement.what, measurement.what), (str(row.copies), row.copies), *cells,
                 (text, max(ratios, default=ABSENT[1]))]
            )  # fmt: skip
    header = ("Task", "Measured", "Copies", *("this project" if name == HERE else name for name in suites), "Speed-up")
    return Table(
        header, rows, "Speed-up: this project relative to each other suite, in the order of the columns.", words=2
    )


def copies_text(count: int) -> str:
    """Number of copies in words: `1 copy`, `64 copies`."""
    return f"{count} {'copy' if count == 1 else 'copies'}"


def suites_of(measurements: list[Measurement]) -> list[str]:
    """All measured suites, this project first."""
    names = (name for measurement in measurements for row in measurement.rows for name in row.rates)
    return list(dict.fromkeys((HERE, *names)))


def _draw_panel(axes: Axes, measurement: Measurement) -> None:
    axes.set_title(
        f"{measurement.what[:1].upper()}{measurement.what[1:]} per second", loc="left", pad=8, fontweight="bold"
    )
    suites = suites_of([measurement])
    for place, name in enumerate(suites):
        colour, marker = (INK, "o") if name == HERE else (EXTRA_COLOURS[place - 1], EXTRA_MARKERS[place - 1])
        points = [
            (measured.rates[name], row) for row, measured in enumerate(measurement.rows) if name in measured.rates
        ]
        label = "this project" if name == HERE else name
        axes.plot(*zip(*points, strict=True), marker, color=colour, markersize=8, linestyle="", label=label)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    axes.set_yticks(
        range(len(measurement.rows)),
        [f"{task_title(measured.task)}, {copies_text(measured.copies)}" for measured in measurement.rows],
    )
    axes.set_ylim(len(measurement.rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(True, axis="x")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
