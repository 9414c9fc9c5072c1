"""A batch of copies of Jungle in lockstep."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from envs.checks import require_complete, require_copies, require_indices, require_integers
from envs.episodes import EpisodeCounter
from envs.jungle.kernels import NumbaEngine
from envs.jungle.placement import starting_cells
from envs.jungle.rules import TALLY, Jungle
from envs.jungle.settings import Settings, make_spec
from envs.jungle.tensors import TorchEngine
from envs.protocols import Graph, Step
from envs.shapes import Bool, Float, Int


class Engine(Protocol):
    """An engine that computes the steps of all copies."""

    def place(self, position: Int[Tensor, "env agent xy"], food: Int[Tensor, "env food xy"]) -> None:
        """Begin with agents and foods on the given cells, all distinct; tensors on the CPU or the engine's device."""
        ...

    @property
    def position(self) -> Int[Tensor, "env agent xy"]:
        """A copy of the agents' cells."""
        ...

    @property
    def last_position(self) -> Int[Tensor, "env agent xy"]:
        """A copy of the agents' cells before the last step."""
        ...

    def step(self, actions: Int[Tensor, "env agent"]) -> tuple[Float[Tensor, "env agent"], Float[Tensor, "env 4"]]:
        """Advance by one step; returns rewards (float32) and the totals over agents in `rules.TALLY` (float64)."""
        ...

    def look(self) -> tuple[Float[Tensor, "env agent feature"], Int[Tensor, "env agent neighbour"]]:
        """The observation of every agent (float32) and its nearest other agents, in new tensors."""
        ...


class JungleEnvironment:
    """`num_envs` copies of Jungle; implements `envs.protocols.Environment`.

    Actions are indices (env, agent) into {up, left, stay, right, down, hit up, hit left, hit right, hit down}. Attacks
    are resolved first, on the cells where agents stand; then agents move in the order of their numbers, each to a cell
    that is free at that point. No agent dies and no food is used up: agents survive 400 attacks, at most four per step,
    and food survives more.
    """

    def __init__(self, jungle: Jungle, settings: Settings, num_envs: int, device: torch.device) -> None:
        require_copies(num_envs)
        self.spec = make_spec(jungle, settings)
        self.jungle, self.settings, self.num_envs, self.device = jungle, settings, num_envs, device
        self._engine = self._make_engine(settings.engine(device))
        self.capturable = isinstance(self._engine, TorchEngine)
        shape = (num_envs, jungle.num_agents)
        self._mask = torch.ones(*shape, self.spec.max_neighbours, dtype=torch.bool, device=device)
        self._yes = torch.ones(num_envs, dtype=torch.bool, device=device)
        self._no = torch.zeros(num_envs, dtype=torch.bool, device=device)
        self._food = torch.zeros(num_envs, jungle.num_foods, 2, dtype=torch.int64)
        self._totals = torch.zeros(num_envs, len(TALLY), dtype=torch.float64, device=device)
        self._actions = torch.zeros(shape, dtype=torch.int64, device=device)
        self._acted = False
        """Whether `_actions` led to the current state."""
        self._counter = EpisodeCounter()
        self._time: int | None = None
        self._clock = torch.zeros(1, dtype=torch.int64, device=device)
        """A copy of the step count on the device, for captured steps."""

    @property
    def position(self) -> Int[Tensor, "env agent xy"]:
        """A copy of the agents' cells."""
        return self._engine.position

    @property
    def food(self) -> Int[Tensor, "env food xy"]:
        """A copy of the food's cells."""
        return self._food.clone().to(self.device)

    @property
    def last_actions(self) -> Int[Tensor, "env agent"] | None:
        """A copy of the last actions; None at the beginning of an episode and after `load_state_dict`."""
        return self._actions.clone() if self._acted else None

    @property
    def last_position(self) -> Int[Tensor, "env agent xy"] | None:
        """The agents' cells when they chose `last_actions`, on which attacks were resolved; None where these are
        None."""
        return self._engine.last_position if self._acted else None

    @property
    def time(self) -> int:
        """Number of steps taken in the current episodes."""
        return self._time or 0

    def reset(self, seed: int | None = None) -> Step:
        """Begin the next episodes or, given a seed (0 to 2^63 - 1), the first episodes of that seed."""
        episodes = self._counter.take(self.num_envs, seed)
        cells = starting_cells(self.jungle, self._counter.seed, episodes)
        return self._begin(cells[:, : self.jungle.num_agents], cells[:, self.jungle.num_agents :])

    def place(self, position: Int[Tensor, "env agent xy"], food: Int[Tensor, "env food xy"]) -> Step:
        """Begin episodes from given cells instead of drawn ones. Raises ValueError for cells that are not integers, not
        inside the wall or not distinct, and for the wrong shape."""
        given = {"position": (position, self.jungle.num_agents), "food": (food, self.jungle.num_foods)}
        for name, (cells, units) in given.items():
            shape = (self.num_envs, units, 2)
            if tuple(cells.shape) != shape or cells.is_floating_point():
                raise ValueError(f"{name}: {cells.dtype} of shape {tuple(cells.shape)}; expected integers {shape}")
        cells = torch.cat((position, food), dim=1).cpu().long()
        last = self.jungle.side - 2
        if ((cells < 1) | (cells > last)).any():
            raise ValueError(f"cells inside the wall have coordinates from 1 to {last}")
        numbers = (cells[..., 1] * self.jungle.side + cells[..., 0]).sort(dim=-1).values
        if (numbers.diff(dim=-1) == 0).any():
            raise ValueError("two units of a copy are on the same cell; give each a different one")
        return self._begin(cells[:, : self.jungle.num_agents], cells[:, self.jungle.num_agents :])

    def step(self, actions: Int[Tensor, "env agent"]) -> Step:
        """Advance all copies by one step.

        Raises RuntimeError after the end of an episode, and ValueError for actions of the wrong shape or type or, on a
        CPU, out of range.
        """
        self._require_running()
        require_integers(actions, (self.num_envs, self.spec.num_agents))
        require_indices(actions, self.spec.num_actions)
        step = self.advance(actions)
        self.count_step()
        return step

    def advance(self, actions: Int[Tensor, "env agent"]) -> Step:
        """The part of `step` that operates on tensors; see `envs.protocols.Capturable`."""
        self._actions.copy_(actions)
        reward, tally = self._engine.step(self._actions)
        self._totals += tally
        if self.settings.reward == "shared":
            reward = reward.mean(-1, keepdim=True).expand_as(reward).contiguous()
        return self._observe(reward, self._last_step())

    def count_step(self) -> None:
        """The part of `step` that counts in Python; see `envs.protocols.Capturable`."""
        self._require_running()
        self._time, self._acted = self.time + 1, True

    def _require_running(self) -> None:
        if self._time is None or self._time >= self.spec.episode_length:
            raise RuntimeError("the episodes have not begun or are over: call reset() first")

    def scores(self) -> dict[str, Float[Tensor, " env"]]:
        """Scores by name. `return` is the sum of the rewards of all agents so far, whatever the reward mode. The others
        are averages per agent: `return_per_agent`; `food_per_agent`, attacks on food; `attacks_per_agent`, attacks on
        other agents; `misses_per_agent`, attacks on nothing."""
        per_agent = self._totals / self.spec.num_agents
        named = {f"{name}_per_agent": per_agent[:, column].clone() for column, name in enumerate(TALLY)}
        return {"return": self._totals[:, 0].clone(), **named}

    def state_dict(self) -> dict[str, Any]:
        """The complete state as tensors and plain numbers; future episodes follow from the seed and their numbers."""
        return {
            "task": self.jungle.task,
            "seed": self._counter.seed,
            "next_episode": self._counter.next_episode,
            "time": self._time,
            "position": self._engine.position,
            "food": self._food.clone(),
            "totals": self._totals.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly from `state`. Raises ValueError if it belongs to another task or number of copies, or is
        incomplete."""
        require_complete(state, self.state_dict(), "Jungle")
        saved = (state["task"], tuple(state["position"].shape), tuple(state["food"].shape))
        expected = (self.jungle.task, (self.num_envs, self.jungle.num_agents, 2), tuple(self._food.shape))
        if saved != expected:
            raise ValueError(f"the state belongs to (task, agents, foods) {saved}; this environment is {expected}")
        self._counter, self._time = EpisodeCounter(state["seed"], state["next_episode"]), state["time"]
        self._food, self._acted = state["food"].cpu().clone(), False
        self._clock.fill_(self.time)
        self._totals.copy_(state["totals"])
        if self._time is not None:
            self._engine.place(state["position"].cpu(), self._food)

    def _make_engine(self, name: str) -> Engine:
        neighbours = self.spec.max_neighbours
        if name == "numba":
            return NumbaEngine(self.jungle, self.num_envs, neighbours)
        if name == "torch":
            return TorchEngine(self.jungle, self.num_envs, neighbours, self.device)
        from envs.jungle.original import OriginalEngine

        return OriginalEngine(self.jungle, self.num_envs, neighbours, self.settings.episode_length)

    def _begin(self, position: Int[Tensor, "env agent xy"], food: Int[Tensor, "env food xy"]) -> Step:
        self._engine.place(position, food)
        self._food, self._acted = food.clone(), False
        self._clock.zero_()
        self._totals.zero_()
        self._time = 0
        return self._observe(torch.zeros(self.num_envs, self.spec.num_agents, device=self.device), self._no)

    def _last_step(self) -> Bool[Tensor, " env"]:
        """Whether the current step is the last of the episode; advances the step count of captured steps."""
        if not self.capturable:
            return self._yes if self.time == self.spec.episode_length - 1 else self._no
        self._clock += 1
        return (self._clock == self.spec.episode_length).expand(self.num_envs)

    def _observe(self, reward: Float[Tensor, "env agent"], ended: Bool[Tensor, " env"]) -> Step:
        observation, neighbours = self._engine.look()
        return Step(observation, Graph(neighbours, self._mask), reward, self._no, ended)
