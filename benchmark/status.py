"""Progress of a suite's runs, read from their folders without touching them.

python -m benchmark.sweep status --suite all
python -m benchmark.sweep status --suite all --watch
"""

from __future__ import annotations

import math
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.requests import RunRequest
from results.forms import read_config, read_status
from results.keys import RunKey
from results.layout import (
    AGAIN,
    CONFIG,
    LOST_CONFIG,
    LOST_STATUS,
    STATUS,
    WITHOUT_IT,
    lost_config,
    lost_status,
    run_folder,
)
from results.lock import Holder, holder_of
from results.words import counted

STATES = ("finished", "running", "queued", "stopped", "lost", "failed", "damaged", "absent")
"""States of a run. `stopped`: begun, but no process works on it. `lost`: likewise, after its job ended without a
message. `damaged`: a file is missing or unreadable, which only its owner can fix. `absent`: not begun."""


@dataclass(frozen=True, slots=True)
class RunState:
    """Current state of one run of a suite."""

    request: RunRequest
    state: str
    """One of `STATES`."""
    step: int = 0
    total_steps: int = 0
    wall_seconds: float = 0.0
    scores: Mapping[str, float] = field(default_factory=dict)
    """Mean return of the last evaluation by policy."""
    message: str = ""
    """For a failed or damaged run, the reason; for a finished run, the reason why its scores do not count."""
    holder: Holder | None = None
    """The process that works on it."""
    job: str = ""
    """The scheduler's job that makes the run, or the last one that did."""

    @property
    def key(self) -> RunKey:
        """The key of the run."""
        return self.request.key

    @property
    def steps_per_second(self) -> float | None:
        """Environment steps per second since the run began, earlier starts included; None before the first step."""
        return self.step / self.wall_seconds if self.step and self.wall_seconds else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the run is finished at this rate; None where no rate is known."""
        rate = self.steps_per_second
        return (self.total_steps - self.step) / rate if rate else None


def state_of(results: Path, request: RunRequest, jobs: Mapping[str, str] | None = None, last_job: str = "") -> RunState:
    """The state of one run.

    Args:
        jobs: numbers of the scheduler's active jobs for this run, and their states, `queued` or `running`.
        last_job: number of the last job that made it.
    """
    folder = run_folder(results, request.key)
    holder = holder_of(folder)
    if holder is not None and not holder.alive:
        holder = None
    waiting = "queued" if jobs else ""
    job = next(iter(jobs), "") if jobs else last_job
    record, problem = _read_record(folder)
    if problem:
        return RunState(request, "damaged", total_steps=request.total_steps, message=problem, job=job)
    if record is None:
        begun = "running" if holder is not None else waiting or ("lost" if last_job else "absent")
        return RunState(request, begun, total_steps=request.total_steps, holder=holder, job=job)
    state, message = record["state"], record.get("message", "")
    scores = record.get("scores", {})
    broken = [policy for policy, mean in scores.items() if not math.isfinite(mean)]
    if state == "finished" and broken:
        message = f"{', '.join(broken)} returns of the last evaluation are not finite"
    if state == "running" and holder is None:
        state = waiting or ("lost" if last_job else "stopped")
    elif state == "failed" and (holder is not None or waiting):
        state, message = ("running" if holder is not None else waiting), ""
    return RunState(
        request,
        state,
        step=record.get("step", 0),
        total_steps=record.get("total_steps", request.total_steps),
        wall_seconds=record.get("wall_seconds", 0.0),
        scores=scores,
        message=message,
        holder=holder,
        job=job,
    )


def _read_record(folder: Path) -> tuple[dict[str, Any] | None, str]:
    """The contents of status.json, if it exists, and what is wrong with the folder, if anything."""
    if lost_config(folder):
        return None, LOST_CONFIG
    if lost_status(folder):
        return None, LOST_STATUS
    records = []
    for name, read, advice in ((CONFIG, read_config, AGAIN), (STATUS, read_status, WITHOUT_IT)):
        file = folder / name
        try:
            records.append(read(file, advice) if file.exists() else None)
        except UserError as error:
            return None, str(error)
    return records[-1], ""


def report(states: Sequence[RunState], suite: str) -> str:
    """The full report as text: counts by task and algorithm, active runs, failures with their reasons, and the
    remaining time."""
    lines = [f"suite {suite}: {summary(states)}", "", *_matrix(states)]
    running = [run for run in states if run.state == "running"]
    if running:
        lines += ["", *_table(running)]
    lines += [
        f"finished, but not counted: {run.key.label}: {run.message}"
        for run in states
        if run.state == "finished" and run.message
    ]
    lines += [f"damaged: {run.key.label}: {run.message}" for run in states if run.state == "damaged"]
    failed = [run for run in states if run.state in ("failed", "lost")]
    for run in failed:
        job = f" (job {run.job})" if run.job else ""
        reason = run.message or "no reason was written"
        lines.append(f"{run.state}: {run.key.label} at step {run.step:,}{job}: {reason}")
    if failed:
        lines.append(f"python -m benchmark.sweep retry --suite {suite} runs these again, from their checkpoints")
    return "\n".join(lines)


def summary(states: Iterable[RunState]) -> str:
    """Summary in one line: `455 runs: 120 finished, 4 running, ...`."""
    counts = Counter(run.state for run in states)
    parts = [f"{counts[state]} {state}" for state in STATES if counts[state]]
    return f"{counted(sum(counts.values()), 'run')}: {', '.join(parts) or 'none'}"


def duration(seconds: float | None) -> str:
    """A duration in words; a dash for None."""
    if seconds is None:
        return "-"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


_LETTERS = {
    "finished": "#",
    "running": ">",
    "queued": "q",
    "stopped": "=",
    "lost": "?",
    "failed": "X",
    "damaged": "!",
    "absent": ".",
}


def _matrix(states: Sequence[RunState]) -> list[str]:
    """Table with a row for each task and variant, a column for each algorithm, and a letter for each seed."""
    groups: dict[tuple[str, str], dict[str, list[RunState]]] = defaultdict(lambda: defaultdict(list))
    for run in states:
        groups[run.key.task, run.key.variant][run.key.algorithm].append(run)
    algorithms = list(dict.fromkeys(run.key.algorithm for run in states))
    rows = [["", *algorithms]]
    for (task, variant), by_algorithm in groups.items():
        letters = ["".join(_LETTERS[run.state] for run in by_algorithm[name]) or "-" for name in algorithms]
        rows.append([f"{task} {variant}", *letters])
    legend = "  ".join(f"{letter} {state}" for state, letter in _LETTERS.items())
    return [*_aligned(rows), f"({legend})"]


def _table(states: Sequence[RunState]) -> list[str]:
    rows = [["running", "done", "steps/s", "left", "last return", "where"]]
    for run in states:
        scores = ", ".join(f"{policy} {value:,.1f}" for policy, value in run.scores.items()) or "-"
        rate = run.steps_per_second
        where, job = (run.holder.host, run.holder.job) if run.holder else ("", "")
        share = run.step / run.total_steps if run.total_steps else 0.0
        rows.append(
            [
                run.key.label,
                f"{share:.0%}",
                "-" if rate is None else f"{rate:,.0f}",
                duration(run.seconds_left),
                scores,
                where + (f" job {job or run.job}" if job or run.job else ""),
            ]
        )
    return _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def watch(refresh: Callable[[], tuple[str, list[RunState]]], seconds: float) -> None:
    """Print the report repeatedly until all runs have ended. `refresh` returns the current report and states."""
    while True:
        text, states = refresh()
        clear = "\033[H\033[2J" if sys.stdout.isatty() else ""
        print(f"{clear}{text}\n\n{time.strftime('%H:%M:%S')}", flush=True)
        if not any(run.state in ("queued", "running") for run in states):
            return
        time.sleep(seconds)
