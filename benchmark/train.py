"""One training run.

    python -m benchmark.train --task mpe/cooperative_navigation_3 --algorithm ip --seed 0 --total-steps 30000
    python -m benchmark.train --task mpe/cooperative_navigation_3 --algorithm ip --help     shows every setting

The same command again continues a run that was stopped, from its last checkpoint and with the same numbers as if it had
never been stopped. A finished run is left as it is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import algorithms
from benchmark.config import RunConfig, resolve
from benchmark.console import first_line, tell
from benchmark.errors import report_errors
from benchmark.options import add_import, add_keep_checkpoint, add_settings, choose_device, settings_of
from benchmark.tasks import TASKS, default_total_steps, located
from results.arguments import Parser

__all__ = ["main", "parse_arguments", "run"]


def run(config: RunConfig, results: str | Path, quiet: bool = False) -> Path:
    """Train until `config.total_steps` in a folder below `results`, resuming where a checkpoint exists. Returns the
    run's folder. See `benchmark.runs.run`, which is imported late because it loads torch."""
    from benchmark import runs

    return runs.run(config, results, quiet)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line of `python -m benchmark.train`."""
    parser = Parser(prog="python -m benchmark.train", description=first_line(__doc__), add_help=False)
    parser.add_argument("-h", "--help", action="store_true", help="options, and settings of --task and --algorithm")
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
    add_settings(parser, "change a setting, such as algorithm.gamma=0.9; may be given several times")
    add_keep_checkpoint(parser)
    add_import(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress")
    given = sys.argv[1:] if arguments is None else list(arguments)
    if not {"-h", "--help"}.isdisjoint(given):
        _show_help(parser, given)
    return parser.parse_args(given)


def _show_help(parser: argparse.ArgumentParser, given: list[str]) -> NoReturn:
    """Print the options, and the settings of the task and the algorithm that are named."""
    from benchmark.described import settings_help

    named = Parser(prog=parser.prog, add_help=False)
    named.add_argument("--task")
    named.add_argument("--algorithm")
    add_import(named)
    options, _ = named.parse_known_args(given)
    settings = settings_help(options.task, options.algorithm)
    parser.print_help()
    print(f"\n{settings}", end="")
    raise SystemExit(0)


def main() -> int:
    """Entry point of `python -m benchmark.train`."""
    options = parse_arguments()
    task, overrides = located(options.task, settings_of(options))
    config = resolve(
        task,
        options.algorithm,
        options.seed,
        options.total_steps if options.total_steps is not None else default_total_steps(task),
        overrides,
        options.variant,
        choose_device(options.device),
    )
    path = run(config, options.results, options.quiet)
    tell(f"finished: {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(report_errors(main))
