"""What Jungle is: sizes, actions, payments (paper, A.3; the configuration published with DGN, Jiang et al. 2020).

N agents and F foods stand on cells of a square map inside a ring of wall. At every step an agent moves to one of the
four cells beside it, stays, or attacks one of these cells. Food does not move and never runs out. Coordinates are
(x, y), counted from the upper left corner of the wall.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

EPISODE_LENGTH = 25
VIEW_RADIUS = 5
VIEW_SIDE = 2 * VIEW_RADIUS + 1
"""Agents see a square of cells around them, of which only the disc of `VIEW_RADIUS` ever shows anything."""
OBSERVATION_DIM = VIEW_SIDE**2 + 2
"""The view, row by row, 1 for an agent and -1 for food, and the agent's own y and x over the width of the map."""

UP, LEFT, STAY, RIGHT, DOWN, HIT_UP, HIT_LEFT, HIT_RIGHT, HIT_DOWN = range(9)
"""Actions: five moves, then four attacks."""
NUM_ACTIONS, NUM_MOVES = 9, 5
OFFSETS = ((0, -1), (-1, 0), (0, 0), (1, 0), (0, 1), (0, -1), (-1, 0), (1, 0), (0, 1))
"""Where each action leads or strikes, (x, y) from the agent."""

EFFORT, MEAL, BLOW, WOUND = -0.01, 1.0, 2.0, -4.0
"""Pay of an attack whatever it strikes, of striking food, of striking an agent, and of each blow received: added in
float32, in this order."""

TALLY = ("return", "food", "attacks", "misses")
"""What engines count of a step, for all agents of a copy together: pay, attacks on food, on agents, and on nothing."""

SMALLEST, LARGEST = 2, 1000
"""Numbers of agents that can be made."""
CELLS_PER_UNIT = 24.5
"""Free cells for each agent or food: 784 for 32 of them in the published task."""
TASKS = ("magent/jungle_6", "magent/jungle_20")


@dataclass(frozen=True, slots=True)
class Jungle:
    """One size of the task."""

    task: str
    num_agents: int
    num_foods: int
    side: int
    """Rows and columns of the map, wall included."""


def exists(task: str) -> bool:
    """Whether a task can be made: `magent/jungle_N` with N from 2 to 1000."""
    match = re.fullmatch(r"magent/jungle_([1-9]\d{0,3})", task)
    return match is not None and SMALLEST <= int(match[1]) <= LARGEST


def jungle(task: str) -> Jungle:
    """The size that a task's name tells: three foods for five agents, on a map as crowded as the published one, which
    is N = 20, F = 12, 30 x 30. The task must exist."""
    agents = int(task.rpartition("_")[2])
    foods = max(1, round(0.6 * agents))
    return Jungle(task, agents, foods, round(math.sqrt(CELLS_PER_UNIT * (agents + foods))) + 2)
