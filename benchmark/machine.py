"""Facts about the running code and the machine, recorded in machine.json."""

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
"""File in a copy of the code that names its commit."""
COMMIT_VARIABLE = "BENCHMARK_COMMIT"
"""Environment variable that names the commit where the code is neither a checkout nor a snapshot, as `git describe
--always --dirty --abbrev=40 --exclude='*'` prints it: a hash of 40 digits, with the suffix `-dirty` if files differ."""


def files_of(task: str) -> dict[str, Any]:
    """Paths and SHA-256 of the files of a task given by a configuration; package and version of a task from another
    package; empty for all others."""
    if task in FOUND:
        from envs.foreign.located import package_of

        return {"environment": {"source": FOUND[task], "package": package_of(FOUND[task].partition(":")[0])}}
    city = CONFIGURED.get(task)
    return {} if city is None else {"city": city._asdict()}


def machine_facts(device: str) -> dict[str, Any]:
    """Facts about code and machine: commit, versions, processor, GPU."""
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
    """Installed version of the project; None where it runs without being installed."""
    try:
        return importlib.metadata.version("intention-propagation-benchmark")
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def running_code() -> dict[str, Any]:
    """Facts from git, cached at the first call: later commits do not describe the running code."""
    return git_facts()


def git_facts() -> dict[str, Any]:
    """The commit of the running code, and whether files differ from it: from the snapshot of a job, the checkout, or
    otherwise `BENCHMARK_COMMIT`. Both are None where unknown. Raises UserError where the variable holds anything but a
    commit."""
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
            f"{COMMIT_VARIABLE}={given!r}: expected a commit of 40 hexadecimal digits, with the suffix -dirty if files "
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
