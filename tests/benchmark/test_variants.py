"""A suite with settings changed: which runs change, and what they are called."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from benchmark import sweep
from benchmark.config import MOST_LABEL
from benchmark.errors import UserError
from benchmark.requests import RunRequest
from benchmark.variants import with_settings
from results.keys import RunKey

TASK = "mpe/cooperative_navigation_3"
IP = RunRequest(RunKey(TASK, "ip", "quick", 0), 1000, {"training.batch_size": 64})
IQL = RunRequest(RunKey(TASK, "iql", "quick", 0), 1000, {"training.batch_size": 64})
CITY = RunRequest(RunKey("cityflow/synthetic_4", "iql", "default", 0), 1000, {})


def test_a_setting_of_all_runs_changes_all() -> None:
    changed = with_settings([IP, IQL, CITY], {"training.batch_size": "3.2e1"})
    assert [request.key.variant for request in changed] == [
        "quick+batch_size=32",
        "quick+batch_size=32",
        "default+batch_size=32",
    ]
    for request in changed:
        config = request.resolve()
        assert config.training.batch_size == 32


def test_runs_without_the_setting_are_those_of_the_suite() -> None:
    ip, iql, city = with_settings([IP, IQL, CITY], {"algorithm.alpha": "0.1", "environment.engine": "cityflow"})
    assert ip.key.variant == "quick+alpha=0.1"
    assert ip.overrides == {"training.batch_size": 64, "algorithm.alpha": "0.1"}
    assert iql == IQL
    assert city.key.variant == "default+engine=cityflow"


def test_values_that_a_run_has_already_change_nothing() -> None:
    """However they are spelt, and whether the suite sets them or they are defaults."""
    settings = {"training.batch_size": "6.4e1", "algorithm.gamma": "0.950"}
    assert with_settings([IP], settings)[0].key.variant == "quick"


def test_settings_without_effect_make_no_variant() -> None:
    (request,) = with_settings([IP], {"training.checkpoint_seconds": "1"})
    assert request.key.variant == "quick"
    assert request.overrides["training.checkpoint_seconds"] == "1"


def test_long_names_are_short() -> None:
    long = RunRequest(RunKey(TASK, "ip", "v" * 60, 0), 1000, {})
    settings = {"training.evaluation_interval": "123", "training.evaluation_episodes": "45"}
    (request,) = with_settings([long], settings)
    assert len(request.key.variant) <= MOST_LABEL
    assert re.fullmatch(r"v{60}\+settings-[0-9a-f]{10}", request.key.variant)
    assert (
        with_settings([long], settings | {"training.evaluation_episodes": "46"})[0].key.variant != request.key.variant
    )


def test_mistakes_are_one_line() -> None:
    with pytest.raises(UserError, match=r"--set algorithm\.alpa: none of these runs .*; did you mean algorithm\.alpha"):
        with_settings([IP, IQL], {"algorithm.alpa": "0.1"})
    with pytest.raises(UserError, match=r"did you mean training\.batch_size\?"):
        with_settings([IP, IQL], {"batch_size": "1"})
    with pytest.raises(UserError, match=r"^cityflow/synthetic_4 iql: --set environment\.reward=difference: "):
        with_settings([IP, CITY], {"environment.reward": "difference"})


def run_sweep(*arguments: str) -> int:
    sys.argv = ["sweep", *arguments]
    return sweep.main()


def test_a_sweep_with_changed_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its runs are stored next to the suite's, and it is not collected in place of the suite."""
    monkeypatch.setattr(sys, "argv", [])
    part = ["--suite", "smoke", "--tasks", "game/two_step_2", "--algorithms", "iql", "--seeds", "0"]
    here = ["--results", str(tmp_path), "--device", "cpu"]
    fewer = ["--set", "training.evaluation_episodes=2", "--set", "training.num_envs=20"]
    assert run_sweep(*part, *here, *fewer) == 0
    folder = tmp_path / "game/two_step_2/iql/smoke+evaluation_episodes=2,num_envs=20/seed_0"
    assert (folder / "policy.pt").exists()
    capsys.readouterr()
    assert run_sweep("status", *part, *here, *fewer) == 0
    assert "1 finished" in capsys.readouterr().out
    assert run_sweep("status", *part, *here) == 0
    assert "1 absent" in capsys.readouterr().out
    with pytest.raises(UserError, match="collect --set needs --output DIR"):
        run_sweep("collect", *part, *here, *fewer)
    assert run_sweep("collect", *part, *here, *fewer, "--output", str(tmp_path / "set")) == 0
    assert (tmp_path / "set" / "manifest.json").exists()


def test_options_that_settings_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["sweep", "--suite", "smoke", "--engine", "cityflow"])
    with pytest.raises(UserError, match=r"--engine cityflow: .*use --set environment\.engine=cityflow"):
        sweep.main()
