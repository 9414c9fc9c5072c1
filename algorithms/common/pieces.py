"""Gradients of a batch, piece by piece: less memory, and faster where the whole does not fit the caches of a CPU.

Losses are means over transitions, so the gradients of the pieces, each weighted with its share of the batch, add up to
those of the whole, but for rounding; and random draws come in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from algorithms.protocols import Batch, Graph

Metrics = dict[str, Tensor]
"""Single numbers by name."""

CACHE_BYTES = 384 * 2**20
"""Activations that a piece may have, by the algorithms' own counts. On one core a batch of 1024 transitions of 100
agents and more takes half to three quarters of the time in such pieces; with 30 agents and fewer it is nearly one."""
SMALLEST = 16
"""Fewer transitions than this are not worth a piece of their own."""


def piece_size(piece: int | None, floats_per_transition: int, device: torch.device) -> int | None:
    """Transitions of a piece, a power of two where it is chosen here; None for the whole batch."""
    if piece is not None or device.type != "cpu":
        return piece
    fitting = CACHE_BYTES // (4 * max(floats_per_transition, 1))
    return max(SMALLEST, 2 ** (max(fitting, 1).bit_length() - 1))


def split(batch: Batch, size: int) -> Iterator[Batch]:
    """The transitions of a batch in order, `size` at a time; the last piece may be smaller."""
    count = len(batch.reward)
    for begin in range(0, count, size):
        rows = slice(begin, begin + size)
        graphs = [Graph(graph.neighbours[rows], graph.mask[rows]) for graph in (batch.graph, batch.next_graph)]
        yield Batch(
            batch.observation[rows],
            graphs[0],
            batch.action[rows],
            batch.reward[rows],
            batch.next_observation[rows],
            graphs[1],
            batch.terminated[rows],
        )


def in_pieces(batch: Batch, size: int | None, backward: Callable[[Batch, float], Metrics]) -> Metrics:
    """Call `backward(piece, share)` for every piece; it adds share times its gradients to those that are there.

    Returns the means of its metrics, weighted by share. With no size, or one that holds the batch, there is one piece
    with share 1.
    """
    count = len(batch.reward)
    if size is None or size >= count:
        return backward(batch, 1.0)
    total: Metrics = {}
    for piece in split(batch, size):
        share = len(piece.reward) / count
        for name, value in backward(piece, share).items():
            total[name] = total[name] + share * value if name in total else share * value
    return total
