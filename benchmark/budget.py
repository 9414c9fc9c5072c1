"""Blocks of training, and the check that a run's budget of environment steps allows any learning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmark.errors import UserError

if TYPE_CHECKING:
    from benchmark.config import RunConfig, TrainingConfig
    from envs.protocols import EnvironmentSpec


def rounds_of(training: TrainingConfig) -> int:
    """Environment steps of every copy in one block: `update_interval` over all copies, at least one."""
    return max(1, round(training.update_interval / training.num_envs))


def require_learning(config: RunConfig, spec: EnvironmentSpec) -> None:
    """Raises UserError for a run that would finish without a gradient step or whose first block exceeds its budget.

    With `training.gradient_steps=0` no learning is requested.
    """
    training, budget = config.training, config.total_steps
    block = rounds_of(training) * training.num_envs
    if block > budget:
        raise UserError(
            f"--total-steps {budget}: a block of training is {block} environment steps (training.update_interval = "
            f"{training.update_interval}, training.num_envs = {training.num_envs}): give at least {block} steps, or "
            "lower these settings"
        )
    if training.gradient_steps == 0 or _learns(config, spec, block):
        return
    starts, capacity = training.learning_starts, training.replay_capacity
    if capacity < starts:
        raise UserError(
            f"training.replay_capacity = {capacity} never holds the {starts} transitions that training.learning_starts "
            "waits for, so no gradient step would be made: raise the one or lower the other"
        )
    raise UserError(
        f"--total-steps {budget}: no gradient step would be made, as training.learning_starts waits for {starts} "
        "transitions: give more steps or lower --set training.learning_starts"
    )


def replay_capacity(config: RunConfig) -> int:
    """Capacity of a run's replay buffer in transitions: no more than the run collects."""
    return min(config.training.replay_capacity, config.total_steps + config.training.update_interval)


def _learns(config: RunConfig, spec: EnvironmentSpec, block: int) -> bool:
    """Whether the run makes a gradient step, by the rules of `benchmark.training.Training.advance`."""
    from benchmark.replay import drawable, episode_slots  # imported late because it loads torch

    training, owed = config.training, 0
    slots = episode_slots(spec, training.num_envs, replay_capacity(config))
    for number in range(1, -(-config.total_steps // block) + 1):
        steps = number * rounds_of(training)
        if drawable(steps, slots, spec.episode_length) * training.num_envs >= training.learning_starts:
            owed += block * training.gradient_steps
            if owed >= training.update_interval:
                return True
    return False
