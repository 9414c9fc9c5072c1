"""Settings that every off-policy algorithm of the suite shares (paper, Table 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from envs.fields import Count, Natural, Range, Share, check

Graphs = Literal["task", "full"]
"""Whom agents hear: nearest agents or the road network, as the environment says, or everybody."""
Kernels = Literal["auto", "slots", "dense", "gather"]
"""Ways to join messages; auto is the fastest of the others."""
RENAMED = {"piece": "micro_batch"}
"""Settings by the names that earlier versions gave them."""


def renamed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with settings under their present names."""
    return {RENAMED.get(name, name): value for name, value in record.items()}


@dataclass(frozen=True, slots=True)
class OffPolicyConfig:
    """Defaults are the paper's Table 2 where it speaks; each algorithm adds its own fields."""

    gamma: Share = 0.95
    """Discount of future rewards per environment step."""
    learning_rate: Share = 0.01
    """Step size of Adam, for all networks."""
    learning_rate_end: Share = 0.0
    """Learning rate at the end of the run, reached linearly, as in the PIC program whose settings Table 2 repeats."""
    hidden: Count = 128
    """Hidden units of each layer."""
    tau: Share = 0.01
    """Target smoothing: target <- tau * online + (1 - tau) * target after every gradient step."""
    gradient_clip: Annotated[float, Range(above=0)] = 10.0
    """Largest gradient norm of a network; a guard against single bad batches."""
    micro_batch: Count | None = None
    """Transitions of a micro-batch, whose gradients are computed at once and added up; none: as many as a bound on
    memory allows, the caches of a CPU or 16 GiB on a GPU (see `common/micro_batches.py`). No part of a run's identity,
    as results are equal but for rounding and, where losses draw, the order of the draws."""

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> OffPolicyConfig:
        """Settings as a run has recorded them, earlier versions included: what they lack had no name then and was as it
        is by default, unless an algorithm says otherwise. Raises TypeError for settings that there are not."""
        return cls(**renamed(record))

    def __post_init__(self) -> None:
        check(self)

    def annealed(self, earlier: int, later: int) -> list[str]:
        """The schedules that a run of `earlier` environment steps has had otherwise, when it ends, than one of `later`
        steps has had until then."""
        return [] if self.learning_rate == self.learning_rate_end else ["learning_rate"]


@dataclass(frozen=True, slots=True)
class EpsilonGreedyConfig(OffPolicyConfig):
    """Settings of the algorithms that value actions: one schedule of exploration for all of them."""

    learning_rate: Share = 0.001
    """Step size of Adam: Q-learning with Table 2's 0.01 is unstable."""
    learning_rate_end: Share = 0.001
    """Constant learning rate."""
    epsilon_start: Share = 1.0
    """Chance of a random action at the first environment step."""
    epsilon_end: Share = 0.05
    """Chance of a random action once it has stopped falling."""
    epsilon_steps: Natural = 50_000
    """Environment steps over which epsilon falls linearly ..."""
    epsilon_fraction: Share = 0.4
    """... but over at most this share of the run, so that short runs exploit too."""

    def exploration_steps(self, total_steps: int) -> float:
        """Environment steps over which epsilon falls in a run of this length."""
        return min(self.epsilon_steps, self.epsilon_fraction * total_steps)

    def annealed(self, earlier: int, later: int) -> list[str]:
        falls = self.epsilon_start != self.epsilon_end
        differs = falls and self.exploration_steps(earlier) != self.exploration_steps(later)
        return [*OffPolicyConfig.annealed(self, earlier, later), *["epsilon"] * differs]
