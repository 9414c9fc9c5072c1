"""The findings: made from the numbers, and never more than these say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from figures.analysis import Analysis
from figures.analysis.statistics import Summary
from figures.report.findings import closest, page, summary, topics
from results.records import Results
from results.runs import load_runs
from tests.figures.synthetic import both, write_references, write_run

NAVIGATION, JUNGLE = "mpe/cooperative_navigation_15", "magent/jungle_20"


def write_normalised(
    root: Path, task: str, algorithm: str, normalised_scores: list[float], variant: str = "default"
) -> None:
    for seed, normalised in enumerate(normalised_scores):
        write_run(root, both([(4000, [normalised])]), task=task, algorithm=algorithm, seed=seed, variant=variant)


@pytest.fixture
def study(tmp_path: Path) -> Analysis:
    """IP is significantly ahead of IQL in Jungle, and not significantly in navigation."""
    for task, top in ((NAVIGATION, "assignment"), (JUNGLE, "greedy")):
        write_references(tmp_path, task, random=[0.0], **{top: [100.0]})
    write_normalised(tmp_path, JUNGLE, "ip", [80.0, 82.0])
    write_normalised(tmp_path, JUNGLE, "iql", [50.0, 52.0])
    write_normalised(tmp_path, NAVIGATION, "ip", [30.0, 50.0])
    write_normalised(tmp_path, NAVIGATION, "iql", [35.0, 51.0])
    write_normalised(tmp_path, NAVIGATION, "ip", [-20.0, -22.0], "local-M2")
    write_normalised(tmp_path, NAVIGATION, "ip", [-90.0, -92.0], "local-deaf")
    return Analysis(load_runs(tmp_path))


def by_title(analysis: Analysis) -> dict[str, str]:
    return {topic.title: " ".join([topic.short, *topic.lines, topic.body]) for topic in topics(analysis)}


def test_who_wins_in_words(study: Analysis) -> None:
    words = by_title(study)["Who wins"]
    assert (
        "one is significantly better than all others in 1 of 2 comparisons: IP on Jungle, N = 20 with team reward."
        in words
    )
    assert "Jungle, N = 20, team reward: IP first with a normalised score of 81 ± 1 %, 30.0 points ahead of " in words
    assert "no significant difference: IQL and IP." in words


def test_over_tasks_in_words(study: Analysis) -> None:
    found = by_title(study)
    words = "Over 2 tasks with a normalised score that every algorithm finished (2 of the paper's)"
    assert words in found["All tasks together"]
    assert "is IP 65 % and IQL 50 %." in found["All tasks together"]
    assert "By mean rank, no two algorithms differ significantly." in found["Ranks over tasks"]
    assert "single seed" not in found["All tasks together"]


def test_tasks_with_a_single_seed_are_counted(tmp_path: Path) -> None:
    """Such a task adds nothing to an interval, which would look certain."""
    for task, top in ((NAVIGATION, "assignment"), (JUNGLE, "greedy")):
        write_references(tmp_path, task, random=[0.0], **{top: [100.0]})
    for algorithm in ("ip", "iql"):
        write_normalised(tmp_path, JUNGLE, algorithm, [80.0, 82.0])
        write_normalised(tmp_path, NAVIGATION, algorithm, [30.0])
    words = by_title(Analysis(load_runs(tmp_path)))["All tasks together"]
    assert "1 of these tasks has a single seed for some algorithm" in words


def test_nothing_below_random_play_is_called_better(study: Analysis) -> None:
    """Two rounds are significantly above a policy without messages, and both are worse than random play."""
    words = by_title(study)["Effect of messages"]
    assert (
        "is significantly better than a policy of the same size without messages in 0 of 1 setting (worse in 0)."
        in words
    )
    assert "| **+70.0 ± 6.1, neither above random play** | 0.00041 |" in words


def test_claims_between_unequals_say_so(tmp_path: Path) -> None:
    write_references(tmp_path, JUNGLE, random=[0.0], greedy=[100.0])
    for name, normalised in (("ip", 80.0), ("qmix", 20.0)):
        write_normalised(tmp_path, JUNGLE, name, [normalised, normalised + 1])
    for path in tmp_path.rglob("config.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"environment": {"reward": "local"}}))
    words = by_title(Analysis(load_runs(tmp_path)))["The paper's claims"]
    assert "In part: Jungle, N = 20 (1 of 6)." in words
    assert "| Jungle, N = 20 | 2 | 4,000 (0.4 %) | 80.5 ± 0.7 % | **+60.0 ± 3.0\\*** |" in words


def test_the_page_has_every_topic_and_the_summary_ten_lines_at_most(study: Analysis) -> None:
    text, lines = page(study), summary(study).splitlines()
    titles = [topic.title for topic in topics(study)]
    assert [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")] == titles
    assert 0 < len(lines) <= 10
    assert all(line.startswith(f"- {title}: ") for line, title in zip(lines, titles, strict=False))


def test_without_runs_little_is_said() -> None:
    found = by_title(Analysis(Results(())))
    assert set(found) == {"What was run", "The paper's claims", "Speed"}
    assert found["What was run"].startswith("These results cover none of the paper\u2019s 13 tasks.")


def test_closest_are_all_that_are_not_told_apart_and_closer_than_equal_green() -> None:
    """Half of Welch's interval: 0.022 between IQL and IP, 0.047 between IQL and DGN, 2.7 between IQL and PIC."""
    divergences = {
        "dgn": Summary(0.085, 0.019, 3),
        "ip": Summary(0.014, 0.009, 3),
        "pic": Summary(1.948, 1.1, 3),
        "iql": Summary(0.012, 0.001, 3),
    }
    equal_green = Summary(0.1, 0.01, 3)
    assert closest({name: (value, equal_green) for name, value in divergences.items()}) == "IQL and IP"
    assert closest({"pic": (divergences["pic"], equal_green)}) == "PIC"
