"""From figures to files and to pictures inside the report; equal figures give equal bytes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from results.files import write_atomically

DOTS = 200
"""Of a PNG, per inch."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure ready for the page."""

    name: str
    """Name of its files, without the ending."""
    heading: str
    svg: str
    """As matplotlib writes it, without a background."""
    width: float
    """Inches."""
    caption: str


def write_figure(figure: Figure, path: Path) -> tuple[Path, Path]:
    """Write ``path`` with the endings .png and .pdf. Raises ResultsError where it cannot be written."""
    raster, vector = io.BytesIO(), io.BytesIO()
    figure.savefig(raster, format="png", dpi=DOTS, metadata={"Software": None})
    figure.savefig(vector, format="pdf", metadata=dict.fromkeys(("CreationDate", "Creator", "Producer")))
    paths = path.with_name(path.name + ".png"), path.with_name(path.name + ".pdf")
    write_atomically(paths[0], raster.getvalue())
    write_atomically(paths[1], vector.getvalue())
    return paths


def svg_text(figure: Figure) -> str:
    """The figure as SVG without a background."""
    buffer = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=metadata, transparent=True)
    return buffer.getvalue()
