"""Several threads inside one simulation, and reassigned slots: the numbers remain those of one thread."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from envs.traffic import Flows, Network, Simulation, build_network
from envs.traffic.engine import locality, team
from envs.traffic.engine import simulation as simulations
from envs.traffic.engine.checkpoint import from_state_dict, state_dict
from envs.traffic.engine.inspection import VehicleTable, vehicle_table
from envs.traffic.synthetic.grid import grid_flows, grid_roadnet
from envs.traffic.synthetic.trips import GridFlow

SIDE, STEPS = 5, 400


@cache
def parts() -> tuple[Network, Flows]:
    """A grid in heavy traffic."""
    network = build_network(grid_roadnet(SIDE, SIDE, 200.0))
    return network, grid_flows(SIDE, SIDE, GridFlow(rate=900.0, horizon=STEPS, crossings=4.0), network)


def drive(simulation: Simulation, steps: int = STEPS, at_once: int = 10) -> list[VehicleTable]:
    """All vehicles every 50 steps; phases change every ten."""
    lights = np.flatnonzero(np.diff(simulation.network.arrays.phase_starts) > 1)
    phases = np.random.default_rng(3).integers(1, 9, (steps // 10, len(lights)))
    tables = []
    for i, shown in enumerate(phases):
        simulation.state.traffic.phase[lights] = shown
        for _ in range(10 // at_once):
            simulation.run(at_once)
        if i % 5 == 4:
            tables.append(vehicle_table(simulation.state))
    return tables


def require_equal(one: list[VehicleTable], two: list[VehicleTable]) -> None:
    for a, b in zip(one, two, strict=True):
        for name, x, y in zip(VehicleTable._fields, a, b, strict=True):
            equal = x == y if isinstance(x, list) else np.array_equal(x, y, equal_nan=x.dtype.kind == "f")
            assert equal, name


@pytest.fixture(scope="module")
def alone() -> list[VehicleTable]:
    tables = drive(Simulation(*parts()))
    assert len(tables[-1].ids) > 500
    assert (tables[-1].blocker >= 0).any()
    return tables


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_several_threads_give_the_numbers_of_one(
    alone: list[VehicleTable], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulations, "LEAST_DRIVABLES", 1)
    monkeypatch.setattr(team, "BALANCED", 7)
    simulation = Simulation(*parts())
    simulation.use_threads(threads)
    assert simulation.threads == threads
    require_equal(drive(simulation), alone)
    simulation.use_threads(1)
    assert simulation.threads == 1


def test_slots_given_out_anew_give_the_same_numbers(alone: list[VehicleTable], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locality, "LEAST_VEHICLES", 1)
    monkeypatch.setattr(locality, "INTERVAL", 7)
    simulation = Simulation(*parts())
    sorted_ = []
    real = locality.sort_slots

    def sort(state: Any) -> None:
        real(state)
        sorted_.append(int(state.traffic.counts[0]))

    monkeypatch.setattr(locality, "sort_slots", sort)
    require_equal(drive(simulation), alone)
    assert sorted_ == list(range(sorted_[0], STEPS, 7))
    assert sorted_[0] <= 10


def test_sorted_slots_lie_as_a_step_visits_them() -> None:
    simulation = Simulation(*parts())
    drive(simulation, 200)
    locality.sort_slots(simulation.state)
    traffic, pool = simulation.state.traffic, simulation.state.pool
    members = int(traffic.counts[3])
    slots = []
    for drivable in range(len(traffic.queues)):
        v = int(traffic.queues[drivable]["first"])
        while v >= 0:
            slots.append(v)
            v = int(traffic.vehicles[v]["behind"])
    assert slots == list(range(simulation.running))
    assert sorted(pool.members[:members]) == list(range(members))
    free = int(traffic.counts[4])
    assert sorted(pool.free[:free]) == list(range(members, len(pool.free)))


def test_sorting_and_threads_go_on_from_a_saved_state(
    alone: list[VehicleTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulations, "LEAST_DRIVABLES", 1)
    monkeypatch.setattr(locality, "LEAST_VEHICLES", 1)
    simulation = Simulation(*parts())
    simulation.use_threads(2)
    drive(simulation, 200)
    saved = state_dict(simulation.state)
    other = Simulation(*parts())
    other.load(from_state_dict(saved, other.state))
    for one in (simulation, other):
        one.run(100)
    require_equal([vehicle_table(other.state)], [vehicle_table(simulation.state)])


def test_small_cities_and_lane_changes_have_one_thread() -> None:
    simulation = Simulation(*parts())
    simulation.use_threads(4)
    assert simulation.threads == 1
    with pytest.raises(ValueError, match="threads = 0: expected a positive whole number"):
        simulation.use_threads(0)


def test_lane_changes_have_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulations, "LEAST_DRIVABLES", 1)
    simulation = Simulation(*parts(), lane_change=True)
    simulation.use_threads(4)
    assert simulation.threads == 1


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_stretches_share_vehicles_out(count: int) -> None:
    sizes = np.random.default_rng(0).integers(0, 9, 64 * 40 + 17)
    shares = team.stretches(sizes, count)
    assert [start for start, _ in shares] == [0, *(end for _, end in shares[:-1])]
    assert shares[-1][1] == len(sizes)
    assert all(start % 64 == 0 for start, _ in shares)
    loads = [sizes[start:end].sum() for start, end in shares]
    assert max(loads) - min(loads) < 4 * 64 * 9
