"""Episodes as GIFs, in the colours of their drawings."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image

from envs.canvas import Colour
from envs.drawing import draw, renderer_of

if TYPE_CHECKING:
    from envs.protocols import Environment

WATCHED = {
    "mpe": "particle tasks (mpe/...)",
    "cityflow": "traffic tasks (cityflow/...)",
    "magent": "jungle tasks (magent/...)",
}
"""Names of the platforms that can be drawn."""
LAST_FRAME_MILLISECONDS = 1500
"""Milliseconds for which the last frame of an episode is shown."""
LEAST_DIFFERENCE = 10
"""Smallest difference between two colours of a GIF, in the channel where they differ most (0 to 255)."""


def camera(environment: Environment, size: int, neighbours: bool = False) -> Callable[[], Image.Image]:
    """A function that draws the current state of the first copy in the colours of a GIF, like `envs.drawing.draw`.

    Raises TypeError for an environment that cannot be drawn.
    """
    palette = gif_palette(renderer_of(environment).palette)

    def frame() -> Image.Image:
        frame = Image.fromarray(draw(environment, size=size, neighbours=neighbours))
        return frame.quantize(palette=palette, dither=Image.Dither.NONE)

    return frame


def write_gif(stream: BinaryIO, frames: Sequence[Image.Image], fps: int, episode_frames: int) -> None:
    """Write frames that share a palette; the last of every `episode_frames` is shown for longer."""
    durations = [round(1000 / fps)] * len(frames)
    durations[episode_frames - 1 :: episode_frames] = [LAST_FRAME_MILLISECONDS] * (len(frames) // episode_frames)
    frames[0].save(
        stream, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True
    )


def gif_palette(pure: Sequence[Colour]) -> Image.Image:
    """An image with the palette of a GIF: the pure colours of its drawing and mixtures of every two of them, at most
    256.

    Mixtures close to a colour already in the palette are left out, so that each pure colour is matched by itself.
    """
    colours = np.array(pure)
    for first, second in itertools.combinations(pure, 2):
        for share in (1 / 3, 2 / 3):
            mixture = np.rint(np.multiply(first, 1 - share) + np.multiply(second, share)).astype(int)
            if np.abs(colours - mixture).max(1).min() >= LEAST_DIFFERENCE:
                colours = np.vstack((colours, mixture))
    image = Image.new("P", (1, 1))
    image.putpalette(colours[:256].astype(np.uint8).tobytes())
    return image
