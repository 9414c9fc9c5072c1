"""One self-contained report: findings, scores, curves, and the runs behind them.

Texts and layout are in `templates`, typography and behaviour in `static`; nothing is loaded from elsewhere when the
page is opened. Charts of logged metrics are drawn by uPlot, which is included in `static/uplot`; without scripts
everything else remains readable.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from figures.analysis import Analysis
from figures.analysis.cost import total_text
from figures.drawing import Drawing
from figures.names import algorithm_label
from figures.report import cost, ranks
from figures.report.coverage import coverage_rows, scope_words
from figures.report.deviations import deviations_html, link_deviations
from figures.report.drilldown import CAPTION, STATES, blocks
from figures.report.episodes import episode_pictures
from figures.report.full_episodes import full_episode_table
from figures.report.proof import lessons_of, settings_text
from figures.report.provenance import count_text, machines_table
from figures.report.scores import aggregate_table, policy_table, reference_table
from figures.style import algorithm_styles
from figures.tables import AGGREGATE_CAPTION, Table, score_table
from results.paper import COMPARED_ALGORITHMS

FOLDER = Path(__file__).parent
TITLE = "Intention Propagation benchmark"
DOTS_PER_INCH = 96
"""CSS pixels per inch."""
SMALLEST = 68
"""Smallest scale of a drawing in CSS pixels per inch: on a narrow screen it scrolls inside its block instead of
shrinking."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What an exhibit shows in the report."""

    name: str
    heading: str
    chapter: str
    drawing: Drawing | None
    table: Table | None


@dataclass(frozen=True, slots=True)
class Chapter:
    """A chapter of the report; the table of contents links to its anchor."""

    anchor: str
    heading: str
    template: str


def build_report(analysis: Analysis, shown: Sequence[Shown], absent: Sequence[str]) -> str:
    """The report as HTML text. Equal results and drawings give the same text, byte for byte.

    Args:
        absent: headings of figures without runs.

    Raises ResultsError where a recorded episode cannot be read.
    """
    facts = _facts(analysis, shown, absent)
    chapters = [
        chapter
        for chapter in CHAPTERS
        if chapter.anchor not in OPTIONAL or facts["chapters"].get(chapter.anchor) or facts.get(chapter.anchor)
    ]
    compared = ", ".join(style.label for style in algorithm_styles(analysis.algorithms).values())
    return _render("report.html", title=f"{TITLE}: report", name=TITLE, contents=chapters, compared=compared, **facts)


def scores_page(table: Table) -> str:
    """The score table as a separate page."""
    return _render("scores.html", title="Final scores", table_of_scores=table)


CHAPTERS = (
    Chapter("headline", "Who wins, by how much, with what confidence", "headline.html"),
    Chapter("figures", "The paper\u2019s figures", "figures.html"),
    Chapter("paper", "The paper\u2019s tables and claims", "paper.html"),
    Chapter("comparison", "All tasks together", "comparison.html"),
    Chapter("scores", "Final scores", "scores.html"),
    Chapter("proof", "Matrix and toy games", "proof.html"),
    Chapter("episodes", "Episodes", "episodes.html"),
    Chapter("curves", "Learning curves", "curves.html"),
    Chapter("runs", "Every run", "runs.html"),
    Chapter("cost", "Cost and speed", "cost.html"),
    Chapter("deviations", "Deviations from the paper", "deviations.html"),
    Chapter("coverage", "Coverage and issues", "coverage.html"),
    Chapter("method", "How to read this report", "method.html"),
)
OPTIONAL = {"figures", "paper", "comparison", "proof", "episodes"}
"""Chapters left out where they have nothing to show."""


def _facts(analysis: Analysis, shown: Sequence[Shown], absent: Sequence[str]) -> dict[str, Any]:
    """The values of all names in the templates."""
    by_chapter: dict[str, list[Shown]] = {chapter.anchor: [] for chapter in CHAPTERS}
    for exhibit in shown:
        by_chapter[exhibit.chapter].append(exhibit)
    missing = [heading for heading in absent if heading.startswith("Figure")]
    names = algorithm_styles(set(COMPARED_ALGORITHMS) | analysis.algorithms)
    pictures = episode_pictures(analysis)
    return {
        "chapters": by_chapter,
        "figures": missing,
        "absent": missing,
        "tiles": _tiles(analysis),
        "scope": scope_words(analysis),
        "missing": ranks.missing_words(analysis),
        "verdicts": ranks.verdict_table(analysis),
        "headline_scores": policy_table(analysis, other=False, alone=False),
        "alone_scores": policy_table(analysis, other=False, alone=True),
        "other_scores": policy_table(analysis, other=True),
        "other_ranks": ranks.other_table(analysis),
        "aggregates": aggregate_table(analysis.aggregates()),
        "aggregate_caption": AGGREGATE_CAPTION,
        "every_score": score_table(analysis.scores),
        "hours": full_episode_table(analysis),
        "references": reference_table(analysis),
        "settings_text": settings_text(analysis) if by_chapter.get("proof") else "",
        "lessons": lessons_of(analysis),
        "episodes": pictures,
        "more_episodes": len(analysis.results.episodes) - len(pictures),
        "blocks": blocks(analysis),
        "chart_caption": CAPTION,
        "total": total_text(analysis.results.runs),
        "hour_tables": cost.hour_tables(analysis),
        "speeds": cost.speed_table(analysis),
        "stages": cost.stage_table(analysis),
        "machines": machines_table(analysis),
        "deviations": Markup(deviations_html()),
        "algorithm_labels": [algorithm_label(name) for name in names],
        "coverage": coverage_rows(analysis, list(names)),
        "issues": analysis.issues,
    }


def _tiles(analysis: Analysis) -> dict[str, object]:
    runs = analysis.results.runs
    states = [run.status.state for run in runs]
    return {
        "runs": len(runs),
        **{word: states.count(state) for state, word in STATES.items()},
        "tasks": len(analysis.tasks),
        "algorithms": len(analysis.algorithms),
        "seeds": len({run.key.seed for run in runs}),
        "steps in total": count_text(sum(run.status.step for run in runs)),
        "computing time": total_text(runs).replace(" hours", " h").replace(" and ", " + "),
    }


def _render(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"lines": _lines, "sort_key": _sort_key, "svg_uri": _svg_uri, "linked": _linked}
    environment.globals |= {
        "static": _static,
        "largest": lambda width: round(DOTS_PER_INCH * width),
        "smallest": lambda width: round(SMALLEST * width),
    }
    environment.globals["show"] = environment.get_template("macros.html").module
    return environment


def _static(name: str) -> Markup:
    """The contents of a file of `static`."""
    return Markup((FOLDER / "static" / name).read_text(encoding="utf-8"))


def _lines(text: str) -> Markup:
    """Escaped text with its line breaks."""
    return Markup("<br>").join(escape(line) for line in text.split("\n"))


def _sort_key(key: float | str) -> str:
    """Sort key in which absent and invalid numbers come below every number."""
    return "-Infinity" if isinstance(key, float) and not math.isfinite(key) else str(key)


def _svg_uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode("utf-8")).decode("ascii")


def _linked(html: Markup) -> Markup:
    """The text with ids of deviations as links to their rows."""
    return Markup(link_deviations(str(html)))
