"""The headline table: significant differences by hand, and tables with few runs."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from figures.analysis import Analysis
from figures.analysis.bootstrap import Estimate
from figures.analysis.policies import AGENT, TEAM
from figures.analysis.ranks import (
    ALONE,
    COLLAPSED,
    NOT_FINITE,
    UNFINISHED,
    RankRow,
    mean_rank_groups,
    rank_row,
    rank_rows,
)
from figures.analysis.scores import Score
from figures.analysis.statistics import summarise
from figures.report.page import scores_page
from figures.report.ranks import (
    mean_table,
    missing_words,
    other_table,
    rank_table,
    table,
    verdict_table,
    winner_words,
)
from results.paper import COMPARED_TASKS
from results.records import POLICIES, Results
from results.runs import load_runs
from tests.figures.synthetic import both, write_references, write_run

NAVIGATION, JUNGLE, SMALL = "mpe/cooperative_navigation_15", "magent/jungle_20", "mpe/cooperative_navigation_3"


def score(algorithm: str, finals: list[float], *, steps: int = 100, provisional: bool = False) -> Score:
    """A score whose policies ended at `finals`, one for each seed."""
    summaries = {policy: summarise(finals) for policy in POLICIES if finals}
    by_policy = {policy: tuple(finals) for policy in POLICIES if finals}
    return Score(NAVIGATION, "default", algorithm, summaries, {}, {}, len(finals), 0, provisional, steps, by_policy)


def row(*scores: Score) -> RankRow:
    return rank_row(NAVIGATION, "default", list(scores))


def texts(ranked: RankRow) -> dict[str, str]:
    return {name: rank.text for name, rank in ranked.ranks.items()}


def write_finals(
    root: Path,
    task: str,
    algorithm: str,
    finals: list[float],
    *,
    variant: str = "default",
    state: str = "finished",
    **settings: object,
) -> None:
    """One run a seed with a single evaluation, at `finals`."""
    for seed, final in enumerate(finals):
        curve = both([(4000, [final, final])])
        write_run(root, curve, task=task, algorithm=algorithm, variant=variant, seed=seed, state=state, **settings)  # type: ignore[arg-type]


def test_clear_order_has_clear_ranks() -> None:
    ranked = row(score("ip", [9.0, 9.2]), score("qmix", [1.0, 1.2]), score("iql", [5.0, 5.2]))
    assert texts(ranked) == {"ip": "1", "qmix": "3", "iql": "2"}
    assert ranked.winner == "ip"
    assert ranked.lead is not None
    assert (ranked.lead.best, ranked.lead.second) == ("ip", "iql")
    assert ranked.lead.difference == pytest.approx(4.0)
    # two seeds each, both with variance 0.02: standard error sqrt(0.02), t of 2 degrees of freedom 4.3027
    assert ranked.lead.half_width == pytest.approx(4.3027 * math.sqrt(0.02), rel=1e-4)


def test_those_who_cannot_be_told_apart_share_their_ranks() -> None:
    ranked = row(
        score("ip", [9.0, 10.0, 11.0]),
        score("pic", [8.5, 9.5, 10.5]),
        score("dgn", [9.2, 10.2, 11.2]),
        score("iql", [0.0, 1.0, 2.0]),
    )
    assert texts(ranked) == {"ip": "1\u20133", "pic": "1\u20133", "dgn": "1\u20133", "iql": "4"}
    assert [rank.place for rank in ranked.ranks.values()] == [2.0, 3.0, 1.0, 4.0]
    assert ranked.winner is None


def test_overlap_is_not_transitive() -> None:
    """Differences of 2.5 are open and those of 5 are not: 3 seeds of variance 1 give t 2.776 times 0.816 = 2.27."""
    ranked = row(score("ip", [5.1, 6.1, 7.1]), score("pic", [3.0, 4.0, 5.0]), score("iql", [1.0, 2.0, 3.0]))
    assert texts(ranked) == {"ip": "1\u20132", "pic": "1\u20133", "iql": "2\u20133"}


def test_equal_means_share_the_mean_place() -> None:
    ranked = row(score("ip", [4.0, 4.0]), score("qmix", [4.0, 4.0]), score("iql", [1.0, 1.0]))
    assert texts(ranked) == {"ip": "1\u20132", "qmix": "1\u20132", "iql": "3"}
    assert [rank.place for rank in ranked.ranks.values()] == [1.5, 1.5, 3.0]
    assert [text for text, _ in rank_table([ranked]).rows[0][-3:]] == ["0", "0 to 0", "0 to 0"]


def test_rounding_alone_makes_nobody_better() -> None:
    ranked = row(score("ip", [0.3] * 3), score("qmix", [0.3] * 10))  # equal, but their sums round differently
    assert ranked.ranks["ip"].place == ranked.ranks["qmix"].place == 1.5
    assert texts(ranked) == {"ip": "1\u20132", "qmix": "1\u20132"}


def test_a_single_seed_tells_nothing_apart() -> None:
    ranked = row(score("ip", [9.0]), score("qmix", [1.0, 1.1, 1.2]), score("iql", [50.0, 50.1, 50.2]))
    assert texts(ranked) == {"ip": "1\u20133", "qmix": "2\u20133", "iql": "1\u20132"}
    assert ranked.winner is None
    assert ranked.lead is not None
    assert ranked.lead.half_width is None
    assert [text for text, _ in rank_table([ranked]).rows[0][-4:]] == ["1\u20133", "41.10", "\u2013", "\u2013"]


def test_the_order_of_algorithms_and_the_scale_of_returns_change_no_rank() -> None:
    generator = np.random.default_rng(3)
    scores = {name: list(generator.normal(place, 1.5, 4)) for place, name in enumerate(("ip", "qmix", "pic", "iql"))}
    ranked = row(*(score(name, finals) for name, finals in scores.items()))
    turned = row(*(score(name, [100 * final - 7 for final in scores[name]]) for name in reversed(scores)))
    assert {name: (rank.place, rank.text) for name, rank in ranked.ranks.items()} == {
        name: (rank.place, rank.text) for name, rank in turned.ranks.items()
    }
    for rank in ranked.ranks.values():
        assert rank.first <= rank.place <= rank.last


def test_unfinished_and_diverged_runs_get_no_rank_and_are_named() -> None:
    ranked = row(
        score("ip", [9.0, 9.2]),
        score("qmix", [99.0, 99.0], provisional=True),
        score("pic", [99.0, math.nan]),
        score("dgn", []),
        score("iql", [5.0, 5.2]),
    )
    assert texts(ranked) == {"ip": "1", "iql": "2"}
    assert ranked.unranked == {"qmix": UNFINISHED, "pic": NOT_FINITE, "dgn": UNFINISHED}
    table = rank_table([ranked])
    assert table.header[:7] == ("Task", "Learned from", "IP", "QMIX", "PIC", "DGN", "IQL")
    assert [text for text, _ in table.rows[0][2:7]] == ["1", UNFINISHED, NOT_FINITE, UNFINISHED, "2"]
    assert table.bold == {(0, 2)}


def test_one_score_alone_is_no_first_place() -> None:
    ranked = row(score("ip", [9.0, 9.2]), score("qmix", [1.0], provisional=True))
    assert (ranked.ranks, ranked.lead, ranked.winner) == ({}, None, None)
    assert ranked.unranked == {"qmix": UNFINISHED, "ip": ALONE}
    table = rank_table([ranked])
    assert [text for text, _ in table.rows[0][2:]] == [ALONE, UNFINISHED, *["\u2013"] * 4]
    assert not table.bold


def test_unequal_steps_are_marked_and_nobody_is_bold() -> None:
    ranked = row(score("ip", [9.0, 9.2]), score("iql", [5.0, 5.2], steps=50))
    assert texts(ranked) == {"ip": "1", "iql": "2"}
    table = rank_table([ranked])
    assert table.rows[0][0][0].endswith(" \u2021")
    assert not table.bold


def test_mean_ranks_leave_out_tasks_that_lack_an_algorithm() -> None:
    complete = row(score("ip", [9.0, 9.2]), score("qmix", [1.0, 1.2]), score("iql", [5.0, 5.2]))
    other = row(score("ip", [0.0, 0.2]), score("qmix", [1.0, 1.2]), score("iql", [5.0, 5.2]), score("own", [7.0, 7.0]))
    lacking = row(score("ip", [9.0, 9.2]), score("qmix", [1.0, 1.2], provisional=True), score("iql", [5.0, 5.2]))
    (means,) = mean_rank_groups([complete, other, lacking])
    assert len(means.tasks) == 2
    # an algorithm that is not the paper's neither takes a rank nor excludes a task
    assert means.ranks == {
        "ip": Estimate(2.0, 2.0, 2.0),
        "qmix": Estimate(2.5, 2.5, 2.5),
        "iql": Estimate(1.5, 1.5, 1.5),
    }
    assert means.test is not None
    assert means.test.ranks == {"ip": 2.0, "qmix": 2.5, "iql": 1.5}
    assert mean_rank_groups([lacking]) == []
    assert mean_rank_groups([]) == []


def test_mean_ranks_are_taken_among_those_that_learned_from_the_same() -> None:
    """On one task all learned from the team's reward, on two others QMIX and PIC alone."""
    shared = row(score("ip", [9.0, 9.2]), score("qmix", [5.0, 5.2]), score("pic", [1.0, 1.2]))
    apart = row(score("qmix", [5.0, 5.2]), score("pic", [7.0, 7.2]))
    groups = mean_rank_groups([shared, apart, apart])
    assert [(list(ranked.ranks), len(ranked.tasks)) for ranked in groups] == [
        (["qmix", "pic"], 3),
        (["ip", "qmix", "pic"], 1),
    ]
    assert groups[0].ranks["pic"].value == pytest.approx((2 + 1 + 1) / 3)
    assert groups[1].test is None, "a single task"


def test_mean_ranks_of_single_seeds_have_no_interval() -> None:
    ranked = row(score("ip", [9.0]), score("iql", [5.0, 5.2]))
    (means,) = mean_rank_groups([ranked])
    assert means.seeds == 1


def test_ranks_are_among_equals_alone() -> None:
    """IP and IQL learned from each agent's reward, QMIX and PIC from the team's: two rows, whoever scored more."""
    scores = [
        replace(score(name, [level, level + 0.2]), learned_from=signal)
        for name, level, signal in (("ip", 9.0, AGENT), ("qmix", 99.0, TEAM), ("pic", 1.0, TEAM), ("iql", 5.0, AGENT))
    ]
    rows = rank_rows(NAVIGATION, "default", scores)
    assert [(ranked.learned_from, texts(ranked), ranked.winner) for ranked in rows] == [
        (AGENT, {"ip": "1", "iql": "2"}, "ip"),
        (TEAM, {"qmix": "1", "pic": "2"}, "qmix"),
    ]
    assert rank_rows(NAVIGATION, "default", scores[:1]) == []


def test_a_collapsed_policy_has_no_rank() -> None:
    fallen = replace(score("maddpg", [0.0, 0.1]), collapsed_seeds=2)
    ranked = row(score("qmix", [9.0, 9.2]), score("pic", [5.0, 5.2]), fallen)
    assert texts(ranked) == {"qmix": "1", "pic": "2"}
    assert ranked.unranked == {"maddpg": COLLAPSED}
    half = replace(fallen, collapsed_seeds=1)
    assert "maddpg" in row(score("qmix", [9.0, 9.2]), half).ranks, "one of two seeds is not most of them"


def test_nothing_below_random_play_wins() -> None:
    """IP is significantly better than IQL, and both are no better than random play."""
    scores = [
        replace(
            score(name, finals), normalised_scores=dict.fromkeys(POLICIES, summarise([normalised - 1, normalised + 1]))
        )
        for name, finals, normalised in (("ip", [9.0, 9.2], -5.0), ("iql", [1.0, 1.2], -50.0))
    ]
    ranked = row(*scores)
    assert texts(ranked) == {"ip": "1", "iql": "2"}
    assert ranked.winner is None
    table = rank_table([ranked])
    assert table.rows[0][2][0] == "1 \u2193"
    assert not table.bold
    assert winner_words(ranked) == "none better than random play"


def test_words_on_who_wins() -> None:
    assert winner_words(row(score("ip", [9.0, 9.2]), score("iql", [5.0, 5.2]))) == "IP"
    assert (
        winner_words(row(score("ip", [9.0, 9.2]), score("iql", [9.1, 9.3]))) == "no significant difference: IQL and IP"
    )
    assert winner_words(row(score("ip", [9.0]), score("iql", [5.0]))) == "single seed, not tested: IP and IQL"
    assert winner_words(row(score("ip", [9.0, 9.2]), score("iql", [5.0, 5.2], steps=50))) == "unequal steps: IP"
    assert winner_words(row(score("ip", [9.0, 9.2]), score("iql", []))) == "none ranked (no competitor and unfinished)"


def test_a_new_seed_may_lie_further_off_than_the_mean() -> None:
    ranked = row(score("ip", [9.0, 9.2]), score("iql", [5.0, 5.2]))
    assert ranked.lead is not None
    # two seeds each, variance 0.02: sqrt(0.02 (1 + 1/2) 2) and t of 2 degrees of freedom
    assert ranked.lead.new_half_width == pytest.approx(4.3027 * math.sqrt(0.06), rel=1e-4)
    assert ranked.lead.sure


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
    analysis = Analysis(study)
    assert [(ranked.task, ranked.variant) for ranked in analysis.headline_rows] == [
        (NAVIGATION, "default"),
        (JUNGLE, "small"),
    ]
    assert [(ranked.task, ranked.variant) for ranked in analysis.other_rows] == [(SMALL, "default")]


def test_table_in_words(study: Results) -> None:
    analysis = Analysis(study)
    text = table(analysis).markdown()
    start = "| Cooperative navigation, N = 15 | team reward | **1** | unfinished | 2 | 3 | 100.0 | 97.7 to 102.3 |"
    assert start in text
    assert "| Jungle, N = 20 (small) | team reward | 2 | not finite | **1** | 2 | 36.00 | 32.96 to 39.04 |" in text
    assert "11 of the paper's 13 tasks are missing" in text
    other = other_table(analysis)
    assert other is not None
    assert "| Cooperative navigation, N = 3 | team reward | 1\u20132 | 1\u20132 | 2 |" in other.markdown()
    assert scores_page(table(analysis)).count("<strong>") == 2
    assert [row[1][0] for row in verdict_table(analysis).rows] == ["IP", "IQL"]
    assert [row[1][0] for row in mean_table(analysis).rows] == ["3 tasks"], "of the two that every row has"


def test_the_first_table_says_who_by_how_much_and_how_sure(tmp_path: Path) -> None:
    """Leads are points of the normalised score: random play earns 0, the reference policy 200."""
    write_references(tmp_path, NAVIGATION, random=[0.0], assignment=[200.0])
    write_finals(tmp_path, NAVIGATION, "ip", [99.0, 101.0])
    write_finals(tmp_path, NAVIGATION, "iql", [59.0, 61.0])
    verdicts = verdict_table(Analysis(load_runs(tmp_path)))
    # variances 2 and 2 over two seeds each: 4.3027 sqrt(2) in returns, half of that in points
    assert [text for text, _ in verdicts.rows[0]] == [
        "Cooperative navigation, N = 15\nteam reward",
        "IP",
        "50 ± 1",
        "20\n(17 to 23)",
    ]
    assert verdicts.bold == {(0, 1)}


def test_mean_ranks_in_words(tmp_path: Path) -> None:
    for task in (NAVIGATION, JUNGLE, SMALL):
        write_finals(tmp_path, task, "ip", [-100.0, -102.0])
        write_finals(tmp_path, task, "iql", [-200.0, -202.0])
    (row,) = mean_table(Analysis(load_runs(tmp_path))).rows
    texts = [text for text, _ in row]
    assert texts[:4] == ["team reward", "3 tasks", "1.0 (1.0\u20131.0)", "2.0 (2.0\u20132.0)"]
    assert texts[5] == "1.1", "1.960 sqrt(2 * 3 / (6 * 3))"
    assert texts[6] == "none"


def test_table_without_runs_says_what_is_missing() -> None:
    empty = Analysis(Results(()))
    drawn = table(empty)
    assert drawn.rows == []
    assert drawn.caption.startswith("13 of the paper's 13 tasks are missing")
    assert "CityFlow: Manhattan, N = 96" in drawn.caption
    assert other_table(empty) is None
    assert scores_page(drawn)


def test_one_algorithm_makes_no_row(tmp_path: Path) -> None:
    write_finals(tmp_path, NAVIGATION, "ip", [-1.0, -2.0])
    assert table(Analysis(load_runs(tmp_path))).rows == []


def test_nothing_is_said_to_be_missing_when_all_is_there(tmp_path: Path) -> None:
    for task in COMPARED_TASKS:
        write_finals(tmp_path, task, "ip", [1.0])
        write_finals(tmp_path, task, "iql", [2.0])
    assert missing_words(Analysis(load_runs(tmp_path))) == "All 13 tasks of the paper are included."
