"""Observations of agents and prey: the viewer's velocity and position, followed by sections of nearby entities.

A section holds the positions of some entities relative to the viewer, sorted in the section's order, and then, if
requested, their velocities. The viewer itself is never included.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from envs.mpe.compiled import kernel
from envs.mpe.nearest import smallest, split, squared_distances
from envs.mpe.scenarios import Order, Section
from envs.shapes import Float, Int


class Observer:
    """Observations of a range of viewers in a batch of copies."""

    def __init__(self, viewers: range, sections: tuple[Section, ...], true_order: bool, use_numba: bool) -> None:
        def order(section: Section) -> Order:
            return Order.DISTANCE if true_order and section.order == Order.PUBLISHED else section.order

        self.viewers = viewers
        self.sections = tuple(Section(s.entities, s.count, order(s), s.with_velocities) for s in sections if s.count)
        self.width = 4 + sum(section.width for section in self.sections)
        self.use_numba = use_numba
        self._table = np.array(
            [(s.entities.start, s.entities.stop, s.count, s.order, s.with_velocities) for s in self.sections], np.int64
        ).reshape(-1, 5)

    def observe(
        self, position: Float[Tensor, "env entity xy"], velocity: Float[Tensor, "env entity xy"]
    ) -> Float[Tensor, "env viewer feature"]:
        """The observation of every viewer, in a new tensor."""
        if not self.use_numba:
            return observe_torch(position, velocity, self.viewers, self.sections)
        dtype = np.float32 if position.dtype == torch.float32 else np.float64
        seen = np.empty((position.shape[0], len(self.viewers), self.width), dtype)
        observe_numba(position.numpy(), velocity.numpy(), self.viewers.start, self._table, seen)
        return torch.from_numpy(seen)


def observe_torch(
    position: Float[Tensor, "env entity xy"],
    velocity: Float[Tensor, "env entity xy"],
    viewers: range,
    sections: tuple[Section, ...],
) -> Float[Tensor, "env viewer feature"]:
    """The observation of every viewer; equal to `observe_numba`."""
    viewing = slice(viewers.start, viewers.stop)
    seen = [velocity[:, viewing], position[:, viewing]]
    for section in sections:
        group = slice(section.entities.start, section.entities.stop)
        apart = position[:, None, group] - position[:, viewing, None]
        chosen = _chosen(apart, position[:, viewing, None], viewers, section)
        index = chosen[..., None].expand(*chosen.shape, 2)
        seen.append(apart.gather(2, index).flatten(2))
        if section.with_velocities:
            speeds = velocity[:, None, group].expand(-1, len(viewers), -1, -1)
            seen.append(speeds.gather(2, index).flatten(2))
    return torch.cat(seen, -1)


def _chosen(
    apart: Float[Tensor, "env viewer entity xy"], viewer_position: Tensor, viewers: range, section: Section
) -> Int[Tensor, "env viewer count"]:
    """The entities of a section that each viewer observes, as offsets into the section's range."""
    device = apart.device
    group = torch.arange(section.entities.start, section.entities.stop, device=device)
    itself = torch.arange(viewers.start, viewers.stop, device=device)[:, None] == group
    if section.order == Order.INDEX:
        key = group.to(apart.dtype).expand(apart.shape[:3])
    elif section.order == Order.LEXICOGRAPHIC:
        by_second = apart[..., 1].argsort(dim=-1, stable=True)
        by_both = apart[..., 0].gather(-1, by_second).argsort(dim=-1, stable=True)
        key = by_second.gather(-1, by_both).argsort(-1).to(apart.dtype)  # rank of each entity
    else:
        key = (apart - viewer_position if section.order == Order.PUBLISHED else apart).square().sum(-1)
    return key.masked_fill(itself, torch.inf).argsort(dim=-1, stable=True)[..., : section.count]


@kernel
def observe_numba(
    position: np.ndarray, velocity: np.ndarray, first_viewer: int, sections: np.ndarray, seen: np.ndarray
) -> None:
    """Write the observation of every viewer to `seen`; equal to `observe_torch`."""
    columns = np.empty((2, position.shape[1]), position.dtype)
    keys = np.empty((2, position.shape[1]), position.dtype)
    chosen = np.empty(position.shape[1], np.int64)
    for env in range(position.shape[0]):
        split(position[env], columns)
        for row in range(seen.shape[1]):
            viewer = first_viewer + row
            seen[env, row, :2] = velocity[env, viewer]
            seen[env, row, 2:4] = position[env, viewer]
            column = 4
            for section in range(sections.shape[0]):
                start, stop, count, order, with_velocities = sections[section]
                _choose(columns, viewer, start, stop, count, order, chosen, keys)
                for slot in range(count):
                    for axis in range(2):
                        seen[env, row, column] = columns[axis, start + chosen[slot]] - columns[axis, viewer]
                        column += 1
                if with_velocities:
                    for slot in range(count):
                        for axis in range(2):
                            seen[env, row, column] = velocity[env, start + chosen[slot], axis]
                            column += 1


@kernel
def _choose(
    columns: np.ndarray,
    viewer: int,
    start: int,
    stop: int,
    count: int,
    order: int,
    chosen: np.ndarray,
    keys: np.ndarray,
) -> None:
    """Write the offsets of the first `count` entities of start..stop, excluding the viewer, to `chosen`."""
    x, y = columns[0, viewer], columns[1, viewer]
    itself = viewer - start
    if order == 0:
        for slot in range(count):
            chosen[slot] = slot + 1 if 0 <= itself <= slot else slot
        return
    if order == 1:
        squared_distances(columns, x, y, start, stop, keys[0])
    elif order == 2:
        for slot in range(stop - start):
            dx = columns[0, start + slot] - x - x
            dy = columns[1, start + slot] - y - y
            keys[0, slot] = dx * dx + dy * dy
    else:
        for slot in range(stop - start):
            keys[0, slot] = _lexicographic_rank(columns, viewer, start, stop, start + slot)
    if 0 <= itself < stop - start:
        keys[0, itself] = np.inf
    smallest(keys[0], stop - start, chosen, count, keys[1])


@kernel
def _lexicographic_rank(columns: np.ndarray, viewer: int, start: int, stop: int, entity: int) -> int:
    """The number of entities in start..stop that precede `entity` in the viewer's lexicographic order."""
    dx, dy = columns[0, entity] - columns[0, viewer], columns[1, entity] - columns[1, viewer]
    before = 0
    for other in range(start, stop):
        other_dx = columns[0, other] - columns[0, viewer]
        before += other_dx < dx or (other_dx == dx and columns[1, other] - columns[1, viewer] < dy)
    return before
