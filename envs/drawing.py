"""Pictures of particle tasks: what one copy of an environment looks like now.

    frame = draw(environment, size=480)

Positions are exact; discs are drawn in their true size unless that is too small to see. The view is the square in which
entities start, with a margin, and stays the same throughout: an entity that leaves it is shown as a small triangle on
the border. The colours are those of Okabe and Ito, which people with any common colour vision tell apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from envs.mpe.environment import ParticleEnvironment
from envs.mpe.graph import nearest_agents_torch
from envs.mpe.scenarios import NavigationReward, PushReward, Scenario, TagReward
from envs.protocols import Environment

Colour = tuple[int, int, int]
Point = tuple[float, float]
"""Column and row in an image."""

BLUE, ORANGE, GREEN, PURPLE = (0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167)
WHITE, INK, MUTED, GREY = (255, 255, 255), (32, 37, 43), (99, 107, 118), (176, 183, 192)
PAGE, EDGE, LINK = (240, 242, 245), (216, 221, 228), (186, 196, 208)
KIND_COLOURS: tuple[Colour, ...] = (BLUE, ORANGE, GREEN, PURPLE)
"""Of agents, by kind."""
PREY_COLOUR, BALL_COLOUR, OBSTACLE_COLOUR = ORANGE, PURPLE, GREY
PALETTE: tuple[Colour, ...] = (*KIND_COLOURS, WHITE, INK, MUTED, GREY, PAGE, EDGE, LINK)
"""All colours; frames hold them and their mixtures at edges."""

MARGIN = 1.2
"""Half width of the view over that of the square in which entities start."""
SUPERSAMPLING = 3
"""Frames are drawn this many times larger and averaged, which smooths the edges."""
SMALLEST, LARGEST = 64, 2000
"""Sides of frames, in pixels."""
REFERENCE = 480
"""Side of the frame for which the pixel sizes below are meant; they grow with the frame."""
DISC_RADIUS, LANDMARK_RADIUS, RIM, STROKE, FONT_SIZE = 3.6, 3.2, 0.9, 1.4, 13.0
TAIL_SECONDS = 0.15
"""Length of the tail behind a moving disc, in world seconds of its velocity."""


@dataclass(frozen=True, slots=True)
class View:
    """The square of the world that a square frame shows; y points up in the world and down in the frame."""

    size: int
    """Side of the frame in pixels."""
    half_width: float
    """Of the square in which entities start, in world units."""

    @property
    def scale(self) -> float:
        """Pixels per world unit."""
        return self.size / (2 * MARGIN * self.half_width)

    @property
    def unit(self) -> float:
        """Pixels per pixel of a reference frame."""
        return self.size / REFERENCE

    def pixels(self, position: np.ndarray) -> np.ndarray:
        """Column and row (..., 2), with fractions, of world positions (..., 2); pixel centres are at one half."""
        return self.size / 2 + np.asarray(position, dtype=np.float64) * (self.scale, -self.scale)


def view_of(scenario: Scenario, size: int) -> View:
    """The view of all frames of a task. Raises ValueError for a size outside `SMALLEST` to `LARGEST`."""
    if isinstance(size, bool) or not isinstance(size, int) or not SMALLEST <= size <= LARGEST:
        raise ValueError(f"size must be a whole number of {SMALLEST} to {LARGEST} pixels, not {size!r}")
    return View(size, max(placement.half_width for placement in scenario.placements))


def draw(environment: Environment, copy: int = 0, size: int = REFERENCE, neighbours: bool = False) -> np.ndarray:
    """A frame (size, size, 3), uint8, of one copy; `neighbours` adds a line from every agent to those it hears.

    Shows the present step and the return so far. Raises TypeError for an environment that is not a particle task,
    ValueError for a copy or size out of range, RuntimeError before the first `reset`.
    """
    if not isinstance(environment, ParticleEnvironment):
        raise TypeError(f"only particle environments (mpe/...) can be drawn, not {type(environment).__name__}")
    if not 0 <= copy < environment.num_envs:
        raise ValueError(f"copy must be between 0 and {environment.num_envs - 1}, not {copy}")
    view = view_of(environment.scenario, size)
    time = environment.state_dict()["time"]
    if time is None:
        raise RuntimeError("there is nothing to draw yet: call reset() first")
    position = environment.position[copy].cpu().numpy().astype(np.float64)
    velocity = environment.velocity[copy].cpu().numpy().astype(np.float64)
    brush = Brush(_background(view, environment.scenario).copy(), view)
    if neighbours:
        _draw_links(brush, position[: environment.spec.num_agents], environment.spec.max_neighbours)
    _draw_entities(brush, environment.scenario, position, velocity)
    frame = brush.image.reduce(SUPERSAMPLING)
    length, score = environment.spec.episode_length, environment.scores()["return"][copy].item()
    _write(frame, view, environment.scenario, f"step {time} of {length}    return {score:,.1f}")
    _draw_progress(frame, view, time / length)
    return np.asarray(frame).copy()


class Brush:
    """Draws shapes given in world units into an image `SUPERSAMPLING` times the size of the view."""

    def __init__(self, image: Image.Image, view: View) -> None:
        self.image, self.view = image, view
        self._draw = ImageDraw.Draw(image)
        self._pixel = SUPERSAMPLING * view.unit

    def radius(self, world_units: float, smallest: float) -> float:
        """A radius in image pixels: true, but at least `smallest` pixels of a reference frame."""
        return max(world_units * self.view.scale * SUPERSAMPLING, smallest * self._pixel)

    def at(self, position: np.ndarray) -> Point:
        """Image coordinates of one position; whole numbers are pixel centres there."""
        column, row = self.view.pixels(position) * SUPERSAMPLING - 0.5
        return column, row

    def disc(self, centre: Point, radius: float, fill: Colour, rim: Colour = WHITE) -> None:
        """A filled disc inside a thin rim, which sets it apart from discs below."""
        self._ellipse(centre, radius + RIM * self._pixel * (1 if rim == WHITE else 2), rim)
        self._ellipse(centre, radius, fill)

    def dot(self, centre: Point, radius: float, fill: Colour) -> None:
        """A filled disc without a rim."""
        self._ellipse(centre, radius, fill)

    def ring(self, centre: Point, radius: float, colour: Colour) -> None:
        """A circle."""
        box = (centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius)
        self._draw.ellipse(box, outline=colour, width=round(STROKE * self._pixel))

    def diamond(self, centre: Point, radius: float, fill: Colour, rim: Colour = WHITE) -> None:
        """A square on its corner inside a thin rim."""
        x, y = centre
        for reach, colour in ((radius + 1.4 * RIM * self._pixel * (1 if rim == WHITE else 2), rim), (radius, fill)):
            self._draw.polygon(((x - reach, y), (x, y - reach), (x + reach, y), (x, y + reach)), fill=colour)

    def cross(self, centre: Point, radius: float, colour: Colour) -> None:
        """An upright cross."""
        (x, y), width = centre, round(STROKE * self._pixel)
        self._draw.line(((x - radius, y), (x + radius, y)), fill=colour, width=width)
        self._draw.line(((x, y - radius), (x, y + radius)), fill=colour, width=width)

    def line(self, start: Point, end: Point, colour: Colour, width: float) -> None:
        """A straight line, `width` reference pixels wide."""
        self._draw.line((start, end), fill=colour, width=max(1, round(width * self._pixel)))

    def wedge(self, tip: Point, base: Point, half_width: float, colour: Colour) -> None:
        """A triangle that widens from its tip to `half_width` image pixels either side of its base."""
        along = np.subtract(base, tip)
        across = np.array((-along[1], along[0])) * (half_width / max(float(np.linalg.norm(along)), 1e-9))
        self._draw.polygon([tip, tuple(base + across), tuple(base - across)], fill=colour)

    def text(self, at: Point, words: str, colour: Colour) -> float:
        """Words to the right of a point, halfway up; returns the column where they end."""
        font = _font(round(font_size(self.view) * SUPERSAMPLING))
        self._draw.text(at, words, colour, font, anchor="lm")
        return at[0] + self._draw.textlength(words, font)

    def pointer(self, position: np.ndarray, fill: Colour) -> bool:
        """For a position outside the view, a triangle on the border that points to it; False for one inside."""
        limit = MARGIN * self.view.half_width
        if np.abs(position).max() <= limit:
            return False
        tip = np.array(self.at(position * (limit / np.abs(position).max())))
        along = np.array((position[0], -position[1])) * (9 * self._pixel / np.linalg.norm(position))
        self.wedge(tuple(tip), tuple(tip - along), 4.5 * self._pixel, fill)
        return True

    def _ellipse(self, centre: Point, radius: float, fill: Colour) -> None:
        x, y = centre
        self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def _draw_links(brush: Brush, agents: np.ndarray, count: int) -> None:
    heard = nearest_agents_torch(torch.from_numpy(agents)[None], count)[0].tolist()
    pairs = {(min(i, j), max(i, j)) for i, others in enumerate(heard) for j in others}
    points = [brush.at(position) for position in agents]
    for i, j in sorted(pairs):
        brush.line(points[i], points[j], LINK, 0.8)


def _draw_entities(brush: Brush, scenario: Scenario, position: np.ndarray, velocity: np.ndarray) -> None:
    rule, agents = scenario.reward, range(scenario.num_agents)
    colours: dict[int, Colour] = {agent: KIND_COLOURS[scenario.kinds[agent] % len(KIND_COLOURS)] for agent in agents}
    if isinstance(rule, PushReward):
        colours[rule.ball] = BALL_COLOUR
    elif isinstance(rule, TagReward):
        colours |= dict.fromkeys(rule.prey, PREY_COLOUR)
        for obstacle in range(rule.prey.stop, scenario.num_entities):
            radius = brush.radius(scenario.size[obstacle], DISC_RADIUS)
            brush.disc(brush.at(position[obstacle]), radius, OBSTACLE_COLOUR)
    for entity, colour in colours.items():
        _draw_tail(brush, scenario.size[entity], position[entity], velocity[entity], colour)
    if isinstance(rule, NavigationReward):
        _draw_navigation(brush, scenario, rule, position, colours)
    elif isinstance(rule, PushReward):
        _draw_push(brush, scenario, rule, position, colours)
    else:
        _draw_tag(brush, scenario, rule, position, colours)
    for entity, colour in colours.items():
        brush.pointer(position[entity], colour)


def _draw_navigation(
    brush: Brush, scenario: Scenario, rule: NavigationReward, position: np.ndarray, colours: dict[int, Colour]
) -> None:
    """Landmarks are rings, and white dots on the agents that stand on them; agents that touch have a dark rim."""
    agents, landmarks = position[: scenario.num_agents], position[rule.landmarks.start : rule.landmarks.stop]
    size = np.array(scenario.size[: scenario.num_agents])
    touching = _distance(agents, agents) < size[:, None] + size
    np.fill_diagonal(touching, False)
    reached = (_distance(landmarks, agents) < size).any(1)
    radii = [brush.radius(scenario.size[entity], LANDMARK_RADIUS) for entity in rule.landmarks]
    for landmark, radius in zip(landmarks[~reached], np.array(radii)[~reached], strict=True):
        brush.dot(brush.at(landmark), radius, WHITE)
        brush.ring(brush.at(landmark), radius, INK)
    for agent, touched in enumerate(touching.any(1)):
        radius = brush.radius(size[agent], DISC_RADIUS)
        brush.disc(brush.at(agents[agent]), radius, colours[agent], INK if touched else WHITE)
    for landmark, radius in zip(landmarks[reached], np.array(radii)[reached], strict=True):
        brush.dot(brush.at(landmark), 0.5 * radius, WHITE)


def _draw_push(
    brush: Brush, scenario: Scenario, rule: PushReward, position: np.ndarray, colours: dict[int, Colour]
) -> None:
    """The target is a ring of the size of the ball, with a cross at its centre."""
    ball, target = brush.at(position[rule.ball]), brush.at(position[rule.target])
    radius = brush.radius(scenario.size[rule.ball], DISC_RADIUS)
    brush.line(ball, target, GREY, 1.0)
    brush.disc(ball, radius, BALL_COLOUR)
    brush.ring(target, radius, INK)
    brush.cross(target, brush.radius(scenario.size[rule.target], LANDMARK_RADIUS), INK)
    for agent in range(scenario.num_agents):
        brush.disc(brush.at(position[agent]), brush.radius(scenario.size[agent], DISC_RADIUS), colours[agent])


def _draw_tag(
    brush: Brush, scenario: Scenario, rule: TagReward, position: np.ndarray, colours: dict[int, Colour]
) -> None:
    """Prey are diamonds, with a dark rim while a predator holds them."""
    prey, predators = position[rule.prey.start : rule.prey.stop], position[: scenario.num_agents]
    caught = np.any(_distance(prey, predators) < rule.capture_distance, axis=1).tolist()
    for agent, predator in enumerate(predators):
        brush.disc(brush.at(predator), brush.radius(scenario.size[agent], DISC_RADIUS), colours[agent])
    for entity, held in zip(rule.prey, caught, strict=True):
        radius = brush.radius(scenario.size[entity], DISC_RADIUS)
        brush.diamond(brush.at(position[entity]), 1.25 * radius, PREY_COLOUR, INK if held else WHITE)


def _draw_tail(brush: Brush, size: float, position: np.ndarray, velocity: np.ndarray, colour: Colour) -> None:
    start = brush.at(position - TAIL_SECONDS * velocity)
    brush.wedge(start, brush.at(position), brush.radius(size, DISC_RADIUS), _mix(colour, WHITE, 0.65))


@lru_cache(maxsize=8)
def _background(view: View, scenario: Scenario) -> Image.Image:
    """The page with the square in which entities start and the legend, in the supersampled size."""
    side = view.size * SUPERSAMPLING
    image = Image.new("RGB", (side, side), PAGE)
    low, high = side * (1 - 1 / MARGIN) / 2, side * (1 + 1 / MARGIN) / 2
    radius, width = 6 * SUPERSAMPLING * view.unit, round(SUPERSAMPLING * view.unit)
    ImageDraw.Draw(image).rounded_rectangle((low, low, high, high), radius, fill=WHITE, outline=EDGE, width=width)
    bare = image.copy()
    return image if _draw_legend(Brush(image, view), scenario) <= high else bare


def _draw_legend(brush: Brush, scenario: Scenario) -> float:
    """A line of shapes and their names below the square; returns the column where it ends."""
    pixel = SUPERSAMPLING * brush.view.unit
    gap, margin = font_size(brush.view) * SUPERSAMPLING, brush.image.width * (1 - 1 / MARGIN) / 2
    column, row = margin, brush.image.height - margin / 2
    for name, shape in _shapes(brush, scenario):
        shape((column + 6 * pixel, row), 4.5 * pixel)
        column = brush.text((column + 16 * pixel, row), name, MUTED) + gap
    return column - gap


def _shapes(brush: Brush, scenario: Scenario) -> list[tuple[str, Callable[[Point, float], None]]]:
    """Names of the shapes in the legend, with how to draw them at a point in a size."""

    def reached(at: Point, radius: float) -> None:
        brush.disc(at, radius, BLUE)
        brush.dot(at, 0.4 * radius, WHITE)

    def target(at: Point, radius: float) -> None:
        brush.ring(at, radius, INK)
        brush.cross(at, radius / 2, INK)

    kinds = sorted(set(scenario.kinds))
    names = ["agent"] if len(kinds) == 1 else [f"kind {kind}" for kind in kinds]
    colours = [KIND_COLOURS[kind % len(KIND_COLOURS)] for kind in kinds]
    agents = [(name, partial(brush.disc, fill=colour)) for name, colour in zip(names, colours, strict=True)]
    if isinstance(scenario.reward, NavigationReward):
        touching, landmark = partial(brush.disc, fill=BLUE, rim=INK), partial(brush.ring, colour=INK)
        return [*agents, ("touching", touching), ("landmark", landmark), ("reached", reached)]
    if isinstance(scenario.reward, PushReward):
        return [*agents, ("ball", partial(brush.disc, fill=BALL_COLOUR)), ("target", target)]
    prey, caught = partial(brush.diamond, fill=PREY_COLOUR), partial(brush.diamond, fill=PREY_COLOUR, rim=INK)
    return [*agents, ("prey", prey), ("caught", caught), ("obstacle", partial(brush.disc, fill=OBSTACLE_COLOUR))]


def _write(frame: Image.Image, view: View, scenario: Scenario, status: str) -> None:
    """The status and the task above the square, as far as there is room."""
    font, pen = _font(round(font_size(view))), ImageDraw.Draw(frame)
    margin = view.size * (1 - 1 / MARGIN) / 2
    room = view.size - 2 * margin
    name = scenario.task.partition("/")[2].replace("_", " ")
    if pen.textlength(f"{name}    {status}", font) <= room:
        pen.text((margin, margin / 2), name, INK, font, anchor="lm")
    if pen.textlength(status, font) <= room:
        pen.text((view.size - margin, margin / 2), status, MUTED, font, anchor="rm")


def _draw_progress(frame: Image.Image, view: View, done: float) -> None:
    """A bar along the lower edge, as long as the share of the episode that is over."""
    if done:
        height = max(2, round(3 * view.unit))
        box = (0, view.size - height, round(done * view.size) - 1, view.size - 1)
        ImageDraw.Draw(frame).rectangle(box, fill=GREY)


def font_size(view: View) -> float:
    """Of all text, in pixels of the frame."""
    return max(9.0, FONT_SIZE * view.unit)


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    """`share` of the second colour in the first."""
    red, green, blue = (round((1 - share) * a + share * b) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a[:, None] - b, axis=-1)
