"""A city of ten thousand signals: what is said of it without building it; and, slowly, that it is built and driven."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import envs
from tests.patience import PATIENCE

TASK = "cityflow/synthetic_10000"
PROGRAM = f"""
import hashlib, json, resource
import numpy as np, torch
import envs
from envs.traffic import Simulation
from envs.traffic.tasks import city_of

environment = envs.make("{TASK}", 1, episode_seconds=60)
environment.use_threads(2)
environment.reset(0)
sums = []
for name in ("max_pressure", "fixed_time", "sotl", "random"):
    step = environment.step(envs.reference_policies("{TASK}")[name](environment).act(torch.Generator().manual_seed(0)))
    sums.append(float(step.reward.sum()))
together = environment.batch.simulations[0]
alone = Simulation(*city_of("{TASK}")[:2])
runs = []
for threads in (1, 2):
    alone.use_threads(threads)
    alone.restart()
    alone.seed(0)
    alone.run(40)
    vehicles = alone.state.traffic.vehicles[alone.state.pool.members[: alone.running + alone.waiting]]
    runs.append(hashlib.sha256(b"".join(vehicles[name].tobytes() for name in ("distance", "speed", "gap"))).hexdigest())
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
result = {{"threads": together.threads, "running": together.running, "sums": sums, "runs": runs, "peak": peak}}
print(json.dumps(result))
"""


def test_what_it_is() -> None:
    spec = envs.spec(TASK)
    assert (spec.num_agents, spec.num_actions, spec.observation_dim, spec.max_neighbours) == (10_000, 8, 20, 4)
    assert TASK in envs.tasks()


@pytest.mark.slow
def test_it_is_built_and_driven() -> None:
    """Within 8 GiB; the reference policies act, and two threads give the numbers of one."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    print(f"{result['peak'] / 2**30:.1f} GiB")
    assert result["threads"] == 2
    assert result["running"] > 10_000
    assert all(total < 0 for total in result["sums"])
    assert result["runs"][0] == result["runs"][1]
    assert result["peak"] < 8 * 2**30
