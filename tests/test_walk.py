"""A newcomer's walk through the pages (tests/walk.py), and its tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages import PAGES, all_commands, blocks
from tests.walk import STOPPED, Step, Walk, main, steps_of
from tests.walk_table import CHANGES, RECIPES

HOURS = 3 * 3600


def test_tables_are_of_the_pages() -> None:
    """No row without its command or recipe, no recipe without its row."""
    assert not CHANGES.keys() - {command.text for command in all_commands()}
    assert RECIPES.keys() == {block.recipe for page in PAGES for block in blocks(page) if block.recipe}
    assert all(change.reason for change in CHANGES.values())


def test_most_commands_are_run() -> None:
    """What is left out is the lesser part; the two commands of the README come first."""
    steps = list(steps_of(PAGES))
    assert [step.command for step in steps[:2]] == ["make smoke", "make test"]
    assert sum(step.left_out for step in steps) < len(steps) / 4


@pytest.fixture
def walk(tmp_path: Path) -> Walk:
    return Walk(tmp_path)


def test_a_step_that_fails_is_told(walk: Walk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("true", "exit 3", 'test "$given" = "a b"'):
        walk.take(Step("p.md:1", command, before='given="a b"'), tmp_path, tmp_path)
    walk.take(Step("p.md:2", "false", note="needs more", left_out=True), tmp_path, tmp_path)
    assert walk.summarise() == 1
    said = capsys.readouterr().out
    assert "3 FAILED  p.md:1  exit 3" in said
    assert "3 commands in 0 minutes, 1 failed; 1 left out" in said
    assert (tmp_path / "walk.log").read_text() in said


@pytest.mark.parametrize(
    ("command", "failed"),
    [
        ("echo 'error: no such thing' >&2; exit 2", False),
        ("echo 'error: no such thing'", True),
        ("echo 'error: another thing' >&2; exit 2", True),
        ("echo Traceback; echo 'error: no such thing' >&2; exit 2", True),
    ],
)
def test_a_mistake_is_one_line(walk: Walk, tmp_path: Path, command: str, failed: bool) -> None:
    walk.take(Step("p.md:1", command, says="such thing"), tmp_path, tmp_path)
    assert walk.summarise() == failed


def test_what_takes_days_is_stopped(walk: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By Ctrl-C, once it has written what is waited for; what ends by itself has failed."""
    monkeypatch.setattr("tests.walk.SECONDS_AFTER", 0)
    endless = f"trap 'exit {STOPPED}' INT; touch made; while true; do sleep 0.1; done"
    walk.take(Step("p.md:1", endless, until="ma*e"), tmp_path, tmp_path)
    assert walk.summarise() == 0
    walk.take(Step("p.md:1", "true", until="ma*e"), tmp_path, tmp_path)
    assert walk.summarise() == 1


def test_a_folder_of_the_project_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--into", str(Path(__file__).parent / "walk")])
    assert "expected a folder outside of" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(HOURS)
def test_a_newcomer_gets_to_the_end(tmp_path: Path) -> None:
    """Every command and every recipe of every page; it fetches packages."""
    assert main(["--into", str(tmp_path)]) == 0, (tmp_path / "walk.log").read_text()[-5000:]
