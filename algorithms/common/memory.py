"""The memory of a gradient step, found by taking one on torch's `meta` device, where tensors have shapes and no data.

It needs neither the machine nor the memory that it speaks of, and no algorithm has to count its activations.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from algorithms.common.graph import takes_dense
from algorithms.protocols import Batch, EnvironmentSpec, Graph

SAMPLE = 256
"""Transitions of the update from which the memory of others is told: enough for activations to outweigh the rest."""


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors made inside it, for as long as they live: how many `now`, and the `peak`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {tensor.untyped_storage()._cdata for tensor in _tensors((args, tuple((kwargs or {}).values())))}
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            if storage._cdata not in given:  # views and operations in place are in the memory of what they were given
                self._count(storage)
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            weakref.finalize(storage, self._forget, key, size)
            self.now += size
            self.peak = max(self.peak, self.now)

    def _forget(self, key: int, size: int) -> None:
        self._known.remove(key)
        self.now -= size


def _tensors(parts: Any) -> Iterator[Tensor]:
    """The tensors in arguments or results of an operation."""
    if isinstance(parts, Tensor):
        yield parts
    elif isinstance(parts, list | tuple):
        for part in parts:
            yield from _tensors(part)


def blank_batch(spec: EnvironmentSpec, size: int, action_width: int) -> Batch:
    """A batch on the `meta` device in the shapes and types that the replay gives; a static graph is held once."""
    agents, graphs = spec.num_agents, 1 if spec.static_graph else size

    def blank(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    def graph() -> Graph:
        shape = (graphs, agents, spec.max_neighbours)
        parts = (blank(*shape, dtype=dtype) for dtype in (torch.int64, torch.bool))
        return Graph(*(part.expand(size, -1, -1) for part in parts))

    return Batch(
        observation=blank(size, agents, spec.observation_dim),
        graph=graph(),
        action=blank(size, agents, action_width) if action_width else blank(size, agents, dtype=torch.int64),
        reward=blank(size, agents),
        next_observation=blank(size, agents, spec.observation_dim),
        next_graph=graph(),
        terminated=blank(size, dtype=torch.bool),
    )


class UpdateMemory(NamedTuple):
    """What an update takes beside the networks and the batch, in bytes."""

    fixed: int
    """Whatever the batch: gradients, and Adam's two moments."""
    per_transition: float
    """Activations, for each transition whose gradients are computed at once."""

    def total(self, size: int) -> int:
        """For `size` transitions at once."""
        return self.fixed + int(self.per_transition * size)


def update_memory(
    learner_type: Callable[..., Any], spec: EnvironmentSpec, config: Any, device_type: str = "cpu"
) -> UpdateMemory:
    """The memory of updates, told from one on `SAMPLE` transitions (about a tenth of a second, once in a process).

    On anything but a CPU, messages are counted without the compiled loops over neighbour lists, which are a CPU's:
    kernels of a GPU that fuse them take less.
    """
    config = dataclasses.replace(config, micro_batch=SAMPLE)
    if device_type != "cpu" and getattr(config, "kernel", "") == "auto":
        config = dataclasses.replace(config, kernel=_kernel_without_loops(spec, config))
    return _update_memory(learner_type, spec, config)


def _kernel_without_loops(spec: EnvironmentSpec, config: Any) -> str:
    """What the kernel `auto` stands for where there are no compiled loops."""
    dense = takes_dense(spec.num_agents, spec.max_neighbours, "auto", config.graph, config.heads)
    return "dense" if dense else "gather"


@lru_cache(maxsize=1024)
def act_memory(learner_type: Callable[..., Any], spec: EnvironmentSpec, config: Any) -> float:
    """What choosing greedy actions takes at once beside the networks, in bytes for each copy of the task."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        learner = learner_type(spec, config, torch.device("meta"))
    batch = blank_batch(spec, SAMPLE, learner.action_width)
    with LiveBytes() as live, torch.no_grad():
        learner.act(batch.observation, batch.graph, torch.Generator(), True)
    return live.peak / SAMPLE


@lru_cache(maxsize=1024)
def _update_memory(learner_type: Callable[..., Any], spec: EnvironmentSpec, config: Any) -> UpdateMemory:
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        learner = learner_type(spec, config, torch.device("meta"))
    trained = 0
    for optimiser in (part for part in vars(learner).values() if isinstance(part, torch.optim.Optimizer)):
        optimiser.step = lambda: None  # type: ignore[method-assign, assignment]  # one fused kernel elsewhere, many here
        trained += sum(parameter.nbytes for group in optimiser.param_groups for parameter in group["params"])
    batch = blank_batch(spec, SAMPLE, learner.action_width)
    with LiveBytes() as live:
        learner.update(batch, torch.Generator())
    return UpdateMemory(3 * trained, max(live.peak - trained, 0) / SAMPLE)
