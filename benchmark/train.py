"""Command line of one training run.

    python -m benchmark.train --task mpe/cooperative_navigation_3 --algorithm ip --seed 0 --total-steps 30000

The same command again continues a run that was stopped, from its last checkpoint and with the same numbers as if it had
never been stopped. A finished run is left as it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import algorithms
from benchmark.config import parse_assignments, resolve
from benchmark.console import first_line, tell
from benchmark.errors import report_errors
from benchmark.options import choose_device, engine_override
from benchmark.runs import run
from benchmark.tasks import TASKS, default_total_steps, located

__all__ = ["main", "parse_arguments", "run"]


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Command line of `python -m benchmark.train`."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.train", description=first_line(__doc__))
    parser.add_argument(
        "--task",
        required=True,
        help=f"for example {TASKS[0].name}, see benchmark/tasks.py; or the path of a CityFlow configuration",
    )
    parser.add_argument("--algorithm", required=True, help=f"one of {', '.join(algorithms.ALGORITHMS)}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--total-steps", type=int, help="environment steps over all copies; default: the paper's")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:K")
    parser.add_argument("--results", type=Path, default=Path("results/raw"), help="folder below which runs are kept")
    parser.add_argument("--variant", help="label of these settings; default: made from the --set options")
    parser.add_argument("--engine", help="engine of cityflow tasks: builtin or cityflow")
    parser.add_argument("--backend", help="engine of magent tasks: auto, numba, torch or magent2")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return parser.parse_args(arguments)


def main() -> int:
    """Entry point of `python -m benchmark.train`."""
    options = parse_arguments()
    task, overrides = located(options.task, parse_assignments(options.assignments))
    config = resolve(
        task,
        options.algorithm,
        options.seed,
        options.total_steps if options.total_steps is not None else default_total_steps(task),
        overrides | engine_override(task, options),
        options.variant,
        choose_device(options.device),
    )
    path = run(config, options.results, options.quiet)
    tell(f"finished: {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(report_errors(main))
