"""Frames of Jungle show who stands where, and what everyone did in the last step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import envs
from envs.canvas import GREY, PAGE, WHITE, Colour, margin
from envs.drawing import draw
from envs.jungle.drawing import (
    AGENT_COLOUR,
    DISC,
    EATING_COLOUR,
    FOOD_COLOUR,
    GAP,
    HIT_COLOUR,
    MISS_COLOUR,
    RING,
    TAIL_COLOUR,
    TRACE_COLOUR,
    WALL_COLOUR,
    View,
    caption,
    neighbour_pairs,
    outcomes_of,
)
from envs.jungle.environment import JungleEnvironment
from envs.jungle.rules import DOWN, HIT_DOWN, HIT_LEFT, HIT_RIGHT, HIT_UP, NUM_ACTIONS, NUM_MOVES, RIGHT, STAY

SIZE = 480
FOOD = ((3, 3), (12, 3), (15, 15), (2, 15))
AWAY = ((8, 15), (10, 15), (12, 15), (6, 15))
"""Cells of food and of agents that do not matter, of the six agents of the small task; rows are counted downwards."""
RING_MIDDLE = (RING + GAP) / 2 * DISC
"""Radius of a ring, in cells."""


def make(task: str = "magent/jungle_6", num_envs: int = 1, backend: str = "auto") -> JungleEnvironment:
    if backend == "magent2":
        pytest.importorskip("magent2", reason="the original engine is not installed")
    environment = envs.make(task, num_envs, backend=backend)
    assert isinstance(environment, JungleEnvironment)
    return environment


def scene(agents: tuple[tuple[int, int], ...], actions: tuple[int, ...]) -> JungleEnvironment:
    """The small task after one step from given cells; the agents that are not given stay aside."""
    environment, others = make(), 6 - len(agents)
    agents, actions = agents + AWAY[:others], actions + (STAY,) * others
    environment.place(torch.tensor([agents]), torch.tensor([FOOD]))
    environment.step(torch.tensor([actions]))
    return environment


def pixel(environment: JungleEnvironment, frame: np.ndarray, x: float, y: float) -> Colour:
    """The colour at a place given in cells; whole numbers are the middle of a cell."""
    column, row = View(len(frame), environment.jungle.side).pixels(np.array((x, y)))
    red, green, blue = frame[int(row), int(column)].tolist()
    return red, green, blue


def ringed(environment: JungleEnvironment, frame: np.ndarray, x: int, y: int) -> bool:
    """Whether a ring is around the middle of a cell: at its four corners."""
    reach = RING_MIDDLE / np.sqrt(2)
    colours = [pixel(environment, frame, x + dx, y + dy) for dx in (-reach, reach) for dy in (-reach, reach)]
    return all(np.abs(np.subtract(colour, HIT_COLOUR)).max() < 60 for colour in colours)


@pytest.mark.parametrize("task", ["magent/jungle_6", "magent/jungle_20", "magent/jungle_100"])
@pytest.mark.parametrize("size", [64, 200, 333])
def test_frames_are_square_images_that_change_with_the_state(task: str, size: int) -> None:
    environment = make(task)
    environment.reset(seed=0)
    first, again = draw(environment, size=size), draw(environment, size=size)
    assert (first.shape, first.dtype) == ((size, size, 3), np.uint8)
    assert np.array_equal(first, again)
    assert tuple(first[0, 0]) == PAGE
    environment.step(torch.full((1, environment.spec.num_agents), HIT_UP))
    assert not np.array_equal(draw(environment, size=size), first)


def test_the_view_holds_the_map_with_its_wall() -> None:
    view = View(SIZE, 30)
    assert view.cell == pytest.approx(400 / 30)
    assert np.allclose(view.pixels(np.array([-0.5, -0.5])), margin(SIZE))
    assert np.allclose(view.pixels(np.array([29.5, 29.5])), SIZE - margin(SIZE))
    assert np.allclose(
        view.pixels(np.array([0, 29])), (margin(SIZE) + view.cell / 2, SIZE - margin(SIZE) - view.cell / 2)
    )


@pytest.mark.parametrize("task", ["magent/jungle_6", "magent/jungle_20", "magent/jungle_100"])
def test_everything_is_on_its_cell(task: str) -> None:
    environment = make(task)
    environment.reset(seed=1)
    frame, side = draw(environment, size=SIZE), environment.jungle.side
    expected = np.full((side, side, 3), WHITE)
    expected[[0, -1]] = expected[:, [0, -1]] = WALL_COLOUR
    for cells, colour in ((environment.position, AGENT_COLOUR), (environment.food, FOOD_COLOUR)):
        columns, rows = cells[0].T.numpy()
        expected[rows, columns] = colour
    rows, columns = np.mgrid[:side, :side]
    pixels = View(SIZE, side).pixels(np.stack((columns, rows), axis=-1)).astype(int)
    assert np.array_equal(frame[pixels[..., 1], pixels[..., 0]], expected)


@pytest.mark.parametrize("backend", ["numba", "torch", "magent2"])
def test_deeds_account_for_every_payment(backend: str) -> None:
    """What is drawn is what was paid for, in a crowd with all kinds of attacks, on every engine."""
    environment, generator = make(num_envs=2, backend=backend), torch.Generator().manual_seed(0)
    kinds = np.zeros(4)
    for _ in range(8):
        cells = torch.stack([torch.randperm(16, generator=generator)[:10] for _ in range(2)])
        cells = torch.stack((5 + cells % 4, 5 + cells // 4), dim=-1)
        environment.place(cells[:, :6], cells[:, 6:])
        for _ in range(environment.spec.episode_length):
            before, counts = environment.position.numpy(), environment.scores()
            actions = torch.randint(NUM_ACTIONS, (2, 6), generator=generator)
            step = environment.step(actions)
            gained = {name: 6 * (value - counts[name]).numpy() for name, value in environment.scores().items()}
            for copy in range(2):
                outcomes = outcomes_of(environment, copy)
                received = np.bincount(outcomes.victim[outcomes.hits], minlength=6)
                pay = -0.01 * (actions[copy].numpy() >= NUM_MOVES) + outcomes.eats + 2 * outcomes.hits - 4 * received
                assert np.allclose(pay, step.reward[copy].numpy(), atol=1e-5)
                assert np.array_equal(outcomes.left, before[copy])
                assert np.array_equal(outcomes.is_hit, received > 0)
                found = [outcomes.eats.sum(), outcomes.hits.sum(), outcomes.misses.sum()]
                assert np.allclose(found, [gained[f"{what}_per_agent"][copy] for what in ("food", "attacks", "misses")])
                moved = (environment.position[copy].numpy() != before[copy]).any(1)
                kinds += [*found, (outcomes.is_hit & moved).sum()]
    assert (kinds > 20).all(), "all kinds have happened: meals, hits, misses, victims that left"


def test_one_that_eats() -> None:
    environment = scene(((4, 3), (12, 4)), (HIT_LEFT, STAY))
    frame = draw(environment, size=SIZE)
    assert pixel(environment, frame, 4, 3) == EATING_COLOUR
    assert pixel(environment, frame, 4 - 0.7 * DISC, 3.0) == AGENT_COLOUR
    assert pixel(environment, frame, 3.5, 3) == FOOD_COLOUR, "a line to the food"
    assert pixel(environment, frame, 12, 4) == AGENT_COLOUR, "beside food, but does not eat"
    assert pixel(environment, frame, 12, 3.45) == WHITE
    assert not (frame == HIT_COLOUR).all(-1)[: -int(margin(SIZE))].any()


def test_one_that_hits_another() -> None:
    environment = scene(((6, 8), (7, 8), (12, 8)), (HIT_RIGHT, STAY, STAY))
    frame = draw(environment, size=SIZE)
    assert pixel(environment, frame, 6, 8) == HIT_COLOUR
    assert pixel(environment, frame, 7 + 0.5 * DISC, 8) == AGENT_COLOUR
    assert pixel(environment, frame, 6.5, 8) == HIT_COLOUR, "a wedge between them"
    assert pixel(environment, frame, 7 - 0.7 * DISC, 8) == HIT_COLOUR, "that ends on the victim"
    assert ringed(environment, frame, 7, 8)
    assert not ringed(environment, frame, 6, 8)
    assert not ringed(environment, frame, 12, 8)


def test_those_who_hit_each_other_are_marked_as_both() -> None:
    environment = scene(((6, 8), (7, 8)), (HIT_RIGHT, HIT_LEFT))
    frame = draw(environment, size=SIZE)
    for x in (6, 7):
        assert pixel(environment, frame, x, 8) == HIT_COLOUR
        assert ringed(environment, frame, x, 8)


def test_a_victim_that_left_is_ringed_where_it_is() -> None:
    """The attack was not a miss, and an agent that has since moved to that cell was not hit."""
    environment = scene(((9, 10), (9, 9), (8, 9)), (HIT_UP, RIGHT, RIGHT))
    assert environment.position[0, 1:3].tolist() == [[10, 9], [9, 9]]
    frame = draw(environment, size=SIZE)
    assert ringed(environment, frame, 10, 9)
    assert not ringed(environment, frame, 9, 9)
    assert pixel(environment, frame, 9, 9) == AGENT_COLOUR
    assert pixel(environment, frame, 9, 9 + 0.8 * DISC) == AGENT_COLOUR, "the wedge ends below its disc"
    assert pixel(environment, frame, 9, 10) == HIT_COLOUR
    assert not (frame == MISS_COLOUR).all(-1)[margin_rows()].any()
    empty = scene(((9, 10), (9, 9)), (HIT_UP, RIGHT))
    frame = draw(empty, size=SIZE)
    assert pixel(empty, frame, 9, 9.3) == HIT_COLOUR, "a wedge to the cell that is free now"
    assert ringed(empty, frame, 10, 9)
    assert (frame == TRACE_COLOUR).all(-1).any(), "its tail"
    assert not (frame == TAIL_COLOUR).all(-1).any()


def margin_rows() -> slice:
    """Rows of the white square, without words, legend and bar."""
    return slice(int(margin(SIZE)), SIZE - int(margin(SIZE)))


def test_a_blow_at_nothing_is_small_and_grey() -> None:
    environment = scene(((6, 8), (1, 5)), (HIT_DOWN, HIT_LEFT))
    frame = draw(environment, size=SIZE)
    for agent, struck in (((6, 8), (6, 8.6)), ((1, 5), (0.55, 5))):
        assert pixel(environment, frame, *agent) == AGENT_COLOUR
        assert pixel(environment, frame, *struck) == MISS_COLOUR
    assert pixel(environment, frame, 6, 9) == WHITE
    assert not (frame == HIT_COLOUR).all(-1)[margin_rows()].any()


def test_those_that_moved_have_tails() -> None:
    environment = scene(((6, 8), (9, 8), (9, 9)), (RIGHT, DOWN, STAY))
    frame = draw(environment, size=SIZE)
    assert pixel(environment, frame, 7, 8) == AGENT_COLOUR
    assert pixel(environment, frame, 6.5, 8) == TAIL_COLOUR
    assert pixel(environment, frame, 9, 8) == AGENT_COLOUR, "another one was in the way"
    assert (frame == TAIL_COLOUR).all(-1).any(0).sum() < View(SIZE, environment.jungle.side).cell, "one tail"


def test_nothing_was_done_at_the_beginning() -> None:
    environment = make()
    environment.reset(seed=0)
    first = draw(environment, size=SIZE)
    environment.step(torch.full((1, 6), HIT_UP))
    environment.reset(seed=0)
    assert environment.last_position is None
    assert np.array_equal(draw(environment, size=SIZE), first)
    outcomes = outcomes_of(environment, 0)
    assert not (outcomes.eats | outcomes.hits | outcomes.misses | outcomes.is_hit).any()


def test_deeds_after_a_state_was_loaded() -> None:
    """Those before it are not known; those after it are, whatever callers do with observations."""
    first, second = make(num_envs=2), make(num_envs=2)
    first.reset(seed=0)
    first.step(torch.full((2, 6), RIGHT))
    second.load_state_dict(first.state_dict())
    assert not outcomes_of(second, 1).misses.any()
    step = first.step(torch.full((2, 6), DOWN))
    second.step(torch.full((2, 6), DOWN)).observation.fill_(0)
    assert np.array_equal(draw(first, 1, SIZE), draw(second, 1, SIZE))
    step.observation.fill_(0)
    before = first.position
    first.step(torch.full((2, 6), HIT_UP))
    assert torch.equal(torch.as_tensor(first.last_position), before)


def test_copies_and_engines_are_drawn_alike() -> None:
    frames = []
    for backend in ("numba", "torch"):
        pair, generator = make("magent/jungle_20", 2, backend), torch.Generator().manual_seed(0)
        pair.reset(seed=4)
        assert not (draw(pair, 1, SIZE) == TAIL_COLOUR).all(-1).any(), "no agent has moved"
        for _ in range(6):
            pair.step(torch.randint(NUM_ACTIONS, (2, 20), generator=generator))
        frames.append([draw(pair, copy, SIZE) for copy in range(2)])
    assert np.array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[0][0], frames[0][1])


def test_words_above_the_map() -> None:
    environment = make("magent/jungle_20", 2)
    environment.reset(seed=0)
    reference = envs.reference_policies("magent/jungle_20")["aggressor"](environment)
    for _ in range(9):
        environment.step(reference.act(torch.Generator()))
    scores = {name: value[1].item() for name, value in environment.scores().items()}
    (name, first), (_, second) = caption(environment, 1)
    assert name == "jungle 20"
    assert first == f"step 9 of 25    return {scores['return']:.1f}"
    meals, hits = round(20 * scores["food_per_agent"]), round(20 * scores["attacks_per_agent"])
    assert second == f"food {meals}    hits {hits}    misses 0"
    assert min(meals, hits) > 10
    bar = (draw(environment, size=SIZE)[-1] == GREY).all(-1).sum()
    assert bar == round(SIZE * 9 / 25)


def test_neighbours_are_joined_by_lines() -> None:
    environment = make("magent/jungle_20")
    neighbours = environment.reset(seed=2).graph.neighbours[0].tolist()
    expected = {(min(i, j), max(i, j)) for i, others in enumerate(neighbours) for j in others}
    assert neighbour_pairs(environment.position[0].numpy(), 4) == sorted(expected)
    small = scene(((2, 8), (7, 8)), (STAY, STAY))
    plain, linked = draw(small, size=SIZE), draw(small, size=SIZE, neighbours=True)
    assert pixel(small, plain, 4.25, 8) == WHITE
    assert pixel(small, linked, 4.25, 8) != WHITE
    assert pixel(small, linked, 7, 8) == AGENT_COLOUR


def test_what_cannot_be_drawn_is_refused() -> None:
    environment = make()
    with pytest.raises(RuntimeError, match="call reset"):
        draw(environment)
    environment.reset(seed=0)
    with pytest.raises(ValueError, match="copy must be between 0 and 0, not 1"):
        draw(environment, copy=1)
