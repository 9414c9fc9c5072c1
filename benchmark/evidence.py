"""Suites that fill every panel of the paper on a CPU, with about a hundredth of its steps, and suites that explain the
results.

Every algorithm has its default settings, except for batches that two cores can afford and the learning rate that suits
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from benchmark.requests import CONTROLS, RunRequest, control, small_batch_rate
from results.keys import RunKey
from results.paper import COMPARED_ALGORITHMS


class Budget(NamedTuple):
    """Budget of a task in `table1-cpu`."""

    steps: int
    """Environment steps per run."""
    batch: int
    """Transitions per gradient step."""
    seeds: int
    evaluations: int = 10
    """Evaluations during training, evenly spread over its steps."""
    episodes: int = 200
    """Episodes per evaluation."""
    settings: Mapping[str, Any] = {}
    """Other settings that differ from the defaults."""


MANY = {"training.num_envs": 20}
"""Number of copies of a particle task in lockstep."""
FEW_EPISODES = 2
"""Episodes per evaluation in traffic, where an episode is long and its vehicles are nearly the same each time."""
ROAD = {"training.log_interval": 500}
BUDGETS: dict[str, Budget] = {
    "cityflow/hangzhou_16": Budget(30_000, 64, 3, 10, FEW_EPISODES, ROAD),
    "cityflow/synthetic_49": Budget(20_000, 64, 3, 10, FEW_EPISODES, {"training.log_interval": 250}),
    "cityflow/manhattan_96": Budget(12_000, 32, 1, 6, FEW_EPISODES, ROAD),
    "cityflow/synthetic_100": Budget(12_000, 32, 1, 6, FEW_EPISODES, ROAD),
    "cityflow/synthetic_225": Budget(10_000, 32, 1, 5, FEW_EPISODES, ROAD),
    "cityflow/synthetic_1225": Budget(4_000, 16, 1, 4, FEW_EPISODES, ROAD),
    "magent/jungle_20": Budget(40_000, 64, 2),
    "mpe/cooperative_navigation_15": Budget(40_000, 64, 3, settings=MANY),
    "mpe/cooperative_navigation_30": Budget(40_000, 32, 1, settings=MANY),
    "mpe/heterogeneous_navigation_100": Budget(12_000, 32, 1, 6, 50, MANY),
    "mpe/cooperative_push_100": Budget(12_000, 32, 1, 6, 50, MANY),
    "mpe/prey_and_predator_100": Budget(12_000, 32, 1, 6, 50, MANY),
    "mpe/cooperative_navigation_200": Budget(10_000, 32, 1, 5, 50, MANY),
}
"""Budgets by task, in the order in which the runs are made: those of most interest come first. Altogether about six
hours on one core, so that most tasks have a single seed; `--seeds 0 1 2` makes more."""


def table_1() -> list[RunRequest]:
    """All tasks of Table 1 with the seven algorithms, IP with a deaf policy, and IP with deaf policy and critics. The
    reward is the team's in particle tasks, and each agent's in traffic and Jungle."""
    return [
        request
        for task, budget in BUDGETS.items()
        for name in COMPARED_ALGORITHMS
        for seed in range(budget.seeds)
        for request in _with_controls(_budgeted(task, name, seed, budget, "table1"))
    ]


def _budgeted(task: str, algorithm: str, seed: int, budget: Budget, variant: str) -> RunRequest:
    overrides = _settings(budget) | small_batch_rate(algorithm)
    return RunRequest(RunKey(task, algorithm, variant, seed), budget.steps, overrides)


def _settings(budget: Budget) -> dict[str, Any]:
    return {
        "training.batch_size": budget.batch,
        "training.learning_starts": budget.batch,
        "training.evaluation_interval": budget.steps // budget.evaluations,
        "training.evaluation_episodes": budget.episodes,
        **budget.settings,
    }


def _with_controls(request: RunRequest) -> list[RunRequest]:
    """The run and, for IP, its controls."""
    return [request, *(control(request, name) for name in CONTROLS if request.key.algorithm == "ip")]


DIFFERENCE: dict[str, Any] = {"environment.reward": "difference"}
CREDIT: dict[str, Any] = {"algorithm.credit": "own"}
"""Settings of IP's policy gradient that difference rewards require."""
PAID_THEMSELVES = ("ip", "dgn", "iql")
"""Algorithms that learn from individual rewards."""
REWARD_TASKS = (
    *(f"mpe/cooperative_navigation_{agents}" for agents in (15, 30, 200)),
    "mpe/heterogeneous_navigation_100",
    "mpe/cooperative_push_100",
    "mpe/prey_and_predator_100",
)
REPEATED = REWARD_TASKS[:1]
"""Those with three seeds."""


def rewards() -> list[RunRequest]:
    """The particle tasks of `table_1` with difference rewards, for IP, its controls, DGN and IQL: does a better
    learning signal improve on the paper's? Three seeds with 15 agents, otherwise one."""
    return [
        RunRequest(request.key, request.total_steps, request.overrides | DIFFERENCE | (CREDIT if name == "ip" else {}))
        for task in REWARD_TASKS
        for name in PAID_THEMSELVES
        for seed in range(3 if task in REPEATED else 1)
        for request in _with_controls(_budgeted(task, name, seed, BUDGETS[task], "table1-difference"))
    ]


VIEWS: dict[str, dict[str, Any]] = {
    "published": {},
    "blind": {"environment.observe_agents": False},
}
"""Observations of navigating agents: others in the published order, which need not be the nearest, or none. The graph
joins the nearest agents in either case."""
NETWORKS: dict[str, dict[str, Any]] = {
    "M2": {},
    "q-2": {"algorithm.critic_hops": 2},
    "deaf": CONTROLS["deaf"],
    "isac": CONTROLS["isac"],
    "M0": {"algorithm.hops": 0, "algorithm.value_hops": 2},
}
"""Variants of IP: two rounds in the policy and one in Q; two in Q; the controls; a policy without rounds."""
WHY_NAVIGATION: dict[str, Any] = {
    **MANY,
    "training.batch_size": 64,
    "training.learning_starts": 64,
    "training.evaluation_interval": 2_000,
    "training.evaluation_episodes": 200,
}
WHY_SIGNALS: dict[str, Any] = {
    "training.batch_size": 64,
    "training.learning_starts": 64,
    "training.evaluation_interval": 2_000,
    "training.evaluation_episodes": FEW_EPISODES,
}
WHY_RING: dict[str, Any] = {
    **MANY,
    "training.batch_size": 128,
    "training.learning_starts": 256,
    "training.evaluation_interval": 2_000,
    "training.evaluation_episodes": 500,
    "algorithm.hidden": 64,
}


def why() -> list[RunRequest]:
    """IP alone: the effect of messages in navigation by what agents observe, the number of rounds, the kind of
    inference, forces instead of five directions, and tuned alpha with many agents. Three seeds, or one where a run is
    long."""
    return [
        RunRequest(RunKey(task, "ip", name, seed), steps, common | small_batch_rate("ip") | more)
        for task, seeds, steps, name, common, more in (
            *_views(),
            *_hops(),
            *_inferences(),
            *_forces(),
            *_temperatures(),
        )
        for seed in range(seeds)
    ]


Row = tuple[str, int, int, str, dict[str, Any], dict[str, Any]]
"""Task, number of seeds, steps, variant, settings of the task, settings of the variant."""


def _views() -> list[Row]:
    """The effect of messages, by what agents observe."""
    return [
        (
            f"mpe/cooperative_navigation_{agents}",
            seeds,
            10_000,
            f"{view}-{network}",
            WHY_NAVIGATION | DIFFERENCE | CREDIT,
            shown | rounds,
        )
        for agents, seeds in ((15, 3), (30, 1))
        for view, shown in VIEWS.items()
        for network, rounds in NETWORKS.items()
    ]


def _hops() -> list[Row]:
    """One to four rounds of policy, V and Q, each compared with a deaf policy of the same size, since rounds also add
    depth."""
    return [
        (
            "mpe/cooperative_navigation_30",
            3,
            8_000,
            f"rounds-{count}{end}",
            WHY_NAVIGATION | DIFFERENCE | CREDIT | {"environment.neighbour_order": "true"},
            {"algorithm.hops": count, "algorithm.critic_hops": None} | deaf,
        )
        for count in (1, 2, 3, 4)
        for end, deaf in (("", {}), ("-deaf", CONTROLS["deaf"]))
    ]


def _inferences() -> list[Row]:
    """Mean-field inference and loopy belief propagation."""
    places = (
        ("game/ring_8", 3, 20_000, WHY_RING),
        ("mpe/cooperative_navigation_15", 3, 10_000, WHY_NAVIGATION | DIFFERENCE | CREDIT),
        ("cityflow/synthetic_49", 1, 10_000, WHY_SIGNALS),
    )
    kinds = ("mean_field", "belief_propagation")
    return [
        (task, seeds, steps, name.replace("_", "-"), common, {"algorithm.inference": name})
        for task, seeds, steps, common in places
        for name in kinds
    ]


def _temperatures() -> list[Row]:
    """The runs of `table_1` with tuned alpha, since a fixed alpha = 0.2 favours the more entropy the more agents there
    are."""
    tasks = [f"mpe/cooperative_navigation_{agents}" for agents in (30, 200)]
    tuned = {"algorithm.tune_alpha": True}
    return [(task, 1, BUDGETS[task].steps, "alpha-tuned", _settings(BUDGETS[task]), tuned) for task in tasks]


def _forces() -> list[Row]:
    """Navigation of six agents by forces and by directions."""
    return [
        (
            "mpe/cooperative_navigation_6",
            3,
            20_000,
            f"actions-{kind}",
            WHY_NAVIGATION | DIFFERENCE | CREDIT,
            {"environment.actions": kind},
        )
        for kind in ("discrete", "continuous")
    ]
