"""Run folders are read whole or refused with a name: truncated lines, resumed runs, wrong folders, repeated cells."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from results.checks import find_issues
from results.errors import ResultsError
from results.keys import RunKey
from results.records import MetricRow
from results.runs import evaluations_frame, load_run, load_runs, metrics_frame, thin
from tests.figures.synthetic import TASK, write_json, write_lines, write_references, write_run

CURVES = {"greedy": [(0, [-10.0, -20.0]), (2000, [-4.0, -8.0])], "sampled": [(0, [-30.0, -30.0])]}


def test_frame_holds_hand_computed_moments(tmp_path: Path) -> None:
    write_run(tmp_path, CURVES, seed=3, scores={"collisions": 2.5})
    frame = evaluations_frame(load_runs(tmp_path))
    assert list(frame["policy"]) == ["greedy", "sampled", "greedy"]
    last = frame.iloc[-1]
    assert (last["task"], last["algorithm"], last["variant"], last["seed"]) == (TASK, "ip", "default", 3)
    assert (last["step"], last["return_mean"], last["episodes"], last["score/collisions"]) == (2000, -6.0, 2, 2.5)
    assert last["return_std"] == pytest.approx(np.sqrt(8.0))  # ((2)^2 + (2)^2) / (2 - 1)
    assert bool(last["finished"])


def test_returns_are_rounded_to_single_precision(tmp_path: Path) -> None:
    write_run(tmp_path, {"greedy": [(0, [0.1])]})
    assert load_runs(tmp_path).runs[0].evaluations[0].returns == (float(np.float32(0.1)),)


def test_timings_and_nested_metrics_get_names(tmp_path: Path) -> None:
    write_run(tmp_path, CURVES, metrics=[{"step": 100, "loss/q": 2.0, "absent": None}])
    frame = metrics_frame(load_runs(tmp_path)).set_index(["step", "name"])["value"]
    assert frame[100, "loss/q"] == 2.0
    assert frame[2000, "timing/seconds/act"] == 1.0
    assert "absent" not in frame.index.get_level_values("name")


@pytest.mark.parametrize("state", ["running", "failed"])
@pytest.mark.parametrize("name", ["evaluation.jsonl", "metrics.jsonl", "timing.jsonl"])
def test_torn_last_line_of_an_unfinished_run_is_left_out_and_reported(tmp_path: Path, state: str, name: str) -> None:
    folder = write_run(tmp_path, CURVES, state=state)
    lines = len((folder / name).read_text().splitlines())
    with (folder / name).open("a") as file:
        file.write('{"step": 3000, "pol')
    run = load_run(folder)
    assert run.notes == (f"{name} ends in a truncated line ({lines + 1}), which was left out",)
    assert len(run.evaluations) == 3
    assert any("truncated line" in issue.message for issue in find_issues(load_runs(tmp_path)))


def test_torn_last_line_of_a_finished_run_is_an_error(tmp_path: Path) -> None:
    folder = write_run(tmp_path, CURVES)
    with (folder / "evaluation.jsonl").open("a") as file:
        file.write('{"step": 30')
    with pytest.raises(ResultsError, match=r"evaluation\.jsonl, line 4: is truncated, although the run finished"):
        load_runs(tmp_path)


def test_torn_line_inside_is_an_error_even_in_an_unfinished_run(tmp_path: Path) -> None:
    folder = write_run(tmp_path, CURVES, state="running")
    lines = (folder / "evaluation.jsonl").read_text().splitlines()
    (folder / "evaluation.jsonl").write_text("\n".join([lines[0], lines[1][:20], lines[2]]) + "\n")
    with pytest.raises(ResultsError, match=r"evaluation\.jsonl, line 2: is not JSON"):
        load_runs(tmp_path)


def test_lines_repeated_after_a_resume_replace_the_old_ones(tmp_path: Path) -> None:
    folder = write_run(tmp_path, CURVES, state="running")
    rows = [
        {"step": step, "policy": "greedy", "returns": [value]} for step, value in ((0, 1), (100, 2), (200, 3), (100, 4))
    ]
    write_lines(folder / "evaluation.jsonl", rows)
    run = load_run(folder)
    assert [(evaluation.step, evaluation.returns) for evaluation in run.evaluations] == [(0, (1.0,)), (100, (4.0,))]
    assert run.notes == ("evaluation.jsonl: resumed at step 100, which replaced 2 earlier lines",)


def test_values_that_are_not_finite_are_reported(tmp_path: Path) -> None:
    write_run(tmp_path, {"greedy": [(0, [1.0, float("nan")])]}, metrics=[{"step": 5, "loss/q": float("inf")}])
    results = load_runs(tmp_path)
    messages = [issue.message for issue in find_issues(results)]
    assert "loss/q is not finite, first at step 5" in messages
    assert "greedy returns are not finite from step 0 on (1 evaluation)" in messages
    assert np.isnan(evaluations_frame(results)["return_mean"]).all()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "{", r"config\.json, line 1: not JSON"),
        ("config.json", "{}", r"config\.json: no task, algorithm"),
        ("status.json", '{"state": "lost", "step": 0}', r"status\.json: state is 'lost', expected one of running"),
        ("status.json", '{"state": "failed"}', r"status\.json: step is missing"),
        ("evaluation.jsonl", '{"step": 0, "policy": "best", "returns": [1]}\n', r"line 1: policy is 'best'"),
        ("evaluation.jsonl", '{"step": 0, "policy": "greedy", "returns": []}\n', "one number for each episode"),
        ("metrics.jsonl", '{"loss": 1}\n', r"metrics\.jsonl, line 1: expected a step"),
        ("metrics.jsonl", "[1]\n", r"metrics\.jsonl, line 1: expected a JSON object"),
    ],
)
def test_corrupt_files_are_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    folder = write_run(tmp_path, CURVES)
    (folder / name).write_text(content)
    with pytest.raises(ResultsError, match=message):
        load_runs(tmp_path)


def test_a_moved_run_is_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path, CURVES, seed=1)
    folder.rename(folder.with_name("seed_2"))
    with pytest.raises(ResultsError, match="which is not the folder it lies in"):
        load_runs(tmp_path)


def test_one_cell_with_two_configs_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "monday", CURVES)
    write_run(tmp_path / "tuesday", CURVES, learning_rate=0.5)
    with pytest.raises(ResultsError, match="run twice with different configs"):
        load_runs(tmp_path)


def test_a_copy_with_the_same_config_counts_once(tmp_path: Path) -> None:
    write_run(tmp_path / "monday", {"greedy": [(0, [1.0])]}, state="running")
    write_run(tmp_path / "tuesday", {"greedy": [(0, [1.0]), (4000, [2.0])]})
    results = load_runs(tmp_path)
    assert len(results.runs) == 1
    assert results.runs[0].status.finished
    assert "found twice with the same config" in results.notes[0]


def test_no_runs_says_how_to_make_some(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ResultsError, match=r"no runs found in .*benchmark\.sweep --suite smoke --results"):
            load_runs(directory)


def test_a_run_without_config_or_status_is_not_silent(tmp_path: Path) -> None:
    folder = write_run(tmp_path, CURVES)
    (folder / "status.json").unlink()
    (folder / "machine.json").unlink()
    (folder.parent / "seed_7").mkdir()
    results = load_runs(tmp_path)
    messages = " | ".join(issue.message for issue in find_issues(results))
    assert "seed_7 has no config.json" in messages
    assert "status.json is missing" in messages
    assert "cannot say which code and hardware made it" in messages
    assert [run.key.seed for run in results.runs] == [0]


def test_references_are_found_and_checked(tmp_path: Path) -> None:
    write_run(tmp_path / "sweep", CURVES)
    write_references(tmp_path / "sweep", random=[1.0, 3.0])
    write_references(tmp_path / "sweep", task="mpe/other", random=[1.0])
    results = load_runs(tmp_path)
    assert results.references[TASK].returns == {"random": (1.0, 3.0)}
    assert any("no run of this task" in note for note in results.notes)
    path = tmp_path / "sweep" / TASK / "references.json"
    write_json(path, {**json.loads(path.read_text()), "episodes": 5})
    with pytest.raises(ResultsError, match="random must have 5 returns"):
        load_runs(tmp_path)


def test_thinning_keeps_the_last_row_of_each_bin_and_is_stable() -> None:
    rows = [MetricRow(step, {}) for step in range(0, 1001, 10)]
    thinned = thin(rows, bin_width=250)
    assert [row.step for row in thinned] == [0, 250, 500, 750, 1000]
    assert thin(thinned, bin_width=250) == thinned


def test_cells_sort_as_a_reader_expects() -> None:
    cells = [RunKey(f"mpe/n_{n}", a, v, 0) for n in (200, 15) for v in ("a", "default") for a in ("new", "iql", "ip")]
    ordered = sorted(cells, key=RunKey.order)
    assert [(cell.task, cell.variant, cell.algorithm) for cell in ordered[:4]] == [
        ("mpe/n_15", "default", "ip"),
        ("mpe/n_15", "default", "iql"),
        ("mpe/n_15", "default", "new"),
        ("mpe/n_15", "a", "ip"),
    ]


def test_hidden_and_collected_folders_are_not_looked_into(tmp_path: Path) -> None:
    """Further down, a folder may be called collected."""
    for name in (".sweep", ".old/mpe", "collected", "monday/.sweep"):
        write_run(tmp_path / name, CURVES, seed=1)
        write_references(tmp_path / name, random=[9.0])
    write_run(tmp_path / "monday" / "collected", CURVES)
    write_references(tmp_path / "monday" / "collected", random=[1.0])
    results = load_runs(tmp_path)
    assert [run.key.seed for run in results.runs] == [0]
    assert results.references[TASK].returns == {"random": (1.0,)}
    assert results.notes == ()


def test_folders_within_a_run_are_not_runs(tmp_path: Path) -> None:
    folder = write_run(tmp_path, CURVES)
    write_run(folder, CURVES, seed=1)
    assert [run.key.seed for run in load_runs(tmp_path).runs] == [0]


def test_only_wanted_runs_are_read(tmp_path: Path) -> None:
    """What else there is may be corrupt or not begun; what is wanted and not there is not made up."""
    for seed in (0, 1):
        write_run(tmp_path, CURVES, seed=seed)
    (tmp_path / str(RunKey(TASK, "ip", "default", 1)) / "evaluation.jsonl").write_text("{\n{\n")
    (tmp_path / str(RunKey(TASK, "ip", "default", 2))).mkdir()
    write_run(tmp_path, CURVES, task="mpe/other")
    write_references(tmp_path, task="mpe/other", random=[1.0])
    wanted = [RunKey(TASK, "ip", "default", seed) for seed in (0, 3)]
    results = load_runs(tmp_path, wanted)
    assert ([run.key for run in results.runs], results.references, results.notes) == (wanted[:1], {}, ())
    with pytest.raises(ResultsError, match="none of the wanted runs has begun"):
        load_runs(tmp_path, wanted[1:])


def test_a_line_without_numbers_leaves_no_row(tmp_path: Path) -> None:
    write_run(tmp_path, CURVES, metrics=[{"step": 100, "loss/q": None}, {"step": 200, "loss/q": 1.0}])
    rows = [row for row in load_runs(tmp_path).runs[0].metrics if "timing/wall_seconds" not in row.values]
    assert rows == [MetricRow(200, {"loss/q": 1.0})]


def test_an_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, CURVES)
    scan = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "ip":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ResultsError, match=r"cannot read .*/ip: Permission denied"):
        load_runs(tmp_path)
