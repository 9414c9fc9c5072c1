"""Work of a lease done in separate processes, so that a failure, a hang or a broken GPU does not end the lease:

python -m benchmark.lease.work facts --device cuda                   one line of JSON
python -m benchmark.lease.work timings ITEMS.json --device cuda      a line for each item, when it begins and ends
python -m benchmark.lease.work runs REQUESTS.json --device cuda --results DIR --seconds S     a line for each run
"""

from __future__ import annotations

import dataclasses
import gc
import importlib.util
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmark.config import resolve
from benchmark.console import first_line
from benchmark.errors import UserError, report_errors
from benchmark.launchers.pool import command_of, environment_of
from benchmark.machine import machine_facts
from benchmark.modes import MODES, obstacle
from benchmark.requests import RunRequest
from benchmark.units import GIB
from results import layout
from results.arguments import Parser
from results.folder import is_finished, status_of
from results.keys import RunKey
from results.layout import run_folder

PACKAGES = ("numpy", "numba", "torch", "triton", "pytest", "xdist", "pytest_timeout", "hypothesis", "jaxtyping")
"""Packages whose versions are recorded; runs need the first three, tests the others."""
TIMED_SECONDS = 0.25
"""Minimum seconds of timed blocks."""
FEWEST_BLOCKS, MOST_BLOCKS = 2, 50
"""Limits of the number of timed blocks."""
TIMED_STEPS = 12
"""Timed environment steps."""
TIMED_REPLAY = 20_000
"""Transitions in the replay buffer while training is timed."""
BROKEN = 3
"""Exit status where the device no longer works in this process, so that a new one must continue."""


def facts(device: str) -> dict[str, Any]:
    """Versions, GPU and available modes. Raises UserError where there is no such device."""
    import torch

    from benchmark.options import choose_device

    choose_device(device)
    found: dict[str, Any] = {"machine": machine_facts(device)}
    found["packages"] = {name: _version(name) for name in PACKAGES}
    found["modes"] = {mode: obstacle(mode, device) for mode in MODES}
    found["disk_gib"] = round(shutil.disk_usage(".").free / GIB, 1)
    if device.startswith("cuda"):
        free, total = torch.cuda.mem_get_info(device)
        found["gpu"] = {
            "name": torch.cuda.get_device_name(device),
            "free_gib": round(free / GIB, 1),
            "total_gib": round(total / GIB, 1),
            "capability": torch.cuda.get_device_capability(device),
            "cuda": torch.version.cuda,
            "driver": _driver(),
        }
    return found


def _version(name: str) -> str | None:
    """Version of an importable package; None where it is missing, the error where it is broken."""
    if importlib.util.find_spec(name) is None:
        return None
    try:
        return str(getattr(importlib.import_module(name), "__version__", "here"))
    except Exception as error:  # whatever a broken package raises is a fact about this machine
        return f"broken: {type(error).__name__}: {error}"


def _driver() -> str | None:
    try:
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def time_items(items: Sequence[Mapping[str, Any]], device: str) -> int:
    """Measure items one after the other and print each result, or why there is none. Returns the exit status."""
    measures = {"training": time_training, "environment": time_environment, "together": time_together}
    for number, item in enumerate(items):
        print(json.dumps({"begin": number}), flush=True)
        begin = time.perf_counter()
        try:
            found = measures[item["what"]](item, device)
        except Exception as error:  # any failure: the next item may succeed
            found = {"error": f"{type(error).__name__}: {_first_line(error)}"}
        found["seconds"] = round(time.perf_counter() - begin, 2)
        print(json.dumps({"end": number, **found}), flush=True)
        if "error" in found and not _usable(device):
            return BROKEN
        if item["what"] != "environment":
            gc.collect()
    return 0


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "")


def _usable(device: str) -> bool:
    """Whether the device still works once its cache is emptied."""
    import torch

    if not device.startswith("cuda"):
        return True
    try:
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.synchronize(device)
    except RuntimeError:
        return False
    return True


def time_training(item: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Times of ordinary training: blocks before the first gradient step, blocks with gradient steps, and an evaluation;
    the fields are those of `benchmark.profiling.gpu_timings`."""
    import torch

    from benchmark.profiling.update_cost import begin_peak, peak
    from benchmark.training import Training

    where = torch.device(device)
    overrides = {"training.replay_capacity": TIMED_REPLAY} | item["settings"]
    config = resolve(item["task"], item["algorithm"], 0, 1_000_000, overrides, "timing", device)
    before = begin_peak(where)
    training = Training(config)
    rounds = max(1, round(config.training.update_interval / config.training.num_envs))

    def block() -> float:
        return _clocked(training.advance, device)

    quiet = []
    while len(training.replay) + rounds * config.training.num_envs < config.training.learning_starts:
        quiet.append(block())
    first = block()
    while not training.updates:
        first = block()
    losses = {name: value for name, value in training.take_metrics().items() if name.startswith("loss/")}
    block()  # the first block after a capture fills caches
    updates = training.updates
    blocks: list[float] = []
    while len(blocks) < FEWEST_BLOCKS or (sum(blocks) < TIMED_SECONDS and len(blocks) < MOST_BLOCKS):
        blocks.append(block())
    updates = training.updates - updates
    playing = median(quiet[1:] or quiet or [0.0])
    return {
        "agents": training.spec.num_agents,
        "copies": config.training.num_envs,
        "round_ms": 1e3 * playing / rounds,
        "gradient_step_ms": 1e3 * max(sum(blocks) - len(blocks) * playing, 0.0) / updates,
        "block_ms": 1e3 * sum(blocks) / len(blocks),
        "first_block_ms": 1e3 * first,
        "evaluation_ms": 1e3 * _clocked(training.evaluate, device),
        "peak_gib": (peak(where) - before) / GIB,
        "replay_gib": training.replay.nbytes / GIB,
        "losses": losses,
    }


def time_environment(item: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Milliseconds of one step of all copies, with a constant action."""
    import torch

    import envs

    environment = envs.make(item["task"], item["copies"], device)
    environment.reset(0)
    actions = torch.zeros(item["copies"], environment.spec.num_agents, dtype=torch.int64, device=device)
    times = [_clocked(lambda: environment.step(actions), device) for _ in range(TIMED_STEPS + 2)]
    return {"agents": environment.spec.num_agents, "step_ms": 1e3 * median(times[2:])}


def time_together(item: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Duration of several runs in one process relative to one run, from the times in their logs."""
    found = []
    folder = Path(item["folder"])
    for count in (1, item["runs"]):
        requests = [
            RunRequest(
                RunKey(item["task"], item["algorithm"], f"together-{count}", seed), item["steps"], item["settings"]
            )
            for seed in range(count)
        ]
        outcomes = train_together(requests, folder, device, item["limit_s"])
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        found.append(max(_logged_seconds(outcome) for outcome in outcomes if isinstance(outcome, Path)))
    return {"times_one": found[1] / found[0]}


def _logged_seconds(folder: Path) -> float:
    """Seconds from the second line of a run's log of times, which follows all captures, to the last one."""
    rows = [json.loads(line)["wall_seconds"] for line in (folder / layout.TIMING).read_text().splitlines()]
    if len(rows) < 3 or rows[-1] <= rows[1]:
        raise UserError(f"{folder}: too short to be timed; take more steps")
    return float(rows[-1] - rows[1])


def _clocked(call: Callable[[], Any], device: str) -> float:
    """Seconds of a call, including the work that it leaves to the device."""
    import torch

    begin = time.perf_counter()
    call()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin


def train_together(
    requests: Sequence[RunRequest], results: Path, device: str, seconds: float
) -> list[Path | Exception]:
    """Train runs concurrently for at most `seconds`: in one process where this version can, otherwise in one process
    each.

    Returns for each run its folder, or the reason why it is not finished.
    """
    if importlib.util.find_spec("benchmark.together") is not None:
        return in_this_process(requests, results, device, seconds)
    return in_processes(requests, results, device, seconds)


def in_this_process(
    requests: Sequence[RunRequest], results: Path, device: str, seconds: float
) -> list[Path | Exception]:
    """Train the runs in this process, by `benchmark.together`."""
    together = importlib.import_module("benchmark.together")
    configs = [request.resolve(device) for request in requests]
    return together.run_together(configs, results, quiet=True, deadline=time.monotonic() + seconds)


def in_processes(requests: Sequence[RunRequest], results: Path, device: str, seconds: float) -> list[Path | Exception]:
    """Train each run in a process of `benchmark.train`; processes that exceed the limit are killed."""
    deadline = time.monotonic() + seconds
    configs = [request.resolve(device) for request in requests]  # checked before any run begins
    started = []
    for request, config in zip(requests, configs, strict=True):
        environment = environment_of(config.training.threads)
        command = [sys.executable, "-m", *command_of(request, device, results), "--quiet"]
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        started.append((process, config))
    outcomes: list[Path | Exception] = []
    for process, config in started:
        path = run_folder(results, config.key)
        try:
            error = process.communicate(timeout=max(0.1, deadline - time.monotonic()))[1]
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            outcomes.append(UserError(f"not finished in time: at step {status_of(path)['step']}"))
            continue
        if process.returncode == 0 and is_finished(path, config.total_steps):
            outcomes.append(path)
        else:
            outcomes.append(UserError((error.strip().splitlines() or [f"exit status {process.returncode}"])[-1]))
    return outcomes


def make_runs(requests: Sequence[RunRequest], results: Path, device: str, seconds: float) -> int:
    """Train runs and print a line for each. Returns the exit status, which is 1 where a run is unfinished."""
    outcomes = train_together(requests, results, device, seconds)
    for request, outcome in zip(requests, outcomes, strict=True):
        reason = "" if isinstance(outcome, Path) else f"{type(outcome).__name__}: {outcome}"
        print(
            json.dumps({**request.key._asdict(), "reason": reason}),
            flush=True,
        )
    return int(any(isinstance(outcome, Exception) for outcome in outcomes))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `python -m benchmark.lease.work`."""
    parser = Parser(prog="python -m benchmark.lease.work", description=first_line(__doc__))
    parser.add_argument("work", choices=("facts", "timings", "runs"))
    parser.add_argument("given", nargs="?", type=Path, help="a JSON file: what to time, or which runs to make")
    parser.add_argument("--device", required=True)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0)
    options = parser.parse_args(arguments)
    if options.work == "facts":
        print(json.dumps(facts(options.device)), flush=True)
        return 0
    if options.given is None:
        raise UserError(f"{options.work}: the JSON file of items or runs is missing")
    given = json.loads(options.given.read_text())
    if options.work == "timings":
        return time_items(given, options.device)
    if options.results is None:
        raise UserError("runs: --results DIR is missing")
    return make_runs(from_json(given), options.results, options.device, options.seconds)


def as_json(requests: Sequence[RunRequest]) -> str:
    """Requests in the form that `runs` reads."""
    return json.dumps([dataclasses.asdict(request) for request in requests])


def from_json(given: Sequence[Mapping[str, Any]]) -> list[RunRequest]:
    """The requests written by `as_json`."""
    return [RunRequest(RunKey(*record["key"]), record["total_steps"], record["overrides"]) for record in given]


if __name__ == "__main__":
    raise SystemExit(report_errors(main))
