"""Records of run folders that are JSON, but not what a run writes: every reader names the file, in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.requests import RunRequest
from benchmark.status import report, state_of
from results.collect import collect
from results.errors import ResultsError, UserError
from results.folder import RunFolder, is_finished
from results.keys import RunKey
from results.layout import CONFIG, MACHINE, POLICY, STATUS, WITHOUT_IT, run_folder
from results.runs import load_runs
from tests.figures.synthetic import TASK, write_run

KEY = RunKey(TASK, "iql", "default", 0)
GONE = object()
WRONG: list[tuple[str, tuple[str, ...], Any]] = [
    *((CONFIG, (name,), GONE) for name in ("task", "algorithm", "variant", "seed", "total_steps")),
    *((CONFIG, (name,), []) for name in ("environment", "training", "algorithm_settings", "total_steps")),
    (CONFIG, ("training", "evaluation_interval"), "often"),
    (STATUS, ("state",), GONE),
    (STATUS, ("state",), {}),
    (STATUS, ("step",), GONE),
    (STATUS, ("step",), "400"),
    (STATUS, ("wall_seconds",), {"a": None}),
    (STATUS, ("message",), None),
    (STATUS, ("scores",), 1e300),
    (STATUS, ("scores",), {"greedy": None}),
    (MACHINE, ("starts",), None),
    (MACHINE, ("starts",), [1, "a"]),
    (MACHINE, ("gpu",), []),
]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A finished run."""
    folder = write_run(tmp_path / "raw", {"greedy": [(0, [1.0]), (4000, [2.0])]}, algorithm="iql", seed=0)
    assert folder == run_folder(tmp_path / "raw", KEY)
    return tmp_path / "raw"


def damage(raw: Path, name: str, place: tuple[str, ...], value: Any) -> None:
    file = run_folder(raw, KEY) / name
    record = json.loads(file.read_text()) if file.exists() else {}
    entry = record
    for part in place[:-1]:
        entry = entry[part]
    if value is GONE:
        del entry[place[-1]]
    else:
        entry[place[-1]] = value
    file.write_text(json.dumps(record))


def open_folder(raw: Path) -> None:
    """As a run that begins or goes on, and fails."""
    is_finished(run_folder(raw, KEY), 4000)
    record = {**KEY._asdict(), "total_steps": 4000, "environment": {}, "training": {}, "algorithm_settings": {}}
    folder = RunFolder(raw, record)
    try:
        folder.record_start({"commit": "a"})
    finally:
        folder.close()


@pytest.mark.parametrize(("name", "place", "value"), WRONG)
@pytest.mark.parametrize(
    "read", [load_runs, lambda raw: collect(raw, [KEY], raw / "collected", "small", incomplete=True), open_folder]
)
def test_readers_name_the_file(
    name: str, place: tuple[str, ...], value: Any, read: Callable[[Path], object], raw: Path
) -> None:
    damage(raw, name, place, value)
    with pytest.raises(UserError) as raised:
        read(raw)
    # A folder that is opened for other settings is refused before its machine is read.
    expected = [str(run_folder(raw, KEY) / name)]
    if read is open_folder and name == MACHINE:
        expected.append("was made with other settings")
    assert any(words in str(raised.value) for words in expected)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("name", "place", "value"), [wrong for wrong in WRONG if wrong[0] != MACHINE])
def test_a_status_calls_it_damaged(name: str, place: tuple[str, ...], value: Any, raw: Path) -> None:
    damage(raw, name, place, value)
    state = state_of(raw, RunRequest(KEY, 4000))
    assert state.state == "damaged"
    assert name in state.message
    assert state.message in report([state], "small")


def test_a_damaged_status_costs_no_progress(raw: Path) -> None:
    """The advice keeps what the run has done."""
    (run_folder(raw, KEY) / STATUS).write_text("{}")
    with pytest.raises(ResultsError, match=WITHOUT_IT):
        is_finished(run_folder(raw, KEY), 4000)


def test_a_finished_run_whose_status_is_lost_is_not_made_again(raw: Path) -> None:
    folder = run_folder(raw, KEY)
    (folder / STATUS).unlink()
    (folder / POLICY).touch()
    evaluations = (folder / "evaluation.jsonl").read_bytes()
    state = state_of(raw, RunRequest(KEY, 4000))
    assert (state.state, "although the run has a trained policy" in state.message) == ("damaged", True)
    with pytest.raises(UserError, match=r"status\.json is missing, although the run has a trained policy: restore"):
        open_folder(raw)
    assert (folder / "evaluation.jsonl").read_bytes() == evaluations
