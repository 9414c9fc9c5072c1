"""What agents and prey see: own velocity and position, then sections of nearby entities.

A section holds the positions, relative to the viewer, of some entities, the first by the section's order first; then,
where asked for, their velocities. The viewer itself is never among them.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

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
        """A new tensor of what every viewer sees."""
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
    """What every viewer sees; the same as `observe_numba`."""
    own = slice(viewers.start, viewers.stop)
    seen = [velocity[:, own], position[:, own]]
    for section in sections:
        group = slice(section.entities.start, section.entities.stop)
        apart = position[:, None, group] - position[:, own, None]
        chosen = _chosen(apart, position[:, own, None], viewers, section)
        index = chosen[..., None].expand(*chosen.shape, 2)
        seen.append(apart.gather(2, index).flatten(2))
        if section.with_velocities:
            speeds = velocity[:, None, group].expand(-1, len(viewers), -1, -1)
            seen.append(speeds.gather(2, index).flatten(2))
    return torch.cat(seen, -1)


def _chosen(
    apart: Float[Tensor, "env viewer entity xy"], own: Tensor, viewers: range, section: Section
) -> Int[Tensor, "env viewer count"]:
    """Which entities of the section each viewer sees, as offsets into the section's range."""
    device = apart.device
    itself = torch.tensor(viewers, device=device)[:, None] == torch.tensor(section.entities, device=device)
    if section.order == Order.INDEX:
        key = torch.arange(len(section.entities), device=device).expand(apart.shape[:3]).to(apart.dtype)
    elif section.order == Order.LEXICOGRAPHIC:
        by_second = apart[..., 1].argsort(dim=-1, stable=True)
        by_both = apart[..., 0].gather(-1, by_second).argsort(dim=-1, stable=True)
        key = by_second.gather(-1, by_both).argsort(-1).to(apart.dtype)  # rank of each entity
    else:
        key = (apart - own if section.order == Order.PUBLISHED else apart).square().sum(-1)
    return key.masked_fill(itself, torch.inf).argsort(dim=-1, stable=True)[..., : section.count]


@njit(cache=True, nogil=True)
def observe_numba(
    position: np.ndarray, velocity: np.ndarray, first_viewer: int, sections: np.ndarray, seen: np.ndarray
) -> None:
    """Write what every viewer sees to `seen`; the same as `observe_torch`."""
    chosen = np.empty(position.shape[1], np.int64)
    keys = np.empty((2, position.shape[1]))
    for env in range(position.shape[0]):
        for row in range(seen.shape[1]):
            viewer = first_viewer + row
            for axis in range(2):
                seen[env, row, axis] = velocity[env, viewer, axis]
                seen[env, row, 2 + axis] = position[env, viewer, axis]
            column = 4
            for section in range(sections.shape[0]):
                start, stop, count, order, with_velocities = sections[section]
                _choose(position[env], viewer, start, stop, count, order, chosen, keys)
                for slot in range(count):
                    for axis in range(2):
                        seen[env, row, column] = position[env, chosen[slot], axis] - position[env, viewer, axis]
                        column += 1
                if with_velocities:
                    for slot in range(count):
                        for axis in range(2):
                            seen[env, row, column] = velocity[env, chosen[slot], axis]
                            column += 1


@njit(cache=True, nogil=True)
def _choose(
    position: np.ndarray,
    viewer: int,
    start: int,
    stop: int,
    count: int,
    order: int,
    chosen: np.ndarray,
    keys: np.ndarray,
) -> None:
    """Insert the entities start..stop one by one into the sorted list of the first `count` in `chosen`."""
    held = 0
    x, y = position[viewer, 0], position[viewer, 1]
    for entity in range(start, stop):
        if entity == viewer:
            continue
        dx = position[entity, 0] - x
        dy = position[entity, 1] - y
        second = 0.0
        if order == 1:
            first = dx * dx + dy * dy
        elif order == 2:
            first = (dx - x) * (dx - x) + (dy - y) * (dy - y)
        elif order == 3:
            first = dx
            second = dy
        else:
            first = float(entity)
        if held == count and first > keys[0, count - 1]:
            continue
        slot = held
        while slot > 0 and (first < keys[0, slot - 1] or (first == keys[0, slot - 1] and second < keys[1, slot - 1])):
            if slot < count:
                keys[0, slot] = keys[0, slot - 1]
                keys[1, slot] = keys[1, slot - 1]
                chosen[slot] = chosen[slot - 1]
            slot -= 1
        if slot < count:
            keys[0, slot] = first
            keys[1, slot] = second
            chosen[slot] = entity
        if held < count:
            held += 1
