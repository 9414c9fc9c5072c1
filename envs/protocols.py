"""The seam between environments and everything else: what a batch of tasks in lockstep looks like.

An environment holds `num_envs` independent copies of one task. All copies start and end their episodes together, after
exactly `spec.episode_length` steps. Tensors go in and out; there are no dictionaries per agent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from envs.shapes import Bool, Float, Int


@dataclass(frozen=True, slots=True)
class EnvironmentSpec:
    """What a learner must know to build its networks."""

    num_agents: int
    observation_dim: int
    num_actions: int
    """Number of discrete actions of each agent; 0 where actions are continuous."""
    episode_length: int
    """Environment steps until truncation."""
    max_neighbours: int
    """Width of the neighbour lists."""
    agent_kinds: tuple[int, ...]
    """Kind of each agent, 0, 1, ...: kinds have their own observation encoder (paper B.2)."""
    static_graph: bool = False
    """True where the neighbour lists never change (a road network)."""
    action_dim: int = 0
    """Size of each agent's continuous action, a vector in [-1, 1]; 0 where actions are discrete."""
    relaxed_actions: bool = False
    """Whether `step` also takes vectors over the discrete actions (env, agent, action), such as relaxed one-hots."""
    action_mask: tuple[tuple[bool, ...], ...] = ()
    """Which discrete actions each agent has (agent, action), the same all the time; empty: all agents have all. A
    learner never takes an action that its agent lacks, nor gives it any weight in a vector."""

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
    """Who hears whom: lists without the agent itself and without repetition. Slots beyond an agent's degree are masked;
    their index is 0 and must not be used.

    One graph that serves a whole batch, such as a road network, should be expanded over it (both tensors with stride 0)
    and not copied: learners then prepare it once."""

    neighbours: Int[Tensor, "*batch agent neighbour"]
    mask: Bool[Tensor, "*batch agent neighbour"]


class Step(NamedTuple):
    """What an environment returns, at reset and after every action."""

    observation: Float[Tensor, "env agent feature"]
    graph: Graph
    reward: Float[Tensor, "env agent"]
    """Zero at reset."""
    terminated: Bool[Tensor, " env"]
    """The task ended: no bootstrapping."""
    truncated: Bool[Tensor, " env"]
    """The time limit was reached: bootstrapping goes on."""


class Environment(Protocol):
    """A batch of equal tasks in lockstep, on one device."""

    spec: EnvironmentSpec
    num_envs: int
    device: torch.device

    def reset(self, seed: int | None = None) -> Step:
        """Begin new episodes in all copies. A seed restarts every random stream of the environment, so that equal
        seeds give equal episodes; None draws the next episodes of the running streams."""
        ...

    def step(self, actions: Tensor) -> Step:
        """Advance all copies. Actions are action indices (env, agent), or, with `spec.relaxed_actions`, vectors over
        the actions (env, agent, action), or, with `spec.action_dim`, continuous vectors (env, agent, action); none that
        `spec.action_mask` denies. Raises RuntimeError after the end of an episode until `reset` is called."""
        ...

    def scores(self) -> dict[str, Float[Tensor, " env"]]:
        """Scores of the running episodes by name. `return` is always there and is the reported score: higher is
        better, and it does not depend on the reward mode that is learned from."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue exactly, random streams included: tensors and plain numbers only."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`; the next step equals the one the saved environment would have made, bit for bit."""
        ...


@runtime_checkable
class Interpretable(Protocol):
    """An environment that also keeps account of what agents do and what they are up against."""

    def take_statistics(self) -> dict[str, dict[str, float]]:
        """Sums since the last call, over copies, agents and steps, by kind and name; part of `state_dict` like all
        else."""
        ...


@runtime_checkable
class Threaded(Protocol):
    """An environment whose copies can be stepped by several threads, with the same results."""

    def use_threads(self, count: int | None) -> None:
        """At most `count` threads from now on; None: one for every core. Raises ValueError below 1."""


@runtime_checkable
class Capturable(Protocol):
    """An environment whose steps can be recorded once and replayed, as CUDA graphs are.

    Its `step` is `advance`, with checks before it and plain numbers counted after it. Where `capturable`, all that
    `advance` reads and changes is in tensors that stay where they are, from one episode to the next, too.
    """

    capturable: bool
    """Whether the engine in use works on tensors alone."""

    def advance(self, actions: Tensor) -> Step:
        """The part of `step` that is on tensors. Actions are not checked."""
        ...

    def count_step(self) -> None:
        """The part of `step` that is plain numbers, for a step whose `advance` is replayed. Raises RuntimeError after
        the end of an episode until `reset` is called."""
        ...


@runtime_checkable
class Replayed(Protocol):
    """An environment whose state cannot be saved: `load_state_dict` takes the actions of the running episode again."""

    continued: bool
    """Whether this led to the same observations; if not, nobody can go on, and a new episode has to be begun."""


class ReferencePolicy(Protocol):
    """A reference policy made for one environment."""

    def __init__(self, environment: Environment) -> None: ...

    def act(self, generator: torch.Generator) -> Tensor:
        """Actions for the environment's present state, in a form that its `step` takes."""
        ...
