"""A batch of copies of a third-party environment in lockstep."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from envs.checks import require_complete, require_copies, require_indices, require_integers
from envs.episodes import EpisodeCounter
from envs.foreign.copies import Moment, make_copies
from envs.foreign.settings import Settings, make_spec
from envs.protocols import Graph, Step
from envs.shapes import Float


class ForeignEnvironment:
    """`num_envs` copies of a PettingZoo parallel environment on the CPU; implements `envs.protocols.Environment`.

    Every episode begins with `reset(seed=...)`, with a seed derived from the batch's seed and the episode number. An
    episode that ends before the time limit is `terminated` from then on: it keeps its observation and gives zero reward
    until all copies have reached the time limit.

    The state of such environments cannot be read. A saved state holds the seeds of the current episodes and their
    actions so far, which `load_state_dict` repeats; `continued` says whether this led to the same observations.
    """

    def __init__(self, task: str, settings: Settings, num_envs: int) -> None:
        require_copies(num_envs)
        self.spec = make_spec(settings)
        self.task, self.settings, self.num_envs, self.device = task, settings, num_envs, torch.device("cpu")
        self.continued = True
        """Whether the last `load_state_dict` led to the saved observations."""
        self._copies = make_copies(settings, num_envs)
        self._graph: Graph | None = None
        self._counter = EpisodeCounter()
        self._seeds: list[int] = []
        self._actions: list[np.ndarray] = []
        self._observation = torch.zeros(num_envs, self.spec.num_agents, self.spec.observation_dim)
        self._return = torch.zeros(num_envs, dtype=torch.float64)
        self._time: int | None = None

    def reset(self, seed: int | None = None) -> Step:
        """Begin the next episodes or, given a seed (0 to 2^63 - 1), the first episodes of that seed."""
        episodes = self._counter.take(self.num_envs, seed)
        return self._begin([episode_seed(self._counter.seed, episode) for episode in episodes])

    def step(self, actions: Tensor) -> Step:
        """Advance all copies by one step.

        Raises RuntimeError after the end of an episode, ValueError for actions of the wrong shape, type or range, and
        ForeignEnvironmentError if the environment breaks one of the requirements.
        """
        if self._time is None or self._time >= self.spec.episode_length:
            raise RuntimeError("the episodes have not begun or are over: call reset() first")
        shape = (self.num_envs, self.spec.num_agents)
        if self.spec.action_dim:
            if tuple(actions.shape) != (*shape, self.spec.action_dim) or not bool((actions.abs() <= 1).all()):
                raise ValueError(f"actions: expected vectors {(*shape, self.spec.action_dim)} from -1 to 1")
        else:
            require_integers(actions, shape)
            require_indices(actions, self.spec.num_actions)
        return self._advance(actions.detach().cpu().numpy().copy())

    def scores(self) -> dict[str, Float[Tensor, " env"]]:
        """The score `return`: the sum of the environment's rewards over steps and agents, whatever the reward mode."""
        return {"return": self._return.clone()}

    def state_dict(self) -> dict[str, Any]:
        """Seeds and actions of the current episodes and the resulting observations, as tensors and plain numbers."""
        shape = (self.num_envs, self.spec.num_agents, *[self.spec.action_dim] * bool(self.spec.action_dim))
        taken = np.stack(self._actions) if self._actions else np.zeros((0, *shape))
        return {
            "task": self.task,
            "seed": self._counter.seed,
            "next_episode": self._counter.next_episode,
            "time": self._time,
            "seeds": list(self._seeds),
            "actions": torch.from_numpy(taken),
            "observation": self._observation.clone(),
            "return": self._return.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restart the episodes and repeat their actions. Raises ValueError if the state belongs to another task or
        number of copies, or is incomplete."""
        require_complete(state, self.state_dict(), "a PettingZoo environment")
        saved, here = (state["task"], len(state["observation"])), (self.task, self.num_envs)
        if saved != here:
            raise ValueError(f"the state belongs to (task, copies) {saved}; this environment is {here}")
        self._counter = EpisodeCounter(state["seed"], state["next_episode"])
        self._time, self.continued = None, True
        if state["time"] is None:
            return
        self._begin(state["seeds"])
        for actions in state["actions"].cpu().numpy():
            self._advance(actions)
        same = torch.equal(self._observation, state["observation"].cpu())
        self.continued = same and torch.equal(self._return, state["return"].cpu())

    def _begin(self, seeds: list[int]) -> Step:
        self._seeds, self._actions, self._time = list(seeds), [], 0
        self._return = torch.zeros(self.num_envs, dtype=torch.float64)
        return self._step(self._copies.reset(self._seeds))

    def _advance(self, actions: np.ndarray) -> Step:
        assert self._time is not None
        self._time += 1
        self._actions.append(actions)
        return self._step(self._copies.step(actions, self._time == self.spec.episode_length))

    def _step(self, moment: Moment) -> Step:
        reward = torch.from_numpy(moment.reward)
        team = reward.sum(-1)
        self._return = self._return + team
        self._observation = torch.from_numpy(moment.observation)
        paid = team[:, None].expand_as(reward) if self.settings.reward == "shared" else reward
        terminated = torch.from_numpy(moment.ended)
        limit = torch.full_like(terminated, self._time == self.spec.episode_length)
        return Step(self._observation.clone(), self._heard(moment), paid.float(), terminated, limit & ~terminated)

    def _heard(self, moment: Moment) -> Graph:
        """The graph; one that never changes is created once and expanded over the copies."""
        parts = [torch.from_numpy(part) for part in (moment.neighbours, moment.mask)]
        if not self.spec.static_graph:
            return Graph(*parts)
        if self._graph is None:
            self._graph = Graph(*(part[:1].clone().expand(self.num_envs, -1, -1) for part in parts))
        return self._graph


def episode_seed(seed: int, episode: int) -> int:
    """The seed of one episode, below 2^31 because some environments accept no larger seeds."""
    return int(np.random.SeedSequence([seed, episode]).generate_state(1)[0]) >> 1
