"""A lease without a GPU whose processes are small programs."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from benchmark.lease.children import Child
from benchmark.lease.site import Site


class Stage(Site):
    """A site on which `work` runs the next of some programs, and keeps what each was given."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, time.monotonic(), 1000.0, "cpu", 1.0)
        self.facts = {"machine": {"gpu": None, "torch": "2", "commit": "c"}, "modes": {"eager": ""}, "packages": {}}
        self.programs: list[str] = []
        self.given: list[str] = []

    def work(self, name: str, *arguments: str, given: str = "") -> Child:
        self.given.append(given)
        return self.start(name, [sys.executable, "-c", self.programs.pop(0), *arguments])


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)
