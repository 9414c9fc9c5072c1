"""A copy of the code for jobs, made at submission, so that later edits do not change queued runs."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from benchmark.machine import SNAPSHOT, git_facts
from results.files import readable_os_errors, write_json

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("algorithms", "benchmark", "envs", "slurm")
"""Packages that a job imports."""
LEFT_OUT = ("__pycache__", "*.pyc", "*.nbi", "*.nbc", "*.stamp", "*.tmp")


def take_snapshot(store: Path) -> Path:
    """Copy the packages below `store` into a folder named after their content, with a note of their commit. Equal code
    is copied once. Raises UserError where the copy cannot be written."""
    facts = git_facts()
    with readable_os_errors(store):
        store.mkdir(parents=True, exist_ok=True)
        target = store / _fingerprint(facts)
        if target.exists():
            return target
        temporary = Path(tempfile.mkdtemp(dir=store, prefix=".making-"))
        try:
            for file in _files():
                copy = temporary / file.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, copy)
            write_json(temporary / SNAPSHOT, facts)
            temporary.chmod(0o755)
            temporary.rename(target)
        except OSError:
            shutil.rmtree(temporary, ignore_errors=True)
            if not target.exists():  # another process may have made the same copy
                raise
    return target


def _fingerprint(facts: dict[str, object]) -> str:
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for file in _files():
        digest.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _files() -> list[Path]:
    """The files to copy: the packages with their data, but only the code of `results`, without runs and published
    sets."""
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*")) if file.is_file()]
    kept = (file for file in files if "__pycache__" not in file.relative_to(ROOT).parts)
    packages = [file for file in kept if not any(file.match(pattern) for pattern in LEFT_OUT)]
    return packages + sorted((ROOT / "results").glob("*.py"))
