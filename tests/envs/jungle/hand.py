"""Jungles set up by hand, on any engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

import envs
from envs.jungle.environment import JungleEnvironment
from envs.jungle.rules import STAY
from envs.protocols import Step

ENGINES = ("numba", "torch", "magent2")
Cell = tuple[int, int]


def needs_magent2() -> None:
    """Skip the test where the original engine is not installed."""
    pytest.importorskip("magent2", reason="the original engine, magent2, is not installed")


def make(task: str, num_envs: int, backend: str, **settings: Any) -> JungleEnvironment:
    """An environment of a jungle, with its full type; skips the test if its engine is not there."""
    if backend == "magent2":
        needs_magent2()
    environment = envs.make(task, num_envs, backend=backend, **settings)
    assert isinstance(environment, JungleEnvironment)
    return environment


def set_out(
    backend: str, agents: Sequence[Cell], foods: Sequence[Cell] = (), task: str = "magent/jungle_6", **settings: Any
) -> JungleEnvironment:
    """One copy with the first agents and foods on these cells, and all others side by side along the lower wall."""
    environment = make(task, 1, backend, **settings)
    size = environment.jungle
    spare = iter((x, size.side - 2) for x in range(1, size.side - 1))
    cells = [*agents, *(next(spare) for _ in range(size.num_agents - len(agents)))]
    cells += [*foods, *(next(spare) for _ in range(size.num_foods - len(foods)))]
    units = torch.tensor([cells])
    environment.place(units[:, : size.num_agents], units[:, size.num_agents :])
    return environment


def act(environment: JungleEnvironment, *actions: int) -> Step:
    """A step in which the first agents do this and all others stay."""
    chosen = [*actions, *[STAY] * (environment.spec.num_agents - len(actions))]
    return environment.step(torch.tensor([chosen]))


def where(environment: JungleEnvironment, count: int) -> list[Cell]:
    """Cells of the first agents of the only copy."""
    return [(x, y) for x, y in environment.position[0, :count].tolist()]


def paid(step: Step, count: int) -> list[float]:
    """Rewards of the first agents of the only copy; all others must have none."""
    assert not step.reward[0, count:].any()
    return [float(reward) for reward in step.reward[0, :count]]


def same(one: Step, two: Step) -> bool:
    """Whether all tensors of two steps are equal."""
    pairs = zip(tensors(one), tensors(two), strict=True)
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


def tensors(step: Step) -> list[torch.Tensor]:
    """All of a step, on the CPU."""
    parts = (step.observation, step.graph.neighbours, step.graph.mask, step.reward, step.terminated, step.truncated)
    return [part.cpu() for part in parts]


def random_actions(environment: JungleEnvironment, generator: torch.Generator) -> torch.Tensor:
    """Uniform indices (env, agent), on the CPU."""
    shape = (environment.num_envs, environment.spec.num_agents)
    return torch.randint(environment.spec.num_actions, shape, generator=generator)
