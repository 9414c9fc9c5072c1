"""The one loop that plays episodes: for evaluations, reference policies, recordings and the player.

Evaluations are on fixed episodes: the same starts for every algorithm, every seed and every point of training.
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
    """Play one episode in every copy, or its first `steps`; returns the scores. `see` is called at every state, the
    first one included."""
    step = environment.reset(seed)
    if see is not None:
        see()
    for _ in range(environment.spec.episode_length if steps is None else steps):
        step = environment.step(act(step))
        if see is not None:
            see()
    return environment.scores()


def acting(learner: Learner, generator: torch.Generator, greedy: bool) -> Act:
    """A learner as who acts."""
    return lambda step: learner.act(step.observation, step.graph, generator, greedy)


def reference_acting(policy: ReferencePolicy, generator: torch.Generator) -> Act:
    """A reference policy as who acts; it looks at its environment itself."""
    return lambda _: policy.act(generator)


def play_episodes(
    environment: Environment, learner: Learner, seed: int, greedy: bool
) -> dict[str, Float[Tensor, " env"]]:
    """Scores of one episode in every copy, all random streams restarted from `seed`."""
    return play_episode(environment, acting(learner, stream(seed, "evaluation", environment.device), greedy), seed)


def evaluate(environment: Environment, learner: Learner, seed: int, environment_step: int) -> list[dict[str, Any]]:
    """One record per policy for evaluation.jsonl: per-episode returns and the means of all other scores."""
    records = []
    for policy in POLICIES:
        scores = play_episodes(environment, learner, seed, greedy=policy == "greedy")
        returns = [round(value, 4) for value in scores.pop("return").tolist()]
        means = {name: round(value.double().mean().item(), 6) for name, value in scores.items()}
        records.append({"step": environment_step, "policy": policy, "returns": returns, "scores": means})
    return records
