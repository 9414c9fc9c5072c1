"""Mean-field Q-learning against values computed by hand, and what it knows of its neighbours."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import algorithms
from algorithms.common.graph import neighbourhood
from algorithms.mfq import MFQ, Config
from algorithms.protocols import Batch, Graph
from tests.algorithms.conftest import random_batch, random_graph, ring, spec


class MeanAction(torch.nn.Module):
    """Q(o, a, abar) = value of a, plus a weight times abar(a): the last three numbers that it reads."""

    def __init__(self, values: list[float], weight: float) -> None:
        super().__init__()
        self.values = torch.nn.Parameter(torch.tensor(values))
        self.weight = weight

    def forward(self, read: torch.Tensor) -> torch.Tensor:
        return self.values + self.weight * read[..., -3:]


def build(num_agents: int = 3, **settings: Any) -> MFQ:
    torch.manual_seed(0)
    return MFQ(spec(num_agents), Config(**({"hidden": 16} | settings)), torch.device("cpu"))


def test_mean_action_is_that_of_the_neighbours(generator: torch.Generator) -> None:
    """Eq. (1) one agent at a time, on graphs with agents that have no neighbours; the observation comes first."""
    graph = random_graph(4, 5, 2, generator)
    action = torch.randint(3, (4, 5), generator=generator)
    observation, taken = torch.randn(4, 5, 4, generator=generator), torch.eye(3)[action]
    read = build(5).read(observation, neighbourhood(graph), taken)
    assert torch.equal(read[..., :4], observation)
    for b in range(4):
        for i in range(5):
            heard = graph.neighbours[b, i][graph.mask[b, i]].tolist()
            counts = [sum(int(action[b, j]) == a for j in heard) / max(len(heard), 1) for a in range(3)]
            torch.testing.assert_close(read[b, i, 4:], torch.tensor(counts))


def fixed_batch(generator: torch.Generator) -> Batch:
    """Each agent of a ring of three has both others as neighbours."""
    return random_batch(2, spec(3), generator)._replace(
        action=torch.tensor([[0, 1, 2], [2, 2, 2]]),
        reward=torch.tensor([[1.0, -1.0, 0.0], [0.5, 0.0, 2.0]]),
        terminated=torch.tensor([False, True]),
    )


def test_loss_by_hand(generator: torch.Generator) -> None:
    """T = 1 and values (log 1, log 2, log 3) plus the mean action. At s' all neighbours are assumed to play uniformly,
    so their policies are (1, 2, 3) / 6, which is the mean action of every agent, under which policies are softmax(value
    + it)."""
    learner = build(gamma=0.5, temperature=1.0)
    values = [math.log(1.0), math.log(2.0), math.log(3.0)]
    learner.q, learner.target_q = MeanAction(values, 1.0), MeanAction([10.0, 20.0, 30.0], 6.0)  # type: ignore[assignment]
    loss, metrics = learner.loss(fixed_batch(generator))
    mean = [1 / 6, 2 / 6, 3 / 6]
    weights = [math.exp(value + share) for value, share in zip(values, mean, strict=True)]
    future = sum(w * q for w, q in zip(weights, (10.0 + 1.0, 20.0 + 2.0, 30.0 + 3.0), strict=True)) / sum(weights)
    # The own action is played by neither neighbour in the first transition and by both in the second.
    taken = [[values[0], values[1], values[2]], [values[2] + 1.0] * 3]
    targets = [[1.0 + 0.5 * future, -1.0 + 0.5 * future, 0.5 * future], [0.5, 0.0, 2.0]]
    pairs = [pair for ys, qs in zip(targets, taken, strict=True) for pair in zip(ys, qs, strict=True)]
    torch.testing.assert_close(loss, torch.tensor(sum(0.5 * (y - q) ** 2 for y, q in pairs) / 6))
    torch.testing.assert_close(metrics["value/q"].detach(), torch.tensor(sum(q for _, q in pairs) / 6))


def test_agents_act_on_what_they_expect_of_their_neighbours(generator: torch.Generator) -> None:
    """Who wants to do what others do follows the action that others like best; without neighbours there is no say."""
    learner = build(temperature=0.1)
    learner.q = MeanAction([0.0, 0.3, 0.2], 5.0)  # type: ignore[assignment]
    observation = torch.zeros(1, 3, 4)
    alone = Graph(torch.zeros(1, 3, 2, dtype=torch.long), torch.zeros(1, 3, 2, dtype=torch.bool))
    torch.testing.assert_close(learner.action_values(observation, alone)[0, 0], torch.tensor([0.0, 0.3, 0.2]))
    expected = torch.softmax(torch.tensor([0.0, 3.0, 2.0]), 0)
    values = learner.action_values(observation, ring(3, 1))
    torch.testing.assert_close(values[0, 0], torch.tensor([0.0, 0.3, 0.2]) + 5.0 * expected)
    assert (learner.act(observation, ring(3, 1), generator, greedy=True) == 1).all()


def test_no_gradient_comes_from_what_is_expected(generator: torch.Generator) -> None:
    """The mean action of (3) is data: only the values of the actions taken carry gradients, none reaches the target."""
    learner = build()
    batch = fixed_batch(generator)
    learner.loss(batch)[0].backward()
    assert all(p.grad is not None for p in learner.q.parameters())
    assert all(p.grad is None for p in learner.target_q.parameters())


def coordination(size: int, generator: torch.Generator) -> Batch:
    """One step, paid by whether one does as the agent before: nothing is seen, the mean action decides."""
    action = torch.randint(3, (size, 3), generator=generator)
    reward = (action == action.roll(1, 1)).float()
    blank, graph = (
        torch.zeros(size, 3, 4),
        Graph(torch.tensor([[2], [0], [1]]).expand(size, -1, -1), torch.ones(size, 3, 1, dtype=torch.bool)),
    )
    return Batch(blank, graph, action, reward, blank, graph, torch.ones(size, dtype=torch.bool))


def test_values_depend_on_the_neighbours_action(generator: torch.Generator) -> None:
    """Q learns the value of an action for each action of the neighbour: 1 for the same, 0 for another."""
    learner = build(hidden=32, learning_rate=3e-3)
    for _ in range(300):
        learner.update(coordination(64, generator), generator)
    batch = coordination(1, generator)
    for played in range(3):
        others = torch.eye(3)[torch.full((1, 3), played)]
        values = learner.q(learner.read(batch.observation, neighbourhood(batch.graph), others))
        torch.testing.assert_close(values[0, 0], torch.eye(3)[played], atol=0.15, rtol=0)


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"epsilon_end": 2.0}])
def test_bad_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises((ValueError, TypeError), match=next(iter(settings))):
        algorithms.config_type("mfq")(**settings)
