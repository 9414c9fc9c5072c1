"""Console output that never stops a command.

The reader of a pipe may end (`| head`), a terminal may close, or the disk of a log may be full.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TextIO


def tell(*lines: str) -> None:
    """Print lines on stdout; a failing stream is ignored."""
    say("\n".join(lines), sys.stdout)


def say(text: str, stream: TextIO) -> None:
    """Print a line on a stream; a failing stream is ignored."""
    with unheard(stream):
        print(text, file=stream, flush=True)


def first_line(documentation: str | None) -> str:
    """The first line of a module's docstring, for `--help`; empty under `python -OO`, which drops docstrings."""
    return (documentation or "").partition("\n")[0]


@contextlib.contextmanager
def unheard(stream: TextIO) -> Iterator[None]:
    """Redirect the stream to the null device once a write to it has failed inside the context."""
    try:
        yield
    except OSError:
        with contextlib.suppress(OSError):  # a stream without a file has nothing left to flush
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
