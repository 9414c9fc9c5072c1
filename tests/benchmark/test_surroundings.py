"""Ordinary trouble around a run: closed terminals, dead readers, full disks, threads, paths as text."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from benchmark import sweep, train
from benchmark.console import say
from benchmark.errors import NoSpaceError, UserError, report_errors
from benchmark.launchers.pool import reason_of
from benchmark.policies import load_policy
from benchmark.progress import Progress
from benchmark.requests import RunRequest
from benchmark.signals import stopping
from benchmark.suites import SUITES
from results.files import readable_os_errors
from results.folder import status_of
from results.keys import RunKey
from results.layout import run_folder
from results.lock import holder_of
from tests.benchmark.conftest import SMALL, small_config
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
TASK = "mpe/cooperative_navigation_3"
LONG = ["--task", TASK, "--algorithm", "iql", "--device", "cpu", "--variant", "v", "--total-steps", "1000000"]
LONG += [f"--set={key}={value}" for key, value in SMALL.items() if key != "training.checkpoint_seconds"]


def begin(command: list[str], hangup: Any, **pipes: Any) -> subprocess.Popen[bytes]:
    """Start a command that meets SIGHUP as given, in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGHUP, hangup) and None,
        start_new_session=True,
        **pipes,
    )


def wait_for(condition: Any, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, f"ended with {process.returncode}"
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("ignored", [False, True])
def test_hangup_stops_a_run_after_a_checkpoint_unless_it_is_ignored(ignored: bool, tmp_path: Path) -> None:
    command = ["benchmark.train", *LONG, "--results", str(tmp_path), "--quiet"]
    process = begin(command, signal.SIG_IGN if ignored else signal.SIG_DFL)
    folder = tmp_path / TASK / "iql/v/seed_0"
    wait_for(lambda: status_of(folder)["state"] == "running", process)
    process.send_signal(signal.SIGHUP)
    if ignored:
        step = status_of(folder)["step"]
        wait_for(lambda: status_of(folder)["step"] > step, process)
        process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 130
    assert (folder / "checkpoint.pt").exists()
    assert holder_of(folder) is None


def test_hangup_of_a_whole_session_stops_a_sweep_with_its_runs(tmp_path: Path) -> None:
    """The signal reaches all processes of the terminal, as when its window is closed."""
    command = ["benchmark.sweep", "--suite", "quick", "--tasks", TASK, "--algorithms", "iql", "--seeds", "0"]
    process = begin(
        [*command, "--device", "cpu", "--results", str(tmp_path)], signal.SIG_DFL, stdout=subprocess.DEVNULL
    )
    folder = tmp_path / TASK / "iql/quick/seed_0"
    wait_for(lambda: status_of(folder)["state"] == "running", process)
    os.killpg(process.pid, signal.SIGHUP)
    assert process.wait(PATIENCE) == 130
    assert (folder / "checkpoint.pt").exists()
    assert holder_of(folder) is None, "its run is not left alone"


def test_run_whose_reader_is_gone_goes_on_to_its_end(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = ["benchmark.train", *LONG, "--results", str(tmp_path)]
    command[command.index("1000000")] = "600"
    process = begin(command, signal.SIG_DFL, stdout=writing, stderr=writing)
    os.close(writing)
    assert process.wait(PATIENCE) == 0
    assert status_of(tmp_path / TASK / "iql/v/seed_0")["state"] == "finished"


class Full(io.StringIO):
    """A stream on a full disk, or whose reader is gone."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_words_that_nobody_hears_stop_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    say("words", Full())
    monkeypatch.setattr(sys, "stderr", Full())
    with Progress("title", 10, quiet=False) as progress:
        progress.note("words")
        progress.score(5, "greedy", 1.0)
        progress.advance_to(10)
    assert progress.scores == {"greedy": 1.0}


def test_run_in_a_thread_with_a_path_as_text(tmp_path: Path) -> None:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(train.run(small_config(steps=300), str(tmp_path), True)))
    thread.start()
    thread.join()
    assert found == [tmp_path / TASK / "iql/test/seed_0"]
    config = load_policy(str(found[0] / "policy.pt")).config
    assert config.task == TASK
    assert status_of(found[0])["state"] == "finished"


def test_signals_are_for_the_main_thread() -> None:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(stopping(signal.SIGTERM)))
    thread.start()
    thread.join()
    assert found == [[]]
    assert stopping(signal.SIGTERM)[0] == signal.SIGTERM


def test_full_disk_is_told_by_the_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing can be written any more, no file says why a run ended."""

    def known() -> int:
        with readable_os_errors(tmp_path):
            raise OSError(28, "No space left on device")

    def raw() -> int:
        raise OSError(28, "No space left on device", "file")

    for main in (known, raw):
        assert report_errors(main) == NoSpaceError.exit_status
        assert "free some space" in capsys.readouterr().err
    request = RunRequest(RunKey(TASK, "iql", "tiny", 0), 300, dict(SMALL))
    folder = run_folder(tmp_path, request.key)
    folder.mkdir(parents=True)
    (folder / "output.log").write_text("step 0: sampled return 2.7\n")
    assert "the disk is full" in reason_of(folder, NoSpaceError.exit_status)
    with pytest.raises(OSError, match="other"):
        report_errors(lambda: (_ for _ in ()).throw(OSError(5, "other")))  # type: ignore[arg-type]


def test_one_bad_folder_stops_no_other_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    requests = [RunRequest(RunKey(TASK, "iql", "tiny", seed), 300, dict(SMALL)) for seed in range(5)]
    monkeypatch.setitem(SUITES, "quick", lambda: requests)
    for request, name, content in zip(
        requests,
        ("config.json", "status.json", "lock", "status.json"),
        (b"", b"{}", bytes(range(256)), b""),
        strict=False,
    ):
        folder = run_folder(tmp_path, request.key)
        folder.mkdir(parents=True)
        (folder / name).write_bytes(content)
    command = ["sweep", "--suite", "quick", "--device", "cpu", "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    assert report_errors(sweep.main) == 1
    output = capsys.readouterr().out
    assert "2 finished now, 0 had finished before, 0 failed" in output
    for seed in (0, 1, 3):
        assert output.count(f"damaged: {TASK} iql tiny seed {seed}: ") == 1
    for seed in (2, 4):
        assert status_of(run_folder(tmp_path, requests[seed].key))["state"] == "finished"
    for request in requests:
        shutil.rmtree(run_folder(tmp_path, request.key), ignore_errors=True)


def test_a_finished_run_that_lost_its_settings_is_not_taken_for_another(tmp_path: Path) -> None:
    path = train.run(small_config(steps=300), tmp_path, quiet=True)
    record = json.loads((path / "config.json").read_text())
    (path / "config.json").unlink()
    for _ in range(2):
        with pytest.raises(UserError, match=r"config\.json is missing"):
            train.run(small_config(steps=300, training_batch_size=8), tmp_path, quiet=True)
    assert not (path / "config.json").exists()
    (path / "config.json").write_text(json.dumps(record))
    assert train.run(small_config(steps=300), tmp_path, quiet=True) == path


def test_folders_of_the_same_names_are_not_taken_for_ours(tmp_path: Path) -> None:
    """Who has a folder called envs uses the commands of the installed project: their children look where they do."""
    for name in ("envs", "results", "benchmark"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('not ours')\n")
    code = "import sys; from benchmark.commands import sweep; sys.exit(sweep())"
    arguments = ["--suite", "smoke", "--tasks", "game/two_step_2", "--algorithms", "iql", "--seeds", "0"]
    settings = ["--set", "training.evaluation_episodes=2", "--device", "cpu", "--results", "made"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments, *settings],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "made/game/two_step_2/iql/smoke+evaluation_episodes=2/seed_0/policy.pt").exists()
