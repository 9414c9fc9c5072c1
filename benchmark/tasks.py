"""The tasks: every row of the paper's Table 1, smaller sizes for smoke runs, and games with a known optimum.

To add a task, give it an environment in `envs` and a line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import envs
from benchmark.errors import UserError
from results.paper import TABLE_1, Task

SIBLINGS = (
    Task("cityflow/synthetic_4", 4, 50_000),
    Task("cityflow/synthetic_9", 9, 100_000),
    Task("cityflow/manhattan_48", 48, 1_600_000),
    Task("cityflow/synthetic_10000", 10_000, 20_000),
    Task("mpe/cooperative_navigation_3", 3, 60_000),
    Task("mpe/cooperative_navigation_6", 6, 100_000),
    Task("mpe/cooperative_navigation_100", 100, 1_500_000),
    Task("mpe/heterogeneous_navigation_4", 4, 60_000),
    Task("mpe/heterogeneous_navigation_8", 8, 100_000),
    Task("mpe/heterogeneous_navigation_16", 16, 1_500_000),
    Task("mpe/heterogeneous_navigation_30", 30, 1_500_000),
    Task("mpe/cooperative_push_3", 3, 60_000),
    Task("mpe/cooperative_push_6", 6, 100_000),
    Task("mpe/cooperative_push_15", 15, 1_500_000),
    Task("mpe/cooperative_push_30", 30, 1_500_000),
    Task("mpe/prey_and_predator_3", 3, 60_000),
    Task("mpe/prey_and_predator_6", 6, 100_000),
    Task("mpe/prey_and_predator_15", 15, 1_500_000),
    Task("mpe/prey_and_predator_30", 30, 1_500_000),
    Task("magent/jungle_6", 6, 100_000),
)
"""Other sizes of the same scenarios."""

GAMES = (
    Task("game/climbing_2", 2, 20_000),
    Task("game/penalty_2", 2, 20_000),
    Task("game/two_step_2", 2, 20_000),
    Task("game/chain_8", 8, 20_000),
    Task("game/ring_8", 8, 20_000),
    Task("game/echo_8", 8, 20_000),
    Task("game/walk_1", 1, 20_000),
)
"""Matrix and toy games with a known optimum."""

TASKS = TABLE_1 + SIBLINGS + GAMES


LARGE = 200
"""Number of agents from which on the replay buffer of traffic tasks holds observations in half precision."""


def training_defaults(name: str) -> dict[str, Any]:
    """Training settings in which a task differs from the common ones: an episode of traffic is long and its vehicles
    are nearly the same each time, so that few of them suffice for an evaluation."""
    platform, _, scenario = name.partition("/")
    if platform != "cityflow":
        return {}
    defaults: dict[str, Any] = {"evaluation_episodes": 10}
    if int(scenario.rpartition("_")[2]) >= LARGE:
        defaults["observation_dtype"] = "float16"
    return defaults


def located(task: str, overrides: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
    """The name of a task, given by name, by the path of a CityFlow configuration or as `pettingzoo:...`, and overrides
    such as `environment.map` by which other processes find the task. Raises what `envs.locate` raises."""
    group = "environment."
    given = dict(overrides or {})
    name, settings = envs.locate(
        task, {key[len(group) :]: value for key, value in given.items() if key.startswith(group)}
    )
    others = {key: value for key, value in given.items() if not key.startswith(group)}
    return name, others | {group + key: value for key, value in settings.items()}


def default_total_steps(name: str) -> int:
    """Length of a full run of task `name` in environment steps. Raises the environment's error for an unknown task."""
    for task in TASKS:
        if task.name == name:
            return task.total_steps
    envs.settings(name)
    raise UserError(f"task {name!r} has no default length: give --total-steps")
