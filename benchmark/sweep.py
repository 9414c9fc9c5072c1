"""Many runs: plan them, run them here or on a cluster, see how far they are, collect what they found.

    python -m benchmark.sweep --suite smoke                        run what is not finished, then collect
    python -m benchmark.sweep --suite all --launcher slurm --profile gpu
    python -m benchmark.sweep --suite quick --set algorithm.hidden=64      the same suite with another setting
    python -m benchmark.sweep plan --suite all --estimate
    python -m benchmark.sweep plan --suite all --estimate --device-model h100
    python -m benchmark.sweep status --suite all --watch
    python -m benchmark.sweep retry --suite all --launcher slurm --profile gpu

The same command again goes on where it stopped: a finished run is never made again, a run that somebody is at work on
or that waits in a queue is left to them. Every run is a process of its own with its output in its folder (output.log),
so one that fails takes no other with it. Ctrl-C, SIGTERM and a closed terminal (SIGHUP) stop what runs here after a
checkpoint; jobs of a cluster go on.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.console import first_line, tell
from benchmark.errors import InUseError, UserError, report_errors
from benchmark.files import readable_os_errors
from benchmark.lock import RunLock
from benchmark.options import add_keep_checkpoint, add_settings, choose_device, devices_of, settings_of
from benchmark.plan import (
    Key,
    Plan,
    key_of,
    plan,
    print_estimates,
    print_modelled,
    print_plan,
    refuse_what_cannot_run,
    refuse_what_needs_more,
    select,
    with_maps,
)
from benchmark.pool import Pool, references_command
from benchmark.references import missing_references
from benchmark.status import RunState, report, state_of, summary, watch
from benchmark.suites import SUITES, Cell
from benchmark.variants import with_settings

if TYPE_CHECKING:
    from slurm.records import Jobs

ACTIONS = {
    "run": "make what is not finished, here or on a cluster, and collect (the default)",
    "plan": "what would be made, and what is finished, failed or cannot be made here",
    "submit": "queue what is not finished on a cluster, and return",
    "status": "how far the runs are",
    "retry": "as run, with the runs that failed or were lost",
    "cancel": "end the jobs that have these runs",
    "collect": "write the finished runs as one published set",
}
LAUNCHERS = ("local", "slurm", "debug")
TO_MAKE = ("absent", "stopped", "lost")
WATCH_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 300.0
"""For another command to have handed out its runs."""
COLLECTED = "collected"
"""Below the results: the published form of the suite."""


def main() -> int:
    """Entry point of `python -m benchmark.sweep`."""
    options = parse_arguments()
    results = options.results or Path("results") / ("raw" if options.suite == "all" else options.suite)
    cells, options.tasks = with_maps(SUITES[options.suite](), options.tasks)
    cells = select(cells, options.tasks, options.algorithms, options.seeds)
    suite, cells = cells, with_settings(cells, settings_of(options))
    options.changed = any(was.variant != now.variant for was, now in zip(suite, cells, strict=True))
    action = Sweep(options, results, cells)
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

    def __init__(self, options: argparse.Namespace, results: Path, cells: Sequence[Cell]) -> None:
        self.options, self.results, self.cells = options, results, cells

    def plan(self) -> int:
        """Print what there is to do."""
        states = self._states()
        plans = plan(self.cells, self.results, self._device(), states)
        print_plan(plans, states)
        if self.options.device_model:
            from benchmark.gpu_timings import read_timings  # here, as it loads torch: a sweep's status must be quick

            print_modelled(plans, self.options.device_model, read_timings())
        elif self.options.estimate:
            print_estimates(plans, self.options.workers)
        return 0

    def status(self) -> int:
        """Print how far the runs are, once or until all have ended."""
        if self.options.watch:
            watch(self._report, WATCH_SECONDS)
        else:
            print(self._report()[0])
        return 0

    def run(self) -> int:
        """Make what is to make and collect; the exit status is 1 where anything failed."""
        if self.options.launcher == "slurm":
            return max(self.submit(), self._wait_for_jobs())
        with self._alone():
            plans = self._plans()
        todo = self._todo(plans)
        if self.options.launcher == "debug":
            return self._run_here(todo)
        references = missing_references((item.config for item in plans if item.config is not None), self.results)
        commands = [references_command(own, self.results) for own in references]
        pool = Pool(self.results, self.options.workers, devices_of(self.options.device), commands)
        pool.run(todo)
        made = len(todo) - len(pool.failed) - len(pool.elsewhere)
        before = sum(item.state == "finished" for item in plans)
        tell(f"{made} finished now, {before} had finished before, {len(pool.failed)} failed")
        if pool.elsewhere:
            tell(f"{len(pool.elsewhere)} runs were made, or are being made, by somebody else")
        left_out = _report_left_out(plans, self.options)
        return self._collect_if_whole(bool(left_out or pool.failed or pool.unplayed))

    def submit(self) -> int:
        """Queue what is to make on the cluster of the profile; the exit status is 1 where anything was left out."""
        from slurm.launcher import submit
        from slurm.profiles import load, override

        if not self.options.profile:
            raise UserError("--launcher slurm needs --profile NAME: a file of slurm/profiles, or a path")
        profile = override(load(self.options.profile), self.options.override)
        device = self.options.device
        if device == "auto":
            device = "cuda" if profile.gpus else "cpu"  # a GPU that does not work is an error, no reason for the CPU
        with self._alone():
            plans = self._plans()
            if device == "cpu":
                refuse_what_needs_more(plans, profile.memory_gib)
            todo = self._todo(plans)
            numbers = submit(todo, self.results, self.options.suite, profile, device) if todo else []
        tell(f"{len(todo)} runs queued in {len(numbers)} jobs" + (f": {numbers[0]} ..." if numbers else ""))
        return int(_report_left_out(plans, self.options))

    def cancel(self) -> int:
        """End the jobs that have these runs."""
        from slurm.records import cancel_jobs

        numbers = cancel_jobs(self.results, {key_of(cell) for cell in self.cells})
        tell(f"{len(numbers)} jobs cancelled" + (f": {', '.join(numbers)}" if numbers else ""))
        others = {own.holder for own in self._states().values() if own.holder is not None and not own.holder.job}
        for holder in sorted(map(str, others)):
            tell(f"at work without a scheduler: {holder}; stop its sweep with Ctrl-C")
        return 0

    def collect(self) -> int:
        """Write the published form of the suite's runs."""
        from results.collect import collect
        from results.records import Cell as RunCell
        from results.records import ResultsError

        if self.options.changed and self.options.output is None:
            raise UserError("collect --set needs --output DIR: the suite itself is collected in its results folder")
        plans = plan(self.cells, self.results, self._device(), self._states())
        wanted = {
            key_of(item.cell): RunCell(item.cell.task, item.cell.variant, item.cell.algorithm, item.cell.seed)
            for item in plans
        }
        hashes = {wanted[key_of(item.cell)]: item.config.digest() for item in plans if item.config is not None}
        output = self.options.output or self.results / COLLECTED
        chosen = {"incomplete": self.options.incomplete, "compact": self.options.compact, "hashes": hashes}
        try:
            lines = collect(self.results, list(wanted.values()), output, self.options.suite, **chosen)
        except ResultsError as error:
            advice = "" if self.options.incomplete else " (the action collect with --incomplete takes what there is)"
            raise UserError(f"{error}{advice}") from error
        tell(*lines)
        return 0

    def _collect_if_whole(self, failed: bool) -> int:
        """Collect after the runs; not a part of a suite, which would take the place of the whole."""
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

    def _device(self) -> str:
        """Where runs are planned for: settings are the same everywhere, and a login node need not have the device."""
        return "cpu" if self.options.launcher == "slurm" else choose_device(self.options.device)

    def _plans(self) -> list[Plan]:
        plans = plan(self.cells, self.results, self._device(), self._states())
        if self.options.launcher != "slurm":  # a cluster's nodes have memory of their own
            refuse_what_cannot_run(plans)
        return plans

    def _todo(self, plans: Sequence[Plan]) -> list[Plan]:
        again = ("failed",) if self.options.action == "retry" else ()
        return [item for item in plans if item.state in (*TO_MAKE, *again)]

    def _run_here(self, todo: Sequence[Plan]) -> int:
        """One run after the other in this process: errors with their traceback, breakpoints work."""
        from benchmark.runs import run

        for item in todo:
            assert item.config is not None
            run(item.config, self.results)
        return 0

    def _wait_for_jobs(self) -> int:
        """Say what changes until no job has any of the runs, and collect; the exit status is 1 where any failed, was
        lost or stopped."""
        said = ""
        while True:
            text, states = self._report()
            now = summary(states)
            if now != said:
                tell(f"{time.strftime('%H:%M:%S')}  {now}")
                said = now
            if not any(own.state in ("queued", "running") for own in states):
                tell(text)
                return self._collect_if_whole(any(own.state in ("failed", "lost", "stopped") for own in states))
            time.sleep(WATCH_SECONDS)

    def _report(self) -> tuple[str, list[RunState]]:
        """How far the runs are, in words, and their states."""
        from slurm.records import explain_lost

        jobs = self._jobs()
        states = explain_lost(self.results, list(self._states(jobs).values()))
        text = report(states, self.options.suite)
        if jobs.silent:
            text += f"\nthe scheduler does not answer ({jobs.silent}): runs that are shown as queued may have ended"
        return text, states

    def _jobs(self) -> Jobs:
        from slurm.records import jobs_of

        return jobs_of(self.results)

    def _states(self, jobs: Jobs | None = None) -> dict[Key, RunState]:
        jobs = jobs or self._jobs()
        keys = {key_of(cell): cell for cell in self.cells}
        return {
            key: state_of(self.results, cell, jobs.now.get(key), jobs.last.get(key, "")) for key, cell in keys.items()
        }

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Two commands must not hand out the same runs at once: the second waits for the first to have done so. Raises
        UserError where that takes long."""
        folder = self.results / ".sweep"
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


def _report_left_out(plans: Sequence[Plan], options: argparse.Namespace) -> bool:
    """Say what was not made and why; whether anything of that can be mended here."""
    for reason, count in Counter(item.reason for item in plans if item.config is None).items():
        tell(f"unavailable: {count} runs: {reason}")
    states = ("refused", "stale", "damaged", *(() if options.action == "retry" else ("failed",)))
    left_out = [item for item in plans if item.state in states]
    for item in left_out:
        advice = " (run it again with the action retry)" if item.state == "failed" else ""
        tell(f"{item.state}: {item.name}: {item.reason}{advice}")
    for state in ("queued", "running"):
        count = sum(item.state == state for item in plans)
        if count:
            tell(f"{state}: {count} runs are in other hands already")
    return bool(left_out)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line of `python -m benchmark.sweep`."""
    actions = "\n".join(f"  {name:<8} {words}" for name, words in ACTIONS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmark.sweep",
        description=f"{first_line(__doc__)}\n\nactions:\n{actions}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", nargs="?", choices=ACTIONS, default="run", metavar="ACTION", help="default: run")
    parser.add_argument("--suite", required=True, choices=sorted(SUITES))
    parser.add_argument(
        "--tasks", nargs="+", default=[], help="only these tasks of the suite, or the paths of configurations"
    )
    parser.add_argument("--algorithms", nargs="+", default=[], help="only these algorithms of the suite")
    parser.add_argument("--seeds", nargs="+", type=int, default=[], help="these seeds instead of the suite's")
    parser.add_argument("--results", type=Path, help="folder of the runs; default: results/SUITE")
    parser.add_argument("--launcher", choices=LAUNCHERS, default="local", help="where runs are made; default: local")
    parser.add_argument("--workers", type=int, default=1, help="local: runs side by side")
    parser.add_argument("--profile", help="slurm: a name in slurm/profiles, or the path of a .toml file")
    parser.add_argument("--override", nargs="+", default=[], metavar="KEY=VALUE", help="slurm: changes of the profile")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:K")
    add_settings(
        parser,
        "change a setting of all runs that have it, which become the variants VARIANT+NAME=VALUE; may be given several "
        "times; python -m benchmark.train --task T --algorithm A --help lists them",
    )
    add_keep_checkpoint(parser)
    parser.add_argument("--dry-run", action="store_true", help="the action plan")
    parser.add_argument("--estimate", action="store_true", help="plan: with memory and time of every kind of run")
    parser.add_argument("--watch", action="store_true", help="status: again and again until all runs have ended")
    parser.add_argument(
        "--device-model",
        choices=("h100", "h200"),
        help="plan --estimate: GPU-hours by counted FLOPs and bytes instead, needs no GPU (benchmark/device_model.py)",
    )
    parser.add_argument("--output", type=Path, help=f"collect: folder of the set; default: RESULTS/{COLLECTED}")
    parser.add_argument(
        "--compact", action="store_true", help="collect: keep every episode of the last evaluations only"
    )
    parser.add_argument("--incomplete", action="store_true", help="collect: although runs are missing or unfinished")
    options = parser.parse_args(arguments)
    if options.workers < 1:
        raise UserError(f"--workers {options.workers}: expected a positive number")
    if options.action == "submit":
        options.launcher = "slurm"
    if options.device_model and not options.estimate:
        raise UserError("--device-model needs --estimate: python -m benchmark.sweep plan --suite all --estimate ...")
    if options.dry_run or (options.estimate and options.action == "run"):
        options.action = "plan"
    return options


if __name__ == "__main__":
    sys.exit(report_errors(main))
