"""What a user may change about a traffic task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from envs.fields import Count, Natural, check

Reward = Literal["local", "shared"]
EngineName = Literal["builtin", "cityflow"]
Vehicles = Literal["fixed", "drawn"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of every `cityflow/` task."""

    reward: Reward = "local"
    """Who is paid: `local` pays each intersection minus the vehicle-seconds on its incoming roads, the paper's r_i;
    `shared` pays everyone the mean of that over all intersections."""
    episode_seconds: Count = 1000
    """Simulated seconds of an episode: 1000 is 100 decisions (paper, Table 2); the maps have traffic for 3600."""
    decision_seconds: Count = 10
    """Seconds from one decision to the next."""
    yellow_seconds: Natural = 5
    """Seconds of yellow at the beginning of a decision that changes the phase; 0 for none."""
    vehicles: Vehicles = "fixed"
    """`fixed`: every episode has the same vehicles, as with CityFlow's files; `drawn`: synthetic cities draw new ones
    of the same kind for every episode."""
    lane_change: bool = False
    """Whether vehicles change lanes."""
    engine: EngineName = "builtin"
    """`builtin`, or `cityflow`: the original program, if it is installed (pip install .[cityflow])."""
    map: str = ""
    """Path of the CityFlow configuration of which the task was made; empty for the cities of this project."""
    roadnet_sha256: str = ""
    """SHA-256 of the configuration's road network: another file is refused."""
    flow_sha256: str = ""
    """The same of its flow."""

    def __post_init__(self) -> None:
        check(self)
        if self.yellow_seconds >= self.decision_seconds:
            raise ValueError(
                f"yellow_seconds = {self.yellow_seconds}: expected less than decision_seconds = {self.decision_seconds}"
            )
        if self.episode_seconds % self.decision_seconds:
            raise ValueError(
                f"episode_seconds = {self.episode_seconds}: expected a multiple of decision_seconds = "
                f"{self.decision_seconds}"
            )

    @property
    def episode_length(self) -> int:
        """Decisions of an episode."""
        return self.episode_seconds // self.decision_seconds
