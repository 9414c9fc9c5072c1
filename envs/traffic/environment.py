"""Signal control: a batch of copies of one city in lockstep.

At every decision each intersection chooses its next phase. A change of phase begins with yellow. The reward of an
intersection is minus the vehicle-seconds spent on its incoming roads until the next decision, including vehicles that
are still waiting to enter them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from envs.checks import require_complete, require_copies, require_integers
from envs.episodes import EpisodeCounter
from envs.protocols import EnvironmentSpec, Graph, Step
from envs.shapes import Float, Int
from envs.traffic.account import Account
from envs.traffic.engine import checkpoint
from envs.traffic.engine.batch import BatchEngine
from envs.traffic.engine.simulation import Simulation
from envs.traffic.original import OriginalBatch
from envs.traffic.settings import Settings
from envs.traffic.tasks import COUNT_UNIT, city_of, drawn_flows, make_spec

NO_PHASE = -1
"""Action shown before the first decision of an episode."""


class TrafficEnvironment:
    """`num_envs` copies of a city; implements `envs.protocols.Environment`.

    Actions are indices (env, agent): action a shows the a-th phase, not counting the yellow one (see `signals`). An
    observation consists of the number of vehicles on each incoming lane, divided by ten, by side clockwise from the
    north and from the innermost lane outwards, followed by the current action as a one-hot vector, all zeros at the
    beginning unless signals begin green. `observation=waiting` inserts the number of standing vehicles on each lane
    between the two and appends the fraction of the episode that remains; `observation=segments` adds the vehicles that
    could reach the stop line within a decision and the vehicles on each lane of the outgoing roads.

    All copies have the same vehicles at the same times, unless the settings make synthetic cities draw new ones for
    every episode. The only other randomness is the lane on which a vehicle starts, where it has a choice, and the order
    of vehicles in ties; without lane changes, episodes are therefore deterministic on maps where each lane leads in one
    direction only, which is all of them but manhattan_96.
    """

    def __init__(self, task: str, settings: Settings, num_envs: int, device: torch.device) -> None:
        require_copies(num_envs)
        self.city = city_of(task)
        self.spec: EnvironmentSpec = make_spec(task, settings)
        self.task, self.settings, self.num_envs, self.device = task, settings, num_envs, device
        self.signals = signals = self.city.signals
        self.batch: BatchEngine | OriginalBatch
        if settings.engine == "cityflow":
            self.batch = OriginalBatch(task, self.city, num_envs, settings.lane_change)
        else:
            network, flows = self.city.network, self.city.flows
            threads = torch.get_num_threads()
            self.batch = BatchEngine(network, flows, num_envs, lane_change=settings.lane_change, threads=threads)
        self._seen = np.where(signals.lanes >= 0, signals.lanes, 0)
        self._exists = signals.lanes >= 0
        self._behind = np.where(signals.leaving_lanes >= 0, signals.leaving_lanes, 0)
        self._behind_exists = signals.leaving_lanes >= 0
        self._graph = self._static_graph()
        self._yes = torch.ones(num_envs, dtype=torch.bool, device=device)
        self._no = torch.zeros(num_envs, dtype=torch.bool, device=device)
        self._current = np.full((num_envs, self.spec.num_agents), NO_PHASE, dtype=np.int64)
        self._queues = np.zeros(num_envs)
        self.account = Account(signals, num_envs)
        self._counter = EpisodeCounter()
        self._time: int | None = None

    def use_threads(self, count: int | None) -> None:
        """Step the copies with at most `count` threads (None: one per core); without effect with CityFlow's engine. The
        default is torch's number of threads. Raises ValueError below 1."""
        if isinstance(self.batch, BatchEngine):
            self.batch.use_threads(count)

    @property
    def current_action(self) -> Int[Tensor, "env agent"]:
        """The action that each signal shows; -1 before the first decision of an episode."""
        return torch.from_numpy(self._current.copy()).to(self.device)

    @property
    def decision(self) -> int:
        """Number of decisions taken in the current episode."""
        return self._time or 0

    def reset(self, seed: int | None = None) -> Step:
        """Begin the next episodes or, given a seed (0 to 2^63 - 1), the first episodes of that seed."""
        episodes = self._counter.take(self.num_envs, seed)
        self._begin(episodes)
        self.batch.seed([_engine_seed(self._counter.seed, episode) for episode in episodes])
        self._current[:] = NO_PHASE
        if self.settings.begins_green:
            self._current[:] = self.signals.action_mask.argmax(1)
            self.batch.set_phases(self.signals.agents, self.signals.phases(self._current))
        self._queues[:] = 0.0
        self.account.begin()
        self._time = 0
        return self._step(np.zeros((self.num_envs, self.spec.num_agents)))

    def _begin(self, episodes: range) -> None:
        """Remove all vehicles and schedule those of the given episodes."""
        if self.settings.vehicles == "fixed":
            self.batch.restart()
            return
        for simulation, episode in zip(self._simulations(), episodes, strict=True):
            simulation.take(drawn_flows(self.task, _flow_seed(self._counter.seed, episode)))

    def step(self, actions: Int[Tensor, "env agent"]) -> Step:
        """Show the chosen phases until the next decision.

        Raises RuntimeError after the end of an episode, and ValueError for actions of the wrong shape or type, out of
        range, or masked by `spec.action_mask` (the intersection has no such phase).
        """
        if self._time is None or self._time >= self.spec.episode_length:
            raise RuntimeError("the episodes have not begun or are over: call reset() first")
        chosen = self._require_actions(actions)
        self.account.count(chosen, self.batch.simulations)
        changes = chosen != self._current
        yellow = self.settings.yellow_seconds
        if yellow and changes.any():
            shown = np.where(changes, self.signals.yellow, self.signals.phases(chosen))
            self.batch.set_phases(self.signals.agents, shown)
            self.batch.run(yellow)
        else:
            yellow = 0
        self.batch.set_phases(self.signals.agents, self.signals.phases(chosen))
        self.batch.run(self.settings.decision_seconds - yellow)
        self._current = chosen
        self._queues += [self._standing(i) for i in range(self.num_envs)]
        self._time += 1
        if self._time == self.spec.episode_length:
            self.account.end()
        seconds = self.batch.lane_seconds()[:, self._seen]
        return self._step(-np.where(self._exists, seconds, 0.0).sum(-1))

    def scores(self) -> dict[str, Float[Tensor, " env"]]:
        """Scores by name. `return` is minus `average_travel_time`, the average travel time (s) of all vehicles created
        so far, as CityFlow defines it; `throughput` is the number of vehicles that have arrived; `queue_length` the
        number of standing vehicles per incoming lane, averaged over decisions; `outside` the number of vehicles waiting
        to enter the city."""
        simulations = self.batch.simulations
        times = torch.tensor([s.average_travel_time() for s in simulations], dtype=torch.float64)
        throughput = torch.tensor([s.finished for s in simulations], dtype=torch.float64)
        outside = torch.tensor([s.waiting for s in simulations], dtype=torch.float64)
        queue = torch.from_numpy(self._queues / max(self.decision, 1) / self._exists.sum())
        scores = {
            "return": -times,
            "average_travel_time": times,
            "throughput": throughput,
            "queue_length": queue,
            "outside": outside,
        }
        return {name: value.to(self.device) for name, value in scores.items()}

    def take_statistics(self) -> dict[str, dict[str, float]]:
        """Totals since the last call, summed over copies and decisions; see `Account.take`."""
        return self.account.take()

    def state_dict(self) -> dict[str, Any]:
        """The complete state as tensors and plain numbers. Raises RuntimeError with CityFlow's engine, whose state
        cannot be saved."""
        engines = [checkpoint.state_dict(simulation.state) for simulation in self._simulations()]
        return {
            "task": self.task,
            "seed": self._counter.seed,
            "next_episode": self._counter.next_episode,
            "time": self._time,
            "current": torch.from_numpy(self._current.copy()),
            "queues": torch.from_numpy(self._queues.copy()),
            "account": self.account.state_dict(),
            "engines": [{name: _to_tensor(part) for name, part in engine.items()} for engine in engines],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly from `state`. Raises ValueError if it belongs to another task or number of copies, or is
        incomplete."""
        expected = ("task", "seed", "next_episode", "time", "current", "queues", "account", "engines")
        require_complete(state, expected, "a traffic environment")
        saved, present = (state["task"], tuple(state["current"].shape)), (self.task, self._current.shape)
        if saved != present:
            raise ValueError(f"the state belongs to (task, shape) {saved}; this environment is {present}")
        if self.settings.vehicles == "drawn" and state["time"] is not None:
            self._counter.seed = state["seed"]
            self._begin(range(state["next_episode"] - self.num_envs, state["next_episode"]))
        simulations, continued = self._simulations(), []
        for simulation, engine in zip(simulations, state["engines"], strict=True):
            like = checkpoint.state_dict(simulation.state)
            parts = {name: _to_array(part, like[name]) for name, part in engine.items() if name in like}
            continued.append(checkpoint.from_state_dict(parts, simulation.state))
        for simulation, engine_state in zip(simulations, continued, strict=True):
            simulation.load(engine_state)
        self._counter, self._time = EpisodeCounter(state["seed"], state["next_episode"]), state["time"]
        self._current, self._queues = state["current"].cpu().numpy().copy(), state["queues"].cpu().numpy().copy()
        self.account.load_state_dict(state["account"])

    def _simulations(self) -> list[Simulation]:
        """The simulations of the built-in engine. Raises RuntimeError with CityFlow's engine."""
        if isinstance(self.batch, OriginalBatch):
            raise RuntimeError("with engine='cityflow' episodes cannot be saved and continued; use engine='builtin'")
        return self.batch.simulations

    def _require_actions(self, actions: Tensor) -> np.ndarray:
        shape = (self.num_envs, self.spec.num_agents)
        require_integers(actions, shape)
        chosen = actions.cpu().numpy().astype(np.int64)
        inside = (chosen >= 0) & (chosen < self.spec.num_actions)
        allowed = inside & self.signals.action_mask[np.arange(shape[1]), np.where(inside, chosen, 0)]
        if not allowed.all():
            env, agent = np.argwhere(~allowed)[0].tolist()
            name = self.city.network.intersection_ids[self.signals.agents[agent]]
            there_are = np.flatnonzero(self.signals.action_mask[agent]).tolist()
            raise ValueError(
                f"the action of agent {agent} ({name}) in copy {env} is {chosen[env, agent]}; it has {there_are}"
            )
        return chosen

    def _standing(self, copy: int) -> float:
        """Number of standing vehicles on the incoming lanes of a copy."""
        waiting = self.batch.simulations[copy].lane_waiting()
        return float(waiting[self._seen][self._exists].sum())

    def _step(self, reward: np.ndarray) -> Step:
        observation = torch.from_numpy(self._counts().astype(np.float32) / COUNT_UNIT)
        # -1 (nothing shown yet) indexes the extra last column, which is cut off
        shown = torch.from_numpy(np.where(self._current == NO_PHASE, self.spec.num_actions, self._current))
        one_hot = torch.nn.functional.one_hot(shown, self.spec.num_actions + 1)[..., :-1].float()
        if self.settings.reward == "shared":
            reward = np.broadcast_to(reward.mean(-1, keepdims=True), reward.shape)
        ended = self._yes if self._time == self.spec.episode_length else self._no
        parts = [observation, one_hot]
        if self.settings.observation != "counts":
            left = 1.0 - self.decision / self.spec.episode_length
            parts.append(torch.full((*one_hot.shape[:2], 1), left))
        return Step(
            torch.cat(parts, dim=-1).to(self.device),
            self._graph,
            torch.from_numpy(reward.astype(np.float32)).to(self.device),
            self._no,
            ended,
        )

    def _counts(self) -> np.ndarray:
        """Vehicle counts that agents observe, integers (env, agent, count); see `Settings.observation`."""
        kind = self.settings.observation
        counts = [np.where(self._exists, self.batch.lane_vehicles(self._seen), 0)]
        if kind != "counts":
            standing = np.stack([simulation.lane_waiting() for simulation in self.batch.simulations])
            counts.append(np.where(self._exists, standing[:, self._seen], 0))
        if kind == "segments":
            seconds = float(self.settings.decision_seconds)
            near = np.stack([simulation.lane_near(seconds) for simulation in self.batch.simulations])
            counts.append(np.where(self._exists, near[:, self._seen], 0))
            counts.append(np.where(self._behind_exists, self.batch.lane_vehicles(self._behind), 0))
        return np.concatenate(counts, axis=-1)

    def _static_graph(self) -> Graph:
        parts = (self.signals.neighbours, self.signals.mask)
        return Graph(*(torch.from_numpy(p)[None].to(self.device).expand(self.num_envs, -1, -1) for p in parts))


def _engine_seed(seed: int, episode: int) -> int:
    """32-bit engine seed of an episode. `seed` enters as two 32-bit words, or else (2^32, 0) would equal (0, 1)."""
    return int(np.random.SeedSequence((seed & 0xFFFFFFFF, seed >> 32, episode)).generate_state(1)[0])


def _flow_seed(seed: int, episode: int) -> int:
    """63-bit seed for the vehicles of an episode."""
    words = np.random.SeedSequence((seed & 0xFFFFFFFF, seed >> 32, episode, 1)).generate_state(1, np.uint64)
    return int(words[0]) >> 1


def _to_tensor(part: np.ndarray) -> Tensor:
    """The bytes of an array as a tensor; torch has no structured and few unsigned types."""
    return torch.from_numpy(np.ascontiguousarray(part).reshape(-1).view(np.uint8).copy())


def _to_array(part: Tensor, like: np.ndarray) -> np.ndarray:
    """The array whose bytes `part` holds, with the dtype of `like`. Raises ValueError if the length does not fit."""
    data = part.cpu().numpy()
    size = like.dtype.itemsize * int(np.prod(like.shape[1:], dtype=np.int64))
    if data.dtype != np.uint8 or len(data) % size:
        raise ValueError("the state of the traffic engine is damaged")
    return data.view(like.dtype).reshape(-1, *like.shape[1:])
