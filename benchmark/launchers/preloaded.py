"""Importing this loads what every run needs, for the server that warm processes are forked from.

No thread may be started here and no GPU touched: forked processes would inherit them broken (see warm.py).
"""

import torch

import benchmark.references
import benchmark.runs
import benchmark.train  # noqa: F401
from benchmark.machine import running_code

torch.optim.Adam([torch.zeros(1)])  # imports torch._dynamo, which takes as long as torch itself
running_code()
