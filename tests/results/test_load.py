"""A folder is read for what it holds: a set, sets that become one, or run folders. The sets that ship are whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.suites import SUITES
from results.compact import COMPACT_NOTE, compacted
from results.errors import ResultsError
from results.keys import RunKey
from results.load import load_results, merged
from results.publish import publish, read_published
from results.records import Episode, References, Results
from results.runs import load_runs
from tests.figures.synthetic import TASK, write_references, write_run, write_study

SHIPPED = Path(__file__).resolve().parents[2] / "results" / "published"
RUNS = {
    "ablations-cpu": 36,
    "goals-cpu": 6,
    "hops-cpu": 18,
    "jungle": 39,
    "lockstep-cpu": 24,
    "pic": 6,
    "proof": 245,
    "quick": 51,
    "reward-cpu": 40,
    "signals": 60,
    "table1-cpu": 180,
    "temperature-cpu": 60,
    "transfer-cpu": 12,
    "values-cpu": 12,
    "why-cpu": 86,
}
LAST = {"greedy": [(4000, [-1.0, -2.0])]}


def one_run(root: Path, seed: int = 0, value: float = -1.0, **settings: float) -> Results:
    """A run of its own folder."""
    write_run(root, {"greedy": [(4000, [value, float("nan")])]}, seed=seed, **settings)
    return load_runs(root)


def with_references(results: Results, *, seed: int = 7, full: float | None = None, **returns: list[float]) -> Results:
    by_policy = {name: tuple(values) for name, values in returns.items()}
    longer = {} if full is None else {"random": (full,)}
    references = References(TASK, seed, len(next(iter(by_policy.values()))), by_policy, longer)
    return replace(results, references={TASK: references})


def test_each_kind_of_folder_is_read(tmp_path: Path) -> None:
    """Run folders, one set, a folder of sets: the same runs and reference policies."""
    write_study(tmp_path / "raw")
    results = load_results(tmp_path / "raw")
    assert results == load_runs(tmp_path / "raw")
    publish(results, tmp_path / "one")
    half = [replace(results, runs=results.runs[first::2]) for first in (0, 1)]
    for name, part in zip(("even", "odd"), half, strict=True):
        publish(part, tmp_path / "sets" / name)
    (tmp_path / "sets" / ".hidden").mkdir()
    (tmp_path / "sets" / "README.md").write_text("about the sets")
    assert load_results(tmp_path / "one") == read_published(tmp_path / "one") == load_results(tmp_path / "sets")


def test_run_folders_with_a_set_beside_them_are_read_as_run_folders(tmp_path: Path) -> None:
    results = one_run(tmp_path)
    publish(results, tmp_path / "collected")
    publish(results, tmp_path / "elsewhere")
    write_run(tmp_path, LAST, seed=1)
    assert [run.key.seed for run in load_results(tmp_path).runs] == [0, 1]


def test_a_folder_among_sets_that_is_none_is_named(tmp_path: Path) -> None:
    publish(one_run(tmp_path / "raw"), tmp_path / "sets" / "whole")
    (tmp_path / "sets" / "torn").mkdir()
    with pytest.raises(ResultsError, match=r"sets \(whole\), but torn holds no manifest\.json"):
        load_results(tmp_path / "sets")


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_no_results_at_all(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResultsError, match="no runs found"):
        load_results(tmp_path / name)


def test_a_broken_set_among_others_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        publish(one_run(tmp_path / "raw" / name), tmp_path / "sets" / name)
    (tmp_path / "sets" / "b" / "metrics.parquet").write_bytes(b"")
    with pytest.raises(ResultsError, match=r"b/metrics\.parquet does not match"):
        load_results(tmp_path / "sets")


def test_a_run_that_two_sets_have_alike_counts_once(tmp_path: Path) -> None:
    """Also where some of its numbers are none."""
    one, two = (one_run(tmp_path / name) for name in ("a", "b"))
    assert one.runs != two.runs  # not a number, each
    assert len(merged({Path("a"): one, Path("b"): two}).runs) == 1


def test_a_run_that_two_sets_have_in_two_ways_is_refused(tmp_path: Path) -> None:
    """Other numbers, other settings, or one of them compact."""
    one = one_run(tmp_path / "one")
    cases = {
        "the same settings but other content": one_run(tmp_path / "two", value=-2.0),
        r"other settings \(config": one_run(tmp_path / "three", learning_rate=0.5),
    }
    for words, other in cases.items():
        with pytest.raises(ResultsError, match=f"ip/default/seed_0 is in sets/a and in sets/b with {words}"):
            merged({Path("sets/a"): one, Path("sets/b"): other})
    write_study(tmp_path / "raw")
    study = load_runs(tmp_path / "raw")
    with pytest.raises(ResultsError, match="the same settings but other content"):
        merged({Path("sets/a"): study, Path("sets/b"): compacted(study)})


def test_notes_name_the_sets_that_have_them(tmp_path: Path) -> None:
    first, second = (one_run(tmp_path, seed) for seed in (0, 1))
    sets = {Path("sets/a"): replace(first, notes=("both", "one")), Path("sets/b"): replace(second, notes=("both",))}
    assert merged(sets).notes == ("both", "a: one")


def test_reference_policies_on_the_same_episodes_are_joined(tmp_path: Path) -> None:
    first, second = (one_run(tmp_path, seed) for seed in (0, 1))
    one = with_references(first, random=[1.0, 2.0], full=5.0)
    two = with_references(second, random=[1.0, 2.0], stay=[3.0, 4.0])
    result = merged({Path("a"): one, Path("b"): two})
    assert result.references[TASK].returns == {"random": (1.0, 2.0), "stay": (3.0, 4.0)}
    assert result.references[TASK].full_returns == {"random": (5.0,)}
    assert result.notes == ()


@pytest.mark.parametrize("longer", [False, True])
def test_reference_policies_that_played_the_same_episodes_otherwise_are_refused(tmp_path: Path, longer: bool) -> None:
    results = one_run(tmp_path)
    one = with_references(results, random=[1.0, 2.0], full=5.0)
    two = with_references(results, random=[1.0, 2.0 if longer else 3.0], full=6.0 if longer else 5.0)
    with pytest.raises(ResultsError, match=rf"{TASK} \(random\) have other returns in sets/a than in sets/b"):
        merged({Path("sets/a"): one, Path("sets/b"): two})


def test_of_reference_policies_on_other_episodes_the_most_are_kept_and_it_is_said(tmp_path: Path) -> None:
    results = one_run(tmp_path)
    few, many = with_references(results, random=[1.0]), with_references(results, random=[1.0, 2.0])
    for sets in ({Path("a"): few, Path("b"): many}, {Path("b"): many, Path("a"): few}):
        result = merged(sets)
        assert result.references == many.references
        assert len(result.notes) == 1
        assert "1 episode of seed 7 in a" in result.notes[0]
        assert result.notes[0].endswith("those in b are used")
    other = with_references(results, seed=8, random=[5.0])
    assert merged({Path("a"): few, Path("b"): other}).references == few.references


def test_episodes_of_sets_are_put_together(tmp_path: Path) -> None:
    """Where two sets have other episodes of a run, the first one's is used, and it is said."""
    first, second = (one_run(tmp_path, seed) for seed in (0, 1))
    cells = [first.runs[0].key, RunKey(TASK, "ip", "default", 1)]
    one, two = (Episode(tmp_path / name, name, 3, -1.0, 25, 25, "greedy", 7, 26, 240) for name in ("one", "two"))
    changed = replace(second, episodes={cells[1]: two})
    assert merged({Path("a"): changed, Path("b"): replace(first, episodes={cells[0]: one})}).episodes == {
        cells[0]: one,
        cells[1]: two,
    }
    alike = replace(second, episodes={cells[1]: replace(two, path=tmp_path / "elsewhere")})
    without = replace(second, episodes={})
    for other in (alike, without):
        result = merged({Path("a"): changed, Path("b"): other})
        assert result.episodes == {cells[1]: two}
        assert result.notes == ()
    result = merged({Path("a"): changed, Path("b"): replace(second, episodes={cells[1]: one})})
    assert result.episodes == {cells[1]: two}
    assert result.notes == (f"episodes of {cells[1]} are not the same in a and b: the former's is used",)


def test_shipped_sets_are_whole() -> None:
    """Each has runs of its suite, all checksums are right, and nothing of the numbers was lost on the way."""
    assert sorted(path.name for path in SHIPPED.iterdir()) == sorted(RUNS)
    for name, count in RUNS.items():
        manifest = json.loads((SHIPPED / name / "manifest.json").read_text())
        results = read_published(SHIPPED / name)
        wanted = {request.key for request in SUITES[name]()}
        assert manifest["suite"] == name
        assert len(results.runs) == count
        assert {run.key for run in results.runs} <= wanted
        assert all(run.status.finished and run.machine["commit"] and run.machine["cpu"] for run in results.runs)
        assert set(results.references) == {run.key.task for run in results.runs}
        counted = any(name.startswith("interpretation/") for r in results.runs for m in r.metrics for name in m.values)
        assert counted == any(run.key.task.startswith("cityflow/") for run in results.runs)
    results = load_results(SHIPPED)
    assert len(results.runs) == sum(RUNS.values()) == 875
    assert sum(len(run.evaluations) for run in results.runs) == 18_422
    assert sum(len(row.values) for run in results.runs for row in run.metrics) == 766_486
    assert results.notes[0] == COMPACT_NOTE
    sizes = {path: path.stat().st_size for path in SHIPPED.rglob("*.*") if path.is_file()}
    assert sum(size for path, size in sizes.items() if path.suffix != ".gif") < 9_000_000
    assert sum(size for path, size in sizes.items() if path.suffix == ".gif") < 3_000_000


def test_references_of_a_set_are_read_from_its_folder(tmp_path: Path) -> None:
    write_references(tmp_path, random=[1.0, 2.0])
    results = one_run(tmp_path)
    publish(results, tmp_path / "collected")
    assert load_results(tmp_path / "collected").references == results.references
