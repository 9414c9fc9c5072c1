"""No seed is lost without a word: one rule says which runs count, for scores, exports and collecting."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

from figures.analysis.scores import final_scores
from results.checks import find_issues, uncounted
from results.collect import collect
from results.errors import ResultsError
from results.keys import RunKey
from results.layout import WRITTEN_LATER, lost_config
from results.marl_eval import export
from results.publish import read_published
from results.runs import load_runs
from tests.figures.synthetic import TASK, rising, write_references, write_run

CURVE = rising(-470.0, -270.0, 4000, 500)
CURVES = {"greedy": CURVE, "sampled": CURVE}
BROKEN = [*CURVE[:-1], (4000, [math.nan, 1.0])]
WANTED = [RunKey(TASK, "iql", "default", seed) for seed in range(3)]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for cell in WANTED:
        write_run(tmp_path / "raw", CURVES, algorithm="iql", seed=cell.seed)
    write_references(tmp_path / "raw", random=[-480.0, -460.0])
    return tmp_path / "raw"


def counts(raw: Path) -> tuple[int, int, int]:
    """How many seeds a score, an export and a set have."""
    results = load_runs(raw)
    (score,) = final_scores(results)
    collect(raw, WANTED, raw / "collected", "small", incomplete=True)
    published = sum(not uncounted(run) for run in read_published(raw / "collected").runs)
    return score.seeds, export(results).runs, published


@pytest.mark.parametrize("policy", ["greedy", "sampled"])
@pytest.mark.parametrize("place", [-1, -3])
def test_a_seed_whose_returns_are_not_finite(policy: str, place: int, raw: Path) -> None:
    assert counts(raw) == (3, 3, 3)
    curve = list(CURVE)
    step = curve[place][0]
    curve[place] = (step, [math.nan, 1.0])
    shutil.rmtree(raw / str(WANTED[1]))
    write_run(raw, CURVES | {policy: curve}, algorithm="iql", seed=1)
    assert counts(raw) == (2, 2, 2)
    words = f"{policy} returns are not finite at step {step:,}"
    results = load_runs(raw)
    assert next((issue.kind, issue.message, issue.seeds) for issue in find_issues(results)) == (
        *("failed", f"finished, but {words}: no score counts it"),
        (1,),
    )
    assert export(results).left_out == (f"{WANTED[1]}: {words}",)
    with pytest.raises(ResultsError, match=f"failed: .* seed 1: finished, but {words}"):
        collect(raw, WANTED, raw / "collected", "small")


@pytest.mark.parametrize("kept", WRITTEN_LATER)
def test_a_seed_that_lost_its_settings(kept: str, raw: Path) -> None:
    folder = raw / str(WANTED[1])
    (folder / "policy.pt").touch()
    (folder / "checkpoint.pt").touch()
    for name in ("config.json", *WRITTEN_LATER):
        if name != kept:
            (folder / name).unlink()
    assert lost_config(folder)
    assert counts(raw) == (2, 2, 2)
    results = load_runs(raw)
    assert [note for note in results.notes if "seed_1" in note] == [f"{WANTED[1]}: {results.lost[str(WANTED[1])]}"]
    (left_out,) = export(results).left_out
    assert left_out.startswith(f"{WANTED[1]}: config.json is missing")
    with pytest.raises(ResultsError, match=r"damaged: .*1: config\.json is missing.*: restore that file") as error:
        collect(raw, WANTED, raw / "collected", "small")
    assert "never begun" not in str(error.value)
    assert str(error.value).count("config.json is missing") == 1


def test_nothing_but_lost_seeds(raw: Path) -> None:
    for cell in WANTED:
        (raw / str(cell) / "config.json").unlink()
    for wanted in (None, WANTED):
        with pytest.raises(ResultsError, match=r"no run of .* can be counted: 3 as .*config\.json is missing"):
            load_runs(raw, wanted)
