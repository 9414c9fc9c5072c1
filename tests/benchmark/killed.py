"""A run that gets a signal from itself at a given moment; `main` in a process of its own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmark import evaluation, train
from benchmark.training import Training
from results import files
from tests.benchmark.conftest import small_config


class Killer:
    """Sends a signal at the given call of what it is put into."""

    def __init__(self, number: int, count: int) -> None:
        self.number, self.count, self.calls = number, count, 0

    def is_due(self) -> bool:
        """Whether this call is the one."""
        self.calls += 1
        return self.calls == self.count

    def strike(self) -> None:
        """Send it."""
        os.kill(os.getpid(), self.number)

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, struck before its call."""

        def struck(*arguments: Any, **options: Any) -> Any:
            if self.is_due():
                self.strike()
            return function(*arguments, **options)

        return struck

    def after(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, struck after its call."""

        def struck(*arguments: Any, **options: Any) -> Any:
            due, result = self.is_due(), function(*arguments, **options)
            if due:
                self.strike()
            return result

        return struck

    def half_saved(self, save: Callable[..., None]) -> Callable[..., None]:
        """`torch.save`, struck while it writes."""

        def struck(state: Any, stream: Any) -> None:
            if self.is_due():
                stream.write(b"half a checkpoint")
                stream.flush()
                self.strike()
            save(state, stream)

        return struck

    def torn(self, append: Callable[..., None]) -> Callable[..., None]:
        """`AppendLog.append`, struck within a line."""

        def struck(log: files.AppendLog, record: Any) -> None:
            append(log, record)
            if self.is_due():
                with log.path.open("r+b") as stream:
                    stream.truncate(log.path.stat().st_size - 5)
                self.strike()

        return struck


def main() -> int:
    """WHERE COUNT SIGNAL RESULTS: where the signal comes, at which call, its number, and the folder of the run."""
    where, count, number, results = sys.argv[1:]
    killer = Killer(int(number), int(count))
    if where == "update":
        Training._gradient_step = killer.before(Training._gradient_step)  # type: ignore[method-assign]
    elif where == "evaluation":
        evaluation.play_episodes = killer.before(evaluation.play_episodes)
    elif where == "log":
        files.AppendLog.append = killer.after(files.AppendLog.append)  # type: ignore[method-assign]
    elif where == "checkpoint":
        torch.save = killer.half_saved(torch.save)
    elif where == "rename":
        Path.replace = killer.after(Path.replace)  # type: ignore[method-assign]
    elif where == "truncated line":
        files.AppendLog.append = killer.torn(files.AppendLog.append)  # type: ignore[method-assign]
    else:
        raise ValueError(where)
    seldom = {"training_checkpoint_seconds": 1e6} if int(number) == signal.SIGTERM else {}
    torch.set_num_threads(1)
    train.run(small_config("ip", **seldom), Path(results), quiet=True)
    return 0
