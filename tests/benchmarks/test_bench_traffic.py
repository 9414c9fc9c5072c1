"""How fast the traffic engine steps, loads and compiles. `pytest tests/benchmarks --benchmark-enable`.

One thread; the phases of all intersections are set at random every 10 s, which counts. Rates of CityFlow were recorded
on a quiet machine of the same kind, with the same roads, vehicles and signals. Slowness does not fail.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import envs
from envs.traffic import BatchEngine, Engine, Flows, Network, Simulation, build_network
from envs.traffic.synthetic.grid import grid_flows, grid_roadnet, write_grid
from envs.traffic.synthetic.trips import GridFlow
from envs.traffic.tasks import city_of
from tests.beside import MISSING
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
FLOW = GridFlow(rate=300.0, crossings=None)
"""300 vehicles an hour on every road into the grid, from border to border."""


class City(NamedTuple):
    """A city, how long it runs, and what CityFlow reaches there."""

    name: str
    side: int
    """Rows and columns; 0 for the real map."""
    seconds: int
    original: float
    """Steps of CityFlow per second."""
    target: float
    """How many times as fast ours should be at least."""


CITIES = (
    City("Hangzhou 4x4", 0, 3600, 3525.0, 2.0),
    City("grid 7x7", 7, 1000, 1492.0, 2.0),
    City("grid 10x10", 10, 1000, 650.0, 2.0),
    City("grid 15x15", 15, 1000, 228.0, 5.0),
    City("grid 35x35", 35, 600, 53.0, 10.0),
)


def cities() -> Iterator[City]:
    """Those whose files are here."""
    yield from (city for city in CITIES if city.side or "cityflow/hangzhou_16" not in MISSING)


def build(side: int) -> tuple[Network, Flows]:
    """The parts of a grid, or of Hangzhou."""
    if not side:
        return city_of("cityflow/hangzhou_16")[:2]
    network = build_network(grid_roadnet(side, side))
    return network, grid_flows(side, side, FLOW, network)


def drive(simulation: Simulation, seconds: int, at_once: int) -> float:
    """Steps per second of an episode in which phases change every 10 s, in calls of `at_once` steps."""
    lights = np.flatnonzero(np.diff(simulation.network.arrays.phase_starts) > 1)
    phases = np.random.default_rng(0).integers(1, 9, (seconds // 10, len(lights)))
    simulation.restart()
    simulation.seed(0)
    begin = time.perf_counter()
    for shown in phases:
        simulation.state.traffic.phase[lights] = shown
        for _ in range(10 // at_once):
            simulation.run(at_once)
    return seconds / (time.perf_counter() - begin)


@pytest.mark.parametrize("side", [7, 15])
def test_ten_seconds(benchmark: Any, side: int) -> None:
    """In dense traffic."""
    simulation = Simulation(*build(side))
    drive(simulation, 500, 10)
    benchmark(simulation.run, 10)


@pytest.mark.bench
def test_speed_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Print steps per second compared with CityFlow's: called one by one, ten at a time, and the ratio of the
    latter."""
    rows = []
    for city in cities():
        simulation = Simulation(*build(city.side))
        drive(simulation, 100, 10)  # compiles
        one, ten = (max(drive(simulation, city.seconds, at_once) for _ in range(2)) for at_once in (1, 10))
        ratio = ten / city.original
        verdict = "reached" if ratio >= city.target else "missed"
        rows.append(f"{city.name:<14}{city.original:>10.0f}{one:>12.0f}{ten:>12.0f}{ratio:>12.1f}")
        rows[-1] += f"{city.target:>9.0f}x {verdict}"
    with capsys.disabled():
        print("\nsimulated steps/s of one city, one thread")
        print(f"{'':<14}{'CityFlow':>10}{'one by one':>12}{'run(10)':>12}{'x CityFlow':>12}{'target':>10}")
        print(*rows, sep="\n")


@pytest.mark.bench
def test_threads(capsys: pytest.CaptureFixture[str]) -> None:
    """Print how eight copies share one and two threads."""
    rows = []
    for side in (4, 10):
        rates = []
        for threads in (1, 2):
            batch = BatchEngine(*build(side), num_envs=8, threads=threads)
            batch.run(300)
            begin = time.perf_counter()
            for _ in range(30):
                batch.run(10)
            rates.append(8 * 300 / (time.perf_counter() - begin))
        rows.append(f"{f'{side}x{side}':>8}{rates[0]:>12.0f}{rates[1]:>12.0f}{rates[1] / rates[0]:>8.2f}")
    with capsys.disabled():
        print(f"\nsimulated steps/s of 8 copies together, on {len(os.sched_getaffinity(0))} cores")
        print(f"{'grid':>8}{'1 thread':>12}{'2 threads':>12}{'gain':>8}")
        print(*rows, sep="\n")


@pytest.mark.bench
def test_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Print how long it takes to load the largest city from its files, and to compile everything in a new process."""
    config = write_grid(tmp_path / "city", 35, 35, FLOW)
    Engine(config)  # compiles
    begin = time.perf_counter()
    Engine(config)
    loading = time.perf_counter() - begin
    size = sum(path.stat().st_size for path in config.parent.iterdir()) / 1e6
    small = write_grid(tmp_path / "town", 2, 2, FLOW)
    code = f"from envs.traffic import Engine\nengine = Engine({str(small)!r})\nengine.run(10)\n"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    starts = []
    for _ in range(2):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, timeout=PATIENCE)
        starts.append(time.perf_counter() - begin)
    with capsys.disabled():
        print(f"\nloading 35x35 intersections from {size:.0f} MB of JSON: {loading:.1f} s (CityFlow: 4.4 s)")
        print(f"first ten steps of a new process: {starts[0]:.1f} s with nothing compiled, {starts[1]:.1f} s later on")


@pytest.mark.bench
def test_environment_and_reference_policies(capsys: pytest.CaptureFixture[str]) -> None:
    """Print what a decision costs in the environment and in each policy, with 4 copies."""
    torch.set_num_threads(1)
    names = ("random", "fixed_time", "sotl", "max_pressure")
    rows = []
    for size in (9, 49, 225, 1225):
        environment = envs.make(f"cityflow/synthetic_{size}", 4)
        environment.reset(0)
        generator = torch.Generator().manual_seed(0)
        policies = {name: envs.reference_policies(f"cityflow/synthetic_{size}")[name](environment) for name in names}
        for _ in range(20):
            environment.step(policies["random"].act(generator))
        cells = [milliseconds(partial(policy.act, generator)) for policy in policies.values()]
        step = milliseconds(partial(environment.step, policies["random"].act(generator)))
        rows.append(f"{size:>8}{step:>10.1f}" + "".join(f"{cell:>14.2f}" for cell in cells))
    with capsys.disabled():
        print("\nmilliseconds of a decision with 4 copies, one thread")
        print(f"{'signals':>8}{'step':>10}" + "".join(f"{name:>14}" for name in names))
        print(*rows, sep="\n")


def milliseconds(call: Any, repeats: int = 10) -> float:
    """Mean time of a call after a warm-up."""
    call()
    begin = time.perf_counter()
    for _ in range(repeats):
        call()
    return 1e3 * (time.perf_counter() - begin) / repeats
