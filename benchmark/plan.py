"""Planning of a suite: its runs, their states, and which of them this machine can make."""

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
from benchmark.config import RunConfig
from benchmark.errors import UserError
from benchmark.requests import RunRequest
from benchmark.status import RunState, duration, state_of
from benchmark.tasks import located
from results.forms import read_config
from results.identity import changed_files, hash_of
from results.keys import RunKey
from results.layout import AGAIN, CONFIG, run_folder
from results.words import counted

if TYPE_CHECKING:
    from envs.protocols import EnvironmentSpec

NOT_TO_MAKE = ("finished", "stale", "damaged", "refused")
"""States of runs that a sweep does not make, and whose cost is not counted."""


@dataclass(slots=True)
class PlannedRun:
    """A run of a suite with its resolved settings, or the reason why it cannot be made."""

    request: RunRequest
    config: RunConfig | None
    state: str
    """One of `status.STATES`, or `unavailable` (the task's data or program is missing), `refused` (this machine cannot
    make the run, or it would not learn) or `stale` (the folder was made with other settings)."""
    reason: str = ""

    @property
    def key(self) -> RunKey:
        """The key of the run."""
        return self.request.key

    @property
    def name(self) -> str:
        """Short name for messages."""
        return self.key.label


def select(
    requests: Sequence[RunRequest], tasks: Sequence[str], names: Sequence[str], seeds: Sequence[int]
) -> list[RunRequest]:
    """The requests that match the filters. Raises UserError where a filter matches none."""
    for label, wanted, present in (
        ("--tasks", tasks, {request.key.task for request in requests}),
        ("--algorithms", names, {request.key.algorithm for request in requests}),
    ):
        for value in wanted:
            if value not in present:
                raise UserError(f"{label} {value}: not in this suite, which has {', '.join(sorted(present))}")
    template = [
        request
        for request in requests
        if (not tasks or request.key.task in tasks) and (not names or request.key.algorithm in names)
    ]
    if not seeds:
        return template
    unique = {request.key.kind: request for request in template}.values()
    return [
        dataclasses.replace(request, key=request.key._replace(seed=seed))
        for request in unique
        for seed in dict.fromkeys(seeds)
    ]


def with_maps(requests: Sequence[RunRequest], tasks: Sequence[str]) -> tuple[list[RunRequest], list[str]]:
    """The requests of a suite, with those of the `tasks` that are paths of CityFlow configurations; and the names of
    all `tasks`.

    A city gets the runs and settings of the suite's traffic task whose number of signals is nearest. Raises UserError
    for a path where the suite has no traffic task, and what `envs.locate` raises.
    """
    present = {request.key.task for request in requests}
    found, names = list(requests), []
    for given in tasks:
        name, overrides = (given, {}) if given in present else located(given)
        names.append(name)
        if name.startswith("pettingzoo/"):
            raise UserError(f"--tasks {given}: suites have no settings for other packages; use benchmark.train for it")
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
            dataclasses.replace(request, key=request.key._replace(task=name), overrides=overrides | request.overrides)
            for request in requests
            if request.key.task == nearest
        ]
    return found, names


def plan_runs(
    requests: Sequence[RunRequest], results: Path, device: str, states: Mapping[RunKey, RunState] | None = None
) -> list[PlannedRun]:
    """Resolve every request and read the state of its folder; `states` are those already known."""
    specs: dict[tuple[str, str], EnvironmentSpec | Exception] = {}
    plans = []
    for request in requests:
        config = request.resolve(device)
        try:
            spec = _spec(config, specs)
            algorithms.check_supported(config.algorithm, spec)
        except (envs.EnvironmentNotAvailableError, algorithms.UnsupportedTaskError) as error:
            plans.append(PlannedRun(request, None, "unavailable", str(error)))
            continue
        known = (states or {}).get(request.key) or state_of(results, request)
        state, reason = known.state, known.message
        recorded = {} if state == "damaged" else _recorded(results, request.key)
        if recorded and hash_of(recorded) != config.digest():
            state, reason = (
                "stale",
                f"its folder was made with {_other(recorded, config)}: use another --results folder",
            )
        elif state not in ("finished", "damaged") and (problem := _cannot_learn(config, spec)):
            state, reason = "refused", problem
        plans.append(PlannedRun(request, config, state, reason))
    return plans


def _recorded(results: Path, key: RunKey) -> dict[str, Any]:
    """The settings that a run's folder was made with; empty where the run has not begun."""
    file = run_folder(results, key) / CONFIG
    return read_config(file, AGAIN) if file.exists() else {}


def _other(recorded: Mapping[str, Any], config: RunConfig) -> str:
    """Description of the settings that a stale folder was made with."""
    files = changed_files(recorded, config.identity())
    return f"other files of the city ({files}; restore them)" if files else "other settings"


def _cannot_learn(config: RunConfig, spec: EnvironmentSpec) -> str:
    """Reason why a run would finish without having learned; empty where it learns."""
    try:
        require_learning(config, spec)
    except UserError as error:
        return str(error)
    return ""


def _spec(config: RunConfig, known: dict[tuple[str, str], EnvironmentSpec | Exception]) -> EnvironmentSpec:
    """The specification of a run's task; equal tasks are built once."""
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


def refuse_what_cannot_run(plans: Sequence[PlannedRun]) -> None:
    """Mark the runs that this machine cannot make, for lack of memory or of what `training.acceleration`,
    `training.kernels` and `training.tensorboard` require."""
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


def refuse_what_needs_more(plans: Sequence[PlannedRun], memory_gib: float) -> None:
    """Mark the runs that need more memory than a CPU job on the cluster gets per run."""
    from benchmark import memory

    for item in _to_check(plans):
        needed = memory.estimate(item.config).total / 2**30
        if needed > memory_gib:
            item.state = "refused"
            item.reason = (
                f"needs {needed:.1f} GiB, the profile gives a run {memory_gib:g}: "
                f"--override memory_gib={math.ceil(1.2 * needed)}, or a smaller training.replay_capacity"
            )


def _to_check(plans: Sequence[PlannedRun]) -> Iterator[Any]:
    return (item for item in plans if item.config is not None and item.state not in NOT_TO_MAKE)


def print_plan(plans: Sequence[PlannedRun], states: Mapping[RunKey, RunState]) -> None:
    """Print one line per run, the number of runs in each state, and the remaining time by the speed of runs that have
    begun."""
    for item in plans:
        reason = f": {item.reason}" if item.reason else ""
        print(f"{item.state:<12} {item.name}, {item.request.total_steps} steps{reason}")
    counts = Counter(item.state for item in plans)
    print(f"{counted(len(plans), 'run')}: " + ", ".join(f"{count} {state}" for state, count in sorted(counts.items())))
    left = seconds_left(plans, states)
    if left is not None:
        seconds, known, unknown = left
        others = f"; {unknown} more are not predicted yet (--estimate measures)" if unknown else ""
        runs = counted(known, "run")
        print(f"about {duration(seconds)} of running time remain for {runs}, by the speed of those begun{others}")


def seconds_left(plans: Sequence[PlannedRun], states: Mapping[RunKey, RunState]) -> tuple[float, int, int] | None:
    """Remaining running time in seconds, by the mean speed of begun runs of the same task, algorithm and variant; the
    number of runs for which it is known, and for which it is not. None where nothing is known or nothing remains."""
    rates: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for key, state in states.items():
        if state.steps_per_second:
            rates[key.kind].append(state.steps_per_second)
    seconds, known, unknown = 0.0, 0, 0
    for item in plans:
        if item.config is None or item.state in NOT_TO_MAKE:
            continue
        known_rates = rates.get(item.key.kind)
        if known_rates is None:
            unknown += 1
            continue
        begun = states.get(item.key)
        steps = item.request.total_steps - (begun.step if begun else 0)
        seconds, known = seconds + steps / (sum(known_rates) / len(known_rates)), known + 1
    return (seconds, known, unknown) if known else None


def print_estimates(plans: Sequence[PlannedRun], workers: int) -> None:
    """Print memory and time of every kind of run, measured with a few steps, and the totals."""
    from benchmark import memory
    from benchmark.profiling.timing import estimate_seconds

    per_kind: dict[tuple[str, str, str], tuple[str, float]] = {}
    total = 0.0
    for item in plans:
        if item.config is None or item.state in NOT_TO_MAKE:
            continue
        key = item.key.kind
        if key not in per_kind:
            needed = memory.estimate(item.config)
            fits = "" if needed.total <= memory.available_bytes(item.config.device) else "  DOES NOT FIT"
            seconds = estimate_seconds(item.config)
            per_kind[key] = (f"{needed}{fits}", seconds)
            print(f"{' '.join(key):<64} {needed}{fits}, {duration(seconds)} a run", flush=True)
        total += per_kind[key][1]
    unavailable = sum(item.config is None for item in plans)
    workforce = counted(workers, "worker")
    print(f"total: about {duration(total / workers)} with {workforce}, each on a core of its own;", end=" ")
    print("where two share one, about half as long again")
    if unavailable:
        print(f"not counted: {counted(unavailable, 'run')}, which cannot be made (--dry-run lists them)")


def print_modelled(plans: Sequence[PlannedRun], name: str, timings: Sequence[Mapping[str, Any]]) -> None:
    """Print the GPU-hours of every kind of run, before and after optimisation, by the model of a device, or by
    measurements where there are any (`device_model` and `gpu_timings` of `benchmark.profiling`)."""
    from benchmark.modes import COPIES, PLAIN
    from benchmark.profiling.device_model import AFTER, BEFORE, MODELS, run_seconds
    from benchmark.profiling.gpu_timings import fastest_mode, find
    from benchmark.profiling.gpu_timings import run_seconds as measured_seconds

    model = MODELS[name]
    print(f"GPU-hours by a model, not a measurement, of {model}")
    copies = ", ".join(f"{count} copies of {platform}/" for platform, count in COPIES.items())
    print(f"before: eager, 4 copies, fp32; after: captured blocks, {copies}, TF32, fused attention")
    kinds: dict[tuple[str, str, str], list[RunConfig]] = defaultdict(list)
    for item in plans:
        if item.config is not None and item.state not in NOT_TO_MAKE:
            kinds[item.key.kind].append(item.config)
    totals = [0.0, 0.0]
    measured = 0
    for key, configs in kinds.items():
        config, hours, marks = configs[0], [], []
        plain, best = find(timings, config, PLAIN), fastest_mode(timings, config)
        for setup, entry, mode in ((BEFORE, plain, PLAIN), (AFTER, best and best[1], best and best[0])):
            seconds = run_seconds(config, model, setup) if entry is None else measured_seconds(config, entry)
            hours.append(len(configs) * seconds / 3600)
            marks.append("" if entry is None else f"{setup.name} measured on {entry['gpu']} ({mode})")
        totals = [total + more for total, more in zip(totals, hours, strict=True)]
        measured += sum(map(bool, marks))
        note = "".join(f"; {mark}" for mark in marks if mark)
        print(
            f"{' '.join(key):<52} {counted(len(configs), 'run')} {hours[0]:9.2f} -> {hours[1]:7.2f} h{note}", flush=True
        )
    print(f"total: {totals[0]:.1f} GPU-hours before, {totals[1]:.1f} after; one run at a time on one GPU")
    print(f"measured: {measured} of {2 * len(kinds)} numbers, the others are modelled")
    unavailable = sum(item.config is None for item in plans)
    if unavailable:
        print(f"not counted: {counted(unavailable, 'run')}, which cannot be made (--dry-run lists them)")
