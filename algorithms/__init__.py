"""The algorithms, one file each. `make` builds a learner by name.

To add one, write `algorithms/NAME.py` with a `Config` and a learner class (see `common/learner.py`) and add a line to
`ALGORITHMS`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from envs.fields import closest

if TYPE_CHECKING:
    from algorithms.common.config import OffPolicyConfig
    from algorithms.common.learner import OffPolicyLearner
    from algorithms.protocols import EnvironmentSpec, Learner

ALGORITHMS = {
    "ip": ("algorithms.ip", "IP"),
    "qmix": ("algorithms.qmix", "QMIX"),
    "maddpg": ("algorithms.maddpg", "MADDPG"),
    "maddpgs": ("algorithms.maddpgs", "MADDPGS"),
    "pic": ("algorithms.pic", "PIC"),
    "dgn": ("algorithms.dgn", "DGN"),
    "iql": ("algorithms.iql", "IQL"),
    "vdn": ("algorithms.vdn", "VDN"),
    "mfq": ("algorithms.mfq", "MFQ"),
}
"""Name -> module and class of the learner. Each module also has a `Config`."""


class AlgorithmError(ValueError):
    """Base class of errors about algorithms. The message is one line that says what to do."""


class UnknownAlgorithmError(AlgorithmError):
    """Raised where no algorithm has the given name."""


class UnsupportedTaskError(AlgorithmError):
    """Raised where an algorithm does not support a task."""


def module_of(name: str) -> str:
    """The module with an algorithm's `Config` and learner. Raises UnknownAlgorithmError."""
    if name in ALGORITHMS:
        return ALGORITHMS[name][0]
    hint = closest(name, ALGORITHMS, most=1)
    raise UnknownAlgorithmError(
        f"unknown algorithm {name!r}{'; ' + hint if hint else '.'} Available: {', '.join(ALGORITHMS)}"
    )


def config_type(name: str) -> type[OffPolicyConfig]:
    """The settings dataclass of an algorithm. Raises UnknownAlgorithmError."""
    return import_module(module_of(name)).Config


def learner_type(name: str) -> type[OffPolicyLearner]:
    """The learner's class, with its capability flags. Raises UnknownAlgorithmError."""
    return getattr(import_module(module_of(name)), ALGORITHMS[name][1])


def check_supported(name: str, spec: EnvironmentSpec) -> None:
    """Raises UnsupportedTaskError where the algorithm does not support the task."""
    if spec.action_dim and not learner_type(name).continuous_actions:
        able = ", ".join(other for other in ALGORITHMS if learner_type(other).continuous_actions)
        raise UnsupportedTaskError(f"{name} needs discrete actions; continuous ones can be learned by: {able}")


def make(
    name: str, spec: EnvironmentSpec, config: Any, device: str = "cpu", seed: int = 0, fused: bool = False
) -> Learner:
    """Build a learner. With `fused`, messages on a GPU go through fused kernels (see `common/graph.py`).

    Initial weights are drawn on the CPU from `seed`, so they are the same on every device; the global random state is
    restored. Raises UnknownAlgorithmError for a name not in `ALGORITHMS` and UnsupportedTaskError for a task that the
    algorithm does not support.
    """
    import torch

    check_supported(name, spec)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return learner_type(name)(spec, config, torch.device(device), fused)


def action_width(name: str, spec: EnvironmentSpec, config: Any) -> int:
    """Size of the action vectors that the learner returns and the replay buffer stores; 0 for action indices."""
    return learner_type(name).action_width_for(spec, config)


def micro_batch_size(name: str, spec: EnvironmentSpec, config: Any, batch_size: int, device: str) -> int:
    """Transitions per micro-batch when a learner updates on `batch_size` transitions."""
    import torch

    chosen = learner_type(name).micro_batch_size_for(spec, config, batch_size, torch.device(device))
    return batch_size if chosen is None else min(chosen, batch_size)


def act_bytes(name: str, spec: EnvironmentSpec, config: Any, copies: int) -> int:
    """Peak memory in bytes of choosing actions in `copies` copies of a task, without the networks."""
    from algorithms.common.memory import act_memory

    return int(copies * act_memory(learner_type(name), spec, config))


def update_bytes(name: str, spec: EnvironmentSpec, config: Any, size: int, device: str = "cpu") -> int:
    """Peak memory in bytes of an update on `size` transitions at once, without the networks and the batch."""
    from algorithms.common.memory import update_memory

    return update_memory(learner_type(name), spec, config, device.partition(":")[0]).total(size)
