"""Tables of algorithms/README.md: small navigation, messages and rounds, and settings of the learners."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from figures.analysis import Analysis
from figures.names import algorithm_label
from figures.pages.cells import markdown, normalised_cell, return_cell, runs_of
from figures.tables import DASH, number
from results.paper import COMPARED_ALGORITHMS
from results.records import POLICIES, Run

NAVIGATION = "mpe/cooperative_navigation_{}"
JUNGLE = "magent/jungle_20"
HEADLINE_FIRST = ("sampled", "greedy")
"""Policies in the order of tables about IP, whose headline policy is sampled."""

SMALL = {
    (3, "quick"): "3 agents, shared reward, 30,000 steps",
    (6, "quick"): "6 agents, shared reward, 30,000 steps",
    (15, "difference"): "15 agents, difference reward, 15,000 steps",
}
"""(Number of agents, variant) -> description."""


def small_navigation(analysis: Analysis) -> str:
    """Normalised scores of all algorithms on small navigation, for both policies."""
    names = COMPARED_ALGORITHMS
    rows = []
    for (agents, variant), words in SMALL.items():
        for policy in POLICIES:
            cells = (normalised_cell(analysis, (NAVIGATION.format(agents), variant, name), policy) for name in names)
            rows.append([words if policy == POLICIES[0] else "", policy, *cells])
    return markdown(("cooperative navigation", "", *map(algorithm_label, names)), rows, words=2)


class Program(NamedTuple):
    """Evaluations of one run of the published program of PIC, mean of 20 episodes each, and of its reference
    policies."""

    random: float
    assignment: float
    returns: dict[int, float]
    """Environment steps -> mean return."""

    def normalised(self, value: float) -> float:
        """Normalised score of a return, in %."""
        return 100 * (value - self.random) / (self.assignment - self.random)


PIC_PROGRAM = {
    3: Program(
        -407,
        -147,
        {
            5_000: -377.3,
            10_000: -336.0,
            15_000: -286.7,
            20_000: -280.2,
            25_000: -268.6,
            30_000: -271.7,
            35_000: -261.0,
            40_000: -267.7,
            45_000: -266.9,
            50_000: -265.4,
            55_000: -267.1,
            60_000: -262.8,
        },
    ),
    6: Program(
        -4532,
        -1838,
        {
            5_000: -5475.8,
            10_000: -4899.2,
            15_000: -4452.9,
            20_000: -4352.1,
            25_000: -4470.5,
            30_000: -4206.0,
            35_000: -4178.0,
        },
    ),
}
"""Number of agents -> recorded run."""


def normalised_evaluations(analysis: Analysis, run: Run, policy: str) -> dict[int, float]:
    """Normalised score in % between random play and the assignment, by step."""
    means = analysis.reference_means(run.key.task)
    return {
        evaluation.step: 100
        * (float(np.mean(evaluation.returns)) - means["random"])
        / (means["assignment"] - means["random"])
        for evaluation in run.evaluations
        if evaluation.policy == policy
    }


def pic_program(analysis: Analysis) -> str:
    """PIC beside its published program at the same number of steps: the least and the largest of our seeds."""
    rows = []
    for agents, program in PIC_PROGRAM.items():
        last = max(program.returns)
        runs = runs_of(analysis, (NAVIGATION.format(agents), "program", "pic"))
        ours = [normalised_evaluations(analysis, run, "sampled")[last] for run in runs]
        span = f"{number(min(ours), 0)} to {number(max(ours), 0)} %" if ours else DASH
        rows.append([str(agents), f"{last:,}", span, f"{number(program.normalised(program.returns[last]), 0)} %"])
    return markdown(("agents", "steps", "PIC here, three seeds", "published program, one run"), rows, words=0)


VIEWS = {"published": "in the published order", "blind": "not at all"}
"""Prefix of a variant of `why-cpu` -> how agents observe one another."""
NETWORKS = {
    "M2": "IP",
    "q-2": "two rounds in Q",
    "deaf": "policy without messages",
    "isac": "policy and critics without messages",
    "M0": "policy without rounds",
}
"""Suffix of a variant of `why-cpu` -> head of its column."""


def messages(analysis: Analysis) -> str:
    """Navigation by what agents observe of one another, with and without messages."""
    rows = []
    for agents in (15, 30):
        for view, words in VIEWS.items():
            for policy in HEADLINE_FIRST:
                names = ((NAVIGATION.format(agents), f"{view}-{network}", "ip") for network in NETWORKS)
                first = [str(agents), words] if policy == HEADLINE_FIRST[0] else ["", ""]
                rows.append([*first, policy, *(normalised_cell(analysis, name, policy) for name in names)])
    return markdown(("agents", "others observed", "", *NETWORKS.values()), rows, words=3)


ROUNDS = (1, 2, 3, 4)


def numbers_of_rounds(analysis: Analysis) -> str:
    """Navigation with 30 agents by the number of rounds, with messages and deaf."""
    rows = []
    for end, words in (("", "with messages"), ("-deaf", "deaf")):
        for policy in HEADLINE_FIRST:
            names = ((NAVIGATION.format(30), f"rounds-{count}{end}", "ip") for count in ROUNDS)
            cells = (normalised_cell(analysis, name, policy, digits=1) for name in names)
            rows.append([words if policy == HEADLINE_FIRST[0] else "", policy, *cells])
    return markdown(("rounds", "", *map(str, ROUNDS)), rows, words=2)


def critic_rounds(analysis: Analysis) -> str:
    """One and two rounds of IP's Q on three tasks."""
    return _settings_table(
        analysis,
        {"navigation, 15 agents": NAVIGATION.format(15), "Jungle": JUNGLE, "49 signals": "cityflow/synthetic_49"},
        {"": "ip"},
        {"q-1": "one round of Q", "q-2": "two rounds"},
    )


def lockstep(analysis: Analysis) -> str:
    """Few and many copies of a task in lockstep."""
    return _settings_table(
        analysis,
        {"navigation, 6 agents": NAVIGATION.format(6), "Jungle": JUNGLE},
        {"IQL, ": "iql", "IP, ": "ip"},
        {"copies-4": "4 copies", "copies-100": "100 copies"},
    )


def critic_targets(analysis: Analysis) -> str:
    """MADDPG with critics of the team's reward, or of each agent's."""
    return _settings_table(
        analysis,
        {"Jungle": JUNGLE, "9 signals": "cityflow/synthetic_9"},
        {"": "maddpg"},
        {"value-team": "team value", "value-own": "per-agent values"},
        with_random=True,
    )


def _settings_table(
    analysis: Analysis,
    tasks: dict[str, str],
    algorithms: dict[str, str],
    variants: dict[str, str],
    with_random: bool = False,
) -> str:
    """One row for each algorithm, task and policy, one column for each variant, and one for random play: normalised
    scores in navigation, and returns elsewhere."""
    rows = []
    for prefix, algorithm in algorithms.items():
        for words, task in tasks.items():
            unit = ", normalised score in %" if task.startswith("mpe/") else ", return"
            cell = normalised_cell if task.startswith("mpe/") else return_cell
            for policy in HEADLINE_FIRST:
                cells = [cell(analysis, (task, variant, algorithm), policy) for variant in variants]
                if with_random:
                    cells.append(number(analysis.reference_means(task).get("random"), 0))
                rows.append([f"{prefix}{words}{unit}, {policy}", *cells])
    return markdown(("", *variants.values(), *(["random play"] if with_random else [])), rows, words=1)


SCALES = {
    "raw": "unscaled rewards",
    "standardised": "standardised rewards",
    "advantage": "standardised rewards, alpha in units of advantages",
}
ALPHAS = {
    "raw": ["0.02", "0.2", "tuned"],
    "standardised": ["0.02", "0.2", "tuned"],
    "advantage": ["0.02", "0.2", "0.5", "tuned"],
}


def temperatures(analysis: Analysis) -> str:
    """The scale of rewards and the weight of the entropy of IP."""
    rows = []
    for scale, alphas in ALPHAS.items():
        for alpha in alphas:
            variant = f"{scale}-{alpha}"
            cells = [normalised_cell(analysis, (NAVIGATION.format(15), variant, "ip"), name) for name in HEADLINE_FIRST]
            cells += [return_cell(analysis, (JUNGLE, variant, "ip"), name) for name in HEADLINE_FIRST]
            rows.append([SCALES[scale], alpha, *cells])
    heads = ("navigation, 15 agents, normalised score in %, sampled", "greedy", "Jungle, return, sampled", "greedy")
    return markdown(("rewards", "alpha", *heads), rows, words=2)
