"""What some tests need and a clone does not hold: real road maps, recordings of the original environments, the original
weights of prey, the paper's text. Where they are, they lie in `shared` beside the project (its `data` becomes the data
folder in tests/conftest.py), or have been fetched.

A test that needs any of it has a mark made here. It is skipped, with the reason, where the files are missing, and
`-m beside` selects all of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from envs.data_folder import data_folder
from envs.errors import EnvironmentNotAvailableError
from envs.traffic.data import find
from envs.traffic_names import REAL

FOLDER = Path(__file__).resolve().parents[2] / "shared"
GOLDEN = FOLDER / "golden"
CASES = FOLDER / "cases" / "traffic"
PAPER = FOLDER / "paper.txt"
MAPS = data_folder()
TOPOLOGY = MAPS / "manhattan_2510_topology" / "roadnet_static.json.gz"
PREY = MAPS / "prey"
"""The folder of the original weights."""


def needs(path: Path, what: str) -> pytest.MarkDecorator:
    """Marks of a test that needs a file or folder, named as `what` in the plural."""
    return pytest.mark.beside("" if path.exists() else f"{what} are not beside this project")


needs_recordings = needs(GOLDEN, "the full recordings of the original environments")
needs_cases = needs(CASES, "the small inputs with CityFlow's numbers")
needs_paper = needs(PAPER, "the lines of the paper's text")
needs_topology = needs(TOPOLOGY, "the streets of Manhattan")
needs_prey = needs(PREY, "the original weights of prey")


def needs_map(*tasks: str) -> pytest.MarkDecorator:
    """Marks of a test, or of parameters, that need the files of real maps."""
    absent = sorted(MISSING.intersection(tasks))
    return pytest.mark.beside(f"the maps of {', '.join(absent)} have not been fetched" if absent else "")


def _is_here(name: str) -> bool:
    try:
        find(name)
    except EnvironmentNotAvailableError:
        return False
    return True


MISSING = frozenset(f"cityflow/{name}" for name in REAL if not _is_here(name))
"""Traffic tasks whose real maps are not here."""
