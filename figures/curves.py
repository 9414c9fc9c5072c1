"""Learning curves of every task and variant that was run, one figure for each family of tasks and policy."""

from __future__ import annotations

from matplotlib.figure import Figure

from figures.panels import CURVES_EXPLAINED, Panel, by_algorithm, draw_panels, reference_means
from figures.style import algorithm_styles, family_of, family_title, task_title
from results.checks import group_runs
from results.records import POLICIES, Results


def panels_of(results: Results, family: str, policy: str) -> list[Panel]:
    """The panels of one family of tasks, tasks in natural order, the default variant of each first."""
    members = Results(tuple(run for run in results.runs if family_of(run.key.task) == family))
    panels = []
    for (task, variant), algorithms in group_runs(members).items():
        runs = by_algorithm(run for own in algorithms.values() for run in own)
        panels.append(Panel(task_title(task, variant), runs, policy, reference_means(results, task)))
    return panels


def draw_learning_curves(results: Results, family: str, policy: str) -> Figure:
    """One figure of all tasks of ``family``; draw and save it inside ``figure_style()``."""
    if policy not in POLICIES:
        raise ValueError(f"policy is {policy!r}, expected one of {', '.join(POLICIES)}")
    return draw_panels(panels_of(results, family, policy), algorithm_styles(run.key.algorithm for run in results.runs))


def curves_caption(family: str, policy: str) -> str:
    """What the reader of a figure of learning curves must know, in whole sentences."""
    return f"{family_title(family)} tasks, evaluated with {ACTIONS[policy]}. {CURVES_EXPLAINED}"


ACTIONS = {"greedy": "the most probable action of each agent", "sampled": "actions drawn from the policy"}
"""What the policies of an evaluation do."""
