"""The tests begin on a GPU node that has neither beartype nor the packages of adapters, launchers and benchmarks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[1]
ABSENT = ("beartype", "submitit", "magent2", "pettingzoo", "gymnasium", "pygame", "pytest_benchmark")
CODE = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
import pytest
from tests import check
assert check(len) is len
sys.exit(pytest.main(sys.argv[1:]))
"""


def on_a_bare_machine(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CODE, *arguments, "-p", "no:benchmark", "-p", "no:cacheprovider", "-n0"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)


def test_all_tests_are_collected() -> None:
    """No module stops the collection; those of the GPU are there."""
    done = on_a_bare_machine("--collect-only", "-m", "gpu")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "tests/benchmark/test_gpu.py: " in done.stdout.replace("test_gpu.py::", "test_gpu.py: ")


def test_header_says_that_shapes_are_not_checked() -> None:
    """In the header, which `-q` leaves out, and then at the end."""
    done = on_a_bare_machine("-v", "-v", "tests/algorithms/test_micro_batches.py", "-k", "every_transition_once")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "not executed, as beartype is not installed" in done.stdout.partition("collected")[0]
    assert "not executed, as beartype is not installed" in done.stdout.partition("collected")[2]
