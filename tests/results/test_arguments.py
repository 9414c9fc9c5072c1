"""Command lines: numbers and paths are read strictly, and mistakes are one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from results.arguments import Parser, within
from results.errors import UserError


@pytest.fixture
def parser() -> Parser:
    made = Parser(prog="tool")
    made.add_argument("--total-steps", type=int)
    made.add_argument("--level", type=float)
    made.add_argument("--results", type=Path)
    made.add_argument("--episodes", type=within(1, 10))
    made.add_argument("--batch", type=within(1))
    made.add_argument("--policy", choices=("greedy", "sampled"))
    return made


@pytest.mark.parametrize(
    ("text", "value"), [("7", 7), ("-7", -7), ("20_000", 20_000), ("2e4", 20_000), ("1.0", 1), (str(10**20), 10**20)]
)
def test_whole_numbers(text: str, value: int, parser: Parser) -> None:
    assert parser.parse_args(["--total-steps", text]).total_steps == value


def test_other_values(parser: Parser) -> None:
    options = parser.parse_args(["--level", "1e-3", "--results", "a b", "--episodes", "1e1", "--batch", "1_000"])
    assert (options.level, options.results, options.episodes, options.batch) == (0.001, Path("a b"), 10, 1000)
    assert parser.parse_args(["--results", "."]).results == Path()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--total-steps", "1.5"], "argument --total-steps: expected a whole number, not '1.5'"),
        (["--total-steps", "many"], "argument --total-steps: expected a whole number, not 'many'"),
        (["--total-steps", "inf"], "argument --total-steps: expected a whole number, not 'inf'"),
        (["--total-steps", ""], "argument --total-steps: expected a whole number, not ''"),
        (["--level", "nan"], "argument --level: expected a number, not 'nan'"),
        (["--level", "high"], "argument --level: expected a number, not 'high'"),
        (["--results", ""], "argument --results: expected a path, not an empty text; the working directory is '.'"),
        (["--episodes", "11"], "argument --episodes: expected a whole number from 1 to 10, not '11'"),
        (["--batch", "0"], "argument --batch: expected a whole number of at least 1, not '0'"),
        (["--policy", "gredy"], "argument --policy: invalid choice: 'gredy' (choose from 'greedy', 'sampled')"),
        (["--total_steps", "3"], "unrecognized arguments: --total_steps 3; did you mean --total-steps?"),
        (["--total_steps=3"], "unrecognized arguments: --total_steps=3; did you mean --total-steps?"),
        (["--colour", "red"], "unrecognized arguments: --colour red"),
    ],
)
def test_mistakes(arguments: list[str], message: str, parser: Parser, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError) as raised:
        parser.parse_args(arguments)
    assert str(raised.value) == f"{message} (tool --help explains all options)"
    assert capsys.readouterr() == ("", "")
