"""Hand-computed steps, observations and neighbours, on every engine."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from envs.jungle.rules import DOWN, HIT_DOWN, HIT_LEFT, HIT_RIGHT, HIT_UP, LEFT, RIGHT, STAY, UP
from tests.envs.jungle.hand import ENGINES, act, make, paid, set_out, where

pytestmark = pytest.mark.parametrize("backend", ENGINES)

BLANK, EATEN, HIT, STRUCK = -0.009999999776482582, 0.9900000095367432, 1.9900000095367432, -4.0
BOTH, EATEN_3, HIT_4 = -2.009999990463257, -11.010000228881836, -14.010000228881836
"""What steps pay, as rounded in float32: an attack on nothing, on food, on an agent, one attack received, both of
these, food and three attacks received, a hit and four attacks received."""


@pytest.mark.parametrize(
    ("action", "cell"), [(UP, (5, 4)), (LEFT, (4, 5)), (STAY, (5, 5)), (RIGHT, (6, 5)), (DOWN, (5, 6))]
)
def test_moves_lead_to_the_cell_beside(backend: str, action: int, cell: tuple[int, int]) -> None:
    environment = set_out(backend, [(5, 5)])
    assert paid(act(environment, action), 1) == [0]
    assert where(environment, 1) == [cell]


def test_walls_are_the_outer_ring(backend: str) -> None:
    """18 x 18 cells with their wall: from 1 to 16. An agent that walks into it stays, without a penalty."""
    corners = [(1, 1), (16, 1), (1, 14), (16, 14)]
    environment = set_out(backend, corners, [(1, 15), (16, 15)])
    for actions in ((UP, UP, LEFT, RIGHT), (LEFT, RIGHT, DOWN, DOWN)):  # foods stand below the last two
        assert paid(act(environment, *actions), 4) == [0, 0, 0, 0]
        assert where(environment, 4) == corners


def test_food_and_agents_stand_in_the_way(backend: str) -> None:
    environment = set_out(backend, [(5, 5), (8, 8), (9, 8)], [(5, 4)])
    assert paid(act(environment, UP, RIGHT, STAY), 3) == [0, 0, 0]
    assert where(environment, 3) == [(5, 5), (8, 8), (9, 8)]


def test_every_attack_costs_a_hundredth(backend: str) -> None:
    """At a wall and at nothing; attackers stay where they are."""
    environment = set_out(backend, [(1, 5), (5, 5), (8, 5), (11, 5)])
    assert paid(act(environment, HIT_LEFT, HIT_UP, HIT_RIGHT, HIT_DOWN), 4) == [BLANK] * 4
    assert where(environment, 4) == [(1, 5), (5, 5), (8, 5), (11, 5)]


@pytest.mark.parametrize(
    ("attack", "cell"), [(HIT_UP, (5, 4)), (HIT_LEFT, (4, 5)), (HIT_RIGHT, (6, 5)), (HIT_DOWN, (5, 6))]
)
def test_attacks_strike_the_cell_beside(backend: str, attack: int, cell: tuple[int, int]) -> None:
    """Food pays 1 and an agent 2, less the effort; the one who is struck loses 4."""
    environment = set_out(backend, [(5, 5)], [cell])
    for _ in range(3):  # food stays
        assert paid(act(environment, attack), 1) == [EATEN]
    environment = set_out(backend, [(5, 5), cell])
    assert paid(act(environment, attack, STAY), 2) == [HIT, STRUCK]
    others = {HIT_UP, HIT_LEFT, HIT_RIGHT, HIT_DOWN} - {attack}
    for other in others:
        assert paid(act(environment, other), 2) == [BLANK, 0]


def test_mutual_hits(backend: str) -> None:
    environment = set_out(backend, [(5, 5), (6, 5)])
    assert paid(act(environment, HIT_RIGHT, HIT_LEFT), 2) == [BOTH, BOTH]


def test_four_on_one(backend: str) -> None:
    """The victim loses 16, and also attacks: here its left neighbour."""
    around = [(5, 5), (5, 4), (4, 5), (6, 5), (5, 6)]
    attacks = (HIT_DOWN, HIT_RIGHT, HIT_LEFT, HIT_UP)
    environment = set_out(backend, around)
    assert paid(act(environment, STAY, *attacks), 5) == [-16, HIT, HIT, HIT, HIT]
    assert paid(act(environment, HIT_LEFT, *attacks), 5) == [HIT_4, HIT, BOTH, HIT, HIT]
    assert environment.scores()["attacks_per_agent"] == pytest.approx(9 / 6)


def test_three_on_one_who_eats(backend: str) -> None:
    environment = set_out(backend, [(5, 5), (5, 4), (4, 5), (6, 5)], [(5, 6)])
    step = act(environment, HIT_DOWN, HIT_DOWN, HIT_RIGHT, HIT_LEFT)
    assert paid(step, 4) == [EATEN_3, HIT, HIT, HIT]


def test_whoever_walks_off_is_struck_all_the_same(backend: str) -> None:
    """And an agent that enters an attacked cell in the same step is not hit."""
    environment = set_out(backend, [(5, 5), (6, 5), (9, 8), (10, 9)])
    step = act(environment, HIT_RIGHT, DOWN, HIT_RIGHT, UP)
    assert paid(step, 4) == [HIT, STRUCK, BLANK, 0]
    assert where(environment, 4) == [(5, 5), (6, 6), (9, 8), (10, 8)]


def test_a_queue_moves_if_its_head_has_the_lower_number(backend: str) -> None:
    environment = set_out(backend, [(7, 5), (6, 5), (5, 5)])
    act(environment, RIGHT, RIGHT, RIGHT)
    assert where(environment, 3) == [(8, 5), (7, 5), (6, 5)]


def test_a_queue_only_sheds_its_head_otherwise(backend: str) -> None:
    environment = set_out(backend, [(5, 5), (6, 5), (7, 5)])
    act(environment, RIGHT, RIGHT, RIGHT)
    assert where(environment, 3) == [(5, 5), (6, 5), (8, 5)]
    act(environment, RIGHT, RIGHT, RIGHT)
    assert where(environment, 3) == [(5, 5), (7, 5), (9, 5)]


def test_two_agents_cannot_swap(backend: str) -> None:
    environment = set_out(backend, [(5, 5), (6, 5)])
    act(environment, RIGHT, LEFT)
    assert where(environment, 2) == [(5, 5), (6, 5)]


def test_nobody_turns_in_a_ring(backend: str) -> None:
    """Four on a square, each towards the next: the first finds its cell taken, and so do all."""
    ring = [(5, 5), (6, 5), (6, 6), (5, 6)]
    environment = set_out(backend, ring)
    act(environment, RIGHT, DOWN, LEFT, UP)
    assert where(environment, 4) == ring


def test_of_two_that_want_a_cell_the_lower_number_gets_it(backend: str) -> None:
    for cells, actions, ends in (
        ([(5, 5), (7, 5)], (RIGHT, LEFT), [(6, 5), (7, 5)]),
        ([(7, 5), (5, 5)], (LEFT, RIGHT), [(6, 5), (5, 5)]),
    ):
        environment = set_out(backend, cells)
        act(environment, *actions)
        assert where(environment, 2) == ends


def test_observation_by_hand(backend: str) -> None:
    """Agent 0 at (6, 7): the number of a cell of its view is 11 (dy + 5) + dx + 5."""
    agents = [(6, 7), (11, 7), (10, 10), (10, 11), (6, 2), (7, 6)]  # (4, 4) away is out of sight
    foods = [(3, 3), (2, 4), (9, 12), (6, 8)]  # (3, 5) away is out of sight
    environment = set_out(backend, agents, foods)
    seen = environment.place(environment.position, environment.food).observation[0, 0]
    expected = np.zeros(123, np.float32)
    expected[60] = 1  # itself
    expected[[65, 97, 5, 50]] = 1  # (5, 0), (4, 3), (0, -5), (1, -1)
    expected[[13, 23, 71]] = -1  # (-3, -4), (-4, -3), (0, 1)
    expected[121:] = np.array([7, 6], np.float32) / np.float32(18)
    assert seen.dtype == torch.float32
    assert np.array_equal(seen.numpy(), expected)


def test_all_that_is_seen_is_a_disc(backend: str) -> None:
    """One food on each of the 120 cells around an agent in turn: 80 of them are in sight, the corners are not."""
    offsets = [(dx, dy) for dy in range(-5, 6) for dx in range(-5, 6) if (dx, dy) != (0, 0)]
    environment = make("magent/jungle_6", len(offsets), backend)
    agents = torch.tensor([[(8, 8), *((x, 16) for x in range(1, 6))]] * len(offsets))
    foods = torch.tensor([[(8 + dx, 8 + dy), (14, 16), (15, 16), (16, 16)] for dx, dy in offsets])
    seen = environment.place(agents, foods).observation[:, 0, :121].view(-1, 11, 11)
    assert (seen < 0).sum() == 80
    for view, (dx, dy) in zip(seen, offsets, strict=True):
        assert view[dy + 5, dx + 5] == (-1 if dx**2 + dy**2 <= 25 else 0)


def test_walls_are_not_seen(backend: str) -> None:
    environment = set_out(backend, [(1, 1), (16, 1)])
    seen = act(environment).observation[0, :2, :121]
    assert seen.sum(-1).tolist() == [1, 1]
    assert seen[:, 60].tolist() == [1, 1]


def test_observations_follow_the_moves(backend: str) -> None:
    """What is seen is the state after the step, food as it was."""
    environment = set_out(backend, [(5, 5), (8, 5)], [(5, 8)])
    seen = act(environment, DOWN, RIGHT).observation[0, 0]
    assert seen[[60, 60 - 11 + 4, 60 + 22]].tolist() == [1, 1, -1]
    assert seen[:121].abs().sum() == 3
    assert torch.equal(seen[121:], torch.tensor([6.0, 5.0]) / 18)


def test_neighbours_are_the_nearest_lower_numbers_first(backend: str) -> None:
    """Squared distances: from agent 0: 9 to 1, 2 and 3, 2 to 4, 1 to 5; from 1: 9, 18, 36, 17, 10."""
    environment = set_out(backend, [(6, 6), (6, 9), (9, 6), (6, 3), (5, 5), (7, 6)])
    neighbours = act(environment).graph.neighbours[0]
    assert neighbours.dtype == torch.int64
    assert neighbours[0].tolist() == [5, 4, 1, 2]
    assert neighbours[1].tolist() == [0, 5, 4, 2]


def test_neighbours_follow_the_moves(backend: str) -> None:
    environment = set_out(backend, [(6, 6), (6, 8), (9, 6)], num_neighbours=1)
    assert act(environment).graph.neighbours[0, 0].tolist() == [1]
    act(environment, STAY, DOWN, LEFT)
    assert act(environment, STAY, DOWN, LEFT).graph.neighbours[0, 0].tolist() == [2]


def test_scores_add_up(backend: str) -> None:
    """Two meals, one hit, two misses, one of them at a wall: -0.05 + 2 + 2 - 4 for six agents together."""
    environment = set_out(backend, [(1, 5), (5, 5), (6, 5)], [(5, 6)])
    act(environment, HIT_LEFT, HIT_DOWN, STAY)
    act(environment, HIT_UP, HIT_DOWN, HIT_LEFT)
    scores = {name: float(value) for name, value in environment.scores().items()}
    assert scores == pytest.approx(
        {
            "return": -0.05,
            "return_per_agent": -0.05 / 6,
            "food_per_agent": 2 / 6,
            "attacks_per_agent": 1 / 6,
            "misses_per_agent": 2 / 6,
        },
        abs=1e-6,
    )
