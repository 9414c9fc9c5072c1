"""Drawings of particle tasks.

Positions are exact; discs have their true size unless that is too small to see. The view is the square in which
entities start, plus a margin, and never moves; an entity outside it is shown as a small triangle on the border.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
from PIL import Image

from envs.canvas import (
    BLUE,
    GREEN,
    GREY,
    INK,
    LINK,
    MARGIN,
    NEUTRALS,
    ORANGE,
    PURPLE,
    SUPERSAMPLING,
    WHITE,
    Brush,
    Colour,
    LegendEntry,
    Point,
    agent_edges,
    draw_legend,
    draw_progress,
    draw_text,
    mix,
    page,
)
from envs.mpe.environment import ParticleEnvironment
from envs.mpe.graph import nearest_agents_torch
from envs.mpe.scenarios import NavigationReward, PushReward, Scenario, TagReward
from envs.protocols import Environment

KIND_COLOURS: tuple[Colour, ...] = (BLUE, ORANGE, GREEN, PURPLE)
"""Colours of agents by kind."""
PREY_COLOUR, BALL_COLOUR, OBSTACLE_COLOUR = ORANGE, PURPLE, GREY
PALETTE: tuple[Colour, ...] = (*KIND_COLOURS, *NEUTRALS)
"""All colours of the drawings."""
DISC_RADIUS, LANDMARK_RADIUS = 3.6, 3.2
"""Minimum radii, in pixels of a reference frame."""
TAIL_SECONDS = 0.15
"""Length of the tail behind a moving disc, in world seconds of its velocity."""


@dataclass(frozen=True, slots=True)
class View:
    """The square part of the world shown by a square frame; y points up in the world and down in the frame."""

    size: int
    """Side length of the frame in pixels."""
    half_width: float
    """Half the side length of the square in which entities start, in world units."""

    @property
    def scale(self) -> float:
        """Pixels per world unit."""
        return self.size / (2 * MARGIN * self.half_width)

    def pixels(self, position: np.ndarray) -> np.ndarray:
        """Fractional column and row (..., 2) of world positions (..., 2); pixel centres are at one half."""
        return self.size / 2 + np.asarray(position, dtype=np.float64) * (self.scale, -self.scale)


def view_of(scenario: Scenario, size: int) -> View:
    """The view used for all frames of a task."""
    return View(size, max(placement.half_width for placement in scenario.placements))


def can_draw(environment: object) -> bool:
    """Whether `environment` is a particle environment."""
    return isinstance(environment, ParticleEnvironment)


def draw_particles(environment: Environment, copy: int, size: int, neighbours: bool) -> np.ndarray:
    """A frame as for `envs.drawing.draw`, captioned with the current step and the return so far."""
    assert isinstance(environment, ParticleEnvironment)
    time = environment.state_dict()["time"]
    if time is None:
        raise RuntimeError("there is nothing to draw yet: call reset() first")
    scenario = environment.scenario
    view = view_of(scenario, size)
    position = environment.position[copy].cpu().numpy().astype(np.float64)
    velocity = environment.velocity[copy].cpu().numpy().astype(np.float64)
    brush = ParticleBrush(_background(view, scenario).copy(), view)
    if neighbours:
        _draw_links(brush, position[: environment.spec.num_agents], environment.spec.max_neighbours)
    _draw_entities(brush, scenario, position, velocity)
    frame = brush.image.reduce(SUPERSAMPLING)
    length, score = environment.spec.episode_length, environment.scores()["return"][copy].item()
    name = scenario.task.partition("/")[2].replace("_", " ")
    draw_text(frame, [(name, f"step {time} of {length}    return {score:,.1f}")])
    draw_progress(frame, time / length)
    return np.asarray(frame).copy()


class ParticleBrush(Brush):
    """A brush that maps world positions to the image."""

    def __init__(self, image: Image.Image, view: View) -> None:
        super().__init__(image)
        self.view = view

    def radius(self, world_units: float, smallest: float) -> float:
        """The true radius in image pixels, but at least `smallest` pixels of a reference frame."""
        return max(world_units * self.view.scale * SUPERSAMPLING, smallest * self.pixel)

    def at(self, position: np.ndarray) -> Point:
        """Image coordinates of one position; integers are pixel centres."""
        column, row = self.view.pixels(position) * SUPERSAMPLING - 0.5
        return column, row

    def pointer(self, position: np.ndarray, fill: Colour) -> bool:
        """Draw a triangle on the border that points to a position outside the view; False for a position inside."""
        limit = MARGIN * self.view.half_width
        if np.abs(position).max() <= limit:
            return False
        tip = np.array(self.at(position * (limit / np.abs(position).max())))
        along = np.array((position[0], -position[1])) * (9 * self.pixel / np.linalg.norm(position))
        self.wedge(tuple(tip), tuple(tip - along), 4.5 * self.pixel, fill)
        return True


def _draw_links(brush: ParticleBrush, agents: np.ndarray, count: int) -> None:
    neighbours = nearest_agents_torch(torch.from_numpy(agents)[None], count)[0].tolist()
    points = [brush.at(position) for position in agents]
    for i, j in agent_edges(neighbours):
        brush.line((points[i], points[j]), LINK, 0.8 * brush.pixel)


def _draw_entities(brush: ParticleBrush, scenario: Scenario, position: np.ndarray, velocity: np.ndarray) -> None:
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
    brush: ParticleBrush, scenario: Scenario, rule: NavigationReward, position: np.ndarray, colours: dict[int, Colour]
) -> None:
    """Draw navigation: landmarks as rings, with a white dot on an agent that covers one; touching agents get a dark
    rim."""
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
    brush: ParticleBrush, scenario: Scenario, rule: PushReward, position: np.ndarray, colours: dict[int, Colour]
) -> None:
    """Draw push: the target is a ring of the ball's size with a cross at its centre."""
    ball, target = brush.at(position[rule.ball]), brush.at(position[rule.target])
    radius = brush.radius(scenario.size[rule.ball], DISC_RADIUS)
    brush.line((ball, target), GREY, brush.pixel)
    brush.disc(ball, radius, BALL_COLOUR)
    brush.ring(target, radius, INK)
    brush.cross(target, brush.radius(scenario.size[rule.target], LANDMARK_RADIUS), INK)
    for agent in range(scenario.num_agents):
        brush.disc(brush.at(position[agent]), brush.radius(scenario.size[agent], DISC_RADIUS), colours[agent])


def _draw_tag(
    brush: ParticleBrush, scenario: Scenario, rule: TagReward, position: np.ndarray, colours: dict[int, Colour]
) -> None:
    """Draw prey and predator: prey are diamonds, with a dark rim while a predator has caught them."""
    prey, predators = position[rule.prey.start : rule.prey.stop], position[: scenario.num_agents]
    caught = np.any(_distance(prey, predators) < rule.capture_distance, axis=1).tolist()
    for agent, predator in enumerate(predators):
        brush.disc(brush.at(predator), brush.radius(scenario.size[agent], DISC_RADIUS), colours[agent])
    for entity, held in zip(rule.prey, caught, strict=True):
        radius = brush.radius(scenario.size[entity], DISC_RADIUS)
        brush.diamond(brush.at(position[entity]), 1.25 * radius, PREY_COLOUR, INK if held else WHITE)


def _draw_tail(brush: ParticleBrush, size: float, position: np.ndarray, velocity: np.ndarray, colour: Colour) -> None:
    start = brush.at(position - TAIL_SECONDS * velocity)
    brush.wedge(start, brush.at(position), brush.radius(size, DISC_RADIUS), mix(colour, WHITE, 0.65))


@lru_cache(maxsize=8)
def _background(view: View, scenario: Scenario) -> Image.Image:
    """The supersampled background: the square in which entities start, and the legend."""
    brush = ParticleBrush(page(view.size), view)
    draw_legend(brush, _legend(brush, scenario))
    return brush.image


def _legend(brush: Brush, scenario: Scenario) -> list[LegendEntry]:
    """The entries of the legend."""

    def reached(at: Point, radius: float) -> None:
        brush.disc(at, radius, BLUE)
        brush.dot(at, 0.4 * radius, WHITE)

    def target(at: Point, radius: float) -> None:
        brush.ring(at, radius, INK)
        brush.cross(at, radius / 2, INK)

    kinds = sorted(set(scenario.kinds))
    names = ["agent"] if len(kinds) == 1 else [f"kind {kind}" for kind in kinds]
    colours = [KIND_COLOURS[kind % len(KIND_COLOURS)] for kind in kinds]
    agents = [LegendEntry(name, partial(brush.disc, fill=colour)) for name, colour in zip(names, colours, strict=True)]
    if isinstance(scenario.reward, NavigationReward):
        touching, landmark = partial(brush.disc, fill=BLUE, rim=INK), partial(brush.ring, colour=INK)
        return [
            *agents,
            LegendEntry("touching", touching),
            LegendEntry("landmark", landmark),
            LegendEntry("reached", reached),
        ]
    if isinstance(scenario.reward, PushReward):
        return [*agents, LegendEntry("ball", partial(brush.disc, fill=BALL_COLOUR)), LegendEntry("target", target)]
    prey, caught = partial(brush.diamond, fill=PREY_COLOUR), partial(brush.diamond, fill=PREY_COLOUR, rim=INK)
    obstacle = partial(brush.disc, fill=OBSTACLE_COLOUR)
    return [*agents, LegendEntry("prey", prey), LegendEntry("caught", caught), LegendEntry("obstacle", obstacle)]


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a[:, None] - b, axis=-1)
