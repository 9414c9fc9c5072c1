"""What signal control needs to know of a network: its agents, what they see and do, and who is next to whom.

Every intersection with lights is an agent. Its actions are its phases but the first, which is the yellow one: in it
only right turns are open. Roads that come in are ordered by the side on which they arrive, clockwise from the north,
so that a place in the observation means the same at every intersection, whichever sides it has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.traffic.layout import NONE
from envs.traffic.network import Network

HEADINGS = ("east", "north", "west", "south")
"""Of the roads that come in."""
TURNS = ("left", "straight", "right")
MOVEMENTS = tuple(f"{heading}_{turn}" for heading in HEADINGS for turn in TURNS)
"""Heading of the road on which a movement comes in, and its turn."""
_CLOCKWISE = (3, 2, 1, 0)
"""Headings by the side on which they arrive: from the north, the east, the south, the west."""
_TURN_OF_RANK = {2: 0, 3: 1, 1: 2}
YELLOW = 0
"""Phase shown while another one is about to come."""


@dataclass(frozen=True, eq=False)
class Signals:
    """The agents of a network. N agents, A actions."""

    network: Network
    agents: np.ndarray
    """(N,) int32, intersections."""
    num_actions: int
    lanes: np.ndarray
    """(N, K) int32, incoming lanes in the order of the observation; -1 where an intersection has fewer."""
    neighbours: np.ndarray
    """(N, D) int64, agents at the other ends of an agent's roads, clockwise from the north; 0 where masked."""
    mask: np.ndarray
    """(N, D) bool."""
    action_mask: np.ndarray
    """(N, A) bool: phases that exist and open more than the yellow one."""
    link_movement: np.ndarray
    """(K links,) int32 into `MOVEMENTS`; -1 for links of intersections that are no agents, or of unknown turn."""
    greens: np.ndarray
    """(N, A, movements) float64: share of each movement in what an action opens, right turns left out; sums to 1
    where the action opens anything."""

    def phases(self, actions: np.ndarray) -> np.ndarray:
        """Phases (..., N) of actions (..., N)."""
        return actions + 1


def signals_of(network: Network) -> Signals:
    """The agents of a network. Raises ValueError where no intersection has two phases or more."""
    arrays = network.arrays
    phases = np.diff(arrays.phase_starts)
    agents = np.flatnonzero(phases >= 2).astype(np.int32)
    if not len(agents):
        raise ValueError("the network has no signals to control: no intersection has two phases or more")
    headings = np.array([_heading(line[-2], line[-1]) for line in network.road_points], dtype=np.int32)
    num_actions = int(phases[agents].max()) - 1
    link_movement = _link_movements(network, headings, phases)
    opens = [_open_links(network, int(agent), num_actions) for agent in agents]
    action_mask = np.array([[bool(more) for more in own] for own in opens])
    greens = np.array([[_green_shares(link_movement[sorted(links)]) for links in own] for own in opens])
    neighbours, mask = _neighbours(network, agents)
    lanes = _incoming_lanes(network, agents, headings)
    return Signals(network, agents, num_actions, lanes, neighbours, mask, action_mask, link_movement, greens)


def _heading(start: np.ndarray, end: np.ndarray) -> int:
    """0 east, 1 north, 2 west, 3 south: the nearest direction; the first of two that are equally near."""
    x, y = end - start
    return int(np.argmax((x, y, -x, -y)))


def _roads(network: Network, intersection: int) -> np.ndarray:
    starts = network.arrays.adjacent_starts
    return network.arrays.adjacent[starts[intersection] : starts[intersection + 1]]


def _incoming_lanes(network: Network, agents: np.ndarray, headings: np.ndarray) -> np.ndarray:
    """Lanes of the roads that come in, side by side, each side as wide as the widest of all agents."""
    starts, road_to = network.arrays.road_lane_starts, network.arrays.road_to
    sides: list[list[list[int]]] = []
    for agent in agents:
        incoming = [int(road) for road in _roads(network, agent) if road_to[road] == agent]
        sides.append(
            [
                [lane for road in incoming if headings[road] == h for lane in range(starts[road], starts[road + 1])]
                for h in _CLOCKWISE
            ]
        )
    widths = [max(len(own[side]) for own in sides) for side in range(4)]
    table = np.full((len(agents), sum(widths)), NONE, dtype=np.int32)
    for row, own in zip(table, sides, strict=True):
        for side, lanes in enumerate(own):
            begin = sum(widths[:side])
            row[begin : begin + len(lanes)] = lanes
    return table


def _neighbours(network: Network, agents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Agents with a road in between, in either direction."""
    number = {int(agent): i for i, agent in enumerate(agents)}
    arrays = network.arrays
    lists = []
    for agent in agents:
        others = {int(end) for r in _roads(network, agent) for end in (arrays.road_from[r], arrays.road_to[r])}
        lists.append(sorted((o for o in others - {int(agent)} if o in number), key=_bearing(network, int(agent))))
    width = max(1, *map(len, lists))
    neighbours = np.array([[number[o] for o in own] + [0] * (width - len(own)) for own in lists], dtype=np.int64)
    mask = np.array([[True] * len(own) + [False] * (width - len(own)) for own in lists])
    return neighbours, mask


def _bearing(network: Network, centre: int) -> Any:
    """Angle clockwise from the north, with the number of the intersection to break ties."""

    def key(other: int) -> tuple[float, int]:
        x, y = network.points[other] - network.points[centre]
        return math.atan2(x, y) % (2 * math.pi), other

    return key


def _link_movements(network: Network, headings: np.ndarray, phases: np.ndarray) -> np.ndarray:
    arrays = network.arrays
    result = np.full(len(arrays.link_from), NONE, dtype=np.int32)
    for link, (lane, rank, intersection) in enumerate(
        zip(arrays.link_from, arrays.link_rank, arrays.link_intersection, strict=True)
    ):
        if phases[intersection] >= 2 and int(rank) in _TURN_OF_RANK:
            result[link] = len(TURNS) * headings[arrays.lane_road[lane]] + _TURN_OF_RANK[int(rank)]
    return result


def _open_links(network: Network, agent: int, num_actions: int) -> list[set[int]]:
    """For each action, the lane links that it opens and the yellow phase does not; empty where there is no phase."""
    arrays = network.arrays
    links = np.flatnonzero(arrays.link_intersection == agent)
    stride, phases = int(arrays.light_stride[agent]), network.num_phases(agent)

    def of(phase: int) -> set[int]:
        return {int(k) for k in links if arrays.open[arrays.link_light[k] + phase * stride]}

    return [of(action + 1) - of(YELLOW) if action + 1 < phases else set() for action in range(num_actions)]


def _green_shares(movements: np.ndarray) -> np.ndarray:
    """Equal shares of the movements that are opened, right turns left out."""
    opened = {int(m) for m in movements if m != NONE and TURNS[m % len(TURNS)] != "right"}
    shares = np.zeros(len(MOVEMENTS))
    for movement in opened:
        shares[movement] = 1 / len(opened)
    return shares
