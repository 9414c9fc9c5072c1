"""The memory of a gradient step, found by taking one on torch's `meta` device, where tensors have shapes and no data.

It needs neither the machine nor the memory that it speaks of, and no algorithm has to count its activations.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from algorithms.protocols import Batch, EnvironmentSpec, Graph

SAMPLE = 256
"""Transitions of the step from which the memory of one is told."""


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors made inside it, for as long as they live: how many `now`, and the `peak`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        """Views share the storage of their base, and operations in place return what they were given."""
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            weakref.finalize(storage, self._forget, key, size)
            self.now += size
            self.peak = max(self.peak, self.now)

    def _forget(self, key: int, size: int) -> None:
        self._known.remove(key)
        self.now -= size


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


@lru_cache(maxsize=1024)
def update_bytes(learner_type: Callable[..., Any], spec: EnvironmentSpec, config: Any, size: int) -> int:
    """The most bytes that an update on `size` transitions at once has in use beside the networks and the batch:
    activations, gradients, and Adam's two moments."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        learner = learner_type(spec, config, torch.device("meta"))
    batch = blank_batch(spec, size, learner.action_width)
    moments = 0
    for optimiser in (part for part in vars(learner).values() if isinstance(part, torch.optim.Optimizer)):
        optimiser.step = lambda: None  # type: ignore[method-assign, assignment]  # one fused kernel elsewhere, many here
        trained = (p for group in optimiser.param_groups for p in group["params"])
        moments += sum(2 * parameter.nbytes for parameter in trained)
    with LiveBytes() as live:
        learner.update(batch, torch.Generator())
    return live.peak + moments


def bytes_per_transition(learner_type: Callable[..., Any], spec: EnvironmentSpec, config: Any) -> float:
    """Memory of an update for each transition that is in it at once."""
    return update_bytes(learner_type, spec, config, SAMPLE) / SAMPLE
