"""Drawings of Jungle.

The white square is the map, with its wall and a faint grid of cells; food is a diamond, an agent a disc. Agents are
shown after the last step; the tail of an agent that moved begins at the cell it left. Their actions are drawn as well.
An agent that eats has a light centre and a green line to its food. An agent that hits another is orange, with an orange
wedge towards the cell where its victim stood; victims have orange rings at their current cells. Attacks precede moves,
so a victim may have left: its tail, also orange, then leads from the struck cell to the ring, and the wedge lies below
any agent that has entered that cell since. An attack on nothing is a short grey line.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from PIL import Image, ImageDraw

from envs.canvas import (
    BLUE,
    EDGE,
    GREEN,
    GREY,
    LINK,
    MARGIN,
    NEUTRALS,
    PAGE,
    REFERENCE,
    RIM,
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
from envs.jungle.environment import JungleEnvironment
from envs.jungle.rules import NUM_MOVES, OFFSETS
from envs.protocols import Environment

AGENT_COLOUR, FOOD_COLOUR, MISS_COLOUR = BLUE, GREEN, GREY
HIT_COLOUR: Colour = (213, 94, 0)
"""Colour of agents that hit another, of their attacks and of the rings of their victims: the vermilion of Okabe and
Ito."""
EATING_COLOUR = mix(FOOD_COLOUR, WHITE, 0.7)
"""Colour of the centre of an agent that eats."""
TAIL_COLOUR, TRACE_COLOUR = mix(AGENT_COLOUR, WHITE, 0.65), mix(HIT_COLOUR, WHITE, 0.5)
"""Colours of tails, and of the tails of victims that moved."""
WALL_COLOUR, GRID_COLOUR = mix(EDGE, LINK, 0.4), mix(PAGE, WHITE, 0.25)
PALETTE: tuple[Colour, ...] = (
    *(AGENT_COLOUR, FOOD_COLOUR, HIT_COLOUR, EATING_COLOUR, TAIL_COLOUR, TRACE_COLOUR, WALL_COLOUR, GRID_COLOUR),
    *NEUTRALS,
)
"""All colours of the drawings."""
DISC, DIAMOND = 0.34, 0.4
"""Radii of agents and food, in cells."""
SMALLEST_DISC = 1.5
"""Minimum radius, in pixels of a reference frame."""
STROKE, MISS_WIDTH, HIT_WIDTH = 0.22, 0.7, 0.8
"""Width of the line from an agent to its food, in cells; width of a miss relative to that line; width of the base
of an attack's wedge relative to the disc."""
MISS, REACH = 0.85, 0.9
"""Fractions of the distance to the centre of the struck cell over which misses and attacks are drawn."""
RING, GAP, CENTRE = 1.65, 1.35, 0.45
"""Radii of a victim's ring, of the white gap inside it, and of the centre of an agent that eats, relative to the
disc."""
GRID_SHOWN = 5.0
"""Minimum width of a cell, in pixels of a reference frame, for the grid to be drawn."""


@dataclass(frozen=True, slots=True)
class View:
    """The map as shown in a square frame; rows are counted downwards in both."""

    size: int
    """Side length of the frame in pixels."""
    side: int
    """Number of rows and columns of the map, including the wall."""

    @property
    def cell(self) -> float:
        """Side length of a cell in pixels of the frame."""
        return self.size / (MARGIN * self.side)

    def pixels(self, cells: np.ndarray) -> np.ndarray:
        """Fractional column and row (..., 2) of the centres of cells (..., 2); pixel centres are at one half."""
        return self.size / 2 + (np.asarray(cells, dtype=np.float64) + 0.5 - self.side / 2) * self.cell

    def image_points(self, cells: np.ndarray) -> list[Point]:
        """Centres of cells (cell, 2) in the supersampled image, where integers are pixel centres."""
        return [(x, y) for x, y in (self.pixels(cells) * SUPERSAMPLING - 0.5).tolist()]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The actions of one copy's agents in the last step and their effects; empty at the beginning of an episode."""

    left: np.ndarray
    """(agent, 2) int, cells of the agents before the step."""
    aim: np.ndarray
    """(agent, 2) int, cells that the agents attacked or tried to move to."""
    eats: np.ndarray
    """(agent,) bool, whether the agent attacked food."""
    misses: np.ndarray
    """(agent,) bool, whether the agent attacked neither food nor an agent."""
    victim: np.ndarray
    """(agent,) int, the agent that each agent hit; -1 for none."""

    @property
    def hits(self) -> np.ndarray:
        """(agent,) bool, whether the agent hit another."""
        return self.victim >= 0

    @property
    def is_hit(self) -> np.ndarray:
        """(agent,) bool, whether the agent was hit."""
        return np.isin(np.arange(len(self.victim)), self.victim)


def can_draw(environment: object) -> bool:
    """Whether `environment` is a Jungle environment."""
    return isinstance(environment, JungleEnvironment)


def draw_jungle(environment: Environment, copy: int, size: int, neighbours: bool) -> np.ndarray:
    """A frame as for `envs.drawing.draw`, captioned with the current step and the return, food eaten, hits and
    misses so far."""
    assert isinstance(environment, JungleEnvironment)
    if environment.state_dict()["time"] is None:
        raise RuntimeError("there is nothing to draw yet: call reset() first")
    view = View(size, environment.jungle.side)
    position, food = (cells[copy].cpu().numpy() for cells in (environment.position, environment.food))
    brush = Brush(_background(view).copy())
    if neighbours:
        _draw_links(brush, view, position, environment.spec.max_neighbours)
    _draw_units(brush, view, position, food, outcomes_of(environment, copy))
    frame = brush.image.reduce(SUPERSAMPLING)
    draw_text(frame, caption(environment, copy))
    draw_progress(frame, environment.time / environment.spec.episode_length)
    return np.asarray(frame).copy()


def caption(environment: JungleEnvironment, copy: int) -> list[tuple[str, str]]:
    """The two lines above the map, each as its left and right part."""
    scores, agents = environment.scores(), environment.spec.num_agents
    name = environment.jungle.task.partition("/")[2].replace("_", " ")
    step = f"step {environment.time} of {environment.spec.episode_length}"
    tally = (scores[f"{what}_per_agent"][copy].item() * agents for what in ("food", "attacks", "misses"))
    meals, hits, misses = map(round, tally)
    return [
        (name, f"{step}    return {scores['return'][copy].item():,.1f}"),
        ("", f"food {meals:,}    hits {hits:,}    misses {misses:,}"),
    ]


def outcomes_of(environment: JungleEnvironment, copy: int) -> Outcomes:
    """The actions of a copy's agents in the last step."""
    actions, left = environment.last_actions, environment.last_position
    position = environment.position[copy].cpu().numpy()
    if actions is None or left is None:
        none = np.zeros(len(position), dtype=bool)
        return Outcomes(position, position, none, none, np.full(len(position), -1))
    chosen, before, food = (tensor[copy].cpu().numpy() for tensor in (actions, left, environment.food))
    aim, attacks = before + np.array(OFFSETS)[chosen], chosen >= NUM_MOVES
    eats = attacks & _same(aim, food).any(1)
    struck = attacks[:, None] & _same(aim, before)
    hits = struck.any(1)
    return Outcomes(before, aim, eats, attacks & ~eats & ~hits, np.where(hits, struck.argmax(1), -1))


def neighbour_pairs(position: np.ndarray, count: int) -> list[tuple[int, int]]:
    """Sorted pairs of agents of which one is among the `count` nearest neighbours of the other, ties by lower number.
    position: (agent, 2)."""
    squared = np.square(position[:, None] - position).sum(-1)
    nearest = np.argsort(squared, axis=1, kind="stable")[:, 1 : count + 1]  # an agent itself comes first
    return agent_edges(nearest.tolist())


def _same(cells: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(cell, other) bool, whether each of the cells (cell, 2) equals each of the others (other, 2)."""
    return (cells[:, None] == others).all(-1)


def _draw_units(brush: Brush, view: View, position: np.ndarray, food: np.ndarray, outcomes: Outcomes) -> None:
    """Draw food, agents and their actions, the more important ones on top."""
    stroke, disc, diamond = (
        max(width * view.cell * SUPERSAMPLING, least * brush.pixel)
        for width, least in ((STROKE, 0.5), (DISC, SMALLEST_DISC), (DIAMOND, SMALLEST_DISC))
    )
    now, left, aim = (view.image_points(cells) for cells in (position, outcomes.left, outcomes.aim))
    hits, is_hit = outcomes.hits, outcomes.is_hit
    stayed = (position == outcomes.left).all(1)
    for agent in np.flatnonzero(~stayed).tolist():
        brush.wedge(left[agent], now[agent], disc, TRACE_COLOUR if is_hit[agent] else TAIL_COLOUR)
    for agent in np.flatnonzero(outcomes.misses).tolist():
        brush.line((now[agent], _between(now[agent], aim[agent], MISS)), MISS_COLOUR, MISS_WIDTH * stroke)
    for place in view.image_points(food):
        brush.diamond(place, diamond, FOOD_COLOUR)
    for agent in np.flatnonzero(outcomes.eats).tolist():
        brush.line((now[agent], aim[agent]), FOOD_COLOUR, stroke)
    in_place = stayed[outcomes.victim] & hits
    for agent in np.flatnonzero(hits & ~in_place).tolist():
        _draw_hit(brush, now[agent], aim[agent], disc)  # an agent that has moved there since was not hit
    for agent, place in enumerate(now):
        _draw_agent(brush, place, disc, outcomes.eats[agent], hits[agent], is_hit[agent])
    for agent in np.flatnonzero(in_place).tolist():
        _draw_hit(brush, now[agent], aim[agent], disc)


def _draw_agent(brush: Brush, at: Point, radius: float, eats: bool, hits: bool, is_hit: bool) -> None:
    """Draw a disc, with a ring if the agent was hit and a light centre if it eats."""
    if is_hit:
        brush.dot(at, RING * radius, HIT_COLOUR)
        brush.dot(at, GAP * radius, WHITE)
    brush.disc(at, radius, HIT_COLOUR if hits else AGENT_COLOUR)
    if eats:
        brush.dot(at, CENTRE * radius, EATING_COLOUR)


def _draw_hit(brush: Brush, attacker: Point, struck: Point, radius: float) -> None:
    """Draw a wedge with a thin edge that separates it from the struck disc."""
    tip = _between(attacker, struck, REACH)
    brush.wedge(tip, attacker, HIT_WIDTH * radius + RIM * brush.pixel, WHITE)
    brush.wedge(tip, attacker, HIT_WIDTH * radius, HIT_COLOUR)
    brush.dot(attacker, radius, HIT_COLOUR)


def _between(start: Point, end: Point, share: float) -> Point:
    """The point at a fraction `share` of the way from `start` to `end`."""
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])


def _draw_links(brush: Brush, view: View, position: np.ndarray, count: int) -> None:
    """Draw a line from each agent to each of its neighbours."""
    points = view.image_points(position)
    for i, j in neighbour_pairs(position, count):
        brush.line((points[i], points[j]), LINK, 0.8 * brush.pixel)


@lru_cache(maxsize=8)
def _background(view: View) -> Image.Image:
    """The supersampled background: the empty map and the legend."""
    image = page(view.size)
    brush = Brush(image)
    low, high = (view.size / 2 + sign * view.side / 2 * view.cell for sign in (-1, 1))
    outer = tuple(SUPERSAMPLING * edge for edge in (low, low, high, high))
    ImageDraw.Draw(image).rounded_rectangle(outer, 6 * brush.pixel, fill=WALL_COLOUR)
    edges = [(low + number * view.cell) * SUPERSAMPLING for number in range(1, view.side)]
    first, last = edges[0], edges[-1]
    brush.polygon(((first, first), (last, first), (last, last), (first, last)), WHITE)
    if view.cell >= GRID_SHOWN * view.size / REFERENCE:
        for edge in edges[1:-1]:
            brush.line(((edge, first), (edge, last)), GRID_COLOUR, brush.pixel)
            brush.line(((first, edge), (last, edge)), GRID_COLOUR, brush.pixel)
    draw_legend(brush, _legend(brush))
    return image


def _legend(brush: Brush) -> list[LegendEntry]:
    """The entries of the legend."""

    def agent(at: Point, radius: float, eats: bool = False, hits: bool = False, is_hit: bool = False) -> None:
        _draw_agent(brush, at, radius, eats, hits, is_hit)

    def miss(at: Point, radius: float) -> None:
        brush.line((at, (at[0] + 2 * radius, at[1])), MISS_COLOUR, MISS_WIDTH * STROKE / DISC * radius)
        agent(at, radius)

    return [
        LegendEntry("food", partial(brush.diamond, fill=FOOD_COLOUR)),
        LegendEntry("agent", agent),
        LegendEntry("eats", partial(agent, eats=True)),
        LegendEntry("hits", partial(agent, hits=True)),
        LegendEntry("is hit", partial(agent, is_hit=True)),
        LegendEntry("misses", miss, 13.0),
    ]
