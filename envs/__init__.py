"""Batched multi-agent environments.

    import envs
    environment = envs.make("mpe/cooperative_navigation_30", num_envs=4)
    step = environment.reset(seed=0)

A task is given by name, by the path of a CityFlow configuration or its folder for a custom city, or as
`pettingzoo:package.module:function`, a function that returns a PettingZoo parallel environment.
`envs.tasks()` lists the tasks; `envs.settings(task)` gives the settings of a task, `envs.spec(task)` its specification
for learners, and `envs.reference_policies(task)` its reference policies.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envs.commands import end_quietly
from envs.errors import EnvironmentNotAvailableError, UnknownTaskError
from envs.fields import closest
from envs.platforms import PLATFORMS, Platform

if TYPE_CHECKING:
    import torch

    from envs.protocols import Environment, EnvironmentSpec, ReferencePolicy

__all__ = [
    "EnvironmentNotAvailableError",
    "UnknownTaskError",
    "full_evaluation",
    "locate",
    "make",
    "reference_policies",
    "settings",
    "spec",
    "tasks",
]

end_quietly()


def tasks() -> tuple[str, ...]:
    """The sorted names of the tasks, including custom cities that were made from configurations. Some tasks can also be
    made in other sizes, such as game/ring_30, cityflow/synthetic_16 and magent/jungle_40."""
    return tuple(sorted(task for platform in PLATFORMS.values() for task in platform.tasks()))


def locate(task: str, settings: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
    """The name of a task given by name or path, and its settings with those that locate its city.

    A path becomes the task `cityflow/<folder>_<signals>` in this process, and the settings `map`, `roadnet_sha256` and
    `flow_sha256` (and `lane_change`, where the configuration lets vehicles change lanes) are added unless they are
    given. With these settings, the name is enough to make the task in another process. All functions of this module
    call `locate`.

    `pettingzoo:package.module:function` becomes `pettingzoo/<package.module>_<function>_<agents>`, with the settings
    `source`, `arguments` and `package` (`envs.foreign.located`).

    An unknown name is returned unchanged. Raises TrafficFileError for a path without exactly one configuration, for
    files that are missing, malformed or different from those of the settings, and for a name that another city has;
    UnknownTaskError if `task` is not the name of the city that the settings locate.
    """
    given = dict(settings or {})
    if task.startswith("pettingzoo:") or given.get("source"):
        from envs.foreign.located import locate as located_elsewhere

        return located_elsewhere(task, given)
    path = given.get("map") if _looks_like_name(task) else task
    if not path:
        return task, given
    from envs.traffic.configured import configure
    from envs.traffic_names import CONFIGURED

    name = configure(str(path), *(str(given.get(sum_, "")) for sum_ in ("roadnet_sha256", "flow_sha256")))
    if path != task and name != task:
        raise UnknownTaskError(f"{path} is the task {name}, not {task}: omit the setting map, or use that name")
    city = CONFIGURED[name]
    added = {"map": city.config, "roadnet_sha256": city.roadnet_sha256, "flow_sha256": city.flow_sha256}
    return name, ({"lane_change": True} if city.lane_change else {}) | given | added


def _looks_like_name(task: str) -> bool:
    """Whether a text is meant as a name rather than a path. The name of a task always is."""
    platform = PLATFORMS.get(task.partition("/")[0])
    if platform is not None and platform.exists(task):
        return True
    path = Path(task).expanduser()
    return not (path.exists() or path.suffix in (".json", ".gz") or task.startswith((".", "/", "~")))


def settings(task: str) -> type:
    """The dataclass of a task's settings, which are the keyword arguments of `make` with their defaults."""
    task, _ = locate(task)
    return _platform(task).settings(task)


def make(task: str, num_envs: int, device: str | torch.device = "cpu", **settings_given: Any) -> Environment:
    """`num_envs` copies of `task` in lockstep on `device`.

    Raises what `locate` raises, EnvironmentNotAvailableError for a task whose data or program is not installed,
    and TypeError or ValueError for settings that `settings(task)` does not accept.
    """
    task, settings_given = locate(task, settings_given)
    chosen = _settings(task, settings_given)
    import torch

    return _platform(task).make(task, chosen, num_envs, torch.device(device))


def spec(task: str, **settings_given: Any) -> EnvironmentSpec:
    """The `EnvironmentSpec` of the environment that `make` would return, without building it."""
    task, settings_given = locate(task, settings_given)
    return _platform(task).spec(task, _settings(task, settings_given))


def reference_policies(task: str) -> dict[str, type[ReferencePolicy]]:
    """The reference policies of a task by name. Each class is instantiated with an environment."""
    task, _ = locate(task)
    return _platform(task).reference_policies(task)


def full_evaluation(task: str) -> dict[str, Any]:
    """Settings that differ from training for a longer evaluation at the end of a run: the full hour for traffic tasks.
    Empty if there is none."""
    task, _ = locate(task)
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
    """The platform of a task. Raises UnknownTaskError with a hint at existing tasks."""
    name = task.partition("/")[0]
    if name in PLATFORMS and PLATFORMS[name].exists(task):
        return PLATFORMS[name]
    hint = closest(task, tasks())
    raise UnknownTaskError(
        f"there is no task {task!r}{'; ' + hint if hint else '.'} envs.tasks() lists all of them; the path of a "
        "CityFlow configuration or of its folder, and pettingzoo:package.module:function, are also accepted"
    )
