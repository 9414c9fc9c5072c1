"""Suites that decide between settings by experiment, most of them of Intention Propagation, and suites for comparison
with published numbers."""

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
"""Navigation of fifteen agents with the team's reward, where each agent observes its nearest neighbours."""
JUNGLE: dict[str, Any] = {
    "training.batch_size": 64,
    "training.learning_starts": 64,
    "training.evaluation_interval": 3_000,
}
RATE = small_batch_rate("ip")


def hops() -> list[RunRequest]:
    """IP with one round of Q, the default, and with as many rounds of Q as the policy has, two."""
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
"""Units of alpha: the raw reward, its standard deviation, or the scale of advantages."""
WEIGHTS: dict[str, dict[str, Any]] = {
    "0.02": {"algorithm.alpha": 0.02},
    "0.2": {"algorithm.alpha": 0.2},
    "0.5": {"algorithm.alpha": 0.5},
    "tuned": {"algorithm.tune_alpha": True},
}


def temperature() -> list[RunRequest]:
    """IP with the team's reward, by the scale of rewards and the weight of the entropy.

    The weight 0.5 is tried with the scale of advantages only, where it is what 0.2 is in units of standardised rewards
    for fifteen navigating agents. Runs are half as long as in `hops`, so that more of them can be made; the arms that
    learn have learned by then.
    """
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
"""Copies of the task in lockstep: the default, and the number in the paper's suite."""


def lockstep() -> list[RunRequest]:
    """IQL and IP by the number of copies, with equal numbers of environment steps and gradient steps: with 4 copies a
    block of 100 environment steps covers 25 steps of each copy, with 100 copies one step of each."""
    places = (("mpe/cooperative_navigation_6", 30_000, NAVIGATION), ("magent/jungle_20", 20_000, JUNGLE))
    rounds = {"iql": {}, "ip": {"algorithm.critic_hops": None}}  # as made before `hops` was decided
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
"""Task -> environment steps, transitions per gradient step, and steps between evaluations."""
BEGUN = {"training.initial_policy": str(Path(results.__file__).parent / "policies" / "iql_synthetic_49")}
CALM = {"algorithm.learning_rate_end": 0.0, "algorithm.epsilon_end": 0.01}
"""A learning rate and exploration that decay until the end of a run, for Q-learning; the actor-critics have them by
default."""
SEGMENTS = {
    "environment.observation": "segments",
    "training.batch_size": 128,
    "training.learning_starts": 128,
    "training.evaluation_interval": 10_000,
    "training.evaluation_episodes": 1,
} | CALM
"""IQL that observes the positions of vehicles on their lanes."""


def fine_tuning() -> list[RunRequest]:
    """IQL on 49 signals with detailed observations, to be evaluated on larger cities; and IQL on larger numbers of
    signals, from scratch and from a policy trained on 49 signals, with the usual and with little exploration."""
    detailed = [
        RunRequest(RunKey("cityflow/synthetic_49", "iql", "segments", seed), 40_000, SEGMENTS) for seed in SEEDS
    ]
    kinds: dict[str, dict[str, Any]] = {
        "anew": {},
        "anew-little": {"algorithm.epsilon_start": 0.05},
        "transferred": BEGUN,
        "transferred-little": BEGUN | {"algorithm.epsilon_start": 0.05},
    }
    common = {"training.evaluation_episodes": 2, "training.log_interval": 500}
    return detailed + [
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
    "cityflow/hangzhou_16": {"ip": 48_000, "iql": 216_000},
    "cityflow/manhattan_48": {"ip": 24_000, "iql": 180_000},
}
"""Environment steps that take 4 to 13 minutes on one core, by task and algorithm."""
GOALS: dict[str, Any] = {
    "environment.protocol": "libsignal",
    "environment.observation": "segments",
    "training.batch_size": 128,
    "training.learning_starts": 128,
    "training.evaluation_episodes": 2,
    "algorithm.gamma": 0.8,
}
"""LibSignal's rules, with observations that include the positions of vehicles on their lanes, and a discount of 0.8 per
decision of 10 seconds: 0.9 and above end with longer travel times."""


def goals() -> list[RunRequest]:
    """IP and IQL under the rules of published tables (envs/traffic/README.md), three seeds. Both maps must be fetched
    first."""
    return [
        RunRequest(
            RunKey(task, name, "libsignal", seed), steps, GOALS | usual | {"training.evaluation_interval": steps // 12}
        )
        for task, lengths in GOAL_STEPS.items()
        for name, steps in lengths.items()
        for usual in [small_batch_rate(name) | (CALM if name == "iql" else {})]
        for seed in SEEDS
    ]
