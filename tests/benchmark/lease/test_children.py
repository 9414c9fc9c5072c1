"""Processes end when requested, with all their descendants."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from benchmark.lease.children import Child, last_line
from tests.patience import PATIENCE

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
print(child.pid, flush=True)
time.sleep(1000)
"""


def wait_for_lines(child: Child) -> list[str]:
    begin = time.monotonic()
    while time.monotonic() - begin < PATIENCE:
        if lines := child.new_lines():
            return lines
        time.sleep(0.05)
    raise TimeoutError


def is_alive(number: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_a_process_has_started_ends_with_it(tmp_path: Path) -> None:
    child = Child([sys.executable, "-c", PARENT], tmp_path / "log")
    grandchild = int(wait_for_lines(child)[0])
    assert is_alive(grandchild)
    child.stop(at_once=True)
    assert child.ended
    begin = time.monotonic()
    while is_alive(grandchild) and time.monotonic() - begin < PATIENCE:
        time.sleep(0.05)
    assert not is_alive(grandchild)


def test_a_process_is_asked_before_it_is_killed(tmp_path: Path) -> None:
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('asked', flush=True), sys.exit(0)))\n"
        "print('ready', flush=True)\n"
        "time.sleep(1000)"
    )
    child = Child([sys.executable, "-c", code], tmp_path / "log", os.environ)
    assert wait_for_lines(child) == ["ready"]
    child.stop()
    assert (child.new_lines(), child.returncode) == (["asked"], 0)


def test_only_whole_lines_are_read(tmp_path: Path) -> None:
    child = Child([sys.executable, "-c", "pass"], tmp_path / "log")
    assert child.wait(PATIENCE)
    (tmp_path / "log").write_bytes(b"one\ntw")
    assert child.new_lines() == ["one"]
    assert child.new_lines() == []
    (tmp_path / "log").write_bytes(b"one\ntwo\n")
    assert child.new_lines() == ["two"]
    assert last_line(child) == "two"
