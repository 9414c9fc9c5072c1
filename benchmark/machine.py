"""Which code runs on which machine, as machine.json has it."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from envs.foreign.names import FOUND
from envs.traffic_names import CONFIGURED
from results.files import read_json

SNAPSHOT = "snapshot.json"
"""In a copy of the code: which commit it is of."""
COMMIT_VARIABLE = "BENCHMARK_COMMIT"
"""Environment variable that names the commit where the code is neither a checkout nor a snapshot, as `git describe
--always --dirty --abbrev=40 --exclude='*'` prints it: a hash of 40 digits, with `-dirty` behind it if files differ."""


def files_of(task: str) -> dict[str, Any]:
    """Paths and SHA-256 of the files of a task made of a configuration, the package and version of one that comes from
    elsewhere; nothing for the others."""
    if task in FOUND:
        from envs.foreign.located import package_of

        return {"environment": {"source": FOUND[task], "package": package_of(FOUND[task].partition(":")[0])}}
    city = CONFIGURED.get(task)
    return {} if city is None else {"city": city._asdict()}


def machine_facts(device: str) -> dict[str, Any]:
    """Which code runs on what: commit, versions, processor, GPU."""
    import numpy as np
    import torch

    gpu = torch.cuda.get_device_name(device) if device.startswith("cuda") else None
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": " ".join(sys.argv),
        **running_code(),
        "version": version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": device,
        "gpu": gpu,
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "host": platform.node(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def version() -> str | None:
    """The version of the project that is installed; None where it runs without having been."""
    try:
        return importlib.metadata.version("intention-propagation-benchmark")
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def running_code() -> dict[str, Any]:
    """The facts of git when they were first asked for: a commit made meanwhile is not of the code that runs."""
    return git_facts()


def git_facts() -> dict[str, Any]:
    """The commit of the code that runs, and whether files differ from it: of the snapshot that a job runs, of the
    checkout, or else as `BENCHMARK_COMMIT` has it. Both are None where nobody knows. Raises UserError where the
    variable holds something else."""
    root = Path(__file__).resolve().parent.parent
    if (root / SNAPSHOT).exists():
        return read_json(root / SNAPSHOT)
    if not (root / ".git").exists():
        return _named_commit()

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True, timeout=20)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    changes = git("status", "--porcelain")
    return {"commit": git("rev-parse", "HEAD"), "dirty": None if changes is None else bool(changes)}


def _named_commit() -> dict[str, Any]:
    given = os.environ.get(COMMIT_VARIABLE, "")
    if not given:
        return {"commit": None, "dirty": None}
    match = re.fullmatch(r"([0-9a-f]{40})(-dirty)?", given)
    if match is None:
        raise UserError(
            f"{COMMIT_VARIABLE}={given!r}: expected a commit of 40 hexadecimal digits, with -dirty behind it if files "
            "differ: git describe --always --dirty --abbrev=40 --exclude='*' prints it"
        )
    return {"commit": match[1], "dirty": match[2] is not None}


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    if file.exists():
        for line in file.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
