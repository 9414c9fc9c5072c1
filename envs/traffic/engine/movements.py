"""Traffic demand by movement, the data for the paper's policy interpretation.

A movement is a heading of arrival combined with a turn (`signals.MOVEMENTS`).
"""

from __future__ import annotations

import numpy as np

from envs.traffic.engine.basics import following_drivable, kernel, next_member
from envs.traffic.engine.handles import map_at, pool_at, traffic_at
from envs.traffic.engine.state import NOT_PAIRED
from envs.traffic.network.layout import NONE


@kernel
def count_movements(
    network: np.ndarray,
    state: np.ndarray,
    link_agent: np.ndarray,
    link_movement: np.ndarray,
    present: np.ndarray,
    arrived: np.ndarray,
) -> None:
    """Add the vehicles on incoming lanes to `present`, (agent, movement) float64, by the lane link that they will take,
    and those not yet counted on their road to `arrived`, of the same shape. A vehicle that is changing lanes is present
    on both, as in CityFlow, and arrives once.

    network, state: addresses; link_agent, link_movement: see `Signals`.
    """
    m, t, p = map_at(network), traffic_at(state), pool_at(state)
    lane = next_member(t.occupied, 0, m.drivables)
    while 0 <= lane < m.lanes:
        v = t.queues[lane].first
        while v != NONE:
            vehicle = t.vehicles[v]
            place, end = t.route_starts[vehicle.route] + vehicle.route_position, t.route_starts[vehicle.route + 1]
            link = following_drivable(m, t.route_roads, place, end, lane)
            if link != NONE and link_movement[link - m.lanes] != NONE:
                agent, movement = link_agent[link - m.lanes], link_movement[link - m.lanes]
                present[agent, movement] += 1.0
                while t.route_roads[place] != m.places[lane].road:
                    place += 1
                tally = place - t.route_starts[vehicle.route] + 1
                if p.tallies[v] < tally:
                    arrived[agent, movement] += 1.0
                    p.tallies[v] = tally
                    if vehicle.partner_type != NOT_PAIRED:
                        p.tallies[vehicle.partner] = max(p.tallies[vehicle.partner], tally)
            v = vehicle.behind
        lane = next_member(t.occupied, lane + 1, m.drivables)
