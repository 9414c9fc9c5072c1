"""The algorithms, one file each. `make` builds a learner by name.

Adding one: write `algorithms/NAME.py` with a `Config` and a learner class (see `common/learner.py`), and add a line to
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
    """The root of what can go wrong when an algorithm is asked for: the message is one line that says what to do."""


class UnknownAlgorithmError(AlgorithmError):
    """No algorithm of that name."""


class UnsupportedTaskError(AlgorithmError):
    """The algorithm cannot play the task."""


def module_of(name: str) -> str:
    """The module of an algorithm, which has its `Config` and learner. Raises UnknownAlgorithmError."""
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
    """The learner's class, which says what it can do. Raises UnknownAlgorithmError."""
    return getattr(import_module(module_of(name)), ALGORITHMS[name][1])


def check_supported(name: str, spec: EnvironmentSpec) -> None:
    """Raises UnsupportedTaskError where the algorithm cannot play such a task."""
    if spec.action_dim and not learner_type(name).continuous_actions:
        able = ", ".join(other for other in ALGORITHMS if learner_type(other).continuous_actions)
        raise UnsupportedTaskError(
            f"{name} needs discrete actions; continuous ones can be learned by: {able} (it compares the values of all "
            "actions, so that there must be finitely many)"
        )


def make(
    name: str, spec: EnvironmentSpec, config: Any, device: str = "cpu", seed: int = 0, fused: bool = False
) -> Learner:
    """Build a learner; fused: messages on a GPU go through fused kernels (see `common/graph.py`).

    Initial weights are drawn on the CPU from `seed`, so they are the same on every device; the global random state is
    left as it was. Raises UnknownAlgorithmError for a name not in `ALGORITHMS`, UnsupportedTaskError for a task that
    the algorithm cannot play.
    """
    import torch

    check_supported(name, spec)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return learner_type(name)(spec, config, torch.device(device), fused)


def action_width(name: str, spec: EnvironmentSpec, config: Any) -> int:
    """Size of the action vectors that the learner gives and the replay stores; 0 for action indices."""
    return learner_type(name).action_width_for(spec, config)


def micro_batch_size(name: str, spec: EnvironmentSpec, config: Any, batch_size: int, device: str) -> int:
    """How many of `batch_size` transitions a learner computes the gradients of at once."""
    import torch

    chosen = learner_type(name).micro_batch_size_for(spec, config, batch_size, torch.device(device))
    return batch_size if chosen is None else min(chosen, batch_size)


def act_bytes(name: str, spec: EnvironmentSpec, config: Any, copies: int) -> int:
    """The most memory that choosing actions in so many copies of a task takes beside the networks."""
    from algorithms.common.memory import act_memory

    return int(copies * act_memory(learner_type(name), spec, config))


def update_bytes(name: str, spec: EnvironmentSpec, config: Any, size: int, device: str = "cpu") -> int:
    """The most memory that an update of `size` transitions at once takes beside its networks and the batch."""
    from algorithms.common.memory import update_memory

    return update_memory(learner_type(name), spec, config, device.partition(":")[0]).total(size)
