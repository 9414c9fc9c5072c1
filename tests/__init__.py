"""The tests mirror the tree.

`check` executes the shape annotations of the code under test (see pyproject.toml); an int passes for a float, as
everywhere in Python. Without beartype, as on a bare GPU node, annotations are left alone; pytest's header says so.

Each process has one thread, as under `make test`: several tests run at once, and threads that wait for each other on
shared cores make them many times slower. Ctrl-C stops a process even where a script started the tests in the
background, which makes them and all that they start ignore it.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

try:
    from beartype import BeartypeConf, beartype
except ModuleNotFoundError:
    SHAPE_CHECKS = False

    def check(function: Any) -> Any:
        """The function as it is."""
        return function

else:
    SHAPE_CHECKS = True
    check = beartype(conf=BeartypeConf(is_pep484_tower=True))

needs_shape_checks = pytest.mark.skipif(not SHAPE_CHECKS, reason="beartype is not installed")
