"""Estimates of the memory of a run before it starts."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import algorithms
from algorithms.common.memory import blank_batch
from benchmark.budget import replay_capacity
from benchmark.config import RunConfig
from benchmark.errors import UserError
from benchmark.replay import replay_bytes
from benchmark.units import GIB
from envs.protocols import EnvironmentSpec

ALLOCATOR_OVERHEAD = 1.5
"""Memory reserved for a gradient step as a multiple of the peak of its tensors. A process on a CPU grows by 1 to 2.6
times the peak, because the C library keeps much of the freed memory."""


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes by purpose."""

    replay: int
    update: int
    """Memory reserved for a gradient step: batch, activations, gradients and Adam's moments."""
    copies: int = 0
    """Current and next steps of the copies for training and evaluation (observations, neighbours, rewards), and the
    memory that acting takes beyond a gradient step. The inner state of engines is not counted."""

    @property
    def total(self) -> int:
        return self.replay + self.update + self.copies

    def __str__(self) -> str:
        parts = (("replay", self.replay), ("gradient step", self.update), ("copies", self.copies))
        return f"{self.total / GIB:.2f} GiB ({', '.join(f'{name} {size / GIB:.2f}' for name, size in parts)})"


def estimate(config: RunConfig) -> MemoryEstimate:
    """Memory of a run, without building it. Raises UserError for sizes that 64 bits cannot count."""
    try:
        return _estimate(config)
    except (OverflowError, RuntimeError, TypeError) as error:  # torch raises all of them
        reason = str(error).partition("\n")[0]
        if "overflow" not in reason.lower():
            raise
        raise UserError(
            f"{config.task} {config.algorithm} has sizes too large for any machine ({reason[:100]}): lower what was "
            "given with --set"
        ) from error


def _estimate(config: RunConfig) -> MemoryEstimate:
    spec = config.spec()
    settings = config.training
    capacity = replay_capacity(config)
    width = algorithms.action_width(config.algorithm, spec, config.algorithm_settings)
    replay = replay_bytes(spec, settings.num_envs, capacity, getattr(torch, settings.observation_dtype), width)
    update = reserved_bytes(config.algorithm, spec, config.algorithm_settings, settings.batch_size, config.device)
    copies = copies_bytes(spec, settings.num_envs + settings.evaluation_episodes)
    most = max(settings.num_envs, settings.evaluation_episodes)
    acting = algorithms.act_bytes(config.algorithm, spec, config.algorithm_settings, most)
    return MemoryEstimate(replay, update, copies + max(0, acting - update))


def copies_bytes(spec: EnvironmentSpec, copies: int) -> int:
    """Memory of the current and next steps of `copies` copies of a task in bytes."""
    graph = 0 if spec.static_graph else spec.max_neighbours * (torch.int64.itemsize + torch.bool.itemsize)
    numbers = spec.observation_dim + 1  # and the reward
    return 2 * copies * spec.num_agents * (numbers * torch.float32.itemsize + graph)


def update_bytes(algorithm: str, spec: EnvironmentSpec, settings: Any, batch_size: int, device: str) -> int:
    """Peak memory of the tensors of one gradient step in bytes: the batch and the update of a micro-batch, measured
    without the device and without allocating it (`algorithms.common.memory`).

    `settings` is the algorithm's `Config`.
    """
    size = algorithms.micro_batch_size(algorithm, spec, settings, batch_size, device)
    at_once = algorithms.update_bytes(algorithm, spec, settings, size, device)
    return batch_bytes(algorithm, spec, settings, batch_size) + at_once


def reserved_bytes(algorithm: str, spec: EnvironmentSpec, settings: Any, batch_size: int, device: str) -> int:
    """Free memory required for a gradient step: `update_bytes` and the overhead of the allocator."""
    return int(ALLOCATOR_OVERHEAD * update_bytes(algorithm, spec, settings, batch_size, device))


def batch_bytes(algorithm: str, spec: EnvironmentSpec, settings: Any, batch_size: int) -> int:
    """Memory of a batch sampled from the replay buffer."""
    width = algorithms.action_width(algorithm, spec, settings)
    batch = blank_batch(spec, batch_size, width)
    tensors = [*(part for part in batch if isinstance(part, torch.Tensor)), *batch.graph, *batch.next_graph]
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors)


def available_bytes(device: str) -> int:
    """Available memory on `device` in bytes; on a CPU, within the limits of a container and of `ulimit -v`."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0]
    amounts = [_meminfo_available(), *_address_space_left()]
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and used.exists() and limit.read_text().strip().isdigit():
        amounts.append(int(limit.read_text()) - int(used.read_text()))
    return min(amounts)


MEMINFO = Path("/proc/meminfo")
MAPPED = Path("/proc/self/statm")
"""File whose first number is that of the pages that this process has mapped."""


def _meminfo_available() -> int:
    """Available memory as reported by Linux; on other systems the total memory, an upper bound."""
    with contextlib.suppress(OSError):
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    for pages in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES"):
        with contextlib.suppress(OSError, ValueError):  # names unknown to the system
            return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
    raise UserError(f"this system does not say how much memory it has, neither in {MEMINFO} nor by sysconf")


def _address_space_left() -> list[int]:
    """Bytes that this process may still map where `ulimit -v` limits them; empty where it does not, or where the system
    does not tell how many are mapped."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY or not MAPPED.exists():
        return []
    return [limit - int(MAPPED.read_text().split()[0]) * resource.getpagesize()]


def require_for_all(configs: Sequence[RunConfig]) -> None:
    """Raises UserError where a device has less memory than all of these runs need together."""
    for device in sorted({config.device for config in configs}):
        there = [config for config in configs if config.device == device]
        needed, free = sum(estimate(config).total for config in there), available_bytes(device)
        if needed > free:
            raise UserError(
                f"{len(there)} runs at once need {needed / GIB:.2f} GiB on {device}, but {free / GIB:.2f} GiB are "
                "free: start fewer of them at once"
            )


def require(config: RunConfig) -> MemoryEstimate:
    """The estimate. Raises UserError where the machine has less memory."""
    needed = estimate(config)
    free = available_bytes(config.device)
    if needed.total > free:
        raise UserError(
            f"{config.task} {config.algorithm} needs {needed} on {config.device}, but {free / GIB:.2f} GiB are free: "
            "lower --set algorithm.micro_batch, training.replay_capacity, training.batch_size or "
            "training.evaluation_episodes, or --set training.observation_dtype=float16"
        )
    return needed
