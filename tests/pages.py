"""The pages of the project: their blocks of code, and the commands in them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "README.md",
    "algorithms/README.md",
    "benchmark/README.md",
    "envs/README.md",
    "envs/traffic/YOUR_CITY.md",
    "envs/traffic/README.md",
    "envs/jungle/README.md",
    "envs/YOUR_ENVIRONMENT.md",
    "benchmark/POLICIES.md",
    "figures/README.md",
    "results/README.md",
    "benchmark/GPU.md",
    "slurm/README.md",
    "CONTRIBUTING.md",
    "DEVIATIONS.md",
    "CHANGELOG.md",
    "results/FINDINGS.md",
    "results/policies/iql_synthetic_49/card.md",
    "results/policies/iql_segments_49/card.md",
)
"""In the order in which a newcomer meets them. Pages of test data are not among them."""
SHELL = "sh"
"""Language of the blocks that hold commands."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of code."""

    page: str
    line: int
    """Of the opening fence, from 1."""
    language: str
    text: str
    recipe: str
    """Name of the recipe, from the comment above the block; empty for others."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a shell block, whole, without its comment."""

    page: str
    line: int
    text: str
    before: str
    """Assignments of variables in the block above the command, a line each."""


def blocks(page: str) -> list[Block]:
    """Every fenced block of a page, named from the root of the project. Raises ValueError where one does not end."""
    found: list[Block] = []
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    opened, recipe = -1, ""
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            if opened < 0 and line.strip():
                named = re.fullmatch(r"<!-- recipe: (.+) -->", line.strip())
                recipe = named[1] if named else ""
        elif opened < 0:
            opened = number
        else:
            text = "\n".join(lines[opened + 1 : number]) + "\n"
            found.append(Block(page, opened + 1, lines[opened][3:].strip(), text, recipe))
            opened, recipe = -1, ""
    if opened >= 0:
        raise ValueError(f"{page}:{opened + 1}: the block has no end: put ``` below it")
    return found


def recipe(page: str, name: str) -> str:
    """The code of a recipe. Raises KeyError where the page has none of that name."""
    for block in blocks(page):
        if block.recipe == name:
            return block.text
    raise KeyError(f"{page} has no block below <!-- recipe: {name} -->")


def commands(block: Block) -> list[Command]:
    """The commands of a shell block: lines that end in a backslash or inside quotes continue."""
    found: list[Command] = []
    before: list[str] = []
    pending = ""
    first = 0
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        first = first if pending else number
        pending += line
        if line.endswith("\\"):
            pending = pending[:-1].rstrip() + " "
            continue
        try:
            words = shlex.split(pending, comments=True)
        except ValueError:  # a quotation that goes on
            pending += "\n"
            continue
        text, pending = _without_comment(pending), ""
        if len(words) == 1 and re.match(r"\w+=", text):
            before.append(text)
        elif words:
            found.append(Command(block.page, first, " ".join(text.split()), "\n".join(before)))
    return found


def _without_comment(text: str) -> str:
    """A command without the comment at its end; a # inside quotes or a word is none."""
    quote = ""
    for position, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter == "#" and (position == 0 or text[position - 1].isspace()):
            return text[:position].rstrip()
    return text.rstrip()


def all_commands() -> list[Command]:
    """Every command of every page, in order."""
    return [
        command for page in PAGES for block in blocks(page) if block.language == SHELL for command in commands(block)
    ]


def links(page: str) -> list[str]:
    """Targets of the links and pictures of a page that lead to files of the project, as they are written."""
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'<img src="([^"]+)"', text)
    return [target for target in found if "://" not in target]


def anchors(page: str) -> set[str]:
    """The anchors of the headings of a page."""
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}
