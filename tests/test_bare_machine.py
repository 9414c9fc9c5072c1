"""The tests begin on a GPU node that has neither beartype nor the packages of adapters, launchers and benchmarks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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

class Told:
    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items):
        print("for a GPU:", *sorted({{item.location[0] for item in items if item.get_closest_marker("gpu")}}))

sys.exit(pytest.main(sys.argv[1:], [Told()]))
"""


@pytest.fixture(scope="module")
def done() -> subprocess.CompletedProcess[str]:
    """All tests are collected there, and one is run."""
    command = [sys.executable, "-c", CODE, "-v", "-v", "-s", "-k", "every_transition_once"]
    command += ["-p", "no:benchmark", "-p", "no:cacheprovider", "-n0"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)


def test_all_tests_are_collected(done: subprocess.CompletedProcess[str]) -> None:
    """No module stops the collection; those of the GPU are there."""
    assert done.returncode == 0, done.stdout[-3000:]
    told = done.stdout.partition("for a GPU: ")[2].partition("\n")[0]
    assert "tests/benchmark/test_gpu.py" in told.split()


def test_header_says_that_shapes_are_not_checked(done: subprocess.CompletedProcess[str]) -> None:
    """In the header, which `-q` leaves out, and then at the end."""
    assert "tests/algorithms/test_micro_batches.py::" in done.stdout
    assert "not executed, as beartype is not installed" in done.stdout.partition("collected")[0]
    assert "not executed, as beartype is not installed" in done.stdout.partition("collected")[2]
