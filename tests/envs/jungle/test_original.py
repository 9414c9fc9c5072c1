"""What magent2 leaves to its users is seen to: none of its traps can be walked into through our environment."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

import envs
from envs.errors import EnvironmentNotAvailableError
from envs.jungle.environment import JungleEnvironment
from envs.jungle.original import OriginalEngine, tally
from envs.jungle.rules import DOWN, HIT_DOWN, HIT_LEFT, HIT_RIGHT, HIT_UP, LEFT, NUM_ACTIONS, RIGHT, STAY, jungle
from envs.protocols import Step
from tests.envs.jungle.hand import act, make, paid, random_actions, same, set_out, tensors, where

needs_it = pytest.mark.usefixtures("installed")
EATEN, HIT = 0.9900000095367432, 1.9900000095367432


@pytest.fixture
def installed() -> None:
    pytest.importorskip("magent2", reason="the original engine, magent2, is not installed")


@needs_it
def test_actions_are_not_replayed_in_the_next_episode() -> None:
    """Neither those of the last step, nor those of a step that was refused."""
    environment = set_out("magent2", [(5, 5), (6, 5), (9, 9)], episode_length=1)
    position, food = environment.position, environment.food
    act(environment, HIT_RIGHT, LEFT, DOWN)
    with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
        act(environment, HIT_RIGHT, LEFT, DOWN)
    for step in (environment.place(position, food), act(environment)):
        assert not step.reward.any()
        assert torch.equal(environment.position, position)
    environment.place(position, food)
    with pytest.raises(ValueError, match=r"the action at \[0, 3\] is 9"):
        act(environment, HIT_RIGHT, LEFT, DOWN, NUM_ACTIONS)
    assert not act(environment).reward.any()
    assert torch.equal(environment.position, position)


@needs_it
def test_rewards_do_not_pile_up() -> None:
    """Those of earlier steps are not paid again, be it while standing still or while eating on."""
    environment = set_out("magent2", [(5, 5), (8, 5), (9, 5)], [(5, 4)])
    assert paid(act(environment, HIT_UP, HIT_RIGHT), 3) == [EATEN, HIT, -4]
    for _ in range(3):
        assert paid(act(environment), 3) == [0, 0, 0]
    for _ in range(3):
        assert paid(act(environment, HIT_UP, HIT_RIGHT), 3) == [EATEN, HIT, -4]


@needs_it
def test_returned_tensors_are_left_alone(generator: torch.Generator) -> None:
    """The engine has one buffer for its observations, which every look overwrites."""
    environment = make("magent/jungle_6", 3, "magent2", episode_length=4)
    kept: list[Step] = []
    copies: list[list[torch.Tensor]] = []
    for _ in range(3):
        steps = [environment.reset()]
        steps += [environment.step(random_actions(environment, generator)) for _ in range(4)]
        kept += steps
        copies += [[tensor.clone() for tensor in tensors(step)] for step in steps]
    assert all(
        torch.equal(a, b)
        for step, copy in zip(kept, copies, strict=True)
        for a, b in zip(tensors(step), copy, strict=True)
    )
    assert not torch.equal(kept[0].observation[0], kept[0].observation[1]), "copies see different things"


@needs_it
def test_neighbouring_seeds_start_differently() -> None:
    """The engine's own draws move the first agent by the same 16 columns from most seeds to the next."""
    environment = make("magent/jungle_20", 1, "magent2")
    columns = []
    for seed in range(200):
        environment.reset(seed)
        columns.append(int(environment.position[0, 0, 0]))
    jumps = np.bincount(np.diff(columns) % 29, minlength=29)
    assert jumps.max() < 30
    assert abs(np.corrcoef(columns[:-1], columns[1:])[0, 1]) < 0.2


@needs_it
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.full((2, 6), NUM_ACTIONS), r"at \[0, 0\] is 9; expected indices from 0 to 8"),
        (torch.tensor([[0] * 6, [0, 0, -1, 0, 0, 0]]), r"action at \[1, 2\] is -1"),
        (torch.zeros(2, 6), "torch.float32; expected integers"),
        (torch.zeros(2, 6, dtype=torch.bool), "torch.bool; expected integers"),
        (torch.zeros(2, 5, dtype=torch.int64), r"shape \(2, 5\)"),
        (torch.zeros(1, 6, dtype=torch.int64), r"shape \(1, 6\)"),
        (torch.zeros(6, dtype=torch.int64), r"shape \(6,\)"),
        (torch.zeros(2, 6, 9, dtype=torch.int64), r"shape \(2, 6, 9\)"),
    ],
)
def test_bad_actions_do_not_reach_the_engine(bad: torch.Tensor, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would read beyond its arrays, or end the process."""
    environment, other = (make("magent/jungle_6", 2, "magent2") for _ in range(2))
    environment.reset(0), other.reset(0)
    with monkeypatch.context() as patch:
        patch.setattr(OriginalEngine, "step", reached)
        with pytest.raises(ValueError, match=message):
            environment.step(bad)
    good = torch.full((2, 6), HIT_UP, dtype=torch.uint8)
    assert same(environment.step(good), other.step(good))


def reached(engine: OriginalEngine, actions: torch.Tensor) -> None:
    raise AssertionError("the engine was given bad actions")


@needs_it
@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([(5, 5), (5, 5)], "two units of a copy are on the same cell"),
        ([(5, 5), (1, 16)], "two units of a copy are on the same cell"),
        ([(0, 5), (6, 5)], "coordinates from 1 to 16"),
        ([(5, 17), (6, 5)], "coordinates from 1 to 16"),
    ],
)
def test_taken_cells_and_walls_are_refused(cells: list[tuple[int, int]], message: str) -> None:
    """The engine would omit the unit and continue with one fewer."""
    with pytest.raises(ValueError, match=message):
        set_out("magent2", cells)


@needs_it
@pytest.mark.parametrize("cell", [(5, 5), (0, 5)])
def test_the_engine_notices_a_unit_that_is_left_out(cell: tuple[int, int]) -> None:
    """Should a bad placement get past the environment."""
    engine = OriginalEngine(jungle("magent/jungle_2"), 1, 1, 25)
    with pytest.raises(RuntimeError, match="elsewhere than requested"):
        engine.place(torch.tensor([[(5, 5), cell]]), torch.tensor([[(7, 7)]]))


@needs_it
@pytest.mark.parametrize("length", [100, 101, 120, 200])
def test_no_agent_dies(length: int) -> None:
    """An agent and a piece of food are attacked four times in every step: both engines stay equal, and all remain."""
    agents = [(3, 3), (3, 2), (2, 3), (4, 3), (3, 4), (9, 8), (8, 9), (10, 9), (9, 10)]
    foods = [(9, 9)]
    both = [set_out(name, agents, foods, "magent/jungle_10", episode_length=length) for name in ("magent2", "numba")]
    actions = (STAY, HIT_DOWN, HIT_RIGHT, HIT_LEFT, HIT_UP, HIT_DOWN, HIT_RIGHT, HIT_LEFT, HIT_UP)
    start = both[0].place(both[0].position, both[0].food)
    for _ in range(length):
        steps = [act(environment, *actions) for environment in both]
        assert same(*steps)
        assert paid(steps[0], 9) == [-16, HIT, HIT, HIT, HIT, EATEN, EATEN, EATEN, EATEN]
    assert all(steps[0].truncated)
    assert torch.equal(steps[0].observation, start.observation)
    assert where(both[0], 9) == agents
    scores = [environment.scores() for environment in both]
    assert all(torch.equal(score, scores[1][name]) for name, score in scores[0].items())
    assert scores[0]["attacks_per_agent"] * 10 == 4 * length


def test_the_tally_is_read_off_the_rewards() -> None:
    """Every outcome with every number of received attacks: nothing, a miss, a meal, a hit."""
    paid_for = {STAY: 0.0, RIGHT: 0.0}
    for attacks in range(5):
        for action, pay, kind in (
            *((action, pay, None) for action, pay in paid_for.items()),
            (HIT_UP, -0.01, 3),
            (HIT_LEFT, 0.99, 1),
            (HIT_DOWN, 1.99, 2),
        ):
            reward = np.float32(pay)
            for _ in range(attacks):
                reward = reward + np.float32(-4)
            counts = tally(np.array([[action]], np.int32), np.array([[reward]], np.float32))
            expected = np.zeros((1, 4))
            expected[0, 0] = float(reward)
            if kind is not None:
                expected[0, kind] = 1
            assert np.array_equal(counts, expected), (action, attacks)


@pytest.mark.parametrize("missing", ["magent2", "magent2.gridworld"])
def test_a_missing_engine_is_reported(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the remedy; everything else works without it."""
    monkeypatch.setitem(sys.modules, missing, None)
    if missing == "magent2":
        monkeypatch.setitem(sys.modules, "magent2.gridworld", None)
    with pytest.raises(EnvironmentNotAvailableError, match="pip install magent2, or leave the setting out"):
        envs.make("magent/jungle_6", 1, backend="magent2")
    environment = envs.make("magent/jungle_6", 1)
    assert isinstance(environment, JungleEnvironment)
    environment.reset(0)


@needs_it
def test_seeds_of_the_engine_play_no_part(generator: torch.Generator) -> None:
    """Its only draws are the order of attacks, which changes nothing: two copies with one start stay equal."""
    environment = make("magent/jungle_20", 2, "magent2")
    environment.reset(0)
    environment.step(random_actions(environment, generator))  # so that the copies' streams part
    environment.place(*(cells[:1].expand(2, -1, -1) for cells in (environment.position, environment.food)))
    for _ in range(25):
        step = environment.step(random_actions(environment, generator)[:1].expand(2, -1))
        assert torch.equal(step.reward[0], step.reward[1])
        assert torch.equal(step.observation[0], step.observation[1])


def test_maps_on_which_magent2_plays_by_other_rules_are_refused() -> None:
    envs.make("magent/jungle_242", 1, backend="magent2").reset(0)
    with pytest.raises(ValueError, match=r"more than 99 columns, and magent/jungle_243 has 100: choose backend"):
        envs.make("magent/jungle_243", 1, backend="magent2")
