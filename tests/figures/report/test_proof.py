"""The table of the matrix and toy games: what counts as reaching an optimum, and what the table says about itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from figures.__main__ import main
from figures.analysis import Analysis
from figures.analysis.policies import headline_policy, other_policy
from figures.analysis.scores import final_scores
from figures.report.proof import LESSONS, OTHER, Verdict, markdown, table, verdict
from results.runs import load_runs
from tests.figures.synthetic import write_references, write_run, write_study

RING, ECHO = "game/ring_8", "game/echo_8"


def write_game(root: Path, task: str, algorithm: str, finals: list[float], state: str = "finished") -> None:
    """One run a seed, whose headline policy ends at `finals` and whose other policy fails."""
    for seed, final in enumerate(finals):
        curves = {
            headline_policy(algorithm): [
                (0, [0.0, 0.0]),
                *((step, [final - 1, final + 1]) for step in (2000, 3000, 4000)),
            ],
            other_policy(algorithm): [(4000, [2.0, 2.0])],
        }
        write_run(root, curves, task=task, algorithm=algorithm, variant="proof", seed=seed, state=state)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Random play earns 2 on the ring, the best 12: 11.5 is a normalised score of 95 % and counts."""
    root = tmp_path / "raw"
    write_references(root, RING, random=[1.0, 3.0], optimal=[11.0, 13.0], assignment=[90.0, 90.0])
    write_game(root, RING, "ip", [12.0, 11.5, 12.0])
    write_game(root, RING, "iql", [11.5, 11.4, 8.0])
    write_game(root, ECHO, "ip", [8.0])  # nothing to compare with
    write_game(root, RING, "dgn", [7.0], state="running")
    return root


def test_shares_and_seeds_by_hand(study: Path) -> None:
    scores = {(score.task, score.algorithm): score for score in final_scores(load_runs(study))}
    ip, iql = verdict(scores[RING, "ip"]), verdict(scores[RING, "iql"])
    assert ip == Verdict(pytest.approx((100 + 95 + 100) / 3), 3, 3, False)
    assert iql == Verdict(pytest.approx((95 + 94 + 60) / 3), 1, 3, False)
    assert verdict(scores[ECHO, "ip"]) is None
    assert verdict(scores[RING, "ip"], "greedy") == Verdict(pytest.approx(0.0), 0, 3, False)
    assert scores[RING, "ip"].normalised_seeds["sampled"] == pytest.approx(
        (100.0, 95.0, 100.0)
    )  # the optimum, not assignment


def test_rows_are_games_and_columns_algorithms_in_their_order(study: Path) -> None:
    results = load_runs(study)
    drawn = table(Analysis(results))
    assert drawn.header == ("Game", "IP", "DGN", "IQL", "Random", "Optimal")
    assert [[text for text, _ in row] for row in drawn.rows] == [
        ["Echo, N = 8 (proof)", *["\u2013"] * 5],
        [OTHER, *["\u2013"] * 3, "", ""],
        ["Ring, N = 8 (proof)", "98 % (3/3)", "50 % (0/1)\u2020", "83 % (1/3)", "2.00", "12.00"],
        [OTHER, "0 % (0/3)", "0 % (0/1)\u2020", "0 % (0/3)", "", ""],
    ]
    assert drawn.bold == {(2, 1)}  # only where every seed reaches it


def test_the_table_says_what_was_run_and_what_it_does_not_show(study: Path) -> None:
    text = markdown(Analysis(load_runs(study)))
    assert "| Ring, N = 8 (proof) | **98 % (3/3)** | 50 % (0/1)\u2020 | 83 % (1/3) | 2.00 | 12.00 |" in text
    assert "total_steps 4000, training.batch_size 256" in text.replace("training.num_envs 4, ", "")
    assert "The table does not show" in text
    assert f"- Ring: {LESSONS['ring']}." in text
    assert "Walk" not in text


def test_settings_that_differ_are_all_named(study: Path) -> None:
    write_run(study, {"greedy": [(9000, [8.0, 8.0])]}, task=ECHO, algorithm="pic", variant="proof", total_steps=9000)
    assert "total_steps 4000 or 9000" in markdown(Analysis(load_runs(study)))


def test_no_share_is_a_negative_zero(tmp_path: Path) -> None:
    write_references(tmp_path, RING, random=[2.0, 2.0], optimal=[12.0, 12.0])
    write_game(tmp_path, RING, "iql", [1.98])
    assert "| 0 % (0/1) |" in markdown(Analysis(load_runs(tmp_path)))


def test_written_only_where_there_are_games(study: Path, tmp_path: Path) -> None:
    assert main(["--results", str(study), "--output", str(tmp_path / "games")]) == 0
    assert (tmp_path / "games" / "proof.md").read_text().startswith("| Game | IP |")
    assert '<section id="proof">' in (tmp_path / "games" / "report.html").read_text()
    write_study(tmp_path / "particles")
    assert main(["--results", str(tmp_path / "particles"), "--output", str(tmp_path / "none")]) == 0
    assert not (tmp_path / "none" / "proof.md").exists()
    assert '<section id="proof">' not in (tmp_path / "none" / "report.html").read_text()
