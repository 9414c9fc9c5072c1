"""The processes of a lease: what they measure and train, and what they say when something fails."""

from __future__ import annotations

import json
import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest

from benchmark.config import RunConfig
from benchmark.errors import UserError
from benchmark.lease import work
from benchmark.lease.work import as_json, from_json, in_processes, in_this_process, make_runs, time_items
from benchmark.requests import RunRequest
from results.folder import status_of
from results.keys import RunKey
from tests.benchmark.conftest import SMALL

TASK = "mpe/cooperative_navigation_3"


def request(algorithm: str = "iql", seed: int = 0, steps: int = 300, **overrides: Any) -> RunRequest:
    return RunRequest(RunKey(TASK, algorithm, "test", seed), steps, SMALL | overrides)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_training_is_timed_by_its_parts(capsys: pytest.CaptureFixture[str]) -> None:
    """A block has as many rounds as it should and eight gradient steps."""
    settings = SMALL | {"training.num_envs": 10, "training.learning_starts": 350}
    item = {"what": "training", "task": TASK, "algorithm": "iql", "mode": "eager", "settings": settings}
    assert time_items([item], "cpu") == 0
    begin, found = lines(capsys)
    assert begin == {"begin": 0}
    assert (found["end"], found["agents"], found["copies"]) == (0, 3, 10)
    parts = 10 * found["round_ms"] + 8 * found["gradient_step_ms"]
    assert parts == pytest.approx(found["block_ms"], rel=1e-6)
    assert min(found[name] for name in ("round_ms", "gradient_step_ms", "evaluation_ms", "first_block_ms")) > 0
    assert set(found["losses"]) == {"loss/q"}


def test_equal_training_has_equal_losses(capsys: pytest.CaptureFixture[str]) -> None:
    """What two modes are compared by."""
    item = {"what": "training", "task": TASK, "algorithm": "ip", "mode": "eager", "settings": SMALL}
    time_items([item, item], "cpu")
    _, one, _, two = lines(capsys)
    assert one["losses"] == two["losses"]


def test_what_cannot_be_timed_is_said_and_the_next_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    items = [
        {"what": "environment", "task": "mpe/no_such_task", "copies": 2},
        {"what": "environment", "task": TASK, "copies": 2},
    ]
    assert time_items(items, "cpu") == 0
    _, wrong, _, right = lines(capsys)
    assert wrong["error"].startswith("UnknownTaskError: there is no task 'mpe/no_such_task'")
    assert (right["agents"], right["step_ms"] > 0) == (3, True)


def test_a_broken_device_ends_the_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(work, "_usable", lambda device: False)
    item = {"what": "environment", "task": "mpe/no_such_task", "copies": 2}
    assert time_items([item, item], "cpu") == work.BROKEN
    assert [next(iter(line)) for line in lines(capsys)] == ["begin", "end"], "the second was not begun"


def test_several_runs_are_compared_with_one_by_their_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of the log are 2 s apart for one run and 3 s for three: from the second to the last."""

    def trained(requests: list[RunRequest], folder: Path, device: str, seconds: float) -> list[Path]:
        paths = [folder / f"{request.key.variant}-{request.key.seed}" for request in requests]
        for path in paths:
            path.mkdir(parents=True)
            step = {1: 2.0, 3: 3.0}[len(requests)]
            rows = [{"wall_seconds": 50.0}, *({"wall_seconds": 60 + step * n} for n in range(4))]
            (path / "timing.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return paths

    monkeypatch.setattr(work, "train_together", trained)
    item = {"task": TASK, "algorithm": "iql", "runs": 3, "steps": 400, "settings": {}, "folder": str(tmp_path)}
    assert work.time_together(item | {"limit_s": 9.0}, "cpu") == {"times_one": 1.5}


def test_runs_in_processes_are_those_of_the_command(tmp_path: Path) -> None:
    """One ends, one has no memory for its replay."""
    refused = request("qmix", 1, 10**12, **{"training.replay_capacity": 10**12})
    one, two = in_processes([request(), refused], tmp_path, "cpu", 1000.0)
    assert isinstance(one, Path)
    assert status_of(one)["state"] == "finished"
    assert "GiB are free" in str(two)


def test_a_cell_that_cannot_be_is_refused_before_any_is_begun(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="heads = 7"):
        in_processes([request(), request("ip", **{"algorithm.heads": 7})], tmp_path, "cpu", 1000.0)
    assert not list(tmp_path.iterdir())


def test_a_run_that_does_not_end_in_time_is_lost(tmp_path: Path) -> None:
    (outcome,) = in_processes([request(steps=10**9)], tmp_path, "cpu", 0.5)
    assert "not finished in time" in str(outcome)


def test_runs_in_one_process_are_asked_for_with_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def run_together(configs: list[RunConfig], results: Path, quiet: bool, deadline: float) -> list[Path | Exception]:
        asked.extend([[(config.algorithm, config.seed, config.device) for config in configs], results, quiet, deadline])
        return [tmp_path, ValueError("no")]

    monkeypatch.setitem(sys.modules, "benchmark.together", types.SimpleNamespace(run_together=run_together))
    begin = time.monotonic()
    outcomes = in_this_process([request(), request(seed=1)], tmp_path, "cpu", 500.0)
    assert outcomes[0] == tmp_path
    assert asked[:3] == [[("iql", 0, "cpu"), ("iql", 1, "cpu")], tmp_path, True]
    assert begin + 500 <= asked[3] <= time.monotonic() + 500


@pytest.mark.parametrize("there", [True, False])
def test_one_process_is_used_where_this_version_can(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []
    monkeypatch.setattr(work.importlib.util, "find_spec", lambda name: object() if there else None)
    monkeypatch.setattr(work, "in_this_process", lambda *_: used.append("one") or [])
    monkeypatch.setattr(work, "in_processes", lambda *_: used.append("many") or [])
    work.train_together([], tmp_path, "cpu", 1.0)
    assert used == ["one" if there else "many"]


def test_each_run_has_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(work, "train_together", lambda *_: [tmp_path, ValueError("no")])
    assert make_runs([request(), request(seed=1)], tmp_path, "cpu", 1.0) == 1
    about = {"task": TASK, "algorithm": "iql", "variant": "test"}
    assert lines(capsys) == [about | {"seed": 0, "reason": ""}, about | {"seed": 1, "reason": "ValueError: no"}]


def test_cells_travel_as_json() -> None:
    requests = [request(), request("ip", 3)]
    assert from_json(json.loads(as_json(requests))) == requests


def test_facts_name_versions_and_modes() -> None:
    found = work.facts("cpu")
    assert found["packages"]["numpy"].count(".") == 2
    assert found["modes"]["eager"] == ""
    assert "cuda" in found["modes"]["graph"]
    assert found["machine"]["gpu"] is None
    assert "gpu" not in found
