"""Frames of particle tasks show every entity where it is, in its colour."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import envs
from envs.canvas import BLUE, GREY, INK, MARGIN, ORANGE, PAGE, WHITE, Colour
from envs.drawing import draw
from envs.mpe.drawing import BALL_COLOUR, KIND_COLOURS, OBSTACLE_COLOUR, PREY_COLOUR, view_of
from envs.mpe.environment import ParticleEnvironment
from envs.mpe.scenarios import scenario

FAMILIES = (
    "mpe/cooperative_navigation_3",
    "mpe/heterogeneous_navigation_4",
    "mpe/cooperative_push_3",
    "mpe/prey_and_predator_3",
)
SIZE = 400
FAR = 0.9


def make(task: str, num_envs: int = 1) -> ParticleEnvironment:
    environment = envs.make(task, num_envs)
    assert isinstance(environment, ParticleEnvironment)
    return environment


def place(environment: ParticleEnvironment, *positions: tuple[float, float]) -> None:
    """Put all entities at rest at the given places, in half widths."""
    half_width = view_of(environment.scenario, SIZE).half_width
    position = torch.tensor([positions]) * half_width
    environment.set_state(position, torch.zeros_like(position))


def pixel(environment: ParticleEnvironment, frame: np.ndarray, x: float, y: float) -> Colour:
    """The colour at a place given in half widths."""
    view = view_of(environment.scenario, len(frame))
    column, row = view.pixels(np.array((x, y)) * view.half_width)
    red, green, blue = frame[int(row), int(column)].tolist()
    return red, green, blue


@pytest.mark.parametrize("task", FAMILIES)
@pytest.mark.parametrize("size", [64, 200, 333])
def test_frames_are_square_images_that_change_with_the_state(task: str, size: int) -> None:
    environment = make(task)
    environment.reset(seed=0)
    first, again = draw(environment, size=size), draw(environment, size=size)
    assert (first.shape, first.dtype) == ((size, size, 3), np.uint8)
    assert np.array_equal(first, again)
    environment.step(torch.ones(1, environment.spec.num_agents, dtype=torch.int64))
    environment.step(torch.ones(1, environment.spec.num_agents, dtype=torch.int64))
    assert not np.array_equal(draw(environment, size=size), first)


def test_the_view_maps_the_world_upright() -> None:
    view = view_of(scenario("mpe/cooperative_navigation_30"), 480)
    assert view.half_width == 3.0
    assert np.allclose(view.pixels(np.array([0.0, 0.0])), (240, 240))
    assert np.allclose(view.pixels(np.array([3.0, 3.0]) * MARGIN), (480, 0))
    assert np.allclose(view.pixels(np.array([-3.0, 0.0]) * MARGIN), (0, 240))


def test_agents_and_landmarks_of_navigation() -> None:
    environment = make("mpe/heterogeneous_navigation_4")
    agents = ((-0.5, 0.5), (0.5, 0.5), (-0.5, -0.5), (0.5, -0.5))
    landmarks = ((0.0, FAR), (0.5, 0.5), (0.0, 0.2), (0.0, -FAR))
    place(environment, *agents, *landmarks)
    frame = draw(environment, size=SIZE)
    edge = 0.07  # inside the discs of kind 0 (radius 0.1), outside those of kind 1 (radius 0.05)
    assert pixel(environment, frame, -0.5, 0.5) == KIND_COLOURS[0] == BLUE
    assert pixel(environment, frame, 0.5 + edge, 0.5) == BLUE
    assert pixel(environment, frame, 0.5, 0.5) == WHITE, "a reached landmark is a white dot"
    assert pixel(environment, frame, 0.5, -0.5) == KIND_COLOURS[1] == ORANGE
    assert pixel(environment, frame, -0.5 + edge, -0.5) == WHITE
    assert pixel(environment, frame, 0.0, 0.2) == WHITE, "a free landmark is hollow"
    ring = frame[..., 0][tuple(near(environment, 0.0, 0.2))]
    assert ring.min() < 60, "and has a dark outline"
    assert pixel(environment, frame, 1.1, 1.0) == PAGE


def near(environment: ParticleEnvironment, x: float, y: float) -> tuple[slice, slice]:
    """A window of 25 x 25 pixels around a place given in half widths."""
    view = view_of(environment.scenario, SIZE)
    column, row = view.pixels(np.array((x, y)) * view.half_width).astype(int)
    return slice(row - 12, row + 13), slice(column - 12, column + 13)


def test_touching_agents_have_a_dark_rim() -> None:
    environment = make("mpe/cooperative_navigation_3")
    away = ((FAR, FAR), (FAR, 0.0), (FAR, -FAR))
    place(environment, (0.0, 0.0), (0.09, 0.0), (-FAR, 0.0), *away)  # 0.27 world units apart, radii 0.15
    window = near(environment, 0.0, 0.0)
    together = draw(environment, size=SIZE)[window]
    place(environment, (0.0, 0.0), (0.11, 0.0), (-FAR, 0.0), *away)  # 0.33 world units apart
    apart = draw(environment, size=SIZE)[window]
    assert (together == INK).all(-1).any()
    assert not (apart == INK).all(-1).any()


def test_ball_and_target_of_push() -> None:
    environment = make("mpe/cooperative_push_3")
    place(environment, (-FAR, 0.0), (-FAR, 0.5), (-FAR, -0.5), (0.3, 0.3), (0.3, -0.5))
    frame = draw(environment, size=SIZE)
    assert pixel(environment, frame, -FAR, 0.5) == BLUE
    assert pixel(environment, frame, 0.38, 0.3) == BALL_COLOUR
    assert pixel(environment, frame, 0.3, -0.5)[0] < 60, "a dark cross"
    assert pixel(environment, frame, 0.36, -0.56) == WHITE, "inside a hollow ring"


def test_prey_and_obstacles() -> None:
    environment = make("mpe/prey_and_predator_3")
    held, free = (0.5, 0.5), (0.0, 0.0)
    for prey, caught in ((held, True), (free, False)):
        place(environment, (0.5, 0.4), (-FAR, 0.0), (-FAR, 0.5), prey, (0.5, -0.5), (-0.5, -0.5))
        frame = draw(environment, size=SIZE)
        assert pixel(environment, frame, *prey) == PREY_COLOUR
        assert pixel(environment, frame, 0.6, -0.6) == OBSTACLE_COLOUR
        assert (frame[near(environment, *prey)] == INK).all(-1).any() == caught


def test_an_entity_outside_the_view_is_a_pointer_on_the_border() -> None:
    environment = make("mpe/cooperative_push_3")
    place(environment, (5.0, 0.0), (-FAR, 0.5), (-FAR, -0.5), (0.0, 0.0), (0.0, -0.5))
    border = draw(environment, size=SIZE)[:, -6:]
    rows = np.flatnonzero((border == BLUE).all(-1).any(1))
    assert rows.size
    assert abs(rows.mean() - SIZE / 2) < 2


def test_a_bar_shows_how_much_of_the_episode_is_over() -> None:
    environment = make("mpe/cooperative_navigation_3")
    environment.reset(seed=0)
    lengths = []
    for _ in range(environment.spec.episode_length):
        lengths.append((draw(environment, size=SIZE)[-1] == GREY).all(-1).sum())
        environment.step(torch.zeros(1, 3, dtype=torch.int64))
    assert np.array_equal(lengths, 16 * np.arange(25))
    assert (draw(environment, size=SIZE)[-1] == GREY).all()


def test_neighbours_add_lines_and_nothing_else() -> None:
    environment = make("mpe/cooperative_push_3")
    place(environment, (-0.8, 0.8), (0.8, 0.8), (-0.8, -0.8), (0.0, -0.2), (0.5, -0.2))
    plain, linked = draw(environment, size=SIZE), draw(environment, size=SIZE, neighbours=True)
    assert pixel(environment, plain, 0.0, 0.8) == WHITE
    assert pixel(environment, linked, 0.0, 0.8) != WHITE
    assert pixel(environment, linked, -0.8, 0.8) == BLUE


def test_copies_are_drawn_one_by_one() -> None:
    pair, second = make("mpe/cooperative_navigation_3", 2), make("mpe/cooperative_navigation_3")
    pair.reset(seed=4)
    second.reset(seed=4)
    assert np.array_equal(draw(pair, 0, SIZE), draw(second, 0, SIZE))
    second.reset()
    assert np.array_equal(draw(pair, 1, SIZE), draw(second, 0, SIZE))


def test_what_cannot_be_drawn_is_refused() -> None:
    environment = make("mpe/cooperative_navigation_3")
    with pytest.raises(RuntimeError, match="call reset"):
        draw(environment)
    environment.reset(seed=0)
    with pytest.raises(ValueError, match="copy must be between 0 and 0, not 1"):
        draw(environment, copy=1)
    for size in (63, 2001, 100.0):
        with pytest.raises(ValueError, match="size must be"):
            draw(environment, size=size)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"particle \(mpe/...\), traffic \(cityflow/...\) and Jungle .* not str"):
        draw("mpe/cooperative_navigation_3")  # type: ignore[arg-type]
