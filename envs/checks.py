"""Input checks shared by all environments."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor


def require_copies(num_envs: int) -> None:
    """Raises ValueError for less than one copy."""
    if num_envs < 1:
        raise ValueError(f"num_envs must be at least 1, not {num_envs}")


def require_seed(seed: int) -> None:
    """Raises ValueError for a seed that is not between 0 and 2^63 - 1."""
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed must be between 0 and 2^63 - 1, not {seed}")


def require_integers(actions: Tensor, shape: tuple[int, ...]) -> None:
    """Raises ValueError for actions of another shape or of a type that is not an integer."""
    integers = not (actions.is_floating_point() or actions.is_complex() or actions.dtype == torch.bool)
    if tuple(actions.shape) != shape or not integers:
        raise ValueError(
            f"actions have shape {tuple(actions.shape)} and type {actions.dtype}; expected integers {shape}"
        )


def require_indices(actions: Tensor, num_actions: int) -> None:
    """Raises ValueError for actions (env, agent) out of range. On a CPU only: on other devices the check would have to
    synchronise."""
    if actions.device.type != "cpu":
        return
    low, high = actions.aminmax()
    if low < 0 or high >= num_actions:
        place = ((actions < 0) | (actions >= num_actions)).nonzero()[0].tolist()
        found = int(actions[tuple(place)])
        raise ValueError(f"the action at {place} is {found}; expected indices from 0 to {num_actions - 1}")


def neighbour_count(num_neighbours: int | None, num_agents: int) -> int:
    """Length of the neighbour lists: as requested, or the paper's 4 for fewer than 30 agents and 8 otherwise. Raises
    ValueError if there are fewer other agents than requested neighbours."""
    if num_neighbours is None:
        return min(4 if num_agents < 30 else 8, num_agents - 1)
    if num_neighbours > num_agents - 1:
        raise ValueError(
            f"num_neighbours={num_neighbours} but each of the {num_agents} agents has only {num_agents - 1} others; "
            "choose a smaller number or None"
        )
    return num_neighbours


def require_complete(state: Collection[str], expected: Collection[str], kind: str) -> None:
    """Raises ValueError for a state dict of an environment of this kind that lacks expected entries."""
    missing = ", ".join(sorted(set(expected) - set(state)))
    if missing:
        raise ValueError(
            f"this is not a state of {kind}: {missing} missing, as in a damaged file or one of another version; begin "
            "with reset() instead"
        )


def why_unreadable(error: Exception) -> str:
    """Why numpy cannot read a file, in one line and without its advice to load what may run code."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return "it is not an .npz file" if "pickle" in reason else reason
