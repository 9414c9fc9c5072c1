"""A finished run that is extended continues from its checkpoint, as if it had always been that long."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from benchmark.config import RunConfig, resolve
from benchmark.errors import UserError
from benchmark.policies import load_policy
from benchmark.runs import RunWriter, run
from results.folder import is_finished, status_of
from results.layout import run_folder
from tests.benchmark.conftest import SMALL

TASK = "mpe/cooperative_navigation_3"
CONSTANT: dict[str, Any] = {
    "algorithm.learning_rate_end": 0.001,
    "algorithm.epsilon_steps": 100,
    "training.keep_checkpoint": True,
}
"""Schedules that do not depend on the length of a run: epsilon falls within the first steps."""


def configured(steps: int, **changes: Any) -> RunConfig:
    overrides = SMALL | CONSTANT | {key.replace("__", "."): value for key, value in changes.items()}
    return resolve(TASK, "iql", 0, steps, overrides, "test", "cpu")


def logs(path: Path) -> dict[str, bytes]:
    return {name: (path / name).read_bytes() for name in ("metrics.jsonl", "evaluation.jsonl")}


@pytest.mark.parametrize("shorter", [600, 500, 450], ids=["where all is due", "between evaluations", "inside a block"])
def test_a_grown_run_is_the_run_made_at_once(tmp_path: Path, shorter: int) -> None:
    """To the byte, with what the shorter run wrote because it ended taken back: 600 steps end on a line of the log and
    an evaluation, 500 on neither, and 450 in the middle of a block of 100."""
    whole = run(configured(1000), tmp_path / "whole", quiet=True)
    path = run(configured(shorter), tmp_path / "grown", quiet=True)
    short = logs(path)
    assert (path / "checkpoint.pt").exists()
    assert run(configured(1000), tmp_path / "grown", quiet=True) == path
    assert logs(path) == logs(whole)
    assert logs(path) != short
    assert (path / "config.json").read_bytes() == (whole / "config.json").read_bytes()
    assert status_of(path)["state"] == "finished"
    assert status_of(path)["total_steps"] == status_of(path)["step"] == 1000
    first, second = json.loads((path / "machine.json").read_text())["starts"]
    assert (first["from_step"], first["note"]) == (0, "")
    assert second["note"] == f"grown from {shorter} to 1000 steps"
    assert load_policy(path / "policy.pt").config.total_steps == 1000


def test_a_run_grows_again_and_again(tmp_path: Path) -> None:
    whole = run(configured(900), tmp_path / "whole", quiet=True)
    for steps in (300, 600, 900):
        path = run(configured(steps), tmp_path / "grown", quiet=True)
    assert logs(path) == logs(whole)


def test_annealed_schedules_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A learning rate that has fallen to its end rises again; epsilon is the same where its steps are few."""
    changes = {"algorithm__learning_rate_end": 0.0, "algorithm__epsilon_steps": 50_000}
    run(configured(300, **changes), tmp_path, quiet=True)
    capsys.readouterr()
    path = run(configured(600, **changes), tmp_path)
    words = "until here learning_rate and epsilon followed the earlier length, from here on the new one"
    assert f"resumed at step 300: grown from 300 to 600 steps; {words}" in capsys.readouterr().err
    assert words in json.loads((path / "machine.json").read_text())["starts"][1]["note"]


def test_annealed() -> None:
    settings = configured(300).algorithm_settings
    assert settings.annealed(300, 600) == []
    assert dataclasses.replace(settings, learning_rate_end=0.0).annealed(300, 600) == ["learning_rate"]
    assert dataclasses.replace(settings, epsilon_steps=200).annealed(300, 600) == ["epsilon"]
    assert dataclasses.replace(settings, epsilon_steps=200, epsilon_end=1.0).annealed(300, 600) == []
    assert dataclasses.replace(settings, epsilon_steps=50_000).annealed(200_000, 300_000) == []
    assert resolve(TASK, "ip", 0, 100).algorithm_settings.annealed(100, 200) == ["learning_rate"]


def test_without_a_checkpoint_it_is_refused(tmp_path: Path) -> None:
    path = run(configured(300, training__keep_checkpoint=False), tmp_path, quiet=True)
    assert not (path / "checkpoint.pt").exists()
    before = {file.name: file.read_bytes() for file in path.iterdir() if file.is_file() and file.name != "lock"}
    with pytest.raises(UserError, match=r"a run of 300 steps without a checkpoint, .* --keep-checkpoint") as caught:
        run(configured(600), tmp_path, quiet=True)
    assert "\n" not in str(caught.value)
    assert before == {file.name: file.read_bytes() for file in path.iterdir() if file.is_file() and file.name != "lock"}


def test_fewer_steps_and_other_settings_are_refused(tmp_path: Path) -> None:
    run(configured(600), tmp_path, quiet=True)
    with pytest.raises(UserError, match="total_steps was 600, now 300"):
        run(configured(300), tmp_path, quiet=True)
    with pytest.raises(UserError, match=r"gamma was 0\.95, now 0\.9"):
        run(configured(900, algorithm__gamma=0.9), tmp_path, quiet=True)


class KilledError(Exception):
    """Stands for the end of the process."""


def test_killed_while_growing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its first step, when its folder already is that of the longer run; the same command continues it."""
    whole = run(configured(900), tmp_path / "whole", quiet=True)
    run(configured(300), tmp_path / "grown", quiet=True)

    def killed(self: RunWriter) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "resume", killed)
        with pytest.raises(KilledError):
            run(configured(900), tmp_path / "grown", quiet=True)
    path = run_folder(tmp_path / "grown", configured(900).key)
    assert not is_finished(path, 900)
    run(configured(900), tmp_path / "grown", quiet=True)
    assert is_finished(path, 900)
    assert logs(path) == logs(whole)


def test_a_kept_checkpoint_of_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    path = run(configured(300), tmp_path, quiet=True)
    before = (path / "checkpoint.pt").stat()
    assert run(configured(300), tmp_path, quiet=True) == path
    assert (path / "checkpoint.pt").stat() == before
