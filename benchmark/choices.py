"""Runs that decide between settings, most of them of Intention Propagation: they are read off, not guessed; and runs
that are compared with numbers of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import results
from benchmark.requests import FEW_TRANSITIONS, SMALL_SIGNALS, SMALL_STEPS, RunRequest, small_batch_rate
from results.keys import RunKey

SEEDS = (0, 1, 2)
NAVIGATION: dict[str, Any] = FEW_TRANSITIONS | {
    "environment.neighbour_order": "true",
    "training.evaluation_interval": 4_000,
    "training.evaluation_episodes": 200,
}
"""Fifteen agents with the team's reward, who see those that are near."""
JUNGLE: dict[str, Any] = {
    "training.batch_size": 64,
    "training.learning_starts": 64,
    "training.evaluation_interval": 3_000,
}
RATE = small_batch_rate("ip")


def hops() -> list[RunRequest]:
    """IP with one round of Q, as before, and with the policy's two."""
    places = (
        ("mpe/cooperative_navigation_15", 40_000, NAVIGATION),
        ("magent/jungle_20", 30_000, JUNGLE),
        ("cityflow/synthetic_49", SMALL_STEPS["cityflow/synthetic_49"], SMALL_SIGNALS),
    )
    kinds: dict[str, dict[str, Any]] = {
        "q-1": {"algorithm.critic_hops": 1, "algorithm.value_hops": 2},
        "q-2": {"algorithm.critic_hops": 2},
    }
    return [
        RunRequest(RunKey(task, "ip", name, seed), steps, common | RATE | settings)
        for task, steps, common in places
        for name, settings in kinds.items()
        for seed in SEEDS
    ]


SCALES: dict[str, dict[str, Any]] = {
    "raw": {"training.reward_scale": "raw"},
    "standardised": {"training.reward_scale": "standardise"},
    "advantage": {"training.reward_scale": "standardise", "algorithm.alpha_unit": "advantage"},
}
"""What alpha is a multiple of: the reward as it is, its standard deviation, or the scale of advantages."""
WEIGHTS: dict[str, dict[str, Any]] = {
    "0.02": {"algorithm.alpha": 0.02},
    "0.2": {"algorithm.alpha": 0.2},
    "0.5": {"algorithm.alpha": 0.5},
    "tuned": {"algorithm.tune_alpha": True},
}


def temperature() -> list[RunRequest]:
    """IP with the team's reward, by the scale of rewards and the weight of the entropy. 0.5 goes with the advantages'
    scale alone: to fifteen navigating agents it is what 0.2 is in units of standardised rewards. Half as many steps as
    in `hops`, with as many runs as that allows: arms that learn have done so by then."""
    places = (
        ("mpe/cooperative_navigation_15", 20_000, NAVIGATION | {"training.evaluation_interval": 2_000}),
        ("magent/jungle_20", 15_000, JUNGLE | {"environment.reward": "shared"}),
    )
    kinds = [(scale, weight) for scale in SCALES for weight in WEIGHTS if weight != "0.5" or scale == "advantage"]
    return [
        RunRequest(
            RunKey(task, "ip", f"{scale}-{weight}", seed), steps, common | RATE | SCALES[scale] | WEIGHTS[weight]
        )
        for task, steps, common in places
        for scale, weight in kinds
        for seed in SEEDS
    ]


COPIES: dict[str, dict[str, Any]] = {f"copies-{count}": {"training.num_envs": count} for count in (4, 100)}
"""Copies of the task in lockstep: as by default, and as in the paper's suite."""


def lockstep() -> list[RunRequest]:
    """IQL and IP by the number of copies, with as many environment steps and gradient steps: in 4 copies a block of 100
    environment steps is an episode of each, in 100 copies it is one step of each."""
    places = (("mpe/cooperative_navigation_6", 30_000, NAVIGATION), ("magent/jungle_20", 20_000, JUNGLE))
    rounds = {"iql": {}, "ip": {"algorithm.critic_hops": None}}  # as these runs were made, before `hops` was decided
    return [
        RunRequest(
            RunKey(task, algorithm, name, seed),
            steps,
            common | small_batch_rate(algorithm) | copies | rounds[algorithm],
        )
        for task, steps, common in places
        for algorithm in rounds
        for name, copies in COPIES.items()
        for seed in SEEDS
    ]


FINE_TUNED = {"cityflow/synthetic_225": (10_000, 32, 1_000), "cityflow/synthetic_1225": (4_000, 16, 500)}
"""Tasks, with environment steps, transitions of a gradient step and steps between evaluations."""
BEGUN = {"training.initial_policy": str(Path(results.__file__).parent / "policies" / "iql_synthetic_49")}


def fine_tuning() -> list[RunRequest]:
    """IQL on more signals, anew and from a policy of 49 signals, with the usual exploration and with little."""
    kinds: dict[str, dict[str, Any]] = {
        "anew": {},
        "anew-little": {"algorithm.epsilon_start": 0.05},
        "transferred": BEGUN,
        "transferred-little": BEGUN | {"algorithm.epsilon_start": 0.05},
    }
    common = {"training.evaluation_episodes": 2, "training.log_interval": 500}
    return [
        RunRequest(
            RunKey(task, "iql", name, seed),
            steps,
            common
            | {"training.batch_size": batch, "training.learning_starts": batch, "training.evaluation_interval": often}
            | kind,
        )
        for task, (steps, batch, often) in FINE_TUNED.items()
        for name, kind in kinds.items()
        for seed in SEEDS
    ]


GOAL_STEPS = {
    "cityflow/hangzhou_16": {"ip": 72_000, "iql": 432_000},
    "cityflow/manhattan_48": {"ip": 24_000, "iql": 240_000},
}
"""Environment steps that take about a quarter of an hour on one core, by task and algorithm."""
GOALS: dict[str, Any] = {
    "environment.protocol": "libsignal",
    "environment.observation": "segments",
    "training.batch_size": 128,
    "training.learning_starts": 128,
    "training.evaluation_episodes": 4,
}
"""LibSignal's rules, and observations that tell where on its lane a vehicle is."""
CALM = {"algorithm.learning_rate_end": 0.0, "algorithm.epsilon_end": 0.01}
"""Q-learning that comes to rest at the end of a run, as the actor-critics do anyway."""


def goals() -> list[RunRequest]:
    """IP and IQL by the rules of published tables (envs/traffic/README.md), three seeds. Both maps have to be fetched
    before."""
    return [
        RunRequest(
            RunKey(task, name, "libsignal", seed), steps, GOALS | usual | {"training.evaluation_interval": steps // 12}
        )
        for task, lengths in GOAL_STEPS.items()
        for name, steps in lengths.items()
        for usual in [small_batch_rate(name) | (CALM if name == "iql" else {})]
        for seed in SEEDS
    ]
