"""Commands of environments end with one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from envs.commands import Parser, run
from envs.mpe import train_prey


def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        Parser(prog="tool").parse_args(["--colour"])
    printed = capsys.readouterr()
    assert printed.err == "error: unrecognized arguments: --colour (tool --help explains all options)\n"
    assert printed.out == ""


def test_an_interruption_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> int:
        raise KeyboardInterrupt

    assert run(interrupt) == 130
    assert capsys.readouterr() == ("", "interrupted: run the same command again\n")
    assert run(lambda: 7) == 7


@pytest.mark.parametrize("number", ["0", "-4", "some"])
def test_prey_are_not_trained_for_no_steps(
    number: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train_prey", "--iterations", number, "--output", str(tmp_path / "prey.npz")])
    with pytest.raises(SystemExit, match="2"):
        train_prey.main()
    assert capsys.readouterr().err.count("\n") == 1
    assert not any(tmp_path.iterdir())
