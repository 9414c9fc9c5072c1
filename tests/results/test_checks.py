"""Whatever is missing, broken or unequal is said; what is complete is left in peace."""

from __future__ import annotations

import shutil
from pathlib import Path

from results.checks import Issue, find_issues
from results.paper import COMPARED_TASKS
from results.runs import load_runs
from tests.figures.synthetic import TASK, write_references, write_run

COMPLETE = {policy: [(0, [1.0, 2.0]), (4000, [3.0, 4.0])] for policy in ("greedy", "sampled")}


def issues_of(root: Path) -> tuple[Issue, ...]:
    return find_issues(load_runs(root))


def test_a_complete_comparison_has_no_issues(tmp_path: Path) -> None:
    for task in COMPARED_TASKS:
        for algorithm in ("ip", "qmix", "maddpg", "maddpgs", "pic", "dgn", "iql"):
            write_run(tmp_path, COMPLETE, task=task, algorithm=algorithm)
        write_references(tmp_path, task, random=[0.0, 0.0], assignment=[9.0, 9.0])
    assert issues_of(tmp_path) == ()
    shutil.rmtree(tmp_path / "magent")
    assert issues_of(tmp_path) == (Issue("missing", "tasks of the paper", "no run of magent/jungle_20"),)


def test_the_paper_has_thirteen_tasks() -> None:
    assert len(set(COMPARED_TASKS)) == 13


def test_absent_algorithms_seeds_and_references_are_listed(tmp_path: Path) -> None:
    write_run(tmp_path, COMPLETE, algorithm="ip", seed=0)
    write_run(tmp_path, COMPLETE, algorithm="ip", seed=2)
    write_run(tmp_path, COMPLETE, algorithm="iql", seed=0)
    found = issues_of(tmp_path)
    assert Issue("missing", f"{TASK} (default)", "no run of qmix, maddpg, maddpgs, pic, dgn") in found
    assert Issue("missing", f"{TASK} (default)", "no run of iql", (2,)) in found
    assert Issue("missing", TASK, "no references.json: no reference lines, no normalised score") in found


def test_failed_and_unfinished_runs_come_first(tmp_path: Path) -> None:
    write_run(tmp_path, COMPLETE, seed=0, state="running")
    write_run(tmp_path, {}, seed=1, state="failed", message="out of memory")
    found = issues_of(tmp_path)
    assert found[0] == Issue("failed", f"{TASK}/ip/default", "at step 0 of 4,000: out of memory", (1,))
    assert found[1].kind == "unfinished"
    assert "at step 4,000 of 4,000" in found[1].message
    assert any("has no evaluation, so no figure" in issue.message and issue.seeds == (1,) for issue in found)


def test_what_several_seeds_share_is_said_once(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path, {"greedy": [(1000, [1.0])]}, seed=seed)
    found = issues_of(tmp_path)
    subject = f"{TASK}/ip/default"
    message = "finished, but was last evaluated at step 1,000 of 4,000: no score counts it"
    assert Issue("unfinished", subject, message, (0, 1)) in found
    assert Issue("note", subject, "has no evaluation of the sampled policy", (0, 1)) in found


def test_seeds_with_other_settings_are_not_averaged_in_silence(tmp_path: Path) -> None:
    write_run(tmp_path, COMPLETE, seed=0)
    write_run(tmp_path, COMPLETE, seed=1, learning_rate=0.5)
    write_run(tmp_path, COMPLETE, algorithm="iql", seed=0, total_steps=3000)
    messages = [issue.message for issue in issues_of(tmp_path) if issue.kind == "differs"]
    assert any("algorithm_settings.learning_rate" in message for message in messages)
    assert "runs of different length are compared: 3,000, 4,000 steps" in messages


def test_unequal_evaluation_episodes_are_reported(tmp_path: Path) -> None:
    write_run(tmp_path, COMPLETE)
    write_references(tmp_path, random=[0.0, 0.0, 0.0])
    assert any("on 2 episodes, the reference policies on 3" in issue.message for issue in issues_of(tmp_path))


def test_code_that_is_not_the_commit_and_changed_machines_are_reported(tmp_path: Path) -> None:
    starts = [{"commit": "a", "gpu": "H100"}, {"commit": "a", "gpu": "A100", "note": "replay refilled", "dirty": True}]
    write_run(tmp_path, COMPLETE, machine={"starts": starts})
    messages = [issue.message for issue in issues_of(tmp_path)]
    assert "made with uncommitted changes: its commit is not the code" in messages
    assert "resumed with another gpu" in messages
    assert "replay refilled" in messages
