"""Micro-batches: gradients are accumulated over parts of a batch, which takes less memory and, on a CPU whose caches do
not hold the whole batch, less time.

Losses are means over transitions, so the gradients of the micro-batches, each weighted by its share of the batch, add
up to those of the whole batch:

* Where a loss is deterministic, updates with any micro-batch agree up to rounding, since sums are added in another
  order. Runs drift apart slowly, as they do between two processors.
* Where a loss samples (the actions of IP, MADDPG, MADDPGS and PIC), each micro-batch samples separately, so that
  transitions receive different random numbers from the same distribution. Updates are then equal in distribution, and
  runs differ like two seeds of the stream `update`.

The size is therefore not part of a run's identity, but two runs agree number by number only where it is the same.
By default it follows from the algorithm, the task and the kind of device, never from the free memory of the card.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from algorithms.protocols import Batch, Graph

Metrics = dict[str, Tensor]
"""Scalars by name."""

CACHE_BYTES = 112 * 2**20
"""Memory that a micro-batch may take on a CPU. With many agents such micro-batches are faster than the whole batch on
one core, with few agents equally fast; half or twice as much changes the memory but not the time."""
GPU_BYTES = 16 * 2**30
"""Memory that a micro-batch may take on a GPU of any size, so that equal seeds give equal files on all cards. Only
tasks with hundreds of agents reach it at the paper's batch of 1024."""
SMALLEST = 16
"""Smallest automatic micro-batch in transitions."""


def memory_bound(device: torch.device) -> int:
    """Bytes that a micro-batch may take: `CACHE_BYTES` on a CPU, `GPU_BYTES` on other devices."""
    return CACHE_BYTES if device.type == "cpu" else GPU_BYTES


def fitting_size(bytes_per_transition: float, bound: int) -> int:
    """Transitions of the largest micro-batch within `bound` bytes, rounded down to a power of two."""
    fitting = int(bound / max(bytes_per_transition, 1.0))
    return max(SMALLEST, 2 ** (max(fitting, 1).bit_length() - 1))


def micro_batches(batch: Batch, size: int | None) -> Iterator[tuple[Batch, float]]:
    """Consecutive micro-batches of `size` transitions, each with its share of the batch; the last may be smaller.
    Without a size, or with one no smaller than the batch, yields the whole batch with share 1."""
    count = len(batch.reward)
    if size is None or size >= count:
        yield batch, 1.0
        return
    for begin in range(0, count, size):
        part = _rows(batch, slice(begin, begin + size))
        yield part, len(part.reward) / count


def _rows(batch: Batch, rows: slice) -> Batch:
    """A slice of a batch's transitions; a graph that is held once stays so."""
    return Batch(
        observation=batch.observation[rows],
        graph=Graph(batch.graph.neighbours[rows], batch.graph.mask[rows]),
        action=batch.action[rows],
        reward=batch.reward[rows],
        next_observation=batch.next_observation[rows],
        next_graph=Graph(batch.next_graph.neighbours[rows], batch.next_graph.mask[rows]),
        terminated=batch.terminated[rows],
    )
