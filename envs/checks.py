"""Checks of what environments are given, the same for all of them."""

from __future__ import annotations

import torch
from torch import Tensor


def require_seed(seed: int) -> None:
    """Raises ValueError for a seed that is not between 0 and 2^63 - 1."""
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed must be between 0 and 2^63 - 1, not {seed}")


def require_integers(actions: Tensor, shape: tuple[int, ...]) -> None:
    """Raises ValueError for actions of another shape, or that are not whole numbers."""
    integers = not (actions.is_floating_point() or actions.is_complex() or actions.dtype == torch.bool)
    if tuple(actions.shape) != shape or not integers:
        raise ValueError(
            f"actions have shape {tuple(actions.shape)} and type {actions.dtype}; expected integers {shape}"
        )


def require_indices(actions: Tensor, num_actions: int) -> None:
    """Raises ValueError for actions (env, agent) out of range. On a CPU only: elsewhere looking would wait for the
    device."""
    if actions.device.type != "cpu":
        return
    low, high = actions.aminmax()
    if low < 0 or high >= num_actions:
        place = ((actions < 0) | (actions >= num_actions)).nonzero()[0].tolist()
        found = int(actions[tuple(place)])
        raise ValueError(f"the action at {place} is {found}; expected indices from 0 to {num_actions - 1}")


def neighbour_count(num_neighbours: int | None, num_agents: int) -> int:
    """Width of the neighbour lists among `num_agents`: as asked for, or the paper's 4 below 30 agents and 8 from there
    on. Raises ValueError if more are asked for than there are others."""
    if num_neighbours is None:
        return min(4 if num_agents < 30 else 8, num_agents - 1)
    if num_neighbours > num_agents - 1:
        raise ValueError(
            f"num_neighbours={num_neighbours} but each of the {num_agents} agents has only {num_agents - 1} others; "
            "choose a smaller number or None"
        )
    return num_neighbours


def why_unreadable(error: Exception) -> str:
    """Why numpy cannot read a file, in one line and without its advice to load what may run code."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return "it is not an .npz file" if "pickle" in reason else reason
