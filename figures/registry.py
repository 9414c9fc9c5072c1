"""Registry of all figures and tables by name, one row each: a new one is a function and a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure

from figures.analysis import Analysis
from figures.names import platform_title, task_title
from figures.paper import ablations, curves, hyperparameters, interpretation, tasks, values
from figures.report import comparison, dilemma, learning_curves, proof, ranks, scaling, speed, transfer
from figures.tables import Table

HEADLINE, FIGURES, PAPER, OVERVIEW, PROOF, CURVES, COST = (
    "headline",
    "figures",
    "paper",
    "comparison",
    "proof",
    "curves",
    "cost",
)
"""Chapters of the report."""


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A figure, a table, or a figure with its table."""

    name: str
    """Name of its files without suffix."""
    heading: str
    chapter: str = OVERVIEW
    """Chapter of the report."""
    draw: Callable[[Analysis], Figure | None] | None = None
    """Draws the figure, or returns None without runs; called inside `figure_style()`."""
    caption: str | Callable[[Analysis], str] = ""
    table: Callable[[Analysis], Table] | None = None

    def caption_of(self, analysis: Analysis) -> str:
        """The caption as text."""
        return self.caption if isinstance(self.caption, str) else self.caption(analysis)


def _tasks(name: str, heading: str, titles: curves.Titles) -> Exhibit:
    return Exhibit(
        name, heading, FIGURES, partial(curves.draw_tasks, titles=titles), partial(curves.tasks_caption, titles=titles)
    )


def _budget(axis: str, heading: str) -> Exhibit:
    draw = partial(learning_curves.draw_budget, axis=axis)
    return Exhibit(f"curves-by-{axis}", heading, CURVES, draw, learning_curves.budget_caption(axis))


EXHIBITS: list[Exhibit] = [
    Exhibit("ranks", "Ranks by final score", HEADLINE, table=ranks.table),
    Exhibit("mean_ranks", "Mean ranks over tasks", OVERVIEW, table=ranks.mean_table),
    _tasks("figure_3", "Figure 3: traffic signals on a large scale", curves.FIGURE_3),
    _tasks("figure_4", "Figure 4: particle environments", curves.FIGURE_4),
    _tasks("figure_5", "Figure 5: all traffic tasks", curves.FIGURE_5),
    Exhibit("figure_6", "Figure 6: ablations of IP", FIGURES, ablations.draw, ablations.caption, ablations.table),
    Exhibit(
        "figure_7",
        "Figure 7: policy interpretation",
        FIGURES,
        interpretation.draw,
        interpretation.caption,
        interpretation.table,
    ),
    _tasks("figure_8", "Figure 8: more particle environments, and Jungle", curves.FIGURE_8),
    Exhibit("table_1", "Table 1: tasks", PAPER, table=tasks.table),
    Exhibit("table_2", "Table 2: hyperparameters", PAPER, table=hyperparameters.table),
    Exhibit("paper_values", "The paper's values and claims", PAPER, table=values.table),
    Exhibit("comparison", "Comparison over tasks", OVERVIEW, comparison.draw, comparison.caption),
    Exhibit("scaling", "Scaling with the number of agents", OVERVIEW, scaling.draw, scaling.caption, scaling.table),
    Exhibit(
        "transfer",
        "Zero-shot transfer to other numbers of agents",
        OVERVIEW,
        transfer.draw_sizes,
        transfer.sizes_caption,
        transfer.sizes_table,
    ),
    Exhibit(
        "messages", "Lost messages", OVERVIEW, transfer.draw_losses, transfer.losses_caption, transfer.losses_table
    ),
    Exhibit("proof", "Matrix and toy games", PROOF, table=proof.table),
    _budget("transitions", "Tasks with several algorithms, by transitions"),
    _budget("compute", "Tasks with several algorithms, by compute"),
    Exhibit("speed", "Speed compared with other suites", COST, speed.draw, speed.caption, speed.table),
]
"""All figures and tables in the order of the report."""


def exhibits(analysis: Analysis) -> list[Exhibit]:
    """`EXHIBITS`, then the learning curves of every platform and the dilemma of every Jungle task that was run."""
    platforms = [
        Exhibit(
            f"curves-{platform}",
            platform_title(platform),
            CURVES,
            partial(learning_curves.draw_platform, platform=platform),
            learning_curves.platform_caption(platform),
        )
        for platform in analysis.platforms
    ]
    jungles = [
        Exhibit(
            f"dilemma-{task.replace('/', '-')}-{variant}",
            f"The dilemma: {task_title(task, variant)}",
            CURVES,
            partial(dilemma.draw_dilemma, task=task, variant=variant),
            dilemma.dilemma_caption(),
        )
        for task, variant in analysis.groups
        if task.startswith(f"{dilemma.PLATFORM}/") and dilemma.dilemma_curves(analysis, task, variant)
    ]
    return [*EXHIBITS, *platforms, *jungles]
