"""How much memory a run takes, known before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import algorithms
from algorithms.common.pieces import piece_size
from benchmark.config import RunConfig
from benchmark.errors import UserError
from benchmark.replay import replay_bytes
from envs.protocols import EnvironmentSpec

GIB = 2**30
ALLOCATOR_OVERHEAD = 1.5
"""Measured peaks of gradient steps are 0.8 to 1.9 times the algorithms' own counts."""


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes by purpose."""

    replay: int
    update: int
    """Batch and activations of one gradient step."""

    @property
    def total(self) -> int:
        return self.replay + self.update

    def __str__(self) -> str:
        return f"{self.total / GIB:.2f} GiB (replay {self.replay / GIB:.2f}, gradient step {self.update / GIB:.2f})"


def estimate(config: RunConfig) -> MemoryEstimate:
    """Memory of a run, without building it."""
    spec = config.spec()
    settings = config.training
    capacity = min(settings.replay_capacity, config.total_steps + settings.update_interval)
    width = algorithms.action_width(config.algorithm, spec, config.algorithm_settings)
    replay = replay_bytes(spec, settings.num_envs, capacity, getattr(torch, settings.observation_dtype), width)
    update = update_bytes(config.algorithm, spec, config.algorithm_settings, settings.batch_size, config.device)
    return MemoryEstimate(replay, update)


def update_bytes(algorithm: str, spec: EnvironmentSpec, settings: Any, batch_size: int, device: str) -> int:
    """Memory of one gradient step: the batch, and the activations of a piece of it by the algorithm's own count.

    `settings` is the algorithm's `Config`.
    """
    floats = algorithms.floats_per_transition(algorithm, spec, settings)
    piece = piece_size(settings.piece, floats, torch.device(device))
    at_once = batch_size if piece is None else min(piece, batch_size)
    lists = 2 * spec.max_neighbours * 3  # of 64-bit numbers, and their masks
    transition = spec.num_agents * (2 * spec.observation_dim + lists + max(spec.num_actions, spec.action_dim) + 2)
    return int(4 * transition * batch_size + ALLOCATOR_OVERHEAD * 4 * floats * at_once)


def available_bytes(device: str) -> int:
    """Memory that can still be taken on `device`; on a CPU, limits of a container are heeded."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0]
    amounts = [_meminfo_available()]
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and used.exists() and limit.read_text().strip().isdigit():
        amounts.append(int(limit.read_text()) - int(used.read_text()))
    return min(amounts)


def _meminfo_available() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise UserError("/proc/meminfo has no line MemAvailable: this system is not supported")


def require(config: RunConfig) -> MemoryEstimate:
    """The estimate; raises UserError where the machine has less."""
    needed, free = estimate(config), available_bytes(config.device)
    if needed.total > free:
        raise UserError(
            f"{config.task} {config.algorithm} needs {needed} on {config.device}, but {free / GIB:.2f} GiB are free: "
            "lower --set training.replay_capacity or training.batch_size, or --set training.observation_dtype=float16"
        )
    return needed
