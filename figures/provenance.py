"""The part of the report that says what was run: code, hardware, time and the config of every run."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from html import escape
from typing import Any

from figures.tables import DASH, Cell, html_table
from results.checks import IDENTITY_KEYS, differing_keys, group_runs
from results.records import Results, Run


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


def count_text(count: int) -> str:
    """A large count, shortened: ``12,345``, ``1.2 M``."""
    return f"{count:,}" if count < 1_000_000 else f"{count / 1e6:,.1f} M"


def commit_text(machine: dict[str, Any]) -> str:
    """The first letters of the commit, with a plus sign for uncommitted changes."""
    commit = machine.get("commit")
    return (str(commit)[:10] + (" + changes" if machine.get("dirty") else "")) if commit else "unknown"


def hardware_text(machine: dict[str, Any]) -> str:
    """The GPU where there was one, the CPU otherwise."""
    return _fact(machine.get("gpu") or machine.get("cpu")) or "unknown"


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_fact(own)}" for name, own in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_fact, value))
    return "" if value is None else str(value)


def _machines(results: Results) -> str:
    facts = ("python", "torch", "cpu", "gpu")
    counted: Counter[tuple[str, ...]] = Counter()
    seconds: dict[tuple[str, ...], float] = defaultdict(float)
    for run in results.runs:
        key = (commit_text(run.machine), *(_fact(run.machine.get(name)) or DASH for name in facts))
        counted[key] += 1
        seconds[key] += run.status.wall_seconds
    rows: list[list[Cell]] = [
        [*((text, text) for text in key), (str(count), count), (duration(seconds[key]), seconds[key])]
        for key, count in sorted(counted.items())
    ]
    return html_table(["Commit", "Python", "PyTorch", "CPU", "GPU", "Runs", "Time"], rows)


def _runs_table(results: Results) -> str:
    header = ["Task", "Variant", "Algorithm", "Seed", "State", "Steps", "Of", "Time", "Steps/s", "Commit", "Hardware"]
    return html_table([*header, "Config"], [_run_row(run) for run in results.runs])


def _run_row(run: Run) -> list[Cell]:
    status, cell = run.status, run.cell
    speed = status.step / status.wall_seconds if status.wall_seconds > 0 else float("-inf")
    commit, hardware = commit_text(run.machine), hardware_text(run.machine)
    state = "unfinished" if status.state == "running" else status.state
    return [
        *((text, text) for text in (cell.task, cell.variant, cell.algorithm)),
        (str(cell.seed), cell.seed),
        (state, state),
        (f"{status.step:,}", status.step),
        (f"{run.total_steps:,}", run.total_steps),
        (duration(status.wall_seconds), status.wall_seconds),
        (f"{speed:,.0f}" if speed > 0 else DASH, speed),
        (commit, commit),
        (hardware, hardware),
        (run.config_hash[:10], run.config_hash),
    ]


def _config_block(task: str, variant: str, algorithm: str, runs: list[Run]) -> str:
    differing = differing_keys(runs)
    seeds = ", ".join(str(run.cell.seed) for run in runs)
    shared = {name: value for name, value in runs[0].config.items() if name not in IDENTITY_KEYS}
    parts = [
        f"<details><summary>{escape(task)} \u00b7 {escape(algorithm)} \u00b7 {escape(variant)}"
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
