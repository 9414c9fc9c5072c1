"""Comparisons notice the last bit, name the first difference and count all of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from envs.traffic.recordings.comparison import Comparison, differing, nested_differences


def test_numbers_are_equal_to_the_last_bit() -> None:
    recorded = np.array([0.1, 0.0, np.nan, 1.0, np.inf])
    assert not differing(recorded, recorded.copy()).any()
    given = np.array([np.nextafter(0.1, 1), -0.0, -np.nan, np.nan, -np.inf])
    assert differing(recorded, given).tolist() == [True, True, False, True, True]
    assert differing(np.array([1, 0], np.uint8), np.array([1, -1])).tolist() == [False, True]
    assert differing(np.array(["a", ""]), np.array(["a", "longer"])).tolist() == [False, True]


@pytest.mark.parametrize(
    ("recorded", "given", "expected"),
    [
        ({"a": [1, 2.5, "x", None]}, {"a": [1, 2.5, "x", None]}, []),
        ([0.1], [0.1 + 2**-56], [("it 0", 0.1, 0.1 + 2**-56)]),
        ([0.0], [-0.0], [("it 0", 0.0, -0.0)]),
        ([1], [1.0], [("it 0", 1, 1.0)]),
        ([True], [1], [("it 0", True, 1)]),
        ([1, 2, 3], [1, 3], [("it 1", 2, 3), ("length of it", 3, 2)]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, [("order of it", ["a", "b"], ["b", "a"])]),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, [("it a b", 1, 2)]),
        ([{}], [[]], [("it 0", {}, [])]),
    ],
)
def test_nested_values(recorded: object, given: object, expected: list[tuple[str, object, object]]) -> None:
    found = list(nested_differences(recorded, given, "it"))
    assert repr(found) == repr(expected)


def test_keys_of_one_side_are_shown() -> None:
    found = list(nested_differences({"a": 1}, {"b": 2}, "it"))
    assert repr(found) == "[('it a', 1, nothing), ('it b', nothing, 2)]"


def test_first_difference_and_count() -> None:
    result = Comparison()
    recorded, labels = np.zeros((3, 2)), np.array(["left", "right"])
    given = recorded.copy()
    given[1, 1], given[2, 0] = 0.5, 1e-300
    result.arrays("lanes", "speed", recorded, given, np.array([[0], [10], [20]]), labels)
    result.values("lists", "order", ["a", "b"], ["a", "b"], step=3)
    result.values("lists", "order", ["a", "b"], ["b", "a"], step=4)
    result.values("lists", "order", ["a"], ["b"], step=5)
    result.values("lists", "late", "x", "y" * 500, step=99)
    assert result.failures == [
        "lists: order differs in 3 of 5, first step 4, order 0: recorded 'a', here 'b'",
        "lanes: speed differs in 2 of 6, first step 10, right: recorded 0.0, here 0.5",
        f"lists: late differs in 1 of 1, first step 99, late: recorded 'x', here '{'y' * 99}...",
    ]
    assert str(result) == "differs  lanes 6  lists 6"


def test_distributions() -> None:
    """Samples of spread 3 and 4 have a joint spread of 5: means may lie 15 apart."""
    first = np.array([-3.0, 3.0]) / math.sqrt(2)
    second = np.array([-4.0, 4.0]) / math.sqrt(2)
    result = Comparison()
    result.spreads("near", first, second + 14.99)
    assert result.failures == []
    result.spreads("far", first, second - 15.01)
    result.spreads("constant", np.ones(3), np.ones(4))
    result.spreads("unequal constants", np.ones(3), np.full(4, 1.001))
    result.spreads("broken", first, np.array([np.nan, 1.0]))
    assert [failure.split(" differs")[0] for failure in result.failures] == [
        "distributions: far",
        "distributions: unequal constants",
        "distributions: broken",
    ]
    assert "recorded 0 +- 3, here -15.01 +- 4, more than 3 joint standard deviations apart" in result.failures[0]
