"""Settings that every off-policy algorithm of the suite shares (paper, Table 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from envs.fields import Count, Natural, Range, Share, check

Graphs = Literal["task", "full"]
"""Graph of the agents: the environment's (nearest agents or the road network), or the complete graph."""
Kernels = Literal["auto", "slots", "dense", "gather"]
"""Aggregation kernels; auto selects the fastest."""
RENAMED = {"piece": "micro_batch"}
"""Earlier names of settings -> current names."""


def renamed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with settings under their current names."""
    return {RENAMED.get(name, name): value for name, value in record.items()}


@dataclass(frozen=True, slots=True)
class OffPolicyConfig:
    """Settings shared by all algorithms, with defaults from the paper's Table 2; each algorithm adds fields."""

    gamma: Share = 0.95
    """Discount of future rewards per environment step."""
    learning_rate: Share = 0.01
    """Learning rate of Adam for all networks."""
    learning_rate_end: Share = 0.0
    """Learning rate at the end of the run, approached linearly, as in the PIC program that Table 2 follows."""
    hidden: Count = 128
    """Hidden units of each layer."""
    tau: Share = 0.01
    """Target smoothing: target <- tau * online + (1 - tau) * target after every gradient step."""
    gradient_clip: Annotated[float, Range(above=0)] = 10.0
    """Bound on the gradient norm of a network, a guard against single bad batches."""
    micro_batch: Count | None = None
    """Transitions per micro-batch, over which gradients are accumulated; none: as many as fit the caches of a CPU or
    16 GiB on a GPU (see `common/micro_batches.py`). Not part of a run's identity, since results agree up to rounding
    and, where losses sample, the order of the samples."""

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> OffPolicyConfig:
        """The settings of a recorded run, including runs of earlier versions: settings missing from the record take
        their defaults unless an algorithm overrides this. Raises TypeError for unknown settings."""
        return cls(**renamed(record))

    def __post_init__(self) -> None:
        check(self)

    def annealed(self, earlier: int, later: int) -> list[str]:
        """The schedules that differ between a run of `earlier` environment steps and the first `earlier` steps of a run
        of `later` steps."""
        return [] if self.learning_rate == self.learning_rate_end else ["learning_rate"]


@dataclass(frozen=True, slots=True)
class EpsilonGreedyConfig(OffPolicyConfig):
    """Settings of the Q-learners, which share one exploration schedule."""

    learning_rate: Share = 0.001
    """Learning rate of Adam; Q-learning is unstable with Table 2's 0.01."""
    learning_rate_end: Share = 0.001
    """Learning rate at the end of the run; by default it is constant."""
    epsilon_start: Share = 1.0
    """Probability of a random action at the first environment step."""
    epsilon_end: Share = 0.05
    """Probability of a random action after annealing."""
    epsilon_steps: Natural = 50_000
    """Environment steps over which epsilon is annealed linearly."""
    epsilon_fraction: Share = 0.4
    """Largest share of the run over which epsilon is annealed, so that short runs exploit as well."""

    def exploration_steps(self, total_steps: int) -> float:
        """Environment steps over which epsilon is annealed in a run of `total_steps`."""
        return min(self.epsilon_steps, self.epsilon_fraction * total_steps)

    def annealed(self, earlier: int, later: int) -> list[str]:
        falls = self.epsilon_start != self.epsilon_end
        differs = falls and self.exploration_steps(earlier) != self.exploration_steps(later)
        return [*OffPolicyConfig.annealed(self, earlier, later), *["epsilon"] * differs]
