"""Keys of runs: one algorithm on one task, in one variant, with one seed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from results.paper import COMPARED_ALGORITHMS


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts `navigation_15` before `navigation_200`."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


class RunKey(NamedTuple):
    """The key of a run within a results folder, in the order of the folder names."""

    task: str
    algorithm: str
    variant: str
    """Label of the settings."""
    seed: int

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> RunKey:
        """The key in a record such as config.json. Raises KeyError, TypeError or ValueError where it has none."""
        return cls(str(record["task"]), str(record["algorithm"]), str(record["variant"]), int(record["seed"]))

    def __str__(self) -> str:
        """Path of the run's folder relative to the results folder."""
        return f"{self.task}/{self.algorithm}/{self.variant}/seed_{self.seed}"

    @property
    def label(self) -> str:
        """Short name for messages."""
        return f"{self.task} {self.algorithm} {self.variant} seed {self.seed}"

    @property
    def kind(self) -> tuple[str, str, str]:
        """Task, algorithm and variant, which are shared by runs that differ only in their seeds."""
        return self[:3]

    def order(self) -> tuple[Any, ...]:
        """Sort key: tasks in natural order, the default variant first, the paper's algorithms in its order, then
        seeds."""
        known = self.algorithm in COMPARED_ALGORITHMS
        place = COMPARED_ALGORITHMS.index(self.algorithm) if known else len(COMPARED_ALGORITHMS)
        variant = (self.variant != "default", self.variant)
        return natural_key(self.task), variant, place, self.algorithm, self.seed
