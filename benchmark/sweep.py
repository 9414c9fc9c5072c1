"""Many runs: plan them, run them locally or on a cluster, report their progress, collect their results.

    python -m benchmark.sweep --suite smoke                        make unfinished runs, then collect
    python -m benchmark.sweep --suite all --launcher slurm --profile gpu
    python -m benchmark.sweep --suite quick --set algorithm.hidden=64      the same suite with another setting
    python -m benchmark.sweep plan --suite all --estimate
    python -m benchmark.sweep plan --suite all --estimate --device-model h100
    python -m benchmark.sweep status --suite all --watch
    python -m benchmark.sweep retry --suite all --launcher slurm --profile gpu

The same command continues where it stopped: finished runs are never repeated, and runs that another process works on or
that wait in a queue are left alone. Every run has a separate process with its output in its folder (output.log), so
that a failure affects no other run. Ctrl-C, SIGTERM and a closed terminal (SIGHUP) stop local runs after a checkpoint;
jobs on a cluster continue.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmark.console import first_line, tell
from benchmark.errors import InUseError, UserError, report_errors
from benchmark.launchers import HERE, LAUNCHERS, QUEUE, Jobs, LaunchOptions, jobs_of_all, launcher
from benchmark.options import add_import, add_keep_checkpoint, add_settings, settings_of
from benchmark.plan import (
    PlannedRun,
    plan_runs,
    print_estimates,
    print_modelled,
    print_plan,
    select,
    with_maps,
)
from benchmark.references import missing_references
from benchmark.requests import RunRequest
from benchmark.status import RunState, report, state_of, watch
from benchmark.suite_file import ENDING
from benchmark.suites import SUITES, requests_of
from benchmark.variants import with_settings
from results.arguments import Parser
from results.errors import IncompleteError, ResultsError
from results.files import readable_os_errors
from results.keys import RunKey
from results.layout import COLLECTED, SWEEP
from results.lock import RunLock
from results.words import counted

ACTIONS = {
    "run": "make unfinished runs, here or on a cluster, and collect (the default)",
    "plan": "list the runs to make, and those finished, failed or impossible here",
    "submit": "queue unfinished runs on a cluster, and return",
    "status": "show the progress of the runs",
    "retry": "like run, including runs that failed or were lost",
    "cancel": "cancel the jobs of these runs",
    "collect": "write the finished runs as one published set",
}
TO_MAKE = ("absent", "stopped", "lost")
WATCH_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 300.0
"""Seconds to wait for another command that is starting its runs."""


def main() -> int:
    """Entry point of `python -m benchmark.sweep`."""
    options = parse_arguments()
    requests, options.tasks = with_maps(requests_of(options.suite), options.tasks)
    options.suite = Path(options.suite).stem if options.suite.endswith(ENDING) else options.suite
    results = options.results or Path("results") / ("raw" if options.suite == "all" else options.suite)
    if results.exists() and not results.is_dir():
        raise UserError(f"--results {results}: this is a file; give the folder of the runs")
    suite = select(requests, options.tasks, options.algorithms, options.seeds)
    requests = with_settings(suite, settings_of(options))
    options.changed = any(was.key != now.key for was, now in zip(suite, requests, strict=True))
    action = Sweep(options, results, requests)
    return {
        "run": action.run,
        "plan": action.plan,
        "submit": action.submit,
        "status": action.status,
        "retry": action.run,
        "cancel": action.cancel,
        "collect": action.collect,
    }[options.action]()


class Sweep:
    """One command on the runs of a suite."""

    def __init__(self, options: argparse.Namespace, results: Path, requests: Sequence[RunRequest]) -> None:
        self.options, self.results, self.requests = options, results, requests
        chosen = LaunchOptions(
            results, options.suite, options.device, options.workers, options.profile or "", tuple(options.override)
        )
        self.launchers = {name: launcher(name, chosen) for name in LAUNCHERS}
        self.launcher = self.launchers[options.launcher]

    def plan(self) -> int:
        """Print the state of every run."""
        states = self._states()
        plans = plan_runs(self.requests, self.results, self.launcher.prepare(), states)
        print_plan(plans, states)
        if self.options.device_model:
            from benchmark.profiling.gpu_timings import (
                read_timings,  # imported late, as it loads torch
            )

            print_modelled(plans, self.options.device_model, read_timings())
        elif self.options.estimate:
            print_estimates(plans, self.options.workers)
        return 0

    def status(self) -> int:
        """Print the progress of the runs, once or until all have ended."""
        if self.options.watch:
            watch(self._report, WATCH_SECONDS)
        else:
            print(self._report()[0])
        return 0

    def run(self) -> int:
        """Run everything unfinished and collect; the exit status is 1 if anything failed."""
        plans, left_out = self._hand_out()
        outcome = self.launcher.wait(self._report)
        before = sum(item.state == "finished" for item in plans)
        tell(f"{outcome.made} finished now, {before} had finished before, {outcome.failed} failed")
        if outcome.elsewhere:
            tell(f"made, or being made, by other processes: {counted(outcome.elsewhere, 'run')}")
        return self._collect_if_whole(bool(left_out or outcome.failed or outcome.unplayed))

    def submit(self) -> int:
        """Queue everything unfinished and return; the exit status is 1 if anything was left out."""
        if not self.launcher.detached:
            others = ", ".join(name for name, one in self.launchers.items() if one.detached)
            raise UserError(f"submit: runs of --launcher {self.options.launcher} end with the command; choose {others}")
        return int(self._hand_out()[1])

    def cancel(self) -> int:
        """Cancel the jobs that have these runs."""
        keys = {request.key for request in self.requests}
        numbers = [number for one in self.launchers.values() for number in one.cancel(keys)]
        tell(f"{counted(len(numbers), 'job')} cancelled" + (f": {', '.join(numbers)}" if numbers else ""))
        others = {one.holder for one in self._states().values() if one.holder is not None and not one.holder.job}
        for holder in sorted(map(str, others)):
            tell(f"running without a scheduler: {holder}; stop its sweep with Ctrl-C")
        return 0

    def collect(self) -> int:
        """Write the published form of the suite's runs."""
        from results.collect import collect  # imported late, as it loads pandas

        if self.options.changed and self.options.output is None:
            raise UserError("collect --set needs --output DIR: the suite itself is collected in its results folder")
        plans = plan_runs(self.requests, self.results, self.launcher.prepare(), self._states())
        hashes = {item.key: item.config.digest() for item in plans if item.config is not None}
        output = self.options.output or self.results / COLLECTED
        chosen = {"incomplete": self.options.incomplete, "compact": self.options.compact, "hashes": hashes}
        try:
            lines = collect(self.results, [item.key for item in plans], output, self.options.suite, **chosen)
        except IncompleteError as error:
            raise ResultsError(f"{error} (the action collect with --incomplete accepts this)") from error
        tell(*lines)
        return 0

    def _collect_if_whole(self, failed: bool) -> int:
        """Collect after the runs, unless only a part of the suite was made, which would replace the whole."""
        if failed:
            return 1
        if self.options.tasks or self.options.algorithms or self.options.seeds:
            tell("not collected, as this is a part of the suite")
            return 0
        if self.options.changed:
            tell("not collected, as settings of the suite were changed: the action collect with --output DIR does it")
            return 0
        try:
            return self.collect()
        except UserError as error:
            tell(str(error))
            return 0

    def _hand_out(self) -> tuple[list[PlannedRun], bool]:
        """Give the launcher the runs to make. Returns all runs, and whether any was left out for a reason that can be
        fixed."""
        device = self.launcher.prepare()
        with self._alone():
            plans = plan_runs(self.requests, self.results, device, self._states())
            self.launcher.refuse(plans)
            again = ("failed",) if self.options.action == "retry" else ()
            todo = [item for item in plans if item.state in (*TO_MAKE, *again)]
            references = missing_references((item.config for item in plans if item.config is not None), self.results)
            numbers = self.launcher.submit(todo, references)
        if self.launcher.detached:
            queued = f"{counted(len(todo), 'run')} queued in {counted(len(numbers), 'job')}"
            tell(queued + (f": {numbers[0]} ..." if numbers else ""))
        return plans, _report_left_out(plans, self.options)

    def _report(self) -> tuple[str, list[RunState]]:
        """The progress of the runs in words, and their states."""
        jobs = self._jobs()
        states = list(self._states(jobs).values())
        for one in self.launchers.values():
            states = one.explain(states)
        text = report(states, self.options.suite)
        if jobs.silent:
            text += f"\nthe scheduler does not answer ({jobs.silent}): runs that are shown as queued may have ended"
        return text, states

    def _jobs(self) -> Jobs:
        return jobs_of_all(list(self.launchers.values()))

    def _states(self, jobs: Jobs | None = None) -> dict[RunKey, RunState]:
        jobs = jobs or self._jobs()
        by_key = {request.key: request for request in self.requests}
        return {
            key: state_of(self.results, request, jobs.now.get(key), jobs.last.get(key, ""))
            for key, request in by_key.items()
        }

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Exclusive access for starting runs: a second command waits until the first has started its runs. Raises
        UserError after a timeout."""
        folder = self.results / SWEEP
        with readable_os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + LONGEST_WAIT_SECONDS
        while True:
            try:
                with readable_os_errors(folder):
                    lock = RunLock(folder)
                break
            except InUseError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
        try:
            yield
        finally:
            lock.release()


def _report_left_out(plans: Sequence[PlannedRun], options: argparse.Namespace) -> bool:
    """Report the runs left out, with the reasons. Returns whether any of the reasons can be fixed here."""
    for reason, count in Counter(item.reason for item in plans if item.config is None).items():
        tell(f"unavailable: {counted(count, 'run')}: {reason}")
    states = ("refused", "stale", "damaged", *(() if options.action == "retry" else ("failed",)))
    left_out = [item for item in plans if item.state in states]
    for item in left_out:
        advice = " (run it again with the action retry)" if item.state == "failed" else ""
        tell(f"{item.state}: {item.name}: {item.reason}{advice}")
    for state in ("queued", "running"):
        count = sum(item.state == state for item in plans)
        if count:
            tell(f"{state}, of other processes: {counted(count, 'run')}")
    return bool(left_out)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line of `python -m benchmark.sweep`."""
    actions = "\n".join(f"  {name:<8} {words}" for name, words in ACTIONS.items())
    parser = Parser(
        prog="python -m benchmark.sweep",
        description=f"{first_line(__doc__)}\n\nactions:\n{actions}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", nargs="?", choices=ACTIONS, default="run", metavar="ACTION", help="default: run")
    parser.add_argument(
        "--suite",
        required=True,
        metavar="NAME",
        help=f"{', '.join(SUITES)}; or a {ENDING} file that describes one (benchmark/suite_file.py)",
    )
    add_import(parser)
    parser.add_argument(
        "--tasks", nargs="+", default=[], help="only these tasks of the suite, or the paths of configurations"
    )
    parser.add_argument("--algorithms", nargs="+", default=[], help="only these algorithms of the suite")
    parser.add_argument("--seeds", nargs="+", type=int, default=[], help="these seeds instead of the suite's")
    parser.add_argument("--results", type=Path, help="folder of the runs; default: results/SUITE, of all: results/raw")
    parser.add_argument("--launcher", choices=LAUNCHERS, help=f"where runs are made; default: {HERE}, submit: {QUEUE}")
    parser.add_argument("--workers", type=int, default=1, help="local: concurrent runs")
    parser.add_argument("--profile", help="slurm: a name in slurm/profiles, or the path of a .toml file")
    parser.add_argument("--override", nargs="+", default=[], metavar="KEY=VALUE", help="slurm: changes to the profile")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:K")
    add_settings(
        parser,
        "change a setting of all runs that have it, which become the variants VARIANT+NAME=VALUE; may be given several "
        "times; python -m benchmark.train --task T --algorithm A --help lists them",
    )
    add_keep_checkpoint(parser)
    parser.add_argument("--dry-run", action="store_true", help="the action plan")
    parser.add_argument("--estimate", action="store_true", help="plan: with memory and time of every kind of run")
    parser.add_argument("--watch", action="store_true", help="status: repeat until all runs have ended")
    parser.add_argument(
        "--device-model",
        choices=("h100", "h200"),
        help="plan --estimate: GPU-hours by counted FLOPs and bytes instead, needs no GPU (see benchmark.profiling)",
    )
    parser.add_argument("--output", type=Path, help=f"collect: folder of the set; default: RESULTS/{COLLECTED}")
    parser.add_argument(
        "--compact", action="store_true", help="collect: keep every episode of the last evaluations only"
    )
    parser.add_argument("--incomplete", action="store_true", help="collect: even if runs are missing or unfinished")
    options = parser.parse_args(arguments)
    if options.workers < 1:
        raise UserError(f"--workers {options.workers}: expected a positive number")
    if options.launcher is None:
        options.launcher = QUEUE if options.action == "submit" else HERE
    if (
        (options.profile or options.override)
        and options.action in ("run", "retry", "plan")
        and options.launcher != QUEUE
    ):
        given = f"--profile {options.profile}" if options.profile else f"--override {' '.join(options.override)}"
        raise UserError(f"{given}: only --launcher {QUEUE} has profiles: add --launcher {QUEUE}, or leave this out")
    if options.device_model and not options.estimate:
        raise UserError("--device-model needs --estimate: python -m benchmark.sweep plan --suite all --estimate ...")
    if options.dry_run or (options.estimate and options.action == "run"):
        options.action = "plan"
    return options


if __name__ == "__main__":
    sys.exit(report_errors(main))
