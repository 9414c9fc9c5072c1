"""One cell all the way: the numbers in figures, in tables and in the report are those in the files of the raw runs."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from matplotlib.colors import to_hex

from figures.__main__ import main
from figures.analysis import Analysis
from figures.paper.curves import FIGURE_5, draw_tasks
from figures.style import KNOWN_STYLES, figure_style
from results.load import load_results
from results.publish import publish
from results.runs import load_runs
from tests.figures.synthetic import rising, write_references, write_run

TASK, ALGORITHM, SEEDS = "cityflow/hangzhou_16", "dgn", (0, 1, 2)
POLICIES = {"greedy": -412.375, "sampled": -467.125}
"""Where the curves of the cell end; every seed is moved by an amount of its own."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cell under test, and another one."""
    root = tmp_path_factory.mktemp("raw")
    write_references(root, TASK, random=[-900.0, -880.0], max_pressure=[-380.0, -385.0])
    for seed in SEEDS:
        curves = {name: rising(-905.5, end, 6000, 500, shift=17.3 * seed**2) for name, end in POLICIES.items()}
        write_run(root, curves, task=TASK, algorithm=ALGORITHM, seed=seed, total_steps=6000)
        other = {name: rising(-905.5, -700.0, 6000, 500, shift=1.0 * seed) for name in POLICIES}
        write_run(root, other, task=TASK, algorithm="iql", seed=seed, total_steps=6000)
    return root


def curve_by_hand(root: Path, policy: str, seed: int) -> dict[int, float]:
    """Step to mean return, from the lines of evaluation.jsonl and nothing else."""
    file = root / TASK / ALGORITHM / "default" / f"seed_{seed}" / "evaluation.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return {row["step"]: statistics.fmean(row["returns"]) for row in rows if row["policy"] == policy}


def final_by_hand(root: Path, policy: str) -> tuple[float, float]:
    """Mean and sample standard deviation over seeds of the mean of the last three evaluations."""
    finals = [statistics.fmean(list(curve_by_hand(root, policy, seed).values())[-3:]) for seed in SEEDS]
    return statistics.fmean(finals), statistics.stdev(finals)


@pytest.fixture(scope="module")
def drawn(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("drawn")
    publish(load_runs(runs), output / "published")
    assert main(["--results", str(output / "published"), "--output", str(output)]) == 0
    return output


@pytest.mark.parametrize("policy", POLICIES)
def test_published_set_and_tables_have_the_numbers_of_the_runs(runs: Path, drawn: Path, policy: str) -> None:
    mean, spread = final_by_hand(runs, policy)
    stored = pq.read_table(drawn / "published" / "evaluations.parquet").to_pandas()
    rows = stored[(stored["algorithm"] == ALGORITHM) & (stored["policy"] == policy)]
    for seed in SEEDS:
        by_step = rows[rows["seed"] == seed].set_index("step")["returns"].map(lambda returns: float(returns.mean()))
        assert by_step.to_dict() == pytest.approx(curve_by_hand(runs, policy, seed), rel=1e-6)
    scores = pd.read_csv(drawn / "scores.csv").set_index("algorithm").loc[ALGORITHM]
    assert scores[f"{policy}_return_mean"] == pytest.approx(mean, rel=1e-6)
    assert scores[f"{policy}_return_std"] == pytest.approx(spread, rel=1e-6)
    normalised = 100 * (mean + 890.0) / (-382.5 + 890.0)
    assert scores[f"{policy}_normalised_score_percent_mean"] == pytest.approx(normalised, rel=1e-6)
    text = f"{mean:.1f} ± {spread:.1f}".replace("-", "\u2212")
    (row,) = (line for line in (drawn / "scores.md").read_text().splitlines() if "| DGN |" in line)
    assert text in row.replace("**", "")
    report = re.sub(r"<br>|</?strong>", " ", (drawn / "report.html").read_text())
    assert text in re.sub(r" +", " ", report)


def test_figure_draws_the_numbers_of_the_runs(runs: Path, drawn: Path) -> None:
    results = load_results(drawn / "published")
    with figure_style():
        figure = draw_tasks(Analysis(results), FIGURE_5)
    assert figure is not None
    colour = KNOWN_STYLES[ALGORITHM].colour
    (line,) = (line for line in figure.axes[0].lines if to_hex(line.get_color()) == colour)
    curves = [curve_by_hand(runs, "greedy", seed) for seed in SEEDS]
    steps = sorted(curves[0])
    assert list(line.get_xdata()) == steps
    assert list(line.get_ydata()) == pytest.approx(
        [statistics.fmean(values[step] for values in curves) for step in steps]
    )
    bands = [area for area in figure.axes[0].collections if to_hex(area.get_facecolor()[0]) == colour]
    (band,) = bands
    top = max(float(y) for x, y in band.get_paths()[0].vertices if x == steps[-1])
    last = [values[steps[-1]] for values in curves]
    assert top == pytest.approx(statistics.fmean(last) + statistics.stdev(last), rel=1e-6)
