"""The comparison over tasks: what is compared, by hand, what is drawn, and what the caption owns up to."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from figures.analysis import Analysis
from figures.analysis.comparison import PROFILE_LIMITS, Comparison, profile_thresholds
from figures.drawing import svg_text
from figures.report.comparison import caption, draw
from figures.style import KNOWN_STYLES, MUTED, figure_style
from results.records import POLICIES, Results
from results.runs import load_runs
from tests.figures.synthetic import write_references, write_run

FIRST, SECOND, THIRD = "mpe/cooperative_navigation_15", "magent/jungle_20", "cityflow/synthetic_9"


def write_normalised(
    root: Path,
    task: str,
    normalised_scores: Mapping[str, Sequence[float]],
    *,
    variant: str = "default",
    state: str = "finished",
    policies: Sequence[str] = POLICIES,
    **settings: object,
) -> None:
    """Runs with the given normalised scores in %, one a seed: random play earns 0 and the top 100."""
    if not (root / task / "references.json").exists():
        write_references(root, task, random=[-1.0, 1.0], greedy=[99.0, 101.0])
    for algorithm, values in normalised_scores.items():
        for seed, value in enumerate(values):
            curve = {policy: [(4000, [value - 1, value + 1])] for policy in policies}
            write_run(root, curve, task=task, algorithm=algorithm, variant=variant, seed=seed, state=state, **settings)  # type: ignore[arg-type]


@pytest.fixture
def study(tmp_path: Path) -> Results:
    """Two tasks that three algorithms finished, in unequal numbers of seeds, and others that must be left out."""
    root = tmp_path / "raw"
    write_normalised(root, FIRST, {"ip": [80.0, 90.0], "qmix": [50.0, 95.0], "iql": [80.0, 70.0]})
    write_normalised(
        root, SECOND, {"ip": [60.0, 40.0, 50.0], "qmix": [-500.0, 10.0], "iql": [0.0, 60.0]}, variant="small"
    )
    write_normalised(root, SECOND, {"ip": [1.0]}, variant="deaf")  # an ablation, which is not shown
    write_normalised(root, FIRST, {name: [7.0] for name in ("ip", "qmix", "iql")}, variant="short")  # nor is this
    write_normalised(root, THIRD, {"ip": [50.0], "qmix": [50.0]})
    write_normalised(root, THIRD, {"iql": [50.0]}, state="running")
    write_normalised(root, "mpe/no_gap_3", {name: [1.0, math.nan] for name in ("ip", "qmix", "iql")})
    write_normalised(root, "game/ring_8", {name: [1.0] for name in ("ip", "qmix", "iql", "pic")})
    write_normalised(root, FIRST, {"vdn": [99.0]})  # not the paper's
    return load_runs(root)


def compared(results: Results) -> Comparison:
    comparison = Analysis(results).comparison
    assert comparison is not None
    return comparison


def drawn(results: Results) -> Figure:
    with figure_style():
        figure = draw(Analysis(results))
    assert figure is not None
    return figure


def test_only_tasks_that_all_finished_are_compared(study: Results) -> None:
    comparison = compared(study)
    assert comparison.tasks == ((SECOND, "small"), (FIRST, "default"))
    assert {
        name: [list(values) for values in normalised_scores]
        for name, normalised_scores in comparison.normalised_scores.items()
    } == {
        "ip": [[60.0, 40.0, 50.0], [80.0, 90.0]],
        "qmix": [[-500.0, 10.0], [50.0, 95.0]],
        "iql": [[0.0, 60.0], [80.0, 70.0]],
    }
    assert [comparison.runs(name) for name in comparison.normalised_scores] == [5, 4, 4]


def test_estimates_by_hand(study: Results) -> None:
    normalised_scores = Analysis(study).normalised_estimates
    assert normalised_scores["ip"].value == pytest.approx((50 + 60 + 80) / 3)
    assert normalised_scores["qmix"].value == pytest.approx((10 + 50) / 2)
    chances = Analysis(study).improvements
    assert list(chances) == ["qmix", "iql"]
    assert chances["qmix"].value == pytest.approx((1 + 2 / 4) / 2)
    # against 0 and 60: ahead three times, one tie, behind twice; against 80 and 70: a tie, else ahead
    assert chances["iql"].value == pytest.approx((3.5 / 6 + 3.5 / 4) / 2)
    for estimate in (*normalised_scores.values(), *chances.values()):
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.low < estimate.high


def test_panels_show_the_estimates(study: Results) -> None:
    figure = drawn(study)
    intervals, profiles, chances = figure.axes
    comparison = compared(study)
    for axes, estimates in ((intervals, Analysis(study).normalised_estimates), (chances, Analysis(study).improvements)):
        labels = [label.get_text() for label in axes.get_yticklabels()]
        assert axes.yaxis_inverted()  # the first at the top
        assert labels == [KNOWN_STYLES[name].label for name in estimates]
        lines = [line for line in axes.lines if line.get_color() != MUTED]
        for row, (name, estimate) in enumerate(estimates.items()):
            whisker, dot = lines[2 * row : 2 * row + 2]
            assert list(whisker.get_xdata()) == [estimate.low, estimate.high]
            assert (list(dot.get_xdata()), list(dot.get_ydata())) == ([estimate.value], [row])
            assert to_hex(dot.get_color()) == KNOWN_STYLES[name].colour
    assert any(list(line.get_xdata()) == [0.5, 0.5] for line in chances.lines)
    for line in profiles.lines:
        heights = np.asarray(line.get_ydata())
        assert (np.diff(heights) <= 1e-9).all()
        assert heights[-1] == pytest.approx(0.0)
    assert {to_hex(line.get_color()) for line in profiles.lines} == {
        KNOWN_STYLES[name].colour for name in comparison.normalised_scores
    }
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert words == ["2 tasks, 4 to 5 runs of each algorithm"] * 3


def test_profile_axis_holds_all_runs_but_the_far_away(study: Results) -> None:
    levels = profile_thresholds(compared(study))
    assert levels[0] == PROFILE_LIMITS[0]
    assert levels[-1] == pytest.approx(97.0)
    qmix = next(line for line in drawn(study).axes[1].lines if to_hex(line.get_color()) == KNOWN_STYLES["qmix"].colour)
    assert np.asarray(qmix.get_ydata())[0] == pytest.approx(75.0)  # the run at -500 % counts, though outside
    assert "1 run lies outside its horizontal axis, and is counted all the same." in caption(Analysis(study))


def test_caption_names_tasks_settings_and_limits(study: Results) -> None:
    text = caption(Analysis(study))
    assert "on which every one of IP, QMIX and IQL has finished runs" in text
    assert "Jungle, N = 20 (small); Cooperative navigation, N = 15." in text
    assert "MADDPG, MADDPGS, PIC and DGN were not run on such tasks." in text
    assert "Numbers of seeds differ" in text
    assert "single seed" not in text
    assert "Ring" not in text


def test_nothing_to_compare(tmp_path: Path) -> None:
    assert Analysis(Results(())).comparison is None
    write_normalised(tmp_path, FIRST, {"ip": [80.0, 90.0], "iql": [80.0, 70.0]})
    for name in ("ring_8", "chain_8"):
        write_normalised(tmp_path, f"game/{name}", {"ip": [80.0, 90.0], "iql": [80.0, 70.0]})
    one_task = load_runs(tmp_path)
    assert draw(Analysis(one_task)) is None
    assert caption(Analysis(one_task)).startswith("Nothing is compared")
    write_normalised(tmp_path, SECOND, {"ip": [80.0, 90.0]})
    assert draw(Analysis(load_runs(tmp_path))) is None  # the second task lacks an algorithm


def test_one_algorithm_is_no_comparison(tmp_path: Path) -> None:
    for task in (FIRST, SECOND):
        write_normalised(tmp_path, task, {"ip": [80.0, 90.0]})
    assert draw(Analysis(load_runs(tmp_path))) is None


def test_tasks_without_references_or_greedy_evaluations_are_left_out(tmp_path: Path) -> None:
    for task in (FIRST, SECOND):
        write_normalised(tmp_path, task, {"ip": [80.0, 90.0], "iql": [80.0, 70.0]})
    write_normalised(tmp_path, THIRD, {"ip": [80.0, 90.0], "iql": [80.0, 70.0]})
    (tmp_path / THIRD / "references.json").unlink()
    write_normalised(tmp_path, "mpe/other_3", {"ip": [80.0, 90.0], "iql": [80.0, 70.0]}, policies=("sampled",))
    assert [task for task, _ in compared(load_runs(tmp_path)).tasks] == [SECOND, FIRST]


def test_without_ip_there_are_two_panels(tmp_path: Path) -> None:
    for task in (FIRST, SECOND):
        write_normalised(tmp_path, task, {"qmix": [80.0], "iql": [70.0]})
    results = load_runs(tmp_path)
    assert len(drawn(results).axes) == 2
    text = caption(Analysis(results))
    assert "Right: share of runs" in text
    assert "probability" not in text
    assert "A single seed has no spread" in text


def test_same_results_same_drawing_and_no_text_overlaps(study: Results) -> None:
    with figure_style():
        assert svg_text(drawn(study)) == svg_text(drawn(study))
        figure = drawn(study)
        FigureCanvasAgg(figure).draw()
        texts = [
            artist for axes in figure.axes for artist in (axes.xaxis.label, axes.yaxis.label, axes.title, *axes.texts)
        ]
        texts += [artist for axes in figure.axes for artist in (*axes.get_xticklabels(), *axes.get_yticklabels())]
        texts += figure.legends[0].get_texts()
        boxes = [artist.get_window_extent() for artist in texts if artist.get_text()]
    assert len(boxes) > 30
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])
        assert min(box.x0, box.y0) >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1


def test_those_that_learned_from_less_are_marked(tmp_path: Path) -> None:
    """QMIX learns from the team's mean on two tasks that pay IP and IQL each agent's reward; PIC's policy collapsed on
    one."""
    for task in (FIRST, SECOND):
        write_normalised(tmp_path, task, {"ip": [80.0, 90.0], "qmix": [50.0, 95.0]})
        for path in (tmp_path / task).rglob("config.json"):
            config = json.loads(path.read_text())
            path.write_text(json.dumps(config | {"environment": {"reward": "local"}}))
    analysis = Analysis(load_runs(tmp_path))
    with figure_style():
        figure = draw(analysis)
    assert figure is not None
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["IP", "QMIX*"]
    assert "so that they are not comparable there: QMIX on 2 of 2 tasks." in caption(analysis)
