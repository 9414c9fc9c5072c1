"""Every algorithm from three agents to 1225: it acts and learns, in the shapes it promises."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import algorithms
from algorithms.common.graph import DenseNeighbourhood, GatherNeighbourhood, SlotNeighbourhood
from algorithms.protocols import Batch, EnvironmentSpec
from tests.algorithms.conftest import random_batch, ring, spec

NAMES = tuple(algorithms.ALGORITHMS)
HEADS = {"dgn": {"heads": 4}}


def build(name: str, problem: EnvironmentSpec, hidden: int) -> Any:
    return algorithms.make(name, problem, algorithms.config_type(name)(hidden=hidden, **HEADS.get(name, {})), seed=1)


def batch_for(learner: Any, problem: EnvironmentSpec, size: int, generator: torch.Generator) -> Batch:
    """Transitions with actions as the learner's replay would hold them."""
    batch = random_batch(size, problem, generator)
    if not learner.action_width:
        return batch
    draw = torch.randn(size, problem.num_agents, learner.action_width, generator=generator)
    return batch._replace(action=torch.softmax(draw, -1))


def check_update(learner: Any, batch: Batch, generator: torch.Generator) -> None:
    """Metrics and every part of every network are finite after an update, and the networks have moved."""
    parts = [part for part in vars(learner).values() if isinstance(part, torch.nn.Module)]
    weights = [p for part in parts for p in part.parameters()]
    before = [p.detach().clone() for p in weights]
    metrics = learner.update(batch, generator)
    assert {"loss/q", "value/q"} <= metrics.keys()
    assert all(value.shape == () and value.isfinite() for value in metrics.values()), metrics
    assert all(p.isfinite().all() for p in weights)
    moved = sum(not torch.equal(old, new) for old, new in zip(before, weights, strict=True))
    assert moved > 0.8 * len(weights)


@pytest.mark.parametrize("kinds", [1, 2])
@pytest.mark.parametrize("relaxed", [True, False])
@pytest.mark.parametrize("agents", [3, 15, 225])
@pytest.mark.parametrize("name", NAMES)
def test_acts_and_learns(name: str, agents: int, relaxed: bool, kinds: int, generator: torch.Generator) -> None:
    """Actions have the width that the learner says: vectors for those who want them where the task takes them."""
    problem = replace(spec(agents, kinds=kinds), relaxed_actions=relaxed)
    learner = build(name, problem, hidden=16)
    wants_vectors = relaxed and name in ("maddpg", "maddpgs", "pic")
    config = algorithms.config_type(name)(hidden=16)
    assert learner.action_width == algorithms.action_width(name, problem, config) == (3 if wants_vectors else 0)
    batch = batch_for(learner, problem, 4, generator)
    for greedy in (True, False):
        actions = learner.act(batch.observation, batch.graph, generator, greedy)
        if wants_vectors:
            assert actions.shape == (4, agents, 3)
            torch.testing.assert_close(actions.sum(-1), torch.ones(4, agents))
        else:
            assert actions.shape == (4, agents)
            assert ((actions >= 0) & (actions < 3)).all()
        assert actions.dtype == batch.action.dtype
    check_update(learner, batch, generator)


@pytest.mark.parametrize("name", NAMES)
def test_learns_with_1225_agents(name: str, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest task of the paper: neither a matrix of agents by agents is made where graphs are used, nor
    copies of the neighbours' rows."""
    kernels = []
    for kernel in (DenseNeighbourhood, GatherNeighbourhood, SlotNeighbourhood):
        original = kernel.__init__

        def counted(self: Any, *inputs: Any, original: Any = original, kernel: type = kernel) -> None:
            kernels.append(kernel)
            original(self, *inputs)

        monkeypatch.setattr(kernel, "__init__", counted)
    problem = replace(spec(1225), relaxed_actions=True)
    learner = build(name, problem, hidden=8)
    batch = batch_for(learner, problem, 2, generator)
    check_update(learner, batch, generator)
    assert learner.act(batch.observation, ring(1225, 2), generator, greedy=True).shape[:2] == (2, 1225)
    assert set(kernels) == ({SlotNeighbourhood} if algorithms.learner_type(name).uses_graph else set())
