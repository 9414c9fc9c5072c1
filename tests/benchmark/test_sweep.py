"""Sweeps: planning, skipping, failing, retrying, estimating."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark import memory, suites, sweep
from benchmark.errors import UserError
from benchmark.plan import plan_runs, select
from benchmark.requests import RunRequest
from benchmark.suites import SUITES
from benchmark.tasks import TASKS
from envs.traffic.tasks import listed_city
from envs.traffic_names import REAL
from results.folder import status_of
from results.keys import RunKey
from results.layout import run_folder
from results.lock import holder_of
from results.paper import TABLE_1
from tests.benchmark.conftest import SMALL
from tests.beside import needs_map
from tests.patience import PATIENCE

TASK = "mpe/cooperative_navigation_3"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tiny_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two algorithms of which the first fails: its batch is refused at the first gradient step."""
    requests = [
        RunRequest(RunKey(TASK, "ip", "tiny", 0), 300, SMALL | {"algorithm.kernel": "dense"}),
        RunRequest(RunKey(TASK, "iql", "tiny", 0), 300, SMALL),
        RunRequest(RunKey("cityflow/hangzhou_16", "iql", "tiny", 0), 300, {"environment.vehicles": "drawn"}),
        RunRequest(RunKey(TASK, "qmix", "tiny", 0), 300, {"environment.actions": "continuous"}),
    ]
    monkeypatch.setitem(SUITES, "smoke", lambda: requests)


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["sweep", *arguments, "--suite", "smoke", "--device", "cpu"])
    return sweep.main()


def test_suites_are_what_they_say() -> None:
    """`all` is Table 1 times seven algorithms times five seeds; every suite names tasks that exist."""
    requests = suites.paper()
    assert len(requests) == 13 * 7 * 5
    assert {request.key.task for request in requests} == {task.name for task in TABLE_1}
    known = {task.name for task in TASKS}
    for cells_of in SUITES.values():
        assert {request.key.task for request in cells_of()} <= known


@pytest.mark.parametrize("name", sorted(SUITES.keys() - {"all"}))
def test_every_cell_of_the_small_suites_resolves(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But those on real maps where these have not been fetched: they say how to get them."""
    monkeypatch.setenv("IPB_DATA", str(tmp_path / "nothing"))
    listed_city.cache_clear()
    plans = plan_runs(SUITES[name](), tmp_path, "cpu")
    for item in plans:
        real = item.key.task.removeprefix("cityflow/") in REAL
        assert item.state == ("unavailable" if real else "absent")
        assert ("get it with python -m envs.traffic.data fetch" in item.reason) == real
    found = [(item.config, item.request) for item in plans if item.config]
    paths = [run_folder(tmp_path, config.key) for config, _ in found]
    assert paths == [run_folder(tmp_path, request.key) for _, request in found]
    assert len(set(paths)) == len(paths), "no two requests share a folder"


@needs_map(*(f"cityflow/{name}" for name in REAL))
def test_with_the_real_maps_every_suite_is_available(tmp_path: Path) -> None:
    for suite in SUITES.values():
        assert {item.state for item in plan_runs(suite(), tmp_path, "cpu")} == {"absent"}


def test_runs_that_suites_share_are_the_same() -> None:
    """A run that figures compare with others belongs to several suites: it is made once."""
    shared = {"ablations": 3 * 5, "interpretation": 7 * 5}
    for name, count in shared.items():
        assert sum(request in suites.paper() for request in SUITES[name]()) == count


@pytest.mark.parametrize(("suite", "hops"), [(suites.ablations, [1, 2, 3, 4]), (suites.ablations_cpu, [])])
def test_ablations_differ_in_one_setting(suite: Callable[[], list[RunRequest]], hops: list[int]) -> None:
    """The paper's Figure 6: two graphs on two maps; 3 to 10 neighbours, 8 being the default, and 1 to 4 hops, Q's
    rounds with them, which on a CPU are in another suite."""
    settings: dict[tuple[str, int], list[dict[str, object]]] = {}
    for request in suite():
        settings.setdefault((request.key.task, request.key.seed), []).append(request.overrides)
    assert {task for task, _ in settings} == {*suites.GRAPH_TASKS, suites.NEIGHBOUR_TASK}
    for (task, _), variants in settings.items():
        base = min(variants, key=len)
        others = [other for other in variants if other != base]
        ablated = [{name: value for name, value in other.items() if name not in base} for other in others]
        for only in ablated:
            if "algorithm.hops" in only:
                assert only.pop("algorithm.critic_hops", 1) is None
        assert all(len(only) == 1 for only in ablated)
        assert all(base.items() <= other.items() for other in others)
        if task in suites.GRAPH_TASKS:
            assert ablated == [{"algorithm.graph": "full"}]
        else:
            assert [only["algorithm.hops"] for only in ablated if "algorithm.hops" in only] == hops
            counts = [only.get("environment.num_neighbours") for only in ablated]
            assert [count for count in counts if count] == [3, 4, 5, 6, 7, 9, 10]


def test_table_1_by_number_of_agents() -> None:
    """Table 1 of the paper: platforms and numbers of agents."""
    numbers: dict[str, list[int]] = {}
    for task in TABLE_1:
        numbers.setdefault(task.platform, []).append(task.num_agents)
        assert task.name.endswith(f"_{task.num_agents}")
    assert sorted(numbers["cityflow"]) == [16, 49, 96, 100, 225, 1225]
    assert sorted(numbers["mpe"]) == [15, 30, 100, 100, 100, 200]
    assert numbers["magent"] == [20]


def test_sweep_runs_skips_and_reports(
    tiny_suite: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "--results", str(tmp_path), "--workers", "2") == 0
    output = capsys.readouterr().out
    assert "2 finished now, 0 had finished before, 0 failed" in output
    assert "unavailable: 1 run: qmix needs discrete actions; continuous ones can be learned by: ip" in output
    assert "unavailable: 1 run: vehicles='drawn' is for synthetic cities" in output
    references = json.loads((tmp_path / TASK / "references.json").read_text())
    assert {"random", "stay", "assignment"} <= references["policies"].keys()
    assert len(references["policies"]["random"]["returns"]) == 3

    assert call(monkeypatch, "--results", str(tmp_path), "--workers", "2") == 0
    assert "0 finished now, 2 had finished before" in capsys.readouterr().out
    assert call(monkeypatch, "--results", str(tmp_path), "--dry-run") == 0
    assert "4 runs: 2 finished, 2 unavailable" in capsys.readouterr().out


def test_whole_suite_is_collected_and_a_part_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(
        SUITES, "smoke", lambda: [RunRequest(RunKey(TASK, "iql", "tiny", seed), 300, SMALL) for seed in (0, 1)]
    )
    assert call(monkeypatch, "--results", str(tmp_path), "--seeds", "0") == 0
    assert "not collected, as this is a part of the suite" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"missing: .* seed 1.*--incomplete accepts this"):
        call(monkeypatch, "collect", "--results", str(tmp_path))
    assert call(monkeypatch, "plan", "--results", str(tmp_path)) == 0
    assert "for 1 run, by the speed of those begun" in capsys.readouterr().out
    assert call(monkeypatch, "--results", str(tmp_path)) == 0
    assert "collected 2 of 2 runs, 2 of them finished" in capsys.readouterr().out
    assert (tmp_path / "collected" / "manifest.json").exists()


def test_submission_says_what_is_wrong(
    tiny_suite: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No profile; memory that no run fits into; no SLURM."""
    only = ("--results", str(tmp_path), "--tasks", TASK, "--algorithms", "iql")
    with pytest.raises(UserError, match="needs --profile NAME"):
        call(monkeypatch, "submit", *only)
    monkeypatch.setattr(memory, "estimate", lambda config: memory.MemoryEstimate(3 * 2**30, 2**30))
    assert call(monkeypatch, "submit", *only, "--profile", "cpu", "--override", "memory_gib=2") == 1
    output = capsys.readouterr().out
    assert "0 runs queued in 0 jobs" in output
    assert "needs 4.0 GiB, the profile gives a run 2: --override memory_gib=5" in output
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        UserError, match="needs SLURM, and there is no sbatch and no srun and no squeue and no scancel here"
    ):
        call(monkeypatch, "submit", *only, "--profile", "cpu")


def test_failed_run_is_reported_and_retried_on_request(
    tiny_suite: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only = ("--results", str(tmp_path), "--algorithms", "iql", "--tasks", TASK)
    folder = tmp_path / TASK / "iql/tiny/seed_0"
    (folder / "metrics.jsonl").mkdir(parents=True)  # a folder where a file must be written
    assert call(monkeypatch, *only) == 1
    output = capsys.readouterr().out
    assert "FAILED" in output
    assert "output.log" in output
    assert status_of(folder)["state"] == "failed"
    (folder / "metrics.jsonl").rmdir()

    assert call(monkeypatch, *only) == 1
    assert "run it again with the action retry" in capsys.readouterr().out
    assert call(monkeypatch, "retry", *only) == 0
    assert status_of(folder)["state"] == "finished"


def test_run_that_does_not_fit_is_refused_and_the_others_run(
    tiny_suite: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda device: 300_000)  # IQL fits, IP does not
    assert call(monkeypatch, "--results", str(tmp_path), "--tasks", TASK) == 1
    output = capsys.readouterr().out
    assert "1 finished now, 0 had finished before, 0 failed" in output
    assert f"refused: {TASK} ip tiny seed 0: {TASK} ip needs 0.00 GiB" in output


def test_estimate_names_memory_and_time(
    tiny_suite: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "--results", str(tmp_path), "--estimate") == 0
    output = capsys.readouterr().out
    assert output.count("GiB") == 2
    assert "not counted: 2 runs, which cannot be made" in output
    assert not any(tmp_path.iterdir()), "an estimate starts nothing"


@pytest.mark.parametrize("action", ["run", "plan", "retry"])
@pytest.mark.parametrize("given", [["--profile", "gpu"], ["--override", "minutes=5", "gpus=1"]])
def test_a_profile_without_slurm_is_refused(action: str, given: list[str], tmp_path: Path) -> None:
    """Runs are not started on the login node because an option was forgotten."""
    command = [action, "--suite", "smoke", "--results", str(tmp_path), *given]
    with pytest.raises(UserError, match=f"^{' '.join(given)}: only --launcher slurm has profiles: add"):
        sweep.parse_arguments(command)
    assert sweep.parse_arguments([*command, "--launcher", "slurm"]).action == action


def test_a_plan_looks_for_the_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only = ("--results", str(tmp_path), "--tasks", "game/two_step_2", "--algorithms", "iql", "--launcher", "slurm")
    assert call(monkeypatch, "plan", *only, "--profile", "cpu") == 0
    with pytest.raises(UserError, match="no profile 'gqu'"):
        call(monkeypatch, "plan", *only, "--profile", "gqu")


@pytest.mark.parametrize("action", ["run", "plan", "status", "collect", "retry"])
def test_results_that_are_a_file(action: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: this is a file; give the folder of the runs"):
        call(monkeypatch, action, "--results", str(tmp_path / "file"))


def test_advice_of_collect_is_one_that_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a damaged file nor a folder without runs is accepted with --incomplete."""
    monkeypatch.setitem(SUITES, "smoke", lambda: [RunRequest(RunKey(TASK, "iql", "tiny", 0), 300, SMALL)])
    with pytest.raises(UserError, match=r"none of the wanted runs has begun \(1\): make them, or name .* --results$"):
        call(monkeypatch, "collect", "--results", str(tmp_path))
    folder = run_folder(tmp_path, RunKey(TASK, "iql", "tiny", 0))
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json, line 1: not JSON .*create it again$"):
        call(monkeypatch, "collect", "--results", str(tmp_path))


def test_filters() -> None:
    requests = SUITES["quick"]()
    chosen = select(requests, [TASK], ["iql"], [7, 8, 9])
    assert [(c.key.task, c.key.algorithm, c.key.seed) for c in chosen] == [(TASK, "iql", seed) for seed in (7, 8, 9)]
    assert select(requests, [TASK], ["iql"], [7, 8, 7, 9, 9]) == chosen, "a seed given twice is one run"
    wrong: list[dict[str, Any]] = [{"tasks": ["mpe/x"]}, {"names": ["x"]}]
    for filters in wrong:
        with pytest.raises(UserError, match="not in this suite"):
            select(requests, filters.get("tasks", []), filters.get("names", []), [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_sweep_stops_its_runs(number: signal.Signals, tmp_path: Path) -> None:
    """No run is left behind: each writes a checkpoint and ends, and the sweep says how to continue."""
    command = [sys.executable, "-m", "benchmark.sweep", "--suite", "quick", "--tasks", TASK, "--algorithms", "iql"]
    command += ["--workers", "2", "--device", "cpu", "--results", str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    ) as sweeper:
        runs = [tmp_path / TASK / "iql" / "quick" / f"seed_{seed}" for seed in (0, 1)]
        deadline = time.monotonic() + PATIENCE
        while not all(status_of(run)["state"] == "running" for run in runs):
            assert time.monotonic() < deadline, "the runs do not begin"
            time.sleep(0.2)
        sweeper.send_signal(number)
        output = sweeper.communicate(timeout=PATIENCE)[0].decode()
    assert sweeper.returncode == 130
    assert "interrupted: run the same command again" in output
    for run in runs:
        assert (run / "checkpoint.pt").exists()
        assert status_of(run)["state"] == "running"
        assert holder_of(run) is None
