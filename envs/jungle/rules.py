"""The rules of Jungle: sizes, actions, rewards (paper, A.3; the configuration published with DGN, Jiang et al. 2020).

N agents and F foods occupy cells of a square map enclosed by a wall. At every step an agent moves to one of the four
adjacent cells, stays, or attacks one of these cells. Food does not move and never runs out. Coordinates are (x, y),
counted from the upper left corner of the wall.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

EPISODE_LENGTH = 25
VIEW_RADIUS = 5
VIEW_SIDE = 2 * VIEW_RADIUS + 1
"""Side length of the square of cells that an agent observes, in which only cells within `VIEW_RADIUS` are visible."""
OBSERVATION_DIM = VIEW_SIDE**2 + 2
"""The view, row by row, with 1 for an agent and -1 for food, then the agent's y and x divided by the map's width."""

UP, LEFT, STAY, RIGHT, DOWN, HIT_UP, HIT_LEFT, HIT_RIGHT, HIT_DOWN = range(9)
"""Actions: five moves, then four attacks."""
NUM_ACTIONS, NUM_MOVES = 9, 5
OFFSETS = ((0, -1), (-1, 0), (0, 0), (1, 0), (0, 1), (0, -1), (-1, 0), (1, 0), (0, 1))
"""The cell that each action moves to or attacks, as an offset (x, y) from the agent."""

ATTACK_PENALTY, FOOD_REWARD, HIT_REWARD, VICTIM_PENALTY = -0.01, 1.0, 2.0, -4.0
"""Rewards for any attack, for hitting food, for hitting an agent, and for each attack received; added in float32, in
this order."""

TALLY = ("return", "food", "attacks", "misses")
"""Totals that engines compute for a step over all agents of a copy: reward, and attacks on food, agents and nothing."""

SMALLEST, LARGEST = 2, 1000
"""Smallest and largest number of agents."""
CELLS_PER_UNIT = 24.5
"""Cells inside the wall per agent or food; the published task has 784 for 32 units."""
TASKS = ("magent/jungle_6", "magent/jungle_20")


@dataclass(frozen=True, slots=True)
class Jungle:
    """One size of the task."""

    task: str
    num_agents: int
    num_foods: int
    side: int
    """Number of rows and columns of the map, including the wall."""


def exists(task: str) -> bool:
    """Whether `task` is a Jungle task: `magent/jungle_N` with N from 2 to 1000."""
    match = re.fullmatch(r"magent/jungle_([1-9]\d{0,3})", task)
    return match is not None and SMALLEST <= int(match[1]) <= LARGEST


def jungle(task: str) -> Jungle:
    """The sizes of an existing task: three foods for every five agents, on a map with the density of the published one
    (N = 20, F = 12, 30 x 30)."""
    agents = int(task.rpartition("_")[2])
    foods = max(1, round(0.6 * agents))
    return Jungle(task, agents, foods, round(math.sqrt(CELLS_PER_UNIT * (agents + foods))) + 2)
