"""Several runs in one process, which take turns block by block.

    python -m benchmark.together --suite all --tasks mpe/cooperative_navigation_15 --algorithms iql --device cuda

Each run writes the same files as when it is made alone. On a GPU each run has a separate stream and separate graphs, so
that their kernels run concurrently, which kernels of several processes do only under NVIDIA's MPS. One thread issues
them all: with `training.acceleration=cuda_blocks` a block is a handful of graph launches, and no other thread can break
a capture. Wall times of a run include those of the others. Reference policies are left to `benchmark.sweep`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.config import RunConfig
from benchmark.console import first_line
from benchmark.errors import MENDABLE, InUseError, UserError, report_errors
from benchmark.options import choose_device
from benchmark.process import process_state
from results.arguments import Parser
from results.folder import is_finished, status_of
from results.layout import run_folder
from results.words import counted

if TYPE_CHECKING:
    import torch


class UnfinishedError(UserError):
    """Raised where the deadline came before the end of a run; its checkpoint is kept."""


@dataclass(slots=True)
class _Live:
    """A run in progress."""

    place: int
    """Index in the requested list."""
    blocks: Generator[None, None, None]
    stream: torch.cuda.Stream | None
    """Stream of its work on a GPU."""

    def advance(self) -> bool:
        """Train one block; returns whether there may be another."""
        import torch

        with torch.cuda.stream(self.stream):
            return next(self.blocks, self) is not self


def run_together(
    configs: Sequence[RunConfig], results: str | Path, quiet: bool = False, deadline: float | None = None
) -> list[Path | Exception]:
    """Make runs in turn, one block of each at a time, resuming those already begun. Returns for each run its folder, or
    the reason why it is unfinished. A run that fails does not affect the others.

    `deadline`: a value of `time.monotonic` after which unfinished runs write a checkpoint and stop (UnfinishedError).

    Raises UserError, before any run begins, where the runs cannot share a process or need more memory than is free;
    KeyboardInterrupt on SIGTERM, SIGUSR1, SIGUSR2, SIGHUP and Ctrl-C, after all have written a checkpoint.
    """
    from benchmark import memory, runs

    results = Path(results)
    check_together(configs, results)
    paths = [run_folder(results, config.key) for config in configs]
    outcomes: list[Path | Exception] = [UnfinishedError(f"{path} was not begun before the deadline") for path in paths]
    finished, to_make = [], []
    for place, config in enumerate(configs):
        try:
            if is_finished(paths[place], config.total_steps):
                finished.append(place)
            else:
                runs.require(config)
                to_make.append(place)
        except MENDABLE as error:
            outcomes[place] = error
    memory.require_for_all([configs[place] for place in to_make])
    stop = runs.Stop(deadline)

    def begin(place: int) -> _Live:
        blocks = runs.blocks_of(configs[place], results, stop, quiet, bar=False)
        return _Live(place, blocks, _stream(configs[place].device))

    for place in finished:  # if they are what was asked for
        _turn(begin(place), outcomes, paths)
    with runs.stop_signals(stop):
        live = [run for run in map(begin, to_make) if not stop.requested and _turn(run, outcomes, paths)]
        while live:
            live = [run for run in live if _turn(run, outcomes, paths)]
    if stop.signalled:
        raise KeyboardInterrupt
    return outcomes


def _turn(run: _Live, outcomes: list[Path | Exception], paths: Sequence[Path]) -> bool:
    """Train a block of one run, and record the outcome where it was the last."""
    path = paths[run.place]
    try:
        if run.advance():
            return True
        outcomes[run.place] = path
    except KeyboardInterrupt:
        outcomes[run.place] = UnfinishedError(
            f"{path} stopped at step {status_of(path)['step']}: run it again to continue"
        )
    except Exception as error:
        outcomes[run.place] = error
    return False


def _stream(device: str) -> torch.cuda.Stream | None:
    import torch

    return torch.cuda.Stream(device) if device.startswith("cuda") else None


def check_together(configs: Sequence[RunConfig], results: Path) -> None:
    """Raises UserError for runs that cannot share a process: the same run twice, process-wide settings that differ, or
    compiled code, which torch caches per function, up to a limit, and not per run."""
    paths = [run_folder(results, config.key) for config in configs]
    for path in paths:
        if paths.count(path) > 1:
            raise UserError(f"{path} is given twice: name each run once")
    for name in ("device", "training.threads", "training.tf32"):
        values = sorted({str(process_state(config).get(name)) for config in configs})
        if len(values) > 1:
            raise UserError(
                f"runs with {name} {' and '.join(values)} cannot share a process, which has one value of it: "
                "call once for each value"
            )
    if len(configs) > 1 and any(config.training.acceleration == "compile" for config in configs):
        raise UserError("training.acceleration=compile is for one run in a process: choose cuda_blocks or none")


def main() -> int:
    """Entry point of `python -m benchmark.together`."""
    from benchmark.plan import plan_runs, select
    from benchmark.suites import SUITES

    options = parse_arguments()
    results = options.results or Path("results") / ("raw" if options.suite == "all" else options.suite)
    requests = select(SUITES[options.suite](), options.tasks, options.algorithms, options.seeds)
    plans = plan_runs(requests, results, choose_device(options.device))
    configs = [item.config for item in plans if item.config is not None]
    failed = [f"unavailable: {item.name}: {item.reason}" for item in plans if item.config is None]
    for begin in range(0, len(configs), options.at_once):
        part = configs[begin : begin + options.at_once]
        for config, outcome in zip(part, run_together(part, results, options.quiet), strict=True):
            if isinstance(outcome, InUseError):
                print(f"elsewhere: {outcome}")
            elif isinstance(outcome, Exception):
                failed.append(f"FAILED: {run_folder(results, config.key)}: {outcome}")
    print(*failed, f"{counted(len(configs), 'run')}, {len(failed)} failed or unavailable", sep="\n")
    return int(bool(failed))


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line of `python -m benchmark.together`."""
    from benchmark.suites import SUITES

    parser = Parser(prog="python -m benchmark.together", description=first_line(__doc__))
    parser.add_argument("--suite", required=True, choices=sorted(SUITES))
    parser.add_argument("--tasks", nargs="+", default=[], help="only these tasks of the suite")
    parser.add_argument("--algorithms", nargs="+", default=[], help="only these algorithms of the suite")
    parser.add_argument("--seeds", nargs="+", type=int, default=[], help="these seeds instead of the suite's")
    parser.add_argument("--at-once", type=int, default=5, metavar="RUNS", help="number of concurrent runs; default: 5")
    parser.add_argument("--results", type=Path, help="folder of the runs; default: as for benchmark.sweep")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:K")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    options = parser.parse_args(arguments)
    if options.at_once < 1:
        raise UserError(f"--at-once {options.at_once}: expected a positive number")
    return options


if __name__ == "__main__":
    sys.exit(report_errors(main))
