"""Pairs of variants: found by name, corrected together, never better than nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.suites import requests_of
from figures.analysis import Analysis
from figures.analysis.contrasts import QUESTIONS, contrasts, over_tasks, round_trends
from figures.report.contrasts import answer
from results.runs import load_runs
from tests.figures.synthetic import both, write_references, write_run

TASK = "mpe/cooperative_navigation_6"
MESSAGES, REWARDS, *OTHERS = QUESTIONS
DEAF, ISAC, NO_ROUNDS = (
    "a policy of the same size without messages",
    "policy and critics of the same size without messages",
    "a policy without propagation rounds",
)


def write_arm(
    root: Path, variant: str, normalised_scores: list[float], algorithm: str = "ip", task: str = TASK
) -> None:
    for seed, normalised in enumerate(normalised_scores):
        write_run(root, both([(4000, [normalised])]), task=task, algorithm=algorithm, variant=variant, seed=seed)


def test_differences_by_hand(tmp_path: Path) -> None:
    write_references(tmp_path, TASK, random=[0.0], assignment=[100.0])
    write_arm(tmp_path, "shared-M2", [20.0, 22.0])
    write_arm(tmp_path, "shared-deaf", [10.0, 12.0])
    write_arm(tmp_path, "shared-M0", [20.5, 21.5])
    write_arm(tmp_path, "local-M2", [-5.0, -6.0])
    write_arm(tmp_path, "local-deaf", [-90.0, -91.0])
    write_arm(tmp_path, "alone-M2", [1.0, 2.0])
    write_arm(tmp_path, "shared", [70.0, 72.0])  # other runs, whose counterpart is not that of shared-M2
    found = {(one.variant, one.other): one for one in contrasts(Analysis(load_runs(tmp_path)), MESSAGES)}
    assert set(found) == {("shared-M2", DEAF), ("shared-M2", NO_ROUNDS), ("local-M2", DEAF)}
    deaf, no_rounds = found["shared-M2", DEAF], found["shared-M2", NO_ROUNDS]
    assert deaf.difference == pytest.approx(10.0)
    assert deaf.half_width == pytest.approx(4.3027 * 2**0.5, rel=1e-4)  # variances 2 and 2 over two seeds each
    assert no_rounds.difference == 0.0
    assert found["local-M2", DEAF].below_random
    assert not deaf.below_random
    assert no_rounds.adjusted_p == 1.0
    assert deaf.adjusted_p is not None
    assert deaf.adjusted_p > 0.02, "corrected for three comparisons"


def test_a_single_seed_is_shown_and_not_tested(tmp_path: Path) -> None:
    write_references(tmp_path, TASK, random=[0.0], assignment=[100.0])
    write_arm(tmp_path, "table1", [20.0])
    write_arm(tmp_path, "table1-deaf", [10.0, 11.0])
    write_arm(tmp_path, "table1-isac", [5.0])
    found = {one.other: one for one in contrasts(Analysis(load_runs(tmp_path)), MESSAGES)}
    assert {name: one.difference for name, one in found.items()} == {DEAF: 9.5, ISAC: 15.0}
    assert all(one.half_width is None is one.adjusted_p for one in found.values())


def test_pairs_are_of_one_algorithm(tmp_path: Path) -> None:
    for algorithm, score in (("ip", 20.0), ("iql", 30.0), ("dgn", 40.0)):
        write_arm(tmp_path, "table1", [score, score + 1], algorithm)
    for algorithm, score in (("ip", 25.0), ("iql", 36.0), ("qmix", 0.0)):
        write_arm(tmp_path, "table1-difference", [score, score + 1], algorithm)
    analysis = Analysis(load_runs(tmp_path))
    found = contrasts(analysis, REWARDS)
    assert {one.algorithm: one.difference for one in found} == {"ip": 5.0, "iql": 6.0}
    assert not any(one.normalised for one in found), "the task has no reference policies here"
    assert not any(contrasts(analysis, question) for question in (MESSAGES, *OTHERS))


def test_trends_over_rounds(tmp_path: Path) -> None:
    """Two points a round with messages, one without; scores are returns between 0 and 50."""
    write_references(tmp_path, TASK, random=[0.0], assignment=[50.0])
    for count in (1, 2, 3, 4):
        write_arm(tmp_path, f"rounds-{count}", [10.0 + count, 12.0 + count])
        write_arm(tmp_path, f"rounds-{count}-deaf", [20.0 + count / 2])
    found = round_trends(Analysis(load_runs(tmp_path)))
    assert set(found) == {(TASK, True), (TASK, False)}
    assert found[TASK, True].slope == pytest.approx(2.0)
    assert found[TASK, True].count == 8
    assert found[TASK, False].slope == pytest.approx(1.0)
    assert found[TASK, False].half_width == pytest.approx(0.0, abs=1e-6)


def test_differences_over_tasks_by_hand(tmp_path: Path) -> None:
    """1 to 5 points on five tasks: standard error 0.707, t of four degrees of freedom 2.776; of the 32 patterns of
    signs, the two with equal signs are the most extreme. Four tasks with the other control are too few."""
    for number in range(1, 6):
        task = f"mpe/cooperative_navigation_{number + 5}"
        write_references(tmp_path, task, random=[0.0], assignment=[100.0])
        write_arm(tmp_path, "table1", [20.0 + number], task=task)
        write_arm(tmp_path, "table1-deaf", [20.0], task=task)
        if number > 1:
            write_arm(tmp_path, "table1-isac", [0.0], task=task)
    (paired,) = over_tasks(contrasts(Analysis(load_runs(tmp_path)), MESSAGES))
    assert (paired.algorithm, paired.variant, paired.other, paired.tasks) == ("ip", "table1", DEAF, 5)
    assert paired.mean == pytest.approx(3.0)
    assert paired.half_width == pytest.approx(2.776 * 0.7071, rel=1e-3)
    assert paired.p == pytest.approx(2 / 32)


def test_single_seeds_count_in_how_often_a_mean_is_higher(tmp_path: Path) -> None:
    """Two tasks: with two seeds 30 points higher, with one seed lower. Without single seeds nothing is said."""
    other = "mpe/cooperative_navigation_200"
    for task, scores in ((TASK, [40.0, 41.0]), (other, [5.0])):
        write_references(tmp_path, task, random=[0.0], assignment=[100.0])
        write_arm(tmp_path, "table1", [10.0, 11.0][: len(scores)], task=task)
        write_arm(tmp_path, "table1-difference", scores, task=task)
    question = next(question for question in QUESTIONS if "difference rewards" in question.title)
    words, table = answer(Analysis(load_runs(tmp_path)), question) or ("", "")
    assert words.endswith("the mean is higher than for learning from the team's reward in 1 of 2 pairs.")
    assert "in 1 of 1 setting (worse in 0)" in words
    assert table.count("| IP |") == 2
    alone = Analysis(load_runs(tmp_path, [run.key for run in load_runs(tmp_path).runs if run.key.task == TASK]))
    assert "Single seeds" not in (answer(alone, question) or ("", ""))[0]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.title)
def test_suites_have_runs_for_every_question(question) -> None:  # type: ignore[no-untyped-def]
    requests = [request for suite in ("table1-cpu", "reward-cpu", "why-cpu") for request in requests_of(suite)]
    cells = {(request.key.task, request.key.algorithm, request.key.variant) for request in requests}
    known = {task: {variant for name, _, variant in cells if name == task} for task, _, _ in cells}
    pairs = {
        (task, variant, other)
        for task, algorithm, variant in cells
        for other in question.others(variant, known[task])
        if (task, algorithm, other) in cells
    }
    assert pairs
