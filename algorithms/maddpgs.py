"""MADDPGS: MADDPG with shuffled agents, a baseline of Liu et al. 2019.

In every update the joint critic reads the agents in a new random order, the same for the whole batch and for both s and
s', and in another one in the actor's step, so that it cannot rely on positions. Everything else is MADDPG.
"""

from __future__ import annotations

import torch
from torch import Tensor

from algorithms.maddpg import MADDPG, Config
from envs.shapes import Int

__all__ = ["MADDPGS", "Config"]


class MADDPGS(MADDPG[Config]):
    """MADDPG whose critic sees the agents in random order."""

    def order(self, num_agents: int, generator: torch.Generator) -> Int[Tensor, " agent"]:
        """A random permutation of the agents."""
        return torch.rand(num_agents, generator=generator, device=self.device).argsort()
