"""Bare pointers read and write the arrays they come from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from envs.traffic.engine.pointer import addresses, pointer_to, prefetch

RECORD = np.dtype(
    [("flag", np.bool_), ("number", np.int32), ("value", np.float64), ("small", np.int8), ("big", np.int64)], align=True
)
at_records = pointer_to(RECORD)
TYPES = (np.int8, np.int32, np.int64, np.uint8, np.uint32, np.uint64, np.float32, np.float64, np.bool_)


def records(count: int) -> np.ndarray:
    """Different values in every field; bytes between fields are zero."""
    result = np.zeros(count, RECORD)
    for i in range(count):
        result[i] = (i % 2 == 1, -i, i + 0.5, i - 3, 10**12 + i)
    return result


@pytest.mark.parametrize("dtype", TYPES)
def test_numbers_are_read_and_written(dtype: Any) -> None:
    at = pointer_to(dtype)

    @njit
    def swap(a: np.ndarray, i: int, j: int) -> None:
        values = at(a[0])
        values[i], values[j] = values[j], values[i]

    array = np.arange(5).astype(dtype) if dtype is not np.bool_ else np.array([True, False, False, True, False])
    expected = array.copy()
    expected[[1, 3]] = expected[[3, 1]]
    swap(addresses([array]), 1, 3)
    assert np.array_equal(array, expected)


def test_fetching_ahead_reads_nothing() -> None:
    """Not even where there is nothing to read."""
    at = pointer_to(np.int64)

    @njit
    def total(a: np.ndarray, count: int, far: int) -> int:
        numbers, result = at(a[0]), 0
        for i in range(count):
            prefetch(numbers, i + far, 64)
            result += numbers[i]
        return result

    array = np.arange(10)
    for far in (3, -(10**15), 10**15):
        assert total(addresses([array]), 10, far) == 45
    with pytest.raises(TypingError):
        njit(lambda numbers: prefetch(numbers, 0, 0))(array)


def test_every_kind_of_index() -> None:
    at = pointer_to(np.int32)

    @njit
    def read(a: np.ndarray, index: Any) -> int:
        return at(a[0])[index]

    array = np.arange(10, dtype=np.int32) ** 2
    place = addresses([array])
    for kind in (np.int8, np.int32, np.int64, np.uint8, np.uint32):
        assert read(place, kind(7)) == 49
    later = addresses([array[4:]])
    assert read(later, np.int32(-2)) == 4, "an index may go back, as nothing is checked"
    with pytest.raises(TypingError):
        read(place, 1.0)


def test_fields_of_records() -> None:
    """A record is a reference: what is written to a field is in the array at once."""

    @njit
    def change(a: np.ndarray, i: int) -> float:
        table = at_records(a[0])
        record = table[i]
        record.value = record.value * 2
        table[i].number += 7
        record.flag = not record.flag
        record.small, record.big = np.int8(-5), record.big + 1
        return record.value + table[i].number  # type: ignore[no-any-return]

    array, expected = records(4), records(4)
    assert change(addresses([array]), 2) == 5.0 + 5
    expected[2] = (True, 5, 5.0, -5, 10**12 + 3)
    assert np.array_equal(array, expected)


def test_a_record_is_copied_as_a_whole() -> None:
    @njit
    def copy(a: np.ndarray, source: int, target: int) -> None:
        table = at_records(a[0])
        table[target] = table[source]

    array, expected = records(4), records(4)
    expected[0] = expected[3]
    copy(addresses([array]), 3, 0)
    assert np.array_equal(array, expected)
    array["value"][3] = 0.0
    assert array["value"][0] == 3.5, "a copy, not a second name"
    before = array.copy()
    copy(addresses([array]), 1, 1)
    assert np.array_equal(array, before)


def test_pointers_are_handed_on_in_tuples_and_to_functions() -> None:
    at_floats = pointer_to(np.float64)

    @njit
    def total(floats: Any, table: Any, count: int) -> float:
        result = 0.0
        for i in range(count):
            result += floats[i] * table[i].number
        return result

    @njit
    def run(a: np.ndarray) -> float:
        parts = (at_floats(a[0]), at_records(a[1]), a[2])
        return total(parts[0], parts[1], parts[2])  # type: ignore[no-any-return]

    assert run(addresses((np.array([1.0, 2.0, 4.0]), records(3), 3))) == -10.0


def test_addresses() -> None:
    first, second = np.arange(3), np.zeros((2, 2), order="C")
    found = addresses((first, 5), (second, np.int32(-1), True))
    assert found.dtype == np.int64
    assert found.tolist() == [first.ctypes.data, 5, second.ctypes.data, -1, 1]
    assert addresses().tolist() == []
    assert len(addresses([np.zeros(0)])) == 1


@pytest.mark.parametrize(
    "array", [np.arange(9)[::2], np.zeros((3, 3))[:, 1], np.zeros((3, 4)).T, np.arange(5)[::-1], records(3)["value"]]
)
def test_arrays_with_gaps_are_refused(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="only contiguous arrays"):
        addresses([np.zeros(2), array])


def test_a_wrong_type_is_refused_when_compiling() -> None:
    at = pointer_to(np.int32)

    @njit
    def nonsense(a: np.ndarray) -> Any:
        return at(a[0]) + 1

    with pytest.raises(TypingError):
        nonsense(addresses([np.zeros(1, np.int32)]))
