"""Exact comparison of recorded values with computed ones: the number of differences and the first of them.

Numbers are equal if all their bits are, so that 0.0 and -0.0 differ; NaN equals every NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

WIDTH = 3.0
"""Maximum distance between the means of two distributions, in joint standard deviations."""
SHOWN = 100
"""Maximum number of characters of a value that are shown."""


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


ABSENT = _Absent()
"""Placeholder for an entry that only the other side has."""


@dataclass
class Quantity:
    """Counts of compared and differing values of a quantity, and the first difference."""

    compared: int = 0
    different: int = 0
    step: int = 0
    first: str = ""


@dataclass
class Comparison:
    """The comparison of a case: counts and differences by part and quantity."""

    quantities: dict[tuple[str, str], Quantity] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def arrays(
        self, part: str, name: str, recorded: np.ndarray, given: np.ndarray, steps: np.ndarray, labels: np.ndarray
    ) -> None:
        """Compare two arrays of the same shape. `steps` and `labels` are broadcast to it and identify each value."""
        differs = differing(recorded, given)
        quantity = self._count(part, name, differs.size, int(differs.sum()))
        if quantity.different and not quantity.first:
            at = np.unravel_index(int(np.argmax(differs)), differs.shape)
            label = str(np.broadcast_to(labels, differs.shape)[at])
            quantity.step = int(np.broadcast_to(steps, differs.shape)[at])
            where = f"step {quantity.step}, {label}" if label else f"step {quantity.step}"
            quantity.first = _difference(where, recorded[at].item(), given[at].item())

    def values(self, part: str, name: str, recorded: Any, given: Any, step: int = -1, where: str = "") -> None:
        """Compare two JSON values, including types, numbers, and the order of lists and keys.

        `step` is -1 for values from before the first step; `where` identifies the value more closely than `name`.
        """
        found = list(nested_differences(recorded, given, where or name))
        quantity = self._count(part, name, _leaves(recorded), len(found))
        if found and not quantity.first:
            place, *values = found[0]
            quantity.step = step
            quantity.first = _difference(place if step < 0 else f"step {step}, {place}", *values)

    def spreads(self, name: str, recorded: np.ndarray, given: np.ndarray) -> None:
        """Compare two samples, whose means may differ by `WIDTH` joint standard deviations."""
        apart = abs(float(given.mean() - recorded.mean()))
        joint = math.hypot(recorded.std(ddof=1), given.std(ddof=1))
        quantity = self._count("distributions", name, 1, int(not apart <= WIDTH * joint))
        text = f"recorded {_spread(recorded)}, here {_spread(given)}"
        self.notes.append(f"{name} {text}")
        quantity.first = f"{text}, more than {WIDTH:g} joint standard deviations apart"

    @property
    def failures(self) -> list[str]:
        """One message for each quantity that differs, in the order of their first differences."""
        wrong = [(key, quantity) for key, quantity in self.quantities.items() if quantity.different]
        return [
            f"{part}: {name} differs in {quantity.different} of {quantity.compared}, first {quantity.first}"
            for (part, name), quantity in sorted(wrong, key=lambda entry: entry[1].step)
        ]

    def __str__(self) -> str:
        compared: dict[str, int] = {}
        for (part, _), quantity in self.quantities.items():
            compared[part] = compared.get(part, 0) + quantity.compared
        numbers = "  ".join(f"{part} {count}" for part, count in compared.items())
        return "; ".join([f"{'differs' if self.failures else 'equal'}  {numbers}", *self.notes])

    def _count(self, part: str, name: str, compared: int, different: int) -> Quantity:
        quantity = self.quantities.setdefault((part, name), Quantity())
        quantity.compared += compared
        quantity.different += different
        return quantity


def differing(recorded: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Boolean mask of the entries in which two arrays of the same shape differ."""
    if recorded.dtype.kind != "f":
        return recorded != given
    given = given.astype(recorded.dtype)
    same_bits = recorded.view(f"i{recorded.itemsize}") == given.view(f"i{given.itemsize}")
    return ~(same_bits | (np.isnan(recorded) & np.isnan(given)))


def nested_differences(recorded: Any, given: Any, where: str) -> Iterator[tuple[str, Any, Any]]:
    """Places where two nested values of lists, objects, text, numbers and None differ, with both values there."""
    if isinstance(recorded, dict) and isinstance(given, dict):
        for key in [*recorded, *(key for key in given if key not in recorded)]:
            if key not in recorded or key not in given:
                yield f"{where} {key}", recorded.get(key, ABSENT), given.get(key, ABSENT)
            else:
                yield from nested_differences(recorded[key], given[key], f"{where} {key}")
        if recorded.keys() == given.keys() and list(recorded) != list(given):
            yield f"order of {where}", list(recorded), list(given)
    elif isinstance(recorded, list) and isinstance(given, list):
        for number, pair in enumerate(zip(recorded, given, strict=False)):
            yield from nested_differences(*pair, f"{where} {number}")
        if len(recorded) != len(given):
            yield f"length of {where}", len(recorded), len(given)
    elif type(recorded) is not type(given) or repr(recorded) != repr(given):
        yield where, recorded, given


def _leaves(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_leaves, value.values()))
    return sum(map(_leaves, value)) if isinstance(value, list) else 1


def _difference(where: str, recorded: Any, given: Any) -> str:
    shown = [text if len(text) <= SHOWN else f"{text[:SHOWN]}..." for text in (repr(recorded), repr(given))]
    return f"{where}: recorded {shown[0]}, here {shown[1]}"


def _spread(sample: np.ndarray) -> str:
    return f"{sample.mean():.5g} +- {sample.std(ddof=1):.2g}"
