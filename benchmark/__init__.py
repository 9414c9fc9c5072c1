"""The shared runner: tasks and suites as data, one training loop, replay, evaluation, run folders and sweeps."""

import os

# Tensors of 2 MiB and more in huge pages (where the kernel has them). Without, more than half of a gradient step of 100
# agents is page faults: the C library gives large blocks back as soon as they are freed. No number changes.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
