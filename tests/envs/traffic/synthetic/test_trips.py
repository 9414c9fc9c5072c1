"""Trips of bounded length: how often they end, that they load all roads alike, and that both ways to get them agree."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from envs.traffic.network import Network, build_network
from envs.traffic.network.routes import Flows, build_flows
from envs.traffic.synthetic.grid import grid_flow, grid_flows, grid_roadnet
from envs.traffic.synthetic.trips import GridFlow

FLOW = GridFlow(rate=600.0, crossings=4.0, seed=3)
SIDE = 6
SHA256 = "947fbd175551606f975498310098180bee5a0ee7b7900bc828a66ac875fbe6db"


@pytest.fixture(scope="module")
def network() -> Network:
    return build_network(grid_roadnet(SIDE, SIDE))


def routes_of(flows: Flows) -> list[list[int]]:
    """Roads of every flow."""
    starts, roads = flows.arrays.route_starts, flows.arrays.route_roads
    return [roads[starts[route] : starts[route + 1]].tolist() for route in flows.arrays.route]


def test_arrays_are_those_of_the_file(network: Network) -> None:
    """Made without names, and read from the objects of a flow file."""
    direct, read = grid_flows(SIDE, SIDE, FLOW, network), build_flows(grid_flow(SIDE, SIDE, FLOW), network)
    assert routes_of(direct) == routes_of(read)
    for name in ("interval", "start", "end", "kind", "kinds"):
        np.testing.assert_array_equal(getattr(direct.arrays, name), getattr(read.arrays, name))


def test_trips_end_as_often_as_they_should(network: Network) -> None:
    """Of the trips that have crossed an intersection and reach a road inside the grid, one in four ends there; apart
    from the border, none ends elsewhere. Within four standard deviations."""
    inside = ~network.virtual[network.arrays.road_to]
    arrived = ended = 0
    for route in routes_of(grid_flows(SIDE, SIDE, FLOW, network)):
        assert len(route) >= 2
        later = [road for road in route[1:] if inside[road]]
        arrived += len(later)
        ended += bool(inside[route[-1]])
    assert abs(ended - arrived / 4) < 4 * np.sqrt(arrived * 3 / 16)


def test_all_roads_carry_the_same_load(network: Network) -> None:
    """Vehicles that continue from a road, at the border and inside: 600 within the hour, five standard deviations."""
    inside = ~network.virtual[network.arrays.road_to]
    counts = np.zeros(len(network.road_ids))
    for route in routes_of(grid_flows(SIDE, SIDE, FLOW, network)):
        counts[route[:-1]] += 1
    assert np.abs(counts[inside] - FLOW.rate).max() < 5 * np.sqrt(FLOW.rate)
    entries = network.virtual[network.arrays.road_from] & inside
    for roads in (entries, inside & ~entries):
        assert abs(counts[roads].mean() - FLOW.rate) < 5 * np.sqrt(FLOW.rate / roads.sum() * 4)


def test_vehicles_come_in_order_of_time(network: Network) -> None:
    start = grid_flows(SIDE, SIDE, FLOW, network).arrays.start
    assert (np.diff(start) >= 0).all()
    assert start[0] >= 0
    assert start[-1] < FLOW.horizon


def test_equal_seeds_give_equal_trips() -> None:
    """On every machine: the recorded hash."""
    flow = grid_flow(2, 3, GridFlow(crossings=3.0, horizon=300, seed=1))
    assert hashlib.sha256(json.dumps(flow).encode()).hexdigest() == SHA256
    assert flow != grid_flow(2, 3, GridFlow(crossings=3.0, horizon=300, seed=2))


@pytest.mark.parametrize("crossings", [0.5, -1.0, float("inf"), float("nan")])
def test_wrong_lengths(crossings: float) -> None:
    with pytest.raises(ValueError, match="crossings must be None or a number of at least 1"):
        GridFlow(crossings=crossings)
