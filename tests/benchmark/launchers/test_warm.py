"""Processes that start warm do what cold ones do."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.launchers.pool import Pool, command_of, environment_of, start
from benchmark.launchers.warm import SERVER_DIED, WarmProcess
from benchmark.plan import plan_runs
from benchmark.requests import RunRequest
from results.keys import RunKey
from results.layout import run_folder
from results.lock import holder_of
from tests.benchmark.conftest import SMALL
from tests.patience import PATIENCE

LONG = RunRequest(RunKey("game/two_step_2", "iql", "tiny", 0), 10_000_000, dict(SMALL))


def wait_for_holder(folder: Path) -> int:
    """The number of the process that is at work in a run folder, once there is one."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        holder = holder_of(folder)
        if holder is not None and (folder / "status.json").exists():
            return holder.pid
        time.sleep(0.05)
    raise TimeoutError(folder)


@pytest.mark.parametrize("task", ["mpe/cooperative_navigation_3", "cityflow/synthetic_4"])
def test_runs_are_those_of_a_cold_process(task: str, tmp_path: Path) -> None:
    request = RunRequest(RunKey(task, "ip", "tiny", 3), 300, dict(SMALL))
    warm, cold = tmp_path / "warm", tmp_path / "cold"
    for results in (warm, cold):
        config = plan_runs([request], results, "cpu")[0].config
        assert config is not None
        if results == warm:
            assert start(request, config, "cpu", results).wait() == 0
        else:
            command = [sys.executable, "-m", *command_of(request, "cpu", results)]
            subprocess.run(command, check=True, env=environment_of(1), capture_output=True, timeout=PATIENCE)
    for name in ("metrics.jsonl", "evaluation.jsonl", "interpretation.jsonl"):
        paths = [run_folder(results, config.key) / name for results in (warm, cold)]
        assert paths[0].exists() == paths[1].exists()
        assert not paths[0].exists() or paths[0].read_bytes() == paths[1].read_bytes()
    assert (run_folder(warm, request.key) / "metrics.jsonl").stat().st_size > 0


def test_errors_of_users_are_a_line_and_an_exit_status(tmp_path: Path) -> None:
    process = WarmProcess("benchmark.train", ["--task", "no/task", "--algorithm", "iql"], tmp_path / "log", os.environ)
    assert process.wait() == process.returncode == UserError.exit_status
    assert (tmp_path / "log").read_text().startswith("error: ")


def test_variables_and_folder_are_those_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tells.py").write_text(
        "import os, sys\n"
        "def main():\n"
        "    print(os.getcwd(), os.environ['TOLD'], 'HOME' in os.environ, sys.argv, os.getsid(0) == os.getpid())\n"
        "    return 7\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    process = WarmProcess("tells", ["a", "b"], tmp_path / "log", {"TOLD": "yes"})
    assert process.wait() == 7
    assert (tmp_path / "log").read_text() == f"{tmp_path} yes False ['tells', 'a', 'b'] True\n"
    assert "TOLD" not in os.environ


def test_one_that_is_killed_takes_no_other_with_it(tmp_path: Path) -> None:
    requests = [LONG, dataclasses.replace(LONG, key=LONG.key._replace(seed=1))]
    plans = plan_runs(requests, tmp_path, "cpu")
    first, second = (start(item.request, item.config, "cpu", tmp_path) for item in plans if item.config is not None)
    os.kill(wait_for_holder(run_folder(tmp_path, requests[0].key)), signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    wait_for_holder(run_folder(tmp_path, requests[1].key))
    assert second.poll() is None
    second.send_signal(signal.SIGTERM)
    assert second.wait() == 130
    second.send_signal(signal.SIGTERM)  # it has ended: nothing happens


@pytest.fixture
def lonely() -> Iterator[list[int]]:
    """Ids of processes without a waiting parent; they are killed at the end."""
    numbers: list[int] = []
    yield numbers
    for number in numbers:
        os.kill(number, signal.SIGKILL)


def test_run_whose_server_was_killed_is_left_to_itself(tmp_path: Path, lonely: list[int]) -> None:
    """The run continues and has not failed; the next process gets a new server."""
    item = plan_runs([LONG], tmp_path, "cpu")[0]
    assert item.config is not None
    process = start(item.request, item.config, "cpu", tmp_path)
    lonely.append(wait_for_holder(run_folder(tmp_path, item.request.key)))
    server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    os.kill(server, signal.SIGKILL)
    assert process.wait() == SERVER_DIED
    os.kill(lonely[0], signal.SIGSTOP)  # it is alive, as long as the test looks
    pool = Pool(tmp_path, 1, ["cpu"], [])
    pool.running[process] = (item, "cpu")
    pool._collect()
    assert pool.elsewhere == [item]
    assert not pool.failed
    again = WarmProcess("benchmark.train", ["--task", "no/task", "--algorithm", "iql"], tmp_path / "log", os.environ)
    assert again.wait() == UserError.exit_status
