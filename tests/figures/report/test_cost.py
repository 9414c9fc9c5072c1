"""What runs cost: hours of the right resource, added up once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from figures.analysis import Analysis
from figures.analysis.cost import hours_of, resource_of, speed_of, stage_seconds, total_text
from figures.report.cost import hour_tables, speed_table, stage_table
from results.records import Results, Run
from results.runs import load_runs
from tests.figures.synthetic import rising, write_run


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Run, ...]:
    """IP for two hours on a GPU, IQL for half an hour on 4 threads, QMIX for a quarter on a machine with a GPU that it
    leaves alone."""
    curve = {"greedy": rising(-1, 0, 4000, 1000)}
    write_run(tmp_path, curve, machine={"gpu": "Example GPU", "device": "cuda"})
    write_run(tmp_path, curve, algorithm="iql")
    write_run(tmp_path, curve, algorithm="qmix", machine={"gpu": "Example GPU", "device": "cpu"})
    seconds = {"ip": 7200.0, "iql": 1800.0, "qmix": 900.0}
    threads = {"ip": 16, "iql": 4, "qmix": None}
    return tuple(
        replace(
            run,
            status=replace(run.status, wall_seconds=seconds[run.key.algorithm]),
            config={**run.config, "training": {**run.config["training"], "threads": threads[run.key.algorithm]}},
        )
        for run in load_runs(tmp_path).runs
    )


def test_hours_by_hand(runs: tuple[Run, ...]) -> None:
    found = {run.key.algorithm: (resource_of(run), hours_of(run)) for run in runs}
    assert found == {"ip": ("GPU", 2.0), "iql": ("core", 2.0), "qmix": ("core", 0.25)}
    assert total_text(runs) == "2.0 GPU hours and 2.2 core hours"
    assert total_text(run for run in runs if run.key.algorithm == "ip") == "2.0 GPU hours"


def test_tables_add_up(runs: tuple[Run, ...]) -> None:
    tables = dict(hour_tables(Analysis(Results(runs))))
    assert list(tables) == ["GPU hours", "Core hours"]
    assert tables["Core hours"].header == ("Task", "QMIX", "IQL", "Sum")
    assert tables["Core hours"].foot == ["Sum", "0.25", "2.0", "2.2"]
    assert speed_table(Analysis(Results(runs))).rows[0][1:] == [("40", 40.0)] * 3


def test_speed_is_that_of_the_whole_run(runs: tuple[Run, ...]) -> None:
    (run, *_) = runs
    assert speed_of(run) == 40.0  # as logged
    assert speed_of(replace(run, metrics=())) == 4000 / 7200
    assert speed_of(replace(run, metrics=(), status=replace(run.status, step=0))) is None
    assert stage_seconds(run) == {"act": 1.0}
    assert stage_table(Analysis(Results(runs))).rows[0][1] == ("100 %", 100.0)
    assert stage_table(Analysis(Results(tuple(replace(one, metrics=()) for one in runs)))).rows == []
