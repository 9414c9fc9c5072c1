"""What one gradient step costs: its time and its memory, for one algorithm and one number of agents.

    python -m benchmark.measure --algorithm ip --agents 15 --batch 1024 --device cpu

prints one line of JSON. It is a program of its own so that each measurement has a fresh process: memory that an earlier
one has left to the allocator would hide the peak of the next. `benchmark.cost` makes a table of them.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import algorithms
import envs
from algorithms.protocols import EnvironmentSpec, Graph
from benchmark import memory
from benchmark.acceleration import OF_UPDATES, accelerate
from benchmark.console import first_line
from benchmark.errors import UserError, report_errors
from benchmark.memory import GIB
from benchmark.randomness import stream
from benchmark.synthetic import ROAD_GRID_AGENTS, problem, random_batch

WARM_UPS, TIMED = 1, 3
"""Updates before and under the clock: large ones take a minute each."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one gradient step, or why it was not taken."""

    batch: int
    """Transitions of the step."""
    seconds: float | None = None
    """Median time of an update."""
    bytes: int | None = None
    """The most memory taken at once by batch, gradients, activations and optimiser state; the networks themselves are
    not counted."""
    note: str = ""
    """Why there are no numbers."""


def measure(algorithm: str, agents: int, batch: int, device: str, acceleration: str = "none", task: str = "") -> Cost:
    """Time and memory of an update on a made-up batch of `agents` agents (`benchmark.synthetic`), or in the shape of a
    `task` and on its graph where that is static, on one thread.

    `acceleration` is one of `benchmark.acceleration`; with `compile` the memory on a CPU is mostly the compiler's. The
    batch of the road grid is halved until the update fits by the estimate of its memory. Where another does not fit,
    or memory runs out all the same, the result has a note instead of numbers.
    """
    spec, settings = envs.spec(task) if task else problem(agents), algorithms.config_type(algorithm)()
    static = envs.make(task, 1).reset(0).graph if task and spec.static_graph else None
    size, note = fit(algorithm, spec, settings, batch, memory.available_bytes(device), device)
    if note:
        return Cost(size, note=note)
    try:
        return _measure(algorithm, spec, settings, size, torch.device(device), acceleration, static)
    except (MemoryError, RuntimeError) as error:
        if "memory" not in str(error) and not isinstance(error, MemoryError):
            raise
        return Cost(size, note=f"ran out of memory on {device} at a batch of {size}")


def fit(algorithm: str, spec: EnvironmentSpec, settings: Any, batch: int, free: int, device: str) -> tuple[int, str]:
    """The batch to measure with, and why there can be none (empty where there can)."""
    size = batch
    if spec.num_agents == ROAD_GRID_AGENTS:
        while size > 1 and memory.reserved_bytes(algorithm, spec, settings, size, device) > free:
            size //= 2
    needed = memory.reserved_bytes(algorithm, spec, settings, size, device)
    if needed <= free:
        return size, ""
    return size, f"a batch of {size} needs about {needed / GIB:.1f} GiB, but {free / GIB:.1f} GiB are free"


def _measure(
    algorithm: str,
    spec: EnvironmentSpec,
    settings: Any,
    size: int,
    device: torch.device,
    acceleration: str,
    static: Graph | None,
) -> Cost:
    torch.set_num_threads(1)
    generator = stream(0, "update", device)
    other = algorithms.make(algorithm, spec, settings, str(device))
    first = random_batch(spec, 2, other.action_width, generator, static)
    other.update(first, generator)  # loads what is compiled once for all
    learner = algorithms.make(algorithm, spec, settings, str(device))
    learner.schedule(0, 1)
    update = accelerate(learner, acceleration, device)
    before = begin_peak(device)
    batch = random_batch(spec, size, learner.action_width, generator, static)
    times = []
    for _ in range(WARM_UPS + TIMED):
        begin = time.perf_counter()
        update(batch, generator)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - begin)
    return Cost(size, statistics.median(times[WARM_UPS:]), peak(device) - before)


def begin_peak(device: torch.device) -> int:
    """Bytes in use now; `peak` counts from here on. On a CPU where the kernel does not let a process reset its own
    peak, it counts from the start of the process, which is little more in a fresh one."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _resident("VmRSS")


def peak(device: torch.device) -> int:
    """The most bytes in use at once since `begin_peak`: allocated tensors on a GPU, resident memory on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _resident("VmHWM")


def _resident(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise UserError(f"/proc/self/status has no line {name}: memory cannot be measured on this system")


def main(arguments: list[str] | None = None) -> int:
    """Entry point of `python -m benchmark.measure`."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.measure", description=first_line(__doc__))
    parser.add_argument("--algorithm", required=True)
    shape = parser.add_mutually_exclusive_group(required=True)
    shape.add_argument("--agents", type=int, default=0)
    shape.add_argument("--task", default="", help="a name, or the path of a CityFlow configuration")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--acceleration", choices=OF_UPDATES, default="none")
    options = parser.parse_args(arguments)
    cost = measure(options.algorithm, options.agents, options.batch, options.device, options.acceleration, options.task)
    print(json.dumps(dataclasses.asdict(cost)))
    return 0


if __name__ == "__main__":
    raise SystemExit(report_errors(main))
