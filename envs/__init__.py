"""Batched multi-agent environments.

    import envs
    environment = envs.make("mpe/cooperative_navigation_30", num_envs=4)
    step = environment.reset(seed=0)

`envs.tasks()` lists the tasks, `envs.settings(task)` what can be set, `envs.spec(task)` what a learner must know,
`envs.controllers(task)` the reference policies.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from envs.errors import EnvironmentNotAvailableError, UnknownTaskError
from envs.platforms import PLATFORMS, Platform

if TYPE_CHECKING:
    import torch

    from envs.protocols import Controller, Environment, EnvironmentSpec

__all__ = [
    "EnvironmentNotAvailableError",
    "UnknownTaskError",
    "controllers",
    "full_evaluation",
    "make",
    "settings",
    "spec",
    "tasks",
]


def tasks() -> tuple[str, ...]:
    """The names `make` accepts, sorted. Some can be made in other sizes, too:
    game/ring_30, cityflow/synthetic_16, magent/jungle_40."""
    return tuple(sorted(task for platform in PLATFORMS.values() for task in platform.tasks()))


def settings(task: str) -> type:
    """The dataclass of a task's settings: its fields are what `make` accepts, with their defaults."""
    return _platform(task).settings(task)


def make(task: str, num_envs: int, device: str | torch.device = "cpu", **settings_given: Any) -> Environment:
    """`num_envs` copies of `task` in lockstep on `device`.

    Raises UnknownTaskError for a name that there is not, EnvironmentNotAvailableError for a task whose data or program
    is not on this machine, TypeError or ValueError for settings that `settings(task)` does not accept.
    """
    chosen = _settings(task, settings_given)
    import torch

    return _platform(task).make(task, chosen, num_envs, torch.device(device))


def spec(task: str, **settings_given: Any) -> EnvironmentSpec:
    """The `EnvironmentSpec` that `make` would give, without building anything."""
    return _platform(task).spec(task, _settings(task, settings_given))


def controllers(task: str) -> dict[str, type[Controller]]:
    """The reference policies of a task by name; each is made as `controller(environment)`."""
    return _platform(task).controllers(task)


def full_evaluation(task: str) -> dict[str, Any]:
    """Settings, over those of training, of a longer evaluation at the end of a run: the whole hour of traffic tasks.
    Empty where there is none."""
    return _platform(task).full_evaluation(task)


def _settings(task: str, given: dict[str, Any]) -> Any:
    kind = settings(task)
    unknown = sorted(set(given) - set(kind.__dataclass_fields__))  # type: ignore[attr-defined]
    if unknown:
        raise TypeError(
            f"{task} has no setting {', '.join(unknown)}; it has {', '.join(kind.__dataclass_fields__)}"  # type: ignore[attr-defined]
        )
    return kind(**given)


def _platform(task: str) -> Platform:
    """What makes the task. Raises UnknownTaskError, saying which there are."""
    name = task.partition("/")[0]
    if name in PLATFORMS and PLATFORMS[name].exists(task):
        return PLATFORMS[name]
    close = difflib.get_close_matches(task, tasks(), n=3)
    hint = f"; did you mean {' or '.join(close)}?" if close else "."
    raise UnknownTaskError(f"there is no task {task!r}{hint} envs.tasks() lists all of them")
