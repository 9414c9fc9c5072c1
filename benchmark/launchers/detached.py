"""Importing this module moves the server that warm processes are forked from out of the terminal's session.

A closed terminal, or a signal to the whole process group of a shell job, then reaches the sweep, which stops its runs
after a checkpoint, but not the server, whose death would orphan them (`benchmark.launchers.warm`).
"""

import contextlib
import os

with contextlib.suppress(PermissionError):  # already the leader of its group
    os.setsid()
