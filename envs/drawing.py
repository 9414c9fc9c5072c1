"""Renderings of the current state of one copy of an environment.

    frame = draw(environment, size=480)

The platform of the environment draws it on a common canvas (`envs.canvas`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from envs.canvas import LARGEST, REFERENCE, SMALLEST, Renderer
from envs.platforms import PLATFORMS

if TYPE_CHECKING:
    from envs.protocols import Environment


def draw(environment: Environment, copy: int = 0, size: int = REFERENCE, neighbours: bool = False) -> np.ndarray:
    """A frame (size, size, 3), uint8, of one copy; `neighbours` adds a line from every agent to each neighbour.

    Raises TypeError unless the environment is a particle, traffic or Jungle task, ValueError for a copy or size out of
    range, and RuntimeError before the first `reset` of a particle or Jungle task; a city is empty until then.
    """
    renderer = renderer_of(environment)
    if not 0 <= copy < environment.num_envs:
        raise ValueError(f"copy must be between 0 and {environment.num_envs - 1}, not {copy}")
    if isinstance(size, bool) or not isinstance(size, int) or not SMALLEST <= size <= LARGEST:
        raise ValueError(f"size must be a whole number of {SMALLEST} to {LARGEST} pixels, not {size!r}")
    return renderer.draw(environment, copy, size, neighbours)


def renderer_of(environment: Environment) -> Renderer:
    """The renderer of an environment. Raises TypeError if there is none."""
    for platform in PLATFORMS.values():
        renderer = platform.renderer(environment)
        if renderer is not None:
            return renderer
    raise TypeError(
        "only particle (mpe/...), traffic (cityflow/...) and Jungle (magent/...) environments can be drawn, "
        f"not {type(environment).__name__}"
    )
