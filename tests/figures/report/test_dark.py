"""Drawings and charts on a dark page: the style sheet's filter keeps every colour of a line apart from the page."""

from __future__ import annotations

import math
import re

import matplotlib
import matplotlib.colors
import numpy as np
import pytest
from numpy.typing import NDArray

from figures.report.page import FOLDER
from figures.style import EXTRA_COLOURS, INK, KNOWN_STYLES, MUTED

LOWEST_CONTRAST = 3.0
"""WCAG 2.2, success criterion 1.4.11."""


def dark_colour(colour: str, brighter: float) -> str:
    """What the filter makes of a colour, as the CSS Filter Effects Module defines it, as `#rrggbb`."""
    inverted = 1 - np.array(matplotlib.colors.to_rgb(colour))
    return str(matplotlib.colors.to_hex(np.clip(np.clip(_hue_rotation(180) @ inverted, 0, 1) * brighter, 0, 1)))


def contrast(first: str, second: str) -> float:
    """Contrast of two colours between 1 and 21, as WCAG 2.2 defines it."""
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _hue_rotation(degrees: float) -> NDArray[np.float64]:
    grey = np.array([0.213, 0.715, 0.072])
    sine = np.array([[-0.213, -0.715, 0.928], [0.143, 0.140, -0.283], [-0.787, 0.715, 0.072]])
    cosine = np.eye(3) - grey
    angle = math.radians(degrees)
    return np.asarray(grey + math.cos(angle) * cosine + math.sin(angle) * sine)


def _luminance(colour: str) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in matplotlib.colors.to_rgb(colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_measure_agrees_with_the_standards_own_examples() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert dark_colour("#ffffff", 1) == "#000000"
    assert dark_colour("#ff0000", 1) == "#ff9292", "inverted to cyan, turned back to a light red"


def test_colours_stand_out_from_a_dark_page() -> None:
    style = (FOLDER / "static" / "style.css").read_text()
    (brighter,) = re.findall(r"filter: invert\(1\) hue-rotate\(180deg\) brightness\(([\d.]+)\)", style)
    (page,) = re.findall(r"prefers-color-scheme: dark\) \{\s*:root \{ --paper: (#\w+)", style)
    colours = [INK, MUTED, *EXTRA_COLOURS, *(style.colour for style in KNOWN_STYLES.values())]
    colours += [
        matplotlib.colors.to_hex(colour) for colour in matplotlib.colormaps["viridis"](np.linspace(0, 1, 11)[1:-2])
    ]
    low = {
        colour: found
        for colour in colours
        if (found := contrast(dark_colour(colour, float(brighter)), page)) < LOWEST_CONTRAST
    }
    assert low == {}
