"""The common canvas of all renderings: page, text and brush.

The `drawing` modules of the platforms draw the contents; `envs.drawing` selects one of them. The colours are those of
Okabe and Ito, which are distinguishable with all common forms of colour vision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from envs.protocols import Environment

Colour = tuple[int, int, int]
Point = tuple[float, float]
"""Column and row in an image."""
Shape = Callable[[Point, float], None]
"""Draws a shape around a point with a given radius, both in image pixels."""

BLUE, ORANGE, GREEN, PURPLE = (0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167)
WHITE, INK, MUTED, GREY = (255, 255, 255), (32, 37, 43), (99, 107, 118), (176, 183, 192)
PAGE, EDGE, LINK = (240, 242, 245), (216, 221, 228), (186, 196, 208)
NEUTRALS: tuple[Colour, ...] = (WHITE, INK, MUTED, GREY, PAGE, EDGE, LINK)
"""Colours of all pages; each platform adds further colours."""

MARGIN = 1.2
"""Side of the frame relative to the side of the white square in it."""
SUPERSAMPLING = 3
"""Factor by which frames are drawn larger before averaging, which smooths edges."""
SMALLEST, LARGEST = 64, 2000
"""Smallest and largest side of a frame in pixels."""
REFERENCE = 480
"""Side of the reference frame, to which sizes in pixels refer; they scale with the frame."""
RIM, STROKE, FONT_SIZE = 0.9, 1.4, 13.0
LINE_HEIGHT = 1.2
"""Height of a line of text relative to its font size."""


class LegendEntry(NamedTuple):
    """An entry of a legend."""

    label: str
    draw: Shape
    width: float = 9.0
    """Width of the shape in pixels of the reference frame."""


class Renderer(NamedTuple):
    """Palette and drawing function of one kind of environment."""

    palette: tuple[Colour, ...]
    """All colours; frames contain these and, at edges, mixtures of them."""
    draw: Callable[[Environment, int, int, bool], np.ndarray]
    """Frame of (environment, copy, size, neighbours), the last three already checked."""


class Brush:
    """Draws shapes into the image of a frame, which is `SUPERSAMPLING` times larger than the frame, in image
    coordinates."""

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self.pixel = image.width / REFERENCE
        """Image pixels per pixel of the reference frame."""
        self._draw = ImageDraw.Draw(image)

    def disc(self, centre: Point, radius: float, fill: Colour, rim: Colour = WHITE) -> None:
        """A filled disc with a thin rim, which separates it from discs below."""
        self.dot(centre, radius + RIM * self.pixel * (1 if rim == WHITE else 2), rim)
        self.dot(centre, radius, fill)

    def dot(self, centre: Point, radius: float, fill: Colour) -> None:
        """A filled disc without a rim."""
        x, y = centre
        self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)

    def ring(self, centre: Point, radius: float, colour: Colour) -> None:
        """A circle."""
        box = (centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius)
        self._draw.ellipse(box, outline=colour, width=round(STROKE * self.pixel))

    def diamond(self, centre: Point, radius: float, fill: Colour, rim: Colour = WHITE) -> None:
        """A square standing on a corner, with a thin rim."""
        x, y = centre
        for reach, colour in ((radius + 1.4 * RIM * self.pixel * (1 if rim == WHITE else 2), rim), (radius, fill)):
            self._draw.polygon(((x - reach, y), (x, y - reach), (x + reach, y), (x, y + reach)), fill=colour)

    def cross(self, centre: Point, radius: float, colour: Colour) -> None:
        """An upright cross."""
        (x, y), width = centre, round(STROKE * self.pixel)
        self._draw.line(((x - radius, y), (x + radius, y)), fill=colour, width=width)
        self._draw.line(((x, y - radius), (x, y + radius)), fill=colour, width=width)

    def line(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        """A line through points, `width` image pixels wide but at least one."""
        joint = "curve" if len(points) > 2 else None
        self._draw.line(points, fill=colour, width=max(1, round(width)), joint=joint)

    def polygon(self, corners: Sequence[Point], fill: Colour) -> None:
        """A filled polygon."""
        self._draw.polygon(corners, fill=fill)

    def wedge(self, tip: Point, base: Point, half_width: float, colour: Colour) -> None:
        """A triangle that widens from its tip to `half_width` image pixels either side of its base."""
        along = np.subtract(base, tip)
        across = np.array((-along[1], along[0])) * (half_width / max(float(np.linalg.norm(along)), 1e-9))
        self._draw.polygon([tip, tuple(base + across), tuple(base - across)], fill=colour)

    def text(self, at: Point, words: str, colour: Colour) -> float:
        """Text to the right of a point, vertically centred; returns the column where it ends."""
        self._draw.text(at, words, colour, self._font, anchor="lm")
        return at[0] + self.length(words)

    def length(self, words: str) -> float:
        """Width of a text in image pixels."""
        return float(self._draw.textlength(words, self._font))

    @property
    def _font(self) -> ImageFont.FreeTypeFont:
        return _font(round(font_size(self.image.width // SUPERSAMPLING) * SUPERSAMPLING))


def page(size: int) -> Image.Image:
    """An empty page with the white square for a frame of `size` pixels, at the supersampled size."""
    side = size * SUPERSAMPLING
    image = Image.new("RGB", (side, side), PAGE)
    low, pixel = side * (1 - 1 / MARGIN) / 2, SUPERSAMPLING * size / REFERENCE
    box = (low, low, side - low, side - low)
    ImageDraw.Draw(image).rounded_rectangle(box, 6 * pixel, fill=WHITE, outline=EDGE, width=round(pixel))
    return image


def margin(size: int) -> float:
    """Pixels between the border of a frame and its white square."""
    return size * (1 - 1 / MARGIN) / 2


def draw_legend(brush: Brush, entries: Sequence[LegendEntry]) -> None:
    """Draw the legend in a line below the white square; omitted if it does not fit."""
    size, pixel = brush.image.width // SUPERSAMPLING, brush.pixel
    gap, border = font_size(size) * SUPERSAMPLING, margin(size) * SUPERSAMPLING
    length = sum((entry.width + 7) * pixel + brush.length(entry.label) + gap for entry in entries) - gap
    if length > brush.image.width - 2 * border:
        return
    column, row = border, brush.image.height - border / 2
    for entry in entries:
        entry.draw((column + (entry.width / 2 + 1.5) * pixel, row), 4.5 * pixel)
        column = brush.text((column + (entry.width + 7) * pixel, row), entry.label, MUTED) + gap


def draw_text(frame: Image.Image, lines: Sequence[tuple[str, str]]) -> None:
    """Draw lines of text above the white square of a finished frame, left (dark) and right (muted): as many lines as
    fit. If a line is too wide for both parts, the left one is omitted."""
    size = frame.width
    font, pen, border = _font(round(font_size(size))), ImageDraw.Draw(frame), margin(size)
    height = LINE_HEIGHT * font_size(size)
    shown = lines[: max(1, int(border / height))]
    for number, (left, right) in enumerate(shown):
        row = border / 2 + (number - (len(shown) - 1) / 2) * height
        if pen.textlength(f"{left}    {right}", font) <= size - 2 * border:
            pen.text((border, row), left, INK, font, anchor="lm")
        if pen.textlength(right, font) <= size - 2 * border:
            pen.text((size - border, row), right, MUTED, font, anchor="rm")


def draw_progress(frame: Image.Image, done: float) -> None:
    """Draw a bar along the lower edge whose length is the completed fraction of the episode."""
    if done:
        size = frame.width
        height = max(2, round(3 * size / REFERENCE))
        ImageDraw.Draw(frame).rectangle((0, size - height, round(done * size) - 1, size - 1), fill=GREY)


def agent_edges(neighbours: Iterable[Iterable[int]]) -> list[tuple[int, int]]:
    """Edges between agents as sorted pairs without repetition; `neighbours` lists the neighbours of each agent."""
    return sorted({(min(i, j), max(i, j)) for i, others in enumerate(neighbours) for j in others})


def font_size(size: int) -> float:
    """Font size of all text in pixels, for a frame of `size` pixels."""
    return max(9.0, FONT_SIZE * size / REFERENCE)


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """The first colour mixed with the given share of the second."""
    red, green, blue = (round((1 - share) * a + share * b) for a, b in zip(first, second, strict=True))
    return red, green, blue
