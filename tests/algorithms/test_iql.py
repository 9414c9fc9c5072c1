"""IQL against values computed by hand."""

from __future__ import annotations

import torch

from algorithms.common.learner import gather_actions
from algorithms.iql import IQL, Config
from tests.algorithms.conftest import random_batch, spec


class Table(torch.nn.Module):
    """Q values that ignore the observation."""

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self.values = torch.nn.Parameter(torch.tensor(values))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.values.expand(*x.shape[:-1], -1)


def test_loss_by_hand(generator: torch.Generator) -> None:
    """Online values (1, 3, 2) choose action 1; the target net values it at 20: y = r + 0.5 * 20, or r at an end."""
    problem = spec(num_agents=2)
    learner = IQL(problem, Config(gamma=0.5), torch.device("cpu"))
    learner.q, learner.target_q = Table([1.0, 3.0, 2.0]), Table([10.0, 20.0, 30.0])  # type: ignore[assignment]
    batch = random_batch(2, problem, generator)._replace(
        action=torch.tensor([[0, 1], [2, 2]]),
        reward=torch.tensor([[1.0, -1.0], [0.5, 0.0]]),
        terminated=torch.tensor([False, True]),
    )
    loss, metrics = learner.loss(batch)
    targets = [[1.0 + 10.0, -1.0 + 10.0], [0.5, 0.0]]
    taken = [[1.0, 3.0], [2.0, 2.0]]
    by_hand = sum(
        0.5 * (y - q) ** 2 for ys, qs in zip(targets, taken, strict=True) for y, q in zip(ys, qs, strict=True)
    )
    torch.testing.assert_close(loss, torch.tensor(by_hand / 4))
    assert gather_actions(learner.q(batch.observation), batch.action).tolist() == taken
    assert metrics["value/q"] == torch.tensor(taken).mean()


def test_target_moves_by_tau(generator: torch.Generator) -> None:
    problem = spec()
    learner = IQL(problem, Config(tau=0.25), torch.device("cpu"))
    before = [p.clone() for p in learner.target_q.parameters()]
    learner.update(random_batch(8, problem, generator), generator)
    for old, new, online in zip(before, learner.target_q.parameters(), learner.q.parameters(), strict=True):
        torch.testing.assert_close(new, 0.75 * old + 0.25 * online)
        assert not torch.equal(old, online)


def test_exploration_falls_linearly() -> None:
    learner = IQL(spec(), Config(epsilon_steps=1000, epsilon_fraction=0.5), torch.device("cpu"))
    for step, total, epsilon in ((0, 10_000, 1.0), (500, 10_000, 0.525), (1000, 10_000, 0.05), (250, 1000, 0.525)):
        learner.schedule(step, total)
        assert abs(learner.epsilon - epsilon) < 1e-12


def test_greedy_takes_the_best_and_exploration_all(generator: torch.Generator) -> None:
    problem = spec()
    learner = IQL(problem, Config(), torch.device("cpu"))
    batch = random_batch(200, problem, generator)
    greedy = learner.act(batch.observation, batch.graph, generator, greedy=True)
    assert torch.equal(greedy, learner.q(batch.observation).argmax(-1))
    learner.schedule(0, 1000)
    counts = learner.act(batch.observation, batch.graph, generator, greedy=False).flatten().bincount()
    assert (counts > 250).all(), "1000 uniform draws of 3 actions"
