"""Settings of the games."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from envs.fields import check

if TYPE_CHECKING:
    import torch

    from envs.games.games import Game
    from envs.protocols import EnvironmentSpec

Reward = Literal["local", "shared"]
StateType = Literal["float32", "float64"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings shared by all `game/` tasks."""

    reward: Reward = "local"
    """`local` gives agent i its reward r_i, the paper's equation (1); `shared` gives every agent the sum over the team.
    Games with a shared payoff give it to every agent in both modes."""
    dtype: StateType = "float32"
    """Floating-point type of observations and rewards."""

    def __post_init__(self) -> None:
        check(self)

    def torch_dtype(self) -> torch.dtype:
        """The torch dtype named by `dtype`."""
        import torch

        return torch.float32 if self.dtype == "float32" else torch.float64


def make_spec(game: Game) -> EnvironmentSpec:
    """The specification of a game. An agent without neighbours has one masked slot."""
    from envs.protocols import EnvironmentSpec

    return EnvironmentSpec(
        num_agents=game.num_agents,
        observation_dim=game.num_features + (game.num_agents if game.sees_index else 0),
        num_actions=game.num_actions,
        episode_length=game.episode_length,
        max_neighbours=max(1, *map(len, game.neighbours)),
        agent_kinds=(0,) * game.num_agents,
        static_graph=True,
    )
