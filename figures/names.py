"""Names of algorithms, tasks and families as readers know them."""

from __future__ import annotations

ALGORITHM_LABELS = {
    "ip": "IP",
    "qmix": "QMIX",
    "maddpg": "MADDPG",
    "maddpgs": "MADDPGS",
    "pic": "PIC",
    "dgn": "DGN",
    "iql": "IQL",
}
FAMILY_TITLES = {"mpe": "MPE", "cityflow": "CityFlow", "magent": "MAgent", "game": "Proving ground"}
SPEAKING_FAMILIES = ("mpe", "magent", "game")
"""Families whose task names speak for themselves."""


def algorithm_label(name: str) -> str:
    """The name of an algorithm as readers know it: ``MADDPG`` for ``maddpg``."""
    return ALGORITHM_LABELS.get(name, name)


def task_title(task: str, variant: str = "default") -> str:
    """``mpe/cooperative_navigation_30`` as ``Cooperative navigation, N = 30``, with the variant when it has a name.

    Where the name alone says little, the family comes first: ``CityFlow: Synthetic, N = 49``.
    """
    family, words = family_of(task), task.rsplit("/", 1)[-1].split("_")
    count = f", N = {words.pop()}" if len(words) > 1 and words[-1].isdigit() else ""
    title = " ".join(words)
    prefix = "" if family in SPEAKING_FAMILIES else f"{family_title(family)}: "
    suffix = "" if variant == "default" else f" ({variant.replace('_', ' ')})"
    return f"{prefix}{title[:1].upper()}{title[1:]}{count}{suffix}"


def agents_of(task: str) -> int | None:
    """The number of agents that a task's name ends with; None where it has none."""
    last = task.rpartition("_")[2]
    return int(last) if last.isdigit() else None


def family_of(task: str) -> str:
    """The part of a task's name before the first slash: ``mpe``, ``cityflow``, ``magent``."""
    return task.split("/", 1)[0]


def family_title(family: str) -> str:
    """A family as a word in a heading."""
    return FAMILY_TITLES.get(family, f"{family[:1].upper()}{family[1:]}")


def listed(words: list[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def counted(count: int, noun: str) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
