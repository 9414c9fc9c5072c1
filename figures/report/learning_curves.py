"""Learning curves of every task and variant by platform, and of tasks with several algorithms over other axes."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure

from figures.analysis import Analysis
from figures.analysis.curves import StepCost
from figures.analysis.policies import POLICY_WORDS
from figures.names import platform_of, platform_title, task_title
from figures.panels import CURVES_EXPLAINED, Panel, draw_panels
from figures.paper.curves import value_label
from figures.style import algorithm_styles

AXES: dict[str, tuple[str, Callable[[StepCost], float | None]]] = {
    "transitions": ("transitions in gradient steps", lambda cost: cost.transitions),
    "compute": ("seconds of updates", lambda cost: cost.update_seconds),
}
"""Axes other than environment steps: their labels, and their units per environment step."""
LOGARITHMIC = ("compute",)
"""Axes on which algorithms differ by orders of magnitude."""


def panels_of(analysis: Analysis, platform: str) -> list[Panel]:
    """The panels of one platform, tasks in natural order, the default variant of each first."""
    panels = []
    for (task, variant), algorithms in analysis.groups.items():
        if platform_of(task) == platform:
            curves = {name: analysis.curve(task, variant, name) for name in algorithms}
            panels.append(Panel(task_title(task, variant), curves, analysis.reference_means(task)))
    return panels


def draw_platform(analysis: Analysis, platform: str) -> Figure:
    """One figure of all tasks of `platform`; draw and save it inside `figure_style()`."""
    return draw_panels(panels_of(analysis, platform), algorithm_styles(analysis.algorithms))


def platform_caption(platform: str) -> str:
    """Caption of the figure."""
    return f"{platform_title(platform)} tasks. {POLICY_WORDS} {CURVES_EXPLAINED}"


def draw_budget(analysis: Analysis, axis: str) -> Figure | None:
    """Figure of tasks with several algorithms, in the shown variant, over another axis of `AXES`.

    None where no run of such a task logged what the axis needs.
    """
    label, cost_of = AXES[axis]
    panels = []
    for task, variant in analysis.shown.items():
        algorithms = analysis.groups[task, variant]
        factors = {
            name: factor
            for name in algorithms
            if (cost := analysis.step_costs.get((task, variant, name))) is not None
            and (factor := cost_of(cost)) is not None
        }
        if len(algorithms) > 1 and factors and platform_of(task) != "game":
            curves = {name: analysis.curve(task, variant, name).scaled(factor) for name, factor in factors.items()}
            references = analysis.reference_means(task)
            log = axis in LOGARITHMIC
            panels.append(Panel(task_title(task, variant), curves, references, "", value_label(task), label, log))
    return draw_panels(panels, algorithm_styles(analysis.algorithms)) if panels else None


def budget_caption(axis: str) -> str:
    """Caption that explains the axis."""
    return f"{BUDGET_WORDS[axis]} {POLICY_WORDS} {CURVES_EXPLAINED}"


BUDGET_WORDS = {
    "transitions": (
        "The same curves over the transitions used in gradient steps: gradient steps times batch size, which can be "
        "equal for algorithms that differ in environment steps."
    ),
    "compute": (
        "The same curves over the time of updates in seconds: the median time of an update over the runs of an "
        "algorithm, times the number of updates, on a logarithmic axis; acting, the environment and evaluations are "
        "excluded. Runs that shared a machine slowed one another down, so that only large differences are meaningful."
    ),
}
