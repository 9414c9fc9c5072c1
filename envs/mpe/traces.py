"""Recorded traces of the published particle environments: one .npz file per task.

Axes: R episodes, T = 25 steps, E entities, n agents, q prey. State t is the state before step t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from envs.checks import why_unreadable
from envs.errors import TraceError
from envs.mpe.scenarios import (
    CONTACT_FORCE,
    CONTACT_MARGIN,
    DAMPING,
    EPISODE_LENGTH,
    NUM_ACTIONS,
    TIME_STEP,
    Scenario,
    scenario,
    task_of_recording,
)

DEFAULT_ACCELERATION = 5.0
"""Acceleration that the published code uses for agents without one (NaN in the files)."""


@dataclass(frozen=True, slots=True)
class Trace:
    """The contents of one file: full states, actions, and the outputs of the published environment."""

    scenario: Scenario
    position: np.ndarray
    """(R, T + 1, E, 2); `velocity` has the same shape."""
    velocity: np.ndarray
    action: np.ndarray
    """(R, T, n, 5) float32."""
    observation: np.ndarray
    """(R, T + 1, n, D) float32."""
    reward: np.ndarray
    """(R, T), the reward that every agent receives for step t."""
    episode_return: np.ndarray
    """(R,), n times the sum of the rewards."""
    constants: dict[str, np.ndarray]
    """The recorded constants of the task, by field name."""
    prey_force: np.ndarray | None
    """(R, T, q, 2); None for tasks without prey."""
    prey_observation: np.ndarray | None
    prey_logits: np.ndarray | None
    prey_uniform: np.ndarray | None
    """(R, T, q, 5), uniform numbers from which the Gumbel noise is computed; None for tasks without prey."""


def load_trace(path: Path) -> Trace:
    """Read and check a file. Raises TraceError with a one-line message if it is invalid."""
    arrays = _arrays(path)
    recorded_as = str(_field(path, arrays, "scenario"))
    try:
        task = scenario(task_of_recording(recorded_as))
    except KeyError as error:
        raise TraceError(f"{path}: records the unknown scenario {recorded_as!r}") from error
    return _trace(path, arrays, task)


def constant_errors(trace: Trace) -> list[str]:
    """A message for each recorded constant that differs from the scenario's."""
    task, num_moving = trace.scenario, trace.scenario.num_agents + trace.scenario.num_prey
    recorded: dict[str, Sequence[float] | float] = {
        "ent_size": task.size,
        "ent_mass": task.mass,
        "ent_movable": [entity < task.num_movable for entity in range(task.num_entities)],
        "ent_collide": task.collides,
        "ent_max_speed": task.max_speed,
        "ent_accel": (*task.acceleration, *(DEFAULT_ACCELERATION,) * (task.num_entities - num_moving)),
        "ent_is_agent": [entity < num_moving for entity in range(task.num_entities)],
        "ent_is_policy": [entity < task.num_agents for entity in range(task.num_entities)],
        "n_policy": task.num_agents,
        "dt": TIME_STEP,
        "damping": DAMPING,
        "contact_force": CONTACT_FORCE,
        "contact_margin": CONTACT_MARGIN,
    }
    missing = {"ent_max_speed": np.inf, "ent_accel": DEFAULT_ACCELERATION}
    wrong = []
    for name, expected in recorded.items():
        given, wanted = np.atleast_1d(trace.constants[name]).astype(np.float64), np.atleast_1d(expected).astype(float)
        given = np.where(np.isnan(given), missing.get(name, np.nan), given)
        if given.shape != wanted.shape:
            wrong.append(f"{name} is recorded for {given.shape} entities, the task has {wanted.shape}")
        elif (given != wanted).any():
            first = np.argmax(given != wanted)
            wrong.append(f"{name}[{first}] is recorded as {given[first]:g}, the task has {wanted[first]:g}")
    return wrong


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            if isinstance(file, np.lib.npyio.NpzFile):
                return {name: file[name] for name in file}
    except FileNotFoundError as error:
        raise TraceError(f"{path}: no such file") from error
    except Exception as error:  # damaged bytes make numpy, zipfile and zlib raise a dozen unrelated types
        raise TraceError(f"{path}: not a readable .npz file ({why_unreadable(error)})") from error
    raise TraceError(f"{path}: holds a single array instead of an .npz archive")


_CONSTANTS = ("size", "mass", "movable", "collide", "max_speed", "accel", "is_agent", "is_policy")
_SCALARS = ("n_policy", "dt", "damping", "contact_force", "contact_margin")


def _trace(path: Path, arrays: dict[str, np.ndarray], task: Scenario) -> Trace:
    episodes = _field(path, arrays, "pos").shape[0] if _field(path, arrays, "pos").ndim else 0
    if episodes < 1:
        raise TraceError(f"{path}: pos holds no episode")
    steps, states, agents, prey = EPISODE_LENGTH, EPISODE_LENGTH + 1, task.num_agents, task.num_prey

    def numbers(name: str, *shape: int) -> np.ndarray:
        return _numbers(path, arrays, name, (episodes, *shape))

    return Trace(
        scenario=task,
        position=numbers("pos", states, task.num_entities, 2),
        velocity=numbers("vel", states, task.num_entities, 2),
        action=numbers("act", steps, agents, NUM_ACTIONS).astype(np.float32),
        observation=numbers("obs", states, agents, task.observation_dim()),
        reward=numbers("reward_shared", steps),
        episode_return=numbers("episode_reward_printed"),
        constants={name: _field(path, arrays, name) for name in (*(f"ent_{c}" for c in _CONSTANTS), *_SCALARS)},
        prey_force=numbers("prey_u", steps, prey, 2) if prey else None,
        prey_observation=numbers("prey_obs", steps, prey, task.prey_observation_dim) if prey else None,
        prey_logits=numbers("prey_logits", steps, prey, NUM_ACTIONS) if prey else None,
        prey_uniform=numbers("prey_noise_uniform", steps, prey, NUM_ACTIONS) if prey else None,
    )


def _field(path: Path, arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    if name not in arrays:
        raise TraceError(f"{path}: the field {name} is missing")
    return arrays[name]


def _numbers(path: Path, arrays: dict[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    array = _field(path, arrays, name)
    if array.dtype.kind not in "fiu":
        raise TraceError(f"{path}: {name} holds {array.dtype} instead of numbers")
    if array.shape != shape:
        raise TraceError(f"{path}: {name} has the shape {array.shape} instead of {shape}")
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise TraceError(f"{path}: {name} is not finite at {where}")
    return array
