"""Requests for runs, from which suites are made, and settings shared by small runs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from results.keys import RunKey

if TYPE_CHECKING:
    from benchmark.config import RunConfig


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A requested run, not yet resolved: its length and the settings that differ from the defaults."""

    key: RunKey
    total_steps: int
    overrides: dict[str, Any] = field(default_factory=dict)

    def resolve(self, device: str = "cpu") -> RunConfig:
        """The resolved configuration. Raises what `benchmark.config.resolve` raises."""
        from benchmark.config import resolve  # imported late, as a status does not need it

        task, algorithm, variant, seed = self.key
        return resolve(task, algorithm, seed, self.total_steps, self.overrides, variant, device)


ACTOR_CRITICS = ("ip", "maddpg", "maddpgs", "pic")
"""Algorithms whose default learning rate is Table 2's 0.01, which is meant for batches of 1024."""
FEW_TRANSITIONS: dict[str, Any] = {
    "training.num_envs": 20,
    "training.batch_size": 64,
    "training.learning_starts": 64,
}
"""Settings with cheap gradient steps, for large numbers of runs."""


def small_batch_rate(algorithm: str) -> dict[str, Any]:
    """The learning rate for batches a tenth of Table 2's and smaller, for which the default 0.01 kills ReLUs and 0.003
    does not."""
    return {"algorithm.learning_rate": 0.003} if algorithm in ACTOR_CRITICS else {}


SMALL_SIGNALS: dict[str, Any] = {
    "training.batch_size": 64,
    "training.learning_starts": 64,
    "training.evaluation_episodes": 2,
    "training.evaluation_interval": 1_000,
    "training.log_interval": 200,
}
"""Settings for many signals on a CPU; a line of the log spans one of the 80 intervals of 16,000 steps."""
SMALL_STEPS = {"cityflow/synthetic_49": 16_000, "cityflow/synthetic_100": 4_000, "mpe/cooperative_navigation_30": 8_000}
"""Environment steps of small runs, a hundredth of the paper's or fewer."""


CONTROLS: dict[str, dict[str, Any]] = {
    "deaf": {"algorithm.policy_messages": False},
    "isac": {"algorithm.policy_messages": False, "algorithm.critic_messages": False},
}
"""Controls for the effect of IP's messages, with networks of the same size. deaf: the policy receives no messages, V
and Q do; isac: no network receives messages, which is independent discrete soft actor-critic."""


def control(request: RunRequest, name: str) -> RunRequest:
    """A run of IP as one of the `CONTROLS`, in a separate variant."""
    variant = name if request.key.variant == "default" else f"{request.key.variant}-{name}"
    return replace(request, key=request.key._replace(variant=variant), overrides=request.overrides | CONTROLS[name])
