"""Every setting of IP does what it says: each test would fail if the setting did nothing."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch

from algorithms.common.edges import full_graph
from algorithms.common.graph import neighbourhood
from algorithms.ip import IP, Config
from algorithms.protocols import Batch, EnvironmentSpec, Graph
from tests.algorithms.conftest import random_batch, ring, spec

PROBLEM = spec(num_agents=7, observation_dim=4, num_actions=3)
CONTINUOUS = EnvironmentSpec(4, 2, 0, 1, 2, (0,) * 4, action_dim=2)


def learner(problem: EnvironmentSpec = PROBLEM, **settings: Any) -> IP:
    torch.manual_seed(0)
    return IP(problem, Config(**({"hidden": 16} | settings)), torch.device("cpu"))


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def dependence(output: torch.Tensor, x: torch.Tensor) -> list[bool]:
    """Whose observation agent 0's output depends on, in any copy."""
    (gradient,) = torch.autograd.grad(output[:, 0].sum(), x)
    return (gradient.abs().sum((0, 2)) > 0).tolist()


def observations(generator: torch.Generator, problem: EnvironmentSpec = PROBLEM) -> torch.Tensor:
    shape = (20, problem.num_agents, problem.observation_dim)
    return torch.randn(shape, generator=generator).requires_grad_()


def test_tied_rounds_are_one_layer_used_again(generator: torch.Generator) -> None:
    """Fewer weights, and the outputs of an untied network whose rounds are copies of each other."""
    for inference in ("mean_field", "belief_propagation"):
        tied, untied = (learner(tied=t, hops=3, inference=inference) for t in (True, False))
        per_round = parameters(tied.policy.rounds[0])  # type: ignore[arg-type]
        assert parameters(untied.policy) - parameters(tied.policy) == 2 * per_round
        x, graph = observations(generator), ring(7, 20)
        assert not torch.equal(tied.policy_outputs(x, graph), untied.policy_outputs(x, graph))
        state = tied.policy.state_dict()
        copies = {f"rounds.{r}.{k[9:]}": v for k, v in state.items() if k.startswith("rounds.0.") for r in (1, 2)}
        untied.policy.load_state_dict(state | copies)
        torch.testing.assert_close(tied.policy_outputs(x, graph), untied.policy_outputs(x, graph))
    assert learner(tied=True, hops=0).policy_outputs(x, graph).shape == (20, 7, 3)


@pytest.mark.parametrize(("readout", "parts"), [("all", 3), ("rounds", 2), ("last", 1)])
def test_readout_decides_what_the_head_reads(readout: str, parts: int, generator: torch.Generator) -> None:
    """With rounds that say nothing new (zero weights), only `all` still sees the agent's observation."""
    ip = learner(readout=readout, hops=2)
    assert ip.policy.head.in_features == parts * 16
    with torch.no_grad():
        for parameter in ip.policy.rounds.parameters():
            parameter.zero_()
    x = observations(generator)
    assert any(dependence(ip.policy_outputs(x, ring(7, 20)), x)) == (readout == "all")
    assert learner(readout=readout, hops=0).policy_outputs(x, ring(7, 20)).shape == (20, 7, 3)


@pytest.mark.parametrize("inference", ["mean_field", "belief_propagation"])
def test_full_graph_reaches_everybody_at_once(inference: str, generator: torch.Generator) -> None:
    x, graph = observations(generator), ring(7, 20)
    near = learner(hops=1, inference=inference)
    far = learner(hops=1, inference=inference, graph="full")
    assert dependence(near.policy_outputs(x, graph), x) == [True, True, False, False, False, False, True]
    assert all(dependence(far.policy_outputs(x, graph), x))
    listed = near.policy_outputs(x, full_graph(graph))  # the same weights, the same graph as explicit lists
    torch.testing.assert_close(far.policy_outputs(x, graph), listed)
    assert all(dependence(far.value(x, far.neighbourhood(graph)), x))


def test_full_neighbourhood_equals_explicit_lists(generator: torch.Generator) -> None:
    """The sum without the agent itself against complete neighbour lists, with every kernel, and with self loops."""
    values = torch.randn(2, 7, 6, generator=generator)
    query, key = (torch.randn(2, 7, 2, 3, generator=generator) for _ in range(2))
    for self_loops in (False, True):
        full = neighbourhood(ring(7, 2), which="full", self_loops=self_loops)
        for kernel in ("slots", "dense", "gather"):
            listed = neighbourhood(full_graph(ring(7, 2)), kernel, self_loops=self_loops)
            torch.testing.assert_close(full.total(values), listed.total(values))
            torch.testing.assert_close(full.mean(values), listed.mean(values))
            torch.testing.assert_close(
                full.attend(query, key, values.unflatten(-1, (2, 3))),
                listed.attend(query, key, values.unflatten(-1, (2, 3))),
            )


@pytest.mark.parametrize("policy", [True, False])
@pytest.mark.parametrize("critic", [True, False])
@pytest.mark.parametrize("inference", ["mean_field", "belief_propagation"])
def test_messages_are_switched_one_by_one(
    policy: bool, critic: bool, inference: str, generator: torch.Generator
) -> None:
    """The networks keep their parameters; the messages they receive follow the two settings."""
    ip = learner(
        policy_messages=policy, critic_messages=critic, hops=2, critic_hops=1, value_hops=1, inference=inference
    )
    x, graph, neighbours = observations(generator), ring(7, 20), neighbourhood(ring(7, 20))
    alone, two_hops = [True] + [False] * 6, [True, True, True, False, False, True, True]
    one_hop = [True, True, False, False, False, False, True]
    assert dependence(ip.policy_outputs(x, graph), x) == (two_hops if policy else alone)
    assert dependence(ip.value(x, neighbours), x) == (one_hop if critic else alone)
    chosen = torch.eye(3)[torch.randint(3, (20, 7), generator=generator)].requires_grad_()
    assert dependence(ip.q1(x, chosen, neighbours), x) == (one_hop if critic else alone)
    if critic:
        assert dependence(ip.q1(x, chosen, neighbours), chosen) == [False, *one_hop[1:]]
    wide = parameters(learner(aggregation="mean").policy)
    assert parameters(learner(aggregation="mean", policy_messages=False).policy) == wide


@pytest.mark.parametrize("hops", range(5))
@pytest.mark.parametrize("problem", [spec(11, 4, 3), EnvironmentSpec(11, 4, 0, 1, 2, (0,) * 11, action_dim=2)])
def test_how_far_each_network_sees(hops: int, problem: EnvironmentSpec, generator: torch.Generator) -> None:
    """On a ring of eleven: observations as far as there are rounds, for the policy, V and Q alike, and the actions of
    the two neighbours alone. What critics see can be set apart from what the policy sees."""
    x, graph = observations(generator, problem), ring(11, 20)
    width = problem.action_dim or problem.num_actions
    actions = torch.rand(20, 11, width, generator=generator, requires_grad=True)

    def within(edges: int) -> list[bool]:
        return [min(agent, 11 - agent) <= edges for agent in range(11)]

    def seen_by_critics(ip: IP) -> list[list[bool]]:
        here = neighbourhood(graph)
        return [dependence(ip.value(x, here), x), dependence(ip.q1(x, actions, here), x)]

    together = learner(problem, hops=hops, critic_hops=None)
    assert dependence(together.policy_outputs(x, graph), x) == within(hops)
    assert seen_by_critics(together) == [within(hops)] * 2
    for ip in (learner(problem, hops=1, critic_hops=hops), learner(problem, hops=hops, critic_hops=3, value_hops=1)):
        rounds = (ip.config.value_rounds, ip.config.q_rounds)
        assert dependence(ip.policy_outputs(x, graph), x) == within(ip.config.hops)
        assert seen_by_critics(ip) == [within(count) for count in rounds]
        if ip.config.q_rounds:
            chosen = dependence(ip.q1(x, actions, neighbourhood(graph)), actions)
            assert chosen == [problem.action_dim > 0, *within(1)[1:]]


def test_settings_recorded_before_critics_had_rounds() -> None:
    """Q had one round then and V those of the policy; so had the weights."""
    record = dataclasses.asdict(Config(hidden=16, hops=3))
    for name in ("critic_hops", "value_hops", "policy_value", "alpha_unit"):
        del record[name]
    earlier = Config.from_record(record)
    assert (earlier.hops, earlier.q_rounds, earlier.value_rounds) == (3, 1, 3)
    ip = IP(PROBLEM, earlier, torch.device("cpu"))
    assert not any(key.startswith(("rounds", "told")) for key in ip.q1.state_dict())
    assert ip.value.head.in_features == 4 * 16
    for now in (Config(hops=3), Config(hops=3, critic_hops=2), Config(hops=3, critic_hops=None)):
        assert Config.from_record(dataclasses.asdict(now)) == now
    assert (Config(hops=3).q_rounds, Config(hops=3).value_rounds) == (1, 3)
    with pytest.raises(TypeError):
        Config.from_record({"hops": 2, "wings": 2})


def test_one_q_instead_of_two(generator: torch.Generator) -> None:
    one, two = learner(twin=False), learner(twin=True)
    batch = random_batch(8, PROBLEM, generator)
    assert one.q2 is None
    assert "q2" not in one.state_dict()
    q_only, _ = one.q_loss(batch, one.neighbourhood(batch.graph))
    with torch.no_grad():
        two.q1.load_state_dict(one.q1.state_dict())
        two.q2.load_state_dict(one.q1.state_dict())  # type: ignore[union-attr]
        two.target_value.load_state_dict(one.target_value.state_dict())
    both, _ = two.q_loss(batch, two.neighbourhood(batch.graph))
    torch.testing.assert_close(both, 2 * q_only)
    assert "gradient_norm/q2" not in one.update(batch, generator)
    assert "gradient_norm/q2" in two.update(batch, generator)


@pytest.mark.parametrize(("target", "direction"), [(0.1, -1), (5.0, 1)])
def test_tuned_alpha_moves_towards_the_target_entropy(
    target: float, direction: int, generator: torch.Generator
) -> None:
    """A fresh policy's entropy is near log 3 = 1.1: alpha falls if the target is lower and rises if it is higher."""
    ip = learner(tune_alpha=True, target_entropy=target, learning_rate=1e-3)
    before = float(ip.temperature())
    assert abs(before - 0.2) < 1e-6
    for _ in range(5):
        ip.update(random_batch(16, PROBLEM, generator), generator)
    assert (float(ip.temperature()) - before) * direction > 0
    fixed = learner()
    fixed.update(random_batch(16, PROBLEM, generator), generator)
    assert fixed.temperature() == 0.2
    assert learner(tune_alpha=True).target_entropy == pytest.approx(0.5 * math.log(3))
    assert learner(CONTINUOUS, tune_alpha=True).target_entropy == -2.0


def test_tuned_alpha_step_by_hand(generator: torch.Generator) -> None:
    """The gradient of log alpha is the excess of the entropy over its target."""
    ip = learner(tune_alpha=True, target_entropy=0.5)
    metrics = ip.update(random_batch(16, PROBLEM, generator), generator)
    log_alpha = ip.temperature.log_alpha
    assert log_alpha is not None
    assert log_alpha.grad is not None
    torch.testing.assert_close(log_alpha.grad, metrics["policy/entropy"] - 0.5)


def test_kinds_have_policies_of_their_own() -> None:
    """Equal observations everywhere on a ring: agents of one kind act alike, those of another differently."""
    x = torch.ones(1, 8, 4)
    one = learner(spec(8, 4, 3, kinds=1)).policy_outputs(x, ring(8, 1))[0]
    two = learner(spec(8, 4, 3, kinds=2)).policy_outputs(x, ring(8, 1))[0]
    torch.testing.assert_close(one, one[:1].expand_as(one))
    torch.testing.assert_close(two, two[:2].repeat(4, 1))
    assert (two[0] - two[1]).abs().max() > 1e-3


def continuous_game(size: int, generator: torch.Generator) -> Batch:
    """One step; agent i of a directed ring is paid minus the squared distance of its force to what agent i - 1 sees."""
    goal = torch.rand(size, 4, 2, generator=generator) * 1.6 - 0.8
    action = torch.rand(size, 4, 2, generator=generator) * 2 - 1
    reward = -(action - goal.roll(1, 1)).square().sum(-1)
    heard = Graph(ring(4, size).neighbours[..., :1], torch.ones(size, 4, 1, dtype=torch.bool))
    return Batch(goal, heard, action, reward, goal, heard, torch.ones(size, dtype=torch.bool))


def test_continuous_actions_reach_the_optimum(generator: torch.Generator) -> None:
    """The goal is known to a neighbour only: both the Gaussian policy and the propagation are needed."""
    ip = learner(CONTINUOUS, hidden=32, alpha=0.01, learning_rate=3e-3)
    test = continuous_game(400, generator)

    def distance() -> float:
        forces = ip.act(test.observation, test.graph, generator, greedy=True)
        return (forces - test.observation.roll(1, 1)).square().sum(-1).mean().item()

    before = distance()
    for _ in range(500):
        ip.update(continuous_game(64, generator), generator)
    assert before > 0.3
    assert distance() < 0.03
    draws = ip.act(test.observation, test.graph, generator, greedy=False)
    assert draws.shape == (400, 4, 2)
    assert draws.abs().max() <= 1
    assert not torch.equal(draws, ip.act(test.observation, test.graph, generator, greedy=False))


@pytest.mark.parametrize(
    "settings",
    [
        {"inference": "gibbs"},
        {"readout": "first"},
        {"graph": "road"},
        {"kernel": "sparse"},
        {"heads": 2, "inference": "belief_propagation"},
        {"alpha": 0.0, "tune_alpha": True},
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match=next(iter(settings))):
        Config(**settings)
