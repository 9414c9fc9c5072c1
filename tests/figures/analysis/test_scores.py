"""Final scores, normalised scores and leaders, computed by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from figures.analysis.scores import Score, aggregate, final_scores, leaders
from figures.analysis.statistics import Summary
from figures.report.page import scores_page
from figures.tables import DASH, Cell, Table, number, plus_minus, score_table, scores_frame
from results.records import POLICIES
from results.runs import load_runs
from tests.figures.synthetic import write_references, write_run


def score(algorithm: str, mean: float, std: float | None, *, steps: int = 100, provisional: bool = False) -> Score:
    summary = dict.fromkeys(POLICIES, Summary(mean, std, 5))
    return Score("mpe/t_3", "default", algorithm, summary, {}, {}, 5, 0, provisional, steps)


USELESS = dict.fromkeys(POLICIES, Summary(-3.0, 1.0, 5))


def flat(value: float, last: int = 4000) -> dict[str, list[tuple[int, list[float]]]]:
    return {policy: [(0, [-500.0, -500.0]), (last, [value - 1, value + 1])] for policy in ("greedy", "sampled")}


def test_final_scores_by_hand(tmp_path: Path) -> None:
    write_references(tmp_path, random=[-490.0, -450.0], assignment=[-200.0, -180.0])
    steps = (0, 1000, 2000, 3000, 4000)
    for seed, values in enumerate(([-470, -400, -330, -320, -310], [-470, -400, -350, -340, -330])):
        curve = [(step, [value - 10.0, value + 10.0]) for step, value in zip(steps, values, strict=True)]
        write_run(tmp_path, {"greedy": curve}, seed=seed)
    write_run(tmp_path, flat(-100.0, last=1000), seed=2, state="running")
    (score,) = final_scores(load_runs(tmp_path))
    assert (score.seeds, score.unfinished, score.provisional, score.steps) == (2, 1, False, 4000)
    assert score.summaries["greedy"] == Summary(-330.0, pytest.approx(math.sqrt(200.0)), 2)  # seeds: -320 and -340
    assert score.normalised_scores["greedy"].mean == pytest.approx(50.0)  # (-330 + 470) / (-190 + 470)
    assert score.normalised_scores["greedy"].std == pytest.approx(100 * math.sqrt(200.0) / 280)
    assert "sampled" not in score.summaries  # only the unfinished run has such evaluations
    row = scores_frame([score]).iloc[0]
    assert row["greedy_normalised_score_percent_mean"] == pytest.approx(50.0)
    assert row["sampled_return_mean"] is None or math.isnan(row["sampled_return_mean"])


def test_unfinished_runs_alone_give_a_provisional_score(tmp_path: Path) -> None:
    write_run(tmp_path, flat(-300.0), state="failed")
    (score,) = final_scores(load_runs(tmp_path))
    assert (score.provisional, score.seeds, score.unfinished) == (True, 1, 1)
    table = score_table([score]).markdown()
    assert "\u2212400.0†" in table  # the mean of -500 and -300, marked
    assert "| 1 unfinished |" in table


def test_run_without_evaluations_has_a_row_without_numbers(tmp_path: Path) -> None:
    write_run(tmp_path, {}, state="failed")
    (score,) = final_scores(load_runs(tmp_path))
    assert score.summaries == {}
    names = ["mpe/cooperative_navigation_3", "default", "IP", "team reward", "sampled"]
    cells = [*names, *[DASH] * 6, "1 unfinished", "0", ""]
    assert f"| {' | '.join(cells)} |" in score_table([score]).markdown()


def test_no_normalised_score_without_both_references(tmp_path: Path) -> None:
    write_references(tmp_path, random=[-490.0, -450.0])
    write_run(tmp_path, flat(-300.0))
    (score,) = final_scores(load_runs(tmp_path))
    assert score.normalised_scores == {}


@pytest.mark.parametrize(
    ("scores", "bold"),
    [
        ([score("ip", 0.0, 1.0), score("iql", -10.0, 1.0)], {"ip"}),
        ([score("ip", 0.0, 1.0), score("pic", -0.5, 1.0), score("iql", -10.0, 1.0)], {"ip", "pic"}),
        ([score("ip", 0.0, 9.0), score("iql", -1.0, 9.0)], set()),  # cannot be told apart
        ([score("ip", 0.0, 1.0)], set()),  # nobody to compare with
        ([score("ip", 0.0, None), score("iql", -10.0, 1.0)], set()),  # a single seed
        ([score("ip", 0.0, 1.0), score("iql", -10.0, 1.0, steps=50)], set()),  # unequal training
        ([score("ip", 0.0, 1.0), score("iql", -10.0, 1.0, provisional=True)], set()),
        ([score("ip", math.nan, 1.0), score("iql", -10.0, 1.0)], set()),
        ([replace(score("ip", 0.0, 1.0), learned_from="agent rewards"), score("iql", -10.0, 1.0)], set()),  # no equals
        (
            [replace(score("ip", 0.0, 1.0), collapsed_seeds=3), score("pic", -9.0, 1.0), score("iql", -20.0, 1.0)],
            {"pic"},
        ),
        (
            [replace(score("ip", 0.0, 1.0), normalised_scores=USELESS), score("iql", -10.0, 1.0)],
            set(),
        ),  # no better than random play
    ],
)
def test_bold_only_where_the_comparison_means_something(scores: list[Score], bold: set[str]) -> None:
    assert leaders(scores) == bold


def test_aggregate_uses_only_tasks_that_all_algorithms_finished(tmp_path: Path) -> None:
    for task in ("mpe/a_3", "mpe/b_3", "mpe/c_3"):
        write_references(tmp_path, task, random=[-500.0, -500.0], assignment=[-400.0, -400.0])
        for algorithm, value in (("ip", -420.0), ("iql", -480.0)):
            for seed in (0, 1):
                state = "running" if (task, algorithm) == ("mpe/c_3", "iql") else "finished"
                curve = {"greedy": [(4000, [value, value])]}
                write_run(tmp_path, curve, task=task, algorithm=algorithm, seed=seed, state=state)
    rows = aggregate(final_scores(load_runs(tmp_path)), "greedy")
    assert [(row.algorithm, row.tasks, row.runs) for row in rows] == [("ip", 2, 4), ("iql", 2, 4)]
    assert [row.interquartile_mean for row in rows] == pytest.approx([80.0, 20.0])
    assert (rows[0].low, rows[0].high) == pytest.approx((80.0, 80.0))


def test_numbers_read_well() -> None:
    assert [number(value) for value in (-123456.7, -470.12, 3.14159, 0.12345)] == [
        "\u2212123,457",
        "\u2212470.1",
        "3.14",
        "0.123",
    ]
    assert number(math.nan) == "not finite"
    assert plus_minus(Summary(-4232.4, 110.6, 3)) == "\u22124,232 ± 111"
    assert plus_minus(Summary(1.5, None, 1)) == "1.50"


def test_html_is_escaped_and_sortable() -> None:
    rows: list[list[Cell]] = [[("<b>", "<b>"), ("1.0", 1.0)], [("c", "c"), (DASH, -math.inf)]]
    text = scores_page(Table(("Name", "Score"), rows, bold={(1, 1)}))
    assert '<td data-sort="&lt;b&gt;">&lt;b&gt;</td>' in text
    assert f'<td class="number" data-sort="-Infinity"><strong>{DASH}</strong></td>' in text


def test_each_algorithm_is_judged_by_its_headline_policy(tmp_path: Path) -> None:
    write_references(tmp_path, random=[-500.0, -500.0], assignment=[-100.0, -100.0])
    for name in ("ip", "qmix", "vdn", "pic"):
        for seed, shift in enumerate((-1.0, 1.0)):
            curves = {"greedy": [(4000, [-200.0 + shift])], "sampled": [(4000, [-300.0 + shift])]}
            write_run(tmp_path, curves, algorithm=name, seed=seed)
    scores = {score.algorithm: score for score in final_scores(load_runs(tmp_path))}
    assert {name: score.policy for name, score in scores.items()} == {
        "ip": "sampled",
        "qmix": "greedy",
        "pic": "sampled",
        "vdn": "greedy",
    }
    ip, qmix = scores["ip"], scores["qmix"]
    assert ip.summary is not None
    assert ip.normalised is not None
    assert ip.other is not None
    assert (ip.summary.mean, ip.normalised.mean, ip.other.mean) == (-300.0, pytest.approx(50.0), -200.0)
    assert qmix.summary is not None
    assert qmix.summary.mean == -200.0
    table = score_table(list(scores.values()))
    row = dict(zip(table.header[:9], (text for text, _ in table.rows[0]), strict=False))
    assert (row["Policy"], row["Return"]) == ("sampled", "\u2212300.0 ± 1.4")
    # t of one degree of freedom at 97.5 % is 12.706; half widths 12.706 and 12.706 sqrt(2) sqrt(3/2)
    assert row["95 % of the mean"] == "\u2212312.7 to \u2212287.3"
    assert row["95 % of a new seed"] == "\u2212322.0 to \u2212278.0"
    assert leaders(list(scores.values())) == {"qmix", "vdn"}
