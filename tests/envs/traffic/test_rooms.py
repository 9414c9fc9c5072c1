"""Imports between the packages of city traffic point down, from the tasks to the files, never up."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ENVS = Path(__file__).resolve().parents[3] / "envs"
TRAFFIC = ENVS / "traffic"
BELOW: dict[str, set[str]] = {
    "files": set(),
    "network": {"files"},
    "engine": {"files", "network"},
    "cityflow": {"files", "network", "engine"},
    "recordings": {"network", "cityflow"},
    "synthetic": {"files", "network"},
}
"""The packages that each package may import. The tasks and commands above them may import every one."""


def imported(file: Path) -> Iterator[str]:
    """Modules of `envs` that a file imports, anywhere in it; names that may be modules are written out."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_of(file: Path) -> set[str]:
    """First words after `envs.traffic.` of what a file imports: rooms, modules above them, or names of the package."""
    names = (name.split(".") for name in imported(file))
    return {parts[2] for parts in names if parts[:2] == ["envs", "traffic"]}


@pytest.mark.parametrize("room", BELOW)
def test_imports_lead_down(room: str) -> None:
    files = list((TRAFFIC / room).glob("*.py"))
    assert files
    for file in files:
        wrong = rooms_of(file) - BELOW[room] - {room}
        assert not wrong, f"{file.relative_to(ENVS.parent)} imports {wrong} of envs.traffic"


def test_every_room_is_on_the_list() -> None:
    assert {path.parent.name for path in TRAFFIC.glob("*/*.py")} == set(BELOW)
    used = {room: set().union(*(rooms_of(file) for file in (TRAFFIC / room).glob("*.py"))) - {room} for room in BELOW}
    assert used == BELOW, "an arrow that nobody uses is on the list"


def test_the_canvas_knows_no_picture() -> None:
    """Renderers import the canvas, and `envs.drawing` the platforms: there is no import cycle."""
    pictures = [ENVS / name / "drawing.py" for name in ("mpe", "jungle", "traffic")]
    assert {name for name in imported(ENVS / "canvas.py") if name.startswith("envs.")} == {"envs.protocols.Environment"}
    for file in pictures:
        names = {".".join(name.split(".")[:2]) for name in imported(file) if name.startswith("envs.")}
        assert "envs.canvas" in names
        assert not {"envs.drawing", "envs.platforms", "envs.play"} & names
