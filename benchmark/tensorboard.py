"""Metrics of a run for TensorBoard, as an event file beside its logs (`training.tensorboard`).

The tags are those of metrics.jsonl, at the same environment steps; `evaluation/greedy` and the like are mean returns.
The event file is derived from the logs: every start of a run rewrites it from their contents, so that a resumed run has
no duplicate entries.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from results.files import readable_os_errors
from results.layout import EVALUATION, METRICS, TENSORBOARD


def require() -> None:
    """Raises UserError where the package that writes event files is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError(
            "training.tensorboard=true needs the package tensorboard, which is not installed: "
            "pip install tensorboard, or choose --set training.tensorboard=false"
        )


class EventFile:
    """The event file of a run, open for further entries."""

    def __init__(self, run: Path) -> None:
        """Write the contents of the run's logs."""
        require()
        from torch.utils.tensorboard import SummaryWriter

        folder = run / TENSORBOARD
        with readable_os_errors(folder):
            shutil.rmtree(folder, ignore_errors=True)
            self._writer = SummaryWriter(str(folder))
        for name, add in ((METRICS, self.add_metrics), (EVALUATION, self.add_evaluation)):
            if (run / name).exists():
                for line in (run / name).read_text().splitlines():
                    add(json.loads(line))

    def add_metrics(self, row: Mapping[str, float]) -> None:
        """Add a line of metrics.jsonl."""
        for tag, value in row.items():
            if tag != "step":
                self._add(tag, value, int(row["step"]))

    def add_evaluation(self, row: Mapping[str, Any]) -> None:
        """Add the mean return of a line of evaluation.jsonl."""
        returns = row["returns"]
        self._add(f"evaluation/{row['policy']}", sum(returns) / len(returns), row["step"])

    def _add(self, tag: str, value: float, step: int) -> None:
        self._writer.add_scalar(tag, value, step)

    def close(self) -> None:
        """Write all pending entries and close the file."""
        self._writer.close()
