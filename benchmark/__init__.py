"""The runner.

training    `training` has the loop in memory, of `replay`, `rewards`, `evaluation`, `acceleration` and `blocks`
runs        `runs` resumes, logs, evaluates and finishes one in its folder; `train` is the command, `config` settings
suites      `suites` lists `requests` for runs, `plan` resolves them, `status` says how far they are, `sweep` makes them
launchers   `launchers` makes runs here or on a cluster, `together` several in one process, `lease` in minutes of a GPU
policies    `policies` loads what was trained; `play` and `record` show it; `references` plays what it is compared with
profiling   `profiling` measures, counts and predicts what training costs; `memory` what a run needs
"""

import os

# Tensors of 2 MiB and more in huge pages (where the kernel has them). Without, more than half of a gradient step of 100
# agents is page faults: the C library gives large blocks back as soon as they are freed. No number changes.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
