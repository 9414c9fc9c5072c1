"""Cost of the runs: hours per resource, environment steps per second, seconds per stage."""

from __future__ import annotations

from collections.abc import Iterable

from results.records import Run

GPU, CORE = "GPU", "core"
STAGE = "timing/seconds/"


def resource_of(run: Run) -> str:
    """Resource whose hours a run uses: a `GPU`, where its machine has one and the run used it, otherwise a CPU
    `CORE`."""
    on_cpu = str(run.machine.get("device") or "").startswith("cpu")
    return GPU if run.machine.get("gpu") and not on_cpu else CORE


def hours_of(run: Run) -> float:
    """GPU hours, or core hours: wall-clock hours times the number of threads of the run (one, where its config does not
    say)."""
    threads = int(run.config.get("training", {}).get("threads") or 1) if resource_of(run) == CORE else 1
    return run.status.wall_seconds / 3600 * threads


def speed_of(run: Run) -> float | None:
    """Environment steps per second from start to end, evaluations included, as last logged; None where nothing was
    logged."""
    name = "timing/env_steps_per_second"
    logged = next((row.values[name] for row in reversed(run.metrics) if name in row.values), None)
    if logged is not None:
        return logged
    return run.status.step / run.status.wall_seconds if run.status.step and run.status.wall_seconds else None


def stage_seconds(run: Run) -> dict[str, float]:
    """Seconds of each stage of a run as last logged, accumulated since its start."""
    timed = next((row.values for row in reversed(run.metrics) if any(map(_is_stage, row.values))), {})
    return {name.removeprefix(STAGE): value for name, value in timed.items() if _is_stage(name)}


def _is_stage(name: str) -> bool:
    return name.startswith(STAGE)


def by_resource(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Resource (`GPU`, `CORE`) -> its runs, for resources with runs."""
    listed = list(runs)
    found = {kind: [run for run in listed if resource_of(run) == kind] for kind in (GPU, CORE)}
    return {kind: group for kind, group in found.items() if group}


def total_text(runs: Iterable[Run]) -> str:
    """Total hours in words: `12.3 core hours`; with both kinds `3.0 GPU hours and 12.3 core hours`."""
    sums = {kind: sum(hours_of(run) for run in group) for kind, group in by_resource(runs).items()}
    return " and ".join(f"{hours_text(value)} {kind} hours" for kind, value in sums.items())


def hours_text(value: float) -> str:
    """Hours for display: `< 0.01`, `0.25`, `2.0`, `1,204`."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else "< 0.01" if value < 0.005 else f"{value:.2f}"
