"""The three engines are equal to the last bit, and a comparison of them would show it if they were not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from envs.jungle import comparison, tensors
from envs.jungle.comparison import draw_moods, mixed_actions
from envs.jungle.environment import JungleEnvironment
from envs.jungle.rules import NUM_ACTIONS, Jungle, jungle
from envs.jungle.settings import Settings
from envs.jungle.tensors import TorchEngine
from tests.envs.jungle.hand import needs_magent2, same

CPU = torch.device("cpu")


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_engines_equal_the_original(backend: Any) -> None:
    """In mixed play, with crowds; all that can happen in a step does."""
    needs_magent2()
    result = comparison.verify("magent/jungle_20", 40, backend=backend)
    assert not result.failures
    assert (result.episodes, result.steps) == (40, 1000)
    assert result.compared["observations"] == 40 * 26 * 20 * 123
    assert all(result.happenings.values()), result


@pytest.mark.parametrize("task", ["magent/jungle_2", "magent/jungle_6", "magent/jungle_20", "magent/jungle_100"])
def test_numba_and_torch_are_equal(task: str) -> None:
    """Where the original is not installed, too."""
    episodes = 8 if task == "magent/jungle_100" else 24
    assert not comparison.verify(task, episodes, 1, "torch", reference="numba").failures


@pytest.mark.parametrize(
    ("task", "length"), [("magent/jungle_6", 120), ("magent/jungle_100", 10), ("magent/jungle_242", 3)]
)
def test_other_sizes_and_lengths_equal_the_original(task: str, length: int) -> None:
    """The last has the largest map, 99 x 99, on which magent2 moves agents in the order of their numbers; on larger
    ones it goes by strips of the map first."""
    needs_magent2()
    assert not comparison.verify(task, 8, 2, episode_length=length).failures


@st.composite
def crowds(draw: Any) -> tuple[Jungle, list[int], list[list[int]]]:
    """A tiny map, often full to the last cell, the cells of its units, and what they do."""
    side = draw(st.integers(4, 9))
    free = (side - 2) ** 2
    agents = draw(st.integers(2, min(free - 1, 12)))
    foods = draw(st.integers(1, min(free - agents, 6)))
    cells = draw(st.permutations(range(free)))[: agents + foods]
    play = st.lists(st.integers(0, NUM_ACTIONS - 1), min_size=agents, max_size=agents)
    return Jungle("magent/jungle_0", agents, foods, side), cells, draw(st.lists(play, min_size=1, max_size=4))


def check_crowd(size: Jungle, cells: list[int], play: list[list[int]], engines: tuple[Any, ...]) -> None:
    """Any units on any map do the same on all engines."""
    places = torch.tensor([[cell % (size.side - 2) + 1, cell // (size.side - 2) + 1] for cell in cells])[None]
    agents, foods = places[:, : size.num_agents], places[:, size.num_agents :]
    all_of_them = [JungleEnvironment(size, Settings(backend=engine), 1, CPU) for engine in engines]
    steps = [environment.place(agents, foods) for environment in all_of_them]
    assert all(same(steps[0], step) for step in steps)
    for actions in play:
        steps = [environment.step(torch.tensor([actions])) for environment in all_of_them]
        assert all(same(steps[0], step) for step in steps)
    scores = [environment.scores() for environment in all_of_them]
    assert all(torch.equal(score, other[name]) for other in scores for name, score in scores[0].items())


@settings(max_examples=60)
@given(crowds())
def test_tiny_crowds(crowd: tuple[Jungle, list[int], list[list[int]]]) -> None:
    check_crowd(*crowd, ("numba", "torch"))


@settings(max_examples=60)
@given(crowds())
def test_tiny_crowds_of_the_original(crowd: tuple[Jungle, list[int], list[list[int]]]) -> None:
    needs_magent2()
    check_crowd(*crowd, ("numba", "magent2"))


def last_first(engine: TorchEngine, aim: Tensor, wants: Tensor) -> None:
    """Moves in the reverse order."""
    order = torch.arange(engine.jungle.num_agents - 1, -1, -1)
    engine._cells = engine._cells[:, order]
    MOVE(engine, aim[:, order], wants[:, order])
    engine._cells = engine._cells[:, order]


def no_queues(engine: TorchEngine, aim: Tensor, wants: Tensor) -> None:
    """Moves only to cells that were free before anyone moved."""
    free = engine._ground.gather(1, aim) == tensors.FREE
    MOVE(engine, aim, wants & free)


def one_blow(engine: TorchEngine, attacks: Tensor, meals: Tensor, hits: Tensor, aim: Tensor) -> Tensor:
    """Rewards as if no agent could be hit more than once."""
    paid = PAY(engine, attacks, meals, hits, aim)
    return torch.where(paid < tensors.VICTIM_PENALTY, tensors.VICTIM_PENALTY, paid)


def far_sight(engine: TorchEngine) -> tuple[Tensor, Tensor]:
    """Sight of the cells (5, 1) away and the like, too."""
    span = torch.arange(-5, 6)
    engine._in_sight = (span[:, None].square() + span.square() <= 26).view(-1)
    return LOOK(engine)


MOVE, PAY, LOOK = TorchEngine._move, TorchEngine._pay, TorchEngine.look


@pytest.mark.parametrize(
    ("owner", "name", "change", "quantity"),
    [
        (TorchEngine, "_move", last_first, "positions"),
        (TorchEngine, "_move", no_queues, "positions"),
        (TorchEngine, "_pay", one_blow, "rewards"),
        (TorchEngine, "look", far_sight, "observations"),
        (tensors, "ATTACK_PENALTY", -0.010000001, "rewards"),  # one bit of float32
        (tensors, "MOST_HITS", 3, "rewards"),
    ],
)
def test_a_comparison_notices_other_rules(
    owner: Any, name: str, change: Any, quantity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, change)
    result = comparison.verify("magent/jungle_20", 40, backend="torch", reference="numba")
    assert result.differing[quantity] > 0
    assert any(f" {quantity} differ, first step " in line for line in result.failures)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "task", "episodes", "length"),
    [
        ("numba", "magent/jungle_20", 2000, 25),
        ("torch", "magent/jungle_20", 200, 25),
        ("numba", "magent/jungle_20", 200, 120),
        ("numba", "magent/jungle_6", 500, 25),
        ("numba", "magent/jungle_100", 100, 25),
    ],
)
def test_engines_equal_the_original_for_long(backend: Any, task: str, episodes: int, length: int) -> None:
    needs_magent2()
    assert not comparison.verify(task, episodes, 3, backend, length).failures


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("task", ["magent/jungle_6", "magent/jungle_20"])
def test_episodes_are_the_same_on_a_cuda_device(task: str, generator: torch.Generator) -> None:
    cpu, gpu = (JungleEnvironment(jungle(task), Settings(), 32, torch.device(name)) for name in ("cpu", "cuda"))
    for seed in (5, None):
        steps = [environment.reset(seed) for environment in (cpu, gpu)]
        mood = draw_moods(32, cpu.spec.num_agents, generator)
        for _ in range(cpu.spec.episode_length):
            assert steps[1].observation.device.type == "cuda"
            assert same(*steps)
            actions = mixed_actions(cpu.position, cpu.food, mood, generator)
            steps = [cpu.step(actions), gpu.step(actions.cuda())]
        assert same(*steps)
        assert all(torch.equal(score, gpu.scores()[name].cpu()) for name, score in cpu.scores().items())
