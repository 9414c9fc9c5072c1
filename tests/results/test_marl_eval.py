"""The export for the marl-eval tools, against a checker written from their README, and against the runs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from results.compact import compacted
from results.errors import ResultsError
from results.load import load_results
from results.marl_eval import ABSOLUTE_NOTE, export, main
from results.publish import publish
from results.records import Results
from results.runs import load_runs
from tests.figures.synthetic import rising, write_run, write_study

NAVIGATION, PUSH = "mpe/cooperative_navigation_3", "mpe/cooperative_push_15"
PUBLISHED = Path(__file__).parents[2] / "results" / "published"


def refuse(word: str) -> float:
    raise AssertionError(f"{word} is no JSON")


def read(path: Path) -> dict[str, Any]:
    """The file, in strict JSON: NaN and Infinity are refused."""
    found: dict[str, Any] = json.loads(path.read_text(), parse_constant=refuse)
    return found


def runs_of(tree: dict[str, Any]) -> Iterator[tuple[tuple[str, str, str, str], dict[str, Any]]]:
    for environment, tasks in tree.items():
        for task, algorithms in tasks.items():
            for algorithm, runs in algorithms.items():
                for name, steps in runs.items():
                    yield (environment, task, algorithm, name), steps


def check_form(tree: dict[str, Any]) -> None:
    """The requirements in the README of marl-eval, and the assumptions of its file readers."""
    lengths: dict[tuple[str, str], set[int]] = {}
    metrics: dict[str, set[frozenset[str]]] = {}
    for (environment, task, algorithm, name), steps in runs_of(tree):
        for word in (environment, task, algorithm, name):
            assert word == word.lower()
            assert "," not in word
        *evaluations, last = steps
        assert last == "absolute_metrics"  # the tools take the last entry for it
        assert evaluations
        assert evaluations == [f"step_{place}" for place in range(len(evaluations))]
        lengths.setdefault((environment, task), set()).add(len(evaluations))
        counts = [steps[step]["step_count"] for step in evaluations]
        assert all(type(count) is int for count in counts)
        assert counts == sorted(set(counts))
        assert "step_count" not in steps[last]
        for step in steps.values():
            values = {key: value for key, value in step.items() if key != "step_count"}
            metrics.setdefault(environment, set()).add(frozenset(values))
            assert "return" in values
            for key, value in values.items():
                assert key == key.lower()
                assert isinstance(value, list)
                assert value
                assert all(type(number) is float and math.isfinite(number) for number in value)
    assert metrics
    assert all(len(names) == 1 for names in lengths.values())
    assert all(len(names) == 1 for names in metrics.values())


def check_numbers(tree: dict[str, Any], results: Results, policy: str) -> int:
    """Every number of the file is that of the run; returns how many runs there are."""
    runs = {run.key: run for run in results.runs}
    names = {}
    for cell in runs:
        environment, task = cell.task.split("/")
        suffix = "" if cell.variant == "default" else f"-{cell.variant.lower()}"
        names[environment, task + suffix, cell.algorithm, f"seed_{cell.seed}"] = cell
    count = 0
    for place, steps in runs_of(tree):
        evaluations = [evaluation for evaluation in runs[names[place]].evaluations if evaluation.policy == policy]
        assert [steps[f"step_{index}"]["step_count"] for index in range(len(evaluations))] == [
            one.step for one in evaluations
        ]
        for index, evaluation in enumerate(evaluations):
            values = steps[f"step_{index}"]
            assert values["return"] == list(evaluation.returns)
            for key in values.keys() - {"return", "step_count"}:
                assert values[key] == [evaluation.scores[key]]
        absolute = {key: value for key, value in steps[f"step_{len(evaluations) - 1}"].items() if key != "step_count"}
        assert steps["absolute_metrics"] == absolute
        count += 1
    return count


@pytest.mark.parametrize("policy", ["greedy", "sampled"])
def test_published_results_have_the_form(policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "all.json"
    assert main(["--results", str(PUBLISHED), "--output", str(output), "--policy", policy]) == 0
    tree, results = read(output), load_results(PUBLISHED)
    check_form(tree)
    said = capsys.readouterr()
    count = check_numbers(tree, results, policy)
    assert count + said.err.count("left out: ") == len(results.runs)
    assert said.out.endswith(f"{count} runs, {said.err.count('left out: ')} left out\n")
    assert set(tree) == {run.key.task.split("/")[0] for run in results.runs}


def test_the_same_results_give_the_same_file(tmp_path: Path) -> None:
    write_study(tmp_path / "raw")
    publish(load_runs(tmp_path / "raw"), tmp_path / "set")
    texts = [export(load_results(tmp_path / name)).text() for name in ("raw", "raw", "set")]
    assert texts[0] == texts[1] == texts[2]
    check_form(json.loads(texts[0]))


def test_what_does_not_fit_is_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = tmp_path / "raw"
    whole = {"greedy": rising(-470.0, -300.0, 4000, 1000)}
    for seed in range(3):
        write_run(raw, whole, seed=seed, scores={"collisions": 1.5})
    write_run(raw, whole, seed=3, state="failed", scores={"collisions": 1.5})
    write_run(raw, {"greedy": whole["greedy"][:3]}, seed=4, state="running", scores={"collisions": 1.5})
    write_run(raw, {"greedy": rising(-470.0, -300.0, 4000, 2000)}, seed=5, scores={"collisions": 1.5})
    write_run(raw, {"greedy": [*whole["greedy"][:-1], (4000, [1.0, math.nan])]}, seed=6)
    write_run(raw, {"sampled": whole["greedy"]}, seed=7)
    assert main(["--results", str(raw), "--output", str(tmp_path / "out.json")]) == 0
    tree, said = read(tmp_path / "out.json"), capsys.readouterr()
    check_form(tree)
    assert tree == {"mpe": {"cooperative_navigation_3": {"ip": tree["mpe"]["cooperative_navigation_3"]["ip"]}}}
    assert list(tree["mpe"]["cooperative_navigation_3"]["ip"]) == ["seed_0", "seed_1", "seed_2"]
    assert said.err.splitlines() == [
        f"left out: {NAVIGATION}/ip/default/seed_3: failed at step 4,000 of 4,000",
        f"left out: {NAVIGATION}/ip/default/seed_4: unfinished at step 2,000 of 4,000",
        f"left out: {NAVIGATION}/ip/default/seed_5: evaluated at 3 steps from 0 to 4,000, most runs of the task at "
        "5 steps from 0 to 4,000",
        f"left out: {NAVIGATION}/ip/default/seed_6: greedy returns are not finite at step 4,000",
        f"left out: {NAVIGATION}/ip/default/seed_7: has no evaluation of the greedy policy",
    ]
    assert f"note: {ABSOLUTE_NOTE}\n" in said.out
    assert said.out.endswith("3 runs, 5 left out\n")


def test_hand_written_run(tmp_path: Path) -> None:
    write_run(
        tmp_path,
        {"greedy": [(0, [1.0, 2.0]), (500, [3.0, 4.5])]},
        algorithm="new,one",
        variant="Wide",
        seed=12,
        scores={"Coverage": 0.25},
        total_steps=500,
    )
    first = {"step_count": 0, "return": [1.0, 2.0], "coverage": [0.25]}
    last = {"return": [3.0, 4.5], "coverage": [0.25]}
    steps = {"step_0": first, "step_1": {"step_count": 500, **last}, "absolute_metrics": last}
    found = export(load_runs(tmp_path))
    assert json.loads(found.text()) == {"mpe": {"cooperative_navigation_3-wide": {"new_one": {"seed_12": steps}}}}
    assert found.text().count("\n") == 5 + 3 + 5  # braces open, one line an evaluation, braces close


def test_scores_that_not_all_have_are_left_out_of_all(tmp_path: Path) -> None:
    curve = {"greedy": rising(-470.0, -300.0, 4000, 1000)}
    write_run(tmp_path, curve, scores={"collisions": 1.5, "coverage": 1.0})
    write_run(tmp_path, curve, task=PUSH, scores={"collisions": 1.0, "coverage": math.nan})
    found = export(load_runs(tmp_path))
    check_form(found.tree)
    assert {key for _, steps in runs_of(found.tree) for key in steps["step_0"]} == {
        "step_count",
        "return",
        "collisions",
    }
    assert "mpe: not every evaluation has coverage, left out of all" in found.notes


def test_uneven_environments_are_noted(tmp_path: Path) -> None:
    curve = {"greedy": rising(-470.0, -300.0, 4000, 1000)}
    for seed in (0, 1):
        write_run(tmp_path, curve, seed=seed)
    assert export(load_runs(tmp_path)).notes == (ABSOLUTE_NOTE,)
    write_run(tmp_path, {"greedy": curve["greedy"][:2]}, task=PUSH, algorithm="iql", total_steps=1000)
    notes = export(load_runs(tmp_path)).notes
    assert notes[1:] == (
        "mpe: not all tasks and algorithms have the same algorithms, seeds, numbers of evaluations, so aggregate over "
        "parts",
    )


def test_compact_sets_say_so(tmp_path: Path) -> None:
    write_run(tmp_path, {"greedy": rising(-470.0, -300.0, 4000, 1000)})
    results = compacted(load_runs(tmp_path))
    found = export(results)
    steps = found.tree["mpe"]["cooperative_navigation_3"]["ip"]["seed_0"]
    assert [len(step["return"]) for step in steps.values()] == [1, 1, 2, 2, 2, 2]
    assert found.notes[1].startswith("of 1 run from compact sets, earlier evaluations hold one number")


def test_names_that_become_one_are_refused(tmp_path: Path) -> None:
    curve = {"greedy": rising(-470.0, -300.0, 4000, 1000)}
    write_run(tmp_path, curve, variant="M0")
    write_run(tmp_path, curve, variant="m0")
    with pytest.raises(ResultsError, match="both called mpe/cooperative_navigation_3-m0"):
        export(load_runs(tmp_path))


def test_nothing_to_export_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "raw", {"greedy": rising(-470.0, -300.0, 4000, 1000)}, state="running")
    output = tmp_path / "out.json"
    assert main(["--results", str(tmp_path / "raw"), "--output", str(output)]) == 1
    assert capsys.readouterr().err == (
        "error: no finished run was evaluated with the greedy policy: nothing to export\n"
    )
    assert not output.exists()
