"""Time and memory of one gradient step, measured in this process; `benchmark.profiling.measure` is the command."""

from __future__ import annotations

import contextlib
import statistics
import time
from pathlib import Path
from typing import Any

import torch

import algorithms
import envs
from algorithms.protocols import EnvironmentSpec, Graph
from benchmark import memory
from benchmark.acceleration import accelerate
from benchmark.errors import UserError
from benchmark.profiling.measure import TIMED, WARM_UPS, Cost
from benchmark.profiling.synthetic import ROAD_GRID_AGENTS, problem, random_batch
from benchmark.randomness import stream
from benchmark.units import GIB


def measure(algorithm: str, agents: int, batch: int, device: str, acceleration: str = "none", task: str = "") -> Cost:
    """Time and memory of an update on a synthetic batch of `agents` agents (`synthetic`), or with the shape of a
    `task`, and on its graph where that is static, using one thread.

    `acceleration` is one of `benchmark.acceleration`; with `compile` the memory on a CPU is mostly the compiler's. The
    batch of the road grid is halved until the estimated memory of the update fits. Where the update of another task
    does not fit, or memory runs out nevertheless, the result has a note instead of numbers.
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
    """The batch size to measure with, and the reason where none is possible (otherwise empty)."""
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
    other.update(first, generator)  # loads everything that is compiled only once
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
    """Bytes in use now; `peak` counts from this call. On a CPU whose kernel does not let a process reset its peak,
    `peak` counts from the start of the process, which makes little difference in a new one."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _resident("VmRSS")


def peak(device: torch.device) -> int:
    """Largest number of bytes in use since `begin_peak`: allocated tensors on a GPU, resident memory on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _resident("VmHWM")


def _resident(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise UserError(f"/proc/self/status has no line {name}: memory cannot be measured on this system")
