"""Importing this takes the server that warm processes are forked from out of the terminal's session.

A closed terminal or a signal to all of a shell's job reaches the sweep, which stops its runs after a checkpoint, and
never the server, whose end would leave them alone (`benchmark.launchers.warm`).
"""

import contextlib
import os

with contextlib.suppress(PermissionError):  # already the first of its group
    os.setsid()
