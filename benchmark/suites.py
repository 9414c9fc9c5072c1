"""Suites: named sets of runs.

smoke        minutes: every available scenario and algorithm of the paper, two seeds, as a check that all of them work
quick        half an hour on two cores: visible learning with small numbers of agents
proof        half an hour on two cores: which algorithms find the known optimum of each matrix and toy game
signals      an hour on two cores: traffic signals of a synthetic city and a real one
jungle       two hours on two cores: Jungle and its dilemma
pic          ten minutes on two cores: PIC as in recorded runs of its original program
ablations-cpu       half an hour on two cores: graph and neighbours of IP, small
hops-cpu            an hour on two cores: IP with one round of Q, and with the policy's two
temperature-cpu     an hour and a half on two cores: the scale of rewards and the weight of the entropy of IP
lockstep-cpu        half an hour on two cores: IQL and IP with 4 copies of a task in lockstep, and with 100
values-cpu          a quarter of an hour on two cores: MADDPG with critics of the team's reward or of each agent's
goals-cpu           an hour and a half on two cores: travel times by the rules of published tables, two real maps
transfer-cpu        an hour on two cores: IQL on 225 and 1,225 signals, new or from a policy of 49, and on 49 in detail
table1-cpu          many hours on two cores: the 13 tasks of the paper, seven algorithms and two controls of IP
reward-cpu          hours on two cores: the particle tasks of the paper with difference rewards
why-cpu             hours on two cores: which parts of IP matter, by observations, rounds and inference
ablations           the paper's Figure 6: graph, neighbours and hops of IP
interpretation      the paper's Figure 7: 49 signals, all algorithms; these runs are part of `all`
all          the paper: 13 tasks, 7 algorithms, 5 seeds
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmark.choices import fine_tuning, goals, hops, lockstep, temperature
from benchmark.errors import UserError
from benchmark.evidence import rewards, table_1, why
from benchmark.requests import (
    FEW_TRANSITIONS,
    SMALL_SIGNALS,
    SMALL_STEPS,
    RunRequest,
    small_batch_rate,
)
from benchmark.suite_file import ENDING, read_suite
from benchmark.tasks import GAMES, default_total_steps
from envs.fields import closest
from results.keys import RunKey
from results.paper import COMPARED_ALGORITHMS, TABLE_1

PAPER_SEEDS = (0, 1, 2, 3, 4)


def smoke() -> list[RunRequest]:
    """The smallest task of every MPE scenario, of city traffic, of Jungle and of the games, with two thousand steps
    each."""
    scenarios = ("cooperative_navigation_3", "heterogeneous_navigation_4", "cooperative_push_3", "prey_and_predator_3")
    tasks = (*(f"mpe/{scenario}" for scenario in scenarios), "cityflow/synthetic_4", "magent/jungle_6")
    tasks += ("game/two_step_2",)
    overrides = {
        "training.batch_size": 64,
        "training.learning_starts": 64,
        "training.evaluation_interval": 500,
        "training.evaluation_episodes": 20,
        "training.log_interval": 100,
    }
    fewer = {"training.evaluation_episodes": 2}  # an episode of traffic is four times as long as one of MPE
    return [
        RunRequest(
            RunKey(task, algorithm, "smoke", seed), 2_000, overrides | (fewer if task.startswith("cityflow/") else {})
        )
        for task in tasks
        for algorithm in COMPARED_ALGORITHMS
        for seed in (0, 1)
    ]


def quick() -> list[RunRequest]:
    """Small cooperative navigation, three seeds: the paper's shared reward with every algorithm's defaults, and the
    difference reward with 15 agents for the algorithms that learn from the agents' rewards."""
    seeds = (0, 1, 2)
    kinds = [(size, name) for size in SMALL for name in COMPARED_ALGORITHMS]
    shared = [_small_navigation(*size, name, seed) for size, name in kinds for seed in seeds]
    return shared + [difference_run(name, seed) for name in INDIVIDUAL for seed in seeds]


SMALL = ((3, 1000), (6, 400))
"""Agents and evaluation episodes of the small tasks: with few agents the starts differ more."""
INDIVIDUAL = ("ip", "dgn", "iql")
"""The paper's algorithms that learn from the agents' rewards; the others learn from the team's."""


def _small_navigation(agents: int, episodes: int, algorithm: str, seed: int) -> RunRequest:
    """Shared reward and default settings, except for a quarter of Table 2's batch."""
    overrides: dict[str, Any] = {
        "training.batch_size": 256,
        "training.evaluation_interval": 2_500,
        "training.evaluation_episodes": episodes,
    }
    return RunRequest(RunKey(f"mpe/cooperative_navigation_{agents}", algorithm, "quick", seed), 30_000, overrides)


def difference_run(algorithm: str, seed: int) -> RunRequest:
    """Fifteen agents learning from difference rewards with the true neighbour order."""
    overrides = FEW_TRANSITIONS | {
        "environment.reward": "difference",
        "environment.neighbour_order": "true",
        "training.evaluation_interval": 1_250,
        "training.evaluation_episodes": 400,
    }
    overrides |= small_batch_rate(algorithm)
    if algorithm == "ip":
        overrides |= {"algorithm.credit": "own"}
    return RunRequest(RunKey("mpe/cooperative_navigation_15", algorithm, "difference", seed), 15_000, overrides)


PENALISED = ("maddpg", "maddpgs", "pic")
PENALTY = {"algorithm.logit_penalty": 0.1}
"""A larger penalty on logits, and the algorithms that have one."""
SIGNAL_TASKS = {"cityflow/synthetic_9": 20_000, "cityflow/hangzhou_16": 20_000}
"""Traffic tasks that are learned within minutes, with their environment steps."""


def signals() -> list[RunRequest]:
    """All algorithms on a synthetic and a real map, with default settings except for small batches and a learning rate
    that suits them, three seeds.

    The real map must be fetched first (`python -m envs.traffic.data fetch`). MADDPG, MADDPGS and PIC are repeated with
    a larger penalty on logits: with the default one their policies are deterministic after a few hundred updates,
    before the critic is accurate, and their later actions teach it little.
    """
    overrides: dict[str, Any] = {
        "training.batch_size": 128,
        "training.learning_starts": 128,
        "training.evaluation_interval": 2_000,
    }
    kinds: list[tuple[str, str, dict[str, Any]]] = [(name, "signals", {}) for name in COMPARED_ALGORITHMS]
    kinds += [(name, "signals-penalty", PENALTY) for name in PENALISED]
    return [
        RunRequest(RunKey(task, name, variant, seed), steps, overrides | small_batch_rate(name) | more)
        for task, steps in SIGNAL_TASKS.items()
        for name, variant, more in kinds
        for seed in (0, 1, 2)
    ]


def jungle() -> list[RunRequest]:
    """All algorithms on Jungle, with default settings except for small batches and a learning rate that suits them,
    three seeds.

    `individual` pays each agent its individual reward, like the paper's r_i; `team` pays every agent the mean, for the
    algorithms to which that makes a difference. `penalty` is for MADDPG, MADDPGS and PIC, as in `signals`.
    """
    overrides: dict[str, Any] = {
        "training.batch_size": 128,
        "training.learning_starts": 128,
        "training.evaluation_interval": 3_000,
    }
    kinds: list[tuple[str, str, dict[str, Any]]] = [(name, "individual", {}) for name in COMPARED_ALGORITHMS]
    kinds += [(name, "penalty", PENALTY) for name in PENALISED]
    kinds += [(name, "team", {"environment.reward": "shared"}) for name in INDIVIDUAL]
    return [
        RunRequest(RunKey("magent/jungle_20", name, variant, seed), 60_000, overrides | small_batch_rate(name) | more)
        for name, variant, more in kinds
        for seed in (0, 1, 2)
    ]


def values() -> list[RunRequest]:
    """MADDPG in Jungle and on nine signals with the settings of `jungle` and `signals`, and a critic fitted to the
    team's reward or to each agent's."""
    places = {("magent/jungle_20", "individual"), ("cityflow/synthetic_9", "signals")}
    requests = [request for request in (*jungle(), *signals()) if request.key.algorithm == "maddpg"]
    return [
        RunRequest(
            request.key._replace(variant=f"value-{value}"),
            request.total_steps,
            request.overrides | {"algorithm.value": value},
        )
        for request in requests
        if (request.key.task, request.key.variant) in places
        for value in ("team", "own")
    ]


def pic() -> list[RunRequest]:
    """PIC as in the recorded runs of its original program: constant learning rate, batches of 1024, three seeds."""
    overrides: dict[str, Any] = {"training.evaluation_interval": 2_500, "algorithm.learning_rate_end": 0.01}
    steps = {3: 60_000, 6: 40_000}
    return [
        RunRequest(
            RunKey(f"mpe/cooperative_navigation_{agents}", "pic", "program", seed),
            steps[agents],
            overrides | {"training.evaluation_episodes": episodes},
        )
        for agents, episodes in SMALL
        for seed in (0, 1, 2)
    ]


def proof() -> list[RunRequest]:
    """The matrix and toy games, with the same sizes for every algorithm and otherwise its default settings, except for
    the learning rate that suits small batches."""
    overrides: dict[str, Any] = {
        "training.num_envs": 20,
        "training.batch_size": 128,
        "training.learning_starts": 256,
        "training.evaluation_episodes": 500,
        "training.log_interval": 500,
        "algorithm.hidden": 64,
    }
    return [
        RunRequest(
            RunKey(task.name, name, "proof", seed),
            task.total_steps,
            overrides | small_batch_rate(name) | {"training.evaluation_interval": task.total_steps // 10},
        )
        for task in GAMES
        for name in COMPARED_ALGORITHMS
        for seed in PAPER_SEEDS
    ]


COPIES = {"mpe": 100, "magent": 100}
"""Copies of a task in lockstep in the suites of the paper's size, by platform: a block of `update_interval` environment
steps is then one round, which costs a GPU hardly more than a round of 4. Traffic, whose engine is on the CPU, has 4."""


def paper_settings(task: str) -> dict[str, Any]:
    """Settings of the suites of the paper's size in addition to Table 2 (DEVIATIONS.md, lockstep). They are the same on
    every device, so that a run keeps its identity: TF32 and captured blocks have no effect on a CPU."""
    copies = COPIES.get(task.partition("/")[0])
    more = {} if copies is None else {"training.num_envs": copies}
    return more | {"training.tf32": True, "training.acceleration": "auto"}


def paper() -> list[RunRequest]:
    """Table 1 with seven algorithms and five seeds each, with the settings of Table 2 and `paper_settings`."""
    return [
        RunRequest(RunKey(task.name, algorithm, "default", seed), task.total_steps, paper_settings(task.name))
        for task in TABLE_1
        for algorithm in COMPARED_ALGORITHMS
        for seed in PAPER_SEEDS
    ]


NEIGHBOURS = (3, 4, 5, 6, 7, 8, 9, 10)
HOPS = (1, 2, 3, 4)
"""Values of the paper's ablations; the defaults of IP are 8 neighbours and 2 hops."""
GRAPH_TASKS = ("cityflow/synthetic_49", "cityflow/synthetic_100")
"""Tasks on which the road graph is compared with the full one."""
NEIGHBOUR_TASK = "mpe/cooperative_navigation_30"
INTERPRETED_TASK = "cityflow/synthetic_49"


def _ablated(task: str) -> dict[str, dict[str, Any]]:
    """IP with its default settings, under the name "", and variants with another graph or number of neighbours."""
    if task in GRAPH_TASKS:
        return {"": {}, "graph-full": {"algorithm.graph": "full"}}
    neighbours = {f"neighbours-{count}": {"environment.num_neighbours": count} for count in NEIGHBOURS if count != 8}
    return {"": {}} | neighbours


def _hops(task: str) -> dict[str, dict[str, Any]]:
    """Variants of IP by the number of rounds in all its networks."""
    if task in GRAPH_TASKS:
        return {}
    return {f"hops-{count}": {"algorithm.hops": count, "algorithm.critic_hops": None} for count in HOPS}


def ablations() -> list[RunRequest]:
    """Figure 6 with the settings of `paper`. Runs with default settings are those of `all`."""
    return [
        RunRequest(
            RunKey(task, "ip", variant or "default", seed), default_total_steps(task), paper_settings(task) | overrides
        )
        for task in (*GRAPH_TASKS, NEIGHBOUR_TASK)
        for variant, overrides in (_ablated(task) | _hops(task)).items()
        for seed in PAPER_SEEDS
    ]


def interpretation() -> list[RunRequest]:
    """Figure 7: the runs of `all` on 49 signals."""
    return [request for request in paper() if request.key.task == INTERPRETED_TASK]


def ablations_cpu() -> list[RunRequest]:
    """`ablations` with few steps, small batches and three seeds; the hops are in `why-cpu`. Navigation uses difference
    rewards and the true neighbour order, because nothing is learned from the team's reward in so few steps."""
    difference = FEW_TRANSITIONS | {
        "environment.reward": "difference",
        "environment.neighbour_order": "true",
        "algorithm.credit": "own",
        "training.evaluation_interval": 1_000,
        "training.evaluation_episodes": 100,
    }
    rate = small_batch_rate("ip")
    settings = dict.fromkeys(GRAPH_TASKS, SMALL_SIGNALS) | {NEIGHBOUR_TASK: difference}
    return [
        RunRequest(RunKey(task, "ip", f"small-{variant}".rstrip("-"), seed), SMALL_STEPS[task], common | rate | changes)
        for task, common in settings.items()
        for variant, changes in _ablated(task).items()
        for seed in (0, 1, 2)
    ]


SUITES = {
    "smoke": smoke,
    "quick": quick,
    "proof": proof,
    "signals": signals,
    "jungle": jungle,
    "pic": pic,
    "ablations-cpu": ablations_cpu,
    "hops-cpu": hops,
    "temperature-cpu": temperature,
    "lockstep-cpu": lockstep,
    "values-cpu": values,
    "goals-cpu": goals,
    "transfer-cpu": fine_tuning,
    "table1-cpu": table_1,
    "reward-cpu": rewards,
    "why-cpu": why,
    "ablations": ablations,
    "interpretation": interpretation,
    "all": paper,
}
"""Name -> function that lists the runs."""


def requests_of(suite: str) -> list[RunRequest]:
    """The runs of a suite, given by its name or by the TOML file that describes it (`benchmark.suite_file`). Raises
    UserError for an unknown name or an invalid file."""
    if suite.endswith(ENDING):
        return read_suite(Path(suite))
    if suite not in SUITES:
        hint = closest(suite, SUITES) or f"there are {', '.join(SUITES)}"
        raise UserError(f"--suite {suite}: {hint}; or give the path of a {ENDING} file")
    return SUITES[suite]()
