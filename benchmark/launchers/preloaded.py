"""Importing this loads what every run needs, for the server that warm processes are forked from.

No thread may be started here and no GPU touched: forked processes would inherit them broken (see warm.py).
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
numba.njit(lambda: 0)()  # loads the rest of numba, which waits for the first function that is compiled
for name in algorithms.ALGORITHMS:
    import_module(algorithms.module_of(name))
for name in ("mpe", "games", "jungle", "traffic"):
    with contextlib.suppress(EnvironmentNotAvailableError):  # runs of it will say so
        import_module(f"envs.{name}.environment")
running_code()
