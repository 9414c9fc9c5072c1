"""Which files a run folder holds, as far as others than its writer must know. Loads nothing heavy."""

from __future__ import annotations

from pathlib import Path

WRITTEN_LATER = ("status.json", "evaluation.jsonl", "metrics.jsonl", "checkpoint.pt", "policy.pt")
"""Files of a run folder that are never there before its config.json."""
LOST_CONFIG = (
    "config.json is lost, so nothing says which settings made this run, and it is not counted: restore that file, or "
    "delete the folder to make the run again"
)


def lost_config(folder: Path) -> bool:
    """Whether a run folder holds what a run writes, but not the settings that it was made with."""
    return not (folder / "config.json").exists() and any((folder / name).is_file() for name in WRITTEN_LATER)
