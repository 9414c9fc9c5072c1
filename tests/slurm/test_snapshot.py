"""The copy of the code that jobs run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmark.folder import SNAPSHOT, git_facts
from slurm.snapshot import ROOT, take_snapshot
from tests.patience import PATIENCE


def test_snapshot_is_whole_knows_its_commit_and_is_made_once(tmp_path: Path) -> None:
    folder = take_snapshot(tmp_path)
    assert take_snapshot(tmp_path) == folder
    assert (tmp_path / "shared").is_dir() == (ROOT.parent / "shared").is_dir(), "data beside the project is found"
    assert json.loads((folder / SNAPSHOT).read_text()) == git_facts()
    code = (
        "import benchmark.train, slurm.job, envs, benchmark.folder as f\n"
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
