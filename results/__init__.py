"""Run folders and published results: read, checked, and converted to tables. Draws nothing and trains nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from results.commands import end_quietly

if TYPE_CHECKING:
    from results.records import Results

__all__ = ["load_results"]

end_quietly()


def load_results(directory: str | Path) -> Results:
    """The runs and reference policies of a published set, of a folder of such sets, or of a folder of runs.

    Raises `results.errors.ResultsError`, see `results.load.load_results`.
    """
    from results import load

    return load.load_results(Path(directory))
