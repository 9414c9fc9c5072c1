"""Measured speed: the file is read whole or refused, and drawn as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from figures.analysis import Analysis
from figures.analysis.speed import FILE, HERE, Measurement, SpeedRow, load_speed
from figures.report.speed import caption, draw, table
from figures.style import figure_style
from results.errors import ResultsError
from results.records import Results

MEASURED = Measurement(
    "2026-01",
    "one core",
    "environment steps",
    "random actions",
    "python -m example",
    (SpeedRow("mpe/cooperative_navigation_3", 4, {HERE: 600.0, "other": 200.0, "third": 1200.0}),),
)


@pytest.fixture
def analysis() -> Analysis:
    made = Analysis(Results(()))
    made.speed = [MEASURED]
    return made


def test_the_file_of_the_project_says_when_where_and_how() -> None:
    measured = load_speed()
    assert measured
    for entry in measured:
        assert all((entry.date, entry.hardware, entry.what, entry.setup, entry.command, entry.rows))
        assert all(HERE in row.rates and len(row.rates) > 1 for row in entry.rows)


def test_ratios_by_hand(analysis: Analysis) -> None:
    drawn = table(analysis)
    assert drawn.header == ("Task", "Measured", "Copies", "this project", "other", "third", "Speed-up")
    assert [text for text, _ in drawn.rows[0][2:]] == ["4", "600", "200", "1,200", "3.0 and 0.5"]
    assert "one core, 2026-01 (python -m example)" in caption(analysis)


def test_every_suite_has_a_mark(analysis: Analysis) -> None:
    with figure_style():
        figure = draw(analysis)
    assert figure is not None
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert {line.get_label(): list(line.get_xdata()) for line in axes.lines} == {
        "this project": [600.0],
        "other": [200.0],
        "third": [1200.0],
    }
    analysis.speed = []
    assert draw(analysis) is None


@pytest.mark.parametrize("broken", ["{", "[3]", '[{"date": "x"}]'])
def test_broken_files_are_refused(broken: str, tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    path.write_text(broken)
    with pytest.raises(ResultsError, match="expected a list of measurements"):
        load_speed(path)


def test_a_speed_is_above_nothing(tmp_path: Path) -> None:
    value = json.loads(FILE.read_text())
    value[0]["rows"][0]["vmas"] = 0
    (tmp_path / "speed.json").write_text(json.dumps(value))
    with pytest.raises(ResultsError, match="a speed is not above 0"):
        load_speed(tmp_path / "speed.json")


def test_without_a_file_there_is_nothing(tmp_path: Path) -> None:
    assert load_speed(tmp_path / "none.json") == []
