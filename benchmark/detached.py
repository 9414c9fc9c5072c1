"""Importing this takes the server that warm processes are forked from (`benchmark.warm`) out of the terminal's session:
a closed terminal or a signal to all of a shell's job reaches the sweep, which stops its runs after a checkpoint, and
never the server, whose end would leave them alone."""

import contextlib
import os

with contextlib.suppress(PermissionError):  # already the first of its group
    os.setsid()
