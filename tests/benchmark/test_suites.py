"""Suites: names of runs, and the controls of Intention Propagation."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import algorithms
from benchmark.config import resolve
from benchmark.suites import CONTROLS, POLICIES, SUITES, Cell, control
from envs.protocols import Graph


@pytest.mark.parametrize("suite", SUITES)
def test_every_run_of_a_suite_has_a_place_of_its_own(suite: str) -> None:
    cells = SUITES[suite]()
    assert cells
    assert len({(cell.task, cell.algorithm, cell.variant, cell.seed) for cell in cells}) == len(cells)


def test_controls_are_variants_of_any_run() -> None:
    cell = Cell("mpe/cooperative_navigation_3", "ip", 0, 100, "default", {"training.batch_size": 8})
    assert control(cell, "deaf").variant == "deaf"
    deaf = control(control(cell, "deaf"), "isac")
    assert deaf.variant == "deaf-isac"
    assert deaf.overrides == {"training.batch_size": 8} | CONTROLS["isac"]
    assert cell.overrides == {"training.batch_size": 8}
    assert POLICIES["deaf"].items() >= CONTROLS["deaf"].items()


def heard(settings: dict[str, Any]) -> tuple[bool, bool]:
    """Whether agent 0's policy and values depend on what the others see and do."""
    config = resolve("mpe/cooperative_navigation_3", "ip", 0, 100, {"algorithm.hidden": 16} | settings)
    learner: Any = algorithms.make("ip", config.spec(), config.algorithm_settings)
    graph = Graph(torch.tensor([[[1, 2], [0, 2], [0, 1]]]), torch.ones(1, 3, 2, dtype=torch.bool))
    neighbours = learner.neighbourhood(graph)
    seen = torch.randn(1, 3, config.spec().observation_dim, generator=torch.Generator().manual_seed(0)).requires_grad_()
    played = torch.eye(5)[torch.tensor([[0, 1, 2]])].requires_grad_()
    policy = learner.policy_outputs(seen, graph)[:, 0].sum()
    values = learner.value(seen, neighbours)[:, 0].sum() + learner.q1(seen, played, neighbours)[:, 0].sum()
    by_policy = torch.autograd.grad(policy, seen)[0][:, 1:]
    by_values = torch.autograd.grad(values, [seen, played], materialize_grads=True)
    return bool(by_policy.any()), any(bool(gradient[:, 1:].any()) for gradient in by_values)


def test_controls_are_deaf_where_they_say() -> None:
    assert heard({}) == (True, True)
    assert heard(CONTROLS["deaf"]) == (False, True)
    assert heard(CONTROLS["isac"]) == (False, False)
