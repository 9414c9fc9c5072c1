"""Settings of the particle tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from envs.fields import Count, Form, check
from envs.mpe.scenarios import ACTION_DIM, EPISODE_LENGTH, NUM_ACTIONS, Scenario

if TYPE_CHECKING:
    import torch

    from envs.protocols import EnvironmentSpec

Reward = Literal["shared", "local", "difference"]
NeighbourOrder = Literal["published", "true"]
Actions = Literal["discrete", "continuous"]
Contact = Literal["published", "true"]
StateType = Literal["float32", "float64"]
Backend = Literal["auto", "numba", "torch"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings shared by all `mpe/` tasks; the defaults give the published task."""

    reward: Reward = "shared"
    """`shared` gives every agent the team reward r; `local` splits r among the agents that caused it; `difference`
    gives agent i the team reward minus the team reward without i."""
    neighbour_order: NeighbourOrder = "published"
    """Order of observed entities where the published task sorts them by |x_j - 2 x_i|: `published` keeps this, `true`
    sorts by the distance |x_j - x_i|."""
    observe_agents: bool = True
    """Whether agents observe one another. If not, they observe only landmarks, prey and the ball, and learn about other
    agents through messages alone."""
    num_neighbours: Count | None = None
    """Width of the neighbour lists, at most all other agents; None gives 4 below 30 agents and 8 from 30 on."""
    actions: Actions = "discrete"
    """`discrete`: agents choose among nothing, +x, -x, +y and -y, as published; `continuous`: each agent's action is a
    force (x, y) with both components in [-1, 1], in units of its acceleration."""
    dtype: StateType = "float32"
    """Floating-point type of states, observations and rewards."""
    prey_weights: Annotated[str, Form(r".+", "shipped, original or the path of an .npz file")] = "shipped"
    """Weights of the scripted prey's network: `shipped`, `original`, or the path of an .npz file."""
    contact: Contact = "published"
    """Contact distance of two entities: `published` uses twice the size of agent 0 for all pairs where the published
    task does; `true` uses the sum of the two sizes."""
    backend: Backend = "auto"
    """Implementation of a step: `numba` (compiled for the CPU, from which observations are copied to other devices),
    `torch` (any device), or `auto` (numba on a CPU, torch elsewhere)."""

    def __post_init__(self) -> None:
        check(self)

    def torch_dtype(self) -> torch.dtype:
        """The torch dtype named by `dtype`."""
        import torch

        return torch.float32 if self.dtype == "float32" else torch.float64

    def uses_numba(self, device: torch.device) -> bool:
        """Whether steps on `device` use numba. Raises ValueError for numba on any device but a CPU."""
        if self.backend == "numba" and device.type != "cpu":
            raise ValueError(
                f"backend='numba' runs on the device cpu, not {device}: create it with envs.make, which copies what it "
                "gives, or choose backend='torch' or 'auto'"
            )
        return self.backend != "torch" and device.type == "cpu"


def make_spec(scenario: Scenario, settings: Settings) -> EnvironmentSpec:
    """The specification of a particle task."""
    from envs.checks import neighbour_count
    from envs.protocols import EnvironmentSpec

    continuous = settings.actions == "continuous"
    return EnvironmentSpec(
        num_agents=scenario.num_agents,
        observation_dim=scenario.observation_dim(settings.observe_agents),
        num_actions=0 if continuous else NUM_ACTIONS,
        episode_length=EPISODE_LENGTH,
        max_neighbours=neighbour_count(settings.num_neighbours, scenario.num_agents),
        agent_kinds=scenario.kinds,
        action_dim=ACTION_DIM if continuous else 0,
        relaxed_actions=not continuous,
    )
