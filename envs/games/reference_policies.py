"""Reference policies of the games: `random` draws a uniform action, `optimal` knows the whole state and is optimal, and
`selfish` takes each agent's preferred action on a ring or chain, whatever its neighbours do."""

from __future__ import annotations

import torch
from torch import Tensor

from envs.games.environment import GameEnvironment
from envs.games.games import Coordination, Game
from envs.protocols import Environment, ReferencePolicy
from envs.shapes import Int


class Random:
    """A uniform action for every agent at every step."""

    def __init__(self, environment: Environment) -> None:
        self.environment = played(environment)

    def act(self, generator: torch.Generator) -> Int[Tensor, "env agent"]:
        """Action indices, drawn on the generator's device."""
        spec = self.environment.spec
        shape = (self.environment.num_envs, spec.num_agents)
        actions = torch.randint(spec.num_actions, shape, generator=generator, device=generator.device)
        return actions.to(self.environment.device)


class Optimal:
    """A joint action that maximises the sum of future team rewards."""

    def __init__(self, environment: Environment) -> None:
        self.environment = played(environment)

    def act(self, generator: torch.Generator) -> Int[Tensor, "env agent"]:
        """Action indices; uses no random numbers."""
        return self.environment.game.optimum(self.environment.state)


class Selfish:
    """Every agent's preferred action."""

    def __init__(self, environment: Environment) -> None:
        self.environment = played(environment)
        if not isinstance(self.environment.game, Coordination):
            raise ValueError(f"agents of {self.environment.task} have no preferences; choose another reference policy")

    def act(self, generator: torch.Generator) -> Int[Tensor, "env agent"]:
        """Action indices; uses no random numbers."""
        return self.environment.state.argmax(-1)


def reference_policies_for(game: Game) -> dict[str, type[ReferencePolicy]]:
    """The reference policies that apply to a game, by name."""
    policies: dict[str, type[ReferencePolicy]] = {"random": Random, "optimal": Optimal}
    if isinstance(game, Coordination):
        policies["selfish"] = Selfish
    return policies


def played(environment: Environment) -> GameEnvironment:
    """`environment` as a game environment, whose state these policies read. Raises TypeError otherwise."""
    if not isinstance(environment, GameEnvironment):
        raise TypeError(f"reference policies need an environment of a game/ task, not a {type(environment).__name__}")
    return environment
