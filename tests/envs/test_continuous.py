"""Continuous actions of the particle tasks: forces that equal the discrete actions they stand for."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

import algorithms
import envs
from benchmark.config import resolve
from benchmark.play import main as play_main
from benchmark.profiling.timing import estimate_seconds
from benchmark.references import play as reference_returns
from tests.envs.conftest import FAMILIES, crowd, particles

TASK = "mpe/cooperative_navigation_3"
BACKENDS = ("numba", "torch")


def forces(environment: envs.Environment, generator: torch.Generator, width: float = 1.0) -> torch.Tensor:
    """Uniform in [-width, width], (env, agent, 2)."""
    shape = (environment.num_envs, environment.spec.num_agents, 2)
    return width * (2 * torch.rand(shape, generator=generator) - 1)


def over_directions(force: torch.Tensor) -> torch.Tensor:
    """The vectors over {nothing, +x, -x, +y, -y} that push like `force`."""
    zero = torch.zeros_like(force[..., 0])
    x, y = force.unbind(-1)
    return torch.stack([zero, x.clamp(min=0), (-x).clamp(min=0), y.clamp(min=0), (-y).clamp(min=0)], dim=-1)


def test_the_spec_says_which_actions_there_are() -> None:
    discrete, continuous = envs.spec(TASK), envs.spec(TASK, actions="continuous")
    assert (discrete.num_actions, discrete.action_dim, discrete.relaxed_actions) == (5, 0, True)
    assert (continuous.num_actions, continuous.action_dim, continuous.relaxed_actions) == (0, 2, False)
    same = {"num_actions": 5, "action_dim": 0, "relaxed_actions": True}
    assert dataclasses.replace(continuous, **same) == discrete
    with pytest.raises(ValueError, match="actions = 'both': expected one of discrete, continuous"):
        envs.make(TASK, 1, actions="both")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("task", FAMILIES)
def test_a_force_moves_like_the_vector_it_stands_for(
    task: str, backend: str, dtype: str, generator: torch.Generator
) -> None:
    """Bit for bit, for a whole episode with contacts and prey."""
    continuous, discrete = (
        particles(task, 3, backend=backend, dtype=dtype, actions=actions) for actions in ("continuous", "discrete")
    )
    assert torch.equal(continuous.reset(4).observation, discrete.reset(4).observation)
    for _ in range(continuous.spec.episode_length):
        force = forces(continuous, generator)
        one, two = continuous.step(force), discrete.step(over_directions(force))
        assert torch.equal(one.observation, two.observation)
        assert torch.equal(one.reward, two.reward)
    assert torch.equal(continuous.velocity, discrete.velocity)
    assert torch.equal(continuous.scores()["return"], discrete.scores()["return"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_direction_and_strength(backend: str) -> None:
    """One step from rest, far apart: v = 0.1 * 5 * force."""
    environment = particles("mpe/cooperative_push_6", 1, dtype="float64", backend=backend, actions="continuous")
    environment.set_state(torch.arange(16.0).view(1, 8, 2) * 10, torch.zeros(1, 8, 2))
    given = torch.tensor([[[1, 0], [-1, 0.5], [0, 0], [0.25, -0.75], [3, -9], [0, 1.5]]], dtype=torch.float64)
    environment.step(given)
    expected = 0.5 * torch.tensor([[1, 0], [-1, 0.5], [0, 0], [0.25, -0.75], [1, -1], [0, 1]], dtype=torch.float64)
    torch.testing.assert_close(environment.velocity[0, :6], expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_forces_are_clipped_part_by_part_and_left_alone(backend: str, generator: torch.Generator) -> None:
    """Whatever the type and the layout of the tensor that holds them."""
    ends = []
    outside = forces(particles(TASK, 2), generator, width=4.0).bfloat16().float()
    strided = outside.repeat(1, 1, 2)[..., :2].requires_grad_()
    for given in (outside, outside.clamp(-1, 1), outside.double(), outside.bfloat16(), strided):
        environment = particles(TASK, 2, backend=backend, actions="continuous")
        environment.reset(0)
        before = given.detach().clone()
        environment.step(given)
        assert torch.equal(given, before)
        ends.append(environment.velocity)
    assert (outside.abs() > 1).any()
    assert all(torch.equal(ends[0], end) for end in ends)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("task", FAMILIES)
def test_backends_agree(task: str, dtype: str, generator: torch.Generator) -> None:
    """One step from crowded states."""
    compiled, plain = (particles(task, 30, dtype=dtype, backend=name, actions="continuous") for name in BACKENDS)
    crowd(compiled, 0)
    plain.set_state(compiled.position, compiled.velocity)
    given = forces(compiled, generator, width=1.5)
    compiled.step(given), plain.step(given)
    tolerance = 1e-9 if dtype == "float64" else 2e-4
    torch.testing.assert_close(compiled.velocity, plain.velocity, atol=tolerance, rtol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_bad_forces_are_refused(backend: str) -> None:
    environment = particles(TASK, 2, backend=backend, actions="continuous")
    environment.reset(0)
    wanted = r"expected floating point forces \(env, 3, 2\) from -1 to 1"
    one_is_bad = torch.zeros(2, 3, 2)
    one_is_bad[1, 2, 0] = torch.nan
    bad: list[tuple[torch.Tensor, str]] = [
        (torch.zeros(2, 3, dtype=torch.int64), wanted),
        (torch.zeros(2, 3, 2, dtype=torch.int64), wanted),
        (torch.zeros(2, 3, 5), wanted),
        (torch.zeros(2, 4, 2), wanted),
        (torch.zeros(2, 3), wanted),
        (torch.zeros(3, 3, 2), "for 3 copies, but there are 2"),
        (one_is_bad, r"the action at \[1, 2, 0\] is nan; expected finite numbers"),
        (torch.full((2, 3, 2), torch.inf), "expected finite numbers"),
    ]
    before = environment.position
    for actions, message in bad:
        with pytest.raises(ValueError, match=message):
            environment.step(actions)
    assert torch.equal(environment.position, before)
    discrete = particles(TASK, 2, backend=backend)
    discrete.reset(0)
    with pytest.raises(ValueError, match=r"floating point vectors \(env, 3, 5\)"):
        discrete.step(torch.zeros(2, 3, 2))


@pytest.mark.parametrize("task", [TASK, "mpe/cooperative_push_3", "mpe/prey_and_predator_3"])
def test_reference_policies_play_both_kinds(task: str) -> None:
    """All but the random one push the same way, so their returns are those of the discrete task."""
    for name in envs.reference_policies(task):
        discrete = reference_returns(task, name, 4, 7)
        continuous = reference_returns(task, name, 4, 7, actions="continuous")
        assert (continuous == discrete) == (name != "random")


def test_the_random_policy_is_uniform_in_the_square() -> None:
    environment = particles("mpe/cooperative_navigation_200", 50, actions="continuous")
    reference = envs.reference_policies("mpe/cooperative_navigation_200")["random"](environment)
    drawn = reference.act(torch.Generator().manual_seed(0))
    assert drawn.shape == (50, 200, 2)
    assert drawn.abs().max() <= 1
    torch.testing.assert_close(drawn.mean((0, 1)), torch.zeros(2), atol=0.02, rtol=0)
    torch.testing.assert_close(drawn.var((0, 1)), torch.full((2,), 1 / 3), atol=0.01, rtol=0)
    assert torch.equal(drawn, reference.act(torch.Generator().manual_seed(0)))


def test_the_adapter_keeps_the_contract_of_pettingzoo(generator: torch.Generator) -> None:
    contract = pytest.importorskip("pettingzoo.test", reason="the adapter needs PettingZoo")
    from pettingzoo.test.seed_test import parallel_seed_test

    from envs.pettingzoo import parallel_env

    contract.parallel_api_test(parallel_env(TASK, actions="continuous"), num_cycles=60)
    parallel_seed_test(lambda: parallel_env(TASK, actions="continuous"), num_cycles=30)
    wrapped, bare = parallel_env(TASK, actions="continuous"), envs.make(TASK, 1, actions="continuous")
    space = wrapped.action_space("agent_0")
    assert (space.shape, space.dtype) == ((2,), np.float32)
    wrapped.reset(seed=7), bare.reset(seed=7)
    force = forces(bare, generator)
    observations, *_ = wrapped.step(dict(zip(wrapped.agents, force[0].numpy(), strict=True)))
    assert np.array_equal(np.stack(list(observations.values())), bare.step(force).observation[0].numpy())
    wrapped.step({"agent_0": [0, 1], "agent_1": np.zeros(2), "agent_2": torch.ones(2)})  # other types of numbers


@pytest.mark.parametrize("action", [0, 1.5, [0.5], [0.0, 0.0, 0.0], [0.0, 1.5], [np.nan, 0.0], "up", None])
def test_wrong_actions_are_refused_by_the_adapter(action: Any) -> None:
    pytest.importorskip("pettingzoo", reason="the adapter needs PettingZoo")
    from envs.pettingzoo import parallel_env

    environment = parallel_env(TASK, actions="continuous")
    environment.reset(seed=0)
    actions = dict.fromkeys(environment.agents, np.zeros(2, np.float32)) | {"agent_1": action}
    with pytest.raises(ValueError, match=r"the action of agent_1 is .*; expected 2 numbers from -1 to 1"):
        environment.step(actions)


def test_a_trained_policy_can_be_watched_and_timed(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"algorithm.hidden": 16, "environment.actions": "continuous", "training.batch_size": 8}
    config = resolve(TASK, "ip", 0, 1000, settings, "test")
    spec = envs.spec(TASK, actions="continuous")
    learner = algorithms.make("ip", spec, config.algorithm_settings)
    policy, gif = tmp_path / "policy.pt", tmp_path / "out.gif"
    torch.save({"config": config.identity(), "learner": learner.state_dict()}, policy)
    for sampled in ([], ["--sampled"]):
        assert play_main([TASK, "--policy", str(policy), "--gif", str(gif), "--size", "64", *sampled]) == 0
    assert capsys.readouterr().err == ""
    assert estimate_seconds(config) > 0
