"""Memory of a gradient step, measured on torch's `meta` device, where tensors have shapes but no data.

The measurement needs neither the target device nor its memory, and no algorithm has to count its activations.
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
"""Transitions in the measured update, enough for activations to outweigh everything else."""


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all live tensors created inside the context: the current number `now`, and the `peak`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {tensor.untyped_storage()._cdata for tensor in _tensors((args, tuple((kwargs or {}).values())))}
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            if storage._cdata not in given:  # views and operations in place share the memory of their arguments
                self._count(storage)
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            weakref.finalize(storage, self._discard, key, size)
            self.now += size
            self.peak = max(self.peak, self.now)

    def _discard(self, key: int, size: int) -> None:
        self._known.remove(key)
        self.now -= size


def _tensors(parts: Any) -> Iterator[Tensor]:
    """The tensors among the arguments or results of an operation."""
    if isinstance(parts, Tensor):
        yield parts
    elif isinstance(parts, list | tuple):
        for part in parts:
            yield from _tensors(part)


def blank_batch(spec: EnvironmentSpec, size: int, action_width: int) -> Batch:
    """A batch on the `meta` device with the shapes and types of the replay buffer; a static graph is held once."""
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
    """Memory of an update in bytes, without the networks and the batch."""

    fixed: int
    """Gradients and Adam's two moments, independent of the batch."""
    per_transition: float
    """Activations per transition of a micro-batch."""

    def total(self, size: int) -> int:
        """Bytes for a micro-batch of `size` transitions."""
        return self.fixed + int(self.per_transition * size)


def update_memory(
    learner_type: Callable[..., Any], spec: EnvironmentSpec, config: Any, device_type: str = "cpu"
) -> UpdateMemory:
    """Memory of updates, measured on `SAMPLE` transitions (about a tenth of a second, once per process).

    For devices other than a CPU, messages are counted without the compiled loops over neighbour lists, which only a CPU
    has: fused kernels of a GPU take less.
    """
    config = dataclasses.replace(config, micro_batch=SAMPLE)
    if device_type != "cpu" and getattr(config, "kernel", "") == "auto":
        config = dataclasses.replace(config, kernel=_kernel_without_loops(spec, config))
    return _update_memory(learner_type, spec, config)


def _kernel_without_loops(spec: EnvironmentSpec, config: Any) -> str:
    """The kernel that `auto` selects on devices without compiled loops."""
    dense = takes_dense(spec.num_agents, spec.max_neighbours, "auto", config.graph, config.heads)
    return "dense" if dense else "gather"


@lru_cache(maxsize=1024)
def act_memory(learner_type: Callable[..., Any], spec: EnvironmentSpec, config: Any) -> float:
    """Peak memory of choosing greedy actions without the networks, in bytes per copy of the task."""
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
        optimiser.step = lambda: None  # type: ignore[method-assign, assignment]  # one fused kernel on real devices
        trained += sum(parameter.nbytes for group in optimiser.param_groups for parameter in group["params"])
    batch = blank_batch(spec, SAMPLE, learner.action_width)
    with LiveBytes() as live:
        learner.update(batch, torch.Generator())
    return UpdateMemory(3 * trained, max(live.peak - trained, 0) / SAMPLE)
