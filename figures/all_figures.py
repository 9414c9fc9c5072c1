"""Every figure and table, and the report; `python -m figures` is the command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from figures.analysis import Analysis
from figures.analysis.scores import Aggregate, ReferenceScore
from figures.drawing import Drawing, svg_text, write_figure
from figures.registry import CURVES, HEADLINE, Exhibit, exhibits
from figures.report.page import Shown, build_report, scores_page
from figures.style import figure_style
from figures.tables import score_table, scores_frame
from results.errors import ResultsError
from results.files import write_output
from results.records import POLICIES

LISTING = "files.txt"
"""File that lists the files drawn into a folder, so that those no longer drawn can be removed."""


def draw_all(analysis: Analysis, output: Path) -> Iterator[str]:
    """Write everything under `output`, and remove files that an earlier call drew and this one does not. Yields a line
    for each file written or removed, and for each figure without runs."""
    written, absent, shown = [], [], []
    for path in _write_data(analysis, output):
        written.append(path)
        yield f"wrote {path}"
    with figure_style():
        for exhibit in exhibits(analysis):
            exhibited, paths = _show(exhibit, analysis, output, report=True)
            for path in paths:
                written.append(path)
                yield f"wrote {path}"
            if exhibited is None:
                absent.append(exhibit.heading)
            else:
                shown.append(exhibited)
    report = output / "report.html"
    write_output(report, build_report(analysis, shown, absent))
    written.append(report)
    yield f"wrote {report}"
    for path in _remove_others(output, written):
        yield f"removed {path}, which is no longer drawn"
    yield f"wrote {output / LISTING}"
    yield from (f"nothing to draw for {heading}" for heading in absent)


def draw_some(analysis: Analysis, output: Path, names: Sequence[str]) -> Iterator[str]:
    """Write only the named figures and tables, without the report; yields lines like `draw_all`. Raises ResultsError
    for an unknown name."""
    known = {exhibit.name: exhibit for exhibit in exhibits(analysis)}
    if absent := [name for name in names if name not in known]:
        raise ResultsError(f"--only {' '.join(absent)}: no such figure or table; there are {', '.join(known)}")
    with figure_style():
        for name in dict.fromkeys(names):
            exhibited, paths = _show(known[name], analysis, output, report=False)
            yield from (f"wrote {path}" for path in paths)
            if exhibited is None:
                yield f"nothing to draw for {known[name].heading}"


def _show(exhibit: Exhibit, analysis: Analysis, output: Path, report: bool) -> tuple[Shown | None, list[Path]]:
    """What an exhibit shows, and the files written; None where there is nothing to show. `report`: whether it is also
    part of the report."""
    drawing: Drawing | None = None
    paths: list[Path] = []
    if exhibit.draw is not None:
        figure = exhibit.draw(analysis)
        if figure is None:
            return None, []
        caption = exhibit.caption_of(analysis)
        svg = svg_text(figure) if report else ""
        drawing = Drawing(exhibit.name, exhibit.heading, svg, float(figure.get_size_inches()[0]), caption)
        paths += write_figure(figure, output / exhibit.name, print_quality=exhibit.chapter != CURVES)
    table = exhibit.table(analysis) if exhibit.table is not None else None
    if exhibit.draw is None and exhibit.chapter != HEADLINE and table is not None and not table.rows:
        return None, []
    if table is not None:
        path = output / f"{exhibit.name}.md"
        write_output(path, table.markdown())
        paths.append(path)
    return Shown(exhibit.name, exhibit.heading, exhibit.chapter, drawing, table), paths


def _write_data(analysis: Analysis, output: Path) -> Iterator[Path]:
    """Write the tables of all scores and references."""
    scores = analysis.scores
    tables = {
        "scores.csv": scores_frame(scores).to_csv(index=False, lineterminator="\n"),
        "scores.md": score_table(scores).markdown(),
        "scores.html": scores_page(score_table(scores)),
        "references.csv": _csv(analysis.references),
    }
    for policy in (None, *POLICIES):
        rows = analysis.aggregates(policy)
        if rows:
            tables[f"normalised-score-over-tasks-{policy or 'headline'}.csv"] = _csv(rows)
    for name, content in tables.items():
        write_output(output / name, content)
        yield output / name


def _remove_others(output: Path, written: Sequence[Path]) -> Iterator[Path]:
    """Remove the listed files that were not written now, and rewrite the listing."""
    listing = output / LISTING
    names = sorted({path.name for path in written} | {LISTING})
    before = listing.read_text(encoding="utf-8").splitlines() if listing.exists() else []
    for name in before:
        path = output / name
        if name not in names and path.parent == output and path.is_file():
            path.unlink()
            yield path
    write_output(listing, "".join(f"{name}\n" for name in names))


def _csv(rows: Sequence[Aggregate] | Sequence[ReferenceScore]) -> str:
    return pd.DataFrame([asdict(row) for row in rows]).to_csv(index=False, lineterminator="\n")
