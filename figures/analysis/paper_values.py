"""The numbers and claims that the paper prints, each with the words that state it: `paper_values.json`."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from results.errors import ResultsError

FILE = Path(__file__).with_name("paper_values.json")
KINDS = ("task", "setting", "score", "distance", "ranking", "spread", "enough", "well", "badly", "divergence", "closer")
NOT_RUN, NOT_TESTED = "not run", "not tested"


@dataclass(frozen=True, slots=True)
class Entry:
    """One number or claim of the paper."""

    id: str
    kind: str
    """One of `KINDS`."""
    where: str
    """Section or table."""
    line: int
    """Line of the paper's text, from 1."""
    quote: str
    """Words on that line."""
    printed: str
    """The number as printed, part of the quote; empty for a claim."""
    text: str
    """Subject of the number, or statement of the claim."""
    tasks: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    """Platforms of the tasks concerned, for a setting that only these have."""
    better: tuple[str, ...] = ()
    """Algorithms, or `algorithm:ablation`: those that a number belongs to, or that are claimed to be better."""
    worse: tuple[str, ...] = ()
    mean: float | None = None
    std: float | None = None
    steps: int = 0
    """Environment steps that a run needs to test the entry: exactly, for a number; at least, for a claim."""
    value: float | None = None
    """Value of a setting."""
    config: str = ""
    """Dotted name of a setting in a run's config, or two of them as `one / other`."""
    here: str = ""
    """This project's value of a setting that is in no config."""
    deviations: tuple[str, ...] = ()
    """Rows of DEVIATIONS.md."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A measurement and the resulting verdict."""

    ours: str
    verdict: str


MISSING = Finding(NOT_RUN, NOT_TESTED)


@cache
def load_paper(path: Path = FILE) -> tuple[Entry, ...]:
    """Every number and claim, in the order of the file.

    Raises ResultsError for a file that is not a list of entries with known fields and kinds, and no id twice.
    """
    try:
        values: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        entries = tuple(Entry(**{name: _frozen(content) for name, content in value.items()}) for value in values)
    except (OSError, TypeError, AttributeError, ValueError) as error:
        known = ", ".join(known_field.name for known_field in fields(Entry))
        raise ResultsError(f"cannot read {path}: {error}; expected a list of entries with {known}") from error
    wrong = sorted({entry.kind for entry in entries} - set(KINDS))
    twice = [name for name, count in Counter(entry.id for entry in entries).items() if count > 1]
    if wrong or twice:
        raise ResultsError(f"corrupt file {path}: unknown kinds {wrong}, ids used twice {twice}")
    return entries


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
