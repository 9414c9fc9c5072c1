"""Drawings for the page: the shapes of matplotlib's SVG in less text, and colours that a style sheet can change."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from figures.style import (
    DARK_COLOURS,
    EXTRA_COLOURS,
    INK,
    KNOWN_STYLES,
    PAPER,
    contrast,
    dark_colour,
    dark_rules,
    figure_style,
    svg_text,
)
from figures.vector import compact_path, inline_svg, join_numbers, shared_definitions, svg_size

NUMBER = r"-?(?:\d+\.?\d*|\.\d+)"
coordinates = st.floats(-900, 900, allow_nan=False).map(lambda value: round(value, 4))
points = st.lists(st.tuples(coordinates, coordinates), min_size=2, max_size=30)


def absolute(path: str) -> list[tuple[str, list[float]]]:
    """A reader of relative paths: command and absolute coordinates, written apart from the writer."""
    tokens = re.findall(rf"[a-z]|{NUMBER}", path)
    sizes = {"m": 2, "l": 2, "q": 4, "c": 6}
    place, command, current, start = 0, "", (0.0, 0.0), (0.0, 0.0)
    found = []
    while place < len(tokens):
        if tokens[place].isalpha():
            command, place = tokens[place], place + 1
        if command == "z":
            found.append(("z", []))
            current = start
            continue
        values = [float(token) for token in tokens[place : place + sizes[command]]]
        place += sizes[command]
        values = [value + current[index % 2] for index, value in enumerate(values)]
        current = (values[-2], values[-1])
        start = current if command == "m" else start
        found.append((command, values))
    return found


@given(points, st.integers(1, 3))
def test_a_compact_path_has_the_same_points(line: list[tuple[float, float]], digits: int) -> None:
    text = " ".join(f"{'M' if index == 0 else 'L'} {x} {y}" for index, (x, y) in enumerate(line)) + " z"
    read = [values for command, values in absolute(compact_path(text, digits)) if command != "z"]
    rounded = [tuple(np.round(np.array(point) * 10**digits).astype(int)) for point in line]
    assert np.allclose(read[-1], np.array(rounded[-1]) / 10**digits, atol=1e-6)  # errors do not add up
    assert len(read) <= len(line)
    assert {tuple(np.round(np.array(point) * 10**digits).astype(int)) for point in read} == set(rounded)


def test_a_compact_path_by_hand() -> None:
    assert (
        compact_path("M 1 2 L 3.5 2 L 3.5 2 L 3 1.5 Q 1 1 0 0 z M 5 5 L 6 5") == "m1 2l2.5 0-.5-.5q-2-.5-3-1.5zm4 3l1 0"
    )
    assert join_numbers([1, -2, 3, 50], 10) == ".1-.2 .3 5"
    with pytest.raises(ValueError, match="path command 'A', expected one of M, L, Q, C, z"):
        compact_path("M 0 0 A 1 1 0 0 0 1 1")


def drawing() -> str:
    with figure_style():
        figure = Figure(figsize=(3, 2))
        axes = figure.add_axes((0.2, 0.2, 0.7, 0.7))
        axes.plot(range(200), np.sin(np.arange(200) / 9), color="#d55e00", marker="o", markevery=30, label="abab")
        axes.fill_between(range(200), -1, np.arange(200) / 200, alpha=0.2, linewidth=0)
        axes.set_title("abab")
        return svg_text(figure)


def test_a_drawing_is_the_same_each_time_half_the_size_and_complete() -> None:
    text = drawing()
    assert text == drawing()
    assert svg_size(text) == (216.0, 144.0)
    assert not re.search(r"https?:|style=|xlink|<metadata|<!--", text)
    names = set(re.findall(r' id="([^"]+)"', text))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', text)) == names  # nothing dangles, nothing is named in vain
    assert text.count("<use ") > 10
    with figure_style():
        figure, buffer = Figure(figsize=(3, 2)), io.StringIO()
        figure.add_axes((0.2, 0.2, 0.7, 0.7)).plot(np.sin(np.arange(300)))
        figure.savefig(buffer, format="svg")
    assert len(inline_svg(buffer.getvalue())) < 0.6 * len(buffer.getvalue())


def test_every_colour_with_a_dark_form_has_rules() -> None:
    own = re.findall(r'(?:fill|stroke)="(#\w+)"', drawing())
    rules = dark_rules(".here", own)
    assert f'.here [fill="{INK}"] {{ fill: {DARK_COLOURS[INK]}; }}' in rules
    assert "#d55e00" not in rules  # it reads well on both
    assert {line.split('"')[1] for line in rules.splitlines()} < set(own)


def test_colours_stand_out_from_a_dark_page() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # as WCAG's own examples have it
    assert dark_colour(INK) == DARK_COLOURS[INK]
    paper = DARK_COLOURS[PAPER]
    for colour in (*EXTRA_COLOURS, *(style.colour for style in KNOWN_STYLES.values()), "#440154", "#000000"):
        assert contrast(dark_colour(colour), paper) >= 3.5, colour


def test_definitions_are_shared_and_must_agree() -> None:
    letter = '<defs><path id="Regular1" d="m0 0l1 1"/></defs><use href="#Regular1"/>'
    clip = '<defs><clipPath id="p1"><rect width="3" height="2"/></clipPath></defs>'
    assert shared_definitions(letter + clip + letter + clip) == letter + clip + '<use href="#Regular1"/>'
    with pytest.raises(ValueError, match="Regular1 is defined in two ways"):
        shared_definitions(letter + letter.replace("l1 1", "l2 2"))
