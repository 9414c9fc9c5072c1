"""What a user may change about a traffic task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from envs.fields import Count, Natural, check

Reward = Literal["local", "shared"]
EngineName = Literal["builtin", "cityflow"]
Vehicles = Literal["fixed", "drawn"]
ProtocolName = Literal["paper", "libsignal"]
Observation = Literal["counts", "waiting", "segments"]


class Protocol(NamedTuple):
    """By which rules a travel time is found: two numbers can be compared if these are the same."""

    decision_seconds: int
    """Seconds from one decision to the next."""
    yellow_seconds: int
    """Seconds of yellow at the beginning of a decision that changes the phase; 0 for none."""
    episode_seconds: int
    """Simulated seconds of an episode, training and evaluation alike."""
    warm_up_seconds: int
    """Seconds before the first decision that do not count."""
    begins_green: bool
    """Whether every signal shows its first green phase at the beginning, so that a first decision for it needs no
    yellow; otherwise it shows the yellow one, and every first decision is a change."""
    travel_time: str
    """Whose seconds are averaged, in words."""


_ALL_VEHICLES = (
    "CityFlow's get_average_travel_time: all vehicles made so far, from the second that the flow makes them to their "
    "arrival, or to the end of the episode for those that have not arrived or still wait to enter"
)
PROTOCOLS: dict[ProtocolName, Protocol] = {
    "paper": Protocol(10, 5, 1000, 0, False, _ALL_VEHICLES),
    "libsignal": Protocol(10, 5, 3600, 0, True, _ALL_VEHICLES),
}
"""`paper`: 100 decisions an episode (Table 2), the rest by common practice, as the paper does not say it
(DEVIATIONS.md, traffic-decision). `libsignal`: what LibSignal does by default on CityFlow's maps (its
configs/tsc/base.yml: action_interval 10, yellow_length 5, steps and test_steps 3600; world/world_cityflow.py: phases
and travel time)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of every `cityflow/` task."""

    reward: Reward = "local"
    """Who is paid: `local` pays each intersection minus the vehicle-seconds on its incoming roads, the paper's r_i;
    `shared` pays everyone the mean of that over all intersections."""
    episode_seconds: Count = None  # type: ignore[assignment]
    """Simulated seconds of an episode; what the protocol says unless given: 1000, which is 100 decisions (paper, Table
    2), or with `libsignal` 3600, for which the maps have traffic."""
    decision_seconds: Count = None  # type: ignore[assignment]
    """Seconds from one decision to the next; what the protocol says unless given: 10."""
    yellow_seconds: Natural = None  # type: ignore[assignment]
    """Seconds of yellow at the beginning of a decision that changes the phase, 0 for none; what the protocol says
    unless given: 5."""
    vehicles: Vehicles = "fixed"
    """`fixed`: every episode has the same vehicles, as with CityFlow's files; `drawn`: synthetic cities draw new ones
    of the same kind for every episode."""
    protocol: ProtocolName = "paper"
    """Rules by which travel times are found, `paper` or `libsignal` (see `PROTOCOLS`): seconds of an episode, of a
    decision and of yellow, what signals show at first, whose travel time counts."""
    observation: Observation = "counts"
    """What an intersection sees besides its phase: `counts`, vehicles on each incoming lane; `waiting`, also how many
    of them stand, and how much of the episode is left; `segments`, also how many are within a decision's drive of the
    stop line, and the vehicles on each lane of the roads that leave."""
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
        for name in ("episode_seconds", "decision_seconds", "yellow_seconds"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(PROTOCOLS.get(self.protocol, PROTOCOLS["paper"]), name))
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
    def begins_green(self) -> bool:
        """See `Protocol`."""
        return PROTOCOLS[self.protocol].begins_green

    @property
    def episode_length(self) -> int:
        """Decisions of an episode."""
        return self.episode_seconds // self.decision_seconds
