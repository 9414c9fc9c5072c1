"""The headline table: who is told apart from whom, by hand, and what the table says where there is little to say."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from figures.ranks import (
    ALONE,
    NOT_FINITE,
    UNFINISHED,
    RankRow,
    headline_rows,
    missing_words,
    other_rows,
    other_table,
    rank_row,
    rank_rows,
    row_mean_ranks,
    table,
)
from figures.scores import Score, final_scores
from figures.statistics import Estimate, summarise
from results.paper import COMPARED_TASKS
from results.records import Results
from results.runs import load_runs
from tests.figures.synthetic import write_run

NAVIGATION, JUNGLE, SMALL = "mpe/cooperative_navigation_15", "magent/jungle_20", "mpe/cooperative_navigation_3"


def score(algorithm: str, finals: list[float], *, steps: int = 100, provisional: bool = False) -> Score:
    """A score whose greedy policy ended at ``finals``, one for each seed."""
    summaries = {"greedy": summarise(finals)} if finals else {}
    own = {"greedy": tuple(finals)} if finals else {}
    return Score(NAVIGATION, "default", algorithm, summaries, {}, {}, len(finals), 0, provisional, steps, own)


def row(*scores: Score) -> RankRow:
    return rank_row(NAVIGATION, "default", list(scores))


def texts(own: RankRow) -> dict[str, str]:
    return {name: rank.text for name, rank in own.ranks.items()}


def write_finals(
    root: Path,
    task: str,
    algorithm: str,
    finals: list[float],
    *,
    variant: str = "default",
    state: str = "finished",
    policy: str = "greedy",
) -> None:
    """One run a seed with a single evaluation, at ``finals``."""
    for seed, final in enumerate(finals):
        curve = {policy: [(4000, [final, final])]}
        write_run(root, curve, task=task, algorithm=algorithm, variant=variant, seed=seed, state=state)


def test_clear_order_has_clear_ranks() -> None:
    own = row(score("ip", [9.0, 9.2]), score("qmix", [1.0, 1.2]), score("iql", [5.0, 5.2]))
    assert texts(own) == {"ip": "1", "qmix": "3", "iql": "2"}
    assert own.winner == "ip"
    assert own.lead is not None
    assert (own.lead.best, own.lead.second) == ("ip", "iql")
    assert own.lead.difference == pytest.approx(4.0)
    # two seeds each, both with variance 0.02: standard error sqrt(0.02), t of 2 degrees of freedom 4.3027
    assert own.lead.half_width == pytest.approx(4.3027 * math.sqrt(0.02), rel=1e-4)


def test_those_who_cannot_be_told_apart_share_their_ranks() -> None:
    own = row(
        score("ip", [9.0, 10.0, 11.0]),
        score("pic", [8.5, 9.5, 10.5]),
        score("dgn", [9.2, 10.2, 11.2]),
        score("iql", [0.0, 1.0, 2.0]),
    )
    assert texts(own) == {"ip": "1\u20133", "pic": "1\u20133", "dgn": "1\u20133", "iql": "4"}
    assert [rank.place for rank in own.ranks.values()] == [2.0, 3.0, 1.0, 4.0]
    assert own.winner is None


def test_overlap_is_not_transitive() -> None:
    """Differences of 2.5 are open and those of 5 are not: 3 seeds of variance 1 give t 2.776 times 0.816 = 2.27."""
    own = row(score("ip", [5.1, 6.1, 7.1]), score("pic", [3.0, 4.0, 5.0]), score("iql", [1.0, 2.0, 3.0]))
    assert texts(own) == {"ip": "1\u20132", "pic": "1\u20133", "iql": "2\u20133"}


def test_equal_means_share_the_mean_place() -> None:
    own = row(score("ip", [4.0, 4.0]), score("qmix", [4.0, 4.0]), score("iql", [1.0, 1.0]))
    assert texts(own) == {"ip": "1\u20132", "qmix": "1\u20132", "iql": "3"}
    assert [rank.place for rank in own.ranks.values()] == [1.5, 1.5, 3.0]
    _, cells, _ = rank_rows([own])
    assert [text for text, _ in cells[0][-2:]] == ["0", "0 to 0"]


def test_rounding_alone_makes_nobody_better() -> None:
    own = row(score("ip", [0.3] * 3), score("qmix", [0.3] * 10))  # equal, but their sums round differently
    assert own.ranks["ip"].place == own.ranks["qmix"].place == 1.5
    assert texts(own) == {"ip": "1\u20132", "qmix": "1\u20132"}


def test_a_single_seed_tells_nothing_apart() -> None:
    own = row(score("ip", [9.0]), score("qmix", [1.0, 1.1, 1.2]), score("iql", [50.0, 50.1, 50.2]))
    assert texts(own) == {"ip": "1\u20133", "qmix": "2\u20133", "iql": "1\u20132"}
    assert own.winner is None
    assert own.lead is not None
    assert own.lead.half_width is None
    _, cells, _ = rank_rows([own])
    assert [text for text, _ in cells[0][-3:]] == ["1\u20133", "41.10", "\u2013"]


def test_the_order_of_algorithms_and_the_scale_of_returns_change_no_rank() -> None:
    generator = np.random.default_rng(3)
    scores = {name: list(generator.normal(place, 1.5, 4)) for place, name in enumerate(("ip", "qmix", "pic", "iql"))}
    own = row(*(score(name, finals) for name, finals in scores.items()))
    turned = row(*(score(name, [100 * final - 7 for final in scores[name]]) for name in reversed(scores)))
    assert {name: (rank.place, rank.text) for name, rank in own.ranks.items()} == {
        name: (rank.place, rank.text) for name, rank in turned.ranks.items()
    }
    for rank in own.ranks.values():
        assert rank.first <= rank.place <= rank.last


def test_unfinished_and_diverged_runs_get_no_rank_and_are_named() -> None:
    own = row(
        score("ip", [9.0, 9.2]),
        score("qmix", [99.0, 99.0], provisional=True),
        score("pic", [99.0, math.nan]),
        score("dgn", []),
        score("iql", [5.0, 5.2]),
    )
    assert texts(own) == {"ip": "1", "iql": "2"}
    assert own.unranked == {"qmix": UNFINISHED, "pic": NOT_FINITE, "dgn": UNFINISHED}
    header, cells, bold = rank_rows([own])
    assert header[:6] == ["Task", "IP", "QMIX", "PIC", "DGN", "IQL"]
    assert [text for text, _ in cells[0][1:6]] == ["1", UNFINISHED, NOT_FINITE, UNFINISHED, "2"]
    assert bold == {(0, 1)}


def test_one_score_alone_is_no_first_place() -> None:
    own = row(score("ip", [9.0, 9.2]), score("qmix", [1.0], provisional=True))
    assert (own.ranks, own.lead, own.winner) == ({}, None, None)
    assert own.unranked == {"qmix": UNFINISHED, "ip": ALONE}
    _, cells, bold = rank_rows([own])
    assert [text for text, _ in cells[0][1:]] == [ALONE, UNFINISHED, "\u2013", "\u2013", "\u2013"]
    assert not bold


def test_unequal_steps_are_marked_and_nobody_is_bold() -> None:
    own = row(score("ip", [9.0, 9.2]), score("iql", [5.0, 5.2], steps=50))
    assert texts(own) == {"ip": "1", "iql": "2"}
    _, cells, bold = rank_rows([own])
    assert cells[0][0][0].endswith(" \u2021")
    assert not bold


def test_mean_ranks_leave_out_tasks_that_lack_an_algorithm() -> None:
    complete = row(score("ip", [9.0, 9.2]), score("qmix", [1.0, 1.2]), score("iql", [5.0, 5.2]))
    other = row(score("ip", [0.0, 0.2]), score("qmix", [1.0, 1.2]), score("iql", [5.0, 5.2]), score("own", [7.0, 7.0]))
    lacking = row(score("ip", [9.0, 9.2]), score("qmix", [1.0, 1.2], provisional=True), score("iql", [5.0, 5.2]))
    means = row_mean_ranks([complete, other, lacking])
    assert means is not None
    assert len(means.tasks) == 2
    # an algorithm that is not the paper's neither takes a rank nor excludes a task
    assert means.ranks == {
        "ip": Estimate(2.0, 2.0, 2.0),
        "qmix": Estimate(2.5, 2.5, 2.5),
        "iql": Estimate(1.5, 1.5, 1.5),
    }
    _, cells, _ = rank_rows([complete, other, lacking], means)
    expected = ["Mean rank, 2 tasks", "2.0 (2.0\u20132.0)", "2.5 (2.5\u20132.5)", "1.5 (1.5\u20131.5)"]
    assert [text for text, _ in cells[-1]] == [*expected, *["\u2013"] * 4]
    assert row_mean_ranks([lacking]) is None
    assert row_mean_ranks([]) is None


def test_mean_ranks_of_single_seeds_have_no_interval() -> None:
    own = row(score("ip", [9.0]), score("iql", [5.0, 5.2]))
    means = row_mean_ranks([own])
    assert means is not None
    assert [text for text, _ in rank_rows([own], means)[1][-1][:3]] == ["Mean rank, 1 task", "1.0", "2.0"]


@pytest.fixture
def study(tmp_path: Path) -> Results:
    """Two tasks of the paper, one of them in two variants, and a small task."""
    root = tmp_path / "raw"
    write_finals(root, NAVIGATION, "ip", [-100.0, -102.0, -101.0])
    write_finals(root, NAVIGATION, "iql", [-200.0, -202.0, -201.0])
    write_finals(root, NAVIGATION, "pic", [-10.0], state="failed")
    write_finals(root, NAVIGATION, "ip", [-1.0, -2.0], variant="long")
    write_finals(root, JUNGLE, "ip", [4.0, 5.0], variant="small")
    write_finals(root, JUNGLE, "iql", [40.0, 41.0], variant="small")
    write_finals(root, JUNGLE, "pic", [4.0, math.nan], variant="small")
    write_finals(root, SMALL, "ip", [-3.0, -4.0])
    write_finals(root, SMALL, "iql", [-3.0, -4.0])
    write_finals(root, "magent/jungle_6", "ip", [1.0, 2.0])
    return load_runs(root)


def test_rows_of_the_paper_come_first_and_others_apart(study: Results) -> None:
    scores = final_scores(study)
    assert [(own.task, own.variant) for own in headline_rows(study, scores)] == [
        (NAVIGATION, "default"),
        (JUNGLE, "small"),
    ]
    assert [(own.task, own.variant) for own in other_rows(study, scores)] == [(SMALL, "default")]


def test_table_in_words(study: Results) -> None:
    text = table(study).markdown()
    assert "| Cooperative navigation, N = 15 | **1** | unfinished | 2 | 3 | 100.0 | 97.7 to 102.3 |" in text
    assert "| Jungle, N = 20 (small) | 2 | not finite | **1** | 2 | 36.00 | 32.96 to 39.04 |" in text
    assert "Missing are 11 of the paper's 13 tasks" in text
    assert "Mean rank" not in text  # no task on which all three have a rank
    assert "Last row" not in text
    other = other_table(study)
    assert other is not None
    assert "| Cooperative navigation, N = 3 | 1\u20132 | 1\u20132 | 2 |" in other.markdown()
    assert table(study).html().count("<strong>") == 2


def test_table_without_runs_says_what_is_missing() -> None:
    empty = Results(())
    own = table(empty)
    assert own.rows == []
    assert own.caption.startswith("Missing are 13 of the paper's 13 tasks")
    assert "CityFlow: Manhattan, N = 96" in own.caption
    assert other_table(empty) is None
    assert own.html()


def test_one_algorithm_makes_no_row(tmp_path: Path) -> None:
    write_finals(tmp_path, NAVIGATION, "ip", [-1.0, -2.0])
    assert table(load_runs(tmp_path)).rows == []


def test_nothing_is_said_to_be_missing_when_all_is_there() -> None:
    rows = [rank_row(task, "default", [score("ip", [1.0]), score("iql", [2.0])]) for task in COMPARED_TASKS]
    assert missing_words(rows) == "All 13 tasks of the paper are here."
