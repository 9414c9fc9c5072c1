"""Copies side by side equal single engines, whatever the number of threads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from envs.errors import TrafficFileError
from envs.traffic import BatchEngine, Engine
from envs.traffic.synthetic.grid import write_grid
from envs.traffic.synthetic.trips import GridFlow


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A grid of 2 x 3 in heavy traffic; the engine's seed is 5."""
    return write_grid(tmp_path, 2, 3, GridFlow(rate=900.0, horizon=400, seed=5, crossings=3.0))


def lit(engine: Engine | BatchEngine) -> np.ndarray:
    """Intersections with lights."""
    return np.flatnonzero(~engine.network.virtual)


def drive(batch: BatchEngine, steps: int, phases: np.ndarray) -> list[np.ndarray]:
    """Counts and vehicle-seconds after every ten steps; phases (time, env, intersection)."""
    lanes, shown = np.arange(len(batch.network.lane_ids)), []
    for time in range(steps // 10):
        batch.set_phases(lit(batch), phases[time])
        batch.run(10)
        shown += [batch.lane_vehicles(lanes), batch.lane_seconds()]
    return shown


@pytest.mark.parametrize("threads", [1, 2, 3, None])
def test_copies_equal_single_engines(config: Path, threads: int | None) -> None:
    """Copy i has the seed of the configuration plus i. Vehicle-seconds are summed up second by second here."""
    phases = np.random.default_rng(0).integers(1, 9, (30, 3, 6))
    batch = BatchEngine.from_config(config, 3, threads)
    shown = drive(batch, 300, phases)
    for copy in range(3):
        engine = Engine(config)
        engine.set_random_seed(5 + copy)
        names = [engine.network.intersection_ids[i] for i in lit(engine)]
        for time in range(30):
            for name, phase in zip(names, phases[time, copy].tolist(), strict=True):
                engine.set_tl_phase(name, phase)
            seconds = np.zeros(len(engine.network.lane_ids))
            for _ in range(10):
                engine.next_step()
                seconds += engine.lane_vehicle_count
                for lane, waiting in engine.waiting_vehicles().items():
                    seconds[engine.network.lane_index[lane]] += len(waiting)
            assert np.array_equal(shown[2 * time][copy], engine.lane_vehicle_count)
            assert np.array_equal(shown[2 * time + 1][copy], seconds)
        simulation = batch.simulations[copy]
        assert simulation.average_travel_time() == engine.get_average_travel_time()
        assert simulation.waiting == len(engine.get_vehicles(True)) - len(engine.get_vehicles()) > 0
        assert np.array_equal(simulation.lane_waiting(), engine.lane_waiting_vehicle_count)


def test_lane_vehicles_of_tables(config: Path) -> None:
    batch = BatchEngine.from_config(config, 2, 1)
    batch.run(100)
    everything = batch.lane_vehicles(np.arange(len(batch.network.lane_ids)))
    table = np.array([[0, 5, 7], [9, 0, 2]])
    assert np.array_equal(batch.lane_vehicles(table), everything[:, table])
    assert everything.sum() > 0


def test_restart_and_seed(config: Path) -> None:
    phases = np.random.default_rng(1).integers(1, 9, (20, 2, 6))
    batch = BatchEngine.from_config(config, 2, 2)
    first = drive(batch, 200, phases)
    batch.restart()
    assert not batch.lane_seconds().any()
    batch.seed([5, 6])
    assert all(np.array_equal(a, b) for a, b in zip(first, drive(batch, 200, phases), strict=True))


def test_without_a_seed_it_is_0(config: Path) -> None:
    engine = Engine(config)
    shown = []
    for seed in (None, 0):
        batch = BatchEngine(engine.network, engine.flows, 1)
        if seed is not None:
            batch.seed([seed])
        batch.run(200)
        shown.append(batch.simulations[0].state.traffic.vehicles["priority"].tolist())
    assert shown[0] == shown[1]


def test_a_hook_runs_after_every_step(config: Path) -> None:
    batch = BatchEngine.from_config(config, 2, 2)
    times: list[list[float]] = []
    batch.after_step = lambda: times.append([simulation.time for simulation in batch.simulations])
    batch.run(3)
    batch.after_step = None
    batch.run(2)
    assert times == [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]
    assert batch.simulations[1].time == 5.0


def test_more_threads_than_copies_are_not_made(config: Path) -> None:
    assert BatchEngine.from_config(config, 2, 16).threads == 2


def test_wrong_numbers_are_refused(config: Path) -> None:
    batch = BatchEngine.from_config(config, 2)
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        batch.seed([1])
    for num_envs, threads in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match=f"num_envs = {num_envs}, threads = {threads}: expected positive"):
            BatchEngine.from_config(config, num_envs, threads)
    with pytest.raises(TrafficFileError, match="there is no such file"):
        BatchEngine.from_config(config.with_name("absent.json"), 1)
