"""The ring against a list that remembers everything."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.common.edges import held_once
from benchmark.replay import Replay, replay_bytes
from envs.protocols import EnvironmentSpec, Graph, Step

AGENTS, FEATURES, NEIGHBOURS, ENVS, LENGTH = 3, 2, 2, 2, 4


def make_spec(static: bool = False, agents: int = AGENTS) -> EnvironmentSpec:
    return EnvironmentSpec(agents, FEATURES, 5, LENGTH, NEIGHBOURS, (0,) * agents, static)


def make_step(number: int, ended: bool = False) -> Step:
    """A step in which every value encodes its index and its copy."""
    value = number + 0.25 * torch.arange(ENVS).float()
    graph = Graph(
        torch.full((ENVS, AGENTS, NEIGHBOURS), number % AGENTS), torch.ones(ENVS, AGENTS, NEIGHBOURS, dtype=torch.bool)
    )
    observation = value[:, None, None].expand(ENVS, AGENTS, FEATURES)
    terminated = torch.full((ENVS,), ended)
    return Step(observation, graph, value[:, None].expand(ENVS, AGENTS), terminated, terminated)


def fill(replay: Replay, steps: int) -> list[tuple[float, float, int, float]]:
    """Play episodes; returns all transitions as (observation, next observation, action, reward)."""
    transitions, number = [], 0
    for step in range(steps):
        if step % LENGTH == 0:
            number += 1
            replay.begin_episode(make_step(number))
        action = torch.full((ENVS, AGENTS), step % 5)
        number += 1
        replay.add(action, make_step(number))
        transitions += [(number - 1 + 0.25 * e, number + 0.25 * e, step % 5, number + 0.25 * e) for e in range(ENVS)]
    return transitions


@settings(max_examples=60)
@given(steps=st.integers(1, 60), capacity=st.integers(1, 40), on_device=st.booleans())
def test_draws_exactly_the_kept_transitions(steps: int, capacity: int, on_device: bool) -> None:
    """Every sampled transition occurred, is consistent and recent; every recent transition can be sampled."""
    replay = Replay(make_spec(), ENVS, capacity, torch.device("cpu"), counts_on_device=on_device)
    history = fill(replay, steps)
    kept = history[-len(replay) :]
    assert len(replay) >= min(capacity, len(history))
    batch = replay.sample(2000, torch.Generator().manual_seed(steps))
    drawn = set(
        zip(
            batch.observation[:, 0, 0].tolist(),
            batch.next_observation[:, 0, 0].tolist(),
            batch.action[:, 0].tolist(),
            batch.reward[:, 0].tolist(),
            strict=True,
        )
    )
    assert drawn <= set(kept)
    assert len(drawn) > 0.9 * len(set(kept))
    assert torch.equal(batch.graph.neighbours[:, 0, 0], batch.observation[:, 0, 0].long() % AGENTS)
    assert torch.equal(batch.next_graph.neighbours[:, 0, 0], batch.next_observation[:, 0, 0].long() % AGENTS)


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("steps", [3, 7, 30])
def test_saved_and_restored_replay_draws_equally(steps: int, on_device: bool) -> None:
    first, second = (Replay(make_spec(), ENVS, 20, torch.device("cpu"), counts_on_device=on_device) for _ in range(2))
    fill(first, steps)
    second.load_state_dict(first.state_dict())
    one, two = (replay.sample(50, torch.Generator().manual_seed(1)) for replay in (first, second))
    assert torch.equal(one.observation, two.observation)
    assert torch.equal(one.next_graph.neighbours, two.next_graph.neighbours)
    assert len(first) == len(second)


@pytest.mark.parametrize("steps", [1, 4, 23])
def test_counts_on_the_device_are_those_of_the_host(steps: int) -> None:
    """Wherever steps were counted, the same is stored in the same places; half precision, indices and flags too."""
    replays = [
        Replay(make_spec(), ENVS, 10, torch.device("cpu"), torch.float16, counts_on_device=on_device)
        for on_device in (False, True)
    ]
    for replay in replays:
        for part in replay.storage.values():
            part.zero_()
        fill(replay, steps)
    plain, counted = replays
    assert plain.cursor is None
    assert counted.cursor is not None
    oldest, row = max(0, plain.episode - plain.slots + 1), plain.episode % plain.slots * (LENGTH + 1) + plain.time
    assert counted.cursor.tolist() == [len(plain), oldest, row]
    for name, part in plain.storage.items():
        assert torch.equal(counted.storage[name], part), name


def test_static_graph_is_stored_once() -> None:
    replay = Replay(make_spec(static=True), ENVS, 20, torch.device("cpu"))
    fill(replay, 5)
    assert "neighbours" not in replay.storage
    batch = replay.sample(7, torch.Generator())
    for graph in (batch.graph, batch.next_graph):
        assert graph.neighbours.shape == graph.mask.shape == (7, AGENTS, NEIGHBOURS)
        assert len(held_once(graph).mask) == 1, "nor is it copied for a batch"


def test_size_is_known_before() -> None:
    for kind in (torch.float32, torch.float16):
        replay = Replay(make_spec(), ENVS, 20, torch.device("cpu"), kind)
        assert replay.nbytes == replay_bytes(make_spec(), ENVS, 20, kind)


def test_half_precision_rounds_little() -> None:
    replay = Replay(make_spec(), ENVS, 20, torch.device("cpu"), torch.float16)
    fill(replay, 4)
    assert replay.sample(9, torch.Generator()).observation.dtype == torch.float32


def test_misuse_is_refused() -> None:
    replay = Replay(make_spec(), ENVS, 20, torch.device("cpu"))
    with pytest.raises(RuntimeError, match="empty"):
        replay.sample(1, torch.Generator())
    fill(replay, 2)
    with pytest.raises(RuntimeError, match="restarted after"):
        replay.begin_episode(make_step(0))
    fill_rest = [replay.add(torch.zeros(ENVS, AGENTS), make_step(9)) for _ in range(LENGTH - 2)]
    assert len(fill_rest) == 2
    with pytest.raises(RuntimeError, match="complete"):
        replay.add(torch.zeros(ENVS, AGENTS), make_step(9))
    with pytest.raises(RuntimeError, match="complete"):
        replay.count_step()
