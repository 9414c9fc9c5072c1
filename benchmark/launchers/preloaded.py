"""Importing this module loads what every run needs, for the server that warm processes are forked from.

It must neither start a thread nor initialise a GPU: forked processes would inherit them in a broken state (see
warm.py).
"""

import contextlib
from importlib import import_module

import numba
import torch

import algorithms
import benchmark.references
import benchmark.runs
import benchmark.train  # noqa: F401
from benchmark.machine import running_code
from envs.errors import EnvironmentNotAvailableError

torch.optim.Adam([torch.zeros(1)])  # imports torch._dynamo, which takes as long as torch itself
numba.njit(lambda: 0)()  # loads the rest of numba, which is otherwise deferred to the first compilation
for name in algorithms.ALGORITHMS:
    import_module(algorithms.module_of(name))
for name in ("mpe", "games", "jungle", "traffic"):
    with contextlib.suppress(EnvironmentNotAvailableError):  # runs that need it report the error
        import_module(f"envs.{name}.environment")
running_code()
