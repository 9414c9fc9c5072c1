"""Any task as a PettingZoo parallel environment, for use with other libraries.

    from envs.pettingzoo import parallel_env
    environment = parallel_env("mpe/cooperative_navigation_3", render_mode="rgb_array", reward="local")
    observations, infos = environment.reset(seed=0)

Importing this module registers all tasks with PettingZoo:

    pettingzoo.make("parallel", "intention-propagation/mpe.cooperative_navigation_3-v0", reward="local")

The environment is a single copy of that of `envs.make` with the same random streams: equal seeds and actions give
equal results.
"""

from __future__ import annotations

import importlib.util
import secrets
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from pettingzoo import AECEnv, ParallelEnv

import envs
from envs.games.environment import GameEnvironment
from envs.protocols import EnvironmentSpec, Graph, Step

Infos = dict[str, dict[str, Any]]
NAMESPACE = "intention-propagation"
"""First part of the tasks' names in PettingZoo's registry."""


class ParallelEnvironment(ParallelEnv):
    """One copy of a task, with a dictionary entry for every agent: agent_0, agent_1, ...

    Actions are indices 0 to num_actions - 1, or, where they are continuous, vectors (action_dim,) from -1 to 1;
    observations are float32 vectors (feature,), rewards plain numbers. The info of an agent lists the indices of its
    neighbours under "neighbours". Where actions are missing for some agents, it also has an "action_mask"
    (int8, 1 for each available action), which `sample` of the agent's action space accepts. All agents are truncated
    together, after `max_cycles` steps or at the time limit of the task, whichever comes first.

    Raises what `envs.make` raises, and ValueError for an unknown `render_mode`, one for a task that cannot be
    rendered, or a `max_cycles` below 1.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  PettingZoo requires this name
        "name": "particle_task",
        "render_modes": ["rgb_array"],
        "render_fps": 10,
        "is_parallelizable": True,
    }

    def __init__(
        self, task: str, render_mode: str | None = None, max_cycles: int | None = None, **settings: Any
    ) -> None:
        modes = self.metadata["render_modes"]
        if render_mode is not None and render_mode not in modes:
            raise ValueError(f"render_mode must be None or one of {', '.join(map(repr, modes))}, not {render_mode!r}")
        if max_cycles is not None and max_cycles < 1:
            raise ValueError(f"max_cycles must be None or at least 1, not {max_cycles}")
        self.environment = envs.make(task, num_envs=1, **settings)
        if render_mode is not None and isinstance(self.environment, GameEnvironment):
            raise ValueError(f"{task} cannot be rendered: omit render_mode={render_mode!r}")
        self.metadata = {**self.metadata, "name": task}
        self.render_mode = render_mode
        spec = self.environment.spec
        self.possible_agents = [f"agent_{i}" for i in range(spec.num_agents)]
        self.agents: list[str] = []
        self.observation_spaces = {name: _unbounded(spec.observation_dim) for name in self.possible_agents}
        self.action_spaces: dict[str, Box | Discrete] = {name: _action_space(spec) for name in self.possible_agents}
        self._masks = np.array(spec.action_mask, np.int8)
        self.state_space = _unbounded(spec.num_agents * spec.observation_dim)
        self._last_step = min(max_cycles or spec.episode_length, spec.episode_length)
        self._time = 0
        self._observation: np.ndarray | None = None

    def observation_space(self, agent: str) -> Box:
        """The same object every time."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Box | Discrete:
        """The same object every time, so that it can be seeded."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], Infos]:
        """Begin an episode. A seed restarts the random streams; None continues them or, at the first reset, starts from
        a random seed. There are no `options`; they are ignored, as PettingZoo expects.
        """
        if seed is None and self._observation is None:
            seed = secrets.randbelow(2**63)
        step = self.environment.reset(None if seed is None else int(seed))
        self.agents = list(self.possible_agents)
        self._time = 0
        return self._keep(step), self._infos(step.graph)

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[dict[str, np.ndarray], dict[str, float], dict[str, bool], dict[str, bool], Infos]:
        """Observations, rewards, terminations, truncations and infos of all agents.

        Raises RuntimeError before the first reset and after the end of an episode, ValueError for actions that are
        not one index, or one vector from -1 to 1, for every agent.
        """
        if not self.agents:
            raise RuntimeError("the episode has not begun or is over: call reset() first")
        step = self.environment.step(self._joined(actions))
        self._time += 1
        terminated = bool(step.terminated[0])
        truncated = not terminated and (bool(step.truncated[0]) or self._time >= self._last_step)
        rewards = dict(zip(self.agents, step.reward[0].tolist(), strict=True))
        names, observations, infos = self.agents, self._keep(step), self._infos(step.graph)
        if terminated or truncated:
            self.agents = []
        return observations, rewards, dict.fromkeys(names, terminated), dict.fromkeys(names, truncated), infos

    def state(self) -> np.ndarray:
        """The concatenated observations of all agents, (num_agents * observation_dim,) float32."""
        if self._observation is None:
            raise RuntimeError("there is no state yet: call reset() first")
        return self._observation.reshape(-1).copy()

    def render(self) -> np.ndarray | None:
        """A frame (height, width, 3), uint8; None, with a warning, if no `render_mode` was given."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() returns None because no render_mode was given; use 'rgb_array'")
            return None
        from envs.drawing import draw  # here, so that training through this adapter does not need Pillow

        return draw(self.environment)

    def close(self) -> None:
        """Does nothing: no resources are held."""

    def _joined(self, actions: dict[str, Any]) -> torch.Tensor:
        """The actions of all agents in order, (1, agent) or (1, agent, action_dim)."""
        wrong = set(actions) ^ set(self.agents)
        if wrong:
            raise ValueError(
                f"expected one action for each of {self.agents[0]} to {self.agents[-1]}; "
                f"missing or unknown: {', '.join(sorted(map(str, wrong)))}"
            )
        spec = self.environment.spec
        for name, action in actions.items():
            if spec.action_dim and not _is_vector(action, spec.action_dim):
                raise ValueError(f"the action of {name} is {action!r}; expected {spec.action_dim} numbers from -1 to 1")
            if not spec.action_dim and not self.action_spaces[name].contains(action):
                last = spec.num_actions - 1
                raise ValueError(f"the action of {name} is {action!r}; expected a whole number from 0 to {last}")
        if spec.action_dim:
            return torch.from_numpy(np.stack([np.asarray(actions[name], np.float32) for name in self.agents]))[None]
        return torch.tensor([[int(actions[name]) for name in self.agents]])

    def _keep(self, step: Step) -> dict[str, np.ndarray]:
        """Keep the observations for `state` and return copies by agent."""
        self._observation = step.observation[0].cpu().numpy().astype(np.float32)
        return dict(zip(self.possible_agents, self._observation.copy(), strict=True))

    def _infos(self, graph: Graph) -> Infos:
        neighbours, masks = graph.neighbours[0].tolist(), graph.mask[0].tolist()
        infos: Infos = {
            name: {"neighbours": [j for j, present in zip(indices, mask, strict=True) if present]}
            for name, indices, mask in zip(self.possible_agents, neighbours, masks, strict=True)
        }
        if self.environment.spec.action_mask:
            for info, mask in zip(infos.values(), self._masks, strict=True):
                info["action_mask"] = mask.copy()
        return infos


def parallel_env(
    task: str, render_mode: str | None = None, max_cycles: int | None = None, **settings: Any
) -> ParallelEnvironment:
    """The factory function of PettingZoo modules, with the arguments of `ParallelEnvironment`."""
    return ParallelEnvironment(task, render_mode, max_cycles, **settings)


def _action_space(spec: EnvironmentSpec) -> Box | Discrete:
    return Box(-1.0, 1.0, (spec.action_dim,), np.float32) if spec.action_dim else Discrete(spec.num_actions)


def _is_vector(action: Any, size: int) -> bool:
    """Whether `action` is an array or list of `size` numbers from -1 to 1, of any type of numbers."""
    try:
        vector = np.asarray(action, np.float32)
    except (TypeError, ValueError):
        return False
    return vector.shape == (size,) and bool((np.abs(vector) <= 1).all())  # also rejects NaN


def _unbounded(size: int) -> Box:
    return Box(-np.inf, np.inf, (size,), np.float32)


def aec_env(task: str, render_mode: str | None = None, max_cycles: int | None = None, **settings: Any) -> AECEnv:
    """The task as an AEC environment, in which agents take turns, made by PettingZoo's converter."""
    from pettingzoo.utils import parallel_to_aec

    return parallel_to_aec(parallel_env(task, render_mode, max_cycles, **settings))


def registered_name(task: str) -> str:
    """The name of a task in PettingZoo's registry: mpe/cooperative_navigation_3 is
    intention-propagation/mpe.cooperative_navigation_3-v0."""
    return f"{NAMESPACE}/{task.replace('/', '.')}-v0"


def register_tasks() -> None:
    """Register every listed task in PettingZoo's parallel and AEC registries; importing this module does so. Does
    nothing for versions of PettingZoo without a registry."""
    if importlib.util.find_spec("pettingzoo.env_registry") is None:
        return
    from pettingzoo import aec_registry, parallel_registry, register

    makers = {"parallel": (parallel_registry, "parallel_env"), "aec": (aec_registry, "aec_env")}
    for task in envs.tasks():
        if task.startswith("pettingzoo/"):  # an environment that comes from PettingZoo
            continue
        for kind, (registry, maker) in makers.items():
            name = registered_name(task)
            if name not in registry:
                register(kind, name, f"{__name__}:{maker}", kwargs={"task": task})


register_tasks()
