"""Conversion of figures to files and to pictures inside the report; equal figures give equal bytes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from results.files import write_output

DOTS, FEWER_DOTS = 200, 120
"""Resolutions in dots per inch: of a PNG, and of one that only lists runs."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure ready for the page."""

    name: str
    """Name of its files without suffix."""
    heading: str
    svg: str
    """SVG as written by matplotlib, without a background."""
    width: float
    """Width in inches."""
    caption: str


def write_figure(figure: Figure, path: Path, print_quality: bool = True) -> list[Path]:
    """Write `path` with the suffix .png and, in print quality, also .pdf. Raises ResultsError where it cannot be
    written."""
    buffers = {".png": io.BytesIO()}
    figure.savefig(
        buffers[".png"], format="png", dpi=DOTS if print_quality else FEWER_DOTS, metadata={"Software": None}
    )
    if print_quality:
        buffers[".pdf"] = io.BytesIO()
        figure.savefig(buffers[".pdf"], format="pdf", metadata=dict.fromkeys(("CreationDate", "Creator", "Producer")))
    paths = [path.with_name(path.name + ending) for ending in buffers]
    for target, buffer in zip(paths, buffers.values(), strict=True):
        write_output(target, buffer.getvalue())
    return paths


def svg_text(figure: Figure) -> str:
    """The figure as SVG without a background."""
    buffer = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=metadata, transparent=True)
    return buffer.getvalue()
