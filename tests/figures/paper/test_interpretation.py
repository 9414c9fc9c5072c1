"""Figure 7 draws the recorded statistics and states their extent, and its table has the same values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from figures.analysis import Analysis
from figures.analysis.interpretation import ARRIVED, AT_INTERSECTIONS, match, pooled, shares
from figures.drawing import svg_text
from figures.paper import interpretation
from figures.style import KNOWN_STYLES, MUTED, figure_style
from results.records import MetricRow, Results, Run
from tests.figures.analysis.test_interpretation import AB, even_rows, made_run

SMALL = "cityflow/synthetic_9"


def study() -> Results:
    """IP with two seeds on a short task, PIC with one; IP gives 1 and 2 greens where PIC gives 1 and 1."""
    runs = [made_run(even_rows(20, 1_000, {"a": (3, 1 + seed), "b": (1, 1)}), 20_000, seed=seed) for seed in (0, 1)]
    return Results((*runs, made_run(even_rows(20, 1_000, AB), 20_000, algorithm="pic")))


def drawn(results: Results) -> Figure:
    with figure_style():
        figure = interpretation.draw(Analysis(results))
    assert figure is not None
    return figure


def notes(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_curves_are_means_over_seeds_and_the_broken_line_is_even_green() -> None:
    figure = drawn(study())
    (axes,) = figure.axes
    lines = {to_hex(line.get_color()): line for line in axes.lines}
    assert set(lines) == {KNOWN_STYLES["ip"].colour, KNOWN_STYLES["pic"].colour, MUTED}
    p, even = shares([3, 1], 0.5), shares([1, 1])
    off = float((p * np.log(p / even)).sum())
    nearer = float((p * np.log(p / shares([2, 1], 0.5))).sum())
    assert list(lines[KNOWN_STYLES["pic"].colour].get_ydata()) == pytest.approx([off] * 17)
    assert list(lines[KNOWN_STYLES["ip"].colour].get_ydata()) == pytest.approx([(off + nearer) / 2] * 17)
    assert list(lines[MUTED].get_ydata()) == pytest.approx([off] * 17)
    assert list(lines[MUTED].get_xdata()) == list(range(4_000, 20_001, 1_000))
    assert lines[MUTED].get_linestyle() == "--"
    assert len(axes.collections) == 1, "a band for IP alone"
    assert axes.get_yscale() == "log"


def test_the_panel_says_what_it_holds() -> None:
    assert notes(drawn(study())) == ["vehicles present; 2 seeds; PIC 1; 17 intervals of 1,000 steps"]
    uneven = made_run(even_rows(20, 1_000, AB)[::2], 20_000)
    assert notes(drawn(Results((uneven,)))) == ["vehicles present; 1 seed; 8 intervals of 2,000 steps"]
    short = made_run(even_rows(80, 200, AB), 16_000, copies=40)
    assert notes(drawn(Results((short,)))) == ["vehicles present; 1 seed; 34 intervals of 400 steps"], "whole episodes"


def test_one_panel_for_the_papers_task_else_for_each() -> None:
    paper = made_run(even_rows(80, 20_000, AB), 1_600_000, task="cityflow/synthetic_49", variant="default")
    other = made_run(even_rows(20, 1_000, AB), 20_000, task="cityflow/hangzhou_16", variant="signals")
    titles = [axes.get_title(loc="left") for axes in drawn(Results((*study().runs, other))).axes]
    assert titles == ["CityFlow: Hangzhou, N = 16 (signals)", "CityFlow: Synthetic, N = 9 (small)"]
    figure = drawn(Results((*study().runs, other, paper)))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["CityFlow: Synthetic, N = 49"]
    assert notes(figure) == ["vehicles present; 1 seed; 69 intervals of 20,000 steps"]
    assert "smaller runs" not in interpretation.caption(Analysis(Results((paper,))))
    assert "was not run" not in interpretation.caption(Analysis(Results((paper,))))
    words = interpretation.caption(Analysis(study()))
    assert "CityFlow: Synthetic, N = 9: variant small." in words
    assert words.endswith("The paper's task, CityFlow: Synthetic, N = 49, was not run.")


def test_unfinished_runs_leave_a_hairline_and_do_not_count_in_the_table() -> None:
    half = made_run(even_rows(10, 1_000, AB), 20_000, seed=2, state="running")
    results = Results((*study().runs, half))
    ip = [line for line in drawn(results).axes[0].lines if to_hex(line.get_color()) == KNOWN_STYLES["ip"].colour]
    thin, full = sorted(ip, key=lambda line: line.get_linewidth())
    assert len(thin.get_ydata()) == 17
    assert [math.isnan(value) for value in full.get_ydata()] == [False] * 7 + [True] * 10
    rows = {row[2][0]: row for row in interpretation.table(Analysis(results)).rows}
    assert rows["IP"][-1][0] == "2 (1 unfinished)"
    finished = next(row for row in interpretation.table(Analysis(study())).rows if row[2][0] == "IP")
    assert rows["IP"][4:10] == finished[4:10]
    assert interpretation.table(Analysis(Results((half,)))).rows[0][-1][0] == "1 unfinished"


def test_table_by_hand() -> None:
    """Vehicles 3 and 1: PIC's greens, 1 and 1, are 0.3536 away, those of IP 0.3536 and 0.1179."""
    table = interpretation.table(Analysis(study()))
    assert [row[2][0] for row in table.rows] == ["IP", "PIC"]
    ip, pic = (dict(zip(table.header, (text for text, _ in row), strict=True)) for row in table.rows)
    assert pic["Distance"] == pic["Distance, pooled"] == pic["Distance, equal green"] == "0.3536"
    assert ip["Distance"] == "0.2357 ± 0.1667" == ip["Distance, pooled"]
    assert ip["Distance, equal green"] == "0.3536 ± 0.0000"
    assert (pic["KL(vehicles, green)"], pic["KL(green, vehicles)"]) == ("0.0823", "0.0872")
    assert (ip["Without green"], ip["Intervals"], ip["Seeds"]) == ("0 of 34", "17", "2")
    assert pic["Distance, last quarter"] == "0.3536"
    assert ip["KL, equal green, last quarter"].startswith(ip["KL, equal green"].split(" ")[0])
    assert (pic["Without green"], pic["Intervals"], pic["Seeds"]) == ("0 of 17", "17", "1")
    assert "0.0271 for IP, 0.0938 for DGN, 0.0933 for PIC" in table.caption
    assert table.markdown().startswith("| Task | Variant | Algorithm | Vehicles | Distance |")


def counted_rows(number: int) -> list[MetricRow]:
    """Vehicles 3 and 1, arrivals 2 and 1, greens 1 and 1; at intersections 4 episodes in 1,000 steps, nats 2 to 0.4."""
    sums = {"present": 2.0, "arrived": 1.2, "present_even": 0.8, "arrived_even": 0.4, "episodes": 4.0}
    counted = {f"{ARRIVED}a": 2.0, f"{ARRIVED}b": 1.0} | {
        AT_INTERSECTIONS + name: value for name, value in sums.items()
    }
    return [MetricRow(one.step, one.values | counted) for one in even_rows(number, 1_000, AB)]


def test_arrivals_have_a_panel_and_rows_of_their_own() -> None:
    results = Results((made_run(counted_rows(20), 20_000), made_run(even_rows(20, 1_000, AB), 20_000, algorithm="pic")))
    figure = drawn(results)
    assert [note.split(";")[0] for note in notes(figure)] == ["vehicles present", "arrivals"]
    ip = KNOWN_STYLES["ip"].colour
    (curve,) = [line for line in figure.axes[1].lines if to_hex(line.get_color()) == ip]
    p = shares([2, 1], 0.5)
    off = float((p * np.log(p / 0.5)).sum())
    assert list(curve.get_ydata()) == pytest.approx([off] * 17)
    assert KNOWN_STYLES["pic"].colour not in {to_hex(line.get_color()) for line in figure.axes[1].lines}
    table = interpretation.table(Analysis(results))
    rows = [dict(zip(table.header, (text for text, _ in row), strict=True)) for row in table.rows]
    places = ("", ", at each intersection")
    kinds = [f"{kind}{place}" for place in places for kind in ("vehicles present", "arrivals")]
    assert [(row["Algorithm"], row["Vehicles"]) for row in rows] == [
        *(("IP", kind) for kind in kinds),
        ("PIC", "vehicles present"),
    ]
    assert [row["KL(vehicles, green)"] for row in rows] == ["0.0823", f"{off:.4f}", "0.5000", "0.3000", "0.0823"]
    assert [row["KL, equal green, last quarter"] for row in rows[1:4]] == [f"{off:.4f}", "0.2000", "0.1000"]
    assert (rows[2]["Distance"], rows[2]["Intervals"]) == ("\u2013", "17")


def test_greens_that_are_missing_are_reported() -> None:
    blind = made_run(even_rows(20, 1_000, {"a": (3, 2), "b": (1, 0)}), 20_000, algorithm="pic")
    results = Results((*study().runs[:2], blind))
    row = interpretation.table(Analysis(results)).rows[1]
    assert row[interpretation.HEADER.index("Without green")] == ("17 of 17", 1.0)
    interval = pooled([next(iter(Analysis(results).accounts[0].intervals[blind.key]))])
    assert interval is not None
    found = match(interval, ("a", "b"))
    assert found is not None
    assert found.infinite
    assert np.isfinite([value for _, value in row[4:10]]).all()


def test_nothing_to_draw_without_accounts() -> None:
    silent: Run = made_run([], 20_000)
    for results in (Results(()), Results((silent,))):
        assert interpretation.draw(Analysis(results)) is None
        assert interpretation.table(Analysis(results)).rows == []


def test_the_same_results_give_the_same_drawing() -> None:
    with figure_style():
        first, second = (svg_text(drawn(study())) for _ in range(2))
    assert first == second
