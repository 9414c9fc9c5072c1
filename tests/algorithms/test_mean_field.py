"""The mean-field equation (4), solved exactly on a ring game, against the propagation network and against trained IP.

One-step game: agent i of a ring of six sees psi_i and is paid r_i = psi_i(a_i) + 1/2 sum over its neighbours j of
w(a_i, a_j). The best policy of maximum entropy is pi* = exp(R / alpha) / Z, a pairwise Markov random field; its
mean-field approximation minimises

    F(q) = - sum_i sum_a q_i(a) psi_i(a) - sum over edges q_i^T w q_j - alpha sum_i H(q_i)

whose stationary points are those of eq. (4): log q_i = const + (psi_i + sum over N_i of w q_j) / alpha.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from algorithms.common.graph import neighbourhood
from algorithms.common.networks import LayerOptions, PropagationNetwork, PropagationOptions
from algorithms.ip import IP, Config
from algorithms.protocols import Batch
from tests.algorithms.conftest import ring, spec

AGENTS, ACTIONS, ALPHA = 6, 3, 0.3
COUPLING = torch.tensor([[-0.6, 0.5, 0.1], [0.5, -0.6, 0.1], [0.1, 0.1, 0.2]])


def preferences(size: int, generator: torch.Generator) -> Tensor:
    return torch.rand(size, AGENTS, ACTIONS, generator=generator) * 2 - 1


def fields(psi: Tensor, q: Tensor) -> Tensor:
    """psi_i + sum over both neighbours of w q_j."""
    return psi + (q.roll(1, 1) + q.roll(-1, 1)) @ COUPLING


def free_energy(psi: Tensor, q: Tensor) -> Tensor:
    """F of each state."""
    log_q = q.clamp(min=1e-30).log()
    edges = ((q @ COUPLING) * q.roll(-1, 1)).sum((1, 2))
    return -(q * psi).sum((1, 2)) - edges + ALPHA * (q * log_q).sum((1, 2))


def mean_field(psi: Tensor, starts: int = 8) -> Tensor:
    """Minimisers of F: coordinate updates of eq. (4), which never raise F, from several starts; the best of each state.

    Agents 0, 2, 4 and 1, 3, 5 are not neighbours among themselves and move together.
    """
    generator = torch.Generator().manual_seed(1)
    best = torch.full_like(psi, 1 / ACTIONS)
    for _ in range(starts):
        q = torch.softmax(4 * torch.randn(psi.shape, generator=generator), -1)
        for _ in range(200):
            for parity in (0, 1):
                q[:, parity::2] = torch.softmax(fields(psi, q) / ALPHA, -1)[:, parity::2]
        better = free_energy(psi, q) < free_energy(psi, best)
        best = torch.where(better[:, None, None], q, best)
    return best


def test_solution_satisfies_equation_4_and_bounds_the_partition_function(generator: torch.Generator) -> None:
    """F = alpha (KL(q || pi*) - log Z) exactly, by enumeration of all 729 joint actions, and the fixed point holds."""
    psi = preferences(5, generator).double()
    coupling = COUPLING.double()
    q = mean_field(psi.float()).double()
    torch.testing.assert_close(q, torch.softmax((psi + (q.roll(1, 1) + q.roll(-1, 1)) @ coupling) / ALPHA, -1))
    joint = torch.tensor(list(itertools.product(range(ACTIONS), repeat=AGENTS)))
    for state in range(5):
        rewards = psi[state, torch.arange(AGENTS), joint].sum(1) + coupling[joint, joint.roll(-1, 1)].sum(1)
        log_pi = torch.log_softmax(rewards / ALPHA, 0)
        log_z = torch.logsumexp(rewards / ALPHA, 0)
        log_product = q[state, torch.arange(AGENTS), joint].log().sum(1)
        divergence = (log_product.exp() * (log_product - log_pi)).sum()
        torch.testing.assert_close(
            free_energy(psi[state : state + 1].float(), q[state : state + 1].float()).double()[0],
            ALPHA * (divergence - log_z),
            atol=1e-4,
            rtol=0,
        )
        assert divergence > 0


def fit(hops: int, tied: bool, generator: torch.Generator) -> float:
    """Mean KL(solution || network) on fresh states after fitting the network to solutions of eq. (4)."""
    torch.manual_seed(0)
    network = PropagationNetwork(
        (0,) * AGENTS, ACTIONS, ACTIONS, PropagationOptions(48, hops, LayerOptions("sum", 1), tied)
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    psi = preferences(4096, generator)
    solution = mean_field(psi, starts=4)
    neighbours = neighbourhood(ring(AGENTS, 128))
    for step in range(600):
        rows = torch.arange(128) + 128 * (step % 30)
        loss = -(solution[rows] * torch.log_softmax(network(psi[rows], neighbours), -1)).sum(-1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    test = slice(4096 - 128, 4096)
    with torch.no_grad():
        log_q = torch.log_softmax(network(psi[test], neighbours), -1)
    return (solution[test] * (solution[test].log() - log_q)).sum(-1).mean().item()


@pytest.mark.slow
def test_rounds_of_propagation_represent_the_solution(generator: torch.Generator) -> None:
    """The network comes the closer to the solution of eq. (4) the more rounds it has; one tied operator will do."""
    error = {hops: fit(hops, False, generator) for hops in (0, 1, 2, 3)}
    tied = fit(3, True, generator)
    assert error[0] > 1.4 * error[1] > 1.4**2 * error[2] > 1.4**3 * error[3]
    assert tied < 0.35 * error[0]


def trained(hops: int, generator: torch.Generator, updates: int) -> IP:
    """IP trained on the game with the paper's losses."""
    torch.manual_seed(0)
    problem = spec(AGENTS, ACTIONS, ACTIONS)
    settings = {"hidden": 32, "learning_rate": 3e-3, "alpha": ALPHA, "aggregation": "mean", "hops": hops}
    ip = IP(problem, Config(**settings), torch.device("cpu"))  # type: ignore[arg-type]
    graph, ended = ring(AGENTS, 64), torch.ones(64, dtype=torch.bool)
    for step in range(updates):
        ip.schedule(step, updates)
        psi = preferences(64, generator)
        action = torch.randint(ACTIONS, (64, AGENTS), generator=generator)
        chosen = psi.gather(-1, action[..., None]).squeeze(-1)
        reward = chosen + 0.5 * (COUPLING[action, action.roll(1, 1)] + COUPLING[action, action.roll(-1, 1)])
        ip.update(Batch(psi, graph, action, reward, psi, graph, ended), generator)
    return ip


@pytest.mark.slow
def test_trained_policy_reaches_the_mean_field_optimum(generator: torch.Generator) -> None:
    """J(theta) is F: IP's policies come close to its exact minimum over all products of policies, the closer the more
    rounds they have.

    The share is that of the way from uniform policies to the minimum.
    """
    psi = preferences(500, generator)
    uniform = free_energy(psi, torch.full_like(psi, 1 / ACTIONS)).mean()
    best = free_energy(psi, mean_field(psi)).mean()
    share = {}
    for hops in (0, 1, 3):
        ip = trained(hops, generator, 1500)
        with torch.no_grad():
            q = torch.softmax(ip.policy_outputs(psi, ring(AGENTS, 500)), -1)
        share[hops] = ((uniform - free_energy(psi, q).mean()) / (uniform - best)).item()
    assert share[0] < 0.8 < share[1] < 0.93 < share[3] < 1
