"""A real one-node SLURM for the tests that need one; they are skipped, with the reason, where it cannot be started.

SLURM_DEV_INSTALL=yes lets them install its packages; otherwise a machine is left as it is.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "slurm" / "dev_cluster.sh"
CANNOT = 2
"""Exit status of the script where a cluster cannot run on such a machine."""


def cluster_script(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run slurm/dev_cluster.sh."""
    settings = {"SLURM_DEV_INSTALL": "no", "SLURM_DEV_CPUS": "4"} | os.environ | environment
    return subprocess.run(
        ["bash", str(SCRIPT), *arguments], capture_output=True, text=True, env=settings, timeout=PATIENCE
    )


def start_cluster(**environment: str) -> None:
    """Start it, unless it is up; skip the test, with the reason, where such a machine cannot have one."""
    done = cluster_script("start", **environment)
    reason = ((done.stderr or done.stdout).strip().splitlines() or ["no reason given"])[-1]
    if done.returncode == CANNOT:
        pytest.skip(f"no SLURM can be started here: {reason}")
    assert done.returncode == 0, reason


def cancel_jobs() -> None:
    """End what jobs of the tests are left."""
    listed = subprocess.run(
        ["squeue", "--noheader", "--format=%A %j"], capture_output=True, text=True, timeout=PATIENCE
    )
    jobs = {line.split()[0] for line in listed.stdout.splitlines() if " sweep-smoke-" in line}
    if jobs:
        subprocess.run(["scancel", *jobs], check=True, timeout=PATIENCE)


def stop_cluster() -> None:
    """Stop it, if it is up."""
    done = cluster_script("stop")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def cluster_turn() -> Iterator[None]:
    """Tests in other processes wait: a machine has one cluster. It is stopped after the last test."""
    with (Path(tempfile.gettempdir()) / "slurm-dev-tests.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        start_cluster()
        yield
        stop_cluster()


@pytest.fixture
def cluster(cluster_turn: None) -> Iterator[None]:
    """A running SLURM with accounting."""
    start_cluster()
    yield
    cancel_jobs()


@pytest.fixture
def bare_cluster(cluster_turn: None) -> Iterator[None]:
    """A running SLURM without accounting."""
    stop_cluster()
    start_cluster(SLURM_DEV_ACCT="none")
    yield
    cancel_jobs()
    stop_cluster()
