"""Many runs: plan them, estimate them, run them side by side, skip what is finished, report what failed.

    python -m benchmark.sweep --suite smoke
    python -m benchmark.sweep --suite all --tasks mpe/cooperative_navigation_15 --seeds 0 1 --estimate

Each run is a process of its own with its output in its run folder (output.log), so one that fails takes no other with
it. Ctrl-C and SIGTERM stop all of them after a checkpoint; the same command goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

import algorithms
import envs
from benchmark import acceleration, memory
from benchmark.config import RunConfig, resolve
from benchmark.errors import UserError, report_errors
from benchmark.files import read_json
from benchmark.folder import run_path, status_of
from benchmark.references import write_references
from benchmark.suites import SUITES, Cell
from benchmark.timing import estimate_seconds
from benchmark.train import choose_device, engine_override

_POLL_SECONDS = 0.5


@dataclass(slots=True)
class Plan:
    """A cell with its resolved settings, or the reason why it cannot run."""

    cell: Cell
    config: RunConfig | None
    state: str
    """absent, unfinished (running or stopped), finished, failed, unavailable, or refused by this machine."""
    reason: str = ""

    @property
    def name(self) -> str:
        """Short name for messages."""
        return f"{self.cell.task} {self.cell.algorithm} {self.cell.variant} seed {self.cell.seed}"


def select(cells: list[Cell], tasks: list[str], names: list[str], seeds: list[int]) -> list[Cell]:
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
    return [Cell(c.task, c.algorithm, seed, c.total_steps, c.variant, c.overrides) for c in unique for seed in seeds]


def plan(cells: list[Cell], results: Path, device: str) -> list[Plan]:
    """Resolve every cell and look at what its folder says."""
    plans = []
    for cell in cells:
        try:
            config = resolve(
                cell.task, cell.algorithm, cell.seed, cell.total_steps, cell.overrides, cell.variant, device
            )
            algorithms.check_supported(cell.algorithm, config.spec())
        except (envs.EnvironmentNotAvailableError, algorithms.UnsupportedTaskError) as error:
            plans.append(Plan(cell, None, "unavailable", str(error)))
            continue
        status = status_of(run_path(results, config))
        state = "unfinished" if status["state"] == "running" else status["state"]
        plans.append(Plan(cell, config, state, status.get("message", "")))
    return plans


def refuse_what_cannot_run(plans: list[Plan]) -> None:
    """Mark runs that this machine cannot make, for lack of memory or of what `training.acceleration` needs."""
    for item in plans:
        if item.config is not None and item.state != "finished":
            try:
                acceleration.require(item.config.training.acceleration, item.config.device)
                memory.require(item.config)
            except UserError as error:
                item.state, item.reason = "refused", str(error)


def print_plan(plans: list[Plan]) -> None:
    """One line per cell."""
    for item in plans:
        reason = f": {item.reason}" if item.reason else ""
        print(f"{item.state:<12} {item.name}, {item.cell.total_steps} steps{reason}")
    counts = Counter(item.state for item in plans)
    print(f"{len(plans)} runs: " + ", ".join(f"{count} {state}" for state, count in sorted(counts.items())))


def print_estimates(plans: list[Plan], workers: int) -> None:
    """Memory and time of every kind of cell, measured with a few steps, and what all of it takes."""
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
            print(f"{' '.join(key):<64} {needed}{fits}, {_duration(seconds)} a run")
        total += per_kind[key][1]
    unavailable = sum(item.config is None for item in plans)
    print(f"total: about {_duration(total / workers)} with {workers} workers, as measured on this machine now")
    if unavailable:
        print(f"not counted: {unavailable} runs that are unavailable (--dry-run lists them)")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


class Pool:
    """Runs cells in subprocesses, a few at a time."""

    def __init__(self, results: Path, workers: int) -> None:
        self.results, self.workers = results, workers
        self.waiting: list[Plan] = []
        self.running: dict[subprocess.Popen[bytes], Plan] = {}
        self.failed: list[Plan] = []

    def run(self, plans: list[Plan]) -> None:
        """Run all; returns when every one has finished or failed."""
        self.waiting = list(plans)
        total = sum(item.cell.total_steps for item in plans)
        bar = tqdm(total=total, desc="sweep", unit="step", unit_scale=True, disable=not sys.stderr.isatty())
        done_steps = 0
        before = signal.signal(signal.SIGTERM, _interrupt)
        try:
            while self.waiting or self.running:
                while self.waiting and len(self.running) < self.workers:
                    self._start(self.waiting.pop(0))
                time.sleep(_POLL_SECONDS)
                done_steps += self._collect()
                bar.n = done_steps + sum(self._steps_of(item) for item in self.running.values())
                bar.set_postfix(running=len(self.running), waiting=len(self.waiting), failed=len(self.failed))
        finally:
            self._stop()
            bar.close()
            signal.signal(signal.SIGTERM, before)

    def _start(self, item: Plan) -> None:
        assert item.config is not None
        cell, config = item.cell, item.config
        path = run_path(self.results, config)
        path.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "benchmark.train", "--task", cell.task, "--algorithm", cell.algorithm]
        command += ["--seed", str(cell.seed), "--total-steps", str(cell.total_steps), "--variant", cell.variant]
        command += ["--device", config.device, "--results", str(self.results)]
        for key, value in cell.overrides.items():
            command += ["--set", f"{key}={value}"]
        with (path / "output.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        self.running[process] = item
        _say(f"started   {item.name}")

    def _collect(self) -> int:
        """Take note of processes that ended; returns the steps of their runs."""
        steps = 0
        for process in [p for p in self.running if p.poll() is not None]:
            item = self.running.pop(process)
            assert item.config is not None
            path = run_path(self.results, item.config)
            status = status_of(path)
            steps += item.cell.total_steps
            if process.returncode == 0 and status["state"] == "finished":
                _say(f"finished  {item.name} in {_duration(status['wall_seconds'])}")
                continue
            item.reason = status.get("message") or _last_line(path / "output.log") or f"exit {process.returncode}"
            self.failed.append(item)
            _say(f"FAILED    {item.name}: {item.reason} (see {path / 'output.log'})")
        return steps

    def _steps_of(self, item: Plan) -> int:
        assert item.config is not None
        file = run_path(self.results, item.config) / "status.json"
        return read_json(file)["step"] if file.exists() else 0

    def _stop(self) -> None:
        """Ask what still runs to write a checkpoint and stop."""
        for process in self.running:
            process.send_signal(signal.SIGTERM)
        for process in self.running:
            process.wait()


def _interrupt(number: int, frame: object) -> None:
    """What Ctrl-C does, for other signals."""
    raise KeyboardInterrupt


def _last_line(file: Path) -> str:
    lines = file.read_text(errors="replace").strip().splitlines() if file.exists() else []
    return lines[-1] if lines else ""


def _say(text: str) -> None:
    tqdm.write(text) if sys.stderr.isatty() else print(text, flush=True)


def parse_arguments() -> argparse.Namespace:
    """Command line of `python -m benchmark.sweep`."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.sweep", description=__doc__.splitlines()[0])
    parser.add_argument("--suite", required=True, choices=sorted(SUITES))
    parser.add_argument("--tasks", nargs="+", default=[], help="only these tasks of the suite")
    parser.add_argument("--algorithms", nargs="+", default=[], help="only these algorithms of the suite")
    parser.add_argument("--seeds", nargs="+", type=int, default=[], help="these seeds instead of the suite's")
    parser.add_argument("--workers", type=int, default=1, help="runs side by side")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:K")
    parser.add_argument("--engine", help="engine of cityflow tasks: builtin or cityflow")
    parser.add_argument("--backend", help="engine of magent tasks: auto, numba, torch or magent2")
    parser.add_argument("--results", type=Path, help="folder of the runs; default: results/SUITE")
    parser.add_argument("--dry-run", action="store_true", help="list the runs and their states, start nothing")
    parser.add_argument("--estimate", action="store_true", help="print memory and time per cell, start nothing")
    parser.add_argument("--retry-failed", action="store_true", help="run failed cells again, from their checkpoints")
    options = parser.parse_args()
    if options.workers < 1:
        raise UserError(f"--workers {options.workers}: expected a positive number")
    return options


def main() -> int:
    """Entry point of `python -m benchmark.sweep`."""
    options = parse_arguments()
    results = options.results or Path("results") / ("raw" if options.suite == "all" else options.suite)
    cells = select(SUITES[options.suite](), options.tasks, options.algorithms, options.seeds)
    cells = [
        dataclasses.replace(cell, overrides=cell.overrides | engine_override(cell.task, options)) for cell in cells
    ]
    plans = plan(cells, results, choose_device(options.device))
    if options.dry_run or options.estimate:
        if options.dry_run:
            print_plan(plans)
        if options.estimate:
            print_estimates(plans, options.workers)
        return 0
    return _run(plans, results, options)


def _run(plans: list[Plan], results: Path, options: argparse.Namespace) -> int:
    """Run what is not finished; the exit status is 1 where anything failed."""
    refuse_what_cannot_run(plans)
    skipped_states = {"finished", "unavailable", "refused"} | (set() if options.retry_failed else {"failed"})
    todo = [item for item in plans if item.state not in skipped_states]
    left_out = [item for item in plans if item.state in skipped_states & {"refused", "failed"}]
    for task in dict.fromkeys(item.cell.task for item in plans if item.config is not None):
        settings = {item.config.training for item in plans if item.cell.task == task and item.config is not None}
        largest = max(settings, key=lambda training: training.evaluation_episodes)
        write_references(task, results, largest.evaluation_episodes, largest.evaluation_seed)
    pool = Pool(results, options.workers)
    pool.run(todo)
    skipped = sum(item.state == "finished" for item in plans)
    unavailable = [item for item in plans if item.config is None]
    print(f"{len(todo) - len(pool.failed)} finished now, {skipped} had finished before, {len(pool.failed)} failed")
    for reason, count in Counter(item.reason for item in unavailable).items():
        print(f"unavailable: {count} runs: {reason}")
    for item in left_out:
        advice = " (run it again with --retry-failed)" if item.state == "failed" else ""
        print(f"{item.state}: {item.name}: {item.reason}{advice}")
    return 1 if pool.failed or left_out else 0


if __name__ == "__main__":
    raise SystemExit(report_errors(main))
