"""Words that a command says beside its work, which goes on where nobody hears them any more.

The reader of a pipe may end (`| head`), a terminal may close, the disk that holds a log may be full.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TextIO


def tell(*lines: str) -> None:
    """Print lines on stdout, as far as anybody reads it."""
    say("\n".join(lines), sys.stdout)


def say(text: str, stream: TextIO) -> None:
    """Print a line, as far as anybody reads the stream."""
    with unheard(stream):
        print(text, file=stream, flush=True)


def first_line(documentation: str | None) -> str:
    """What a module says of itself in one line, for `--help`; nothing under `python -OO`, which drops it."""
    return (documentation or "").partition("\n")[0]


@contextlib.contextmanager
def unheard(stream: TextIO) -> Iterator[None]:
    """Where a write to the stream fails inside, it leads nowhere from then on."""
    try:
        yield
    except OSError:
        with contextlib.suppress(OSError):  # a stream without a file has nothing left to flush
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
