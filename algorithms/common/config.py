"""Settings that every off-policy algorithm of the suite shares (paper, Table 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RENAMED = {"piece": "micro_batch"}
"""Settings by the names that earlier versions gave them."""


def renamed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with settings under their present names."""
    return {RENAMED.get(name, name): value for name, value in record.items()}


@dataclass(frozen=True, slots=True)
class OffPolicyConfig:
    """Defaults are the paper's Table 2 where it speaks; each algorithm adds its own fields."""

    gamma: float = 0.95
    """Discount of future rewards per environment step."""
    learning_rate: float = 0.01
    """Step size of Adam, for all networks."""
    learning_rate_end: float = 0.0
    """Learning rate at the end of the run, reached linearly, as in the PIC program whose settings Table 2 repeats."""
    hidden: int = 128
    """Hidden units of each layer."""
    tau: float = 0.01
    """Target smoothing: target <- tau * online + (1 - tau) * target after every gradient step."""
    gradient_clip: float = 10.0
    """Largest gradient norm of a network; a guard against single bad batches."""
    micro_batch: int | None = None
    """Transitions of a micro-batch, whose gradients are computed at once and added up; none: as many as a bound on
    memory allows, the caches of a CPU or 16 GiB on a GPU (see `common/micro_batches.py`). No part of a run's identity,
    as results are equal but for rounding and, where losses draw, the order of the draws."""

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> OffPolicyConfig:
        """Settings as a run has recorded them, earlier versions included: what they lack had no name then and was as it
        is by default, unless an algorithm says otherwise. Raises TypeError for settings that there are not."""
        return cls(**renamed(record))

    def __post_init__(self) -> None:
        for name, low, high in (
            ("gamma", 0.0, 1.0),
            ("learning_rate", 0.0, 1.0),
            ("learning_rate_end", 0.0, 1.0),
            ("tau", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} = {value}: expected a number from {low:g} to {high:g}")
        if self.hidden < 1:
            raise ValueError(f"hidden = {self.hidden}: expected a positive number of units")
        if self.micro_batch is not None and self.micro_batch < 1:
            raise ValueError(f"micro_batch = {self.micro_batch}: expected none or a positive number of transitions")
        if not self.gradient_clip > 0:
            raise ValueError(f"gradient_clip = {self.gradient_clip}: expected a positive norm")


@dataclass(frozen=True, slots=True)
class EpsilonGreedyConfig(OffPolicyConfig):
    """Settings of the algorithms that value actions: one schedule of exploration for all of them."""

    learning_rate: float = 0.001
    """Step size of Adam: Q-learning with Table 2's 0.01 is unstable."""
    learning_rate_end: float = 0.001
    """Constant learning rate."""
    epsilon_start: float = 1.0
    """Chance of a random action at the first environment step."""
    epsilon_end: float = 0.05
    """Chance of a random action once it has stopped falling."""
    epsilon_steps: int = 50_000
    """Environment steps over which epsilon falls linearly ..."""
    epsilon_fraction: float = 0.4
    """... but over at most this share of the run, so that short runs exploit too."""

    def __post_init__(self) -> None:
        OffPolicyConfig.__post_init__(self)
        for name in ("epsilon_start", "epsilon_end", "epsilon_fraction"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} = {getattr(self, name)}: expected a number from 0 to 1")
        if self.epsilon_steps < 0:
            raise ValueError(f"epsilon_steps = {self.epsilon_steps}: expected zero or more environment steps")


def check_choice(config: object, name: str, choices: tuple[str, ...]) -> None:
    """Raise ValueError naming the choices where field `name` of `config` is none of them."""
    value = getattr(config, name)
    if value not in choices:
        raise ValueError(f"{name} = {value!r}: expected one of {', '.join(choices)}")
