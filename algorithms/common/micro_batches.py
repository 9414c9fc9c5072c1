"""Micro-batches: the gradients of a batch are added up part by part, which takes less memory and, on a CPU whose caches
the whole batch does not fit, less time.

Losses are means over transitions, so the gradients of the micro-batches, each weighted with its share of the batch, add
up to those of the whole. What that equality means:

* Where a loss draws nothing, updates of any size are the same but for rounding: sums are added in another order. Runs
  drift apart slowly, as they do between two processors.
* Where a loss draws (the sampled actions of IP, MADDPG, MADDPGS and PIC), each micro-batch draws for itself and other
  transitions get other numbers, as many and of the same distribution. Updates are then equal in distribution, and runs
  differ as with two seeds of the stream `update`.

So the size is no part of a run's identity, but two runs are the same, number by number, only where it is the same too.
By default it follows from the algorithm, the task and the kind of device, never from the free memory of the card.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from algorithms.protocols import Batch, Graph

Metrics = dict[str, Tensor]
"""Single numbers by name."""

CACHE_BYTES = 112 * 2**20
"""Memory that a micro-batch may take. With many agents such micro-batches take less time than the whole batch on one
core, with few as much; half or twice of it makes no difference in time, but in memory."""
GPU_BYTES = 16 * 2**30
"""The same on a GPU, whatever the card: equal seeds give equal files on cards of every size. Only tasks with hundreds
of agents reach it at the paper's batch of 1024."""
SMALLEST = 16
"""Fewer transitions than this are not worth a micro-batch of their own."""


def memory_bound(device: torch.device) -> int:
    """Bytes that a micro-batch may take on a device: the caches of a CPU, `GPU_BYTES` of anything else."""
    return CACHE_BYTES if device.type == "cpu" else GPU_BYTES


def fitting_size(bytes_per_transition: float, bound: int) -> int:
    """The transitions of a micro-batch that takes no more than `bound` bytes, rounded down to a power of two."""
    fitting = int(bound / max(bytes_per_transition, 1.0))
    return max(SMALLEST, 2 ** (max(fitting, 1).bit_length() - 1))


def micro_batches(batch: Batch, size: int | None) -> Iterator[tuple[Batch, float]]:
    """The transitions of a batch in order, `size` at a time, each micro-batch with its share of the batch; the last may
    be smaller. With no size, or one that holds the batch, the whole batch with share 1."""
    count = len(batch.reward)
    if size is None or size >= count:
        yield batch, 1.0
        return
    for begin in range(0, count, size):
        part = _rows(batch, slice(begin, begin + size))
        yield part, len(part.reward) / count


def _rows(batch: Batch, rows: slice) -> Batch:
    """Some transitions of a batch; a graph that is held once stays so."""
    return Batch(
        observation=batch.observation[rows],
        graph=Graph(batch.graph.neighbours[rows], batch.graph.mask[rows]),
        action=batch.action[rows],
        reward=batch.reward[rows],
        next_observation=batch.next_observation[rows],
        next_graph=Graph(batch.next_graph.neighbours[rows], batch.next_graph.mask[rows]),
        terminated=batch.terminated[rows],
    )
