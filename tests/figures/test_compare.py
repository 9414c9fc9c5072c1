"""Two result sets against each other: hand-computed intervals and corrections, and what cannot be compared is named."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from figures.compare import main
from figures.differences import (
    BETTER,
    NO_DIFFERENCE,
    NOT_COMPARABLE,
    WORSE,
    CellComparison,
    compare,
    difference,
    holm,
    report_text,
)
from results.load import load_results
from results.publish import publish
from results.runs import load_runs
from tests.figures.synthetic import TASK, both, rising, write_run, write_study

PUBLISHED = Path(__file__).parents[2] / "results" / "published"


def write_finals(root: Path, finals: Sequence[float], first_seed: int = 0, **options: Any) -> None:
    """Runs whose final scores are these: three last evaluations of two episodes around each."""
    for seed, final in enumerate(finals, start=first_seed):
        curve = [(step, [final - 1, final + 1]) for step in (2000, 3000, 4000)]
        write_run(root, both([(0, [0.0, 1.0]), *curve]), seed=seed, **options)


def compared(tmp_path: Path, **options: Any) -> CellComparison:
    """The only cell of the sets a and b."""
    (found,) = compare(load_runs(tmp_path / "a"), load_runs(tmp_path / "b"), **options).cells
    return found


def test_welch_by_hand() -> None:
    """Variances 1 and 4, three seeds each: error sqrt(5/3), freedom (5/3)^2 / (1/18 + 16/18) = 50/17."""
    found = difference([1.0, 2.0, 3.0], [4.0, 6.0, 8.0], paired=False)
    assert found.mean == pytest.approx(4.0)
    half_width = stats.t.ppf(0.975, 50 / 17) * math.sqrt(5 / 3)
    assert (found.low, found.high) == pytest.approx((4 - half_width, 4 + half_width))
    assert found.p == pytest.approx(2 * stats.t.sf(4 / math.sqrt(5 / 3), 50 / 17))
    assert found.p == pytest.approx(stats.ttest_ind([4, 6, 8], [1, 2, 3], equal_var=False).pvalue)


def test_pairs_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, error 1 / sqrt(3), two degrees of freedom, for which t has a closed form."""
    found = difference([10.0, 20.0, 30.0], [11.0, 22.0, 33.0], paired=True)
    t = 0.95 * math.sqrt(2 / (1 - 0.95**2))  # quantile of t with 2 degrees of freedom at 0.975
    assert t == pytest.approx(4.30265, abs=1e-5)
    assert (found.mean, found.low, found.high) == pytest.approx((2.0, 2 - t / math.sqrt(3), 2 + t / math.sqrt(3)))
    ratio = 2 * math.sqrt(3)
    assert found.p == pytest.approx(1 - ratio / math.sqrt(2 + ratio**2))
    assert found.paired


@pytest.mark.parametrize("paired", [True, False])
def test_interval_excludes_zero_where_p_is_small(paired: bool) -> None:
    """The verdict and p are two sides of one test, at every level."""
    generator = np.random.default_rng(0)
    for _ in range(50):
        a, b = generator.normal(0, 1, 4), generator.normal(1, 2, 4)
        for level in (0.8, 0.95):
            found = difference(a, b, paired, level)
            assert (found.low > 0 or found.high < 0) == (found.p < 1 - level)


@pytest.mark.parametrize("paired", [True, False])
def test_rounding_is_no_difference(paired: bool) -> None:
    """Of equal numbers, the mean of three may differ from that of two in the last digit."""
    same = difference([0.1 + 0.2, 0.3, 0.3], [0.3, 0.3, 0.3], paired)
    assert (same.mean, same.p) == (0.0, 1.0)
    assert same.low <= 0 <= same.high
    other = difference([0.3, 0.3, 0.3], [0.2, 0.2, 0.2], paired)
    assert other.high < 0
    assert other.p < 1e-9


def test_difference_needs_two_seeds() -> None:
    with pytest.raises(ValueError, match="got 1 and 2 seeds"):
        difference([1.0], [1.0, 2.0], paired=False)


def test_holm_by_hand() -> None:
    """0.01 * 4, 0.02 * 3, 0.03 * 2 (kept at 0.06, as a larger p is never adjusted to a smaller one), 0.5 * 1."""
    assert holm([0.03, 0.5, 0.01, 0.02]) == pytest.approx([0.06, 0.5, 0.04, 0.06])
    assert holm([0.7, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_identical_sets_differ_by_exactly_nothing() -> None:
    quick = PUBLISHED / "quick"
    assert main([str(quick), str(quick), "--fail-on-regression"]) == 0
    report = compare(load_results(quick), load_results(quick))
    assert report.compared == len(report.cells) > 1
    for cell in report.cells:
        assert cell.difference is not None
        assert (cell.difference.mean, cell.difference.low, cell.difference.high) == (0.0, 0.0, 0.0)
        assert (cell.verdict, cell.adjusted_p, cell.speed_ratio) == (NO_DIFFERENCE, 1.0, 1.0)
    assert not report.regressions


def test_shifted_set_is_worse_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(0)
    for algorithm in ("ip", "iql", "dgn"):
        finals = generator.normal(-300, 10, 5)
        write_finals(tmp_path / "a", finals, algorithm=algorithm)
        write_finals(tmp_path / "b", finals - 40 + generator.normal(0, 1, 5), algorithm=algorithm)
    sets = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert main([*sets, "--fail-on-regression"]) == 2
    text = capsys.readouterr().out
    assert "3 comparisons were made: 0 better, 3 worse, 0 no difference shown; 0 not comparable." in text
    assert "After Holm's correction 3 are worse." in text
    assert main(sets) == 0  # told, but no reason to stop
    assert main([*sets[::-1], "--fail-on-regression"]) == 0  # better is no regression
    assert "3 better, 0 worse" in capsys.readouterr().out


def test_one_of_many_by_chance_is_no_regression(tmp_path: Path) -> None:
    """p of about 0.03 in one of four cells is worse by its interval, and not after Holm's correction."""
    finals = [0.0, 1.0, 2.0, 3.0]
    worse = [-1.5, -2.5, -3.2, 0.4]
    for place, algorithm in enumerate(("ip", "iql", "dgn", "pic")):
        write_finals(tmp_path / "a", finals, algorithm=algorithm)
        write_finals(tmp_path / "b", worse if place == 0 else finals, algorithm=algorithm)
    report = compare(load_runs(tmp_path / "a"), load_runs(tmp_path / "b"))
    first = report.cells[0]
    assert first.verdict == WORSE
    assert first.difference is not None
    assert 0.0125 < first.difference.p < 0.05
    assert first.adjusted_p == pytest.approx(4 * first.difference.p)
    assert not report.regressions
    assert main([str(tmp_path / "a"), str(tmp_path / "b"), "--fail-on-regression"]) == 0


def test_seeds_are_paired_only_where_both_have_the_same(tmp_path: Path) -> None:
    write_finals(tmp_path / "a", [10.0, 20.0, 30.0])
    write_finals(tmp_path / "b", [11.0, 21.0, 31.0], first_seed=3)
    assert compared(tmp_path).verdict == NO_DIFFERENCE
    write_finals(tmp_path / "c", [11.0, 21.0, 31.0])
    (paired,) = compare(load_runs(tmp_path / "a"), load_runs(tmp_path / "c")).cells
    assert paired.verdict == BETTER
    assert paired.difference is not None
    assert (paired.difference.mean, paired.difference.p, paired.difference.paired) == (1.0, 0.0, True)


def test_settings_that_differ_are_named(tmp_path: Path) -> None:
    write_finals(tmp_path / "a", [1.0, 2.0, 3.0])
    write_finals(tmp_path / "b", [1.0, 2.0, 3.0], hops=2, learning_rate=0.02)
    found = compared(tmp_path)
    assert found.verdict == NOT_COMPARABLE
    assert found.difference is None
    assert found.reason == "settings differ: algorithm_settings.hops, algorithm_settings.learning_rate"
    ignored = ["algorithm_settings.hops", "algorithm_settings.learning_rate"]
    assert compared(tmp_path, ignored=ignored).verdict == NO_DIFFERENCE


def test_other_lengths_are_never_compared(tmp_path: Path) -> None:
    write_finals(tmp_path / "a", [1.0, 2.0])
    write_finals(tmp_path / "b", [1.0, 2.0], total_steps=5000)
    found = compared(tmp_path, ignored=["total_steps"])
    assert (found.verdict, found.reason) == (NOT_COMPARABLE, "settings differ: total_steps (4,000 and 5,000)")


def test_other_last_evaluations_are_not_compared(tmp_path: Path) -> None:
    write_finals(tmp_path / "a", [1.0, 2.0])
    for seed in range(2):
        write_run(tmp_path / "b", both(rising(0.0, 1.0, 3000, 1000)), seed=seed)
    assert compared(tmp_path).reason == "last evaluated at step 4,000 and 3,000"


def test_single_unfinished_and_broken_seeds_are_named(tmp_path: Path) -> None:
    write_finals(tmp_path / "a", [1.0, 2.0])
    write_finals(tmp_path / "b", [1.0])
    write_finals(tmp_path / "b", [5.0], first_seed=1, state="failed")
    found = compared(tmp_path)
    assert (found.reason, found.note) == ("B has a single finished seed", "B: 1 unfinished or failed")
    assert found.b is not None
    assert found.b.mean == pytest.approx(1.0)
    write_finals(tmp_path / "b", [math.nan], first_seed=2)
    assert compared(tmp_path).reason == "returns of B are not finite (seed 2)"
    write_finals(tmp_path / "c", [1.0, 2.0], state="running")
    (none,) = compare(load_runs(tmp_path / "c"), load_runs(tmp_path / "a")).cells
    assert (none.reason, none.a) == ("A has no finished seed", None)


def test_disjoint_sets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_finals(tmp_path / "a", [1.0, 2.0])
    write_finals(tmp_path / "b", [1.0, 2.0], algorithm="iql")
    sets = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert main(sets) == 0
    text = capsys.readouterr().out
    assert f"Only in A: {TASK} (default) ip.\n" in text
    assert f"Only in B: {TASK} (default) iql.\n" in text
    assert "0 comparisons were made" in text
    assert main([*sets, "--fail-on-regression"]) == 1  # nothing compared proves nothing
    assert capsys.readouterr().err.startswith("error: nothing was compared")


def test_speed_is_told_with_its_hardware(tmp_path: Path) -> None:
    write_finals(tmp_path / "a", [1.0, 2.0])
    write_finals(tmp_path / "b", [1.0, 2.0], machine={"cpu": "Another CPU"})
    for path in (tmp_path / "b").rglob("timing.jsonl"):
        path.write_text(path.read_text().replace('"env_steps_per_second": 40.0', '"env_steps_per_second": 30.0'))
    found = compared(tmp_path)
    assert (found.speed_ratio, found.note, found.verdict) == (0.75, "other hardware", NO_DIFFERENCE)
    text = report_text(compare(load_runs(tmp_path / "a"), load_runs(tmp_path / "b")))
    assert "| \u221225 %* |" in text


def test_csv_holds_everything(tmp_path: Path) -> None:
    """Any form of results is read, and a published set equals the runs it was made from."""
    write_study(tmp_path / "raw")
    publish(load_runs(tmp_path / "raw"), tmp_path / "set")
    write_finals(tmp_path / "raw", [1.0, 2.0], variant="extra")
    output = tmp_path / "out" / "difference.csv"
    assert main([str(tmp_path / "set"), str(tmp_path / "raw"), "--policy", "sampled", "--output", str(output)]) == 0
    frame = pd.read_csv(output).set_index(["variant", "algorithm"])
    assert frame.loc[("default", "ip"), "verdict"] == NO_DIFFERENCE
    assert frame.loc[("default", "ip"), ["difference_mean", "adjusted_p", "a_count"]].tolist() == [0.0, 1.0, 3]
    assert frame.loc[("default", "qmix"), "reason"] == "A has no finished seed"
    assert frame.loc[("difference", "ip"), "reason"] == "A has a single finished seed"
    assert frame.loc[("extra", "ip"), "verdict"] == "only in B"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere", "nowhere"], "error: no runs found in nowhere"),
        (["nowhere"], "error: the following arguments are required: B"),
        (["nowhere", "nowhere", "--level", "95"], "error: --level is 95: expected a number between 0 and 1"),
    ],
)
def test_errors_are_one_clear_line(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(options)
    except SystemExit as stopped:
        code = stopped.code  # type: ignore[assignment]
    assert code == 1
    assert message in capsys.readouterr().err
