"""Display names of algorithms, tasks and platforms."""

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
PLATFORM_TITLES = {"mpe": "MPE", "cityflow": "CityFlow", "magent": "MAgent", "game": "Matrix and toy games"}
SPEAKING_PLATFORMS = ("mpe", "magent", "game")
"""Platforms whose task names need no platform in front of them."""
CITIES = {"newyork": "New York", "los angeles": "Los Angeles"}
"""Cities whose titles have several capital letters."""


def algorithm_label(name: str) -> str:
    """Display name of an algorithm: `MADDPG` for `maddpg`."""
    return ALGORITHM_LABELS.get(name, name)


def task_title(task: str, variant: str = "default") -> str:
    """Display name of a task, with the variant when it has a name: `Cooperative navigation, N = 30` for
    `mpe/cooperative_navigation_30`.

    Where the name alone says little, the platform comes first: `CityFlow: Synthetic, N = 49`.
    """
    platform, words = platform_of(task), task.rsplit("/", 1)[-1].split("_")
    count = f", N = {words.pop()}" if len(words) > 1 and words[-1].isdigit() else ""
    name = " ".join(words)
    title = CITIES.get(name, name)
    prefix = "" if platform in SPEAKING_PLATFORMS else f"{platform_title(platform)}: "
    suffix = "" if variant == "default" else f" ({variant.replace('_', ' ')})"
    return f"{prefix}{title[:1].upper()}{title[1:]}{count}{suffix}"


def agents_of(task: str) -> int | None:
    """Number of agents at the end of a task's name; None where there is none."""
    last = task.rpartition("_")[2]
    return int(last) if last.isdigit() else None


def platform_of(task: str) -> str:
    """Part of a task's name before the first slash: `mpe`, `cityflow`, `magent`."""
    return task.split("/", 1)[0]


def platform_title(platform: str) -> str:
    """Display name of a platform in headings."""
    return PLATFORM_TITLES.get(platform, f"{platform[:1].upper()}{platform[1:]}")


def listed(words: list[str]) -> str:
    """Words joined as `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
