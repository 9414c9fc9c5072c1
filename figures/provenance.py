"""The part of the report that says what was run: code, hardware, time and the config of every run."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from figures.style import algorithm_label
from figures.tables import DASH, Cell, html_table
from results.checks import IDENTITY_KEYS, differing_keys, group_runs
from results.records import Results, Run

DIRTY_NOTE = '<p class="caption">+ after a commit: made with uncommitted changes.</p>'


def runs_section(results: Results) -> str:
    """Tables of machines and runs, and the config of each, to unfold."""
    parts = [
        "<h3>Code and hardware</h3>",
        _machines(results),
        "<h3>Runs</h3>",
        _runs_table(results),
        "<h3>Configs</h3>",
    ]
    parts.append(
        "<p>Seeds of one algorithm on one task share a config; where they differ, each value is listed by seed.</p>"
    )
    for (task, variant), algorithms in group_runs(results).items():
        parts += [_config_block(task, variant, name, runs) for name, runs in algorithms.items()]
    return "\n".join(parts)


def duration(seconds: float) -> str:
    """A time in words: ``45 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02d} min"


def short_duration(seconds: float) -> str:
    """A sum of times, rounded: ``12 min``, ``5.1 h``, ``1,204 h``."""
    hours = seconds / 3600
    return duration(seconds) if hours < 1 else f"{hours:.1f} h" if hours < 100 else f"{hours:,.0f} h"


def count_text(count: int) -> str:
    """A large count, shortened: ``12,345``, ``1.2 M``."""
    return f"{count:,}" if count < 1_000_000 else f"{count / 1e6:,.1f} M"


def commit_text(machine: dict[str, Any]) -> str:
    """The first letters of the commit, with a plus sign for uncommitted changes."""
    commit = machine.get("commit")
    return (str(commit)[:10] + ("+" if machine.get("dirty") else "")) if commit else "unknown"


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_fact(own)}" for name, own in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_fact, value))
    return "" if value is None else str(value)


def _machine_facts(run: Run) -> tuple[str, ...]:
    """What the numbers of a run may depend on besides its config, and its speed does: code and hardware."""
    facts = (_fact(run.machine.get(name)) or DASH for name in ("python", "torch", "cpu", "gpu"))
    return commit_text(run.machine), *facts


def _numbered_machines(results: Results) -> dict[tuple[str, ...], int]:
    return {facts: number for number, facts in enumerate(sorted(set(map(_machine_facts, results.runs))), start=1)}


def _machines(results: Results) -> str:
    rows: list[list[Cell]] = []
    for facts, number in _numbered_machines(results).items():
        own = [run for run in results.runs if _machine_facts(run) == facts]
        seconds = sum(run.status.wall_seconds for run in own)
        words: list[Cell] = [(text, text) for text in facts]
        rows.append([(str(number), number), *words, (str(len(own)), len(own)), (duration(seconds), seconds)])
    return html_table(["Machine", "Commit", "Python", "PyTorch", "CPU", "GPU", "Runs", "Time"], rows)


def _runs_table(results: Results) -> str:
    header = ["Task", "Variant", "Algorithm", "Seed", "State", "Steps", "Of", "Time", "Steps/s"]
    machines = _numbered_machines(results)
    rows = [_run_row(run, machines[_machine_facts(run)]) for run in results.runs]
    return html_table([*header, "Machine", "Commit", "Config"], rows)


def _run_row(run: Run, machine: int) -> list[Cell]:
    status, cell = run.status, run.cell
    speed = status.step / status.wall_seconds if status.wall_seconds > 0 else float("-inf")
    commit, state = commit_text(run.machine), "unfinished" if status.state == "running" else status.state
    return [
        *((text, text) for text in (cell.task, cell.variant, algorithm_label(cell.algorithm))),
        (str(cell.seed), cell.seed),
        (state, state),
        (f"{status.step:,}", status.step),
        (f"{run.total_steps:,}", run.total_steps),
        (duration(status.wall_seconds), status.wall_seconds),
        (f"{speed:,.0f}" if speed > 0 else DASH, speed),
        (str(machine), machine),
        (commit, commit),
        (run.config_hash[:10], run.config_hash),
    ]


def _config_block(task: str, variant: str, algorithm: str, runs: list[Run]) -> str:
    differing = differing_keys(runs)
    seeds = ", ".join(str(run.cell.seed) for run in runs)
    shared = {name: value for name, value in runs[0].config.items() if name not in IDENTITY_KEYS}
    parts = [
        f"<details><summary>{escape(task)} \u00b7 {escape(algorithm_label(algorithm))} \u00b7 {escape(variant)}"
        f"<small>seeds {seeds}</small></summary>"
    ]
    hashes: list[list[Cell]] = [
        [(str(run.cell.seed), run.cell.seed), (run.config_hash, run.config_hash)] for run in runs
    ]
    header = ["Seed", "Config hash"]
    for name, values in differing.items():
        header.append(name)
        for row, value in zip(hashes, values, strict=True):
            row.append((json.dumps(value), json.dumps(value)))
    parts.append(html_table(header, hashes))
    if differing:
        parts.append(f'<p class="caption">Below: the config of seed {runs[0].cell.seed}.</p>')
    parts.append(f"<pre>{escape(json.dumps(shared, indent=2, ensure_ascii=False))}</pre>\n</details>")
    return "\n".join(parts)
