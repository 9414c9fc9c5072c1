"""How well greens follow traffic: by hand, by what must not change it, and against the published runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from figures.analysis import Analysis
from figures.analysis.interpretation import (
    BINS,
    GREENS,
    KEPT_BINS,
    PRESENT,
    Interval,
    distance,
    divergence,
    episode_steps,
    intervals_of,
    joined,
    match,
    matches,
    opened_movements,
    pooled,
    shares,
    summaries_of,
    widths,
)
from results.errors import ResultsError
from results.keys import RunKey
from results.load import load_results
from results.records import MetricRow, Results, Run, Status

ROOT = Path(__file__).resolve().parents[3]
TASK = "cityflow/synthetic_9"
Counts = Mapping[str, tuple[float, float]]
"""Movement to vehicles and greens."""
counts = st.lists(st.integers(0, 10_000), min_size=2, max_size=12)


def row(step: int, values: Counts) -> MetricRow:
    present = {PRESENT + name: float(volume) for name, (volume, _) in values.items()}
    return MetricRow(step, present | {GREENS + name: float(green) for name, (_, green) in values.items()})


def made_run(
    rows: Sequence[MetricRow],
    total_steps: int,
    *,
    task: str = TASK,
    algorithm: str = "ip",
    variant: str = "small",
    seed: int = 0,
    state: str = "finished",
    copies: int = 1,
) -> Run:
    """A run with an episode of ten decisions of each copy."""
    config = {
        "total_steps": total_steps,
        "environment": {"episode_seconds": 100, "decision_seconds": 10},
        "training": {"num_envs": copies},
        "config_hash": "0",
    }
    status = Status(state, rows[-1].step if rows else 0, "", "", 1.0)
    return Run(RunKey(task, algorithm, variant, seed), config, {}, status, (), tuple(rows), ())


def even_rows(number: int, width: int, values: Counts) -> list[MetricRow]:
    return [row(width * place, values) for place in range(1, number + 1)]


AB: Counts = {"a": (3, 1), "b": (1, 1)}


def test_two_movements_by_hand() -> None:
    """Vehicles 3 and 1, greens 1 and 1; with half a count more, 0.7 and 0.3 against 0.5 and 0.5."""
    matched = match(Interval(0, 10, {"a": 3.0, "b": 1.0}, {"a": 1.0, "b": 1.0}), ("a", "b"))
    assert matched is not None
    assert matched.distance == pytest.approx(math.sqrt(0.25**2 + 0.25**2))
    assert (
        matched.divergence == pytest.approx(0.7 * math.log(1.4) + 0.3 * math.log(0.6)) == pytest.approx(0.0822829, 1e-5)
    )
    assert (
        matched.reverse
        == pytest.approx(0.5 * math.log(5 / 7) + 0.5 * math.log(5 / 3))
        == pytest.approx(0.0871767, 1e-5)
    )
    assert (matched.even_distance, matched.even_divergence) == pytest.approx((matched.distance, matched.divergence)), (
        "greens are even"
    )
    assert not matched.infinite


def test_a_movement_without_green_counts_as_half_a_green() -> None:
    """Vehicles 2, 1, 1 and greens 4, 0, 4: without the halves the divergence is infinite."""
    matched = match(Interval(0, 10, {"a": 2, "b": 1, "c": 1}, {"a": 4, "b": 0, "c": 4}), ("a", "b", "c"))
    assert matched is not None
    assert matched.infinite
    p, q = (2.5 / 5.5, 1.5 / 5.5, 1.5 / 5.5), (4.5 / 9.5, 0.5 / 9.5, 4.5 / 9.5)
    assert matched.divergence == pytest.approx(sum(x * math.log(x / y) for x, y in zip(p, q, strict=True)))
    assert matched.divergence == pytest.approx(0.27935, abs=1e-4)
    assert matched.distance == pytest.approx(math.sqrt(0.0 + 0.25**2 + 0.25**2)), "taken without the halves"
    assert divergence(shares([2, 1, 1]), shares([4, 0, 4])) == math.inf


def test_even_green_is_far_from_uneven_traffic_only() -> None:
    uneven = match(Interval(0, 1, {"a": 9, "b": 1}, {"a": 9, "b": 1}), ("a", "b"))
    even = match(Interval(0, 1, {"a": 5, "b": 5}, {"a": 9, "b": 1}), ("a", "b"))
    assert uneven is not None
    assert even is not None
    assert (uneven.divergence, uneven.distance) == (0.0, 0.0)
    assert uneven.even_distance == pytest.approx(math.sqrt(0.4**2 * 2))
    assert (even.even_divergence, even.even_distance) == (0.0, 0.0)
    assert even.divergence > 0 < even.distance


@given(counts, st.integers(0, 2**32 - 1))
def test_divergence_is_nought_for_equal_shares_and_positive_otherwise(values: list[int], seed: int) -> None:
    p = shares(values, 0.5)
    other = np.random.default_rng(seed).dirichlet(np.ones(len(values)))
    assert divergence(p, p) == 0.0 == distance(p, p)
    # Pinsker's inequality bounds it from below by the distance, so that only equal shares have nought.
    assert divergence(p, other) >= distance(p, other) ** 2 / 2 - 1e-12
    assert distance(p, other) == distance(other, p) <= math.sqrt(2)


@given(st.lists(st.tuples(st.integers(0, 999), st.integers(0, 999)), min_size=2, max_size=12), st.randoms())
def test_order_of_movements_does_not_matter(pairs: list[tuple[int, int]], random: object) -> None:
    names = [f"m{place}" for place in range(len(pairs))]
    volumes, greens = (dict(zip(names, map(float, parts), strict=True)) for parts in zip(*pairs, strict=True))
    interval = Interval(0, 1, volumes, greens)
    mixed = list(names)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    one, other = match(interval, names), match(interval, mixed)
    if one is None or other is None:
        assert one is other is None
        return
    assert one.divergence == pytest.approx(other.divergence, abs=1e-12)
    assert one.distance == pytest.approx(other.distance, abs=1e-12)
    assert one.infinite == other.infinite


@pytest.mark.parametrize("wrong", [[], [0.0, 0.0], [1.0, -1.0]])
def test_shares_of_nothing_are_refused(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="expected a list of numbers from 0 on, not all 0"):
        shares(wrong)


def test_the_papers_69_intervals_are_the_last_of_80() -> None:
    run = made_run(even_rows(80, 20_000, AB), 1_600_000)
    intervals = intervals_of(run)
    assert (len(intervals), widths(intervals)) == (69, [20_000])
    assert (intervals[0].start, intervals[-1].end) == (220_000, 1_600_000)
    assert KEPT_BINS == 69 == BINS - 11


@pytest.mark.parametrize(
    ("rows", "width", "total", "expected", "first"),
    [
        (80, 200, 16_000, 69, 2_200),  # a hundredth of the paper's run
        (20, 1_000, 20_000, 17, 3_000),  # rows rarer than the 80 parts: the one that starts at 2,000 lies half outside
        (80, 1, 80, 69, 11),
        (40, 20_000, 1_600_000, 29, 220_000),  # half of a run, so far
        (11, 20_000, 1_600_000, 0, None),  # a run that has not come to them
    ],
)
def test_intervals_of_runs_of_any_length(rows: int, width: int, total: int, expected: int, first: int | None) -> None:
    intervals = intervals_of(made_run(even_rows(rows, width, AB), total))
    assert len(intervals) == expected
    assert (intervals[0].start if intervals else None) == first
    assert all(one.end == following.start for one, following in pairwise(intervals))


def test_rows_of_unequal_length_and_empty_ones() -> None:
    rows = [row(15, AB), row(40, AB), row(50, {"a": (0, 0), "b": (0, 0)}), row(100, AB), MetricRow(100, {"loss": 1.0})]
    intervals = intervals_of(made_run(rows, 100))
    assert [(one.start, one.end) for one in intervals] == [(15, 40), (50, 100)]
    assert widths(intervals) == [25, 50]


def test_joined_intervals_keep_every_count() -> None:
    intervals = intervals_of(made_run(even_rows(80, 200, AB), 16_000))
    wide = joined(intervals, 400)
    assert (len(wide), widths(wide)) == (34, [400]), "the last of 69 has no other half"
    assert wide[0] == Interval(2_200, 2_600, {"a": 6.0, "b": 2.0}, {"a": 2.0, "b": 2.0})
    assert joined(intervals, 1) == intervals
    whole, parts = pooled(intervals), pooled(joined(intervals, 600))
    assert whole == parts == Interval(2_200, 16_000, {"a": 207.0, "b": 69.0}, {"a": 69.0, "b": 69.0})
    assert pooled([]) is None
    with pytest.raises(ValueError, match="intervals overlap"):
        pooled([Interval(0, 10, {}, {}), Interval(5, 15, {}, {})])


def test_what_nobody_opens_is_left_out_and_the_rest_adds_up_to_one() -> None:
    with_right = {**AB, "right": (50.0, 0.0)}
    first = made_run(even_rows(80, 10, with_right), 800)
    stubborn = made_run(even_rows(80, 10, {"a": (3, 2), "b": (1, 0), "right": (5, 0)}), 800, algorithm="pic")
    assert opened_movements([first]) == ("a", "b") == opened_movements([stubborn, first])
    assert opened_movements([stubborn]) == ("a",)
    plain = made_run(even_rows(80, 10, AB), 800)
    assert matches(intervals_of(first), ("a", "b")) == matches(intervals_of(plain), ("a", "b"))
    assert all(one.infinite for one in matches(intervals_of(stubborn), ("a", "b"))), "b could have had green"


def test_movements_of_both_counts_must_be_the_same() -> None:
    broken = MetricRow(800, {f"{PRESENT}a": 1.0, f"{GREENS}b": 1.0})
    with pytest.raises(ResultsError, match=r"step 800: vehicles are counted for \['a'\], greens for \['b'\]"):
        intervals_of(made_run([broken], 800))


def test_an_interval_holds_whole_episodes_of_all_copies() -> None:
    run = made_run(even_rows(80, 10, AB), 800, copies=4)
    assert episode_steps(run) == 40
    account = Analysis(Results((run,))).account(TASK)
    assert account is not None
    assert widths(account.intervals[run.key]) == [40]
    run.config["training"].clear()
    with pytest.raises(ResultsError, match=r"training\.num_envs"):
        episode_steps(run)


def test_means_over_intervals_and_seeds_by_hand() -> None:
    """Of the 69 intervals of seed 0, greens are off in the first 34 and right after; those of seed 1 are always off.
    The third has not finished and does not count."""
    off, on = {"a": (3, 1), "b": (1, 1)}, {"a": (3, 3), "b": (1, 1)}
    runs = (
        made_run([row(10 * place, off if place < 12 + 34 else on) for place in range(1, 81)], 800),
        made_run(even_rows(80, 10, off), 800, seed=1),
        made_run(even_rows(40, 10, on), 800, seed=2, state="running"),
    )
    account = Analysis(Results(runs)).account(TASK)
    assert account is not None
    assert [run.key.seed for run in account.counted("ip")] == [0, 1]
    found = summaries_of(account, "ip")
    apart = math.sqrt(2) / 4
    assert found.distance.mean == pytest.approx((apart * 34 / 69 + apart) / 2)
    assert found.distance.std == pytest.approx(apart * (35 / 69) / math.sqrt(2))
    assert found.distance.count == 2
    together = math.sqrt(2) * (3 / 4 - (34 * 1 + 35 * 3) / (34 * 2 + 35 * 4))
    assert found.pooled_distance.mean == pytest.approx((together + apart) / 2)
    assert found.even_distance.mean == pytest.approx(apart)
    assert found.last_distance.mean == pytest.approx(apart / 2), (
        "the last 17 of the 69 intervals: seed 0 is right in all"
    )
    assert found.last_divergence.mean == pytest.approx(found.even_divergence.mean / 2)
    assert found.last_even_divergence.mean == pytest.approx(found.even_divergence.mean)
    with pytest.raises(ValueError, match="no run of pic"):
        summaries_of(account, "pic")


def test_the_papers_task_comes_alone_where_it_has_intervals() -> None:
    other = made_run(even_rows(80, 10, AB), 800)
    paper = made_run(even_rows(80, 10, AB), 800, task="cityflow/synthetic_49")
    early = made_run(even_rows(5, 10, AB), 800, task="cityflow/synthetic_49", state="running")
    assert [account.task for account in Analysis(Results((other, paper))).accounts] == ["cityflow/synthetic_49"]
    assert [account.task for account in Analysis(Results((other, early))).accounts] == [TASK]
    assert Analysis(Results((early,))).accounts == [] == Analysis(Results(())).accounts


def test_published_runs_computed_another_way() -> None:
    """The distance of one published run, from its rows with plain sums."""
    results = load_results(ROOT / "results" / "published")
    account = Analysis(results).account(TASK)
    assert account is not None
    run = next(run for run in account.runs if run.key.algorithm == "ip")
    assert account.movements == tuple(
        f"{heading}_{turn}" for heading in ("east", "north", "west", "south") for turn in ("left", "straight")
    )
    totals = {name: [0.0, 0.0] for name in account.movements}
    for logged in run.metrics:
        if f"{PRESENT}east_left" in logged.values and logged.step > 3_000:
            for name, total in totals.items():
                total[0] += logged.values[PRESENT + name]
                total[1] += logged.values[GREENS + name]
    volumes, greens = (sum(total[place] for total in totals.values()) for place in (0, 1))
    expected = math.sqrt(sum((v / volumes - g / greens) ** 2 for v, g in totals.values()))
    whole = pooled(account.intervals[run.key])
    assert whole is not None
    together = match(whole, account.movements)
    assert together is not None
    assert together.distance == pytest.approx(expected)
    assert [(one.start, one.end) for one in account.intervals[run.key]] == [
        (k, k + 1000) for k in range(3_000, 20_000, 1_000)
    ]
