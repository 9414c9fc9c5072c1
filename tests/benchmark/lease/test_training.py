"""The lanes make the runs that are missing and end in time, and say what became of the others."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmark.lease.children import Child
from benchmark.lease.programme import Programme
from benchmark.lease.training import Lane, Trainer, key_of_folder
from benchmark.requests import RunRequest
from results.keys import RunKey
from tests.benchmark.conftest import SMALL
from tests.benchmark.lease.conftest import Stage

TASKS = ("mpe/cooperative_navigation_3", "magent/jungle_6", "cityflow/synthetic_4")
MAKE = """
import json, pathlib, sys
requests, results, fail = json.loads(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
for request in requests:
    task, algorithm, variant, seed = request["key"]
    about = {"task": task, "algorithm": algorithm, "variant": variant, "seed": seed}
    reason = "out of memory" if algorithm == fail else ""
    if not reason:
        folder = results / task / algorithm / variant / f"seed_{seed}"
        folder.mkdir(parents=True)
        (folder / "part").write_text(json.dumps(about))
        (folder / "part").rename(folder / "config.json")
    print(json.dumps(about | {"reason": reason}))
"""


class Workshop(Stage):
    """A site whose runs are finished at once, but for those of one algorithm."""

    fail = ""

    def work(self, name: str, *arguments: str, given: str = "") -> Child:
        self.given.append(given)
        return self.start(name, [sys.executable, "-c", MAKE, given, arguments[1], self.fail])


def timing(task: str, algorithm: str, round_ms: float = 1.0) -> dict[str, Any]:
    about = {"gpu": None, "what": "training", "task": task, "algorithm": algorithm, "mode": "eager", "agents": 3}
    return about | {
        "copies": 4,
        "round_ms": round_ms,
        "block_ms": 8.0,
        "gradient_step_ms": 1.0,
        "evaluation_ms": 1.0,
        "first_block_ms": 1.0,
    }


def trainer(site: Workshop, timings: Sequence[dict[str, Any]], done: set[RunKey] | None = None) -> Trainer:
    requests = [
        RunRequest(RunKey(task, name, "default", seed), 400, SMALL)
        for task in TASKS
        for name in ("ip", "iql")
        for seed in (0, 1)
    ]
    programme = Programme(tuple(requests), TASKS[:1], TASKS, ("ip", "iql"), {}, 1.0, 100, 2)
    results = site.folder / "runs"
    packed: list[int] = []

    def finished() -> list[Path]:
        return [file.parent for file in results.rglob("config.json")]

    return Trainer(site, programme, "eager", timings, done or set(), results, finished, lambda: packed.append(1))


def made(work: Trainer) -> set[RunKey]:
    return {key_of_folder(folder) for folder in work.finished()}


ALL = [timing(task, name) for task in TASKS for name in ("ip", "iql")]


def test_all_that_is_missing_is_made(tmp_path: Path) -> None:
    site = Workshop(tmp_path)
    published = {(TASKS[0], "ip", "default", 0), (TASKS[0], "ip", "default", 1), (TASKS[1], "iql", "default", 1)}
    work = trainer(site, ALL, set(published))
    work.run()
    wanted = {(task, name, "default", seed) for task in TASKS for name in ("ip", "iql") for seed in (0, 1)}
    assert made(work) == wanted - published
    groups = [json.loads(text) for text in site.given]
    assert sorted(len(group) for group in groups) == [1, 2, 2, 2, 2], "seeds of a request go together"
    assert all(request["overrides"]["training.checkpoint_replay_gib"] == 0 for group in groups for request in group)


def test_engines_have_a_lane_for_themselves() -> None:
    lanes = {
        lane.name: [task for task in TASKS if lane.has(RunRequest(RunKey(task, "ip", "v", 0), 1))]
        for lane in (Lane("tensors"), Lane("engine"))
    }
    assert lanes == {"tensors": list(TASKS[:2]), "engine": [TASKS[2]]}


def test_what_does_not_end_in_time_is_not_begun(tmp_path: Path) -> None:
    """400 steps in copies of 4 are 100 rounds: of 60 s each with this timing."""
    site = Workshop(tmp_path)
    work = trainer(site, [timing(TASKS[0], "iql"), timing(TASKS[0], "ip", 60_000.0)])
    work.run()
    assert made(work) == {(TASKS[0], "iql", "default", seed) for seed in (0, 1)}
    assert any(
        "left out: 4 runs of magent/jungle_6: no timing predicts them in mode eager" in line for line in site.said
    )
    assert site.said[-1].endswith("no missing run finishes in the remaining time")


def test_runs_that_fail_are_named_and_not_tried_again(tmp_path: Path) -> None:
    site = Workshop(tmp_path)
    site.fail = "ip"
    work = trainer(site, ALL[:2])
    work.run()
    assert made(work) == {(TASKS[0], "iql", "default", seed) for seed in (0, 1)}
    lost = [line for line in site.said if "lost: mpe/cooperative_navigation_3 ip seed" in line]
    assert len(lost) == 2
    assert all(line.endswith("out of memory") for line in lost)
    assert len(site.given) == 2


def test_runs_that_are_under_way_at_the_end_are_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Workshop(tmp_path)
    monkeypatch.setattr(
        site, "work", lambda *_, given: site.start("runs", [sys.executable, "-c", "import time; time.sleep(999)"])
    )
    work = trainer(site, ALL[:1])
    site.begin -= site.seconds - 20  # 12 s are left beside the packing
    work.run()
    assert sum("lost: " in line and line.endswith("the lease is over") for line in site.said) == 2


def test_the_length_of_one_group_tells_of_the_next(tmp_path: Path) -> None:
    """Runs that take a tenth of what was predicted: the next are predicted to be shorter, but no less than half."""
    site = Workshop(tmp_path)
    work = trainer(site, [timing(TASKS[0], name, 1000.0) for name in ("ip", "iql")])
    before = work.groups(work.lanes[0])[0].seconds(1)
    work.run()
    assert work.lanes[0].pace == 0.5
    work.done.clear()
    assert work.groups(work.lanes[0])[0].seconds(1) < before


def test_memory_limits_how_many_go_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Workshop(tmp_path)
    site.facts["gpu"] = {"free_gib": 1e-9}
    assert all(group.most == 0 for group in trainer(site, ALL).groups(Lane("tensors")))
    site.facts["gpu"] = {"free_gib": 1000}
    assert all(group.most > 5 for group in trainer(site, ALL).groups(Lane("tensors")))
