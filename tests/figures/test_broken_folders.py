"""A results folder after a month of crashes: everything broken is named, and nothing broken is averaged."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterable
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from figures.__main__ import main
from figures.analysis import Analysis
from figures.report.learning_curves import draw_platform
from figures.style import PAPER, algorithm_styles, figure_style
from results.publish import main as publish
from results.runs import load_runs
from tests.figures.synthetic import TASK, write_references, write_run

STEPS = range(0, 4001, 500)
Curve = list[tuple[int, list[float]]]
COMPLETE = ("ip", "iql", "qmix", "pic", "maddpg", "maddpgs")
"""Algorithms that have two good seeds, 0 and 1, at least."""


def returns(algorithm: str, seed: int, step: int) -> list[float]:
    """Two episodes whose mean, -300 + 10 * (place of the algorithm) + seed + step / 100, is known for every cell."""
    place = ("ip", "qmix", "maddpg", "maddpgs", "pic", "dgn", "iql").index(algorithm)
    mean = -300.0 + 10 * place + seed + step / 100
    return [mean - 2, mean + 2]


def curve(algorithm: str, seed: int, last: int = 4000) -> Curve:
    return [(step, returns(algorithm, seed, step)) for step in STEPS if step <= last]


def by_hand(algorithm: str, seeds: Iterable[int], step: int) -> float:
    return float(np.mean([np.mean(returns(algorithm, seed, step)) for seed in seeds]))


def write_seed(root: Path, algorithm: str, seed: int, given: Curve | None = None, **options: str) -> Path:
    values = curve(algorithm, seed) if given is None else given
    return write_run(root, {"greedy": values, "sampled": values}, algorithm=algorithm, seed=seed, **options)


def write_broken(root: Path) -> None:
    """Three seeds of ip are whole. Of every other algorithm something is wrong."""
    write_references(root, random=[-310.0, -290.0], assignment=[-110.0, -90.0])
    for algorithm in COMPLETE:
        for seed in (0, 1):
            write_seed(root, algorithm, seed)
    write_seed(root, "ip", 2)
    # iql: seed 2 is missing altogether
    write_seed(root, "qmix", 2, curve("qmix", 2, last=2000), state="failed", message="loss is not finite")
    half = write_seed(root, "pic", 2, curve("pic", 2, last=1000))  # killed before its first report, and while writing
    (half / "status.json").unlink()
    with (half / "evaluation.jsonl").open("a") as stream:
        stream.write('{"step": 1500, "policy": "greedy", "retur')
    (root / TASK / "maddpg" / "default" / "seed_2").mkdir()
    write_seed(root, "maddpgs", 2, curve("maddpgs", 2, last=2000))  # says it finished at 4000
    whole = curve("dgn", 0)
    write_seed(root, "dgn", 0, whole)
    write_seed(root, "dgn", 1, [(step, [math.nan, returns[1]]) for step, returns in whole])
    write_seed(root, "dgn", 2, [*curve("dgn", 2)[:-1], (4000, [math.nan, 1.0])])
    copy = root / "copied" / TASK / "ip" / "default" / "seed_0"
    shutil.copytree(root / TASK / "ip" / "default" / "seed_0", copy)
    status = json.loads((copy / "status.json").read_text())
    (copy / "status.json").write_text(json.dumps({**status, "state": "running", "step": 500}))
    (copy / "evaluation.jsonl").write_text('{"step": 500, "policy": "greedy", "returns": [999.0, 999.0]}\n')


AVERAGED = {
    "ip": lambda step: (0, 1, 2),
    "iql": lambda step: (0, 1),
    "qmix": lambda step: (0, 1, 2) if step <= 2000 else (0, 1),
    "pic": lambda step: (0, 1, 2) if step <= 1000 else (0, 1),
    "maddpg": lambda step: (0, 1),
    "maddpgs": lambda step: (0, 1, 2) if step <= 2000 else (0, 1),
    "dgn": lambda step: (0, 2) if step < 4000 else (0,),
}
"""Which seeds have a finite evaluation at a step."""


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("raw")
    write_broken(root)
    return root


@pytest.fixture(scope="module")
def drawn(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("drawn")
    assert main(["--results", str(raw), "--output", str(output)]) == 0
    return output


def words_of(path: Path) -> str:
    """A page without its tags and pictures, its white space single."""
    text = re.sub(r"(?s)<(script|style|svg)\b.*?</\1>", " ", path.read_text())
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", text)))


@pytest.mark.parametrize(
    "words",
    [
        f"{TASK} (default) 2 no run of iql",
        f"{TASK} (default) 2 no run of maddpg",
        f"{TASK}/qmix/default 2 at step 2,000 of 4,000: loss is not finite",
        f"{TASK}/pic/default 2 at step 0 of 4,000 (status.json is missing: the run was killed before its first report)",
        f"{TASK}/pic/default 2 evaluation.jsonl ends in a truncated line (7), which was left out",
        f"{TASK}/maddpg/default/seed_2 has no config.json: the run never started, it is not counted",
        f"{TASK}/maddpgs/default 2 finished, but was last evaluated at step 2,000 of 4,000",
        f"{TASK}/dgn/default 2 finished, but greedy returns are not finite at step 4,000: no score counts it",
        f"{TASK}/dgn/default 1 greedy returns are not finite from step 0 on (9 evaluations)",
        f"{TASK}/dgn/default 2 sampled returns are not finite from step 4000 on (1 evaluation)",
        f"{TASK}/ip/default/seed_0 was found twice with the same config: the most advanced copy is used",
    ],
)
def test_report_names_everything_that_is_wrong(drawn: Path, words: str) -> None:
    assert words in words_of(drawn / "report.html")


def test_curves_average_every_finite_evaluation_and_no_other(raw: Path) -> None:
    with figure_style():
        figure = draw_platform(Analysis(load_runs(raw)), "mpe")
    (axes,) = figure.axes
    styles = algorithm_styles(AVERAGED)
    for algorithm, seeds_at in AVERAGED.items():
        lines = [line for line in axes.lines if to_hex(line.get_color()) == to_hex(styles[algorithm].colour)]
        full = max((line for line in lines if len(line.get_xdata()) > 2), key=lambda line: line.get_linewidth())
        thin = min((line for line in lines if len(line.get_xdata()) > 2), key=lambda line: line.get_linewidth())
        assert list(thin.get_xdata()) == list(STEPS)
        means = [by_hand(algorithm, seeds_at(step), step) for step in STEPS]
        assert list(thin.get_ydata()) == pytest.approx(means)
        most = max(len(seeds_at(step)) for step in STEPS)
        expected = [mean if len(seeds_at(step)) == most else math.nan for step, mean in zip(STEPS, means, strict=True)]
        assert list(full.get_ydata()) == pytest.approx(expected, nan_ok=True)


def test_panel_counts_the_seeds_it_averages(raw: Path) -> None:
    """dgn: one of its three seeds has no finite evaluation."""
    with figure_style():
        figure = draw_platform(Analysis(load_runs(raw)), "mpe")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts[0] == "3 seeds; MADDPG 2, DGN 2, IQL 2"


def test_every_run_that_no_score_counts_has_a_circle(raw: Path) -> None:
    """Those that failed or were cut off, and the one that says it finished and was last evaluated half way."""
    with figure_style():
        figure = draw_platform(Analysis(load_runs(raw)), "mpe")
    styles = algorithm_styles(AVERAGED)
    circles = [line for line in figure.axes[0].lines if to_hex(line.get_color()) == PAPER]
    marked = sorted(to_hex(line.get_markeredgecolor()) for line in circles)
    assert marked == sorted(to_hex(styles[name].colour) for name in ("qmix", "pic", "maddpgs"))


def test_scores_are_those_of_finished_runs(drawn: Path) -> None:
    """Mean of the last three evaluations of the seeds that count; seeds that diverged do not, and are named."""
    frame = pd.read_csv(drawn / "scores.csv").set_index("algorithm")
    counted = {"ip": (0, 1, 2), "iql": (0, 1), "qmix": (0, 1), "pic": (0, 1), "maddpg": (0, 1), "maddpgs": (0, 1)}
    for algorithm, seeds in counted.items():
        finals = [by_hand(algorithm, [seed], 3500) for seed in seeds]
        for policy in ("greedy", "sampled"):
            assert frame.loc[algorithm, f"{policy}_return_mean"] == pytest.approx(np.mean(finals))
            assert frame.loc[algorithm, f"{policy}_return_std"] == pytest.approx(np.std(finals, ddof=1))
        assert frame.loc[algorithm, "seeds"] == len(seeds)
    assert frame.loc["dgn", "greedy_return_mean"] == pytest.approx(by_hand("dgn", [0], 3500))
    unfinished = {"qmix": 1, "pic": 1, "maddpgs": 1, "dgn": 2}
    assert frame["unfinished_runs"].to_dict() == {**dict.fromkeys(frame.index, 0), **unfinished}
    lines = {line.split(" | ")[2]: line for line in (drawn / "scores.md").read_text().splitlines() if TASK in line}
    assert "1 (2 unfinished)" in lines["DGN"]
    assert "2 (1 unfinished)" in lines["QMIX"]
    assert frame.loc["maddpgs", "steps"] == 4000  # the seed that was last evaluated at 2000 does not count


def test_published_form_draws_the_same_report(raw: Path, drawn: Path, tmp_path: Path) -> None:
    assert publish(["--results", str(raw), "--output", str(tmp_path / "set")]) == 0
    assert main(["--results", str(tmp_path / "set"), "--output", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "report.html").read_bytes() == (drawn / "report.html").read_bytes()


def test_two_configs_of_one_cell_are_one_clear_error(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(raw, tmp_path / "raw")
    write_run(tmp_path / "raw" / "again", {"greedy": curve("ip", 0)}, algorithm="ip", seed=0, hops=3)
    assert main(["--results", str(tmp_path / "raw"), "--output", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    place, folder = f"{TASK}/ip/default/seed_0", tmp_path / "raw"
    assert said.err.startswith(f"error: {place} was run twice with different configs ({folder / 'again' / place}: ")
    assert f", {folder / 'copied' / place}: " in said.err
    assert not (tmp_path / "out").exists()


def test_torn_line_of_a_finished_run_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_seed(tmp_path / "raw", "ip", 0)
    with (folder / "evaluation.jsonl").open("a") as stream:
        stream.write('{"step": 45')
    assert main(["--results", str(tmp_path / "raw"), "--output", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error == (
        f"error: corrupt file {folder}/evaluation.jsonl, line 19: is truncated, although the run finished; rerun this "
        "seed\n"
    )
