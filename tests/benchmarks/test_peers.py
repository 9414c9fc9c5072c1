"""The comparison with other suites: what it runs, how it counts, and where it writes."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.benchmarks import peers
from tests.benchmarks.peers import HERE, SIZES, SUITES, here, installed, main, measure, rate, with_measurement


@pytest.mark.parametrize("name", SUITES)
def test_every_installed_suite_plays_whole_episodes(name: str) -> None:
    if not installed(name):
        pytest.skip(f"{name} is not installed: pip install '.[peers]'")
    SUITES[name](3, 2)()


def test_steps_of_all_copies_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that advances by one second per episode: 25 steps of 4 copies per second."""
    now = iter(range(100))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(now)))
    # begins at 0; looks at the clock before each episode and at the end: 4 episodes in 6 ticks
    assert rate(lambda: None, copies=4, seconds=5.0) == pytest.approx(4 * 25 * 4 / 6)


def test_measurement_has_what_the_figure_needs() -> None:
    found = measure([(3, 2)], [HERE], 0.0, "example")
    assert found["rows"][0]["task"] == "mpe/cooperative_navigation_3"
    assert found["hardware"] == "example"
    assert set(found) == {"date", "hardware", "what", "setup", "command", "rows"}
    assert {agents for agents, _ in SIZES} >= {3, 15, 30, 100}
    here(3, 1)()


def test_a_new_measurement_replaces_those_of_the_same_hardware() -> None:
    def entry(hardware: str, rows: list[Any]) -> dict[str, Any]:
        return {"hardware": hardware, "what": "environment steps", "setup": "random actions", "rows": rows}

    old = [entry("a", [1]), entry("b", [2])]
    assert with_measurement(old, entry("a", [3])) == [entry("b", [2]), entry("a", [3])]
    assert with_measurement(old, entry("c", [3])) == [*old, entry("c", [3])]


def test_alone_there_is_nothing_to_compare_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peers, "installed", lambda name: name == HERE)
    assert main(["--write"]) == 1
    said = capsys.readouterr()
    assert "vmas is not installed: pip install '.[peers]'" in said.out
    assert said.err == "error: no other suite is installed, so there is nothing to compare with\n"
