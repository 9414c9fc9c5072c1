"""The loop that plays episodes, shared by evaluations, reference policies, recordings and the player.

Evaluations use fixed episodes: the same initial states for every algorithm, every seed and every stage of training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from algorithms.protocols import Learner
from benchmark.randomness import stream
from envs.protocols import Environment, ReferencePolicy, Step
from envs.shapes import Float
from results.records import POLICIES

Act = Callable[[Step], Tensor]
"""Actions of all agents, given the present step."""


@torch.no_grad()
def play_episode(
    environment: Environment,
    act: Act,
    seed: int | None,
    see: Callable[[], None] | None = None,
    steps: int | None = None,
) -> dict[str, Float[Tensor, " env"]]:
    """Play one episode in every copy, or its first `steps`, and return the scores. `see` is called in every state,
    including the first."""
    step = environment.reset(seed)
    if see is not None:
        see()
    for _ in range(environment.spec.episode_length if steps is None else steps):
        step = environment.step(act(step))
        if see is not None:
            see()
    return environment.scores()


def acting(learner: Learner, generator: torch.Generator, greedy: bool) -> Act:
    """The actions of a learner."""
    return lambda step: learner.act(step.observation, step.graph, generator, greedy)


def reference_acting(policy: ReferencePolicy, generator: torch.Generator) -> Act:
    """The actions of a reference policy, which reads the state of its environment."""
    return lambda _: policy.act(generator)


def play_episodes(
    environment: Environment, learner: Learner, seed: int, greedy: bool
) -> dict[str, Float[Tensor, " env"]]:
    """Scores of one episode in every copy, with all random streams restarted from `seed`."""
    return play_episode(environment, acting(learner, stream(seed, "evaluation", environment.device), greedy), seed)


def evaluate(environment: Environment, learner: Learner, seed: int, environment_step: int) -> list[dict[str, Any]]:
    """One record per policy for evaluation.jsonl: returns of all episodes and means of all other scores."""
    records = []
    for policy in POLICIES:
        scores = play_episodes(environment, learner, seed, greedy=policy == "greedy")
        returns = [round(value, 4) for value in scores.pop("return").tolist()]
        means = {name: round(value.double().mean().item(), 6) for name, value in scores.items()}
        records.append({"step": environment_step, "policy": policy, "returns": returns, "scores": means})
    return records
