"""Routes and kinds of vehicles added to an engine besides those of its flows.

They follow those of the flows in the tables of the state. The tables have spare capacity and grow by doubling, and
earlier additions are looked up and reused, so that adding one takes amortised constant time.
"""

from __future__ import annotations

import numpy as np

from envs.traffic.engine.state import Traffic, drivers
from envs.traffic.network import Network
from envs.traffic.network.layout import NONE
from envs.traffic.network.routes import expand_route

MOST_KEPT = 1 << 16
"""Maximum number of expanded routes that are cached."""


class Additions:
    """Adds entries to the tables of one engine. A table from elsewhere is copied before it is written to, because a
    snapshot may share it."""

    def __init__(self, network: Network, interval: float) -> None:
        self._network, self._interval = network, interval
        self._expanded: dict[tuple[int, ...], np.ndarray | None] = {}
        self._route_starts = self._kinds = np.empty(0)
        """The tables to which the numbers below belong."""
        self._routes: dict[bytes, int] = {}
        self._kind_numbers: dict[bytes, int] = {}
        self._count = 0
        """Number of routes in the table."""

    def expanded(self, anchors: tuple[int, ...]) -> np.ndarray | None:
        """The roads of a route, cached; see `routes.expand_route`. None if there is no route of two or more roads."""
        if anchors in self._expanded:
            return self._expanded[anchors]
        if len(self._expanded) >= MOST_KEPT:
            self._expanded.clear()
        roads = self._expanded[anchors] = expand_route(self._network, anchors)
        return roads

    def route(self, traffic: Traffic, roads: np.ndarray) -> tuple[int, dict[str, np.ndarray]]:
        """The number of a route, and any tables that must replace those in `traffic`, by name."""
        starts, table = traffic.route_starts, traffic.route_roads
        replaced: dict[str, np.ndarray] = {}
        if starts is not self._route_starts:
            self._routes, self._count = {}, int(np.count_nonzero(starts != NONE)) - 1
        key = roads.tobytes()
        known = self._routes.get(key)
        if known is not None:
            return known, replaced
        end = int(starts[self._count]) + len(roads)
        if starts is not self._route_starts or self._count + 2 > len(starts) or end > len(table):
            starts, table = _longer(starts, self._count + 2), _longer(table, end)
            self._route_starts = starts
            replaced = {"route_starts": starts, "route_roads": table}
        number, self._count = self._count, self._count + 1
        table[starts[number] : end] = roads
        starts[self._count] = end
        self._routes[key] = number
        return number, replaced

    def kind(self, traffic: Traffic, kind: np.void | np.ndarray) -> tuple[int, dict[str, np.ndarray]]:
        """The number of a kind of vehicles, and any table that must replace the one in `traffic`, by name."""
        if traffic.kinds is not self._kinds:
            self._kinds, self._kind_numbers = traffic.kinds, {}
        key = kind.tobytes()
        number = self._kind_numbers.get(key)
        if number is not None:
            return number, {}
        driver = drivers(np.atleast_1d(kind), self._interval)
        same = np.flatnonzero(traffic.kinds == driver)
        number = int(same[0]) if len(same) else len(traffic.kinds)
        replaced = {}
        if not len(same):
            self._kinds = np.concatenate((traffic.kinds, driver))
            replaced = {"kinds": self._kinds}
        self._kind_numbers[key] = number
        return number, replaced


def _longer(part: np.ndarray, least: int) -> np.ndarray:
    """A copy with room for twice as many entries, and at least `least`; free entries are -1."""
    result = np.full(max(2 * len(part), 2 * least), NONE, dtype=np.int32)
    result[: len(part)] = part
    return result
