"""Initial cells: agents first, then foods, each on a cell drawn uniformly from those still free.

Each episode of a seed has its own random numbers (`envs.draws`), so a batch of copies plays the same episodes as a
single copy played repeatedly, on any engine and device.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from envs.draws import uniform
from envs.jungle.compiled import kernel
from envs.jungle.rules import Jungle
from envs.shapes import Int


def starting_cells(jungle: Jungle, seed: int, episodes: range) -> Int[Tensor, "env unit xy"]:
    """Cells (x, y) of agents, then foods, at the start of the given episodes of `seed`; int64, on the CPU."""
    units, inner = jungle.num_agents + jungle.num_foods, jungle.side - 2
    numbers = uniform(seed, episodes, units, torch.device("cpu"))
    cells = torch.empty(len(episodes), units, dtype=torch.int64)
    _draw(numbers.numpy(), inner**2, cells.numpy())
    return torch.stack((cells % inner + 1, cells // inner + 1), dim=-1)


@kernel
def _draw(numbers: np.ndarray, num_cells: int, chosen: np.ndarray) -> None:
    """Write the first entries of a Fisher-Yates shuffle of all cells, driven by `numbers`, to each row of `chosen`."""
    cells = np.arange(num_cells)
    for row in range(numbers.shape[0]):
        for cell in range(num_cells):
            cells[cell] = cell
        for unit in range(numbers.shape[1]):
            other = unit + int(numbers[row, unit] * (num_cells - unit))
            chosen[row, unit] = cells[other]
            cells[other] = cells[unit]
