"""All seven algorithms on the paper's largest task, 1,225 signals: a few gradient steps each, within 24 GiB."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from results.paper import COMPARED_ALGORITHMS

PROGRAM = """
import json, math, resource, sys
from benchmark.config import resolve
from benchmark.training import Training

settings = {
    "training.num_envs": 1,
    "training.update_interval": 10,
    "training.gradient_steps": 1,
    "training.batch_size": 16,
    "training.learning_starts": 20,
    "training.evaluation_episodes": 1,
    "environment.episode_seconds": 300,
}
training = Training(resolve("cityflow/synthetic_1225", sys.argv[1], 0, 100, settings))
while training.updates < 2:
    training.advance()
metrics = training.take_metrics()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"updates": training.updates, "peak": peak, "metrics": metrics}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", COMPARED_ALGORITHMS)
def test_a_few_updates(algorithm: str) -> None:
    """Numbers that are not finite raise in `take_metrics`."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, algorithm], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    print(algorithm, f"{result['peak'] / 2**30:.1f} GiB")
    assert result["updates"] == 2
    assert result["peak"] < 24 * 2**30
    assert result["metrics"]["reward/mean"] < 0
