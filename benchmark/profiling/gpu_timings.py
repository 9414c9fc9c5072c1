"""Timings measured on GPUs, `results/gpu_timings.json`, and the duration of runs that they predict.

    {"format": 1, "timings": [ENTRY, ...]}

Every entry says where it was measured (`gpu`, `torch`, `commit`) and what was measured; times are milliseconds:

    what "training"     task, algorithm, agents, mode (`benchmark.modes`), copies; round_ms (one choice of actions and
                        one environment step of all copies), gradient_step_ms, block_ms, evaluation_ms (one whole
                        evaluation), first_block_ms (including compilation and capture), peak_gib, replay_gib (the
                        replay buffer's part of it), losses (of the first block)
    what "environment"  task, agents, copies; step_ms of all copies
    what "together"     task, algorithm, mode, runs; times_one: duration of that many runs in one process relative to
                        one run

`python -m benchmark.lease` measures them and `python -m results.publish --packs` merges them into the file. An entry
replaces an older one of the same measurement on the same GPU.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import envs
from benchmark.config import RunConfig
from benchmark.errors import UserError
from benchmark.modes import MODES, PLAIN
from results.files import read_json

FORMAT = 1
FILE = Path(__file__).resolve().parents[2] / "results" / "gpu_timings.json"
KEY = ("gpu", "what", "task", "algorithm", "mode", "runs")
"""Fields that distinguish entries, besides the copies of an environment; fields that an entry lacks count as None."""
LOG_SECONDS = 2e-3
"""Seconds to write a line of each log."""

Entry = Mapping[str, Any]


def read_timings(path: Path = FILE) -> list[Entry]:
    """The entries of a file; none where the file does not exist. Raises UserError for a file in another format."""
    if not path.exists():
        return []
    record = read_json(path)
    if record.get("format") != FORMAT or not isinstance(record.get("timings"), list):
        raise UserError(
            f"{path}: expected format {FORMAT} and a list of timings; remove it, or use a version that reads it"
        )
    return record["timings"]


def key_of(entry: Entry) -> tuple[Any, ...]:
    """The key of an entry: what was measured, and where."""
    copies = entry.get("copies") if entry["what"] == "environment" else None
    return (*(entry.get(name) for name in KEY), copies)


def find(timings: Iterable[Entry], config: RunConfig, mode: str) -> Entry | None:
    """The timing of such training in a mode, the last where there are several; for particle tasks, that of any task
    with as many agents."""
    agents = config.spec().num_agents
    same, alike = None, None
    for entry in timings:
        if entry["what"] == "training" and (entry["algorithm"], entry["mode"]) == (config.algorithm, mode):
            if entry["task"] == config.task:
                same = entry
            elif config.task.startswith("mpe/") and entry["task"].startswith("mpe/") and entry["agents"] == agents:
                alike = entry
    return same or alike


def run_seconds(config: RunConfig, entry: Entry) -> float:
    """Seconds of a run by a timing of its kind: rounds, gradient steps, evaluations, logs."""
    settings = config.training
    rounds = config.total_steps / entry["copies"]
    updates = config.total_steps * settings.gradient_steps / settings.update_interval
    evaluations = config.total_steps / settings.evaluation_interval + 1
    full = envs.full_evaluation(config.task)
    if full:  # evaluation of the same policies in longer episodes
        longer = envs.spec(config.task, **dataclasses.asdict(config.environment) | full)
        evaluations += longer.episode_length / config.spec().episode_length
    logs = config.total_steps / settings.log_interval
    milliseconds = (
        rounds * entry["round_ms"] + updates * entry["gradient_step_ms"] + evaluations * entry["evaluation_ms"]
    )
    return milliseconds / 1e3 + logs * LOG_SECONDS


def estimate(timings: Sequence[Entry], config: RunConfig, mode: str) -> tuple[float, float] | None:
    """Seconds of a run in a mode, and of its first block, by a timing of its kind. Where only other modes have been
    timed, their timing is scaled by the ratio of the same algorithm's blocks on tasks timed in both modes. None where
    nothing is known."""
    entry = find(timings, config, mode)
    if entry is not None:
        return run_seconds(config, entry), entry["first_block_ms"] / 1e3
    found = []
    for other in MODES:
        entry, ratio = find(timings, config, other), _slower(timings, config.algorithm, mode, other)
        if entry is not None and ratio is not None:
            found.append((ratio * run_seconds(config, entry), max(1.0, ratio) * entry["first_block_ms"] / 1e3))
    return max(found, default=None)


def _slower(timings: Sequence[Entry], algorithm: str, mode: str, other: str) -> float | None:
    """Largest ratio of the durations of a block in the two modes over tasks timed in both; None where there is no such
    task."""
    blocks: dict[str, dict[str, float]] = {mode: {}, other: {}}
    for entry in timings:
        if entry["what"] == "training" and entry["algorithm"] == algorithm and entry["mode"] in blocks:
            blocks[entry["mode"]][entry["task"]] = entry["block_ms"]
    both = blocks[mode].keys() & blocks[other].keys()
    return max((blocks[mode][task] / blocks[other][task] for task in both), default=None)


def together_factor(timings: Sequence[Entry], runs: int) -> float:
    """Duration of `runs` runs in one process relative to one, the largest measured; without measurements, `runs`, as if
    they were made one after the other."""
    if runs == 1:
        return 1.0
    measured = [timing for timing in timings if timing.get("what") == "together"]
    slopes = [(timing["times_one"] - 1) / (timing["runs"] - 1) for timing in measured]
    return 1 + (runs - 1) * max(slopes, default=1.0)


def fastest_mode(timings: Iterable[Entry], config: RunConfig) -> tuple[str, Entry] | None:
    """The mode, other than the plain one, in which such a run is fastest by the timings, and its entry; None without
    timings."""
    found = [(mode, entry) for mode in MODES if mode != PLAIN and (entry := find(timings, config, mode)) is not None]
    return min(found, key=lambda pair: run_seconds(config, pair[1]), default=None)
