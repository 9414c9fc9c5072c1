"""Evaluation on fixed episodes: the same starts for every algorithm, every seed and every point of training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from algorithms.protocols import Learner
from benchmark.randomness import stream
from envs.protocols import Environment
from envs.shapes import Float

POLICIES = ("greedy", "sampled")
"""greedy takes the most likely (or best) action; sampled is the behaviour policy that also collects training data."""


@torch.no_grad()
def play_episodes(
    environment: Environment, learner: Learner, seed: int, greedy: bool
) -> dict[str, Float[Tensor, " env"]]:
    """Scores of one episode in every copy, all random streams restarted from `seed`."""
    generator = stream(seed, "evaluation", environment.device)
    step = environment.reset(seed)
    for _ in range(environment.spec.episode_length):
        actions = learner.act(step.observation, step.graph, generator, greedy)
        step = environment.step(actions)
    return environment.scores()


def evaluate(environment: Environment, learner: Learner, seed: int, environment_step: int) -> list[dict[str, Any]]:
    """One record per policy for evaluation.jsonl: per-episode returns and the means of all other scores."""
    records = []
    for policy in POLICIES:
        scores = play_episodes(environment, learner, seed, greedy=policy == "greedy")
        returns = [round(value, 4) for value in scores.pop("return").tolist()]
        means = {name: round(value.double().mean().item(), 6) for name, value in scores.items()}
        records.append({"step": environment_step, "policy": policy, "returns": returns, "scores": means})
    return records
