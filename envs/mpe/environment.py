"""A batch of copies of one particle task in lockstep."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from envs.checks import require_complete, require_copies
from envs.episodes import EpisodeCounter
from envs.mpe.graph import nearest_agents
from envs.mpe.initial import prey_noise, starting_positions
from envs.mpe.observation import Observer
from envs.mpe.physics import Physics
from envs.mpe.prey import PreyPolicy, gumbel_noise, load_prey, prey_force, soft_action
from envs.mpe.reward import RewardRule
from envs.mpe.scenarios import EPISODE_LENGTH, Scenario
from envs.mpe.settings import Settings, make_spec
from envs.protocols import Graph, Step
from envs.shapes import Bool, Float


class ParticleEnvironment:
    """`num_envs` copies of a particle task; implements `envs.protocols.Environment`.

    Actions are indices (env, agent) into {nothing, +x, -x, +y, -y}, or vectors (env, agent, 5) over them, used as
    given. With `actions="continuous"` they are forces (env, agent, 2) in units of the agent's acceleration, clipped to
    [-1, 1].
    """

    def __init__(self, scenario: Scenario, settings: Settings, num_envs: int, device: torch.device) -> None:
        require_copies(num_envs)
        numba, dtype = settings.uses_numba(device), settings.torch_dtype()
        true_order = settings.neighbour_order == "true"
        movable = range(scenario.num_agents, scenario.num_agents + scenario.num_prey)
        self.spec = make_spec(scenario, settings)
        self.scenario, self.settings, self.num_envs, self.device = scenario, settings, num_envs, device
        self.capturable = not numba
        self._numba, self._dtype = numba, dtype
        continuous = settings.actions == "continuous"
        self._physics = Physics(scenario, settings.contact == "published", dtype, device, numba, continuous)
        sections = scenario.seen(settings.observe_agents)
        self._observer = Observer(range(scenario.num_agents), sections, true_order, numba)
        self._prey_observer = Observer(movable, scenario.prey_sections, true_order, numba)
        self._rule = RewardRule(scenario, settings.reward, dtype, device, numba)
        self.prey: PreyPolicy | None = None
        if scenario.num_prey:
            self.prey = load_prey(settings.prey_weights, scenario.prey_observation_dim).to(device)
        self._mask = torch.ones(
            num_envs, scenario.num_agents, self.spec.max_neighbours, dtype=torch.bool, device=device
        )
        self._yes = torch.ones(num_envs, dtype=torch.bool, device=device)
        self._no = torch.zeros(num_envs, dtype=torch.bool, device=device)
        self._position = torch.zeros(num_envs, scenario.num_entities, 2, dtype=dtype, device=device)
        self._velocity = torch.zeros_like(self._position)
        self._totals = torch.zeros(num_envs, 1 + len(self._rule.measures), dtype=torch.float64, device=device)
        self._noise: Tensor | None = None
        self._counter, self._episodes = EpisodeCounter(), range(num_envs)
        self._time: int | None = None
        self._clock = torch.zeros(1, dtype=torch.int64, device=device)
        """A copy of the step count on the device, for captured steps."""

    @property
    def position(self) -> Float[Tensor, "env entity xy"]:
        """A copy of the positions of all entities: agents, prey, landmarks."""
        return self._position.clone()

    @property
    def velocity(self) -> Float[Tensor, "env entity xy"]:
        """A copy of the velocities of all entities."""
        return self._velocity.clone()

    def reset(self, seed: int | None = None) -> Step:
        """Begin the next episodes or, given a seed (0 to 2^63 - 1), the first episodes of that seed."""
        self._episodes = self._counter.take(self.num_envs, seed)
        position = starting_positions(self.scenario, self._counter.seed, self._episodes)
        self._position.copy_(torch.from_numpy(position))
        self._velocity.zero_()
        self._begin()
        return self._first_step()

    def step(self, actions: Tensor, prey_forces: Float[Tensor, "env prey xy"] | None = None) -> Step:
        """Advance all copies by one step. `prey_forces` replaces the scripted prey's forces, to replay a recording.

        Raises RuntimeError after the end of an episode, and ValueError for actions of the wrong shape or value.
        """
        self._require_running()
        if actions.shape[0] != self.num_envs:
            raise ValueError(f"actions are for {actions.shape[0]} copies, but there are {self.num_envs}")
        self._physics.check(actions)
        if prey_forces is not None:
            _require_shape("prey_forces", prey_forces, (self.num_envs, self.scenario.num_prey, 2))
        step = self.advance(actions, prey_forces)
        self.count_step()
        return step

    def advance(self, actions: Tensor, prey_forces: Float[Tensor, "env prey xy"] | None = None) -> Step:
        """The part of `step` that operates on tensors; see `envs.protocols.Capturable`."""
        force = self._physics.action_force(actions, self._dtype)
        if self.scenario.num_prey:
            agents = self.scenario.num_agents
            force[:, agents:] = self._prey_forces() if prey_forces is None else prey_forces
        self._physics.advance(self._position, self._velocity, force)
        reward = self._rule.pay(self._position, self._totals)
        return self._observe(reward, self._last_step())

    def count_step(self) -> None:
        """The part of `step` that counts in Python; see `envs.protocols.Capturable`."""
        self._require_running()
        assert self._time is not None
        self._time += 1

    def _require_running(self) -> None:
        if self._time is None or self._time >= EPISODE_LENGTH:
            raise RuntimeError("the episodes have not begun or are over: call reset() first")

    def scores(self) -> dict[str, Float[Tensor, " env"]]:
        """Scores by name. `return` is the published score, num_agents times the sum of the team reward so far, whatever
        the reward mode. The others are means over the steps so far: `coverage`, the sum over landmarks of the distance
        to the nearest agent, and `collisions`, the number of ordered pairs of touching agents (navigation);
        `ball_to_target`, the distance of the ball to its target (push); `captures`, the number of pairs of a predator
        and a prey it has caught (prey and predator).
        """
        means = self._totals[:, 1:] / max(self._time or 0, 1)
        measures = {name: means[:, i] for i, name in enumerate(self._rule.measures)}
        return {"return": self.spec.num_agents * self._totals[:, 0], **measures}

    def state_dict(self) -> dict[str, Any]:
        """The complete state as tensors and plain numbers; the prey's noise follows from the seed and the episode
        numbers."""
        return {
            "task": self.scenario.task,
            "seed": self._counter.seed,
            "first_episode": self._episodes.start,
            "next_episode": self._counter.next_episode,
            "time": self._time,
            "position": self._position.clone(),
            "velocity": self._velocity.clone(),
            "totals": self._totals.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly from `state`. Raises ValueError if it belongs to another task, number of copies or dtype, or
        is incomplete."""
        require_complete(state, self.state_dict(), "a particle environment")
        saved = (state["task"], tuple(state["position"].shape), state["position"].dtype)
        expected = (self.scenario.task, tuple(self._position.shape), self._dtype)
        if saved != expected:
            raise ValueError(f"the state belongs to (task, shape, type) {saved}; this environment is {expected}")
        self._counter, self._time = EpisodeCounter(state["seed"], state["next_episode"]), state["time"]
        self._episodes = range(state["first_episode"], state["first_episode"] + self.num_envs)
        self._position.copy_(state["position"])
        self._velocity.copy_(state["velocity"])
        self._totals.copy_(state["totals"])
        self._clock.fill_(self._time or 0)
        self._draw_noise()

    def set_state(self, position: Float[Tensor, "env entity xy"], velocity: Float[Tensor, "env entity xy"]) -> Step:
        """Begin episodes from a given state instead of a drawn one, to replay a recording."""
        for name, value in (("position", position), ("velocity", velocity)):
            _require_shape(name, value, tuple(self._position.shape))
        self._position.copy_(position)
        self._velocity.copy_(velocity)
        self._begin()
        return self._first_step()

    def prey_observation(self) -> Float[Tensor, "env prey feature"]:
        """The current observations of the scripted prey."""
        return self._prey_observer.observe(self._position, self._velocity)

    def _begin(self) -> None:
        self._time = 0
        self._clock.zero_()
        self._totals.zero_()
        self._draw_noise()

    def _draw_noise(self) -> None:
        """Draw the prey's noise (env, step, prey, action) for the current episodes."""
        if self.scenario.num_prey:
            noise = gumbel_noise(prey_noise(self.scenario, self._counter.seed, self._episodes))
            self._noise = noise.to(self.device) if self._noise is None else self._noise.copy_(noise)

    def _prey_forces(self) -> Float[Tensor, "env prey xy"]:
        assert self.prey is not None
        assert self._noise is not None
        with torch.no_grad():
            logits = self.prey.logits(self.prey_observation())
            noise = self._noise.index_select(1, self._clock)[:, 0] if self.capturable else self._noise[:, self._time]
            return prey_force(soft_action(logits, noise))

    def _first_step(self) -> Step:
        shape = (self.num_envs, self.spec.num_agents)
        return self._observe(torch.zeros(shape, dtype=self._dtype, device=self.device), self._no)

    def _last_step(self) -> Bool[Tensor, " env"]:
        """Whether the current step is the last of the episode; advances the step count of captured steps."""
        if not self.capturable:
            return self._yes if self._time == EPISODE_LENGTH - 1 else self._no
        self._clock += 1
        return (self._clock == EPISODE_LENGTH).expand(self.num_envs)

    def _observe(self, reward: Float[Tensor, "env agent"], ended: Bool[Tensor, " env"]) -> Step:
        observation = self._observer.observe(self._position, self._velocity)
        neighbours = nearest_agents(self._position, self.spec.num_agents, self.spec.max_neighbours, self._numba)
        return Step(observation, Graph(neighbours, self._mask), reward, self._no, ended)


def _require_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tensor.shape != shape:
        raise ValueError(f"{name} has the shape {tuple(tensor.shape)}, expected {shape}")
