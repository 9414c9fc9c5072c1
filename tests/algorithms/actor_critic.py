"""Tiny networks, learners and batches for the tests of MADDPG and its relatives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from algorithms.maddpg import MADDPG, Config
from algorithms.protocols import Batch, EnvironmentSpec
from tests.algorithms.conftest import random_batch, spec

TINY = replace(spec(num_agents=2, observation_dim=1, num_actions=2), relaxed_actions=True)
FORCES = replace(TINY, num_actions=0, action_dim=2, relaxed_actions=False)
PROBLEM = replace(spec(num_agents=4, observation_dim=3, num_actions=3), relaxed_actions=True)


class Given(torch.nn.Module):
    """Logits that ignore the observation."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor(logits))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(*x.shape[:-1], -1)


class Linear(torch.nn.Module):
    """Q = sum over agents of weight_i . [o_i, a_i]."""

    def __init__(self, *weight: list[float]) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight))

    def forward(self, joint: torch.Tensor) -> torch.Tensor:
        return (self.weight * joint).sum((-1, -2))


def build(kind: type[MADDPG] = MADDPG, problem: EnvironmentSpec = PROBLEM, **settings: Any) -> Any:
    torch.manual_seed(0)
    return kind(problem, Config(**({"hidden": 16} | settings)), torch.device("cpu"))


def batch_for(problem: EnvironmentSpec, size: int, generator: torch.Generator) -> Batch:
    """Transitions whose actions are relaxed where the task takes vectors."""
    batch = random_batch(size, replace(problem, num_actions=max(problem.num_actions, 1)), generator)
    if not problem.relaxed_actions:
        return batch
    draw = torch.randn(size, problem.num_agents, problem.num_actions, generator=generator)
    return batch._replace(action=torch.softmax(draw, -1))


def tiny_batch(generator: torch.Generator) -> Batch:
    """Two transitions of two agents with one observed number and two actions; the second ends its task."""
    return batch_for(TINY, 2, generator)._replace(
        observation=torch.tensor([[[1.0], [2.0]], [[0.0], [-1.0]]]),
        action=torch.tensor([[[0.25, 0.75], [1.0, 0.0]], [[0.5, 0.5], [0.0, 1.0]]]),
        reward=torch.tensor([[1.0, 3.0], [-2.0, 0.0]]),
        next_observation=torch.tensor([[[3.0], [1.0]], [[9.0], [9.0]]]),
        terminated=torch.tensor([False, True]),
    )


def seen(module: torch.nn.Module) -> list[torch.Tensor]:
    """What the module will be given, call by call."""
    inputs: list[torch.Tensor] = []
    module.register_forward_pre_hook(lambda _, args: inputs.append(args[0].detach().clone()))
    return inputs


def weights_of(learner: MADDPG) -> list[torch.Tensor]:
    networks = (learner.actor, learner.critic, learner.target_critic)
    return [p.detach().clone() for network in networks for p in network.parameters()]
