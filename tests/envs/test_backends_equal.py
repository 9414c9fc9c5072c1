"""The numba and the torch implementation of a step are the same function."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from envs.mpe.settings import Reward
from tests.envs.conftest import FAMILIES, crowd, particles, random_actions

CLOSE = {"float64": 1e-9, "float32": 2e-4}
"""Largest difference after one step among many contacts."""


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("task", FAMILIES)
def test_one_step_from_crowded_states(task: str, dtype: str, generator: torch.Generator) -> None:
    compiled = particles(task, 40, dtype=dtype, backend="numba")
    plain = particles(task, 40, dtype=dtype, backend="torch")
    for seed, vectors in enumerate([False, True]):
        crowd(compiled, seed)
        plain.set_state(compiled.position, compiled.velocity)
        actions = random_actions(compiled, generator)
        given = torch.rand(*actions.shape, 5, generator=generator) if vectors else actions
        one, two = compiled.step(given), plain.step(given)
        torch.testing.assert_close(compiled.position, plain.position, atol=CLOSE[dtype] / 10, rtol=0)
        torch.testing.assert_close(compiled.velocity, plain.velocity, atol=CLOSE[dtype], rtol=0)
        if dtype == "float64":
            torch.testing.assert_close(one.observation, two.observation, atol=CLOSE[dtype], rtol=0)
            torch.testing.assert_close(one.reward, two.reward, atol=CLOSE[dtype], rtol=0)
            assert torch.equal(one.graph.neighbours, two.graph.neighbours)
            for name, score in compiled.scores().items():
                torch.testing.assert_close(score, plain.scores()[name], atol=1e-8, rtol=0)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("task", FAMILIES)
def test_what_is_seen_and_paid_in_one_state(task: str, dtype: str) -> None:
    """The same state gives the same observation, neighbours and rewards, bit for bit where nothing is summed."""
    for mode in get_args(Reward):
        compiled = particles(task, 30, dtype=dtype, backend="numba", reward=mode)
        plain = particles(task, 30, dtype=dtype, backend="torch", reward=mode)
        crowd(compiled, 1)
        one = compiled.set_state(compiled.position, compiled.velocity)
        two = plain.set_state(compiled.position, compiled.velocity)
        assert torch.equal(one.observation, two.observation)
        assert torch.equal(one.graph.neighbours, two.graph.neighbours)
        assert torch.equal(compiled.prey_observation(), plain.prey_observation())
        pay = compiled._rule.pay(compiled.position, compiled._totals), plain._rule.pay(plain.position, plain._totals)
        torch.testing.assert_close(*pay, atol=1e-5 if dtype == "float32" else 1e-12, rtol=1e-6)
        torch.testing.assert_close(compiled._totals, plain._totals, atol=1e-4, rtol=1e-6)


@pytest.mark.parametrize("order", ["published", "true"])
def test_neighbour_order_setting(order: str) -> None:
    both = [
        particles("mpe/cooperative_navigation_15", 20, neighbour_order=order, backend=b) for b in ("numba", "torch")
    ]
    one, two = (environment.reset(3) for environment in both)
    assert torch.equal(one.observation, two.observation)
    others = one.observation[..., 16:].unflatten(-1, (5, 2)).norm(dim=-1)
    in_order = bool((others.diff(dim=-1) >= 0).all())
    assert in_order == (order == "true")


def test_true_contact_differs_only_where_sizes_do() -> None:
    for task, differs in (("mpe/heterogeneous_navigation_8", True), ("mpe/cooperative_navigation_15", False)):
        states = []
        for contact in ("published", "true"):
            for backend in ("numba", "torch"):
                environment = particles(task, 30, contact=contact, backend=backend, dtype="float64")
                crowd(environment, 0)
                environment.step(torch.zeros(30, environment.spec.num_agents, dtype=torch.int64))
                states.append(environment.position)
        torch.testing.assert_close(states[0], states[1], atol=1e-10, rtol=0)
        torch.testing.assert_close(states[2], states[3], atol=1e-10, rtol=0)
        assert torch.allclose(states[0], states[2]) != differs


def test_entities_in_one_place_do_not_give_nan() -> None:
    for backend in ("numba", "torch"):
        environment = particles("mpe/cooperative_navigation_3", 1, backend=backend)
        environment.set_state(torch.zeros(1, 6, 2), torch.zeros(1, 6, 2))
        step = environment.step(torch.zeros(1, 3, dtype=torch.int64))
        assert torch.isfinite(step.observation).all()
        assert torch.equal(step.graph.neighbours, torch.tensor([[[1, 2], [0, 2], [0, 1]]]))


def test_torch_steps_stay_on_their_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of the torch path uses no host memory: neither numpy views nor new tensors made from Python lists."""
    environments = [particles(task, 2, backend="torch") for task in FAMILIES]
    for environment in environments:
        environment.reset(0)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a step left the device")

    actions = [torch.zeros(2, environment.spec.num_agents, dtype=torch.int64) for environment in environments]
    monkeypatch.setattr(torch.Tensor, "numpy", refuse)
    monkeypatch.setattr(torch.Tensor, "cpu", refuse)
    monkeypatch.setattr(torch, "tensor", refuse)
    monkeypatch.setattr(torch, "from_numpy", refuse)
    for environment, action in zip(environments, actions, strict=True):
        environment.step(action)
