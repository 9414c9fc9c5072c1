"""The copy of the code that jobs run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark import machine
from benchmark.errors import UserError
from benchmark.machine import COMMIT_VARIABLE, SNAPSHOT, git_facts
from slurm.snapshot import ROOT, take_snapshot
from tests.patience import PATIENCE

COMMIT = "0123456789abcdef" * 2 + "01234567"


def test_commit_is_named_where_git_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the environment variable alone, which neither a checkout nor a snapshot looks at."""
    monkeypatch.setenv(COMMIT_VARIABLE, COMMIT)
    monkeypatch.setattr(machine, "running_code", git_facts)  # which is asked once in a process
    here = git_facts()
    monkeypatch.setattr(machine, "__file__", str(tmp_path / "benchmark" / "machine.py"))
    assert git_facts() == {"commit": COMMIT, "dirty": False}
    assert machine.machine_facts("cpu")["commit"] == COMMIT
    monkeypatch.setenv(COMMIT_VARIABLE, f"{COMMIT}-dirty")
    assert git_facts() == {"commit": COMMIT, "dirty": True}
    for wrong in ("main", COMMIT[:10], COMMIT.upper(), f"{COMMIT}-"):
        monkeypatch.setenv(COMMIT_VARIABLE, wrong)
        with pytest.raises(UserError, match="expected a commit of 40 hexadecimal digits"):
            git_facts()
    (tmp_path / SNAPSHOT).write_text(json.dumps({"commit": "a", "dirty": False}))
    assert git_facts() == {"commit": "a", "dirty": False}
    monkeypatch.setattr(machine, "__file__", str(ROOT / "benchmark" / "machine.py"))
    assert git_facts() == here
    (tmp_path / SNAPSHOT).unlink()
    monkeypatch.setattr(machine, "__file__", str(tmp_path / "benchmark" / "machine.py"))
    monkeypatch.delenv(COMMIT_VARIABLE)
    assert git_facts() == {"commit": None, "dirty": None}


def test_snapshot_is_whole_knows_its_commit_and_is_made_once(tmp_path: Path) -> None:
    folder = take_snapshot(tmp_path)
    assert take_snapshot(tmp_path) == folder
    assert json.loads((folder / SNAPSHOT).read_text()) == git_facts()
    code = (
        "import benchmark.train, slurm.job, envs, benchmark.machine as f\n"
        "print(benchmark.train.__file__, envs.make('mpe/prey_and_predator_3', 1).spec.num_agents, f.git_facts())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stdout.strip() == f"{folder / 'benchmark' / 'train.py'} 3 {git_facts()}", done.stderr
