"""Names of the games, available without importing torch."""

from __future__ import annotations

import re

SIZES: dict[str, range] = {
    "climbing": range(2, 3),
    "penalty": range(2, 3),
    "two_step": range(2, 3),
    "chain": range(2, 10_000),
    "ring": range(3, 10_000),
    "echo": range(2, 10_000),
    "walk": range(1, 2),
}
"""Families of games, and the numbers of agents that each supports."""

TASKS = tuple(
    f"game/{name}" for name in ("climbing_2", "penalty_2", "two_step_2", "chain_8", "ring_8", "echo_8", "walk_1")
)
"""Games of the suites; chains, rings and echoes also exist in other sizes."""


def exists(task: str) -> bool:
    """Whether `task` is a game."""
    return parts(task) is not None


def parts(task: str) -> tuple[str, int] | None:
    """Family and number of agents of an existing game."""
    found = re.fullmatch(r"game/([a-z_]+)_([1-9]\d*)", task)
    if found is None or found[1] not in SIZES or int(found[2]) not in SIZES[found[1]]:
        return None
    return found[1], int(found[2])
