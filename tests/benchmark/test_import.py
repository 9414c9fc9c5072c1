"""Tasks and algorithms in a file of a user, named by `--import`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from algorithms import ALGORITHMS
from benchmark import play, record, references, train
from benchmark.errors import UserError
from benchmark.options import IMPORT_VARIABLE
from envs.mpe import scenarios
from results.layout import GIF, POLICY, REFERENCES
from tests.benchmark.conftest import SMALL
from tests.pages import recipe


@pytest.fixture(autouse=True)
def _told_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of other tests are not to import what these do."""
    monkeypatch.setenv(IMPORT_VARIABLE, "")


TASK = "mpe/wide_navigation_10"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The recipe of a task in a file of the working directory, which no other test has imported."""
    code = (
        recipe("envs/README.md", "a particle task")
        + 'import algorithms\nalgorithms.ALGORITHMS["mine"] = ("algorithms.vdn", "VDN")\n'
    )
    (tmp_path / "tasks_of_mine.py").write_text(code)
    monkeypatch.setattr(scenarios, "SCENARIOS", dict(scenarios.SCENARIOS))
    monkeypatch.setitem(ALGORITHMS, "mine", ("", ""))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "tasks_of_mine", raising=False)
    monkeypatch.chdir(tmp_path)
    return "tasks_of_mine"


def test_a_task_and_an_algorithm_in_a_file_of_a_user(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trained, played, recorded, and with reference policies."""
    chosen = ["--import", module, "--task", TASK, "--algorithm", "mine"]
    settings = [f"--set={key}={value}" for key, value in SMALL.items()]
    where = ["--results", "made", "--variant", "v", "--device", "cpu", "--quiet"]
    monkeypatch.setattr(sys, "argv", ["train", *chosen, "--total-steps", "300", *settings, *where])
    assert train.main() == 0
    folder = tmp_path / "made" / TASK / "mine" / "v" / "seed_0"
    assert (folder / POLICY).exists()
    gif = ["--gif", "out.gif", "--size", "64"]
    assert play.main(["--import", module, TASK, "--policy", str(folder / POLICY), *gif]) == 0
    assert (tmp_path / "out.gif").exists()
    monkeypatch.setattr(sys, "argv", ["record", "--import", module, "--results", "made", "--size", "64"])
    assert record.main() == 0
    assert (folder / GIF).exists()
    tasks = ["--tasks", TASK, "--results", "made", "--episodes", "2"]
    monkeypatch.setattr(sys, "argv", ["references", "--import", module, *tasks])
    assert references.main() == 0
    assert (tmp_path / "made" / TASK / REFERENCES).exists()
    with pytest.raises(SystemExit):
        train.parse_arguments(["--help", *chosen])
    assert f"settings of the task {TASK}" in capsys.readouterr().out


def test_a_module_that_there_is_not_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(UserError, match=r"^--import nothing_here: there is no such module in .* or on PYTHONPATH$"):
        train.parse_arguments(["--import", "nothing_here", "--task", TASK, "--algorithm", "ip"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("needs_more", r"fails with ModuleNotFoundError: .*something_that_is_missing.* \(.*needs_more\.py, line 2\)"),
        ("half_written", r"fails with SyntaxError: .* \(half_written\.py, line 1\); correct it$"),
        ("divides", r"fails with ZeroDivisionError: division by zero \(.*divides\.py, line 1\); correct it$"),
        ("divides.py", "expected the name of a module, such as my_tasks for the file my_tasks.py$"),
        ("./divides", "expected the name of a module"),
        (".divides", "expected the name of a module"),
        ("", "expected the name of a module"),
    ],
)
def test_a_module_that_fails_is_one_line(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line says where in the file of the user."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "needs_more.py").write_text("\nimport something_that_is_missing\n")
    (tmp_path / "half_written.py").write_text("x = (\n")
    (tmp_path / "divides.py").write_text("1 / 0\n")
    with pytest.raises(UserError, match=f"^--import {re.escape(name)}: .*{words}") as raised:
        train.parse_arguments(["--import", name, "--task", TASK, "--algorithm", "ip"])
    assert "\n" not in str(raised.value)
