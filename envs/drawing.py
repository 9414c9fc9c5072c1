"""Pictures of the current state of one copy of an environment.

    frame = draw(environment, size=480)

The environment's platform draws it on a common canvas (`envs.canvas`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from envs.canvas import LARGEST, REFERENCE, SMALLEST, Pictures
from envs.platforms import PLATFORMS

if TYPE_CHECKING:
    from envs.protocols import Environment


def draw(environment: Environment, copy: int = 0, size: int = REFERENCE, neighbours: bool = False) -> np.ndarray:
    """A frame (size, size, 3), uint8, of one copy; `neighbours` adds a line from every agent to each neighbour.

    Raises TypeError for an environment that is no particle, traffic or jungle task, ValueError for a copy or size out
    of range, RuntimeError before the first `reset` of a particle or jungle task; a city is empty then.
    """
    pictures = pictures_of(environment)
    if not 0 <= copy < environment.num_envs:
        raise ValueError(f"copy must be between 0 and {environment.num_envs - 1}, not {copy}")
    if isinstance(size, bool) or not isinstance(size, int) or not SMALLEST <= size <= LARGEST:
        raise ValueError(f"size must be a whole number of {SMALLEST} to {LARGEST} pixels, not {size!r}")
    return pictures.draw(environment, copy, size, neighbours)


def pictures_of(environment: Environment) -> Pictures:
    """How an environment is drawn. Raises TypeError for one that has no pictures."""
    for platform in PLATFORMS.values():
        pictures = platform.pictures(environment)
        if pictures is not None:
            return pictures
    raise TypeError(
        "only environments of particles (mpe/...), of traffic (cityflow/...) and of jungles (magent/...) can be drawn, "
        f"not {type(environment).__name__}"
    )
