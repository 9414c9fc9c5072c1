"""The published results: documents agree with them, and learners do what was promised."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from figures.analysis import Analysis
from figures.documents import PICTURE, documents, is_current, parts, picture
from figures.pages import cells
from figures.pages.jungle import TASK, attacks
from figures.pages.learning import PIC_PROGRAM, normalised_evaluations
from figures.pages.traffic import SMALL_CITIES, travel_time
from results.load import load_results
from results.paper import COMPARED_ALGORITHMS
from results.records import POLICIES, Run

ROOT = Path(__file__).resolve().parents[2]


@cache
def analysed() -> Analysis:
    return Analysis(load_results(ROOT / "results" / "published"))


def three_runs(task: str, algorithm: str, variant: str) -> Sequence[Run]:
    runs = cells.runs_of(analysed(), (task, variant, algorithm))
    assert [run.key.seed for run in runs] == [0, 1, 2]
    return runs


def test_generated_parts_of_the_documents_are_those_of_the_published_runs() -> None:
    """`python -m figures.documents` regenerates them."""
    made = documents(analysed())
    assert [path.name for path, text in made.items() if path.read_text() != text] == []
    assert {path.relative_to(ROOT).as_posix() for path in made} == {part.file for part in parts()}


def test_figure_of_the_readme_is_that_of_the_published_runs() -> None:
    """Its numbers, which it holds as text, and its looks."""
    assert is_current(ROOT / PICTURE, picture(analysed()))
    assert sum(file.stat().st_size for file in (ROOT / PICTURE).parent.iterdir()) < 200_000


@pytest.mark.parametrize("agents", [3, 6])
@pytest.mark.parametrize("algorithm", COMPARED_ALGORITHMS)
def test_every_algorithm_learns_small_navigation(agents: int, algorithm: str) -> None:
    """Three seeds of the quick suite, each clearly above random play at the end, in the better of its two policies."""
    for run in three_runs(f"mpe/cooperative_navigation_{agents}", algorithm, "quick"):
        finals = [list(normalised_evaluations(analysed(), run, policy).values())[-3:] for policy in POLICIES]
        assert max(map(np.mean, finals)) > {3: 25, 6: 5}[agents]


@pytest.mark.parametrize("agents", [3, 6])
def test_pic_learns_as_fast_as_the_published_implementation(agents: int) -> None:
    """Normalised scores at equal environment steps, each on the scale of its implementation: ours, mean of three seeds,
    is at least as good overall and at the end; a single point may be worse by the noise of the program's 20
    episodes."""
    program = PIC_PROGRAM[agents]
    runs = three_runs(f"mpe/cooperative_navigation_{agents}", "pic", "program")
    ours = [normalised_evaluations(analysed(), run, "sampled") for run in runs]
    lead = [np.mean([run[step] for run in ours]) - program.normalised(value) for step, value in program.returns.items()]
    assert np.mean(lead) > -2
    assert np.mean(lead[-3:]) > 0
    assert min(lead) > -12


@pytest.mark.parametrize("task", SMALL_CITIES)
@pytest.mark.parametrize("algorithm", ["ip", "iql", "dgn"])
def test_signals_are_learned(task: str, algorithm: str) -> None:
    """Every seed ends far above a fixed cycle, and the mean is about as good as max pressure or better."""
    references = {name: -mean for name, mean in analysed().reference_means(task).items()}
    for policy in POLICIES:
        times = [travel_time(run, policy, hour=False) for run in three_runs(task, algorithm, "signals")]
        assert max(times) < (references["fixed_time"] + references["max_pressure"]) / 2
        assert np.mean(times) < 1.03 * references["max_pressure"]


@pytest.mark.parametrize("task", SMALL_CITIES)
@pytest.mark.parametrize("algorithm", COMPARED_ALGORITHMS)
def test_runs_of_signals_keep_account_of_movements(task: str, algorithm: str) -> None:
    """Every decision of training is there: agents times environment steps."""
    agents = int(task.rpartition("_")[2])
    for run in three_runs(task, algorithm, "signals"):
        rows = [row.values for row in run.metrics if "interpretation/actions/all" in row.values]
        assert sum(row["interpretation/actions/all"] for row in rows) == agents * run.total_steps


@pytest.mark.parametrize("algorithm", ["ip", "dgn", "iql", "qmix"])
def test_jungle_is_learned(algorithm: str) -> None:
    """Every seed ends above 250: agents that have learned to eat, and not to hit each other."""
    for run in three_runs(TASK, algorithm, "individual"):
        returns = [float(np.mean(one.returns)) for one in run.evaluations if one.policy == "greedy"]
        assert min(returns[-3:]) > 250
        assert max(attacks(run, "greedy")[-3:]) < 20


@pytest.mark.parametrize("algorithm", ["iql", "dgn"])
def test_dilemma_shows(algorithm: str) -> None:
    """Independent learners that are paid for themselves first learn to hit one another, and then not to."""
    for run in three_runs(TASK, algorithm, "individual"):
        hits = attacks(run, "greedy")
        assert hits[0] < 30
        assert max(hits) > 150
        assert hits[-1] < 20
