"""The platforms by name. Each knows its tasks and how to make them, and imports its modules only when needed.

To add one, write a class with the methods of `Platform` and add a line to `PLATFORMS`. An environment can belong to a
platform only if that platform's environment module has been imported, which `renderer` checks before it imports more.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

    from envs.canvas import Renderer
    from envs.protocols import Environment, EnvironmentSpec, ReferencePolicy


class Platform(Protocol):
    """A family of environments with one implementation. Methods assume tasks that exist, and settings of the type that
    `settings` returns."""

    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, each starting with the platform's name and a slash."""
        ...

    def exists(self, task: str) -> bool:
        """Whether the task can be made: one of `tasks`, or another size of a task with variable size."""
        ...

    def settings(self, task: str) -> type:
        """The dataclass of a task's settings."""
        ...

    def spec(self, task: str, settings: Any) -> EnvironmentSpec:
        """The specification of a task, without building it."""
        ...

    def make(self, task: str, settings: Any, num_envs: int, device: torch.device) -> Environment:
        """Copies of a task in lockstep."""
        ...

    def reference_policies(self, task: str) -> dict[str, type[ReferencePolicy]]:
        """The reference policies by name."""
        ...

    def full_evaluation(self, task: str) -> dict[str, Any]:
        """Settings of an evaluation on episodes longer than in training; empty if there is none."""
        ...

    def renderer(self, environment: Environment) -> Renderer | None:
        """The renderer of an environment; None for one of another platform or without rendering."""
        ...


class ParticlePlatform:
    """The `mpe/` tasks."""

    def tasks(self) -> tuple[str, ...]:
        from envs.mpe.scenarios import SCENARIOS

        return tuple(SCENARIOS)

    def exists(self, task: str) -> bool:
        from envs.mpe.scenarios import unpublished_size

        return task in self.tasks() or unpublished_size(task) is not None

    def settings(self, task: str) -> type:
        from envs.mpe.settings import Settings

        return Settings

    def spec(self, task: str, settings: Any) -> EnvironmentSpec:
        from envs.mpe.scenarios import scenario
        from envs.mpe.settings import make_spec

        return make_spec(scenario(task), settings)

    def make(self, task: str, settings: Any, num_envs: int, device: torch.device) -> Environment:
        from envs.host import HOST, on_device
        from envs.mpe.environment import ParticleEnvironment
        from envs.mpe.scenarios import scenario

        if settings.backend == "numba":
            return on_device(ParticleEnvironment(scenario(task), settings, num_envs, HOST), device)
        return ParticleEnvironment(scenario(task), settings, num_envs, device)

    def reference_policies(self, task: str) -> dict[str, type[ReferencePolicy]]:
        from envs.mpe.reference_policies import reference_policies_for
        from envs.mpe.scenarios import scenario

        return reference_policies_for(scenario(task))

    def full_evaluation(self, task: str) -> dict[str, Any]:
        return {}

    def renderer(self, environment: Environment) -> Renderer | None:
        if "envs.mpe.environment" not in sys.modules:
            return None
        from envs.canvas import Renderer
        from envs.mpe import drawing

        return Renderer(drawing.PALETTE, drawing.draw_particles) if drawing.can_draw(environment) else None


class GamePlatform:
    """The `game/` tasks."""

    def tasks(self) -> tuple[str, ...]:
        from envs.games.names import TASKS

        return TASKS

    def exists(self, task: str) -> bool:
        from envs.games.names import exists

        return exists(task)

    def settings(self, task: str) -> type:
        from envs.games.settings import Settings

        return Settings

    def spec(self, task: str, settings: Any) -> EnvironmentSpec:
        from envs.games.games import game
        from envs.games.settings import make_spec

        return make_spec(game(task))

    def make(self, task: str, settings: Any, num_envs: int, device: torch.device) -> Environment:
        from envs.games.environment import GameEnvironment
        from envs.games.games import game

        return GameEnvironment(task, game(task), settings, num_envs, device)

    def reference_policies(self, task: str) -> dict[str, type[ReferencePolicy]]:
        from envs.games.games import game
        from envs.games.reference_policies import reference_policies_for

        return reference_policies_for(game(task))

    def full_evaluation(self, task: str) -> dict[str, Any]:
        return {}

    def renderer(self, environment: Environment) -> Renderer | None:
        return None


class TrafficPlatform:
    """The `cityflow/` tasks."""

    def tasks(self) -> tuple[str, ...]:
        from envs.traffic_names import CONFIGURED, TASKS

        return (*TASKS, *CONFIGURED)

    def exists(self, task: str) -> bool:
        from envs.traffic_names import exists

        return exists(task)

    def settings(self, task: str) -> type:
        from envs.traffic.settings import Settings

        return Settings

    def spec(self, task: str, settings: Any) -> EnvironmentSpec:
        from envs.traffic.tasks import make_spec

        return make_spec(task, settings)

    def make(self, task: str, settings: Any, num_envs: int, device: torch.device) -> Environment:
        from envs.host import HOST, on_device
        from envs.traffic.environment import TrafficEnvironment

        return on_device(TrafficEnvironment(task, settings, num_envs, HOST), device)

    def reference_policies(self, task: str) -> dict[str, type[ReferencePolicy]]:
        from envs.traffic.reference_policies import REFERENCE_POLICIES

        return REFERENCE_POLICIES

    def full_evaluation(self, task: str) -> dict[str, Any]:
        from envs.traffic_names import FULL_SECONDS

        return {"episode_seconds": FULL_SECONDS}

    def renderer(self, environment: Environment) -> Renderer | None:
        if "envs.traffic.environment" not in sys.modules:
            return None
        from envs.canvas import Renderer
        from envs.traffic import drawing

        return Renderer(drawing.PALETTE, drawing.draw_traffic) if drawing.can_draw(environment) else None


class JunglePlatform:
    """The `magent/` tasks."""

    def tasks(self) -> tuple[str, ...]:
        from envs.jungle.rules import TASKS

        return TASKS

    def exists(self, task: str) -> bool:
        from envs.jungle.rules import exists

        return exists(task)

    def settings(self, task: str) -> type:
        from envs.jungle.settings import Settings

        return Settings

    def spec(self, task: str, settings: Any) -> EnvironmentSpec:
        from envs.jungle.rules import jungle
        from envs.jungle.settings import make_spec

        return make_spec(jungle(task), settings)

    def make(self, task: str, settings: Any, num_envs: int, device: torch.device) -> Environment:
        from envs.host import HOST, on_device
        from envs.jungle.environment import JungleEnvironment
        from envs.jungle.rules import jungle

        if settings.backend in ("numba", "magent2"):
            return on_device(JungleEnvironment(jungle(task), settings, num_envs, HOST), device)
        return JungleEnvironment(jungle(task), settings, num_envs, device)

    def reference_policies(self, task: str) -> dict[str, type[ReferencePolicy]]:
        from envs.jungle.reference_policies import REFERENCE_POLICIES

        return REFERENCE_POLICIES

    def full_evaluation(self, task: str) -> dict[str, Any]:
        return {}

    def renderer(self, environment: Environment) -> Renderer | None:
        if "envs.jungle.environment" not in sys.modules:
            return None
        from envs.canvas import Renderer
        from envs.jungle import drawing

        return Renderer(drawing.PALETTE, drawing.draw_jungle) if drawing.can_draw(environment) else None


class ForeignPlatform:
    """The `pettingzoo/` tasks: environments of other packages located by this process."""

    def tasks(self) -> tuple[str, ...]:
        from envs.foreign.names import FOUND

        return tuple(FOUND)

    def exists(self, task: str) -> bool:
        return task in self.tasks()

    def settings(self, task: str) -> type:
        from envs.foreign.settings import Settings

        return Settings

    def spec(self, task: str, settings: Any) -> EnvironmentSpec:
        from envs.foreign.settings import make_spec

        return make_spec(settings)

    def make(self, task: str, settings: Any, num_envs: int, device: torch.device) -> Environment:
        from envs.foreign.environment import ForeignEnvironment
        from envs.host import on_device

        return on_device(ForeignEnvironment(task, settings, num_envs), device)

    def reference_policies(self, task: str) -> dict[str, type[ReferencePolicy]]:
        from envs.foreign.reference_policies import REFERENCE_POLICIES

        return REFERENCE_POLICIES

    def full_evaluation(self, task: str) -> dict[str, Any]:
        return {}

    def renderer(self, environment: Environment) -> Renderer | None:
        return None


PLATFORMS: dict[str, Platform] = {
    "mpe": ParticlePlatform(),
    "cityflow": TrafficPlatform(),
    "magent": JunglePlatform(),
    "game": GamePlatform(),
    "pettingzoo": ForeignPlatform(),
}
"""First part of a task's name -> platform."""
