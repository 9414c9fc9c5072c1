"""Draw every figure and table, and the report: ``python -m figures [--results DIR] [--output DIR]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from figures.curves import curves_caption, draw_learning_curves
from figures.diagnostics import DIAGNOSTICS_CAPTION, draw_diagnostics
from figures.dilemma import FAMILY as JUNGLE
from figures.dilemma import dilemma_caption, draw_dilemma
from figures.proof import proof_markdown
from figures.report import Drawing, build_report
from figures.scores import Aggregate, ReferenceScore, Score, aggregate, final_scores, reference_scores
from figures.style import family_of, family_title, figure_style, save_figure, task_title
from figures.tables import markdown_table, scores_frame, scores_page
from results.checks import group_runs
from results.files import write_atomically
from results.load import load_results
from results.records import POLICIES, Results, ResultsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: 0 when everything was written, 1 with one line on standard error otherwise."""
    options = _parse(arguments)
    try:
        results = load_results(options.results)
        for path in draw_all(results, options.output):
            print(f"wrote {path}", flush=True)
    except ResultsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def draw_all(results: Results, output: Path) -> Iterator[Path]:
    """Write everything under ``output``, and yield each path as it is written; report.html is the last."""
    scores = final_scores(results)
    yield from _write_tables(results, scores, output)
    curves: list[Drawing] = []
    diagnostics: list[Drawing] = []
    with figure_style():
        for family in sorted({family_of(run.cell.task) for run in results.runs}):
            for policy in POLICIES:
                figure = draw_learning_curves(results, family, policy)
                svg, paths = save_figure(figure, output / f"curves-{family}-{policy}")
                curves.append(Drawing(f"{family_title(family)}, {policy} policy", svg, curves_caption(family, policy)))
                yield from paths
        for drawing, paths in _dilemmas(results, output):
            curves.append(drawing)
            yield from paths
        for task, variant in group_runs(results):
            drawn = draw_diagnostics(results, task, variant)
            if drawn is not None:
                name = f"diagnostics-{task.replace('/', '-')}-{variant}"
                svg, paths = save_figure(drawn, output / name)
                diagnostics.append(Drawing(task_title(task, variant), svg, DIAGNOSTICS_CAPTION))
                yield from paths
    report = output / "report.html"
    write_atomically(report, build_report(results, scores, curves, diagnostics))
    yield report


def _dilemmas(results: Results, output: Path) -> Iterator[tuple[Drawing, tuple[Path, Path]]]:
    """The figures of Jungle's dilemma, and where they were written."""
    cells = [(*cell, policy) for cell in group_runs(results) if family_of(cell[0]) == JUNGLE for policy in POLICIES]
    for task, variant, policy in cells:
        figure = draw_dilemma(results, task, variant, policy)
        if figure is not None:
            svg, paths = save_figure(figure, output / f"dilemma-{task.replace('/', '-')}-{variant}-{policy}")
            heading = f"The dilemma: {task_title(task, variant)}, {policy} policy"
            yield Drawing(heading, svg, dilemma_caption(policy)), paths


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m figures", description="Draw learning curves, score tables and one HTML report from results."
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("results/published"),
        metavar="DIR",
        help="a published set (a folder with manifest.json), a folder of such, or of run folders; default: %(default)s",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("figures/output"), metavar="DIR", help="default: %(default)s"
    )
    return parser.parse_args(arguments)


def _write_tables(results: Results, scores: list[Score], output: Path) -> Iterator[Path]:
    tables = {
        "scores.csv": scores_frame(scores).to_csv(index=False, lineterminator="\n"),
        "scores.md": markdown_table(scores),
        "scores.html": scores_page(scores),
        "references.csv": _csv(reference_scores(results)),
    }
    proof = proof_markdown(results, scores)
    if proof is not None:
        tables["proof.md"] = proof
    for policy in POLICIES:
        rows = aggregate(scores, policy)
        if rows:
            tables[f"gap-over-tasks-{policy}.csv"] = _csv(rows)
    for name, content in tables.items():
        write_atomically(output / name, content)
        yield output / name


def _csv(rows: Sequence[Aggregate] | Sequence[ReferenceScore]) -> str:
    return pd.DataFrame([asdict(row) for row in rows]).to_csv(index=False, lineterminator="\n")


if __name__ == "__main__":
    sys.exit(main())
