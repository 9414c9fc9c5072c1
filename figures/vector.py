"""From matplotlib's SVG to a drawing inside a page: a third of the size, and colours that a style sheet can change."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from xml.etree import ElementTree

TOKENS = re.compile(r"[A-Za-z]|-?(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?")
TRANSLATE = re.compile(r"translate\((-?[\d.]+) (-?[\d.]+)\)")
DECLARATION = re.compile(r"\s*([\w-]+)\s*:\s*([^;]+?)\s*(?:;|$)")
REFERENCE = re.compile(r"#([\w-]+)")
DEFINITION = re.compile(r'<(path|clipPath) id="([^"]+)"[^>]*?(?:/>|>.*?</\1>)')
POINTS = {"M": 1, "L": 1, "Q": 2, "C": 3}
"""Points that follow a command of a path."""
LONG = 60
"""From this many points on a path is drawn to a tenth of a point (0.04 mm), which is finer than its line."""
FONT = "STIXGeneral-"
DEFAULTS = {"stroke-dashoffset": "0", "fill-opacity": "1", "stroke-opacity": "1"}


def inline_svg(text: str) -> str:
    """The drawing for a page: attributes instead of style, relative paths, no element names but those referred to.

    Raises ValueError for commands of paths that matplotlib does not write.
    """
    root = ElementTree.fromstring(text)
    used = {name for element in root.iter() for value in element.attrib.values() for name in REFERENCE.findall(value)}
    body = "".join(_element(child, used) for child in root if _name(child) in ("g", "defs"))
    return f'<svg viewBox="{escape(root.get("viewBox", ""))}" stroke-linejoin="round">{body}</svg>'


def svg_size(svg: str) -> tuple[float, float]:
    """Width and height of a drawing from `inline_svg`, in points."""
    _, _, width, height = re.findall(r"[\d.]+", svg[: svg.index(">")])[:4]
    return float(width), float(height)


def shared_definitions(page: str) -> str:
    """The page with every letter, marker and clipping path defined once, where it comes first.

    Their names say what they are, so that equal names mean equal content; ValueError where they do not.
    """
    known: dict[str, str] = {}

    def once(found: re.Match[str]) -> str:
        name, content = found.group(2), found.group()
        if name not in known:
            known[name] = content
            return content
        if known[name] != content:
            raise ValueError(f"{name} is defined in two ways: {known[name][:80]} and {content[:80]}")
        return ""

    return DEFINITION.sub(once, page).replace("<defs></defs>", "")


def compact_path(path: str, digits: int = 2) -> str:
    """The same path with relative coordinates of ``digits`` decimals; errors of rounding do not add up.

    Args:
        path: absolute commands M, L, Q, C and z, each with one point's coordinates (Q: two, C: three).
    """
    tokens = TOKENS.findall(path)
    scale = 10**digits
    parts: list[str] = []
    current, start, place, previous = (0, 0), (0, 0), 0, ""
    while place < len(tokens):
        command = tokens[place]
        place += 1
        if command in "zZ":
            parts.append("z")
            current, previous = start, "z"
            continue
        if command not in POINTS:
            raise ValueError(f"path command {command!r}, expected one of {', '.join(POINTS)}, z")
        count = 2 * POINTS[command]
        numbers = [round(float(token) * scale) for token in tokens[place : place + count]]
        place += count
        moved = [number - current[index % 2] for index, number in enumerate(numbers)]
        current = (numbers[-2], numbers[-1])
        if command == "M":
            start = current
        if command == "L" and not any(moved) and previous == "l":
            continue
        letter = command.lower()
        parts.append(("" if letter == previous and letter != "m" else letter) + join_numbers(moved, scale))
        previous = letter
    return _joined(parts)


def join_numbers(numbers: Iterable[int], scale: int = 1) -> str:
    """Integers over ``scale`` as text, as short as a path allows: ``.5-3 12``."""
    return _joined([_number(number / scale) for number in numbers])


def _joined(parts: Sequence[str]) -> str:
    text = ""
    pieces = []
    for part in parts:
        if text and text[-1].isdigit() and part[:1] and (part[0].isdigit() or part[0] == "."):
            pieces.append(" ")
        pieces.append(part)
        text = part or text
    return "".join(pieces)


def _number(value: float, digits: int = 3) -> str:
    text = f"{value:.{digits}f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"
    return {"-0": "0"}.get(text, text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text)


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _element(element: ElementTree.Element, used: set[str]) -> str:
    name = _name(element)
    if name in ("metadata", "style"):
        return ""
    attributes = _attributes(element, name, used)
    content = "".join(_element(child, used) for child in element)
    if name == "g" and not attributes:
        return content
    if name in ("g", "defs") and not content:
        return ""
    words = "".join(f' {key}="{escape(value)}"' for key, value in attributes.items())
    return f"<{name}{words}>{content}</{name}>" if content else f"<{name}{words}/>"


def _attributes(element: ElementTree.Element, name: str, used: set[str]) -> dict[str, str]:
    own = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
    attributes = {"id": _short(own["id"])} if own.get("id") in used else {}
    if name == "use":
        attributes["href"] = f"#{_short(own['href'][1:])}"
    if "d" in own:
        points = len(re.findall(r"[MLQC]", own["d"]))
        letter = own.get("id", "").startswith(FONT)
        attributes["d"] = compact_path(own["d"], 0 if letter else 1 if points >= LONG else 2)
    for key in ("x", "y", "width", "height"):
        if key in own and not (name == "use" and float(own[key]) == 0):
            attributes[key] = _number(float(own[key]))
    moved = TRANSLATE.fullmatch(own.get("transform", ""))
    if name == "use" and moved:
        attributes |= {key: _number(float(value)) for key, value in zip("xy", moved.groups(), strict=True)}
        attributes = {key: value for key, value in attributes.items() if (key, value) != ("y", "0")}
    elif "transform" in own:
        attributes["transform"] = re.sub(
            r"-?\d+\.\d+", lambda found: _number(float(found.group()), 6), own["transform"]
        )
    kept = ("clip-path", "preserveAspectRatio") if name == "use" else ("clip-path", "preserveAspectRatio", "href")
    attributes |= {key: own[key] for key in kept if key in own}
    attributes |= {key: value for key, value in DECLARATION.findall(own.get("style", "")) if DEFAULTS.get(key) != value}
    return attributes


def _short(name: str) -> str:
    """``STIXGeneral-Regular-13`` as ``Regular13``: letters are the most frequent elements."""
    return name.removeprefix(FONT).replace("-", "") if name.startswith(FONT) else name
