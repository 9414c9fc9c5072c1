"""What a user may change about a particle task."""

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
    """Settings of every `mpe/` task; the defaults are the published task."""

    reward: Reward = "shared"
    """Who is paid: `shared` gives everyone the team reward r; `local` splits r by who caused it; `difference` gives
    agent i the team reward minus the team reward without i."""
    neighbour_order: NeighbourOrder = "published"
    """Where the published task sorts what an agent sees by |x_j - 2 x_i|, `true` sorts by the distance |x_j - x_i|."""
    observe_agents: bool = True
    """Whether agents see one another. Without it they see landmarks, prey and the ball alone, and know of other agents
    what these tell them."""
    num_neighbours: Count | None = None
    """Width of the neighbour lists; None takes 4 below 30 agents and 8 from there on, at most all others."""
    actions: Actions = "discrete"
    """`discrete`: agents choose among nothing, +x, -x, +y and -y, as published; `continuous`: each agent's action is a
    force (x, y) with both parts in [-1, 1], in units of its acceleration."""
    dtype: StateType = "float32"
    """Floating point type of the state, observations and rewards."""
    prey_weights: Annotated[str, Form(r".+", "shipped, original or the path of an .npz file")] = "shipped"
    """Network of the scripted prey: `shipped`, `original`, or the path of an .npz file."""
    contact: Contact = "published"
    """`published` takes twice the size of agent 0 as the contact distance of all pairs where the published task does;
    `true` takes the sum of the two sizes."""
    backend: Backend = "auto"
    """Implementation of a step: `numba` (compiled, on the CPU, from where observations are copied to another device),
    `torch` (any device), or `auto`: numba on a CPU, else torch."""

    def __post_init__(self) -> None:
        check(self)

    def torch_dtype(self) -> torch.dtype:
        """The torch type named by `dtype`."""
        import torch

        return torch.float32 if self.dtype == "float32" else torch.float64

    def uses_numba(self, device: torch.device) -> bool:
        """Whether a step on `device` runs in numba. Raises ValueError for numba on anything but a CPU."""
        if self.backend == "numba" and device.type != "cpu":
            raise ValueError(
                f"backend='numba' computes on the device cpu, not {device}: make it by envs.make, which copies what it "
                "gives, or choose backend='torch' or 'auto'"
            )
        return self.backend != "torch" and device.type == "cpu"


def make_spec(scenario: Scenario, settings: Settings) -> EnvironmentSpec:
    """What a learner sees of the task."""
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
