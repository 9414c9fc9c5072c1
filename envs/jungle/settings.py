"""Settings of Jungle."""

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
    """Settings shared by all `magent/` tasks; the defaults are the paper's."""

    reward: Reward = "local"
    """`local` rewards each agent for its actions and for the attacks it receives, the paper's r_i; `shared` gives every
    agent the mean of these rewards."""
    episode_length: Count = EPISODE_LENGTH
    """Steps per episode: 25 in the paper, 120 in DGN's code."""
    num_neighbours: Count | None = None
    """Width of the neighbour lists, nearest first, at most all other agents. None gives the paper's 4 below 30 agents
    and 8 from 30 on; 3 gives the graph of DGN, whose lists also contain the agent itself."""
    backend: Backend = "auto"
    """Implementation of a step: `numba` (compiled for the CPU, from which observations are copied to other devices),
    `torch` (any device), `magent2` (the original engine, CPU only, at most 242 agents), or `auto` (numba on a CPU,
    torch elsewhere). All give identical results."""

    def __post_init__(self) -> None:
        check(self)

    def engine(self, device: torch.device) -> Literal["numba", "torch", "magent2"]:
        """The engine used on `device`. Raises ValueError for numba or magent2 on any device but a CPU."""
        if self.backend == "auto":
            return "numba" if device.type == "cpu" else "torch"
        if self.backend != "torch" and device.type != "cpu":
            raise ValueError(
                f"backend={self.backend!r} runs on the device cpu, not {device}: create it with envs.make, which "
                "copies what it gives, or choose backend='torch' or 'auto'"
            )
        return self.backend


def make_spec(jungle: Jungle, settings: Settings) -> EnvironmentSpec:
    """The specification of a Jungle task."""
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
