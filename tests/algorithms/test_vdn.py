"""VDN against values computed by hand."""

from __future__ import annotations

import torch

from algorithms.vdn import VDN, Config
from tests.algorithms.conftest import spec
from tests.algorithms.test_iql import Table
from tests.algorithms.test_qmix import fixed_batch


def test_loss_by_hand(generator: torch.Generator) -> None:
    """Online values (1, 3, 2) choose action 1, which the slow copy values at 20 + 20: with gamma = 0.5 the target is
    the mean reward -1 plus 20, or 0.25 at an end. Q_tot = 1 + 3 and 2 + 2."""
    learner = VDN(spec(2), Config(gamma=0.5), torch.device("cpu"))
    learner.q, learner.target_q = Table([1.0, 3.0, 2.0]), Table([10.0, 20.0, 30.0])  # type: ignore[assignment]
    loss, metrics = learner.loss(fixed_batch(generator))
    assert metrics["value/q"] == 4.0
    torch.testing.assert_close(loss, torch.tensor((0.5 * (19.0 - 4.0) ** 2 + 0.5 * (0.25 - 4.0) ** 2) / 2))


def test_all_agents_share_one_temporal_difference(generator: torch.Generator) -> None:
    """dL/dQ(o_i, a_i) = (Q_tot - y) / batch for every agent alike, whatever it was paid itself."""
    learner = VDN(spec(2), Config(gamma=0.5), torch.device("cpu"))
    batch = fixed_batch(generator)
    values = torch.randn(2, 2, 3, generator=generator).requires_grad_()
    online = torch.nn.Module()
    online.forward = lambda x: values if x is batch.observation else values.detach()
    learner.q, learner.target_q = online, Table([10.0, 20.0, 30.0])  # type: ignore[assignment]
    learner.loss(batch)[0].backward()
    best = values.detach().argmax(-1)
    future = (10.0 * (best + 1)).sum(-1)
    target = torch.tensor([-1.0 + 0.5 * future[0].item(), 0.25])
    team = values.detach().gather(-1, batch.action[..., None]).sum((1, 2))
    expected = torch.zeros(2, 2, 3).scatter_(
        -1, batch.action[..., None], ((team - target) / 2).view(2, 1, 1).expand(2, 2, 1)
    )
    torch.testing.assert_close(values.grad, expected)
