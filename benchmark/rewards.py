"""The scale of the rewards that learners see: one rule for all algorithms, never applied to reported scores."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from envs.shapes import Float


class RewardScale:
    """Running mean and standard deviation of all rewards seen so far, on the training device."""

    def __init__(self, rule: str, num_agents: int, device: torch.device) -> None:
        if rule not in ("standardise", "per_agent", "raw"):
            raise ValueError(f"reward scale {rule!r}: expected standardise, per_agent or raw")
        self.rule, self.num_agents = rule, num_agents
        self.moments = torch.zeros(3, dtype=torch.float64, device=device)
        """Number of rewards, their sum, and the sum of their squares."""

    def observe(self, reward: Float[Tensor, "env agent"]) -> None:
        """Update the moments with the rewards of one step."""
        values = reward.double()
        self.moments += torch.stack(
            [torch.full_like(self.moments[0], values.numel()), values.sum(), values.square().sum()]
        )

    def mean(self) -> Float[Tensor, ""]:
        """Mean of the rewards seen."""
        return self.moments[1] / self.moments[0].clamp(min=1.0)

    def standard_deviation(self) -> Float[Tensor, ""]:
        """Population standard deviation of the rewards seen, at least 1e-6."""
        mean = self.mean()
        variance = self.moments[2] / self.moments[0].clamp(min=1.0) - mean.square()
        return variance.clamp(min=1e-12).sqrt()

    def apply(self, reward: Float[Tensor, "batch agent"]) -> Float[Tensor, "batch agent"]:
        """Rewards as the learner sees them."""
        if self.rule == "raw":
            return reward
        if self.rule == "per_agent":
            return reward / self.num_agents
        return (reward - self.mean().float()) / self.standard_deviation().float()

    def state_dict(self) -> dict[str, Any]:
        return {"moments": self.moments}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.moments.copy_(state["moments"])
