"""A suite is collected when all its runs exist and match; otherwise the reasons are reported and nothing changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from results.collect import SHOWN, collect
from results.compact import COMPACT_NOTE
from results.errors import ResultsError
from results.keys import RunKey
from results.publish import read_published
from tests.figures.synthetic import TASK, rising, write_references, write_run

CURVE = rising(-470.0, -270.0, 4000, 500)
CURVES = {"greedy": CURVE, "sampled": CURVE}
OTHER = "mpe/cooperative_navigation_6"
WANTED = [RunKey(TASK, algorithm, "default", seed) for algorithm in ("ip", "iql") for seed in (0, 1)]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """The four runs of the suite."""
    for cell in WANTED:
        write_run(tmp_path / "raw", CURVES, algorithm=cell.algorithm, seed=cell.seed)
    write_references(tmp_path / "raw", random=[-480.0, -460.0])
    return tmp_path / "raw"


def again(raw: Path, cell: RunKey, curves: Any = None, **changes: Any) -> Path:
    """Rerun a run of the suite, with changes."""
    folder = raw / str(cell)
    if folder.exists():
        shutil.rmtree(folder)
    curves = CURVES if curves is None else curves
    return write_run(raw, curves, task=cell.task, algorithm=cell.algorithm, seed=cell.seed, **changes)


def hash_of(raw: Path, cell: RunKey) -> str:
    return str(json.loads((raw / str(cell) / "config.json").read_text())["config_hash"])


def refusal(raw: Path, **arguments: Any) -> str:
    """The error of collecting the suite, after a look that the set that was there is still there."""
    output = raw / "collected"
    before = {path: path.read_bytes() for path in output.rglob("*")} if output.exists() else {}
    with pytest.raises(ResultsError) as error:
        collect(raw, WANTED, output, "small", **arguments)
    after = {path: path.read_bytes() for path in output.rglob("*")} if output.exists() else {}
    assert before == after
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_complete_suite_is_collected(raw: Path) -> None:
    output = raw / "collected"
    lines = collect(raw, WANTED, output, "small", hashes={cell: hash_of(raw, cell) for cell in WANTED})
    assert lines[-1] == "collected 4 of 4 runs, 4 of them finished; checksums verified"
    assert [line.split()[1] for line in lines[:-1]] == [
        str(output / name)
        for name in ("evaluations.parquet", "interpretation.parquet", "metrics.parquet", "manifest.json")
    ]
    found = read_published(output)
    assert [run.key for run in found.runs] == WANTED
    assert set(found.references) == {TASK}
    assert found.notes == ()
    assert json.loads((output / "manifest.json").read_text())["suite"] == "small"


def test_what_is_not_of_the_suite_is_not_looked_at(raw: Path) -> None:
    """Other seeds, tasks and variants, be they failed, corrupt or never begun, and their reference policies."""
    write_run(raw, {}, seed=7, state="failed")
    write_run(raw, CURVES, variant="default-more")
    (write_run(raw, CURVES, task=OTHER) / "evaluation.jsonl").write_text("{\n{\n")
    (raw / TASK / "ip" / "default" / "seed_8").mkdir()
    write_references(raw, OTHER, random=[1.0])
    collect(raw, WANTED, raw / "collected", "small")
    found = read_published(raw / "collected")
    assert [run.key for run in found.runs] == WANTED
    assert set(found.references) == {TASK}
    assert found.notes == ()


def test_collecting_again_replaces_the_set(raw: Path) -> None:
    for end in (-270.0, -200.0):
        curve = rising(-470.0, end, 4000, 500)
        again(raw, WANTED[0], {"greedy": curve})
        collect(raw, WANTED, raw / "collected", "small")
        last = read_published(raw / "collected").runs[0].evaluations[-1]
        assert last.returns == pytest.approx(curve[-1][1])


def test_compact_set(raw: Path) -> None:
    collect(raw, WANTED, raw / "collected", "small", compact=True)
    found = read_published(raw / "collected")
    assert found.notes == (COMPACT_NOTE,)
    assert {len(evaluation.returns) for evaluation in found.runs[0].evaluations} == {1, 2}


def test_missing_runs_are_refused(raw: Path) -> None:
    collect(raw, WANTED, raw / "collected", "small")
    for cell in WANTED[:2]:
        shutil.rmtree(raw / str(cell))
    assert refusal(raw) == f"not collected: missing: {TASK}/ip/default seed 0, 1: never begun"


def test_a_run_that_left_only_its_folder_is_missing(raw: Path) -> None:
    for file in (raw / str(WANTED[3])).iterdir():
        file.unlink()
    assert f"missing: {TASK}/iql/default seed 1: never begun" in refusal(raw)


def test_unfinished_and_failed_runs_are_refused(raw: Path) -> None:
    collect(raw, WANTED, raw / "collected", "small")
    again(raw, WANTED[0], state="running")
    again(raw, WANTED[3], {"greedy": CURVE[:3]}, state="failed", message="loss is not finite")
    error = refusal(raw)
    assert f"failed: {TASK}/iql/default seed 1: at step 1,000 of 4,000: loss is not finite" in error
    assert f"unfinished: {TASK}/ip/default seed 0: at step 4,000 of 4,000, last sign of life" in error
    assert error.index("failed") < error.index("unfinished")


def test_a_finished_run_without_evaluations_is_refused(raw: Path) -> None:
    again(raw, WANTED[0], {})
    assert f"unfinished: {TASK}/ip/default seed 0: has no evaluation" in refusal(raw)


def test_seeds_with_other_settings_are_refused(raw: Path) -> None:
    collect(raw, WANTED, raw / "collected", "small")
    again(raw, WANTED[1], learning_rate=0.5)
    assert f"differs: {TASK}/ip/default: its seeds differ in algorithm_settings.learning_rate" in refusal(raw)


def test_algorithms_of_other_length_and_more_reference_episodes_are_collected(raw: Path) -> None:
    """A suite may have both; a report says so."""
    for cell in WANTED[2:]:
        again(raw, cell, {"greedy": CURVE[:5]}, total_steps=2000)
    write_references(raw, random=[-480.0, -460.0, -470.0])
    assert "4 of 4 runs" in collect(raw, WANTED, raw / "collected", "small")[-1]


def test_stale_runs_are_refused_and_never_part_of_a_suite(raw: Path) -> None:
    collect(raw, WANTED, raw / "collected", "small")
    hashes = {cell: hash_of(raw, cell) for cell in WANTED} | {WANTED[2]: "other", WANTED[3]: "other"}
    text = f"stale: {TASK}/iql/default seed 0, 1: made with other settings than the suite's"
    assert refusal(raw, hashes=hashes) == f"not collected: {text}"
    lines = collect(raw, WANTED, raw / "collected", "small", incomplete=True, hashes=hashes)
    assert lines[-1] == "collected 2 of 4 runs, 2 of them finished; checksums verified"
    found = read_published(raw / "collected")
    assert [run.key for run in found.runs] == WANTED[:2]
    assert found.notes == (f"collected although {text}",)
    everything = dict.fromkeys(WANTED, "other")
    assert "nothing would be left" in str(refusal(raw, incomplete=True, hashes=everything))


def test_reference_policies_of_tasks_without_runs_are_left_out(raw: Path) -> None:
    wanted = [*WANTED, RunKey(OTHER, "ip", "default", 0)]
    again(raw, wanted[-1])
    write_references(raw, OTHER, random=[1.0, 2.0])
    collect(raw, wanted, raw / "collected", "small")
    assert set(read_published(raw / "collected").references) == {TASK, OTHER}
    collect(raw, wanted, raw / "collected", "small", incomplete=True, hashes={wanted[-1]: "other"})
    assert set(read_published(raw / "collected").references) == {TASK}


def test_a_run_without_a_wanted_hash_may_have_any(raw: Path) -> None:
    lines = collect(raw, WANTED, raw / "collected", "small", hashes={WANTED[0]: hash_of(raw, WANTED[0])})
    assert "4 of 4" in lines[-1]


def test_an_incomplete_set_says_what_is_wrong(raw: Path) -> None:
    shutil.rmtree(raw / str(WANTED[0]))
    again(raw, WANTED[3], {"greedy": CURVE[:3]}, state="failed", message="loss is not finite")
    lines = collect(raw, WANTED, raw / "collected", "small", incomplete=True)
    found = read_published(raw / "collected")
    assert found.notes == (
        f"collected although missing: {TASK}/ip/default seed 0: never begun",
        f"collected although failed: {TASK}/iql/default seed 1: at step 1,000 of 4,000: loss is not finite",
    )
    assert [line.removeprefix("note: ") for line in lines if line.startswith("note: ")] == list(found.notes)
    assert lines[-1] == "collected 3 of 4 runs, 2 of them finished; checksums verified"


def test_many_missing_runs_are_counted_by_task(raw: Path) -> None:
    """A suite that has only begun needs no line for each of its runs."""
    wanted = [*WANTED, *(RunKey(TASK, "iql", f"variant-{number}", seed) for number in range(12) for seed in (0, 1))]
    collect(raw, wanted, raw / "collected", "small", incomplete=True)
    assert read_published(raw / "collected").notes == (f"collected although missing: {TASK}: 24 runs never begun",)


@pytest.mark.parametrize("incomplete", [False, True])
def test_nothing_and_corrupt_files_are_refused_in_any_case(raw: Path, incomplete: bool) -> None:
    (raw / str(WANTED[0]) / "evaluation.jsonl").write_text("{\n{\n")
    assert "evaluation.jsonl, line 1: is not JSON" in refusal(raw, incomplete=incomplete)
    shutil.rmtree(raw / TASK)
    assert "none of the wanted runs has begun (4)" in refusal(raw, incomplete=incomplete)


def test_a_long_list_is_cut(raw: Path) -> None:
    wanted = [*WANTED, *(RunKey(f"mpe/n_{count}", "ip", "default", 0) for count in range(SHOWN + 3))]
    with pytest.raises(ResultsError, match=r"mpe/n_9/.*; and 3 more$") as error:
        collect(raw, wanted, raw / "collected", "small")
    assert str(error.value).count("never begun") == SHOWN


def test_a_set_beside_the_run_folders_would_hide_them(raw: Path) -> None:
    with pytest.raises(ResultsError, match="holds run folders"):
        collect(raw, WANTED, raw, "small")


@pytest.mark.parametrize("dirty", [False, True])
def test_several_commits_and_changed_code_are_noted(raw: Path, dirty: bool) -> None:
    """A warning and no refusal; a run that was resumed counts for every commit that made a part of it."""
    again(raw, WANTED[0], machine={"starts": [{"commit": "a" * 40}, {"commit": "b" * 40, "dirty": dirty}]})
    lines = collect(raw, WANTED, raw / "collected", "small")
    (note,) = read_published(raw / "collected").notes
    assert f"note: {note}" in lines
    changed = " with uncommitted changes" if dirty else ""
    assert note.startswith("the runs were not all made by one unmodified commit: 0123456789 (3 runs), ")
    assert "aaaaaaaaaa (1 run)" in note
    assert f"bbbbbbbbbb{changed} (1 run)" in note


def test_one_commit_with_changes_is_noted(raw: Path) -> None:
    for cell in WANTED:
        again(raw, cell, machine={"dirty": True})
    collect(raw, WANTED, raw / "collected", "small")
    assert "0123456789 with uncommitted changes (4 runs)" in read_published(raw / "collected").notes[0]
