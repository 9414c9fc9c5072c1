"""Large tensors live in huge pages, so that new ones cost few page faults."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import os, resource, sys
if sys.argv[1] == "without":
    os.environ["THP_MEM_ALLOC_ENABLE"] = "0"
import benchmark
import torch
torch.ones(24 * 2**20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(24 * 2**20)  # 96 MiB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(not SWITCH.exists() or "[never]" in SWITCH.read_text(), reason="this kernel has no huge pages")
def test_importing_the_runner_turns_huge_pages_on() -> None:
    faults = {}
    for mode in ("with", "without"):
        command = [sys.executable, "-c", CODE, mode]
        done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
        faults[mode] = int(done.stdout)
    if "[always]" not in SWITCH.read_text():
        assert faults["without"] > 10_000, "4 KiB a page"
    assert faults["with"] < 10_000
