"""Compiled building blocks shared by observations, neighbour lists, contacts and rewards.

Coordinates are first split into contiguous rows, so that the distances from one point to many compile to vector
instructions; the few smallest are then found by insertion.
"""

from __future__ import annotations

import numpy as np

from envs.mpe.compiled import kernel


@kernel
def split(position: np.ndarray, columns: np.ndarray) -> None:
    """Write positions (entity, 2) as rows (2, entity)."""
    for entity in range(position.shape[0]):
        columns[0, entity] = position[entity, 0]
        columns[1, entity] = position[entity, 1]


@kernel
def squared_distances(columns: np.ndarray, x: float, y: float, start: int, stop: int, squared: np.ndarray) -> None:
    """Write the squared distances of entities start..stop from the point (x, y) to squared[0 : stop - start]."""
    across, along = columns[0, start:stop], columns[1, start:stop]
    for slot in range(stop - start):
        dx = across[slot] - x
        dy = along[slot] - y
        squared[slot] = dx * dx + dy * dy


@kernel
def smallest(keys: np.ndarray, length: int, chosen: np.ndarray, count: int, held: np.ndarray) -> None:
    """Write the indices of the `count` smallest of keys[:length] to `chosen`, in ascending order, ties by index.

    `held` is scratch space. With fewer than `count` finite keys, the remaining indices are 0.
    """
    for slot in range(count):
        held[slot] = np.inf
        chosen[slot] = 0
    worst = held[count - 1]
    for index in range(length):
        key = keys[index]
        if key < worst:
            slot = count - 1
            while slot > 0 and key < held[slot - 1]:
                held[slot] = held[slot - 1]
                chosen[slot] = chosen[slot - 1]
                slot -= 1
            held[slot] = key
            chosen[slot] = index
            worst = held[count - 1]
