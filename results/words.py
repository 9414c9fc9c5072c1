"""Words for numbers, for messages and documents."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str = "") -> str:
    """Count with its noun: `1 task`, `2 tasks`, `1,225 agents`."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
