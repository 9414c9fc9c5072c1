"""The algorithms, one file each. `make` builds a learner by name.

Adding one: write `algorithms/NAME.py` with a `Config` and a learner class, and add a line to `ALGORITHMS`.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from algorithms.common.config import OffPolicyConfig
    from algorithms.protocols import EnvironmentSpec, Learner

ALGORITHMS = {
    "ip": ("algorithms.ip", "IP"),
    "iql": ("algorithms.iql", "IQL"),
}
"""Name -> module and class of the learner. Each module also has a `Config`."""

PAPER_ALGORITHMS = ("ip", "qmix", "maddpg", "maddpgs", "pic", "dgn", "iql")
"""The algorithms the paper compares (section 5.2)."""


class UnknownAlgorithmError(ValueError):
    """No algorithm of that name."""


class AlgorithmNotAvailableError(UnknownAlgorithmError):
    """An algorithm of the paper that the project does not have yet."""


def _module(name: str) -> Any:
    if name in ALGORITHMS:
        return import_module(ALGORITHMS[name][0])
    known = ", ".join(ALGORITHMS)
    if name in PAPER_ALGORITHMS:
        raise AlgorithmNotAvailableError(f"algorithm {name!r} is not part of the project yet; available: {known}")
    close = difflib.get_close_matches(name, ALGORITHMS, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise UnknownAlgorithmError(f"unknown algorithm {name!r}{hint} Available: {known}")


def config_type(name: str) -> type[OffPolicyConfig]:
    """The settings dataclass of an algorithm. Raises UnknownAlgorithmError."""
    return _module(name).Config


def make(name: str, spec: EnvironmentSpec, config: Any, device: str = "cpu", seed: int = 0) -> Learner:
    """Build a learner.

    Initial weights are drawn on the CPU from `seed`, so they are the same on every device; the global random state is
    left as it was. Raises UnknownAlgorithmError for a name not in `ALGORITHMS`.
    """
    import torch

    module = _module(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return getattr(module, ALGORITHMS[name][1])(spec, config, torch.device(device))


def floats_per_transition(name: str, spec: EnvironmentSpec, config: Any) -> int:
    """Floats alive for each transition of a batch at the peak of an update; for memory estimates."""
    return _module(name).floats_per_transition(spec, config)
