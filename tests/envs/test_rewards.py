"""The three reward modes: shared, local and difference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.mpe.environment import ParticleEnvironment
from envs.mpe.reward import spread_sum, sum_by_owner
from envs.mpe.scenarios import NavigationReward, PushReward, Scenario
from tests.envs.conftest import FAMILIES, crowd, particles

BACKENDS = ("numba", "torch")


def team_reward(task: Scenario, position: np.ndarray, present: np.ndarray) -> float:
    """The team reward of one state by the specification's formulas, with only the agents in `present`."""
    agents, rule = position[present], task.reward
    if isinstance(rule, NavigationReward):
        coverage = sum(min(float(np.linalg.norm(a - position[l])) for a in agents) for l in rule.landmarks)  # noqa: E741
        collisions = 0.0
        for i in present:
            for j in present:
                if i != j and np.linalg.norm(position[i] - position[j]) < task.size[i] + task.size[j]:
                    collisions += 1 if task.kinds[i] == task.kinds[j] else rule.cross_kind_weight
        return -rule.coverage_weight * coverage - rule.penalty_per_agent * len(present) - collisions
    if isinstance(rule, PushReward):
        to_ball = np.linalg.norm(agents - position[rule.ball], axis=1)
        to_target = np.linalg.norm(position[rule.ball] - position[rule.target])
        return float(-2 * to_target - 0.1 * to_ball.min() + 0.1 * (to_ball < rule.hit_distance).sum())
    distance = np.linalg.norm(agents[:, None] - position[list(rule.prey)], axis=2)
    return float(-0.1 * distance.min(1).sum() + 10 * (distance < rule.capture_distance).sum())


def rewards(environment: ParticleEnvironment) -> np.ndarray:
    """Rewards (env, agent) of the present state."""
    return environment._rule.pay(environment.position, environment._totals).numpy()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("task", FAMILIES)
def test_modes_against_the_formulas(task: str, backend: str) -> None:
    """Shared is r, local sums to r, difference is r minus r with the agent taken away (brute force)."""
    shared, local, difference = (
        particles(task, 6, reward=mode, backend=backend, dtype="float64") for mode in ("shared", "local", "difference")
    )
    crowd(shared, 5, width=0.8)
    position, everyone = shared.position, np.arange(shared.spec.num_agents)
    local.set_state(position, shared.velocity)
    difference.set_state(position, shared.velocity)
    paid, shares, differences = rewards(shared), rewards(local), rewards(difference)
    for copy, state in enumerate(position.numpy()):
        r = team_reward(shared.scenario, state, everyone)
        np.testing.assert_allclose(paid[copy], r, atol=1e-10)
        np.testing.assert_allclose(shares[copy].sum(), r, atol=1e-10)
        without = [team_reward(shared.scenario, state, np.delete(everyone, i)) for i in everyone]
        np.testing.assert_allclose(differences[copy], r - np.array(without), atol=1e-10)


def test_local_shares_by_hand() -> None:
    """Three agents: two touch, one sits on a landmark and is also nearest to another one."""
    environment = particles("mpe/cooperative_navigation_3", 1, reward="local", dtype="float64")
    agents = torch.tensor([[0.0, 0.0], [0.2, 0.0], [2.0, 0.0]])
    landmarks = torch.tensor([[2.0, 0.0], [2.0, 1.0], [0.0, -0.5]])
    environment.set_state(torch.cat([agents, landmarks])[None], torch.zeros(1, 6, 2))
    np.testing.assert_allclose(rewards(environment), [[-0.5 - 1, -1, -1]], atol=1e-12)


def test_mixed_collisions_cost_ten_times() -> None:
    environment = particles("mpe/heterogeneous_navigation_4", 1, reward="local", dtype="float64")
    far = torch.tensor([[5.0, 0.0], [0.0, 0.0], [0.12, 0.0], [-5.0, 0.0]])
    environment.set_state(torch.cat([far, far])[None], torch.zeros(1, 8, 2))  # one landmark under each agent
    np.testing.assert_allclose(rewards(environment), [[0, -10, -10, 0]], atol=1e-12)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), family=st.sampled_from(FAMILIES), backend=st.sampled_from(BACKENDS))
def test_local_rewards_sum_to_the_team_reward_in_any_state(seed: int, family: str, backend: str) -> None:
    shared = particles(family, 2, backend=backend, dtype="float64")
    local = particles(family, 2, backend=backend, dtype="float64", reward="local")
    crowd(shared, seed, width=2.0)
    local.set_state(shared.position, shared.velocity)
    np.testing.assert_allclose(rewards(local).sum(1), rewards(shared)[:, 0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("task", [t for t in FAMILIES if "push_30" not in t])
def test_numbering_agents_otherwise_changes_nothing(task: str, backend: str) -> None:
    """Relabelled agents of a kind: same team rewards for whole episodes, and their own rewards move with them."""
    one = particles(task, 4, backend=backend, dtype="float64", reward="local")
    two = particles(task, 4, backend=backend, dtype="float64", reward="local")
    count = one.spec.num_agents
    groups = [
        [i for i in range(count) if one.spec.agent_kinds[i] == kind] for kind in sorted(set(one.spec.agent_kinds))
    ]
    order = torch.tensor([i for group in groups for i in reversed(group)])
    everything = torch.cat([order, torch.arange(count, one.scenario.num_entities)])
    crowd(one, 3, width=1.2)
    two.set_state(one.position[:, everything], one.velocity[:, everything])
    prey = torch.zeros(4, one.scenario.num_prey, 2, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        actions = torch.randint(5, (4, count), generator=generator)
        first, second = one.step(actions, prey), two.step(actions[:, order], prey)
        torch.testing.assert_close(first.reward[:, order], second.reward, atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(one.scores()["return"], two.scores()["return"], atol=1e-6, rtol=1e-9)


def test_return_does_not_depend_on_the_mode() -> None:
    for task in FAMILIES:
        returns = []
        for mode in ("shared", "local", "difference"):
            environment = particles(task, 3, reward=mode, dtype="float64")
            total = environment.reset(4).reward.sum(1)
            generator = torch.Generator().manual_seed(2)
            for _ in range(25):
                actions = torch.randint(5, (3, environment.spec.num_agents), generator=generator)
                total = total + environment.step(actions).reward.sum(1)
            returns.append(environment.scores()["return"])
            if mode == "shared":  # n agents each receive r at every step
                torch.testing.assert_close(total, returns[0], atol=1e-8, rtol=1e-10)
        assert torch.equal(returns[0], returns[1])
        assert torch.equal(returns[0], returns[2])


def test_sums_by_owner_on_a_gpu_are_those_of_a_cpu() -> None:
    """By hand, and in both types on many landmarks, some agents owning several of them and some none."""
    owner = torch.tensor([[2, 0, 2], [1, 1, 1]])
    values = torch.tensor([[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]])
    by_hand = torch.tensor([[2.0, 0.0, 5.0], [0.0, 7.0, 0.0]])
    assert torch.equal(spread_sum(values, owner, 3), by_hand)
    assert torch.equal(sum_by_owner(values, owner, 3), by_hand)
    generator = torch.Generator().manual_seed(0)
    owner = torch.randint(20, (50, 100), generator=generator)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-14)):
        values = torch.rand(50, 100, generator=generator, dtype=dtype)
        one, two = spread_sum(values, owner, 30), sum_by_owner(values, owner, 30)
        torch.testing.assert_close(one, two, atol=tolerance, rtol=tolerance)
        assert (one[:, 20:] == 0).all()
        assert one.dtype == dtype
