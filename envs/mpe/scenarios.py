"""The particle tasks as data: entities, initial positions, observations and rewards.

Agents are numbered first, then scripted prey, then landmarks (obstacles; the ball and its target). Lengths are in world
units, times in steps of 0.1 world seconds. The constants are those of the environments published with PIC (Liu et al.
2019), on which the paper trains.

Deviations (see DEVIATIONS.md): push-100, navigation-sizes, shipped-prey.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial

TIME_STEP = 0.1
DAMPING = 0.25
CONTACT_FORCE = 100.0
CONTACT_MARGIN = 0.001
EPISODE_LENGTH = 25
NUM_ACTIONS = 5
ACTION_DIM = 2
PREY_ACCELERATION = 4.0


class Order(IntEnum):
    """How the entities of a section are chosen and sorted for one viewer at x."""

    INDEX = 0
    """Ordered by number."""
    DISTANCE = 1
    """Ordered by |x_j - x|."""
    PUBLISHED = 2
    """Ordered by |x_j - 2 x|, as in the published tasks with 15 and 30 agents."""
    LEXICOGRAPHIC = 3
    """Ordered by the first coordinate of x_j - x, then by the second."""


class Start(IntEnum):
    """How initial positions are drawn."""

    UNIFORM = 0
    """Independent and uniform in a square."""
    POISSON = 1
    """A random subset of a Poisson disc sample of a square: no two points closer than a minimum distance."""
    APART = 2
    """Uniform in a square, redrawn while too close to the preceding entity."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of an observation: positions, relative to the viewer, of `count` of the `entities`, excluding itself."""

    entities: range
    count: int
    order: Order
    with_velocities: bool = False
    """Whether the entities' velocities, which are absolute, follow the positions."""

    @property
    def width(self) -> int:
        """Number of features."""
        return self.count * (4 if self.with_velocities else 2)


@dataclass(frozen=True, slots=True)
class Placement:
    """Initial positions of a group of entities, in the square [-half_width, half_width]^2."""

    entities: range
    start: Start
    half_width: float
    minimum_distance: float = 0.0
    max_draws: int = 1
    """Maximum number of draws for APART; the last one is kept whatever its distance."""


@dataclass(frozen=True, slots=True)
class NavigationReward:
    """r = -coverage_weight * sum_l min_i |x_i - x_l| - N * penalty_per_agent - sum_{i != j} w_ij [i touches j]."""

    landmarks: range
    coverage_weight: float = 1.0
    penalty_per_agent: float = 0.0
    cross_kind_weight: float = 1.0
    """w_ij for agents of different kinds; it is 1 within a kind. Agents touch if closer than the sum of their true
    sizes."""


@dataclass(frozen=True, slots=True)
class PushReward:
    """r = -2 |ball - target| - 0.1 min_i |x_i - ball| + 0.1 #{i: |x_i - ball| < hit_distance}."""

    ball: int
    target: int
    hit_distance: float


@dataclass(frozen=True, slots=True)
class TagReward:
    """r = -0.1 sum_i min_q |x_i - x_q| + 10 #{(i, q): |x_i - x_q| < capture_distance} over predators i, prey q."""

    prey: range
    capture_distance: float


Reward = NavigationReward | PushReward | TagReward


@dataclass(frozen=True, slots=True)
class Scenario:
    """A particle task. Tuples have one element per entity unless stated otherwise."""

    task: str
    recorded_as: str | None
    """Name of the task in recorded traces of the published environments; None if it was never published."""
    num_agents: int
    num_prey: int
    num_movable: int
    """Number of entities that can move (agents, prey, the ball); these come first."""
    kinds: tuple[int, ...]
    """Kind of each agent."""
    size: tuple[float, ...]
    mass: tuple[float, ...]
    collides: tuple[bool, ...]
    max_speed: tuple[float, ...]
    """Maximum speed, in world units per second; infinite if unlimited."""
    acceleration: tuple[float, ...]
    """Force of a full action, for each agent and then each prey."""
    uniform_contact: bool
    """Whether the published contact distance is twice the size of agent 0 for all pairs; otherwise it is the sum of the
    two sizes."""
    placements: tuple[Placement, ...]
    sections: tuple[Section, ...]
    """Sections of an agent's observation, which follow its velocity and position."""
    prey_sections: tuple[Section, ...]
    """Sections of a prey's observation, which follow its velocity and position."""
    reward: Reward

    @property
    def num_entities(self) -> int:
        """Number of agents, prey and landmarks."""
        return len(self.size)

    def seen(self, agents: bool) -> tuple[Section, ...]:
        """Sections of an agent's observation, with or without the other agents."""
        return tuple(section for section in self.sections if agents or section.entities.stop > self.num_agents)

    def observation_dim(self, agents: bool = True) -> int:
        """Number of features of an agent's observation, with or without the other agents."""
        return 4 + sum(section.width for section in self.seen(agents))

    @property
    def prey_observation_dim(self) -> int:
        """Number of features of a prey's observation."""
        return 4 + sum(section.width for section in self.prey_sections)

    def contact_radius(self, published: bool) -> tuple[float, ...]:
        """Radius of each entity in the physics: two entities repel each other below the sum of their radii."""
        return (self.size[0],) * self.num_entities if published and self.uniform_contact else self.size


def scenario(task: str) -> Scenario:
    """The task named `task`. Raises KeyError if there is none."""
    agents = unpublished_size(task)
    return SCENARIOS[task]() if agents is None else _navigation(agents)


def task_of_recording(name: str) -> str:
    """The name of the task that recorded traces call `name`, such as simple_spread_n15. Raises KeyError if there is
    none."""
    return _RECORDINGS[name]


PUBLISHED_HALF_WIDTHS = {3: 3.0, 6: 1.5, 15: 2.2, 30: 3.0, 100: 5.0, 200: 7.0}
"""Half the side length of the square in which cooperative navigation starts, by number of agents."""
FEWEST_NAVIGATING, MOST_NAVIGATING = 6, 1000
"""Range of unpublished numbers of agents for cooperative navigation; with fewer, an agent would observe less."""
_NAVIGATION = "mpe/cooperative_navigation"


def unpublished_size(task: str) -> int | None:
    """Number of agents of an `mpe/cooperative_navigation_N` that was never published; None for any other task.

    Such sizes serve to evaluate policies trained at other sizes. Their square has the density of the paper's 30 agents,
    30 / 36 agents per unit of area: half its side length is 3 sqrt(N / 30). Agents observe the 6 nearest landmarks and
    the 5 nearest other agents by distance, as with 100 and 200 agents.
    """
    family, _, size = task.rpartition("_")
    if task in SCENARIOS or family != _NAVIGATION or not re.fullmatch(r"[1-9]\d{0,3}", size):
        return None
    return int(size) if FEWEST_NAVIGATING <= int(size) <= MOST_NAVIGATING else None


def _half_width(num_agents: int) -> float:
    return PUBLISHED_HALF_WIDTHS.get(num_agents) or PUBLISHED_HALF_WIDTHS[30] * math.sqrt(num_agents / 30)


def _navigation(num_agents: int) -> Scenario:
    """Cooperative navigation: agents cover as many landmarks without touching one another."""
    half_width = _half_width(num_agents)
    agents, landmarks = range(num_agents), range(num_agents, 2 * num_agents)
    order = {3: Order.DISTANCE, 6: Order.INDEX, 15: Order.PUBLISHED, 30: Order.PUBLISHED}.get(
        num_agents, Order.DISTANCE
    )
    others_order = Order.LEXICOGRAPHIC if num_agents == 6 else order
    start = Start.UNIFORM if num_agents == 6 else Start.POISSON
    reward = NavigationReward(landmarks, 6.0, 1.0) if num_agents == 6 else NavigationReward(landmarks)
    return Scenario(
        task=f"{_NAVIGATION}_{num_agents}",
        recorded_as=f"simple_spread_n{num_agents}" if num_agents in PUBLISHED_HALF_WIDTHS else None,
        num_agents=num_agents,
        num_prey=0,
        num_movable=num_agents,
        kinds=(0,) * num_agents,
        size=(0.15,) * num_agents + (0.05,) * num_agents,
        mass=(1.0,) * (2 * num_agents),
        collides=(True,) * num_agents + (False,) * num_agents,
        max_speed=(math.inf,) * (2 * num_agents),
        acceleration=(5.0,) * num_agents,
        uniform_contact=num_agents != 6,
        placements=(
            Placement(agents, Start.UNIFORM, half_width),
            Placement(landmarks, start, half_width, minimum_distance=4.5 * 0.15),
        ),
        sections=(
            Section(landmarks, min(6, num_agents), order),
            Section(agents, min(5, num_agents - 1), others_order),
        ),
        prey_sections=(),
        reward=reward,
    )


def _heterogeneous_navigation(num_agents: int) -> Scenario:
    """Navigation with big slow agents (kind 0) and small fast ones (kind 1); collisions between kinds cost ten times as
    much."""
    half_width = {4: 1.0, 8: 1.5, 16: 2.2, 30: 3.0, 100: 5.0}[num_agents]
    size = 0.15 if num_agents == 100 else 0.10
    half = num_agents // 2
    agents, landmarks = range(num_agents), range(num_agents, 2 * num_agents)
    return Scenario(
        task=f"mpe/heterogeneous_navigation_{num_agents}",
        recorded_as=f"hetero_spread_n{num_agents}",
        num_agents=num_agents,
        num_prey=0,
        num_movable=num_agents,
        kinds=(0,) * half + (1,) * half,
        size=(size,) * half + (size / 2,) * half + (0.05,) * num_agents,
        mass=(1.0,) * (2 * num_agents),
        collides=(True,) * num_agents + (False,) * num_agents,
        max_speed=(1.0,) * half + (1.3,) * half + (math.inf,) * num_agents,
        acceleration=(3.0,) * half + (4.0,) * half,
        uniform_contact=True,
        placements=(
            Placement(agents, Start.UNIFORM, half_width),
            Placement(landmarks, Start.POISSON, half_width, minimum_distance=4.5 * size),
        ),
        sections=(
            Section(landmarks, 2 if num_agents == 4 else 4, Order.DISTANCE),
            Section(agents, min(5, num_agents - 1), Order.DISTANCE),
        ),
        prey_sections=(),
        reward=NavigationReward(landmarks, cross_kind_weight=10.0),
    )


def _push(num_agents: int) -> Scenario:
    """Cooperative push: agents push a heavy ball to a target. For 100 agents see push-100 in DEVIATIONS.md."""
    half_width, size, ball_size, ball_mass, target_distance, max_draws, seen, order = {
        3: (1.0, 0.06, 0.1, 2.0, 0.8, 1_000_000, 2, Order.INDEX),
        6: (1.0, 0.04, 0.1, 4.0, 0.8, 1_000_000, 5, Order.INDEX),
        15: (2.0, 0.02, 0.2, 8.0, 1.0, 2, 10, Order.DISTANCE),
        30: (2.0, 0.06, 0.7, 4.0, 1.2, 2, 5, Order.DISTANCE),
        100: (2.0, 0.02, 0.2, 8.0, 1.0, 2, 10, Order.DISTANCE),
    }[num_agents]
    ball, target = num_agents, num_agents + 1
    ghosts = 10 if num_agents == 30 else 0  # the first ten of thirty agents touch nothing
    return Scenario(
        task=f"mpe/cooperative_push_{num_agents}",
        recorded_as=None if num_agents == 100 else f"simple_coop_push_n{num_agents}",
        num_agents=num_agents,
        num_prey=0,
        num_movable=num_agents + 1,
        kinds=(0,) * num_agents,
        size=(size,) * num_agents + (ball_size, 0.05),
        mass=(1.0,) * num_agents + (ball_mass, 4.0),
        collides=(False,) * ghosts + (True,) * (num_agents - ghosts) + (True, False),
        max_speed=(math.inf,) * (num_agents + 2),
        acceleration=(5.0,) * num_agents,
        uniform_contact=True,
        placements=(
            Placement(range(num_agents), Start.UNIFORM, half_width),
            Placement(range(ball, target), Start.UNIFORM, half_width - 0.2),
            Placement(range(target, target + 1), Start.APART, half_width - 0.2, target_distance, max_draws),
        ),
        sections=(Section(range(ball, target + 1), 2, Order.INDEX), Section(range(num_agents), seen, order)),
        prey_sections=(),
        reward=PushReward(ball, target, size + ball_size),
    )


def _tag(num_agents: int) -> Scenario:
    """Prey and predator: agents chase faster scripted prey among obstacles."""
    num_prey, num_obstacles, half_width, sizes = {
        3: (1, 2, 1.0, (0.075, 0.05, 0.2)),
        6: (2, 3, 1.5, (0.075, 0.05, 0.2)),
        15: (5, 5, 1.0, (0.02, 0.01, 0.1)),
        30: (10, 10, 1.0, (0.01, 0.005, 0.05)),
        100: (30, 20, 1.0, (0.01, 0.005, 0.05)),
    }[num_agents]
    mobile = num_agents + num_prey
    total = mobile + num_obstacles
    agents, prey, obstacles = range(num_agents), range(num_agents, mobile), range(mobile, total)
    order = {3: Order.INDEX, 6: Order.INDEX, 15: Order.PUBLISHED}.get(num_agents, Order.DISTANCE)
    seen = {15: (3, 6, 3), 30: (5, 5, 5), 100: (5, 5, 5)}.get(num_agents, (num_obstacles, num_agents - 1, num_prey))
    return Scenario(
        task=f"mpe/prey_and_predator_{num_agents}",
        recorded_as=f"simple_tag_n{num_agents}",
        num_agents=num_agents,
        num_prey=num_prey,
        num_movable=mobile,
        kinds=(0,) * num_agents,
        size=(sizes[0],) * num_agents + (sizes[1],) * num_prey + (sizes[2],) * num_obstacles,
        mass=(1.0,) * total,
        collides=(True,) * total,
        max_speed=(1.0,) * num_agents + (1.3,) * num_prey + (math.inf,) * num_obstacles,
        acceleration=(3.0,) * num_agents + (PREY_ACCELERATION,) * num_prey,
        uniform_contact=num_agents != 3,
        placements=(
            Placement(range(mobile), Start.UNIFORM, half_width),
            Placement(obstacles, Start.UNIFORM, half_width - 0.1),
        ),
        sections=(
            Section(obstacles, seen[0], order),
            Section(agents, seen[1], order),
            Section(prey, seen[2], order, with_velocities=True),
        ),
        prey_sections=(
            Section(obstacles, min(3, num_obstacles), order),
            Section(agents, min(6, num_agents), order),
            Section(prey, min(1, num_prey - 1), order, with_velocities=True),
        ),
        reward=TagReward(prey, sizes[0] + sizes[1]),
    )


_FAMILIES: tuple[tuple[Callable[[int], Scenario], str, str, tuple[int, ...]], ...] = (
    (_navigation, "cooperative_navigation", "simple_spread", tuple(PUBLISHED_HALF_WIDTHS)),
    (_heterogeneous_navigation, "heterogeneous_navigation", "hetero_spread", (4, 8, 16, 30, 100)),
    (_push, "cooperative_push", "simple_coop_push", (3, 6, 15, 30, 100)),
    (_tag, "prey_and_predator", "simple_tag", (3, 6, 15, 30, 100)),
)


SCENARIOS: dict[str, Callable[[], Scenario]] = {
    f"mpe/{family}_{n}": partial(build, n) for build, family, _, sizes in _FAMILIES for n in sizes
}
"""A function that makes the scenario, for every particle task by name."""

_RECORDINGS = {
    f"{recorded}_n{n}": f"mpe/{family}_{n}"
    for _, family, recorded, sizes in _FAMILIES
    for n in sizes
    if (family, n) != ("cooperative_push", 100)
}


def register(task: str) -> Callable[[Callable[[], Scenario]], Callable[[], Scenario]]:
    """Decorator that registers a particle task under a new name. Raises ValueError if the name is taken."""
    if task in SCENARIOS:
        raise ValueError(f"there is a task {task!r} already: choose another name")

    def add(describe: Callable[[], Scenario]) -> Callable[[], Scenario]:
        SCENARIOS[task] = describe
        return describe

    return add
