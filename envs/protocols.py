"""The interface of environments: batches of tasks in lockstep.

An environment holds `num_envs` independent copies of one task. All copies start and end their episodes together, after
exactly `spec.episode_length` steps. Inputs and outputs are tensors; there are no dictionaries per agent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from envs.shapes import Bool, Float, Int


@dataclass(frozen=True, slots=True)
class EnvironmentSpec:
    """The specification of a task, from which a learner builds its networks."""

    num_agents: int
    observation_dim: int
    num_actions: int
    """Number of discrete actions of each agent; 0 where actions are continuous."""
    episode_length: int
    """Environment steps until truncation."""
    max_neighbours: int
    """Width of the neighbour lists (slots per agent)."""
    agent_kinds: tuple[int, ...]
    """Kind of each agent, 0, 1, ...; each kind has a separate observation encoder (paper B.2)."""
    static_graph: bool = False
    """True where the neighbour lists never change (a road network)."""
    action_dim: int = 0
    """Size of each agent's continuous action, a vector in [-1, 1]; 0 where actions are discrete."""
    relaxed_actions: bool = False
    """Whether `step` also accepts vectors over the discrete actions (env, agent, action), such as relaxed one-hots."""
    action_mask: tuple[tuple[bool, ...], ...] = ()
    """Mask of the discrete actions that each agent has (agent, action), constant over time; empty if all agents have
    all actions. A learner never takes a missing action nor gives it any weight in a vector."""

    def __post_init__(self) -> None:
        """Raises ValueError where `action_mask` does not fit the agents and their actions."""
        if not self.action_mask:
            return
        if not self.num_actions:
            raise ValueError("action_mask: continuous actions cannot be masked; leave it empty")
        if len(self.action_mask) != self.num_agents:
            raise ValueError(
                f"action_mask has {len(self.action_mask)} rows; expected one for each of {self.num_agents} agents"
            )
        for agent, row in enumerate(self.action_mask):
            if len(row) != self.num_actions or not all(isinstance(has, bool) for has in row):
                raise ValueError(
                    f"action_mask of agent {agent} is {row!r}; expected {self.num_actions} times True or False"
                )
            if not any(row):
                raise ValueError(f"action_mask of agent {agent} has no True: every agent needs at least one action")


class Graph(NamedTuple):
    """Neighbour lists, without the agent itself and without repetitions. Slots beyond an agent's degree are masked;
    their index is 0 and must not be used.

    A graph shared by a whole batch, such as a road network, should be expanded over it (both tensors with stride 0)
    instead of copied, so that learners prepare it once."""

    neighbours: Int[Tensor, "*batch agent neighbour"]
    mask: Bool[Tensor, "*batch agent neighbour"]


class Step(NamedTuple):
    """The output of an environment at reset and after every step."""

    observation: Float[Tensor, "env agent feature"]
    graph: Graph
    reward: Float[Tensor, "env agent"]
    """Rewards of the agents; zero at reset."""
    terminated: Bool[Tensor, " env"]
    """True where the task ended: targets do not bootstrap."""
    truncated: Bool[Tensor, " env"]
    """True where the time limit was reached: targets bootstrap."""


class Environment(Protocol):
    """A batch of copies of one task in lockstep on one device."""

    spec: EnvironmentSpec
    num_envs: int
    device: torch.device

    def reset(self, seed: int | None = None) -> Step:
        """Begin new episodes in all copies. A seed restarts every random stream of the environment, so that equal
        seeds give equal episodes; None continues the current streams."""
        ...

    def step(self, actions: Tensor) -> Step:
        """Advance all copies by one step. Actions are indices (env, agent); with `spec.relaxed_actions` also vectors
        over the actions (env, agent, action); with `spec.action_dim` continuous vectors (env, agent, action). Actions
        masked by `spec.action_mask` are not allowed. Raises RuntimeError after the end of an episode until `reset` is
        called."""
        ...

    def scores(self) -> dict[str, Float[Tensor, " env"]]:
        """Scores of the current episodes by name. The reported score is `return`, which every environment has: higher
        is better, and it does not depend on the reward mode used for learning."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue exactly, including random streams, as tensors and plain numbers only."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`; the next step is bitwise equal to that of the saved environment."""
        ...


@runtime_checkable
class Interpretable(Protocol):
    """An environment that also keeps statistics of the agents' actions and of the demand they face."""

    def take_statistics(self) -> dict[str, dict[str, float]]:
        """Sums over copies, agents and steps since the last call, by kind and name; part of `state_dict`."""
        ...


@runtime_checkable
class Threaded(Protocol):
    """An environment whose copies can be stepped by several threads, with the same results."""

    def use_threads(self, count: int | None) -> None:
        """Use at most `count` threads from now on; None for one per core. Raises ValueError below 1."""


@runtime_checkable
class Capturable(Protocol):
    """An environment whose steps can be captured as a CUDA graph.

    Its `step` is `advance`, with checks before it and Python counters after it. Where `capturable`, everything that
    `advance` reads and changes is in tensors at fixed addresses, across episodes as well.
    """

    capturable: bool
    """Whether the engine in use works on tensors only."""

    def advance(self, actions: Tensor) -> Step:
        """The part of `step` that operates on tensors. Actions are not checked."""
        ...

    def count_step(self) -> None:
        """The part of `step` that counts in Python, for a step whose `advance` was captured. Raises RuntimeError after
        the end of an episode until `reset` is called."""
        ...


@runtime_checkable
class Unsaveable(Protocol):
    """An environment whose state cannot be saved: `load_state_dict` repeats the actions of the current episode."""

    continued: bool
    """Whether this led to the same observations; if not, the episode cannot continue and a new one must be begun."""


class ReferencePolicy(Protocol):
    """A reference policy made for one environment."""

    def __init__(self, environment: Environment) -> None: ...

    def act(self, generator: torch.Generator) -> Tensor:
        """Actions for the environment's current state, in a form that its `step` accepts."""
        ...
