"""Commands of environments end with one line."""

from __future__ import annotations

import pytest

from envs.commands import Parser, run


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
