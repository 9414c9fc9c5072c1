"""What a user may change about Jungle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from envs.fields import Count, check
from envs.jungle.rules import EPISODE_LENGTH, NUM_ACTIONS, OBSERVATION_DIM, Jungle

if TYPE_CHECKING:
    import torch

    from envs.protocols import EnvironmentSpec

Reward = Literal["local", "shared"]
Backend = Literal["auto", "numba", "torch", "magent2"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of every `magent/` task; the defaults are the paper's."""

    reward: Reward = "local"
    """Who is paid: `local` pays each agent for what it does and what is done to it, the paper's r_i; `shared` pays
    everyone the mean of that over all agents."""
    episode_length: Count = EPISODE_LENGTH
    """Steps of an episode: 25 in the paper, 120 in the program of DGN."""
    num_neighbours: Count | None = None
    """Width of the neighbour lists, nearest first; None takes the paper's 4 below 30 agents and 8 from there on; 3 is
    the graph of DGN, whose agents hear themselves too. At most all others."""
    backend: Backend = "auto"
    """Implementation of a step: `numba` (compiled, on the CPU, from where observations are copied to another device),
    `torch` (any device), `magent2` (the original engine, on the CPU too, at most 242 agents), or `auto`: numba on a
    CPU, else torch. All give the same numbers."""

    def __post_init__(self) -> None:
        check(self)

    def engine(self, device: torch.device) -> Literal["numba", "torch", "magent2"]:
        """What computes a step on `device`. Raises ValueError for numba or magent2 on anything but a CPU."""
        if self.backend == "auto":
            return "numba" if device.type == "cpu" else "torch"
        if self.backend != "torch" and device.type != "cpu":
            raise ValueError(
                f"backend={self.backend!r} computes on the device cpu, not {device}: make it by envs.make, which "
                "copies what it gives, or choose backend='torch' or 'auto'"
            )
        return self.backend


def make_spec(jungle: Jungle, settings: Settings) -> EnvironmentSpec:
    """What a learner sees of the task."""
    from envs.checks import neighbour_count
    from envs.protocols import EnvironmentSpec

    return EnvironmentSpec(
        num_agents=jungle.num_agents,
        observation_dim=OBSERVATION_DIM,
        num_actions=NUM_ACTIONS,
        episode_length=settings.episode_length,
        max_neighbours=neighbour_count(settings.num_neighbours, jungle.num_agents),
        agent_kinds=(0,) * jungle.num_agents,
    )
