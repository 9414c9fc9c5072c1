"""Every figure and table, and the report; `python -m figures` is the command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pandas as pd

from figures import PAPER, STATISTICS, comparison, ranks
from figures.curves import curves_caption, draw_learning_curves
from figures.dilemma import FAMILY as JUNGLE
from figures.dilemma import dilemma_caption, draw_dilemma
from figures.drawing import Content, Drawing, draw_module, write_figure, write_table
from figures.proof import proof_markdown
from figures.report import build_report
from figures.scores import Aggregate, ReferenceScore, Score, aggregate, final_scores, reference_scores
from figures.style import family_of, family_title, figure_style, task_title
from figures.tables import markdown_table, scores_frame, scores_page
from results.checks import group_runs
from results.files import write_output
from results.records import POLICIES, Results

MODULES: dict[str, ModuleType] = {name: import_module(f"figures.{name}") for name in PAPER + STATISTICS}


def draw_all(results: Results, output: Path, content: Content | None = None) -> Iterator[Path]:
    """Write everything under ``output``, and yield each path as it is written; report.html is the last.

    Args:
        content: gets what the report shows.
    """
    content = Content() if content is None else content
    scores = final_scores(results)
    yield from _write_tables(results, scores, output)
    with figure_style():
        for module in MODULES.values():
            yield from _figure(module, results, output, content)
        yield from _curves(results, output, content)
    report = output / "report.html"
    write_output(report, build_report(results, scores, content))
    yield report


def draw_some(results: Results, output: Path, content: Content, names: Sequence[str]) -> Iterator[Path]:
    """Write the named figures and tables of the paper alone, without the report."""
    with figure_style():
        for name in dict.fromkeys(names):
            yield from _figure(MODULES[name], results, output, content)


def _figure(module: ModuleType, results: Results, output: Path, content: Content) -> Iterator[Path]:
    """What a module draws, then its table, each if it has any."""
    if hasattr(module, "draw"):
        found = draw_module(module, results, output)
        if found is None:
            content.absent.append(module.HEADING)
            return
        (content.comparison if module is comparison else content.figures).append(found[0])
        yield from found[1]
    if hasattr(module, "table"):
        table, paths = write_table(module, results, output)
        if module is ranks:
            content.headline = table.table
        else:
            content.tables.append(table)
        yield from paths


def _curves(results: Results, output: Path, content: Content) -> Iterator[Path]:
    """Learning curves of everything that was run."""
    for family in sorted({family_of(run.key.task) for run in results.runs}):
        for policy in POLICIES:
            figure = draw_learning_curves(results, family, policy)
            heading, caption = f"{family_title(family)}, {policy} policy", curves_caption(family, policy)
            drawing, paths = write_figure(figure, output, f"curves-{family}-{policy}", heading, caption)
            content.curves.append(drawing)
            yield from paths
    for drawing, paths in _dilemmas(results, output):
        content.curves.append(drawing)
        yield from paths


def _dilemmas(results: Results, output: Path) -> Iterator[tuple[Drawing, tuple[Path, ...]]]:
    """The figures of Jungle's dilemma, and where they were written."""
    cells = [(*cell, policy) for cell in group_runs(results) if family_of(cell[0]) == JUNGLE for policy in POLICIES]
    for task, variant, policy in cells:
        figure = draw_dilemma(results, task, variant, policy)
        if figure is not None:
            name = f"dilemma-{task.replace('/', '-')}-{variant}-{policy}"
            heading = f"The dilemma: {task_title(task, variant)}, {policy} policy"
            yield write_figure(figure, output, name, heading, dilemma_caption(policy))


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
        write_output(output / name, content)
        yield output / name


def _csv(rows: Sequence[Aggregate] | Sequence[ReferenceScore]) -> str:
    return pd.DataFrame([asdict(row) for row in rows]).to_csv(index=False, lineterminator="\n")
