"""Tasks from `pettingzoo:package.module:function`: imports the function, calls it and inspects the environment.

Environments that do not meet the requirements are rejected here with a one-line error, before any training. This module
does not import torch, because worker processes use it as well.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import importlib.metadata
import inspect
import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from envs.errors import EnvironmentNotAvailableError, ForeignEnvironmentError, UnknownTaskError
from envs.fields import closest
from envs.foreign.names import FOUND, PREFIX
from envs.foreign.settings import Settings

MOST_STEPS = 10_000
"""Number of steps after which an environment that has not ended is assumed to have no time limit."""
MOST_ACTIONS = 256
"""Maximum number of discrete actions; replay buffers store them in a byte."""
PROBE_STEPS = 5
"""Number of steps over which two copies with the same seed must agree."""
SETTINGS = tuple(field.name for field in dataclasses.fields(Settings))


class Facts(NamedTuple):
    """Properties of an environment that hold for all agents at all times."""

    agents: tuple[str, ...]
    observation_dim: int
    num_actions: int
    """Number of discrete actions; 0 if actions are continuous."""
    first_action: int
    low: tuple[float, ...]
    """Lower bounds of a continuous action, flattened, as are the upper bounds in `high`; empty for discrete actions."""
    high: tuple[float, ...]
    action_shape: tuple[int, ...]
    action_mask: tuple[tuple[bool, ...], ...]


def locate(task: str, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and settings of the task given by `task`, either `pettingzoo:...` or a name with a `source` in the settings.
    Settings that are not fields of `Settings` become `arguments`.

    Raises EnvironmentNotAvailableError if the package is missing, UnknownTaskError if `task` names another environment
    than the settings do, and ForeignEnvironmentError if the environment does not meet the requirements.
    """
    source = task.removeprefix(PREFIX) if task.startswith(PREFIX) else str(given["source"])
    creator = creator_of(source)
    arguments = parse_arguments(str(given.get("arguments") or ""))
    for key, value in given.items():
        if key not in SETTINGS:
            arguments[key] = _read(value, _parameters(source).get(key)) if isinstance(value, str) else value
    _require_arguments(source, creator, arguments)
    text = join_arguments(arguments)
    module, _, function = source.partition(":")
    name = f"pettingzoo/{module}_{function}_{len(facts_of(source, text).agents)}"
    if not task.startswith(PREFIX) and name != task:
        raise UnknownTaskError(
            f"{source} is the task {name}, not {task}: leave the setting source out, or name that task"
        )
    package, expected = package_of(module), str(given.get("package") or "")
    if expected and package != expected:
        raise ForeignEnvironmentError(
            f"{source} is from {package}, that of the run {expected}: install that version, or start new runs with "
            "another --results folder"
        )
    FOUND[name] = source
    kept = {key: value for key, value in given.items() if key in SETTINGS}
    return name, kept | {"source": source, "package": package} | ({"arguments": text} if text else {})


def creator_of(source: str) -> Callable[..., Any]:
    """The function that creates the environment. Raises EnvironmentNotAvailableError if its package is not installed,
    and ForeignEnvironmentError if the module cannot be imported or has no such function."""
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", source):
        raise ForeignEnvironmentError(
            f"{PREFIX}{source}: expected {PREFIX}package.module:function, such as "
            f"{PREFIX}mpe2.simple_spread_v3:parallel_env"
        )
    module, _, function = source.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:  # as for the commands of an installed project
        sys.path.append(here)
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        lost = error.name or module
        what = "there is no module" if module == lost or module.startswith(f"{lost}.") else f"{module} needs the module"
        raise EnvironmentNotAvailableError(
            f"{PREFIX}{source}: {what} {lost}; install its package, or put it in {here} or on PYTHONPATH"
        ) from error
    except Exception as error:
        raise ForeignEnvironmentError(f"{PREFIX}{source}: importing {module} fails: {_words(error)}") from error
    creator = getattr(found, function, None)
    if not callable(creator):
        names = [name for name in dir(found) if callable(getattr(found, name)) and not name.startswith("_")]
        hint = closest(function, names) or f"it has {', '.join(names[:8]) or 'none'}"
        raise ForeignEnvironmentError(f"{PREFIX}{source}: {module} has no function {function}; {hint}")
    return creator


def make_environment(source: str, arguments: str) -> Any:
    """A new environment. Raises ForeignEnvironmentError if the function fails or does not return a parallel
    environment."""
    creator = creator_of(source)
    try:
        environment = creator(**parse_arguments(arguments))
    except Exception as error:
        call = f"{source}({arguments.replace(',', ', ')})"
        raise ForeignEnvironmentError(f"{PREFIX}{source}: {call} fails: {_words(error)}") from error
    if hasattr(environment, "agent_iter"):
        raise ForeignEnvironmentError(
            f"{PREFIX}{source}: agents take turns in this environment; expected a parallel one, such as the module's "
            "parallel_env, or the result of pettingzoo.utils.aec_to_parallel"
        )
    parts = ("possible_agents", "observation_space", "action_space", "reset", "step")
    lacking = [name for name in parts if getattr(environment, name, None) is None]
    if lacking:
        raise ForeignEnvironmentError(
            f"{PREFIX}{source}: made a {type(environment).__name__} without {', '.join(lacking)}; expected a "
            "PettingZoo ParallelEnv"
        )
    return environment


@functools.cache
def facts_of(source: str, arguments: str) -> Facts:
    """Agents and spaces of an environment, which is created twice and played for a few steps.

    Raises ForeignEnvironmentError if agents are not fixed, if their spaces differ or are of an unsupported kind, or if
    equal seeds do not give equal episodes.
    """
    where = f"{PREFIX}{source}"
    environment = make_environment(source, arguments)
    agents = tuple(environment.possible_agents)
    if not agents:
        raise ForeignEnvironmentError(f"{where}: there are no possible_agents; expected at least one")
    observations = {agent: environment.observation_space(agent) for agent in agents}
    actions = {agent: environment.action_space(agent) for agent in agents}
    for what, spaces, kinds in (("observations", observations, ("Box",)), ("actions", actions, ("Box", "Discrete"))):
        for agent, space in spaces.items():
            if type(space).__name__ not in kinds:
                raise ForeignEnvironmentError(
                    f"{where}: {what} of {agent} are {type(space).__name__}; expected {' or '.join(kinds)}: wrap the "
                    "environment in a function that converts them"
                )
            first = spaces[agents[0]]
            same = space.shape == first.shape if what == "observations" else space == first
            if not same:
                raise ForeignEnvironmentError(
                    f"{where}: {what} of {agents[0]} and {agent} differ, {_shown(first)} and "
                    f"{_shown(space)}; expected equal spaces for all agents"
                )
    _, infos = environment.reset(seed=0)
    if set(environment.agents) != set(agents):
        raise ForeignEnvironmentError(
            f"{where}: {len(environment.agents)} of {len(agents)} agents are present at first; expected fixed agents"
        )
    shape, action = observations[agents[0]].shape, actions[agents[0]]
    discrete = type(action).__name__ == "Discrete"
    if discrete and action.n > MOST_ACTIONS:
        raise ForeignEnvironmentError(f"{where}: {action.n} actions; expected at most {MOST_ACTIONS}")
    if not discrete and not (np.isfinite(action.low).all() and np.isfinite(action.high).all()):
        raise ForeignEnvironmentError(f"{where}: actions have no bounds; expected a Box with finite low and high")
    facts = Facts(
        agents,
        max(1, math.prod(shape)),
        int(action.n) if discrete else 0,
        int(action.start) if discrete else 0,
        () if discrete else tuple(action.low.flatten().tolist()),
        () if discrete else tuple(action.high.flatten().tolist()),
        () if discrete else tuple(action.shape),
        mask_of(infos, agents) if discrete else (),
    )
    _require_equal_episodes(where, environment, make_environment(source, arguments), facts)
    return facts


def mask_of(infos: Mapping[str, Any], agents: tuple[str, ...]) -> tuple[tuple[bool, ...], ...]:
    """Mask of each agent's actions, from "action_mask" in the infos; empty if all agents have all actions."""
    masks = [infos.get(agent, {}).get("action_mask") for agent in agents]
    if any(mask is None for mask in masks) or all(np.asarray(mask).all() for mask in masks):
        return ()
    return tuple(tuple(bool(there) for there in np.asarray(mask)) for mask in masks)


@functools.cache
def time_limit(source: str, arguments: str) -> int:
    """Number of steps after which an environment truncates its episodes. Raises ForeignEnvironmentError if episodes end
    otherwise or not at all."""
    environment, facts, generator = make_environment(source, arguments), facts_of(source, arguments), _generator()
    environment.reset(seed=0)
    for step in range(1, MOST_STEPS + 1):
        _, _, terminated, truncated, _ = environment.step(_random_actions(facts, generator))
        if all(truncated.values()):
            return step
        if any(terminated.values()):
            raise ForeignEnvironmentError(
                f"{PREFIX}{source}: a random episode terminated after {step} steps, so its time limit is "
                "unknown: set it with --set environment.episode_length=STEPS"
            )
    raise ForeignEnvironmentError(
        f"{PREFIX}{source}: an episode continues after {MOST_STEPS} steps: set its length with --set "
        "environment.episode_length=STEPS"
    )


def to_action(facts: Facts, action: np.ndarray) -> Any:
    """An agent's action, an index or a vector in [-1, 1], converted to the environment's action space."""
    if facts.num_actions:
        return int(action) + facts.first_action
    low, high = np.array(facts.low, np.float32), np.array(facts.high, np.float32)
    scaled = low + (action.astype(np.float32) + 1) * (high - low) / 2
    return np.clip(scaled, low, high).reshape(facts.action_shape)


def _random_actions(facts: Facts, generator: np.random.Generator) -> dict[str, Any]:
    actions = {}
    for i, agent in enumerate(facts.agents):
        there = np.flatnonzero(facts.action_mask[i]) if facts.action_mask else np.arange(facts.num_actions)
        drawn = generator.choice(there) if facts.num_actions else generator.uniform(-1, 1, len(facts.low))
        actions[agent] = to_action(facts, np.asarray(drawn))
    return actions


def _generator() -> np.random.Generator:
    return np.random.default_rng(0)


def _require_equal_episodes(where: str, first: Any, second: Any, facts: Facts) -> None:
    """Raise ForeignEnvironmentError if two copies with the same seed and actions behave differently."""
    generator = _generator()
    seen = [environment.reset(seed=1)[0] for environment in (first, second)]
    for step in range(PROBE_STEPS + 1):
        if any(not np.array_equal(seen[0].get(agent), seen[1].get(agent)) for agent in facts.agents):
            raise ForeignEnvironmentError(
                f"{where}: reset(seed=1) gave episodes that differ after {step} steps; expected all its random "
                "numbers to come from a generator that reset(seed) seeds"
            )
        if not first.agents:
            return
        if odd := set(first.agents) ^ set(facts.agents):
            raise ForeignEnvironmentError(
                f"{where}: {min(odd, key=str)} came or went at step {step}; expected the same {len(facts.agents)} "
                "agents throughout"
            )
        actions = _random_actions(facts, generator)
        seen = [environment.step(actions)[0] for environment in (first, second)]


def parse_arguments(text: str) -> dict[str, Any]:
    """The dictionary written as `N=3,name="a"`. Raises ForeignEnvironmentError if the text is malformed."""
    arguments: dict[str, Any] = {}
    rest = text
    while rest:
        key, _, rest = rest.partition("=")
        try:
            value, end = json.JSONDecoder().raw_decode(rest)
        except json.JSONDecodeError:
            value, end = None, -1
        if end < 0 or not key.isidentifier() or rest[end : end + 1] not in ("", ","):
            raise ForeignEnvironmentError(
                f"arguments={text}: expected comma-separated name=value pairs with JSON values, such as "
                "N=3,continuous_actions=false"
            )
        arguments[key], rest = value, rest[end + 1 :]
    return arguments


def join_arguments(arguments: Mapping[str, Any]) -> str:
    """The text that `parse_arguments` reads, sorted by name. Raises ForeignEnvironmentError for values that JSON cannot
    express."""
    try:
        return ",".join(f"{key}={json.dumps(arguments[key], separators=(',', ':'))}" for key in sorted(arguments))
    except TypeError as error:
        raise ForeignEnvironmentError(
            f"{error}: expected arguments that are strings, numbers, true, false, none or lists: write a "
            "function that creates the others"
        ) from error


def package_of(module: str) -> str:
    """Name and version of the distribution that contains a module, or the SHA-256 of its file if there is none."""
    found = importlib.metadata.packages_distributions().get(module.partition(".")[0])
    if found:
        return f"{found[0]}=={importlib.metadata.version(found[0])}"
    file = getattr(sys.modules[module], "__file__", None)
    return f"sha256:{hashlib.sha256(Path(file).read_bytes()).hexdigest()}" if file else "unknown"


@functools.cache
def _parameters(source: str) -> dict[str, inspect.Parameter]:
    """Parameters of the function that creates the environment, or of the module's `raw_env`, to which PettingZoo's
    modules forward them; empty if arbitrary arguments are accepted."""
    creator = creator_of(source)
    raw = getattr(sys.modules[source.partition(":")[0]], "raw_env", None)
    for function in (creator, raw):
        parameters = dict(inspect.signature(function).parameters) if callable(function) else {}
        if parameters and not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
            return parameters
        if not parameters and function is creator:
            return {}
    return {}


def _require_arguments(source: str, creator: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Raise ForeignEnvironmentError for an argument that the function does not accept."""
    names = list(_parameters(source))
    open_ended = not names and bool(inspect.signature(creator).parameters)
    for key in arguments:
        if not open_ended and key not in names:
            hint = (
                closest(key, [*names, *SETTINGS])
                or f"arguments: {', '.join(names) or 'none'}; settings: {', '.join(SETTINGS)}"
            )
            raise ForeignEnvironmentError(f"--set environment.{key}: {source} has no such argument; {hint}")


def _read(text: str, parameter: inspect.Parameter | None) -> Any:
    """The value of a command-line text for a parameter: the text itself if the parameter is a string, otherwise the
    JSON value if it is one; none, true and false are recognised in any letter case."""
    if parameter is not None and (isinstance(parameter.default, str) or parameter.annotation in (str, "str")):
        return text
    words = {"none": None, "true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _shown(space: Any) -> str:
    kind = type(space).__name__
    return f"{kind}({space.n})" if kind == "Discrete" else f"{kind}{tuple(space.shape)}"


def _words(error: BaseException) -> str:
    """The type and first line of an error."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__
