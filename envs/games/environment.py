"""A batch of copies of one game in lockstep."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from envs.checks import require_complete, require_copies, require_indices, require_integers
from envs.draws import uniform
from envs.episodes import EpisodeCounter
from envs.games.games import Game
from envs.games.settings import Settings, make_spec
from envs.protocols import EnvironmentSpec, Graph, Step
from envs.shapes import Float, Int


class GameEnvironment:
    """`num_envs` copies of a game; implements `envs.protocols.Environment`.

    Actions are indices (env, agent). Games terminate: their last step is `terminated`, never `truncated`.
    """

    def __init__(self, task: str, game: Game, settings: Settings, num_envs: int, device: torch.device) -> None:
        require_copies(num_envs)
        self.spec = make_spec(game)
        self.task, self.game, self.settings, self.num_envs, self.device = task, game, settings, num_envs, device
        self._dtype = settings.torch_dtype()
        self._graph = static_graph(game, self.spec, num_envs, device)
        self._index = torch.eye(game.num_agents, dtype=torch.float64, device=device).expand(num_envs, -1, -1)
        self._yes = torch.ones(num_envs, dtype=torch.bool, device=device)
        self._no = torch.zeros(num_envs, dtype=torch.bool, device=device)
        shape = (num_envs, game.num_agents, game.num_features)
        self._state = torch.zeros(shape, dtype=torch.float64, device=device)
        self._return = torch.zeros(num_envs, dtype=torch.float64, device=device)
        self._counter = EpisodeCounter()
        self._time: int | None = None

    @property
    def state(self) -> Float[Tensor, "env agent feature"]:
        """A copy of the state as each agent observes it, without its index; the argument of the game's rules."""
        return self._state.clone()

    def reset(self, seed: int | None = None) -> Step:
        """Begin the next episodes or, given a seed (0 to 2^63 - 1), the first episodes of that seed."""
        episodes = self._counter.take(self.num_envs, seed)
        self._state = self.game.start(uniform(self._counter.seed, episodes, self.game.draws, self.device))
        self._return = torch.zeros_like(self._return)
        self._time = 0
        return self._step(torch.zeros(self.num_envs, self.spec.num_agents, dtype=torch.float64, device=self.device))

    def step(self, actions: Int[Tensor, "env agent"]) -> Step:
        """Advance all copies by one step.

        Raises RuntimeError after the end of an episode, and ValueError for actions of the wrong shape or type or, on a
        CPU, out of range.
        """
        if self._time is None or self._time >= self.spec.episode_length:
            raise RuntimeError("the episodes have not begun or are over: call reset() first")
        require_integers(actions, (self.num_envs, self.spec.num_agents))
        require_indices(actions, self.spec.num_actions)
        actions = actions.long()
        reward = self.game.reward(self._state, actions)
        team = self.game.team_reward(reward)
        self._state = self.game.follow(self._state, actions)
        self._return = self._return + team
        self._time += 1
        return self._step(team[:, None].expand_as(reward) if self.settings.reward == "shared" else reward)

    def scores(self) -> dict[str, Float[Tensor, " env"]]:
        """The score `return`: the sum of the team reward so far, whatever the reward mode."""
        return {"return": self._return.clone()}

    def state_dict(self) -> dict[str, Any]:
        """The complete state as tensors and plain numbers; future episodes follow from the seed and their numbers."""
        return {
            "task": self.task,
            "seed": self._counter.seed,
            "next_episode": self._counter.next_episode,
            "time": self._time,
            "state": self._state.clone(),
            "return": self._return.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly from `state`. Raises ValueError if it belongs to another task or number of copies, or is
        incomplete."""
        require_complete(state, self.state_dict(), "a game")
        saved, expected = (state["task"], tuple(state["state"].shape)), (self.task, tuple(self._state.shape))
        if saved != expected:
            raise ValueError(f"the state belongs to (task, shape) {saved}; this environment is {expected}")
        self._counter, self._time = EpisodeCounter(state["seed"], state["next_episode"]), state["time"]
        self._state, self._return = (state[name].to(self.device, copy=True) for name in ("state", "return"))

    def _step(self, reward: Float[Tensor, "env agent"]) -> Step:
        seen = torch.cat([self._state, self._index], dim=-1) if self.game.sees_index else self._state
        ended = self._yes if self._time == self.spec.episode_length else self._no
        return Step(seen.to(self._dtype, copy=True), self._graph, reward.to(self._dtype).contiguous(), ended, self._no)


def static_graph(game: Game, spec: EnvironmentSpec, num_envs: int, device: torch.device) -> Graph:
    """The graph of a game, expanded over all copies."""
    slots = range(spec.max_neighbours)
    neighbours = [[adjacent[slot] if slot < len(adjacent) else 0 for slot in slots] for adjacent in game.neighbours]
    mask = [[slot < len(adjacent) for slot in slots] for adjacent in game.neighbours]
    return Graph(*(torch.tensor(part, device=device)[None].expand(num_envs, -1, -1) for part in (neighbours, mask)))
