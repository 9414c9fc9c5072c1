"""Progress of one run: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType

from tqdm import tqdm

from benchmark.console import say, unheard


class Progress:
    """Context manager that shows the progress of a run; a failing stderr is ignored."""

    def __init__(self, title: str, total_steps: int, quiet: bool, bar: bool = True) -> None:
        """`bar`: whether to draw a bar on a terminal; several concurrent runs write lines instead."""
        self.title, self.quiet = title, quiet
        self.scores: dict[str, float] = {}
        on_terminal = bar and sys.stderr.isatty() and not quiet
        self.bar = tqdm(total=total_steps, desc=title, unit="step", unit_scale=True) if on_terminal else None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self._show(self.bar.close)

    def note(self, text: str) -> None:
        """Print a line."""
        if self.bar is not None:
            line, write = f"{self.title}: {text}", self.bar.write
            self._show(lambda: write(line, file=sys.stderr))
        elif not self.quiet:
            say(f"{self.title}: {text}", sys.stderr)

    def advance_to(self, step: int) -> None:
        """Move the bar."""
        if self.bar is not None:
            bar = self.bar
            self._show(lambda: bar.update(step - bar.n))

    def score(self, step: int, policy: str, mean: float) -> None:
        """Show the mean return of an evaluation."""
        self.scores[policy] = mean
        if self.bar is not None:
            bar, shown = self.bar, {name: f"{value:.0f}" for name, value in self.scores.items()}
            self._show(lambda: bar.set_postfix(shown))
        elif not self.quiet:
            say(f"{self.title}: step {step}: {policy} return {mean:.1f}", sys.stderr)

    @staticmethod
    def _show(draw: Callable[[], object]) -> None:
        with unheard(sys.stderr):
            draw()
