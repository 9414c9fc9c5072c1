"""What the comparison with magent2 counts, plays and says."""

from __future__ import annotations

import sys

import pytest
import torch

from envs.jungle import comparison
from envs.jungle.comparison import AGGRESSIVE, GREEDY, MOBBING, RANDOM, Comparison, crowded_cells, draw_moods
from envs.jungle.rules import HIT_DOWN, HIT_LEFT, HIT_RIGHT, HIT_UP, LEFT, NUM_ACTIONS, RIGHT, STAY, UP, jungle
from envs.jungle.verify import main
from tests.envs.jungle.hand import Cell, act, set_out


def counted(agents: list[Cell], foods: list[Cell], *actions: int) -> dict[str, int]:
    """What is counted of one step, without what is not there."""
    environment = set_out("numba", agents, foods)
    before = environment.position
    act(environment, *actions)
    chosen = torch.tensor([[*actions, *[STAY] * (6 - len(actions))]])
    counts = comparison.happenings(before, environment.food, chosen, environment.position, environment.jungle.side)
    return {name: count for name, count in counts.items() if count}


def test_happenings_of_attacks() -> None:
    mutual = counted([(5, 5), (6, 5)], [], HIT_RIGHT, HIT_LEFT)
    assert mutual == {"hits on agents": 2, "mutual hits": 1}
    off = counted([(5, 5), (6, 5)], [], HIT_RIGHT, UP)
    assert off == {"hits on agents": 1, "victims that moved away in the same step": 1, "moves made": 1}
    crowd = [(5, 5), (5, 4), (4, 5), (6, 5), (5, 6)]
    four = counted(crowd, [], STAY, HIT_DOWN, HIT_RIGHT, HIT_LEFT, HIT_UP)
    assert four == {"hits on agents": 4, "agents hit four times in a step": 1}
    others = counted([(1, 5), (5, 5), (9, 5)], [(5, 4)], HIT_LEFT, HIT_UP, HIT_DOWN)
    assert others == {"hits on food": 1, "hits on nothing or a wall": 2}


def test_happenings_of_moves() -> None:
    blocked = counted([(1, 5), (5, 5), (9, 5), (10, 5)], [(5, 4)], LEFT, UP, RIGHT)
    assert blocked == {"moves blocked by a wall": 1, "moves blocked by food": 1, "moves blocked by an agent": 1}
    queue = counted([(6, 5), (5, 5)], [], RIGHT, RIGHT)
    assert queue == {"moves made": 2, "moves to where an agent has just left": 1}
    race = counted([(4, 5), (6, 5)], [], RIGHT, LEFT)
    assert race == {"moves made": 1, "moves blocked by one that came first": 1}


def test_crowds_are_tight_and_inside_the_wall() -> None:
    size = jungle("magent/jungle_20")
    cells = crowded_cells(size, 500, torch.Generator().manual_seed(0))
    assert cells.min() == 1
    assert cells.max() == size.side - 2
    assert (cells.amax(1) - cells.amin(1)).max() == 6  # 32 units on 7 x 7 cells
    numbers = (cells[..., 1] * size.side + cells[..., 0]).sort(-1).values
    assert (numbers.diff(dim=-1) > 0).all()


def test_play_is_mixed(generator: torch.Generator) -> None:
    """Every mood does what its name says."""
    moods = draw_moods(2000, 20, generator)
    assert all(0.2 < (moods == mood).double().mean() < 0.3 for mood in (GREEDY, AGGRESSIVE, MOBBING, RANDOM))
    assert ((moods == GREEDY).double().mean(1).std()) > 0.15  # copies differ
    position, food = torch.tensor([[(5, 5), (6, 5), (9, 5)]]).repeat(500, 1, 1), torch.tensor([[(9, 4), (1, 1)]])
    for mood, agent, usual in (
        (GREEDY, 2, HIT_UP),
        (GREEDY, 1, RIGHT),
        (AGGRESSIVE, 0, HIT_RIGHT),
        (AGGRESSIVE, 2, LEFT),
        (MOBBING, 1, HIT_LEFT),
        (MOBBING, 2, LEFT),
    ):
        all_of_them = torch.full((500, 3), mood)
        actions = comparison.mixed_actions(position, food.expand(500, -1, -1), all_of_them, generator)[:, agent]
        assert (actions == usual).double().mean() > 0.6
        assert actions.unique().tolist() == list(range(NUM_ACTIONS)), "one in ten is random"
    actions = comparison.mixed_actions(position, food.expand(500, -1, -1), torch.full((500, 3), RANDOM), generator)
    assert (actions.flatten().bincount() > 120).all()


def test_differences_are_told() -> None:
    result = Comparison("a beside b", episodes=10)
    result.equal("rewards", "step 3", torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 2.0], [3.0, 5.0]]))
    result.equal("rewards", "step 4", torch.zeros(2, 2), torch.ones(2, 2))
    result.equal("ends", "step 4", torch.zeros(2), torch.zeros(2, dtype=torch.float64))
    nothing = torch.tensor([torch.nan, 1])
    result.equal("observations", "step 4", nothing, nothing.clone())
    assert result.failures == [
        "a beside b: 5 of 8 rewards differ, first step 3 of episode 11, at [1]: 5.0 instead of 4.0",
        "a beside b: 2 of 2 ends differ, first step 4: torch.float64 of shape (2,) instead of torch.float32 of shape "
        "(2,)",
    ]


def test_command_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("magent2", reason="the original engine, magent2, is not installed")
    arguments = ["--task", "magent/jungle_2", "--episodes", "3", "--episode-length", "5"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert out.startswith("magent/jungle_2, numba and magent2: 3 episodes, 15 steps: equal\n")
    assert "moves made" in out
    monkeypatch.setattr("envs.jungle.tensors.ATTACK_PENALTY", -0.02)
    assert main([*arguments, "--backend", "torch"]) == 1
    streams = capsys.readouterr()
    assert "3 episodes, 15 steps: differ" in streams.out
    assert "rewards differ, first step" in streams.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "magent/jungle_1"], "expected magent/jungle_N, N from 2 to"),
        (["--task", "mpe/cooperative_push_3"], "there is no 'mpe/cooperative_push_3'"),
        (["--episodes", "0"], "--episodes: must be at least 1, not 0"),
        (["--episode-length", "-5"], "--episode-length: must be at least 1, not -5"),
        (["--seed", "-1"], "--seed: must be between 0"),
        (["--backend", "magent2"], "invalid choice"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err


def test_without_magent2(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("magent2", "magent2.gridworld"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["--episodes", "1"]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.count("\n") == 1
    assert "pip install magent2" in streams.err
