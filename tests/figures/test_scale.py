"""The full comparison, 455 runs of 200 evaluations, is drawn within bounds that hold on any machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from figures.analysis.statistics import final_score
from results.frames import evaluations_frame
from results.load import load_results
from results.publish import publish
from results.runs import load_runs
from tests.figures.synthetic import StudySize, write_equal_runs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SIZE = StudySize()
MOST_MEMORY = 3 * 2**19
"""KiB, as the operating system counts them."""
MOST_CALIBRATIONS = 140
"""CPU time of everything, in that of the calibration, 45 s where one takes 0.32 s: about 57 when this was written."""
MOST_BYTES = 15_000_000
"""Of the report."""
WATCHED = """
import json, resource, subprocess, sys
done = subprocess.run([sys.executable, "-m", *sys.argv[1:]], stdout=subprocess.DEVNULL)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([done.returncode, usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
"""
"""A small process between the tests and what is measured: a child counts the memory of the process that it is a copy of
at first, and that of the tests is not of interest."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a command took."""

    cpu_seconds: float
    memory: int
    """The most at a time, KiB."""


def watched(*command: str) -> Usage:
    """Run `python -m` with these arguments."""
    done = subprocess.run([sys.executable, "-c", WATCHED, *command], capture_output=True, text=True, check=True)
    code, seconds, memory = json.loads(done.stdout)
    assert code == 0, done.stderr
    return Usage(seconds, memory)


def calibration() -> float:
    """CPU seconds that this machine, as busy as it is, needs for ten million steps of plain Python."""
    start, total = time.process_time(), 0
    for number in range(10_000_000):
        total += number % 7
    assert total == 29_999_994
    return time.process_time() - start


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("scale")
    write_equal_runs(root / "raw", SIZE)
    yield root
    shutil.rmtree(root)


def test_full_comparison_is_drawn_within_bounds(study: Path) -> None:
    unit = (calibration() + calibration()) / 2
    usage = watched("figures", "--results", str(study / "raw"), "--output", str(study / "drawn"))
    unit = (unit + calibration()) / 2
    print(
        f"\n{SIZE.runs} runs: {usage.cpu_seconds:.0f} s of CPU time, {usage.cpu_seconds / unit:.0f} calibrations of "
        f"{unit:.2f} s, {usage.memory / 2**20:.2f} GiB"
    )
    assert usage.memory < MOST_MEMORY
    assert usage.cpu_seconds < MOST_CALIBRATIONS * unit
    scores = pd.read_csv(study / "drawn" / "scores.csv")
    assert len(scores) == len(SIZE.tasks) * len(SIZE.algorithms)
    assert set(scores["seeds"]) == {SIZE.seeds}
    assert len(list((study / "drawn").glob("curves-*.png"))) == 3  # platforms
    report = (study / "drawn" / "report.html").read_text()
    assert len(report.encode()) < MOST_BYTES
    assert all(task in report for task in SIZE.tasks)
    assert f"<dt>runs</dt><dd>{SIZE.runs}</dd>" in report


def test_published_form_holds_the_same(study: Path) -> None:
    """And the frame of all evaluations holds what the files hold, as read by hand from one of them."""
    runs = load_runs(study / "raw")
    publish(runs, study / "set")
    returned = load_results(study / "set")
    assert len(returned.runs) == SIZE.runs
    for run, other in zip(runs.runs, returned.runs, strict=True):
        assert (run.key, run.config, run.evaluations, run.metrics) == (
            other.key,
            other.config,
            other.evaluations,
            other.metrics,
        )
    frame = evaluations_frame(returned)
    assert len(frame) == SIZE.runs * SIZE.evaluations * 2
    cell = returned.runs[-1].key
    lines = (study / "raw" / str(cell) / "evaluation.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["policy"] == "sampled"]
    means = [sum(row["returns"]) / SIZE.episodes for row in rows]
    part = frame[
        (frame["task"] == cell.task)
        & (frame["algorithm"] == cell.algorithm)
        & (frame["seed"] == cell.seed)
        & (frame["policy"] == "sampled")
    ]
    assert part["step"].tolist() == [row["step"] for row in rows]
    assert part["return_mean"].tolist() == pytest.approx(means)
    assert final_score(part["step"], part["return_mean"]) == pytest.approx(sum(means[-3:]) / 3)
