"""The pages: short, linked, and true where they list what the code has."""

from __future__ import annotations

import importlib.util
import re
import tomllib

import pytest

from benchmark.suites import SUITES
from results.paper import TABLE_1
from tests.pages import PAGES, ROOT, Block, all_commands, anchors, blocks, commands, links

README_LINES = 130


def test_commands_are_taken_whole() -> None:
    """Over several lines, without comments, with the variables above them."""
    text = 'a="1\n 2"   # as\nrun --x \\\n    --y=$a  # why\n# nothing\nmake "b # c" d#e\n'
    found = commands(Block("p.md", 10, "sh", text, ""))
    assert [(command.line, command.text) for command in found] == [(13, "run --x --y=$a"), (16, 'make "b # c" d#e')]
    assert {command.before for command in found} == {'a="1\n 2"'}


def test_every_page_is_listed() -> None:
    """Pages in hidden and ignored folders, and those of test data, are none of the project's."""
    ours = ("algorithms", "benchmark", "envs", "figures", "results", "slurm")
    found = [*ROOT.glob("*.md"), *(path for folder in ours for path in (ROOT / folder).rglob("*.md"))]
    shipped = {path.relative_to(ROOT).as_posix() for path in found}
    shipped = {name for name in shipped if not name.startswith("results/") or name in PAGES}
    assert shipped == set(PAGES)


def test_readme_is_a_front_door() -> None:
    """One page, from which every other one is a click away."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES
    reached = {target.partition("#")[0] for target in links("README.md")}
    away = {page for page in PAGES if page not in reached and page != "README.md"}
    cards = {page for page in PAGES if page.endswith("/card.md")}
    assert away == cards, "the cards of policies are reached from their page"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """To a file, and to a heading of it."""
    for target in links(page):
        name, _, anchor = target.partition("#")
        path = ((ROOT / page).parent / name).resolve() if name else ROOT / page
        assert path.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in anchors(path.relative_to(ROOT).as_posix()), f"{page}: {target}"


def test_pictures_of_the_readme_are_small() -> None:
    shown = [target for target in links("README.md") if target.endswith((".gif", ".png"))]
    assert len(shown) == 3
    assert all((ROOT / target).stat().st_size < 200_000 for target in shown)


def test_commands_name_modules_that_there_are() -> None:
    named = {match[1] for command in all_commands() if (match := re.search(r"python3? -m ([\w.]+)", command.text))}
    assert len(named) > 15
    assert not [name for name in named if importlib.util.find_spec(name) is None]


def test_suites_are_listed() -> None:
    """The table of suites has each of them once."""
    text = (ROOT / "benchmark" / "README.md").read_text()
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`([\w-]+)`", " ".join(rows))) == sorted(SUITES)


def test_readme_makes_figure_5() -> None:
    """The command for Figure 5 has the tasks of its panels."""
    (command,) = (
        command.text for command in all_commands() if command.page == "README.md" and "--tasks" in command.text
    )
    braces = re.search(r"synthetic_\{([\d,]+)\}", command)
    assert braces
    words = re.sub(r"\S*\{.*\}", "", command.partition("--tasks")[2]).split()
    words += [f"cityflow/synthetic_{size}" for size in braces[1].split(",")]
    assert set(words) == {task.name for task in TABLE_1 if "5(" in task.figure}


def test_readme_counts_the_runs_of_the_paper() -> None:
    assert f"# {len(SUITES['all']())} runs" in (ROOT / "README.md").read_text()


def test_equation_6_is_where_the_readme_says() -> None:
    text = (ROOT / "algorithms" / "common" / "networks.py").read_text()
    network = text.split("class PropagationNetwork", 1)[1].split("\nclass ", 1)[0]
    assert "# eq. (6)" in network
    assert "# eq. (5)" in network


def test_one_version() -> None:
    """Of the package, of the citation, and of the newest release in the changelog."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    released = re.search(r"^## (\S+) \((\d{4}-\d\d-\d\d)\)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert released
    citation = (ROOT / "CITATION.cff").read_text()
    assert released[1] == version
    assert f"version: {version}\n" in citation
    assert f"date-released: {released[2]}\n" in citation


@pytest.mark.parametrize("page", PAGES)
def test_blocks_say_what_they_are(page: str) -> None:
    for block in blocks(page):
        assert block.language in ("sh", "python", "toml"), f"{page}:{block.line}"
