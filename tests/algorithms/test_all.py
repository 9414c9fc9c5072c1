"""What holds for every algorithm: it learns a task with a known optimum, saves exactly, is deterministic."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import algorithms
from algorithms.protocols import Batch, Graph, Learner
from tests.algorithms.conftest import random_batch, ring, spec

NAMES = tuple(algorithms.ALGORITHMS)
PROBLEM = spec(num_agents=4, observation_dim=3, num_actions=3)
ACTOR_CRITICS = {"learning_rate": 3e-3}
FAST: dict[str, dict[str, Any]] = {
    "ip": ACTOR_CRITICS | {"alpha": 0.05},
    "maddpg": ACTOR_CRITICS,
    "maddpgs": ACTOR_CRITICS,
    "pic": ACTOR_CRITICS,
}


def build(name: str, seed: int = 0, **settings: Any) -> Learner:
    config = algorithms.config_type(name)(**({"hidden": 32} | FAST.get(name, {}) | settings))
    return algorithms.make(name, PROBLEM, config, seed=seed)


def game(size: int, generator: torch.Generator, shift: int) -> Batch:
    """One-step game with a known optimum of 1: match the symbol observed by agent i - shift. Agent i receives messages
    from i - 1."""
    symbol = torch.randint(3, (size, 4), generator=generator)
    observation = torch.nn.functional.one_hot(symbol, 3).float()
    action = torch.randint(3, (size, 4), generator=generator)
    reward = (action == symbol.roll(shift, 1)).float()
    graph = Graph(ring(4, size).neighbours[..., :1], torch.ones(size, 4, 1, dtype=torch.bool))
    return Batch(observation, graph, action, reward, observation, graph, torch.ones(size, dtype=torch.bool))


def play(learner: Learner, generator: torch.Generator, shift: int) -> float:
    batch = game(500, generator, shift)
    actions = learner.act(batch.observation, batch.graph, generator, greedy=True)
    return (actions == batch.observation.argmax(-1).roll(shift, 1)).float().mean().item()


@pytest.mark.parametrize("name", NAMES)
def test_finds_the_known_optimum(name: str, generator: torch.Generator) -> None:
    learner = build(name)
    learner.schedule(0, 1000)
    assert play(learner, generator, 0) < 0.7
    for _ in range(400):
        learner.update(game(64, generator, 0), generator)
    assert play(learner, generator, 0) > 0.98


def test_propagation_finds_what_only_a_neighbour_knows(generator: torch.Generator) -> None:
    """The best action depends on the neighbour's observation: IP learns it, which is impossible without messages."""
    scores = {}
    settings: dict[str, dict[str, Any]] = {
        "attention": {},
        "belief propagation": {"inference": "belief_propagation"},
        "none": {"policy_messages": False},
    }
    for label, chosen in settings.items():
        learner = build("ip", **chosen)
        for _ in range(500):
            learner.update(game(64, generator, 1), generator)
        scores[label] = play(learner, generator, 1)
    assert scores.pop("none") < 0.5
    assert min(scores.values()) > 0.95


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_restored_learner_goes_on_equally(name: str) -> None:
    first, second = build(name, seed=1), build(name, seed=2)
    generator = torch.Generator().manual_seed(5)
    for _ in range(3):
        first.update(random_batch(8, PROBLEM, generator), generator)
    second.load_state_dict(first.state_dict())
    batch = random_batch(8, PROBLEM, generator)
    one = first.update(batch, torch.Generator().manual_seed(6))
    two = second.update(batch, torch.Generator().manual_seed(6))
    assert {k: v.item() for k, v in one.items()} == {k: v.item() for k, v in two.items()}


@pytest.mark.parametrize("name", NAMES)
def test_seed_decides_the_initial_weights(name: str, generator: torch.Generator) -> None:
    batch = random_batch(8, PROBLEM, generator)
    before = torch.random.get_rng_state()
    losses = [build(name, seed).update(batch, torch.Generator().manual_seed(0))["loss/q"].item() for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]
    assert torch.equal(before, torch.random.get_rng_state()), "building a learner must not touch global randomness"


def test_unknown_names_are_explained() -> None:
    with pytest.raises(algorithms.UnknownAlgorithmError, match="did you mean iql"):
        algorithms.config_type("iqll")
