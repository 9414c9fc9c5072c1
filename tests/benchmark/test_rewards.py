"""The scale in which learners see rewards."""

from __future__ import annotations

import pytest
import torch

from benchmark.rewards import RewardScale

CPU = torch.device("cpu")


def test_running_moments_equal_those_of_all_rewards() -> None:
    rewards = torch.randn(40, 4, 3, generator=torch.Generator().manual_seed(0)) * 5 - 100
    scale = RewardScale("standardise", 3, CPU)
    for reward in rewards:
        scale.observe(reward)
    assert scale.mean().item() == pytest.approx(rewards.double().mean().item())
    assert scale.standard_deviation().item() == pytest.approx(rewards.double().std(correction=0).item())
    scaled = scale.apply(rewards.flatten(0, 1))
    assert scaled.mean().item() == pytest.approx(0.0, abs=1e-5)
    assert scaled.std(correction=0).item() == pytest.approx(1.0, abs=1e-5)


def test_other_rules() -> None:
    reward = torch.tensor([[3.0, 6.0, 9.0]])
    assert RewardScale("raw", 3, CPU).apply(reward).tolist() == reward.tolist()
    assert RewardScale("per_agent", 3, CPU).apply(reward).tolist() == [[1.0, 2.0, 3.0]]
    with pytest.raises(ValueError, match="expected standardise"):
        RewardScale("none", 3, CPU)


def test_constant_rewards_do_not_divide_by_zero() -> None:
    scale = RewardScale("standardise", 1, CPU)
    scale.observe(torch.full((4, 1), 2.5))
    assert scale.apply(torch.full((4, 1), 2.5)).abs().max() < 1.0
