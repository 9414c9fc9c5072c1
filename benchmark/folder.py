"""The folder of one run: what is in it, who may write to it, and whether it belongs to the settings asked for.

DIR/<task>/<algorithm>/<variant>/seed_<k>/
    config.json        the resolved settings and their hash
    machine.json       code, packages and hardware of every start of the run
    status.json        running, finished or failed; the step reached; wall time
    metrics.jsonl      training metrics, one line per log interval            (the same for the same seed)
    evaluation.jsonl   per-episode returns of every evaluation                (the same for the same seed)
    interpretation.jsonl  what agents did and were up against, for tasks that keep account of it   (the same, too)
    full_evaluation.json  returns of the trained policies on a longer episode, where a task has one (the same, too)
    timing.jsonl       wall time by phase                                     (differs from run to run)
    checkpoint.pt      exact state to resume from, replaced atomically; removed once the run is finished
    policy.pt          the trained learner, once the run is finished
    episode.gif, episode.json  an episode of the trained learner, where one was recorded (benchmark/record.py)
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.config import RunConfig
from benchmark.errors import UserError
from benchmark.files import AppendLog, read_json, readable_os_errors, write_json
from benchmark.lock import RunLock
from envs.cities import CONFIGURED
from results.identity import changed_files, identity_of
from results.layout import LOST_CONFIG, lost_config

SNAPSHOT = "snapshot.json"
"""In a copy of the code: which commit it is of."""
COMMIT_VARIABLE = "BENCHMARK_COMMIT"
"""Environment variable that names the commit where the code is neither a checkout nor a snapshot, as `git describe
--always --dirty --abbrev=40 --exclude='*'` prints it: a hash of 40 digits, with `-dirty` behind it if files differ."""


def run_path(results: Path, config: RunConfig) -> Path:
    """Folder of a run below `results`."""
    return results / config.task / config.algorithm / config.variant / f"seed_{config.seed}"


def status_of(path: Path) -> dict[str, Any]:
    """The status record of a run folder; state `absent` where there is none."""
    file = path / "status.json"
    return read_json(file) if file.exists() else {"state": "absent", "step": 0, "wall_seconds": 0.0}


class RunFolder:
    """Open folder of a run, locked against a second writer."""

    def __init__(self, results: Path, config: RunConfig) -> None:
        self.path = run_path(results, config)
        self.config = config
        self.grown_from: int | None = None
        """The length that the run had until now, where it is given more steps."""
        with readable_os_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock = RunLock(self.path)
            try:
                self._check_or_write_config()
            except BaseException:
                self.lock.release()
                raise
        self.metrics = AppendLog(self.path / "metrics.jsonl")
        self.evaluation = AppendLog(self.path / "evaluation.jsonl")
        self.timing = AppendLog(self.path / "timing.jsonl")
        self.interpretation = AppendLog(self.path / "interpretation.jsonl")
        self.checkpoint = self.path / "checkpoint.pt"
        self.policy = self.path / "policy.pt"
        self.full_evaluation = self.path / "full_evaluation.json"

    @property
    def logs(self) -> dict[str, AppendLog]:
        """Every log by name."""
        names = ("metrics", "evaluation", "timing", "interpretation")
        return {name: getattr(self, name) for name in names}

    def _check_or_write_config(self) -> None:
        if lost_config(self.path):
            raise UserError(f"{self.path}: {LOST_CONFIG}")
        file = self.path / "config.json"
        wanted = self.config.identity()
        if not file.exists():
            write_json(file, self.config.record() | {"config_hash": self.config.digest()})
            return
        record = read_json(file)
        found = identity_of(record)
        if found == wanted:
            return
        if files := changed_files(found, wanted):
            before, now = record["environment"].get("map"), getattr(self.config.environment, "map", None)
            raise UserError(
                f"{self.path} was made with other files of {self.config.task}: {files} (configuration then {before}, "
                f"now {now}); restore the files, use --variant NAME or another --results folder, or delete that folder"
            )
        if found | {"total_steps": wanted["total_steps"]} == wanted and found["total_steps"] < wanted["total_steps"]:
            self._grow(found["total_steps"])
            return
        different = sorted(_differences(found, wanted))
        raise UserError(
            f"{self.path} was made with other settings ({'; '.join(different[:4])}): "
            "use --variant NAME or another --results folder, or delete that folder"
        )

    def _grow(self, earlier: int) -> None:
        """Make this the folder of a longer run, which goes on from the last checkpoint. Raises UserError where there is
        none."""
        if not (self.path / "checkpoint.pt").exists():
            raise UserError(
                f"{self.path} has a run of {earlier} steps without a checkpoint, from which {self.config.total_steps} "
                "steps could go on: runs made with --keep-checkpoint can be given more; use --variant NAME or another "
                "--results folder, or delete that folder"
            )
        status = status_of(self.path)
        self.write_status("running", status["step"], status["wall_seconds"], scores=status.get("scores"))
        write_json(self.path / "config.json", self.config.record() | {"config_hash": self.config.digest()})
        self.grown_from = earlier

    def write_status(
        self,
        state: str,
        step: int,
        wall_seconds: float,
        message: str = "",
        scores: Mapping[str, float] | None = None,
    ) -> None:
        """Replace status.json; `scores` are mean returns of the last evaluation by policy."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        record = {
            "state": state,
            "step": step,
            "total_steps": self.config.total_steps,
            "wall_seconds": round(wall_seconds, 3),
            "message": message,
            "scores": dict(scores or {}),
            "updated": now,
        }
        with readable_os_errors(self.path):
            write_json(self.path / "status.json", record)

    def mark_failed(self, message: str) -> None:
        """Write down that the run failed; its last checkpoint stays. The caller raises the error behind `message`, so
        a disk too full for this note as well adds nothing."""
        with contextlib.suppress(UserError):
            status = status_of(self.path)
            self.write_status("failed", status["step"], status["wall_seconds"], message, status.get("scores"))

    def record_machine(self, step: int, device: str, micro_batch: int, note: str = "") -> None:
        """Add this start of the run to machine.json."""
        file = self.path / "machine.json"
        facts = (
            machine_facts(device)
            | files_of(self.config.task)
            | {"from_step": step, "micro_batch": micro_batch, "note": note}
        )
        record = read_json(file) if file.exists() else {**facts, "starts": []}
        with readable_os_errors(self.path):
            write_json(file, record | {"starts": [*record["starts"], facts]})

    def close(self) -> None:
        """Give the lock back."""
        self.lock.release()


def _differences(found: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> list[str]:
    rows: list[str] = []
    for key in found.keys() | wanted.keys():
        before, now = found.get(key), wanted.get(key)
        if before == now:
            continue
        if isinstance(before, dict) and isinstance(now, dict):
            rows += _differences(before, now, f"{prefix}{key}.")
        else:
            rows.append(f"{prefix}{key} was {before}, now {now}")
    return rows


def files_of(task: str) -> dict[str, Any]:
    """Paths and SHA-256 of the files of a task made of a configuration; nothing for the others."""
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
