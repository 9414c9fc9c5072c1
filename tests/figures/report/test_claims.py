"""Findings by claim: the words and tables say what the comparisons do."""

from __future__ import annotations

import pytest

from figures.analysis import Analysis
from figures.report.claims import cases_of, outcome_words, sections
from results.records import References, Results, Run
from tests.figures.analysis.test_claims import N30, run, runs

QMIX = "### QMIX is better than MADDPG, MADDPGS and IQL"
SPREAD = "### DGN varies less over seeds than QMIX"


def section(made: list[Run], title: str, **references: float) -> str:
    """The section of one claim."""
    returns = {name: (mean,) for name, mean in references.items()}
    text = sections(Analysis(Results(tuple(made), {N30: References(N30, 0, 1, returns)} if returns else {})))
    assert text.count(title + "\n") == 1
    return text.partition(title + "\n")[2].partition("\n### ")[0]


def row(text: str) -> list[str]:
    """Cells of the only row of a section's table."""
    lines = [line for line in text.splitlines() if line.startswith("| Cooperative")]
    assert len(lines) == 1
    return [cell.strip() for cell in lines[0].strip("|").split("|")]


def test_differences_with_welchs_interval() -> None:
    """Two seeds each, 2 apart: deviation 1.41, standard error of the difference 1.41, 2 degrees of freedom: ± 6.1."""
    levels = {"qmix": 50.0, "maddpg": 0.0, "maddpgs": 45.0, "iql": 60.0}
    text = section(runs(levels, spread=2.0, seeds=2, steps=15_000, variant="small"), QMIX)
    assert "In part: Cooperative navigation, N = 30 (1 of 3)." in text
    assert "Opposite: Cooperative navigation, N = 30 (QMIX and IQL)." in text
    assert "Runs: 2 seeds, 1.5 % of the steps." in text
    assert "Tested" not in text
    assert row(text) == [
        "Cooperative navigation, N = 30 (small)", "2", "15,000 (1.5 %)", "50.00 ± 1.41",
        "**+50.00 ± 6.08**", "+5.00 ± 6.08", "**\u221210.00 ± 6.08**",
    ]  # fmt: skip


def test_differences_in_points_where_there_is_a_scale() -> None:
    """Random play scores 0 and the reference policy 200: half as many points as return."""
    levels = {"qmix": 50.0, "maddpg": 0.0, "maddpgs": 45.0, "iql": 60.0}
    text = section(runs(levels, spread=2.0, seeds=2), QMIX, random=0.0, assignment=200.0)
    assert row(text)[3:] == ["25.0 ± 0.7 %", "**+25.0 ± 3.0**", "+2.5 ± 3.0", "**\u22125.0 ± 3.0**"]
    assert "Tested with the paper's settings and length: Cooperative navigation, N = 30." in text


def test_missing_algorithms_and_unequal_rewards() -> None:
    made = [*runs({"qmix": 50.0}), *runs({"iql": 0.0}, reward="individual")]
    text = section(made, QMIX)
    assert row(text)[4:] == ["\u2013", "\u2013", "**+50.00 ± 2.31\\***"]


def test_one_seed_has_no_spread_and_decides_nothing() -> None:
    made = [run(level, algorithm=name) for name, level in (("dgn", 5.0), ("qmix", 1.0))]
    assert (
        section(made, SPREAD)
        .strip()
        .endswith("Not measured: Cooperative navigation, N = 30; Cooperative navigation, N = 15.")
    )
    better = section(made, "### DGN is better than QMIX")
    assert "Undecided: Cooperative navigation, N = 30." in better
    assert row(better)[3:] == ["5.00", "+4.00"]


def test_spreads() -> None:
    made = [*runs({"dgn": 0.0}, spread=1.0), *runs({"qmix": 0.0}, spread=9.0)]
    assert row(section(made, SPREAD))[3:] == ["1.58", "**14.23**"]


def test_levels() -> None:
    made = runs({"qmix": 70.0}, spread=1.0, seeds=3)
    text = section(made, "### QMIX does well", random=0.0, assignment=100.0)
    assert "As claimed: Cooperative navigation, N = 30." in text
    assert row(text)[1:] == ["QMIX", "3", "1,500,000 (150 %)", "**70.0 ± 2.5**"]


def test_every_comparison_is_counted_once() -> None:
    analysis = Analysis(Results(tuple(runs({"qmix": 50.0, "maddpg": 0.0, "maddpgs": 10.0, "iql": 20.0}))))
    cases = [case for group in cases_of(analysis).values() for case in group]
    total = sum(case.comparisons for case in cases)
    counts = [int(word) for word in outcome_words(analysis).replace(",", "").split() if word.isdigit()]
    assert counts[0] == total == sum(counts[1:])
    assert counts[1:4] == [4, 0, 0], "QMIX better than three others, and MADDPGS better than MADDPG"


@pytest.mark.parametrize("made", [[], runs({"ip": 1.0}, seeds=1)], ids=["no runs", "one run"])
def test_little_is_said_without_runs(made: list[Run]) -> None:
    text = sections(Analysis(Results(tuple(made))))
    assert "| Cooperative" not in text.partition("### DGN fails")[2].partition("###")[0]
    assert "Runs:" not in section(made, QMIX)
