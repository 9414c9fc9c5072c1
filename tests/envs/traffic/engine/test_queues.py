"""The incrementally updated state of lanes and lane links equals the recomputed one; records fit the caches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from envs.traffic import Engine, Simulation, build_network
from envs.traffic.engine.checkpoint import RECORDS, from_state_dict, state_dict
from envs.traffic.engine.inspection import vehicle_name, vehicle_table
from envs.traffic.engine.pointer import addresses
from envs.traffic.engine.queues import complete
from envs.traffic.engine.state import QUEUE, UNKNOWN, VEHICLE, State, copied
from envs.traffic.network.layout import LINE, NONE
from envs.traffic.network.map import PLACE
from envs.traffic.synthetic.grid import grid_flows, grid_roadnet, write_grid
from envs.traffic.synthetic.trips import GridFlow

FLOW = GridFlow(rate=1200.0, horizon=300, crossings=3.0)


def city(interval: float = 1.0, lane_change: bool = False) -> Simulation:
    """A grid of 3 x 3 in heavy traffic."""
    network = build_network(grid_roadnet(3, 3, 150.0))
    return Simulation(network, grid_flows(3, 3, FLOW, network), interval, lane_change)


def found_anew(simulation: Simulation) -> State:
    """A copy of the state whose derived parts are spoilt, then filled in."""
    state = copied(simulation.state)
    state.traffic.alerts[:] = (True, True, True)
    state.traffic.queues["onward"] = 7
    state.pool.priorities[:] = 3
    complete(state, addresses(simulation.map), addresses(*state))
    return state


def leaving(state: State, simulation: Simulation) -> dict[int, int]:
    """Lane links by who has left them and is the last on the lane behind."""
    queues, result = state.traffic.queues, {}
    for link in range(simulation.map.lanes, simulation.map.drivables):
        if not state.traffic.alerts["leaves"][link]:
            continue
        v = int(queues["waiting_last"][link])
        is_last = queues["last"][simulation.map.places["end"][link]] == v
        if is_last and state.traffic.vehicles["previous"][v] == link:
            result[link] = v
    return result


def require_same(kept: State, found: State, simulation: Simulation) -> None:
    lanes, members = simulation.map.lanes, int(kept.traffic.counts[3])
    occupied = kept.traffic.queues["size"][:lanes] > 0
    for name in ("onward", "waiting_first"):
        part = slice(0, lanes) if name == "onward" else slice(lanes, None)
        assert np.array_equal(kept.traffic.queues[name][part], found.traffic.queues[name][part]), name
    assert (kept.traffic.queues["onward"][:lanes][~occupied] == UNKNOWN).all()
    for name in ("on", "comes"):
        assert np.array_equal(kept.traffic.alerts[name][lanes:], found.traffic.alerts[name][lanes:]), name
    assert leaving(kept, simulation) == leaving(found, simulation)
    assert np.array_equal(kept.pool.priorities[:members], found.pool.priorities[:members])


@pytest.mark.parametrize("lane_change", [False, True])
@pytest.mark.parametrize("interval", [0.5, 1.0, 3.0])
def test_what_is_kept_up_is_what_is_found_anew(interval: float, lane_change: bool) -> None:
    simulation = city(interval, lane_change)
    lights = np.flatnonzero(np.diff(simulation.network.arrays.phase_starts) > 1)
    generator, seen = np.random.default_rng(0), [0, 0, 0]
    for _ in range(60):
        simulation.state.traffic.phase[lights] = generator.integers(1, 9, len(lights))
        simulation.run(3)
        found = found_anew(simulation)
        require_same(simulation.state, found, simulation)
        links = found.traffic.alerts[simulation.map.lanes :]
        seen = [seen[i] + int(links[name].sum()) for i, name in enumerate(("on", "comes", "leaves"))]
    assert min(seen) > 0


def test_a_new_route_is_noticed(tmp_path: Path) -> None:
    """The first vehicle of a lane is given other routes, those that it takes and one that it cannot take."""
    engine = Engine(write_grid(tmp_path, 3, 3, FLOW))
    engine.run(100)
    queues, lanes = engine.state.traffic.queues, len(engine.network.lane_ids)
    roads = engine.network.road_ids
    answers = []
    for lane in np.flatnonzero(queues["size"][:lanes] > 0)[:20].tolist():
        vehicle = vehicle_name(engine.state.traffic.vehicles[queues["first"][lane]])
        for road in roads[::5]:
            answers.append(engine.set_vehicle_route(vehicle, [road]))
            require_same(engine.state, found_anew(engine.simulation), engine.simulation)
    assert True in answers
    assert False in answers


def test_records_fit_the_lines_of_a_cache() -> None:
    assert (VEHICLE.itemsize, QUEUE.itemsize, PLACE.itemsize) == (3 * LINE, LINE // 2, LINE)
    simulation = city()
    simulation.run(60)
    for state in (simulation.state, copied(simulation.state)):
        for part in (state.traffic.vehicles, state.traffic.plans, state.traffic.queues, simulation.map.places):
            assert part.ctypes.data % LINE == 0


def test_states_are_saved_in_an_order_that_stays() -> None:
    """Checkpoints are read by later versions, whatever order of fields is the fastest then."""
    vehicles, queues = RECORDS["vehicles"][1], RECORDS["queues"][1]
    assert vehicles.fields is not None
    assert queues.fields is not None
    assert (vehicles.itemsize, queues.itemsize) == (208, 36)
    assert [vehicles.fields[name][1] for name in ("speed", "kind", "running", "custom_speed", "partner", "offset")] == [
        *(0, 40, 96, 104, 128, 200)
    ]
    assert [queues.fields[name][1] for name in ("first", "waiting_first", "announced")] == [0, 16, 32]
    assert set(VEHICLE.names or ()) - set(vehicles.names or ()) == {"yields"}


@pytest.mark.parametrize("lane_change", [False, True])
def test_a_saved_state_goes_on(lane_change: bool) -> None:
    simulation, other = city(lane_change=lane_change), city(lane_change=lane_change)
    simulation.run(150)
    assert (simulation.state.traffic.vehicles["blocker"] != NONE).any()
    other.load(from_state_dict(state_dict(simulation.state), other.state))
    for _ in range(5):
        one, two = vehicle_table(simulation.state), vehicle_table(other.state)
        assert one.ids == two.ids
        for name, x, y in zip(one._fields[1:], one[1:], two[1:], strict=True):
            assert np.array_equal(x, y, equal_nan=x.dtype.kind == "f"), name
        simulation.run(10)
        other.run(10)
