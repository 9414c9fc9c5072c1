"""Several runs in one process write what each would write alone, and fail and stop each for itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmark import memory, together, train
from benchmark.config import RunConfig, resolve
from benchmark.errors import InUseError, UserError
from benchmark.requests import RunRequest
from benchmark.runs import Stop
from benchmark.suites import SUITES
from benchmark.together import UnfinishedError, run_together
from benchmark.training import Training
from results.folder import RunFolder, status_of
from results.keys import RunKey
from results.layout import run_folder
from results.lock import holder_of
from tests.benchmark.conftest import SMALL, small_config
from tests.benchmark.test_train import weights
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
LOGS = ("metrics.jsonl", "evaluation.jsonl", "interpretation.jsonl")


def configs() -> list[RunConfig]:
    """Two seeds of one algorithm, another, and a task that records statistics."""
    traffic = SMALL | {"training.log_interval": 100, "training.evaluation_interval": 200}
    rarely = {"training_checkpoint_seconds": 1e6}
    return [
        small_config("iql", **rarely),
        small_config("iql", seed=1, steps=600, **rarely),
        small_config("ip", **rarely),
        resolve("cityflow/synthetic_4", "iql", 0, 400, traffic, "test"),
    ]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same runs, each made alone."""
    torch.set_num_threads(1)
    results = tmp_path_factory.mktemp("alone")
    for config in configs():
        train.run(config, results, quiet=True)
    return results


def assert_as_alone(results: Path, alone: Path, given: list[RunConfig]) -> None:
    for config in given:
        path, other = run_folder(results, config.key), run_folder(alone, config.key)
        assert {file.name for file in path.iterdir()} == {file.name for file in other.iterdir()}
        for name in LOGS:
            if (other / name).exists():
                assert (path / name).read_bytes() == (other / name).read_bytes(), (path, name)
        for name, state in weights(other).items():
            torch.testing.assert_close(weights(path)[name], state, atol=0, rtol=0)
        assert (path / "config.json").read_bytes() == (other / "config.json").read_bytes()
        steps = [json.loads(line)["step"] for line in (path / "timing.jsonl").read_text().splitlines()]
        assert steps == [json.loads(line)["step"] for line in (other / "timing.jsonl").read_text().splitlines()]
        assert status_of(path)["state"] == "finished"


def test_runs_together_write_what_they_write_alone(alone: Path, tmp_path: Path) -> None:
    assert run_together(configs(), tmp_path, quiet=True) == [run_folder(tmp_path, config.key) for config in configs()]
    assert_as_alone(tmp_path, alone, configs())
    assert (run_folder(tmp_path, configs()[3].key) / "interpretation.jsonl").exists()
    assert run_together(configs(), tmp_path, quiet=True, deadline=0) == [
        run_folder(tmp_path, config.key) for config in configs()
    ]
    (other,) = run_together([small_config("iql", steps=300)], tmp_path, quiet=True)
    assert isinstance(other, UserError)
    assert "was made with other settings (total_steps was 900, now 300)" in str(other)


def test_one_that_fails_takes_no_other_with_it(alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One diverges, one cannot be accelerated here, one is in other hands; the fourth finishes."""
    good, diverging = configs()[0], small_config("qmix")
    refused, taken = small_config(seed=2, training_acceleration="cuda_graph"), small_config(seed=3)
    take_metrics = Training.take_metrics

    def diverge(training: Training) -> dict[str, object]:
        if training.config.algorithm == "qmix" and training.environment_step > 300:
            training.metrics.sums["loss/q"].fill_(float("nan"))
        return take_metrics(training)

    monkeypatch.setattr(Training, "take_metrics", diverge)
    folder = RunFolder(tmp_path, taken.record())
    outcomes = run_together([diverging, refused, taken, good], tmp_path, quiet=True)
    folder.close()
    assert [type(outcome) for outcome in outcomes[:3]] == [UserError, UserError, InUseError]
    assert "training diverged" in str(outcomes[0])
    assert "needs a CUDA device" in str(outcomes[1])
    assert outcomes[3] == run_folder(tmp_path, good.key)
    assert status_of(run_folder(tmp_path, diverging.key))["state"] == "failed"
    assert not run_folder(tmp_path, refused.key).exists()
    assert_as_alone(tmp_path, alone, [good])


def test_a_deadline_stops_all_and_a_second_call_resumes_them(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline comes in the fourth round of blocks; what is then left untouched was not begun."""
    given = configs()[:3]
    stopped = run_together(given, tmp_path / "late", quiet=True, deadline=time.monotonic() - 1)
    assert all("not begun" in str(outcome) for outcome in stopped)
    assert not (tmp_path / "late").exists()
    advance, blocks = Training.advance, []

    def counted(training: Training) -> None:
        blocks.append(training)
        advance(training)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "advance", counted)
        patch.setattr(Stop, "requested", property(lambda self: len(blocks) > 9))
        stopped = run_together(given, tmp_path, quiet=True)
    assert all(isinstance(outcome, UnfinishedError) and "stopped at step 400" in str(outcome) for outcome in stopped)
    assert all((run_folder(tmp_path, config.key) / "checkpoint.pt").exists() for config in given)
    assert all(holder_of(run_folder(tmp_path, config.key)) is None for config in given)
    assert run_together(given, tmp_path, quiet=True) == [run_folder(tmp_path, config.key) for config in given]
    assert_as_alone(tmp_path, alone, given)


STOPPED = """
import os, signal, sys
from pathlib import Path
from benchmark import together
from benchmark.training import Training
from tests.benchmark.test_together import configs

blocks, advance = [], Training.advance

def counted(training):
    blocks.append(training)
    if len(blocks) == 8:
        os.kill(os.getpid(), signal.SIGTERM)
    advance(training)

Training.advance = counted
together.run_together(configs()[:3], Path(sys.argv[1]), quiet=True)
"""


def test_a_signal_stops_all_after_a_checkpoint(alone: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode in (130, -signal.SIGINT), done.stderr[-2000:]
    assert "KeyboardInterrupt" in done.stderr
    given = configs()[:3]
    assert [status_of(run_folder(tmp_path, config.key))["state"] for config in given] == ["running"] * 3
    assert all((run_folder(tmp_path, config.key) / "checkpoint.pt").exists() for config in given)
    run_together(given, tmp_path, quiet=True)
    assert_as_alone(tmp_path, alone, given)


def test_what_cannot_be_in_one_process_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = small_config()
    others = {
        r"with training\.threads 1 and 2 cannot share a process": small_config(seed=1, training_threads=2),
        "is given twice": small_config(),
        "compile is for one run in a process": small_config(seed=1, training_acceleration="compile"),
        "with device cpu and cuda cannot share a process": replace(small_config(seed=1), device="cuda"),
    }
    for message, other in others.items():
        with pytest.raises(UserError, match=message):
            run_together([one, other], tmp_path, quiet=True)
    gpu = [replace(small_config(seed=seed, training_tf32=bool(seed)), device="cuda") for seed in (0, 1)]
    with pytest.raises(UserError, match=r"with training\.tf32 False and True"):
        run_together(gpu, tmp_path, quiet=True)
    needed = memory.estimate(one).total
    monkeypatch.setattr(memory, "available_bytes", lambda device: int(1.5 * needed))
    with pytest.raises(UserError, match=r"2 runs at once need .* GiB on cpu, but .* free: start fewer of them at once"):
        run_together([one, small_config(seed=1)], tmp_path, quiet=True)
    assert not any(tmp_path.iterdir()), "nothing is begun"


def test_command_makes_a_part_of_a_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [RunRequest(RunKey("mpe/cooperative_navigation_3", "iql", "tiny", seed), 300, SMALL) for seed in (0, 1, 2)]
    monkeypatch.setitem(SUITES, "smoke", lambda: cells)
    arguments = ["--suite", "smoke", "--device", "cpu", "--results", str(tmp_path), "--quiet", "--at-once", "2"]
    monkeypatch.setattr(sys, "argv", ["together", *arguments])
    assert together.main() == 0
    assert "3 runs, 0 failed or unavailable" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["together", *arguments, "--seeds", "0", "7", "--at-once", "1"])
    (tmp_path / "mpe/cooperative_navigation_3/iql/tiny/seed_7/metrics.jsonl").mkdir(parents=True)
    assert together.main() == 1
    assert "FAILED" in capsys.readouterr().out
    with pytest.raises(UserError, match="--at-once 0"):
        together.parse_arguments(["--suite", "smoke", "--at-once", "0"])
