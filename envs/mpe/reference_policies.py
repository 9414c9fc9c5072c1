"""Reference policies that use the full state, as a scale for the scores of learners.

`random` draws a uniform action, `stay` does nothing, and `nearest` drives every agent to its nearest landmark, the ball
or its nearest prey. `assignment` drives the agents to the landmarks of the one-to-one assignment with minimum total
distance at the start of the episode, which is close to optimal in the navigation tasks. All support both discrete and
continuous actions; all but `random` produce the same forces with either.
"""

from __future__ import annotations

import torch
from torch import Tensor

from envs.mpe.environment import ParticleEnvironment
from envs.mpe.scenarios import ACTION_DIM, NUM_ACTIONS, NavigationReward, PushReward, Scenario
from envs.protocols import Environment, ReferencePolicy
from envs.shapes import Float

# These gains reproduce the reference returns of the published environments within their sampling error.
PROPORTIONAL_GAIN = 2.0
"""Fraction of the full action per world unit of distance to the target."""
DERIVATIVE_GAIN = 0.5
"""Fraction of the full action per unit of speed, opposing the motion."""


class Random:
    """A uniform action for every agent at every step."""

    def __init__(self, environment: Environment) -> None:
        self.environment = particles(environment)

    def act(self, generator: torch.Generator) -> Tensor:
        """Indices (env, agent), or forces uniform in the square [-1, 1]^2; drawn on the generator's device."""
        shape = (self.environment.num_envs, self.environment.spec.num_agents)
        if self.environment.spec.action_dim:
            actions = 2 * torch.rand(*shape, ACTION_DIM, generator=generator, device=generator.device) - 1
        else:
            actions = torch.randint(NUM_ACTIONS, shape, generator=generator, device=generator.device)
        return actions.to(self.environment.device)


class Stay:
    """The zero action for every agent at every step."""

    def __init__(self, environment: Environment) -> None:
        self.environment = particles(environment)

    def act(self, generator: torch.Generator) -> Tensor:
        """Zeros (env, agent), or (env, agent, 2) for continuous actions."""
        shape = (self.environment.num_envs, self.environment.spec.num_agents)
        if self.environment.spec.action_dim:
            return torch.zeros(*shape, ACTION_DIM, device=self.environment.device)
        return torch.zeros(shape, dtype=torch.int64, device=self.environment.device)


class Nearest:
    """Every agent heads for its nearest landmark or prey, or for the ball."""

    def __init__(self, environment: Environment) -> None:
        self.environment = particles(environment)
        rule = self.environment.scenario.reward
        if isinstance(rule, NavigationReward):
            self.targets = rule.landmarks
        else:
            self.targets = range(rule.ball, rule.ball + 1) if isinstance(rule, PushReward) else rule.prey

    def act(self, generator: torch.Generator) -> Float[Tensor, "env agent action"]:
        """Action vectors; uses no random numbers."""
        position, num_agents = self.environment.position, self.environment.spec.num_agents
        agents, targets = position[:, :num_agents], position[:, self.targets.start : self.targets.stop]
        chosen = (agents[:, :, None] - targets[:, None]).square().sum(-1).argmin(-1)
        goal = targets.gather(1, chosen[..., None].expand(-1, -1, 2))
        return steer(self.environment, goal)


class Assignment:
    """Every agent heads for its assigned landmark; the assignment is computed at the first `act` of an episode."""

    def __init__(self, environment: Environment) -> None:
        self.environment = particles(environment)
        scenario = self.environment.scenario
        if not isinstance(scenario.reward, NavigationReward):
            raise ValueError(f"{scenario.task} has no landmarks to assign; choose another reference policy")
        self.landmarks = scenario.reward.landmarks
        self._plan: tuple[Tensor, Tensor] | None = None

    def act(self, generator: torch.Generator) -> Float[Tensor, "env agent action"]:
        """Action vectors; uses no random numbers."""
        position, num_agents = self.environment.position, self.environment.spec.num_agents
        agents, landmarks = position[:, :num_agents], position[:, self.landmarks.start : self.landmarks.stop]
        if self._plan is None or not torch.equal(landmarks, self._plan[0]):  # a new episode
            self._plan = landmarks, assign(agents, landmarks)
        return steer(self.environment, self._plan[1])


def reference_policies_for(scenario: Scenario) -> dict[str, type[ReferencePolicy]]:
    """The reference policies that apply to a task, by name."""
    policies: dict[str, type[ReferencePolicy]] = {"random": Random, "stay": Stay, "nearest": Nearest}
    if isinstance(scenario.reward, NavigationReward):
        policies["assignment"] = Assignment
    return policies


def particles(environment: Environment) -> ParticleEnvironment:
    """`environment` as a particle environment, whose positions these policies read. Raises TypeError otherwise."""
    if not isinstance(environment, ParticleEnvironment):
        raise TypeError(f"reference policies need an environment of an mpe/ task, not a {type(environment).__name__}")
    return environment


def assign(
    agents: Float[Tensor, "env agent xy"], landmarks: Float[Tensor, "env agent xy"]
) -> Float[Tensor, "env agent xy"]:
    """The landmark of each agent in the one-to-one assignment with minimum total distance."""
    from scipy.optimize import linear_sum_assignment

    goal = torch.empty_like(landmarks)
    for copy, cost in enumerate(torch.cdist(agents.cpu().double(), landmarks.cpu().double()).numpy()):
        order, chosen = linear_sum_assignment(cost)
        goal[copy, torch.from_numpy(order)] = landmarks[copy, torch.from_numpy(chosen)]
    return goal


def steer(environment: ParticleEnvironment, goal: Float[Tensor, "env agent xy"]) -> Float[Tensor, "env agent action"]:
    """Actions in the environment's format (discrete vectors or forces) that drive its agents towards `goal`."""
    agents = environment.spec.num_agents
    position, velocity = environment.position[:, :agents], environment.velocity[:, :agents]
    push = push_towards(position, velocity, goal)
    return push if environment.spec.action_dim else over_directions(push)


def drive(
    position: Float[Tensor, "env agent xy"],
    velocity: Float[Tensor, "env agent xy"],
    goal: Float[Tensor, "env agent xy"],
) -> Float[Tensor, "env agent action"]:
    """Action vectors (env, agent, 5) of a proportional-derivative controller towards `goal`, each axis limited to a
    full action."""
    return over_directions(push_towards(position, velocity, goal))


def push_towards(
    position: Float[Tensor, "env agent xy"],
    velocity: Float[Tensor, "env agent xy"],
    goal: Float[Tensor, "env agent xy"],
) -> Float[Tensor, "env agent xy"]:
    """Force of a proportional-derivative controller towards `goal`, each axis limited to a full action."""
    return (PROPORTIONAL_GAIN * (goal - position) - DERIVATIVE_GAIN * velocity).clamp(-1, 1)


def over_directions(push: Float[Tensor, "env agent xy"]) -> Float[Tensor, "env agent action"]:
    """Vectors over {nothing, +x, -x, +y, -y} that produce the force `push`."""
    actions = torch.zeros(*push.shape[:2], NUM_ACTIONS, dtype=push.dtype, device=push.device)
    actions[..., 1::2] = push.clamp(min=0)
    actions[..., 2::2] = (-push).clamp(min=0)
    return actions
