"""Table of the cost of a gradient step in time and memory, by algorithm and number of agents.

    python -m benchmark.profiling.cost --algorithms ip pic --agents 15 30 100
    python -m benchmark.profiling.cost --device cuda --output cost.md --csv
    python -m benchmark.profiling.cost --tasks cityflow/hangzhou_16 my_city/config.json

Every cell is measured in a separate process (`measure`), on one CPU thread or on a GPU, on synthetic batches with the
shapes of the paper's tasks (`synthetic`), which are cooperative navigation and, for 1,225 agents, the road grid; or
with the shapes of the tasks given. A cell that cannot be measured has a note with the reason. Progress goes to stderr.
Ctrl-C ends the command, which still writes the cells measured so far.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import algorithms
import envs
from benchmark.config import OF_UPDATES
from benchmark.console import first_line
from benchmark.errors import UserError, report_errors
from benchmark.machine import machine_facts
from benchmark.options import choose_device
from benchmark.profiling.measure import TIMED, Cost
from benchmark.units import GIB
from results.arguments import Parser
from results.files import readable_os_errors, write_atomically

ROOT = Path(__file__).resolve().parents[2]
AGENTS = (15, 30, 100, 200, 1225)


class Cell(NamedTuple):
    """A cell of the table: what to measure."""

    algorithm: str
    agents: int
    task: str = ""
    """Task whose shape is used; empty for the shapes of the paper's tasks."""
    map: str = ""
    """Path of the task's configuration, where it has one."""

    @property
    def shape(self) -> str:
        """Description of the measured shape."""
        return self.task or f"{self.agents} agents"


Table = dict[Cell, Cost]


def measure_apart(cell: Cell, batch: int, device: str, acceleration: str = "none") -> Cost:
    """Cost of a cell, measured in a separate process; a failure becomes a note."""
    command = [sys.executable, "-m", "benchmark.profiling.measure", "--algorithm", cell.algorithm]
    command += ["--task", cell.map or cell.task] if cell.task else ["--agents", str(cell.agents)]
    command += ["--batch", str(batch), "--device", device, "--acceleration", acceleration]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=one_thread, capture_output=True, text=True)
    if done.returncode < 0:
        return Cost(batch, note=f"stopped by signal {-done.returncode}, as when memory runs out")
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return Cost(batch, note=lines[-1].removeprefix("error: ") if lines else f"exit status {done.returncode}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def fill(cells: list[Cell], batch: int, device: str, acceleration: str = "none") -> tuple[Table, bool]:
    """Measure the cells one after the other. Returns the measurements, and whether they are complete."""
    table: Table = {}
    for number, cell in enumerate(cells, 1):
        _say(f"{number} of {len(cells)}: {cell.algorithm}, {cell.shape} ... ", end="")
        try:
            table[cell] = measure_apart(cell, batch, device, acceleration)
        except KeyboardInterrupt:
            _say("interrupted")
            return table, False
        _say(describe(table[cell], batch) or table[cell].note)
    return table, True


def describe(cost: Cost, batch: int) -> str:
    """A cost in words, with its batch where that differs from `batch`. Empty where nothing was measured."""
    if cost.seconds is None or cost.bytes is None:
        return ""
    seconds = f"{cost.seconds:.3g} s" if cost.seconds >= 1 else f"{1e3 * cost.seconds:.3g} ms"
    size = f"{cost.bytes / GIB:.3g} GiB" if cost.bytes >= GIB else f"{cost.bytes / 2**20:.3g} MiB"
    return f"{seconds}, {size}" + ("" if cost.batch == batch else f" (batch {cost.batch})")


def markdown(table: Table, cells: list[Cell], batch: int, device: str, acceleration: str = "none") -> str:
    """Table with a row for each algorithm and a column for each number of agents, followed by notes."""
    facts = machine_facts(device)
    where = facts["gpu"] or f"one thread of {facts['cpu']}"
    where += "" if acceleration == "none" else f" with acceleration={acceleration}"
    shapes = list(dict.fromkeys(cell[1:] for cell in cells))
    lines = [
        f"One gradient step on {where}, torch {facts['torch']}: median time of {TIMED} updates after a warm-up, and "
        f"peak memory without the networks. Batches of {batch} transitions where no other is named.",
        "",
        f"| algorithm | {' | '.join(Cell('', *shape).shape for shape in shapes)} |",
        f"|---|{'---:|' * len(shapes)}",
    ]
    notes: list[str] = []
    for algorithm in dict.fromkeys(cell.algorithm for cell in cells):
        row = []
        for shape in shapes:
            cell = Cell(algorithm, *shape)
            cost = table.get(cell, Cost(batch, note="not measured"))
            text = describe(cost, batch)
            if not text:
                notes.append(f"{algorithm}, {cell.shape}: {cost.note}")
                text = f"- ({len(notes)})"
            row.append(text)
        lines.append(f"| {algorithm} | {' | '.join(row)} |")
    return "\n".join([*lines, "", *(f"{number}. {note}" for number, note in enumerate(notes, 1))]).rstrip() + "\n"


def csv_text(table: Table) -> str:
    """One line for each measured cell: algorithm, agents, batch, seconds, bytes and note, with the task where tasks
    were given."""
    stream, named = io.StringIO(), any(cell.task for cell in table)
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["algorithm", "agents", "batch", "seconds", "bytes", "note", *["task"] * named])
    for cell, cost in table.items():
        seconds = "" if cost.seconds is None else f"{cost.seconds:.6g}"
        writer.writerow([cell.algorithm, cell.agents, cost.batch, seconds, cost.bytes, cost.note, *[cell.task] * named])
    return stream.getvalue()


def _say(text: str, end: str = "\n") -> None:
    print(text, end=end, file=sys.stderr, flush=True)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Command line of `python -m benchmark.profiling.cost`. Raises UserError or UnknownAlgorithmError."""
    parser = Parser(prog="python -m benchmark.profiling.cost", description=first_line(__doc__))
    parser.add_argument("--algorithms", nargs="+", default=list(algorithms.ALGORITHMS), help="default: all")
    shapes = parser.add_mutually_exclusive_group()
    shapes.add_argument("--agents", nargs="+", type=int, default=list(AGENTS), help=f"default: {AGENTS}")
    shapes.add_argument("--tasks", nargs="+", default=[], help="names, or paths of CityFlow configurations")
    parser.add_argument("--batch", type=int, default=1024, help="transitions per gradient step; default: 1024")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:K; default: cpu")
    parser.add_argument("--acceleration", choices=OF_UPDATES, default="none", help="see benchmark/acceleration.py")
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="file for the table, instead of printing it")
    parser.add_argument("--csv", action="store_true", help="also give the numbers as CSV (with --output: in FILE.csv)")
    options = parser.parse_args(arguments)
    from benchmark.acceleration import require

    for name in options.algorithms:
        if name not in algorithms.ALGORITHMS:
            algorithms.config_type(name)  # raises for an unknown name
    if min(options.agents) < 2:
        raise UserError(f"--agents {min(options.agents)}: expected two or more")
    if options.batch < 1:
        raise UserError(f"--batch {options.batch}: expected a positive number of transitions")
    options.device = choose_device(options.device)
    require(options.acceleration, options.device)
    if options.output is not None:
        if options.output.suffix != ".md":
            raise UserError(f"--output {options.output}: expected a name that ends in .md")
        if not options.output.parent.is_dir():
            raise UserError(f"--output {options.output}: there is no folder {options.output.parent}; make it first")
    return options


def _shape_of(task: str) -> tuple[int, str, str]:
    """Number of agents, name and configuration of a task. Raises what `envs.spec` raises."""
    name, settings = envs.locate(task)
    return envs.spec(task).num_agents, name, settings.get("map", "")


def main(arguments: list[str] | None = None) -> int:
    """Entry point of `python -m benchmark.profiling.cost`; the exit status is 130 where it was interrupted."""
    options = parse_arguments(arguments)
    shapes = [_shape_of(task) for task in options.tasks] or [(agents, "", "") for agents in options.agents]
    cells = [Cell(algorithm, *shape) for algorithm in options.algorithms for shape in shapes]
    table, complete = fill(cells, options.batch, options.device, options.acceleration)
    texts = {".md": markdown(table, cells, options.batch, options.device, options.acceleration)}
    if options.csv:
        texts[".csv"] = csv_text(table)
    if options.output is None:
        print("\n".join(texts.values()), end="")
    else:
        for suffix, text in texts.items():
            path = options.output.with_suffix(suffix)
            with readable_os_errors(path, option="--output"):
                write_atomically(path, text)
            _say(f"written: {path}")
    return 0 if complete else 130


if __name__ == "__main__":
    raise SystemExit(report_errors(main))
