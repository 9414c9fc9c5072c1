"""The command `python -m benchmark.lease --output DIR --seconds S [--rehearse]`; see `benchmark.lease`."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import benchmark.lease
from benchmark.errors import UserError, report_errors
from benchmark.lease import gpu_tests, programme
from benchmark.lease import timings as timing_phase
from benchmark.lease.choice import choose_mode
from benchmark.lease.gpu_tests import GpuTests
from benchmark.lease.pack import MANIFEST, Packer
from benchmark.lease.programme import ENGINE
from benchmark.lease.site import Site, process_start
from benchmark.lease.training import Trainer, look_up_memory
from benchmark.modes import MODES
from benchmark.profiling import gpu_timings
from benchmark.profiling.gpu_timings import FILE, Entry, read_timings
from results.arguments import Parser
from results.files import read_json, readable_os_errors
from results.keys import RunKey

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "results" / "published" / "paper"
FACTS_SECONDS = 20.0
LEAST_SECONDS = 30.0


class Ended(BaseException):
    """Raised by a signal that asks the lease to end."""


def _end(number: int, frame: object) -> None:
    raise Ended


class Lease:
    """A lease: its phases and the results that it packs."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.programme = programme.rehearsal() if options.rehearse else programme.paper()
        device = "cpu" if options.rehearse else "cuda"
        self.site = Site(folder, process_start(), options.seconds, device, self.programme.slack)
        self.results = folder / "runs"
        self.results.mkdir()
        self.packer = Packer(self.results, options.output)
        self.earlier = [read_json(path / MANIFEST) for path in options.earlier]
        packed = [entry for path in options.earlier for entry in read_timings(path / "timings.json")]
        self.known: list[Entry] = [*read_timings(options.timings), *packed]
        self.published: list[dict[str, Any]] = []
        if (options.published / "manifest.json").exists():
            self.published = read_json(options.published / "manifest.json")["runs"]
        self.timings: list[Entry] = []
        self.tests = GpuTests(note="not begun")
        self.mode: str | None = None
        self.end_looking_up: Callable[[], None] = lambda: None

    def run(self) -> int:
        """Run all phases, then write the pack. Returns the exit status, which is 2 where there is no device."""
        try:
            with self.site.phase("facts"):
                self.find_facts()
            if self.site.facts:
                self.use()
        except Ended:
            self.site.say("stopped by a signal: packing the results so far")
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.site.stop()
        self.site.say(f"packing {len(self.packer.finished())} runs and {len(self.timings)} timings")
        self.pack()
        self.end_looking_up()
        return 0 if self.site.facts else 2

    def use(self) -> None:
        """The phases that use the device."""
        self.play_references()
        self.end_looking_up = look_up_memory(self.programme, self.site.modes[0], self.site.device)
        with self.site.phase("tests"):
            self.test()
        with self.site.phase("timings"):
            items = self.programme.items(self.site.modes, self.site.folder / "together")
            known = [] if self.options.again else self.known
            timing_phase.take(self.site, items, known, self.timings)
            self.pack()
        with self.site.phase("runs"):
            self.train()

    def find_facts(self) -> None:
        """Find out versions, GPU and available modes."""
        site = self.site
        child = site.work("facts")
        limit = min(FACTS_SECONDS * site.slack, site.left)
        child.wait(limit)
        child.stop(at_once=True)
        lines = child.new_lines()
        found = next((line for line in lines if line.startswith("{")), None)
        if found is None:
            site.say(f"the device cannot be used: {lines[-1] if lines else f'no answer in {limit:.0f} s'}")
            return
        site.facts = json.loads(found)
        machine = site.facts["machine"]
        site.say(f"commit {machine['commit']}, Python {machine['python']}, {machine['cores']} cores, {machine['cpu']}")
        site.say(", ".join(f"{name} {version or 'missing'}" for name, version in site.facts["packages"].items()))
        site.say(f"GPU: {json.dumps(site.facts['gpu'])}" if "gpu" in site.facts else "no GPU: a rehearsal on the CPU")
        for mode, reason in site.facts["modes"].items():
            site.say(f"mode {mode}: {reason or 'available'}")

    def done(self) -> set[RunKey]:
        """Runs that are already published or packed."""
        runs = [run for run in self.published if run["status"]["state"] == "finished"]
        runs += [run for record in self.earlier for run in record["runs"]]
        return set(map(RunKey.of, runs))

    def play_references(self) -> None:
        """Play the reference policies of the first tasks, concurrently with everything else; this also compiles their
        engines."""
        done = self.done()
        wanted = [request.key.task for request in self.programme.requests if request.key not in done]
        tasks = list(dict.fromkeys(wanted))[: len(programme.FIRST_TASKS)]
        tasks.sort(key=lambda task: not task.startswith(ENGINE))  # these take longest to compile
        for task in tasks:
            command = [sys.executable, "-m", "benchmark.references", "--tasks", task, "--results", str(self.results)]
            self.site.start("references", command + (["--episodes", "2"] if self.options.rehearse else []))

    def test(self) -> None:
        """Run the tests that need a GPU, unless they have passed in an earlier lease of the same code."""
        commit = self.site.facts["machine"]["commit"]
        same = [record["tests"] for record in self.earlier if commit and record["machine"]["commit"] == commit]
        if not self.options.again and any(
            tests["passed"] and not tests["failures"] and not tests["note"] for tests in same
        ):
            self.tests.note = gpu_tests.PASSED_BEFORE
            self.site.say(f"tests {self.tests.note}: not repeated (--again does)")
            return
        files = [str(path.relative_to(ROOT)) for pattern in gpu_tests.FILES for path in sorted(ROOT.glob(pattern))]
        self.tests = gpu_tests.run(self.site, files)

    def train(self) -> None:
        """Train the missing runs."""
        here = [entry for entry in self.known if entry["gpu"] == self.site.origin["gpu"]]
        timings = [*here, *self.timings]
        before = [record.get("mode") for record in self.earlier if record["runs"]]
        self.mode = choose_mode(self.site, self.options.mode, self.published, before, self.tests, timings)
        done, finished = self.done(), self.packer.finished
        Trainer(self.site, self.programme, self.mode, timings, done, self.results, finished, self.pack).run()

    def pack(self) -> None:
        """Write the pack as it is now, and report what could not be packed."""
        record = {
            "rehearsal": self.options.rehearse,
            "seconds": round(time.monotonic() - self.site.begin, 1),
            "mode": self.mode,
            **self.site.facts,
            "phases": self.site.phases,
            "tests": dataclasses.asdict(self.tests) | {"output": "gpu_tests.txt"},
        }
        texts = {
            "report.txt": "\n".join(self.site.said) + "\n",
            "gpu_tests.txt": self.tests.output or f"{self.tests.note}\n",
            "timings.json": json.dumps({"format": gpu_timings.FORMAT, "timings": self.timings}, indent=1) + "\n",
        }
        try:
            for text in self.packer.pack(record, texts):
                self.site.say(f"not packed: {text}")
        except OSError as error:
            self.site.say(f"cannot pack in {self.options.output}: {error}")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line of `python -m benchmark.lease`. Raises UserError for invalid values."""
    parser = Parser(
        prog="python -m benchmark.lease",
        description=benchmark.lease.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder of the pack")
    parser.add_argument("--seconds", type=float, required=True, help="time limit, within which the pack is written")
    parser.add_argument("--rehearse", action="store_true", help="a small-scale rehearsal on the CPU")
    parser.add_argument("--mode", choices=tuple(MODES), help="default: that of earlier runs, or the fastest")
    parser.add_argument("--published", type=Path, default=PUBLISHED, metavar="DIR", help="the set that runs add to")
    parser.add_argument("--earlier", type=Path, nargs="+", default=[], metavar="DIR", help="packs of earlier leases")
    parser.add_argument("--timings", type=Path, default=FILE, metavar="FILE", help="timings not to be repeated")
    parser.add_argument("--again", action="store_true", help="repeat tests and timings of earlier leases")
    options = parser.parse_args(arguments)
    if not LEAST_SECONDS <= options.seconds < float("inf"):
        raise UserError(f"--seconds {options.seconds:g}: expected {LEAST_SECONDS:.0f} or more")
    for path in options.earlier:
        if not (path / MANIFEST).exists():
            raise UserError(f"--earlier {path}: not a pack of a lease: it has no {MANIFEST}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `python -m benchmark.lease`."""
    options = parse_arguments(arguments)
    with readable_os_errors(options.output, option="--output"):
        options.output.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, _end)
    with tempfile.TemporaryDirectory(prefix="lease-", ignore_cleanup_errors=True) as folder:
        lease = Lease(options, Path(folder))
        try:
            return lease.run()
        finally:
            lease.site.stop()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        raise SystemExit(report_errors(main))
