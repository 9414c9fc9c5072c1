"""How much traffic wants to go which way, and what the signals give it: the data of the paper's policy interpretation.

A movement is a heading of arrival and a turn (`signals.MOVEMENTS`); all intersections are added up.
"""

from __future__ import annotations

import numpy as np

from envs.traffic.engine.basics import following_drivable, kernel, next_member
from envs.traffic.engine.handles import map_at, traffic_at
from envs.traffic.network.layout import NONE


@kernel
def count_present(network: np.ndarray, state: np.ndarray, link_movement: np.ndarray, present: np.ndarray) -> None:
    """Add the vehicles on incoming lanes to `present`, (movements,) float64, by the lane link that they will take.

    network, state: addresses; link_movement: see `Signals`.
    """
    m, t = map_at(network), traffic_at(state)
    lane = next_member(t.occupied, 0, m.drivables)
    while 0 <= lane < m.lanes:
        v = t.queues[lane].first
        while v != NONE:
            vehicle = t.vehicles[v]
            place, end = t.route_starts[vehicle.route] + vehicle.route_position, t.route_starts[vehicle.route + 1]
            link = following_drivable(m, t.route_roads, place, end, lane)
            if link != NONE and link_movement[link - m.lanes] != NONE:
                present[link_movement[link - m.lanes]] += 1.0
            v = vehicle.behind
        lane = next_member(t.occupied, lane + 1, m.drivables)
