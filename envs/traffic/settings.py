"""Settings of the traffic tasks."""

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
    """The rules under which a travel time is measured; travel times are comparable only under the same protocol."""

    decision_seconds: int
    """Seconds from one decision to the next."""
    yellow_seconds: int
    """Seconds of yellow at the beginning of a decision that changes the phase; 0 for none."""
    episode_seconds: int
    """Simulated seconds per episode, in training and evaluation; all of them are measured."""
    begins_green: bool
    """Whether every signal shows its first green phase at the beginning, so that choosing it first needs no yellow.
    Otherwise signals begin with the yellow phase, and every first decision is a change."""


PROTOCOLS: dict[ProtocolName, Protocol] = {
    "paper": Protocol(10, 5, 1000, False),
    "libsignal": Protocol(10, 5, 3600, True),
}
"""Protocols by name. The average travel time of both is CityFlow's get_average_travel_time: all vehicles made so far,
from the second that the flow makes them to their arrival, or to the end of the episode for those that have not arrived
or still wait to enter. `paper`: 100 decisions per episode (Table 2); the paper leaves the rest open, which follows
common practice (DEVIATIONS.md, traffic-decision). `libsignal`: LibSignal's defaults on CityFlow's maps
(configs/tsc/base.yml: action_interval 10, yellow_length 5, steps and test_steps 3600; world/world_cityflow.py: phases
and travel time)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings shared by all `cityflow/` tasks."""

    reward: Reward = "local"
    """`local` rewards each intersection with minus the vehicle-seconds on its incoming roads, the paper's r_i; `shared`
    gives every intersection the mean of these rewards."""
    episode_seconds: Count = None  # type: ignore[assignment]
    """Simulated seconds per episode. Taken from the protocol unless given: 1000, which is 100 decisions (paper, Table
    2), or 3600 with `libsignal`, the period for which the maps have traffic."""
    decision_seconds: Count = None  # type: ignore[assignment]
    """Seconds from one decision to the next. Taken from the protocol unless given: 10."""
    yellow_seconds: Natural = None  # type: ignore[assignment]
    """Seconds of yellow at the beginning of a decision that changes the phase; 0 for none. Taken from the protocol
    unless given: 5."""
    vehicles: Vehicles = "fixed"
    """`fixed`: every episode has the same vehicles, as in CityFlow's files; `drawn`: synthetic cities draw new vehicles
    from the same distribution for every episode."""
    protocol: ProtocolName = "paper"
    """Rules under which travel times are measured, `paper` or `libsignal` (see `PROTOCOLS`): the length of an episode,
    of a decision and of yellow, the initial phase of the signals, and the definition of travel time."""
    observation: Observation = "counts"
    """What an intersection observes besides its phase. `counts`: vehicles on each incoming lane; `waiting`: also how
    many of them are standing, and the fraction of the episode that remains; `segments`: also how many could reach the
    stop line within a decision, and the vehicles on each lane of the outgoing roads."""
    lane_change: bool = False
    """Whether vehicles change lanes."""
    engine: EngineName = "builtin"
    """`builtin`, or `cityflow` for the original program, which must be installed (pip install .[cityflow])."""
    map: str = ""
    """Path of the CityFlow configuration from which the task was made; empty for the built-in cities."""
    roadnet_sha256: str = ""
    """SHA-256 of the configuration's road network; a different file is rejected."""
    flow_sha256: str = ""
    """SHA-256 of the configuration's flow; a different file is rejected."""

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
        """The protocol's `begins_green`; see `Protocol`."""
        return PROTOCOLS[self.protocol].begins_green

    @property
    def episode_length(self) -> int:
        """Decisions per episode."""
        return self.episode_seconds // self.decision_seconds
