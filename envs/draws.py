"""Stateless random numbers: the n-th number of a seed's stream, computed directly on any device.

The stream is SplitMix64 (Steele, Lea, Flood 2014), started at a hash of the seed. Episode e of a task that needs d
numbers uses those from e d to (e + 1) d - 1. A batch of copies thus plays the same episodes as a single copy plays one
after another, and resuming a run needs only the seed and the number of episodes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from envs.shapes import Float, Int

_GAMMA = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


def uniform(seed: int, episodes: range, count: int, device: torch.device) -> Float[Tensor, "env draw"]:
    """The `count` numbers, uniform in [0, 1) and float64, of each of these episodes of `seed`."""
    start = splitmix(torch.zeros(1, dtype=torch.int64, device=device), seed)
    index = torch.arange(episodes.start * count, episodes.stop * count, device=device)
    bits = splitmix(index, start)
    return (_shift(bits, 12).double() / 2**52).view(len(episodes), count)  # 52 bits: n times them stays below n


def splitmix(index: Int[Tensor, " draw"], seed: int | Int[Tensor, "1"]) -> Int[Tensor, " draw"]:
    """Numbers `index` = 0, 1, ... of the SplitMix64 stream of a seed: 64 bits each, read as signed integers."""
    bits = (index + 1) * _signed(_GAMMA) + (_signed(seed) if isinstance(seed, int) else seed)
    bits = (bits ^ _shift(bits, 30)) * _signed(_MIX_1)
    bits = (bits ^ _shift(bits, 27)) * _signed(_MIX_2)
    return bits ^ _shift(bits, 31)


def _shift(bits: Int[Tensor, " draw"], places: int) -> Int[Tensor, " draw"]:
    """Logical right shift."""
    return (bits >> places) & ((1 << (64 - places)) - 1)


def _signed(bits: int) -> int:
    """64 bits as a signed integer, the only 64-bit type of torch with arithmetic."""
    return (bits + 2**63) % 2**64 - 2**63
