"""Signal control on a network: its agents, their observations and actions, and their neighbours.

Every intersection whose phases differ is an agent. Its actions are its phases except the yellow one, the phase that
opens nothing, or nothing but right turns that another phase opens as well. If the file has no such phase, one is
generated that opens only the right turns that all phases open. Incoming roads are ordered by the side on which they
arrive, clockwise from the north, so that an entry of the observation means the same at every intersection, whichever
sides it has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from envs.traffic.files import LINK_RANKS
from envs.traffic.network import Network
from envs.traffic.network.layout import NONE

HEADINGS = ("east", "north", "west", "south")
"""Headings of incoming roads."""
TURNS = ("left", "straight", "right")
MOVEMENTS = tuple(f"{heading}_{turn}" for heading in HEADINGS for turn in TURNS)
"""Names of the movements: heading of the incoming road and turn."""
_CLOCKWISE = (3, 2, 1, 0)
"""Headings by the side on which they arrive: from the north, the east, the south, the west."""
_TURN_OF_RANK = {2: 0, 3: 1, 1: 2}
FIRST_PHASE = 0
"""Phase shown before the first decision of an episode."""
MADE_SECONDS = 5.0
"""`time` of a generated phase."""


@dataclass(frozen=True, eq=False)
class Signals:
    """The agents of a network: N agents with up to A actions."""

    network: Network
    """The given network with the generated phases added."""
    agents: np.ndarray
    """(N,) int32, intersection of each agent."""
    num_actions: int
    yellow: np.ndarray
    """(N,) int64, phase shown between two different phases."""
    action_phases: np.ndarray
    """(N, A) int64, phase of each action; where an intersection has fewer phases, the numbering simply continues."""
    action_seconds: np.ndarray
    """(N, A) float64, duration (s) of each phase in the file; 0 where there is none."""
    made: np.ndarray
    """(N,) bool, whether the yellow phase was generated; a generated phase comes after all others."""
    lanes: np.ndarray
    """(N, K) int32, incoming lanes in the order of the observation; -1 where an intersection has fewer."""
    leaving_lanes: np.ndarray
    """(N, L) int32, lanes of the outgoing roads, by side clockwise from the north; -1 where an intersection has
    fewer."""
    neighbours: np.ndarray
    """(N, D) int64, agents at the other ends of an agent's roads, looking past intersections without lights; clockwise
    from the north; 0 where masked."""
    mask: np.ndarray
    """(N, D) bool, whether a slot of `neighbours` is used."""
    action_mask: np.ndarray
    """(N, A) bool, whether the phase exists and opens more than the yellow one."""
    link_agent: np.ndarray
    """(K links,) int32, agent at the intersection of each lane link; -1 where that intersection is not an agent."""
    link_movement: np.ndarray
    """(K links,) int32, index into `MOVEMENTS`; -1 for links at intersections that are not agents, or of unknown
    turn."""
    greens: np.ndarray
    """(N, A, movements) float64, share of each movement among those an action opens, excluding right turns; sums to 1
    where the action opens anything."""

    def phases(self, actions: np.ndarray) -> np.ndarray:
        """The phases (..., N) of actions (..., N)."""
        return self.action_phases[np.arange(len(self.agents)), actions]


def signals_of(network: Network) -> Signals:
    """The agents of a network. Raises ValueError if no intersection has phases that differ."""
    phases, tables = np.diff(network.arrays.phase_starts), _open_road_links(network)
    used = [opens & links for opens, links in zip(tables, _links_for_vehicles(network), strict=True)]
    agents = np.array([i for i, opens in enumerate(used) if (opens != opens[:1]).any()], dtype=np.int32)
    if not len(agents):
        raise ValueError("the network has no signals to control: no intersection has two phases or more that differ")
    found = [_find_yellow(used[agent], _right_turns(network, agent)) for agent in agents.tolist()]
    made = np.array([phase is None for phase in found])
    yellow = np.array([phases[a] if phase is None else phase for a, phase in zip(agents, found, strict=True)], np.int64)
    num_actions = int((phases[agents] - ~made).max())
    if made.any():
        network = _with_yellow(network, tables, set(agents[made].tolist()))
    arrays = network.arrays
    phases = np.diff(arrays.phase_starts)
    numbers = np.arange(num_actions)
    action_phases = numbers + ((numbers >= yellow[:, None]) & ~made[:, None])
    exists = action_phases < np.where(made, yellow, phases[agents])[:, None]
    rows = arrays.phase_starts[agents][:, None] + np.where(exists, action_phases, 0)
    headings = np.array([_heading(line[-2], line[-1]) for line in network.road_points], dtype=np.int32)
    link_movement = _link_movements(network, headings, agents)
    opens = [
        _open_links(network, int(agent), int(phase), row[there].tolist(), num_actions)
        for agent, phase, row, there in zip(agents, yellow, action_phases, exists, strict=True)
    ]
    neighbours, mask = _neighbours(network, agents)
    return Signals(
        network=network,
        agents=agents,
        num_actions=num_actions,
        yellow=yellow,
        action_phases=action_phases,
        action_seconds=np.where(exists, arrays.phase_time[rows], 0.0),
        made=made,
        lanes=_lanes_by_side(network, _incoming_roads(network, agents), headings, _CLOCKWISE),
        leaving_lanes=_lanes_by_side(network, _leaving_roads(network, agents), *_outward(network)),
        neighbours=neighbours,
        mask=mask,
        action_mask=np.array([[bool(links) for links in actions] for actions in opens]),
        link_agent=_link_agents(network, agents),
        link_movement=link_movement,
        greens=np.array([[_green_shares(link_movement[sorted(links)]) for links in actions] for actions in opens]),
    )


def made_phases(signals: Signals) -> dict[str, dict[str, Any]]:
    """The generated phases in CityFlow's file format, by intersection id."""
    network, tables = signals.network, _open_road_links(signals.network)
    return {
        network.intersection_ids[agent]: {
            "time": MADE_SECONDS,
            "availableRoadLinks": np.flatnonzero(tables[agent][-1]).tolist(),
        }
        for agent in signals.agents[signals.made]
    }


def _open_road_links(network: Network) -> list[np.ndarray]:
    """One array (phase, road link) bool per intersection: which of its road links each phase opens."""
    arrays = network.arrays
    shapes = np.stack([np.diff(arrays.phase_starts), arrays.light_stride], axis=1).tolist()
    starts = np.cumsum([0, *(phases * links for phases, links in shapes)]).tolist()
    opens = arrays.open.astype(bool)
    return [opens[start:end].reshape(shape) for start, end, shape in zip(starts[:-1], starts[1:], shapes, strict=True)]


def _links_for_vehicles(network: Network) -> list[np.ndarray]:
    """One array (road link,) bool per intersection: which of its road links have lane links."""
    arrays = network.arrays
    tables = np.cumsum([0, *(arrays.light_stride * np.diff(arrays.phase_starts))])
    place = arrays.link_light - tables[arrays.link_intersection]
    used = np.zeros(len(network.road_link_from), dtype=bool)
    used[network.road_link_starts[arrays.link_intersection] + place] = True
    return [used[start:end] for start, end in pairwise(network.road_link_starts.tolist())]


def _right_turns(network: Network, intersection: int) -> np.ndarray:
    """(road link,) bool, which road links of an intersection are right turns."""
    links = slice(*network.road_link_starts[intersection : intersection + 2])
    return network.road_link_rank[links] == LINK_RANKS["turn_right"]


def _find_yellow(opens: np.ndarray, right: np.ndarray) -> int | None:
    """The phase that opens nothing but right turns that other phases open as well; among several, the one that opens
    most. None if there is no such phase, or if no other phase opens more.

    opens: (phase, road link) bool; right: (road link,) bool, which road links are right turns.
    """
    best, most = None, -1
    for phase, links in enumerate(opens):
        elsewhere = np.delete(opens, phase, axis=0).any(0)
        if not (links & ~(right & elsewhere)).any() and links.sum() > most:
            best, most = phase, int(links.sum())
    return best if best is not None and (opens & ~opens[best]).any() else None


def _with_yellow(network: Network, opens: list[np.ndarray], intersections: set[int]) -> Network:
    """The network with one more phase at the given intersections, which opens the right turns that all phases open."""
    arrays = network.arrays
    tables, times, counts = [], [], np.diff(arrays.phase_starts)
    for intersection, table in enumerate(opens):
        time = arrays.phase_time[arrays.phase_starts[intersection] :][: len(table)]
        if intersection in intersections:
            table = np.concatenate([table, [table.all(0) & _right_turns(network, intersection)]])
            time = np.append(time, MADE_SECONDS)
        tables.append(table.astype(np.uint8).ravel())
        times.append(time)
    starts = np.concatenate([[0], np.cumsum([len(time) for time in times])]).astype(np.int32)
    bases = np.concatenate([[0], np.cumsum([len(table) for table in tables])])
    before = np.concatenate([[0], np.cumsum(arrays.light_stride * counts)])
    moved = (bases - before)[arrays.link_intersection]
    return replace(
        network,
        arrays=arrays._replace(
            open=np.concatenate(tables),
            phase_starts=starts,
            phase_time=np.concatenate(times),
            link_light=(arrays.link_light + moved).astype(np.int32),
        ),
    )


def _heading(start: np.ndarray, end: np.ndarray) -> int:
    """The nearest direction, 0 east, 1 north, 2 west or 3 south; the first of two that are equally near."""
    x, y = end - start
    return int(np.argmax((x, y, -x, -y)))


def _incoming_roads(network: Network, agents: np.ndarray) -> list[list[int]]:
    """Roads that end at each agent: those listed by its intersection in the file, in that order, then any others."""
    starts, listed = network.arrays.adjacent_starts.tolist(), network.arrays.adjacent.tolist()
    road_to = network.arrays.road_to.tolist()
    ending: list[list[int]] = [[] for _ in network.intersection_ids]
    for road, end in enumerate(road_to):
        ending[end].append(road)
    return [
        list(dict.fromkeys((*(r for r in listed[starts[i] : starts[i + 1]] if road_to[r] == i), *ending[i])))
        for i in agents.tolist()
    ]


def _leaving_roads(network: Network, agents: np.ndarray) -> list[list[int]]:
    """Roads that begin at each agent, in the order of the file."""
    leaving: list[list[int]] = [[] for _ in network.intersection_ids]
    for road, start in enumerate(network.arrays.road_from.tolist()):
        leaving[start].append(road)
    return [leaving[i] for i in agents.tolist()]


def _outward(network: Network) -> tuple[np.ndarray, tuple[int, ...]]:
    """Headings of all roads at their beginning, and the order of headings clockwise from the north."""
    return np.array([_heading(line[0], line[1]) for line in network.road_points], dtype=np.int32), (1, 0, 3, 2)


def _lanes_by_side(
    network: Network, roads: Sequence[Sequence[int]], headings: np.ndarray, order: Sequence[int]
) -> np.ndarray:
    """Lanes of the roads of each agent, (agent, lane) int32, grouped by side and padded with -1 to the largest number
    of lanes that any agent has on that side. order: headings of the sides."""
    starts, heading_of = network.arrays.road_lane_starts.tolist(), headings.tolist()

    def lanes_of(roads: Sequence[int], heading: int) -> list[int]:
        return [i for road in roads if heading_of[road] == heading for i in range(starts[road], starts[road + 1])]

    sides = [[lanes_of(node_roads, heading) for heading in order] for node_roads in roads]
    widths = [max(len(node_sides[side]) for node_sides in sides) for side in range(len(order))]
    table = np.full((len(sides), sum(widths)), NONE, dtype=np.int32)
    for row, node_sides in zip(table, sides, strict=True):
        for side, lanes in enumerate(node_sides):
            begin = sum(widths[:side])
            row[begin : begin + len(lanes)] = lanes
    return table


def _neighbours(network: Network, agents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Neighbour lists and their mask. Agents are neighbours if a road, or a chain of roads that passes no other agent,
    connects them in either direction. Chains follow the turns that vehicles can make. Virtual intersections have no
    links; chains continue through them in all directions but back, because converted maps have them between signals."""
    number = {int(agent): i for i, agent in enumerate(agents)}
    together: list[set[int]] = [set() for _ in agents]
    leaving: list[list[int]] = [[] for _ in network.intersection_ids]
    for road, start in enumerate(network.arrays.road_from.tolist()):
        leaving[start].append(road)
    for road, start in enumerate(network.arrays.road_from.tolist()):
        if start in number:
            for end in _next_agents(network, road, number, leaving):
                if end != start:
                    together[number[start]].add(end)
                    together[number[end]].add(start)
    lists = [sorted(others, key=_bearing(network, int(agent))) for agent, others in zip(agents, together, strict=True)]
    width = max(1, *map(len, lists))
    neighbours = np.array(
        [[number[o] for o in listed] + [0] * (width - len(listed)) for listed in lists], dtype=np.int64
    )
    mask = np.array([[True] * len(listed) + [False] * (width - len(listed)) for listed in lists])
    return neighbours, mask


def _next_agents(network: Network, road: int, agents: dict[int, int], leaving: list[list[int]]) -> set[int]:
    """The first agents' intersections reached along a road and the roads that continue it.

    leaving: roads that begin at each intersection.
    """
    arrays, starts = network.arrays, network.next_road_starts
    found, seen, ahead = set(), {road}, [road]
    while ahead:
        here = ahead.pop()
        end = int(arrays.road_to[here])
        if end in agents:
            found.add(end)
            continue
        onward = network.next_roads[starts[here] : starts[here + 1]].tolist()
        if network.virtual[end]:
            onward = [r for r in leaving[end] if arrays.road_to[r] != arrays.road_from[here]]
        ahead += [r for r in onward if r not in seen]
        seen.update(onward)
    return found


def _bearing(network: Network, centre: int) -> Any:
    """A sort key for intersections around `centre`: angle clockwise from the north, then number."""

    def key(other: int) -> tuple[float, int]:
        x, y = network.points[other] - network.points[centre]
        return math.atan2(x, y) % (2 * math.pi), other

    return key


def _link_agents(network: Network, agents: np.ndarray) -> np.ndarray:
    agent_of = np.full(len(network.intersection_ids), NONE, dtype=np.int32)
    agent_of[agents] = np.arange(len(agents))
    return np.asarray(agent_of[network.arrays.link_intersection])


def _link_movements(network: Network, headings: np.ndarray, agents: np.ndarray) -> np.ndarray:
    arrays, is_agent = network.arrays, np.zeros(len(network.intersection_ids), dtype=bool)
    is_agent[agents] = True
    result = np.full(len(arrays.link_from), NONE, dtype=np.int32)
    for link, (lane, rank, intersection) in enumerate(
        zip(arrays.link_from, arrays.link_rank, arrays.link_intersection, strict=True)
    ):
        if is_agent[intersection] and int(rank) in _TURN_OF_RANK:
            result[link] = len(TURNS) * headings[arrays.lane_road[lane]] + _TURN_OF_RANK[int(rank)]
    return result


def _open_links(network: Network, agent: int, yellow: int, phases: Sequence[int], num_actions: int) -> list[set[int]]:
    """For each action, the lane links that its phase opens and the yellow phase does not; empty without a phase."""
    arrays = network.arrays
    links = links_at(network, agent)
    lights, stride = arrays.link_light[links], int(arrays.light_stride[agent])

    def of(phase: int) -> set[int]:
        return set(links[arrays.open[lights + phase * stride] != 0].tolist())

    return [of(phase) - of(yellow) for phase in phases] + [set()] * (num_actions - len(phases))


def links_at(network: Network, intersection: int) -> np.ndarray:
    """Lane links of an intersection, which are numbered consecutively."""
    return np.arange(*np.searchsorted(network.arrays.link_intersection, [intersection, intersection + 1]))


def _green_shares(movements: np.ndarray) -> np.ndarray:
    """Equal shares of the opened movements, excluding right turns."""
    opened = {int(m) for m in movements if m != NONE and TURNS[m % len(TURNS)] != "right"}
    shares = np.zeros(len(MOVEMENTS))
    for movement in opened:
        shares[movement] = 1 / len(opened)
    return shares
