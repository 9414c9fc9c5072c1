"""How long runs take by what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.config import resolve
from benchmark.errors import UserError
from benchmark.profiling import gpu_timings
from benchmark.profiling.gpu_timings import estimate, fastest_mode, find, run_seconds, together_factor
from tests.results.test_packs import EXAMPLE

ENTRY = EXAMPLE["timings"][0]


def test_runs_are_told_by_their_parts() -> None:
    """20,000 environment steps in copies of 100: 200 rounds of 1 ms, 1,600 gradient steps of 0.25 ms, three evaluations
    of 60 ms, 20 lines of logs of 2 ms."""
    config = resolve("mpe/cooperative_navigation_15", "iql", 0, 20_000)
    assert run_seconds(config, ENTRY) == pytest.approx(0.2 + 0.4 + 0.18 + 0.04)


def test_cities_are_evaluated_once_more_for_the_whole_hour() -> None:
    """360 decisions instead of 100."""
    config = resolve("cityflow/synthetic_4", "iql", 0, 10_000)
    entry = {**ENTRY, "copies": 4, "round_ms": 0.0, "gradient_step_ms": 0.0}
    assert run_seconds(config, entry) == pytest.approx((2 + 3.6) * 0.06 + 10 * gpu_timings.LOG_SECONDS)


def test_the_same_task_counts_before_one_that_is_alike() -> None:
    config = resolve("mpe/heterogeneous_navigation_100", "iql", 0, 1000)
    alike = ENTRY | {"task": "mpe/cooperative_navigation_100", "agents": 100}
    same = ENTRY | {"task": "mpe/heterogeneous_navigation_100", "agents": 100}
    smaller, other = ENTRY, alike | {"algorithm": "ip"}
    city = ENTRY | {"task": "cityflow/synthetic_100", "agents": 100}
    assert find([smaller, other, city], config, "graph") is None
    assert find([alike, smaller], config, "graph") is alike
    assert find([same, alike], config, "graph") is same
    assert find([same, same | {"round_ms": 2.0}], config, "graph") == same | {"round_ms": 2.0}
    assert find([same], config, "eager") is None


def test_the_fastest_mode_is_what_takes_least() -> None:
    config = resolve("mpe/cooperative_navigation_15", "iql", 0, 20_000)
    modes = [ENTRY, ENTRY | {"mode": "graph+tf32", "gradient_step_ms": 0.1}, ENTRY | {"mode": "eager", "round_ms": 0.0}]
    found = fastest_mode(modes, config)
    assert found is not None
    assert found[0] == "graph+tf32"
    assert fastest_mode(modes[2:], config) is None


def test_a_run_is_told_by_another_mode_where_both_were_timed_elsewhere() -> None:
    """Jungle was timed in mode graph alone; on navigation a block takes 6 ms eager and 3 ms there."""
    config = resolve("magent/jungle_20", "iql", 0, 20_000)
    jungle = ENTRY | {"task": "magent/jungle_20", "agents": 20}
    eager = ENTRY | {"mode": "eager", "block_ms": 6.0}
    assert estimate([ENTRY, eager], config, "eager") is None
    assert estimate([jungle, eager], config, "eager") is None, "no task was timed in both modes"
    assert estimate([jungle, ENTRY, eager | {"algorithm": "ip"}], config, "eager") is None
    seconds = run_seconds(config, jungle)
    assert estimate([jungle, ENTRY, eager], config, "eager") == pytest.approx((2 * seconds, 1.8))
    assert estimate([jungle, ENTRY, eager], config, "graph") == pytest.approx((seconds, 0.9))


def test_several_runs_take_as_long_as_measured() -> None:
    """Five take twice as long as one in the example; without measurements they would take five times as long."""
    assert together_factor(EXAMPLE["timings"], 1) == 1
    assert together_factor(EXAMPLE["timings"], 5) == pytest.approx(2)
    assert together_factor(EXAMPLE["timings"], 3) == pytest.approx(1.5)
    assert together_factor([], 3) == pytest.approx(3)


def test_files_of_another_form_are_refused(tmp_path: Path) -> None:
    assert gpu_timings.read_timings(tmp_path / "none.json") == []
    (tmp_path / "other.json").write_text('{"timings": []}')
    with pytest.raises(UserError, match="expected format 1 and a list of timings"):
        gpu_timings.read_timings(tmp_path / "other.json")
