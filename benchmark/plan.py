"""What a suite's runs are, and which of them this machine can make."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import algorithms
import envs
from benchmark.budget import require_learning
from benchmark.config import RunConfig, resolve
from benchmark.errors import UserError
from benchmark.files import read_json
from benchmark.status import RunState, cell_path, duration, name_of, state_of
from benchmark.suites import Cell
from benchmark.tasks import located
from results.identity import changed_files, hash_of

if TYPE_CHECKING:
    from envs.protocols import EnvironmentSpec


@dataclass(slots=True)
class Plan:
    """A run of a suite with its resolved settings, or the reason why it cannot be made."""

    cell: Cell
    config: RunConfig | None
    state: str
    """One of `status.STATES`, or: `unavailable`, the task's data or program is not here; `refused`, this machine cannot
    make it, or it would learn nothing; `stale`, its folder was made with other settings."""
    reason: str = ""

    @property
    def name(self) -> str:
        """Short name for messages."""
        return name_of(self.cell)


def select(cells: Sequence[Cell], tasks: Sequence[str], names: Sequence[str], seeds: Sequence[int]) -> list[Cell]:
    """The cells asked for. Raises UserError where a filter matches nothing."""
    for label, wanted, present in (
        ("--tasks", tasks, {cell.task for cell in cells}),
        ("--algorithms", names, {cell.algorithm for cell in cells}),
    ):
        for value in wanted:
            if value not in present:
                raise UserError(f"{label} {value}: not in this suite, which has {', '.join(sorted(present))}")
    template = [cell for cell in cells if (not tasks or cell.task in tasks) and (not names or cell.algorithm in names)]
    if not seeds:
        return template
    unique = {(c.task, c.algorithm, c.variant): c for c in template}.values()
    return [dataclasses.replace(cell, seed=seed) for cell in unique for seed in seeds]


def with_maps(cells: Sequence[Cell], tasks: Sequence[str]) -> tuple[list[Cell], list[str]]:
    """The cells of a suite and those of `tasks` that are paths of CityFlow configurations; the names of all `tasks`.

    A city has the runs of that traffic task of the suite whose number of signals is nearest to its own, with their
    settings. Raises UserError for a path where the suite has no traffic task, and what `envs.locate` raises.
    """
    present = {cell.task for cell in cells}
    found, names = list(cells), []
    for given in tasks:
        name, overrides = (given, {}) if given in present else located(given)
        names.append(name)
        if not overrides:
            continue
        signals = {task: int(task.rpartition("_")[2]) for task in sorted(present) if task.startswith("cityflow/")}
        if not signals:
            raise UserError(
                f"--tasks {given}: this suite has no traffic task whose settings a map could take; use signals"
            )
        count = int(name.rpartition("_")[2])
        nearest = min(signals, key=lambda task: abs(signals[task] - count))
        found += [
            dataclasses.replace(cell, task=name, overrides=overrides | cell.overrides)
            for cell in cells
            if cell.task == nearest
        ]
    return found, names


Key = tuple[str, str, str, int]
"""Task, algorithm, variant and seed: what tells the runs of a results folder apart."""


def plan(cells: Sequence[Cell], results: Path, device: str, states: Mapping[Key, RunState] | None = None) -> list[Plan]:
    """Resolve every cell and look at what its folder says; `states`, by `key_of`, are those that are known already."""
    specs: dict[tuple[str, str], EnvironmentSpec | Exception] = {}
    plans = []
    for cell in cells:
        config = resolve(cell.task, cell.algorithm, cell.seed, cell.total_steps, cell.overrides, cell.variant, device)
        try:
            spec = _spec(config, specs)
            algorithms.check_supported(cell.algorithm, spec)
        except (envs.EnvironmentNotAvailableError, algorithms.UnsupportedTaskError) as error:
            plans.append(Plan(cell, None, "unavailable", str(error)))
            continue
        own = (states or {}).get(key_of(cell)) or state_of(results, cell)
        state, reason = own.state, own.message
        if state != "damaged" and _is_stale(results, config, cell):
            state, reason = (
                "stale",
                f"its folder was made with {_other(results, config, cell)}: use another --results folder",
            )
        elif state not in ("finished", "damaged") and (problem := _cannot_learn(config, spec)):
            state, reason = "refused", problem
        plans.append(Plan(cell, config, state, reason))
    return plans


def _cannot_learn(config: RunConfig, spec: EnvironmentSpec) -> str:
    """Why a run would finish without having learnt; empty where it learns."""
    try:
        require_learning(config, spec)
    except UserError as error:
        return str(error)
    return ""


def key_of(cell: Cell) -> Key:
    """The key of a cell's run."""
    return cell.task, cell.algorithm, cell.variant, cell.seed


def _spec(config: RunConfig, known: dict[tuple[str, str], EnvironmentSpec | Exception]) -> EnvironmentSpec:
    """The spec of a run's task; equal tasks are built once."""
    key = (config.task, repr(config.environment))
    if key not in known:
        try:
            known[key] = config.spec()
        except envs.EnvironmentNotAvailableError as error:
            known[key] = error
    found = known[key]
    if isinstance(found, Exception):
        raise found
    return found


def _other(results: Path, config: RunConfig, cell: Cell) -> str:
    """What a stale folder was made with."""
    files = changed_files(read_json(cell_path(results, cell) / "config.json"), config.identity())
    return f"other files of the city ({files}; restore them)" if files else "other settings"


def _is_stale(results: Path, config: RunConfig, cell: Cell) -> bool:
    file = cell_path(results, cell) / "config.json"
    return file.exists() and hash_of(read_json(file)) != config.digest()


def refuse_what_cannot_run(plans: Sequence[Plan]) -> None:
    """Mark runs that this machine cannot make, for lack of memory or of what `training.acceleration`,
    `training.kernels` and `training.tensorboard` need."""
    from benchmark import acceleration, kernels, memory, tensorboard

    for item in _to_check(plans):
        try:
            if item.config.training.tensorboard:
                tensorboard.require()
            acceleration.require(item.config.training.acceleration, item.config.device)
            kernels.require(item.config.training.kernels, item.config.device)
            memory.require(item.config)
        except UserError as error:
            item.state, item.reason = "refused", str(error)


def refuse_what_needs_more(plans: Sequence[Plan], memory_gib: float) -> None:
    """Mark runs that need more memory than a job on a cluster's processors gets for each."""
    from benchmark import memory

    for item in _to_check(plans):
        needed = memory.estimate(item.config).total / 2**30
        if needed > memory_gib:
            item.state = "refused"
            item.reason = (
                f"needs {needed:.1f} GiB, the profile gives a run {memory_gib:g}: "
                f"--override memory_gib={math.ceil(1.2 * needed)}, or a smaller training.replay_capacity"
            )


def _to_check(plans: Sequence[Plan]) -> Iterator[Any]:
    return (
        item
        for item in plans
        if item.config is not None and item.state not in ("finished", "stale", "damaged", "refused")
    )


def print_plan(plans: Sequence[Plan], states: Mapping[Key, RunState]) -> None:
    """One line per run, then how many are in which state, and how long the rest takes by the speed of those that have
    begun."""
    for item in plans:
        reason = f": {item.reason}" if item.reason else ""
        print(f"{item.state:<12} {item.name}, {item.cell.total_steps} steps{reason}")
    counts = Counter(item.state for item in plans)
    print(f"{len(plans)} runs: " + ", ".join(f"{count} {state}" for state, count in sorted(counts.items())))
    left = seconds_left(plans, states)
    if left is not None:
        seconds, known, unknown = left
        others = f"; of {unknown} more nothing is known yet (--estimate measures)" if unknown else ""
        print(f"about {duration(seconds)} of running are left for {known} runs, by the speed of those begun{others}")


def seconds_left(plans: Sequence[Plan], states: Mapping[Key, RunState]) -> tuple[float, int, int] | None:
    """Running time that is left, by the mean speed of runs of the same task, algorithm and variant that have begun; for
    how many runs that is known, and for how many it is not. None where nothing is known, or nothing is left."""
    rates: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for (task, algorithm, variant, _), own in states.items():
        if own.steps_per_second:
            rates[task, algorithm, variant].append(own.steps_per_second)
    seconds, known, unknown = 0.0, 0, 0
    for item in plans:
        if item.config is None or item.state in ("finished", "stale", "damaged", "refused"):
            continue
        own_rates = rates.get((item.cell.task, item.cell.algorithm, item.cell.variant))
        if own_rates is None:
            unknown += 1
            continue
        begun = states.get(key_of(item.cell))
        steps = item.cell.total_steps - (begun.step if begun else 0)
        seconds, known = seconds + steps / (sum(own_rates) / len(own_rates)), known + 1
    return (seconds, known, unknown) if known else None


def print_estimates(plans: Sequence[Plan], workers: int) -> None:
    """Memory and time of every kind of cell, measured with a few steps, and what all of it takes."""
    from benchmark import memory
    from benchmark.timing import estimate_seconds

    per_kind: dict[tuple[str, str, str], tuple[str, float]] = {}
    total = 0.0
    for item in plans:
        if item.config is None or item.state == "finished":
            continue
        key = (item.cell.task, item.cell.algorithm, item.cell.variant)
        if key not in per_kind:
            needed = memory.estimate(item.config)
            fits = "" if needed.total <= memory.available_bytes(item.config.device) else "  DOES NOT FIT"
            seconds = estimate_seconds(item.config)
            per_kind[key] = (f"{needed}{fits}", seconds)
            print(f"{' '.join(key):<64} {needed}{fits}, {duration(seconds)} a run", flush=True)
        total += per_kind[key][1]
    unavailable = sum(item.config is None for item in plans)
    print(f"total: about {duration(total / workers)} with {workers} workers, as measured on this machine now")
    if unavailable:
        print(f"not counted: {unavailable} runs that are unavailable (--dry-run lists them)")


def print_modelled(plans: Sequence[Plan], name: str, timings: Sequence[Mapping[str, Any]]) -> None:
    """GPU-hours of every kind of cell by the model of a device, before and after (`benchmark.device_model`), or by what
    was measured (`benchmark.gpu_timings`) where it was."""
    from benchmark.device_model import AFTER, BEFORE, MODELS, run_seconds
    from benchmark.gpu_timings import fastest_mode, find
    from benchmark.gpu_timings import run_seconds as measured_seconds
    from benchmark.modes import COPIES, PLAIN

    model = MODELS[name]
    print(f"GPU-hours by a model, not a measurement, of {model}")
    copies = ", ".join(f"{count} copies of {platform}/" for platform, count in COPIES.items())
    print(f"before: eager, 4 copies, fp32; after: captured blocks, {copies}, TF32, fused attention")
    kinds: dict[tuple[str, str, str], list[RunConfig]] = defaultdict(list)
    for item in plans:
        if item.config is not None and item.state != "finished":
            kinds[item.cell.task, item.cell.algorithm, item.cell.variant].append(item.config)
    totals = [0.0, 0.0]
    measured = 0
    for key, configs in kinds.items():
        config, hours, marks = configs[0], [], []
        plain, best = find(timings, config, PLAIN), fastest_mode(timings, config)
        for setup, entry, mode in ((BEFORE, plain, PLAIN), (AFTER, best and best[1], best and best[0])):
            seconds = run_seconds(config, model, setup) if entry is None else measured_seconds(config, entry)
            hours.append(len(configs) * seconds / 3600)
            marks.append("" if entry is None else f"{setup.name} measured on {entry['gpu']} ({mode})")
        totals = [total + own for total, own in zip(totals, hours, strict=True)]
        measured += sum(map(bool, marks))
        note = "".join(f"; {mark}" for mark in marks if mark)
        print(f"{' '.join(key):<52} {len(configs)} runs {hours[0]:9.2f} -> {hours[1]:7.2f} h{note}", flush=True)
    print(f"total: {totals[0]:.1f} GPU-hours before, {totals[1]:.1f} after; one run at a time on one GPU")
    print(f"measured: {measured} of {2 * len(kinds)} numbers, the others are modelled")
    unavailable = sum(item.config is None for item in plans)
    if unavailable:
        print(f"not counted: {unavailable} runs that are unavailable (--dry-run lists them)")
