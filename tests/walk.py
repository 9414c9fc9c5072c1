"""A newcomer's walk through the pages: `python -m tests.walk --into DIR`.

In a fresh clone of the last commit, with an empty home, every command and every recipe of every page is run to its
end, in order; then a handful of mistakes; then the project is installed in a fresh environment and used from another
folder. What takes days, or needs what the machine lacks, is shortened or left out, for the reason that
`tests.walk_table` gives. The log, with a summary at its end, is DIR/walk.log. The walk takes about half an hour on two
cores, and fetches packages.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.pages import PAGES, ROOT, SHELL, Block, Command, blocks, commands
from tests.patience import PATIENCE
from tests.walk_table import CHANGES, INSTALLED, MISTAKES, RECIPES

SECONDS_AFTER = 5
"""From the first file that a command to be stopped has written to Ctrl-C."""
STOPPED = 130
"""The exit status of what Ctrl-C has stopped."""
NEWER = "python3.12"
"""The other version of Python that the project is for."""
UNSET = (
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "NUMBA_CACHE_DIR",
    "MPLCONFIGDIR",
    "IPB_DATA",
    "IPB_TRAFFIC_DATA",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "OMP_NUM_THREADS",
    "PYTHONDONTWRITEBYTECODE",
)
"""Variables that a newcomer does not have."""


@dataclass(frozen=True, slots=True)
class Step:
    """Something that is run, or left out with a reason."""

    where: str
    """Page and line, or the part of the walk."""
    command: str
    before: str = ""
    """Lines that set variables."""
    note: str = ""
    """Why it is not the command of the page."""
    until: str = ""
    """A pattern of files that end it, by Ctrl-C."""
    says: str = ""
    """What its one line of error holds, where it is a mistake."""
    left_out: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a step."""

    step: Step
    seconds: float
    status: int
    failed: bool


def step_of(command: Command) -> Step:
    """The step of a command of a page."""
    where, change = f"{command.page}:{command.line}", CHANGES.get(command.text)
    if change is None:
        return Step(where, command.text, command.before)
    if change.left_out:
        return Step(where, command.text, note=change.reason, left_out=True)
    return Step(where, change.instead or command.text, command.before, change.reason, change.until)


def recipe_steps(block: Block, folder: Path | None) -> Iterator[Step]:
    """Write a recipe, and what it needs, into the folder, and give the command that uses it."""
    recipe = RECIPES[block.recipe]
    if folder is not None:
        for name, text in {**recipe.needs, recipe.file: block.text}.items():
            (folder / name).write_text(text, encoding="utf-8")
    if recipe.command:
        yield Step(f"{block.page}:{block.line}", recipe.command, note=f"the recipe: {block.recipe}")


def steps_of(pages: Sequence[str], folder: Path | None = None) -> Iterator[Step]:
    """What is run of the pages, in order; recipes are written into the folder when their turn comes."""
    for page in pages:
        for block in blocks(page):
            if block.language == SHELL:
                yield from (step_of(command) for command in commands(block))
            elif block.recipe:
                yield from recipe_steps(block, folder)


class Walk:
    """Steps in the folder of a clone, with a log."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clone = folder, folder / "clone"
        self.outcomes: list[Outcome] = []
        (folder / "home").mkdir(parents=True, exist_ok=True)
        self.path = folder / "walk.log"
        self.path.unlink(missing_ok=True)
        self.log = self.path.open("a", encoding="utf-8")
        self.environment = {name: value for name, value in os.environ.items() if name not in UNSET}
        self.environment |= {"HOME": str(folder / "home"), "PYTHONUNBUFFERED": "1"}

    def say(self, words: str) -> None:
        """To the log and to standard output."""
        print(words, flush=True)
        print(words, file=self.log, flush=True)

    def begin(self) -> None:
        """Clone the last commit; an existing clone is used as it is."""
        if self.clone.exists():
            self.say(f"{self.clone} is there: the walk goes on in it")
        else:
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(self.clone)], check=True)
        commit = subprocess.run(["git", "-C", str(self.clone), "rev-parse", "HEAD"], capture_output=True, text=True)
        self.say(f"commit {commit.stdout.strip()}")

    def take(self, step: Step, folder: Path, binaries: Path) -> None:
        """Run a step in a folder, with the commands of an environment first."""
        if step.left_out:
            self.say(f"-- {step.where}  left out: {step.command}  ({step.note})")
            self.outcomes.append(Outcome(step, 0.0, 0, False))
            return
        self.say(f"== {step.where}  {step.command}" + (f"  ({step.note})" if step.note else ""))
        environment = self.environment | {"PATH": f"{binaries}{os.pathsep}{self.environment['PATH']}"}
        script = f"{step.before}\n{step.command}"
        begun = time.monotonic()
        before = self.path.stat().st_size
        with subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            try:
                if step.until:
                    _stop(process, folder, step.until)
                status = process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                status = process.wait()
                self.say(f"killed: not ended after {PATIENCE} s")
        seconds = time.monotonic() - begun
        failed = status != (STOPPED if step.until else 0)
        if step.says:
            failed = not self._one_line(before, step.says, status)
        self.outcomes.append(Outcome(step, seconds, status, failed))
        self.say(f"{'FAILED' if failed else 'ended'}: exit status {status} after {seconds:.0f} s")

    def _one_line(self, before: int, says: str, status: int) -> bool:
        """Whether the output since then is a one-line error with that text."""
        printed = self.path.read_bytes()[before:].decode(errors="replace").strip().splitlines()
        return status != 0 and len(printed) == 1 and printed[0].startswith("error: ") and says in printed[0]

    def install(self, python: str) -> None:
        """`pip install .` into a fresh environment, and its commands from a folder with names of ours."""
        place = self.folder / "elsewhere"
        for name in ("results", "envs", "figures"):
            (place / name).mkdir(parents=True, exist_ok=True)
        here = self.clone
        binaries = self.folder / "installed" / "bin"
        for command in (
            f"{python} -m venv ../installed",
            "../installed/bin/pip install --quiet --constraint constraints.txt .",
        ):
            self.take(Step("installed", command), here, binaries)
        for command in INSTALLED:
            self.take(Step("installed", command), place, binaries)
        (place / "my_runs.py").write_text(
            next(block.text for block in blocks("benchmark/README.md") if block.recipe == "from Python")
        )
        self.take(Step("installed", "python my_runs.py"), place, binaries)

    def summarise(self) -> int:
        """Say what became of every step; the number of those that failed."""
        failed = [outcome for outcome in self.outcomes if outcome.failed]
        self.say("\nsummary: seconds, exit status, command")
        for outcome in self.outcomes:
            step = outcome.step
            mark = "left out" if step.left_out else f"{outcome.seconds:6.0f} s {outcome.status:4d}"
            self.say(f"{mark:>13}{' FAILED' if outcome.failed else ''}  {step.where}  {step.command}")
        taken = [outcome for outcome in self.outcomes if not outcome.step.left_out]
        total = sum(outcome.seconds for outcome in taken) / 60
        left = len(self.outcomes) - len(taken)
        self.say(f"{len(taken)} commands in {total:.0f} minutes, {len(failed)} failed; {left} left out")
        return len(failed)


def _stop(process: subprocess.Popen[bytes], folder: Path, pattern: str) -> None:
    """Ctrl-C for a process and all that it has begun, once it has written a file of the pattern."""
    earlier = {path: path.stat().st_mtime_ns for path in folder.glob(pattern)}
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        if any(path.stat().st_mtime_ns != earlier.get(path) for path in folder.glob(pattern)):
            time.sleep(SECONDS_AFTER)
            break
        time.sleep(0.2)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)


def newer_python() -> str | None:
    """An interpreter of the newer version that works, from PATH or of pyenv; None where there is none."""
    found = [shutil.which(NEWER), *map(str, sorted((Path.home() / ".pyenv/versions").glob(f"3.12*/bin/{NEWER}")))]
    for python in found:
        if python and subprocess.run([python, "-c", "import ensurepip"], capture_output=True).returncode == 0:
            return python
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 1 where anything failed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.walk",
        description=(__doc__ or "").split("\n\n", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--into", type=Path, metavar="DIR", help="a new folder outside of the project")
    parser.add_argument("--python", default="", help="of `make`; default: the one that it finds")
    parser.add_argument("--pages", nargs="+", default=PAGES, choices=PAGES, metavar="PAGE", help="default: all")
    parser.add_argument("--list", action="store_true", help="say what would be run, and what is left out")
    options = parser.parse_args(arguments)
    if options.list:
        for step in steps_of(options.pages):
            print(f"{step.where}  {'left out: ' if step.left_out else ''}{step.command}  ({step.note or 'as it is'})")
        return 0
    if options.into is None or options.into.resolve().is_relative_to(ROOT):
        parser.error(f"--into {options.into}: expected a folder outside of {ROOT}")
    walk = Walk(options.into.resolve())
    walk.begin()
    binaries = walk.clone / ".venv" / "bin"
    for step in steps_of(options.pages, walk.clone):
        given = options.python and step.command.startswith("make ")
        walk.take(_with_python(step, options.python) if given else step, walk.clone, binaries)
    for command, says in MISTAKES.items():
        walk.take(Step("a mistake", command, says=says), walk.clone, binaries)
    newer = newer_python()
    if newer is None:
        walk.say(f"there is no {NEWER} here: the project is installed with the other one")
    walk.install(newer or str(binaries / "python"))
    return 1 if walk.summarise() else 0


def _with_python(step: Step, python: str) -> Step:
    return Step(step.where, f"{step.command} PYTHON={python}", step.before, step.note, left_out=step.left_out)


if __name__ == "__main__":
    sys.exit(main())
