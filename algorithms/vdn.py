"""Value decomposition networks (VDN), Sunehag et al. 2018: the team's value is the sum of the agents' values.

    Q_tot(s, a) = sum over agents i of Q(o_i, a_i)                                                 (1)
    y = r + gamma Qbar_tot(s', a'),   a'_i = argmax_a Q(o'_i, a)                                   (2)
    L = mean over the batch of 1/2 (y - Q_tot(s, a))^2                                             (3)

r is the team's reward: the mean of the agents' rewards.

Deviations from the paper (see DEVIATIONS.md): qmix-team-reward, vdn-inputs, q-learning-rate, exploration,
target-smoothing, kind-encoders.
"""

from __future__ import annotations

import torch

from algorithms.common.learner import Loss, gather_actions
from algorithms.iql import IQL, Config
from algorithms.protocols import Batch

__all__ = ["VDN", "Config"]


class VDN(IQL):
    """IQL's network and exploration; one temporal difference for the whole team."""

    def loss(self, batch: Batch) -> Loss:
        value = gather_actions(self.q(batch.observation), batch.action).sum(-1)  # (1)
        with torch.no_grad():
            best = self.q(batch.next_observation).argmax(-1)
            future = gather_actions(self.target_q(batch.next_observation), best).sum(-1)
            future = future.masked_fill(batch.terminated, 0.0)
            target = batch.reward.mean(-1) + self.config.gamma * future  # (2)
        loss = 0.5 * (target - value).square().mean()  # (3)
        return loss, {"loss/q": loss, "value/q": value.mean()}
