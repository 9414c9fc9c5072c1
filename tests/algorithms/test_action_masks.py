"""Agents that lack some actions: no algorithm ever takes, values or counts one of those."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import algorithms
from algorithms import dgn, ip, iql, mfq, qmix, vdn
from algorithms.common import learner as learner_module
from algorithms.common.graph import neighbourhood
from algorithms.common.learner import EpsilonGreedyLearner, without_parameter_gradients
from algorithms.common.masks import largest_entropy
from algorithms.protocols import Batch, EnvironmentSpec, Graph
from benchmark.profiling.synthetic import random_batch as synthetic_batch
from tests.algorithms.conftest import random_graph, ring, spec

NAMES = tuple(algorithms.ALGORITHMS)
VALUE_LEARNERS = [name for name in NAMES if issubclass(algorithms.learner_type(name), EpsilonGreedyLearner)]
AVAILABLE = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0], [0, 1, 1, 1], [0, 0, 0, 1], [1, 1, 1, 0]]).bool()
"""Agents with all, with a few and with one of four actions."""
OPEN = spec(num_agents=5, num_actions=4)
PROBLEM = replace(OPEN, action_mask=tuple(map(tuple, AVAILABLE.tolist())))
COUNTS = AVAILABLE.sum(-1)
VECTOR_LEARNERS = [
    name
    for name in NAMES
    if algorithms.action_width(name, replace(PROBLEM, relaxed_actions=True), algorithms.config_type(name)())
]


def build(name: str, problem: EnvironmentSpec = PROBLEM, **settings: Any) -> Any:
    return algorithms.make(name, problem, algorithms.config_type(name)(hidden=32, **settings), seed=1)


def batch_for(learner: Any, problem: EnvironmentSpec, size: int, generator: torch.Generator) -> Batch:
    """Transitions as the learner's replay would hold them."""
    return synthetic_batch(problem, size, learner.action_width, generator)


def chooser(learner: Any) -> Any:
    """The network whose outputs decide about the actions."""
    return learner.action_networks[0]


def networks_of(learner: Any) -> list[torch.nn.Module]:
    return [part for part in vars(learner).values() if isinstance(part, torch.nn.Module)]


def tempted(name: str, action: int, problem: EnvironmentSpec = PROBLEM, **settings: Any) -> Any:
    """A learner to whom one action looks far better than all others."""
    learner = build(name, problem, **settings)
    with torch.no_grad():
        chooser(learner).head.bias[action] += 50.0
    return learner


@pytest.mark.parametrize("epsilon", [0.05, 1.0])
@pytest.mark.parametrize("greedy", [True, False])
@pytest.mark.parametrize("relaxed", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_nobody_does_what_it_cannot(
    name: str, relaxed: bool, greedy: bool, epsilon: float, generator: torch.Generator
) -> None:
    """However good it looks, in 400 draws for each action that looks best."""
    for action in range(4):
        learner = tempted(name, action, replace(PROBLEM, relaxed_actions=relaxed))
        learner.epsilon = epsilon
        observation = torch.randn(400, 5, 4, generator=generator)
        actions = learner.act(observation, ring(5, 400), generator, greedy)
        if learner.action_width:
            assert relaxed
            assert (actions[:, ~AVAILABLE] == 0).all(), "exactly, not nearly"
            torch.testing.assert_close(actions.sum(-1), torch.ones(400, 5))
            actions = actions.argmax(-1)
        assert AVAILABLE[torch.arange(5), actions].all()
        if greedy or (name not in VALUE_LEARNERS and not relaxed):
            assert (actions[:, AVAILABLE[:, action]] == action).all(), "those who have the best action take it"


@pytest.mark.parametrize("relaxed", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_without_preferences_all_that_there_are_come_equally_often(
    name: str, relaxed: bool, generator: torch.Generator
) -> None:
    """Exploration with epsilon = 1, and draws from policies of equal logits."""
    learner = build(name, replace(PROBLEM, relaxed_actions=relaxed))
    learner.epsilon = 1.0
    for parameter in chooser(learner).head.parameters():
        torch.nn.init.zeros_(parameter)
    draws = 20_000
    actions = learner.act(torch.zeros(draws, 5, 4), ring(5, draws), generator, greedy=False)
    actions = actions.argmax(-1) if learner.action_width else actions
    shares = torch.nn.functional.one_hot(actions, 4).float().mean(0)
    expected = AVAILABLE / COUNTS[:, None]
    assert (shares[~AVAILABLE] == 0).all()
    torch.testing.assert_close(shares, expected, atol=5 * math.sqrt(0.25 / draws), rtol=0)


class Table(torch.nn.Module):
    """The same outputs for every agent whatever is seen, in the forms in which learners call their networks."""

    def __init__(self, values: list[float], pair: bool = False) -> None:
        super().__init__()
        self.values = torch.nn.Parameter(torch.tensor(values))
        self.pair = pair

    def forward(self, x: Tensor, *others: Any, **options: Any) -> Any:
        values = self.values.expand(*x.shape[:-1], -1)
        return (values, x) if self.pair else values


def give(learner: Any, **networks: torch.nn.Module) -> None:
    """Other networks of actions in the place of the learner's own."""
    for name, network in networks.items():
        setattr(learner, name, learner.action_network(network))


class Sum(torch.nn.Module):
    """A mixer that adds up."""

    def forward(self, values: Tensor, observation: Tensor) -> Tensor:
        return values.sum(-1)


PAIR = replace(spec(num_agents=2), action_mask=((True, False, True), (True, True, True)))
"""Two agents, three actions, the first lacks the one in the middle."""


def pair_batch(generator: torch.Generator) -> Batch:
    """Two transitions, the second of them an end."""
    return synthetic_batch(replace(PAIR, max_neighbours=1), 2, 0, generator)._replace(
        action=torch.tensor([[0, 1], [2, 2]]),
        reward=torch.tensor([[1.0, -1.0], [0.5, 0.0]]),
        terminated=torch.tensor([False, True]),
    )


def half_squares(targets: list[float], values: list[float]) -> Tensor:
    return torch.tensor(sum(0.5 * (y - q) ** 2 for y, q in zip(targets, values, strict=True)) / len(values))


def test_iql_does_not_bootstrap_from_what_an_agent_lacks(generator: torch.Generator) -> None:
    """Online values (1, 3, 2): agent 1 chooses action 1, valued at 20, but agent 0 must choose action 2, at 30."""
    learner = iql.IQL(PAIR, iql.Config(gamma=0.5), torch.device("cpu"))
    give(learner, q=Table([1.0, 3.0, 2.0]), target_q=Table([10.0, 20.0, 30.0]))
    loss, metrics = learner.loss(pair_batch(generator))
    assert metrics["value/q"] == (1.0 + 3.0 + 2.0 + 2.0) / 4
    torch.testing.assert_close(loss, half_squares([1.0 + 15.0, -1.0 + 10.0, 0.5, 0.0], [1.0, 3.0, 2.0, 2.0]))


def test_qmix_does_not_bootstrap_from_what_an_agent_lacks(generator: torch.Generator) -> None:
    """The same values, added up over agents; rewards are the mean over agents."""
    learner = qmix.QMIX(PAIR, qmix.Config(gamma=0.5), torch.device("cpu"))
    give(learner, q=Table([1.0, 3.0, 2.0]), target_q=Table([10.0, 20.0, 30.0]))
    learner.mixer, learner.target_mixer = Sum(), Sum()  # type: ignore[assignment]
    loss, _ = learner.loss(pair_batch(generator))
    torch.testing.assert_close(loss, half_squares([0.0 + 0.5 * (30.0 + 20.0), 0.25], [1.0 + 3.0, 2.0 + 2.0]))


def test_dgn_does_not_bootstrap_from_what_an_agent_lacks(generator: torch.Generator) -> None:
    """The best value of the target network: 90 for agent 1, but for agent 0 no more than 30."""
    learner = dgn.DGN(PAIR, dgn.Config(gamma=0.5, relation_weight=0.0), torch.device("cpu"))
    give(learner, q=Table([1.0, 3.0, 2.0], True), target_q=Table([10.0, 90.0, 30.0], True))
    loss, _, _ = learner.terms(pair_batch(generator))
    by_hand = half_squares([1.0 + 15.0, -1.0 + 45.0, 0.5, 0.0], [1.0, 3.0, 2.0, 2.0])
    torch.testing.assert_close(loss, 2 * by_hand)


def test_ip_compares_the_actions_that_there_are(generator: torch.Generator) -> None:
    """Values (4, 100, 8): agent 0 has the first and the last, a variance of 4; agent 1 has all three."""
    learner = ip.IP(PAIR, ip.Config(alpha_unit="advantage"), torch.device("cpu"))
    values = torch.tensor([4.0, 100.0, 8.0]).expand(2, 2, 3)
    masked = learner.without_missing(values)
    everything = values[0, 1].var(correction=0)
    torch.testing.assert_close(learner.advantage_variance(masked), (4.0 + everything) / 2)


def test_ip_averages_over_the_actions_that_there_are(generator: torch.Generator) -> None:
    """Logits (log 1, log 9, log 3) and values (4, 100, 8): agent 0 has a quarter of 4 and three of 8, that is 7."""
    learner = ip.IP(PAIR, ip.Config(twin=False), torch.device("cpu"))
    give(learner, policy=Table([0.0, math.log(9.0), math.log(3.0)]), q1=Table([4.0, 100.0, 8.0]))
    batch = pair_batch(generator)
    values, _, entropy, _ = learner.policy_terms(batch, neighbourhood(batch.graph), generator)
    torch.testing.assert_close(values, torch.tensor([[7.0, (4 + 900 + 24) / 13]]).expand(2, 2))
    by_hand = [-sum(p * math.log(p) for p in row) for row in ([0.25, 0.75], [1 / 13, 9 / 13, 3 / 13])]
    torch.testing.assert_close(entropy, torch.tensor([by_hand]).expand(2, 2))


def test_vdn_does_not_bootstrap_from_what_an_agent_lacks(generator: torch.Generator) -> None:
    """QMIX with a mixer that adds up is VDN."""
    learner = vdn.VDN(PAIR, vdn.Config(gamma=0.5), torch.device("cpu"))
    give(learner, q=Table([1.0, 3.0, 2.0]), target_q=Table([10.0, 20.0, 30.0]))
    loss, _ = learner.loss(pair_batch(generator))
    torch.testing.assert_close(loss, half_squares([0.0 + 0.5 * (30.0 + 20.0), 0.25], [1.0 + 3.0, 2.0 + 2.0]))


def test_mean_field_q_averages_over_the_actions_that_there_are(generator: torch.Generator) -> None:
    """Values (1 + log 3, 100, 1) at T = 1: agent 0 weighs 20 and 30 by 3/4 and 1/4, for agent 1 500 has weight 1."""
    learner = mfq.MFQ(PAIR, mfq.Config(gamma=0.5, temperature=1.0), torch.device("cpu"))
    assert torch.equal(learner.uniform[0], torch.tensor([[1 / 2, 0.0, 1 / 2], [1 / 3, 1 / 3, 1 / 3]]))
    values = [1.0 + math.log(3.0), 100.0, 1.0]
    give(learner, q=Table(values), target_q=Table([20.0, 500.0, 30.0]))
    loss, _ = learner.loss(pair_batch(generator))
    taken = [values[0], values[1], values[2], values[2]]
    torch.testing.assert_close(loss, half_squares([1.0 + 0.5 * 22.5, -1.0 + 250.0, 0.5, 0.0], taken))


def test_a_registered_network_knows_what_agents_lack(generator: torch.Generator) -> None:
    """So do its target, other copies of it, and the network without gradients to its weights; another keeps its
    outputs."""
    learner = build("iql")
    observation = torch.randn(6, 5, 4, generator=generator)
    functions = [learner.q, learner.target_q, copy.deepcopy(learner.q), without_parameter_gradients(learner.q)]
    for function in functions:
        values = function(observation)
        assert (values[:, ~AVAILABLE] == torch.finfo(values.dtype).min).all()
        torch.testing.assert_close(values[:, AVAILABLE], build("iql", OPEN).q(observation)[:, AVAILABLE])
    other = learner.network(torch.nn.Linear(4, 4))
    assert torch.equal(other(observation), torch.nn.functional.linear(observation, other.weight, other.bias))


def test_a_network_that_is_not_registered_is_refused() -> None:
    class Forgetful(iql.IQL):
        def build(self, spec: EnvironmentSpec, config: iql.Config) -> None:
            super().build(spec, config)
            self.extra = torch.nn.Linear(2, 2)

    class Unmasked(iql.IQL):
        def build(self, spec: EnvironmentSpec, config: iql.Config) -> None:
            self.q = self.target_q = self.network(torch.nn.Linear(4, 4))

    with pytest.raises(TypeError, match=r"Forgetful.extra is a network that the base does not know: .*action_network"):
        Forgetful(PROBLEM, iql.Config(), torch.device("cpu"))
    with pytest.raises(TypeError, match=r"Unmasked has no network of actions: .*action_network"):
        Unmasked(PROBLEM, iql.Config(), torch.device("cpu"))


def test_a_learner_without_a_loss_is_refused() -> None:
    class Lossless(EpsilonGreedyLearner[iql.Config]):
        build = iql.IQL.build  # type: ignore[assignment]
        action_values = iql.IQL.action_values  # type: ignore[assignment]

    with pytest.raises(TypeError, match="Lossless has no loss: write `loss`"):
        Lossless(PROBLEM, iql.Config(), torch.device("cpu"))


@pytest.mark.parametrize("relaxed", [True, False])
@pytest.mark.parametrize("name", VECTOR_LEARNERS)
def test_central_critics_see_no_action_that_an_agent_lacks(
    name: str, relaxed: bool, generator: torch.Generator
) -> None:
    """In s, in s' and in the actor's loss, in any order of the agents."""
    learner = tempted(name, 1, replace(PROBLEM, relaxed_actions=relaxed))
    seen: list[Tensor] = []
    for critic in (learner.critic, learner.target_critic):
        critic.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    learner.update(batch_for(learner, replace(PROBLEM, relaxed_actions=relaxed), 6, generator), generator)
    assert len(seen) == 3
    for joint in seen:
        actions = joint[..., 4:]
        torch.testing.assert_close(actions.sum(-1), torch.ones(6, 5))
        agents_with = (actions != 0).any(0).sum(0)
        assert (agents_with <= AVAILABLE.sum(0)).all(), "of five agents, one or two lack an action"


SETTINGS: dict[str, list[dict[str, Any]]] = {
    "ip": [
        {"inference": inference, "aggregation": aggregation, "tune_alpha": True}
        for inference in ("mean_field", "belief_propagation")
        for aggregation in ("attention", "mean")
    ],
    "maddpg": [{"logit_penalty": 1.0}],
    "maddpgs": [{"logit_penalty": 1.0}],
    "pic": [{"logit_penalty": 1.0}],
    "dgn": [{}, {"fixed_graph": False, "heads": 2}],
}
CASES = [(name, settings) for name in NAMES for settings in SETTINGS.get(name, [{}])]


def watch(network: torch.nn.Module, gradients: list[Tensor]) -> None:
    """Keep the gradients of a network's outputs for the actions (batch, agent, action)."""

    def keep(module: torch.nn.Module, inputs: Any, output: Any) -> None:
        values = output[0] if isinstance(output, tuple) else output
        if values.requires_grad:
            values.register_hook(gradients.append)

    network.register_forward_hook(keep)


@pytest.mark.parametrize("relaxed", [True, False])
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_no_gradient_reaches_what_an_agent_lacks(
    name: str, settings: dict[str, Any], relaxed: bool, generator: torch.Generator
) -> None:
    """Not through any network whose outputs are actions, IP's Q included; and everything stays finite."""
    problem = replace(PROBLEM, relaxed_actions=relaxed)
    learner = tempted(name, 1, problem, **settings)
    gradients: list[Tensor] = []
    for network in learner.action_networks:
        watch(network, gradients)
    for _ in range(3):
        metrics = learner.update(batch_for(learner, problem, 8, generator), generator)
        assert all(value.isfinite() for value in metrics.values()), metrics
        assert all(abs(value) < 1e6 for value in metrics.values()), "the lowest number has entered nothing"
    assert len(gradients) >= 3
    for gradient in gradients:
        assert gradient.isfinite().all()
        assert (gradient[:, ~AVAILABLE] == 0).all()
        assert (gradient[:, AVAILABLE] != 0).any()
    assert all(parameter.isfinite().all() for network in networks_of(learner) for parameter in network.parameters())


def test_entropy_counts_the_actions_that_there_are(generator: torch.Generator) -> None:
    """Equal logits: log of their number for IP and in MADDPG's metric; tuned, IP aims at half of its mean."""
    most = COUNTS.float().log()
    assert math.isclose(largest_entropy(PROBLEM), most.mean().item(), rel_tol=1e-6)
    assert largest_entropy(OPEN) == math.log(4)
    learner = build("ip", tune_alpha=True)
    assert learner.target_entropy == 0.5 * largest_entropy(PROBLEM)
    for parameter in learner.policy.head.parameters():
        torch.nn.init.zeros_(parameter)
    batch = batch_for(learner, PROBLEM, 3, generator)
    entropy = learner.policy_terms(batch, learner.neighbourhood(batch.graph), generator).entropy
    torch.testing.assert_close(entropy, most.expand(3, 5))
    actor = build("maddpg")
    for parameter in actor.actor.head.parameters():
        torch.nn.init.zeros_(parameter)
    metrics = actor.update(batch_for(actor, PROBLEM, 3, generator), generator)
    torch.testing.assert_close(metrics["policy/entropy"], most.mean())


@pytest.mark.parametrize("name", NAMES)
def test_masks_follow_their_agents(name: str, generator: torch.Generator) -> None:
    """Agents in another order, with their masks, observations and neighbours, take the same greedy actions."""
    graph, order = random_graph(30, 5, 2, generator), torch.randperm(5, generator=generator)
    observation = torch.randn(30, 5, 4, generator=generator)
    relabelled = Graph(order.argsort()[graph.neighbours[:, order]], graph.mask[:, order])
    moved = replace(PROBLEM, action_mask=tuple(PROBLEM.action_mask[agent] for agent in order))
    actions = build(name).act(observation, graph, generator, greedy=True)
    moved_actions = build(name, moved).act(observation[:, order], relabelled, generator, greedy=True)
    assert torch.equal(moved_actions, actions[:, order])
    assert not torch.equal(build(name, OPEN).act(observation, graph, generator, greedy=True), actions)


def trained(learner: Any, problem: EnvironmentSpec) -> list[Tensor]:
    """Everything that two updates and two choices of actions give, networks included."""
    draws = torch.Generator().manual_seed(3)
    results: list[Tensor] = []
    for _ in range(2):
        batch = batch_for(learner, problem, 8, torch.Generator().manual_seed(4))
        results += learner.update(batch, draws).values()
        results += [learner.act(batch.observation, batch.graph, draws, greedy) for greedy in (True, False)]
    return results + [parameter for network in networks_of(learner) for parameter in network.parameters()]


@pytest.mark.parametrize("relaxed", [True, False])
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_a_mask_that_forbids_nothing_is_none(name: str, settings: dict[str, Any], relaxed: bool) -> None:
    """All True gives the numbers of no mask to the last bit, and costs nothing."""
    plain = replace(OPEN, relaxed_actions=relaxed)
    everything = replace(plain, action_mask=((True,) * 4,) * 5)
    one, two = (build(name, problem, **settings) for problem in (plain, everything))
    assert one.missing is two.missing is None
    assert not any(network._forward_hooks for learner in (one, two) for network in networks_of(learner))
    pairs = zip(trained(one, plain), trained(two, everything), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize("relaxed", [True, False])
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_masking_leaves_all_other_numbers_alone(
    name: str, settings: dict[str, Any], relaxed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With masking at work but nothing to mask every bit stays; only random actions are drawn in another way."""
    plain = replace(OPEN, relaxed_actions=relaxed)
    one = build(name, plain, **settings)
    monkeypatch.setattr(learner_module, "missing_actions", lambda spec, device: torch.zeros(5, 4, dtype=torch.bool))
    two = build(name, plain, **settings)
    assert any(network._forward_hooks for network in networks_of(two))
    one.epsilon = two.epsilon = 0.0
    pairs = zip(trained(one, plain), trained(two, plain), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize("name", NAMES)
def test_masks_are_not_part_of_what_is_saved(name: str) -> None:
    """A learner without a mask and one with it have the same state, which either can load."""
    one, two = build(name, OPEN), build(name)
    one.load_state_dict(two.state_dict())
    two.load_state_dict(one.state_dict())
    assert one.state_dict().keys() == two.state_dict().keys()
    assert two.missing is not None, "it comes from the task"


class NoWaiting(TorchDispatchMode):
    """Refuses operations for which the host would wait for a GPU."""

    waiting = frozenset({"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal"})

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        assert name not in self.waiting, f"{name} waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("relaxed", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_masks_make_nobody_wait(
    name: str, relaxed: bool, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # torch's own checks its input, on a CPU alone.
    monkeypatch.setattr(torch.nn.functional, "one_hot", lambda index, size: torch.eye(size, dtype=torch.int64)[index])
    problem = replace(PROBLEM, relaxed_actions=relaxed)
    learner = build(name, problem)
    batch = batch_for(learner, problem, 4, generator)
    with NoWaiting():
        for greedy in (True, False):
            learner.act(batch.observation, batch.graph, generator, greedy)
        learner.update(batch, generator)
    with pytest.raises(AssertionError, match="waits"), NoWaiting():
        batch.reward[batch.terminated].sum().item()


ACTOR_CRITIC = {"learning_rate": 3e-3, "learning_rate_end": 3e-3}
LEARNING = {"ip": ACTOR_CRITIC | {"alpha": 0.05}} | dict.fromkeys(VECTOR_LEARNERS, ACTOR_CRITIC)


@pytest.mark.parametrize("name", NAMES)
def test_learns_around_a_lure(name: str, generator: torch.Generator) -> None:
    """Match the observed symbol where that action is available; any other action pays nothing. Action 3 looks best, but
    no agent has it.

    The game continues, so that a value of the lure would spoil the targets: with gamma = 1/2 values are at most 2.
    """
    rows = ((True, True, True, False), (True, True, False, False), (False, True, True, False))
    problem = replace(spec(num_agents=3, observation_dim=3, num_actions=4), action_mask=rows)
    available = torch.tensor(rows)
    learner = tempted(name, 3, problem, gamma=0.5, **LEARNING.get(name, {}))
    graph = ring(3, 64)

    def symbols(size: int) -> Tensor:
        return torch.randint(3, (size, 3), generator=generator)

    metrics: dict[str, Tensor] = {}
    for _ in range(250):
        seen, following = symbols(64), symbols(64)
        batch = batch_for(learner, problem, 64, generator)
        metrics = learner.update(
            batch._replace(
                observation=torch.eye(3)[seen],
                next_observation=torch.eye(3)[following],
                graph=graph,
                next_graph=graph,
                reward=(batch.action == seen).float(),
                terminated=torch.zeros(64, dtype=torch.bool),
            ),
            generator,
        )
    seen = symbols(500)
    actions = learner.act(torch.eye(3)[seen], ring(3, 500), generator, greedy=True)
    possible = available[torch.arange(3), seen]
    assert (actions == seen)[possible].float().mean() > 0.95
    assert 0.0 < metrics["value/q"] < 2.5 * (3 if name == "qmix" else 1), "not that of the lure"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action_mask": ((True,) * 4,) * 4}, "has 4 rows; expected one for each of 5 agents"),
        ({"action_mask": (*PROBLEM.action_mask[:4], (True,) * 3)}, "of agent 4 .* expected 4 times True or False"),
        ({"action_mask": ((0, 1, 2, 3),) * 5}, "of agent 0 is .0, 1, 2, 3.; expected 4 times True or False"),
        ({"action_mask": ((False,) * 4, *PROBLEM.action_mask[1:])}, "of agent 0 has no True"),
        ({"action_mask": PROBLEM.action_mask, "num_actions": 0, "action_dim": 2}, "continuous actions cannot be"),
    ],
)
def test_impossible_masks_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(OPEN, **change)


@pytest.mark.parametrize("width", [0, 4])
def test_made_up_transitions_keep_to_the_mask(width: int, generator: torch.Generator) -> None:
    action = synthetic_batch(PROBLEM, 400, width, generator).action
    taken = action > 0 if width else torch.nn.functional.one_hot(action, 4).bool()
    assert torch.equal(taken.any(0), AVAILABLE)
