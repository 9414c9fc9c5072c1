"""Command lines whose errors are one line: what was given, what was expected, and where to read more."""

from __future__ import annotations

import argparse
import difflib
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from results.errors import UserError

_UNKNOWN = re.compile(r"unrecognized arguments: (\S+)")


class Parser(argparse.ArgumentParser):
    """Argument parser that raises UserError for a mistake, instead of printing its usage.

    Arguments of the types int, float and Path are read by `whole_number`, `number` and `path`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for kind, read in ((int, whole_number), (float, number), (Path, path)):
            self.register("type", kind, read)

    def error(self, message: str) -> NoReturn:
        """Raise UserError with the option that was probably meant."""
        unknown = _UNKNOWN.match(message)
        given = unknown[1].partition("=")[0] if unknown else ""
        known = difflib.get_close_matches(given, self._option_string_actions, cutoff=0.75)
        hint = f"; did you mean {known[0]}?" if known else ""
        raise UserError(f"{message}{hint} ({self.prog} --help explains all options)")


def whole_number(text: str) -> int:
    """A whole number, also written as 20_000 or 2e4. Raises ArgumentTypeError for anything else."""
    try:
        return int(text)
    except ValueError:
        value = _finite(text)
    if value is None or not value.is_integer():
        raise argparse.ArgumentTypeError(f"expected a whole number, not {text!r}")
    return int(value)


def number(text: str) -> float:
    """A finite number. Raises ArgumentTypeError for anything else."""
    value = _finite(text)
    if value is None:
        raise argparse.ArgumentTypeError(f"expected a number, not {text!r}")
    return value


def within(least: int, most: int | None = None) -> Callable[[str], int]:
    """A reader of whole numbers within limits, for the type of an argument."""
    limits = f"of at least {least}" if most is None else f"from {least} to {most}"

    def read(text: str) -> int:
        found = whole_number(text)
        if found < least or (most is not None and found > most):
            raise argparse.ArgumentTypeError(f"expected a whole number {limits}, not {text!r}")
        return found

    return read


def path(text: str) -> Path:
    """The path of a file or folder. Raises ArgumentTypeError for an empty one, which an unset shell variable gives and
    which Python takes for the working directory."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path, not an empty text; the working directory is '.'")
    return Path(text)


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
