"""Training, evaluation and sweeps.

* Training: `training` is the loop in memory, built from `replay`, `rewards`, `evaluation`, `acceleration`, `blocks`.
* Runs: `runs` resumes, logs, evaluates and finishes one in its folder; `train` is the command, `config` the settings.
* Suites: `suites` lists `requests` for runs, `plan` resolves them, `status` reports progress, `sweep` runs them.
* Launchers: `launchers` runs them locally or on a cluster, `together` in one process, `lease` on a GPU for minutes.
* Policies: `policies` loads trained policies, `evaluate` and `transfer` test them elsewhere, `messages` drops messages,
  `export` writes them to share; `play` and `record` draw episodes; `references` plays reference policies.
* Profiling: `profiling` measures, counts and predicts the cost of training; `memory` the memory of a run.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from results.commands import end_quietly

if TYPE_CHECKING:
    from benchmark.policies import Policy, load_policy

__all__ = ["Policy", "load_policy"]

end_quietly()

# Allocate tensors of 2 MiB and more in huge pages where the kernel has them. Otherwise more than half of a gradient
# step of 100 agents is spent on page faults, because the C library returns large blocks as soon as they are freed.
# Results are unaffected.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def __getattr__(name: str) -> Any:
    """`Policy` and `load_policy`, imported at first use because they load torch."""
    if name not in __all__:
        raise AttributeError(f"module 'benchmark' has no attribute {name!r}")
    from benchmark import policies

    return getattr(policies, name)
