"""What is published can be read back unchanged, or is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from figures.scores import final_scores
from results.files import write_atomically
from results.publish import COMPACT_NOTE, WHOLE_EVALUATIONS, compact, load_results, main, publish, read_published
from results.records import ResultsError
from results.runs import load_runs
from tests.figures.synthetic import write_run, write_study


@pytest.fixture
def study(tmp_path: Path) -> Path:
    write_study(tmp_path / "raw")
    return tmp_path / "raw"


def test_round_trip_keeps_every_number(study: Path, tmp_path: Path) -> None:
    results = load_runs(study)
    publish(results, tmp_path / "published")
    returned = load_results(tmp_path / "published")
    assert [replace(run, machine={}) for run in returned.runs] == [replace(run, machine={}) for run in results.runs]
    assert returned.references == results.references
    assert returned.notes == results.notes


def test_manifest_says_what_made_the_runs_but_not_on_whose_computer(study: Path, tmp_path: Path) -> None:
    folder = write_run(
        study, {}, algorithm="dgn", state="running", machine={"starts": [{"host": "secret", "note": "x"}]}
    )
    assert main(["--results", str(study), "--output", str(tmp_path / "published")]) == 0
    text = (tmp_path / "published" / "manifest.json").read_text()
    run = next(run for run in json.loads(text)["runs"] if run["algorithm"] == "dgn")
    assert run["config"] == json.loads((folder / "config.json").read_text())
    assert run["config_hash"] == run["config"]["config_hash"]
    assert (run["machine"]["commit"][:4], run["machine"]["cpu"]) == ("0123", "Example CPU")
    assert run["machine"]["starts"] == [{"note": "x"}]
    assert run["status"]["state"] == "running"
    assert "secret" not in text


def test_compact_set_is_smaller_and_gives_the_same_scores(study: Path, tmp_path: Path) -> None:
    """Final scores are equal, curves equal to rounding, and the set says what it left out."""
    results = load_runs(study)
    assert main(["--results", str(study), "--output", str(tmp_path / "small"), "--compact"]) == 0
    small = load_results(tmp_path / "small")
    publish(results, tmp_path / "whole")
    sizes = [(tmp_path / name / "evaluations.parquet").stat().st_size for name in ("small", "whole")]
    assert sizes[0] < sizes[1]
    assert COMPACT_NOTE in small.notes
    assert COMPACT_NOTE not in results.notes
    assert final_scores(small) == final_scores(compact(results))
    for before, after in zip(final_scores(results), final_scores(small), strict=True):
        assert before.seed_gaps == after.seed_gaps
    for run, short in zip(results.runs, small.runs, strict=True):
        for policy in ("greedy", "sampled"):
            pairs = [
                (one, two)
                for one, two in zip(run.evaluations, short.evaluations, strict=True)
                if one.policy == two.policy == policy
            ]
            assert all(one == two for one, two in pairs[-WHOLE_EVALUATIONS:])
            for one, two in pairs[:-WHOLE_EVALUATIONS]:
                assert two.returns == pytest.approx([np.mean(one.returns)], rel=1e-6)
                assert (one.step, one.scores) == (two.step, two.scores)
    assert any(len(run.evaluations) > 2 * WHOLE_EVALUATIONS for run in results.runs)


def test_parquet_opens_in_pandas(study: Path, tmp_path: Path) -> None:
    publish(load_runs(study), tmp_path)
    frame = pd.read_parquet(tmp_path / "evaluations.parquet")
    assert list(frame.columns[:6]) == ["task", "algorithm", "variant", "seed", "step", "policy"]
    assert frame["returns"].iloc[0].dtype == "float32"


def test_publishing_twice_gives_the_same_bytes(study: Path, tmp_path: Path) -> None:
    first, second = (publish(load_runs(study), tmp_path / name) for name in ("first", "second"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_changed_file_is_refused(study: Path, tmp_path: Path) -> None:
    publish(load_runs(study), tmp_path)
    path = tmp_path / "evaluations.parquet"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ResultsError, match=r"evaluations\.parquet does not match manifest\.json: expected sha256"):
        read_published(tmp_path)


def test_a_missing_file_and_another_format_are_refused(study: Path, tmp_path: Path) -> None:
    publish(load_runs(study), tmp_path)
    (tmp_path / "metrics.parquet").unlink()
    with pytest.raises(ResultsError, match=r"metrics\.parquet: No such file.*incomplete"):
        read_published(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(ResultsError, match="format is 99, this version reads 1"):
        read_published(tmp_path)


def test_dirty_duplicates_are_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, rate in (("monday", 0.1), ("tuesday", 0.2)):
        write_run(tmp_path / "raw" / name, {"greedy": [(0, [1.0])]}, learning_rate=rate)
    assert main(["--results", str(tmp_path / "raw"), "--output", str(tmp_path / "published")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert "run twice with different configs" in error
    assert not (tmp_path / "published").exists()


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.txt"
    write_atomically(path, "old")

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(ResultsError, match=r"file\.txt: No space left on device"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_added_runs_join_the_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs that both have are the new ones; references of all tasks stay."""
    output = tmp_path / "published"
    for folder, seeds, value in (("one", (0, 1), -1.0), ("two", (1, 2), -2.0)):
        for seed in seeds:
            write_run(tmp_path / folder, {"greedy": [(4000, [value])]}, seed=seed)
    assert main(["--results", str(tmp_path / "one"), "--output", str(output)]) == 0
    assert main(["--results", str(tmp_path / "two"), "--output", str(output), "--add"]) == 0
    assert "published 3 runs" in capsys.readouterr().out
    returns = {run.cell.seed: run.evaluations[0].returns for run in read_published(output).runs}
    assert returns == {0: (-1.0,), 1: (-2.0,), 2: (-2.0,)}


def test_adding_to_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "one", {"greedy": [(4000, [-1.0])]})
    assert main(["--results", str(tmp_path / "one"), "--output", str(tmp_path / "new"), "--add"]) == 1
    assert "manifest.json" in capsys.readouterr().err
