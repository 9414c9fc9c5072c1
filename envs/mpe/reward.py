"""Rewards of a step in three modes, and the running totals from which scores are computed.

With the team reward r of the scenario (see scenarios.py), agent i receives

    shared       r                                       as in the published tasks
    local        r_i, split by cause, with sum_i r_i = r
    difference   r - r without i                         the contribution of i, all else being equal

Local shares: the distance of a landmark is attributed to the agent nearest to it, and a collision to the first agent of
each ordered pair; 2 |ball - target| is split evenly, the smallest distance to the ball is attributed to the nearest
agent, and each hit to the agent that hits; the distance to the nearest prey and each capture are attributed to the
predator. When agent i is removed, the factor 6 of navigation with six agents stays and only the constant of i itself
is removed.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from envs.mpe.compiled import kernel
from envs.mpe.nearest import split, squared_distances
from envs.mpe.scenarios import NavigationReward, PushReward, Scenario, TagReward
from envs.mpe.settings import Reward
from envs.shapes import Float, Int

SHARED, LOCAL, DIFFERENCE = 0, 1, 2
_MODES: dict[Reward, int] = {"shared": SHARED, "local": LOCAL, "difference": DIFFERENCE}
MEASURES = {NavigationReward: ("collisions", "coverage"), PushReward: ("ball_to_target",), TagReward: ("captures",)}
"""Quantities measured besides the team reward, in the order of the columns of the totals after the first."""


class RewardRule:
    """Computes the rewards of a batch of copies."""

    def __init__(self, scenario: Scenario, mode: Reward, dtype: torch.dtype, device: torch.device, numba: bool) -> None:
        self.num_agents = scenario.num_agents
        self.rule = scenario.reward
        self.mode = _MODES[mode]
        self.use_numba = numba
        self.measures = MEASURES[type(self.rule)]
        self.size = torch.tensor(scenario.size[: self.num_agents], dtype=dtype, device=device)
        self.kind = torch.tensor(scenario.kinds, device=device)
        if numba:
            self._arrays = self.size.numpy(), self.kind.numpy()

    def pay(
        self, position: Float[Tensor, "env entity xy"], totals: Float[Tensor, "env total"]
    ) -> Float[Tensor, "env agent"]:
        """The rewards, in a new tensor; adds the team reward and the measures of this step to `totals` in place."""
        if self.use_numba:
            dtype = np.float32 if position.dtype == torch.float32 else np.float64
            reward = np.empty((position.shape[0], self.num_agents), dtype)
            self._pay_numba(position.numpy(), reward, totals.numpy())
            return torch.from_numpy(reward)
        shares, differences, constant, measures = self._pay_torch(position)
        team = shares.sum(1) + constant
        totals += torch.stack([team, *measures], 1)
        if self.mode == SHARED:
            return team[:, None].expand(-1, self.num_agents).contiguous()
        return shares + constant[:, None] / self.num_agents if self.mode == LOCAL else differences

    def _pay_torch(self, position: Tensor) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """Local shares and differences (env, agent), the evenly split part of r (env,), and the measures, each
        (env,)."""
        if isinstance(self.rule, NavigationReward):
            return navigation_torch(position, self.rule, self.size, self.kind)
        if isinstance(self.rule, PushReward):
            return push_torch(position, self.rule, self.num_agents)
        return tag_torch(position, self.rule, self.num_agents)

    def _pay_numba(self, position: np.ndarray, reward: np.ndarray, totals: np.ndarray) -> None:
        rule = self.rule
        if isinstance(rule, NavigationReward):
            weights = (rule.coverage_weight, rule.penalty_per_agent, rule.cross_kind_weight)
            size, kind = self._arrays
            navigation_numba(position, size, kind, rule.landmarks.start, weights, self.mode, reward, totals)
        elif isinstance(rule, PushReward):
            push_numba(position, rule.ball, rule.target, rule.hit_distance, self.mode, reward, totals)
        else:
            tag_numba(position, rule.prey.start, rule.prey.stop, rule.capture_distance, self.mode, reward, totals)


def navigation_torch(
    position: Float[Tensor, "env entity xy"],
    rule: NavigationReward,
    size: Float[Tensor, " agent"],
    kind: Tensor,
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Rewards and measures of navigation; equal to `navigation_numba`."""
    num_agents = size.shape[0]
    agents = position[:, :num_agents]
    landmarks = position[:, rule.landmarks.start : rule.landmarks.stop]
    nearest, who = _distance(agents, landmarks).topk(2, dim=1, largest=False)
    first, second, owner = nearest[:, 0], nearest[:, 1], who[:, 0]
    uncovered = sum_by_owner(first, owner, num_agents)
    spared = sum_by_owner(second - first, owner, num_agents)
    touching = _distance(agents, agents) < size[:, None] + size
    touching.diagonal(dim1=1, dim2=2).fill_(False)
    weight = torch.where(kind[:, None] == kind, 1.0, rule.cross_kind_weight).to(position.dtype)
    collisions = (touching * weight).sum(2)
    shares = -rule.coverage_weight * uncovered - collisions
    differences = rule.coverage_weight * spared - 2 * collisions - rule.penalty_per_agent
    constant = torch.full_like(first[:, 0], -num_agents * rule.penalty_per_agent)
    return shares, differences, constant, [touching.sum((1, 2)).to(position.dtype), first.sum(1)]


def sum_by_owner(
    values: Float[Tensor, "env landmark"], owner: Int[Tensor, "env landmark"], num_agents: int
) -> Float[Tensor, "env agent"]:
    """Sums of the values that each agent owns, added in a fixed order. On a CPU values are added one by one; elsewhere
    each agent sums over all landmarks, with zeros for those of others, because indexed additions on a GPU have no
    defined order."""
    if values.device.type == "cpu":
        return values.new_zeros(values.shape[0], num_agents).scatter_add(1, owner, values)
    return spread_sum(values, owner, num_agents)


def spread_sum(
    values: Float[Tensor, "env landmark"], owner: Int[Tensor, "env landmark"], num_agents: int
) -> Float[Tensor, "env agent"]:
    """The sums of `sum_by_owner`, computed by a reduction over (env, agent, landmark)."""
    agent = torch.arange(num_agents, device=owner.device)
    return torch.where(owner[:, None] == agent[:, None], values[:, None], 0.0).sum(2)


@kernel
def navigation_numba(
    position: np.ndarray,
    size: np.ndarray,
    kind: np.ndarray,
    first_landmark: int,
    weights: tuple[float, float, float],
    mode: int,
    reward: np.ndarray,
    totals: np.ndarray,
) -> None:
    """Rewards and measures of navigation: each landmark's distance to the nearest agent, and collisions. There are as
    many landmarks as agents."""
    coverage_weight, penalty, cross_weight = weights
    num_agents = reward.shape[1]
    local = np.empty(num_agents)
    columns = np.empty((2, position.shape[1]), position.dtype)
    squared = np.empty(num_agents, position.dtype)
    for env in range(reward.shape[0]):
        split(position[env], columns)
        local[:] = -penalty
        coverage = 0.0
        for landmark in range(first_landmark, position.shape[1]):
            first, second, owner = _two_nearest(columns, landmark, squared)
            coverage += first
            local[owner] += coverage_weight * (second - first if mode == DIFFERENCE else -first)
        factor = 2.0 if mode == DIFFERENCE else 1.0
        collisions, cost = _collide(columns, size, kind, cross_weight, factor, local, squared)
        team = -coverage_weight * coverage - num_agents * penalty - cost
        for agent in range(num_agents):
            reward[env, agent] = team if mode == SHARED else local[agent]
        totals[env, 0] += team
        totals[env, 1] += collisions
        totals[env, 2] += coverage


@kernel
def _collide(
    columns: np.ndarray,
    size: np.ndarray,
    kind: np.ndarray,
    cross_weight: float,
    factor: float,
    local: np.ndarray,
    squared: np.ndarray,
) -> tuple[int, float]:
    """Subtract `factor` times each agent's collisions from its local reward; returns the number of ordered collisions
    and their cost."""
    collisions, cost, largest = 0, 0.0, np.max(size)
    for a in range(len(local)):
        squared_distances(columns, columns[0, a], columns[1, a], a + 1, len(local), squared)
        farthest = (size[a] + largest) * (size[a] + largest)
        for slot in range(len(local) - a - 1):
            if squared[slot] > farthest:
                continue
            b = a + 1 + slot
            if squared[slot] < (size[a] + size[b]) * (size[a] + size[b]):
                weight = 1.0 if kind[a] == kind[b] else cross_weight
                local[a] -= factor * weight
                local[b] -= factor * weight
                collisions += 2
                cost += 2 * weight
    return collisions, cost


@kernel
def _two_nearest(columns: np.ndarray, entity: int, squared: np.ndarray) -> tuple[float, float, int]:
    """Distances of the nearest and second-nearest agent to an entity, and the nearest agent; `squared` is scratch."""
    squared_distances(columns, columns[0, entity], columns[1, entity], 0, len(squared), squared)
    first, second, owner = np.inf, np.inf, 0
    for agent in range(len(squared)):
        if squared[agent] < second:
            if squared[agent] < first:
                first, second, owner = squared[agent], first, agent
            else:
                second = squared[agent]
    return math.sqrt(first), math.sqrt(second), owner


def push_torch(
    position: Float[Tensor, "env entity xy"], rule: PushReward, num_agents: int
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Rewards and measures of push; equal to `push_numba`."""
    ball, target = position[:, rule.ball : rule.ball + 1], position[:, rule.target : rule.target + 1]
    to_ball = _distance(position[:, :num_agents], ball)[..., 0]
    to_target = _distance(ball, target)[:, 0, 0]
    nearest, who = to_ball.topk(2, dim=1, largest=False)
    zero = torch.zeros_like(to_ball)
    hits = (to_ball < rule.hit_distance).to(position.dtype)
    shares = 0.1 * hits - zero.scatter(1, who[:, :1], 0.1 * nearest[:, :1])
    differences = 0.1 * hits + zero.scatter(1, who[:, :1], 0.1 * (nearest[:, 1:] - nearest[:, :1]))
    return shares, differences, -2 * to_target, [to_target]


@kernel
def push_numba(
    position: np.ndarray, ball: int, target: int, hit_distance: float, mode: int, reward: np.ndarray, totals: np.ndarray
) -> None:
    """Rewards and measures of push: the ball's distance to its target, and the agents' distances to the ball."""
    num_agents = reward.shape[1]
    local = np.empty(num_agents)
    columns = np.empty((2, position.shape[1]), position.dtype)
    squared = np.empty(num_agents, position.dtype)
    for env in range(reward.shape[0]):
        split(position[env], columns)
        dx = position[env, ball, 0] - position[env, target, 0]
        dy = position[env, ball, 1] - position[env, target, 1]
        to_target = math.sqrt(dx * dx + dy * dy)
        local[:] = 0.0 if mode == DIFFERENCE else -2 * to_target / num_agents
        first, second, owner = _two_nearest(columns, ball, squared)
        local[owner] += 0.1 * (second - first) if mode == DIFFERENCE else -0.1 * first
        hits = 0
        for agent in range(num_agents):
            if squared[agent] < hit_distance * hit_distance:
                local[agent] += 0.1
                hits += 1
        team = -2 * to_target - 0.1 * first + 0.1 * hits
        for agent in range(num_agents):
            reward[env, agent] = team if mode == SHARED else local[agent]
        totals[env, 0] += team
        totals[env, 1] += to_target


def tag_torch(
    position: Float[Tensor, "env entity xy"], rule: TagReward, num_agents: int
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Rewards and measures of prey and predator; equal to `tag_numba`."""
    distance = _distance(position[:, :num_agents], position[:, rule.prey.start : rule.prey.stop])
    captures = (distance < rule.capture_distance).sum(2).to(position.dtype)
    shares = -0.1 * distance.amin(2) + 10 * captures
    return shares, shares, torch.zeros_like(shares[:, 0]), [captures.sum(1)]


@kernel
def tag_numba(
    position: np.ndarray,
    first_prey: int,
    last_prey: int,
    capture_distance: float,
    mode: int,
    reward: np.ndarray,
    totals: np.ndarray,
) -> None:
    """Rewards and measures of prey and predator: distances to the prey, and captures. A predator's difference equals
    its local share."""
    num_agents = reward.shape[1]
    local = np.empty(num_agents)
    for env in range(reward.shape[0]):
        team, captures = 0.0, 0
        for agent in range(num_agents):
            nearest = np.inf
            caught = 0
            for prey in range(first_prey, last_prey):
                dx = position[env, agent, 0] - position[env, prey, 0]
                dy = position[env, agent, 1] - position[env, prey, 1]
                squared = dx * dx + dy * dy
                nearest = min(nearest, squared)
                caught += squared < capture_distance * capture_distance
            local[agent] = -0.1 * math.sqrt(nearest) + 10 * caught
            team += local[agent]
            captures += caught
        for agent in range(num_agents):
            reward[env, agent] = team if mode == SHARED else local[agent]
        totals[env, 0] += team
        totals[env, 1] += captures


def _distance(a: Float[Tensor, "env one xy"], b: Float[Tensor, "env two xy"]) -> Float[Tensor, "env one two"]:
    return (a[:, :, None] - b[:, None]).square().sum(-1).sqrt()
