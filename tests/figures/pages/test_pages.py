"""Tables of the pages, from made-up runs and from none."""

from __future__ import annotations

from pathlib import Path

import pytest

from figures.analysis import Analysis
from figures.documents import Part, parts
from figures.pages.cells import markdown, normalised_cell, over_seeds, return_cell
from figures.pages.learning import messages
from figures.tables import DASH
from results.records import Results
from results.runs import load_runs
from tests.figures.synthetic import both, write_references, write_run

NAVIGATION = "mpe/cooperative_navigation_15"
PAGES = [part for part in parts() if part.text.__module__.startswith("figures.pages")]


@pytest.mark.parametrize("part", PAGES, ids=lambda part: part.name)
def test_a_table_without_runs_has_dashes(part: Part) -> None:
    lines = part.text(Analysis(Results(()))).splitlines()
    assert lines[0].startswith("| ")
    assert len({line.count("|") for line in lines}) == 1
    assert any(DASH in line or "no runs yet" in line for line in lines[2:])


def test_cells_hold_the_scores_of_the_runs(tmp_path: Path) -> None:
    """Mean and standard deviation over seeds of both scales; a variant that was not run is a dash."""
    for seed, value in enumerate([-60.0, -40.0]):
        write_run(tmp_path, both([(4000, [value])]), task=NAVIGATION, variant="published-M2", seed=seed)
    write_references(tmp_path, NAVIGATION, random=[-100.0], assignment=[0.0])
    analysis = Analysis(load_runs(tmp_path))
    name = (NAVIGATION, "published-M2", "ip")
    assert normalised_cell(analysis, name, "sampled") == "50 ± 14"
    assert return_cell(analysis, name, "sampled", digits=1) == "\u221250.0 ± 14.1"
    assert normalised_cell(analysis, (NAVIGATION, "published-deaf", "ip"), "sampled") == DASH
    assert over_seeds([0.0, 1.0], digits=1) == "0.5 ± 0.7"
    row = f"| 15 | in the published order | sampled | 50 ± 14 | {DASH} | {DASH} | {DASH} | {DASH} |"
    assert messages(analysis).splitlines()[2] == row


def test_markdown_aligns_numbers_right() -> None:
    assert markdown(("", "a"), [("x", "1"), ("y", "2")], words=1) == "|  | a |\n|---|---:|\n| x | 1 |\n| y | 2 |"
