"""How long it takes to draw a frame of each platform, to write a second of a replay, and to see that compiled kernels
are up to date. `pytest tests/benchmarks --benchmark-enable`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import envs
from envs import traffic
from envs.drawing import draw
from envs.numba_cache import delete_stale
from envs.traffic import Engine
from envs.traffic.cityflow.replay import ReplayWriter
from envs.traffic.synthetic.grid import grid_flow, grid_roadnet
from envs.traffic.synthetic.trips import GridFlow
from tests.envs.traffic.towns import write_files


@pytest.mark.parametrize("task", ["mpe/cooperative_navigation_30", "magent/jungle_20", "cityflow/synthetic_1225"])
def test_frame(benchmark: Any, task: str) -> None:
    environment = envs.make(task, 1)
    environment.reset(seed=0)
    environment.step(torch.zeros(1, environment.spec.num_agents, dtype=torch.int64))
    assert benchmark(draw, environment).any()


def test_second_of_a_replay(benchmark: Any, tmp_path: Path) -> None:
    """Of some hundred vehicles."""
    engine = Engine(write_files(tmp_path, grid_roadnet(6, 6), grid_flow(6, 6, GridFlow(horizon=300))))
    engine.run(300)
    assert engine.get_vehicle_count() > 300
    benchmark(ReplayWriter(engine.network, tmp_path / "replay.txt").write, engine.state)


def test_kernels_are_up_to_date(benchmark: Any) -> None:
    """What every import of `envs.traffic` does."""
    assert not benchmark(delete_stale, "envs.traffic", Path(traffic.__file__).parent)
