"""Timings are taken in their order; what fails, hangs or breaks its process costs itself alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmark.lease import timings
from benchmark.lease.work import BROKEN
from benchmark.profiling.gpu_timings import Entry
from tests.benchmark.lease.conftest import Stage

ITEMS = [
    {"what": "training", "task": "mpe/cooperative_navigation_15", "algorithm": name, "mode": "eager", "settings": {}}
    for name in ("ip", "dgn", "iql")
]
SAY = "import json, sys, time\ndef say(**words):\n    print(json.dumps(words), flush=True)\n"


def taken(stage: Stage, known: list[Entry] | None = None) -> list[Entry]:
    found: list[Entry] = []
    timings.take(stage, ITEMS, known or [], found)
    return found


def given(stage: Stage) -> list[list[str]]:
    """The algorithms requested from each process."""
    return [[item["algorithm"] for item in json.loads(text)] for text in stage.given]


def test_each_timing_says_where_it_is_from(stage: Stage) -> None:
    stage.programs = [SAY + "for n in range(3):\n    say(begin=n); say(end=n, copies=4, round_ms=n + 0.5)"]
    found = taken(stage)
    origin = {"gpu": None, "torch": "2", "commit": "c", "what": "training", "mode": "eager"}
    where = {"task": "mpe/cooperative_navigation_15", "copies": 4}
    expected: list[dict[str, Any]] = [
        origin | where | {"algorithm": name, "round_ms": n + 0.5} for n, name in enumerate(("ip", "dgn", "iql"))
    ]
    assert found == expected
    assert any("training mpe/cooperative_navigation_15 dgn eager: round_ms 1.5" in line for line in stage.said)


def test_a_process_that_breaks_is_followed_by_another(stage: Stage) -> None:
    """The first breaks the device at its first item and reports it; the second dies at its first; the third completes
    it."""
    stage.programs = [
        SAY + f"say(begin=0); say(end=0, error='no'); sys.exit({BROKEN})",
        SAY + "say(begin=0); sys.exit('segmentation fault')",
        SAY + "say(begin=0); say(end=0, round_ms=1.0)",
    ]
    assert [entry["algorithm"] for entry in taken(stage)] == ["iql"]
    assert given(stage) == [["ip", "dgn", "iql"], ["dgn", "iql"], ["iql"]]
    assert any(line.endswith("ip eager: no") for line in stage.said)
    assert any("segmentation fault" in line for line in stage.said)


def test_an_item_that_hangs_is_given_up(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timings, "ITEM_SECONDS", 3.0)
    stage.programs = [
        SAY + "say(begin=0); say(end=0, round_ms=1.0); say(begin=1); time.sleep(1000)",
        SAY + "say(begin=0); say(end=0, round_ms=2.0)",
    ]
    assert [entry["algorithm"] for entry in taken(stage)] == ["ip", "iql"]
    assert any("dgn eager: given up" in line for line in stage.said)


def test_the_phase_ends_in_time(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timings, "REHEARSED_SHARE", 0.003)
    stage.programs = [SAY + "say(begin=0); say(end=0, round_ms=1.0); say(begin=1); time.sleep(1000)"]
    taken(stage)
    assert stage.said[-1].endswith("not reached")


def test_what_is_known_is_not_taken_again(stage: Stage) -> None:
    known = [{"gpu": None, **{name: ITEMS[1][name] for name in ("what", "task", "algorithm", "mode")}}]
    other = [{**known[0], "algorithm": "ip", "gpu": "another"}]
    stage.programs = [SAY + "for n in range(2):\n    say(begin=n); say(end=n, round_ms=1.0)"]
    taken(stage, [*known, *other])
    assert given(stage) == [["ip", "iql"]]
