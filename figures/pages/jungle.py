"""Table of envs/jungle/README.md: returns, and attacks on other agents."""

from __future__ import annotations

import numpy as np

from figures.analysis import Analysis
from figures.names import algorithm_label
from figures.pages.cells import PENALISED, markdown, return_cell, runs_of
from figures.tables import DASH, number
from results.paper import COMPARED_ALGORITHMS
from results.records import Run

TASK = "magent/jungle_20"
AGENTS = 20
KINDS = [(name, "individual", "") for name in COMPARED_ALGORITHMS]
KINDS += [(name, "penalty", ", larger logit penalty") for name in PENALISED]
KINDS += [(name, "team", ", mean reward") for name in ("ip", "dgn", "iql")]
HEADS = ("return, greedy", "sampled", "per agent", "attacks, maximum", "attacks, final")


def attacks(run: Run, policy: str) -> list[float]:
    """Attacks on agents in an episode, of all agents together, at every evaluation."""
    return [
        AGENTS * evaluation.scores["attacks_per_agent"] for evaluation in run.evaluations if evaluation.policy == policy
    ]


def learning(analysis: Analysis) -> str:
    """The suite `jungle`: final returns of both policies, return per agent, and attacks of the greedy policy."""
    rows = []
    for name, variant, words in KINDS:
        cell = (TASK, variant, name)
        score, runs = analysis.scores_by_cell.get(cell), runs_of(analysis, cell)
        returns = [return_cell(analysis, cell, policy) for policy in ("greedy", "sampled")]
        greedy = score.summaries.get("greedy") if score else None
        per_agent = number(greedy.mean / AGENTS if greedy else None, 1)
        counts = [attacks(run, "greedy") for run in runs]
        worst, last = ([max(series) for series in counts], [series[-1] for series in counts])
        hits = (number(float(np.mean(values)), 0) if values else DASH for values in (worst, last))
        rows.append([algorithm_label(name) + words, *returns, per_agent, *hits])
    for name in ("random", "greedy_in_sight", "greedy", "aggressor"):
        mean = analysis.reference_means(TASK).get(name)
        rows.append([f"`{name}`", number(mean, 0), "", number(None if mean is None else mean / AGENTS, 1), "", ""])
    return markdown(("", *HEADS), rows, words=1)
