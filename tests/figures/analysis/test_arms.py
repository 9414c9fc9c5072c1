"""Two rounds of messages against the controls: pairs by name, corrected, never better than nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from figures.analysis import Analysis
from figures.analysis.arms import arm_differences
from results.runs import load_runs
from tests.figures.synthetic import both, write_references, write_run

TASK = "mpe/cooperative_navigation_6"


def write_arm(root: Path, variant: str, normalised_scores: list[float]) -> None:
    for seed, normalised in enumerate(normalised_scores):
        write_run(root, both([(4000, [normalised])]), task=TASK, variant=variant, seed=seed)


def test_differences_by_hand(tmp_path: Path) -> None:
    write_references(tmp_path, TASK, random=[0.0], assignment=[100.0])
    write_arm(tmp_path, "shared-M2", [20.0, 22.0])
    write_arm(tmp_path, "shared-deaf", [10.0, 12.0])
    write_arm(tmp_path, "shared-M0", [20.5, 21.5])
    write_arm(tmp_path, "local-M2", [-5.0, -6.0])
    write_arm(tmp_path, "local-deaf", [-90.0, -91.0])
    write_arm(tmp_path, "alone-M2", [1.0, 2.0])
    found = {(arm.base, arm.other): arm for arm in arm_differences(Analysis(load_runs(tmp_path)))}
    assert set(found) == {("shared", "deaf"), ("shared", "M0"), ("local", "deaf")}
    deaf = found["shared", "deaf"]
    assert deaf.difference == pytest.approx(10.0)
    assert deaf.half_width == pytest.approx(4.3027 * 2**0.5, rel=1e-4)  # variances 2 and 2 over two seeds each
    assert found["shared", "M0"].difference == 0.0
    assert found["local", "deaf"].below_random
    assert not deaf.below_random
    assert found["shared", "M0"].adjusted_p == 1.0
    assert deaf.adjusted_p > 0.02, "corrected for three comparisons"


def test_a_single_seed_says_nothing(tmp_path: Path) -> None:
    write_references(tmp_path, TASK, random=[0.0], assignment=[100.0])
    write_arm(tmp_path, "shared-M2", [20.0])
    write_arm(tmp_path, "shared-deaf", [10.0, 11.0])
    assert arm_differences(Analysis(load_runs(tmp_path))) == []
