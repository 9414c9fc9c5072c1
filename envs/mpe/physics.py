"""Forces, contacts and motion of one step.

In each step of 0.1 world seconds, for every entity that can move, in the published order of operations:

    F_a = sum_b K (x_a - x_b)/d * k ln(1 + exp((d_min - d)/k)),  d = |x_a - x_b|                  (contact)
    v  <- (1 - c) v + dt (u + F)/m, shortened to the maximum speed;  x <- x + dt v                (motion)

u is the action force, K = 100, k = 0.001, c = 0.25; d_min is the sum of the two contact radii.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from envs.mpe.compiled import kernel
from envs.mpe.nearest import split, squared_distances
from envs.mpe.scenarios import ACTION_DIM, CONTACT_FORCE, CONTACT_MARGIN, DAMPING, NUM_ACTIONS, TIME_STEP, Scenario
from envs.shapes import Bool, Float

CONTACT_RANGE = 45 * CONTACT_MARGIN
"""Gap beyond which a contact force is below 1e-20 and ignored by the numba path."""
SMALLEST_DISTANCE = 1e-12
"""Lower bound on distances: entities in the same place exert no force on each other, instead of producing NaN."""


class Physics:
    """Moves all entities of a batch of copies by one step."""

    def __init__(
        self,
        scenario: Scenario,
        published_contact: bool,
        dtype: torch.dtype,
        device: torch.device,
        use_numba: bool,
        continuous: bool = False,
    ) -> None:
        def constant(values: tuple[float, ...]) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device)

        self.use_numba = use_numba
        self.continuous = continuous
        self.num_agents = scenario.num_agents
        self.num_movable = scenario.num_movable
        self.acceleration = constant(scenario.acceleration)
        self.radius = constant(scenario.contact_radius(published_contact))
        self.collides = torch.tensor(scenario.collides, device=device)
        self.mass = constant(scenario.mass[: scenario.num_movable])
        self.max_speed = constant(scenario.max_speed[: scenario.num_movable])
        if use_numba:
            self._arrays = tuple(t.numpy() for t in (self.radius, self.collides, self.mass, self.max_speed))
            self._acceleration = self.acceleration.numpy()

    def check(self, actions: Tensor) -> None:
        """Raise ValueError for actions of the wrong shape or type and, for CPU tensors that are not checked later, for
        an index out of range or a vector that is not finite."""
        check_action_shape(actions, self.num_agents, self.continuous)
        if not self.use_numba and actions.device.type == "cpu" and _bad(actions).any():
            raise_bad_action(actions)

    def action_force(self, actions: Tensor, dtype: torch.dtype) -> Float[Tensor, "env movable xy"]:
        """Forces of the agents' actions; zero for other movable entities.

        `actions` are indices (env, agent) into {nothing, +x, -x, +y, -y}, or vectors (env, agent, 5) over these, whose
        differences a1 - a2 and a3 - a4 are computed in the dtype of the vectors. Continuous actions are forces
        (env, agent, xy) in units of the agent's acceleration, each component clipped to [-1, 1]. The numba path raises
        ValueError for an index out of range or a vector that is not finite.
        """
        actions = plain_actions(actions)
        force = torch.zeros(actions.shape[0], self.num_movable, 2, dtype=dtype, device=self.mass.device)
        if not self.use_numba:
            force[:, : self.num_agents] = action_force_torch(actions, self.acceleration[: self.num_agents])
            return force
        if self.continuous:
            apply = _push_force_numba
        else:
            apply = _vector_force_numba if actions.ndim == 3 else _index_force_numba
        if not apply(actions.numpy(), self._acceleration, force.numpy()):
            raise_bad_action(actions)
        return force

    def advance(
        self,
        position: Float[Tensor, "env entity xy"],
        velocity: Float[Tensor, "env entity xy"],
        force: Float[Tensor, "env movable xy"],
    ) -> None:
        """Advance `position` and `velocity` in place by one step under `force`, which is overwritten."""
        if self.use_numba:
            advance_numba(position.numpy(), velocity.numpy(), force.numpy(), *self._arrays)
        else:
            advance_torch(position, velocity, force, self.radius, self.collides, self.mass, self.max_speed)


def check_action_shape(actions: Tensor, num_agents: int, continuous: bool = False) -> None:
    """Raise ValueError unless `actions` are integers (env, agent) or floating-point vectors (env, agent, 5) or, with
    `continuous`, floating-point forces (env, agent, 2)."""
    if continuous:
        if not actions.is_floating_point() or actions.ndim != 3 or actions.shape[1:] != (num_agents, ACTION_DIM):
            raise ValueError(
                f"actions have shape {tuple(actions.shape)} and type {actions.dtype}; expected floating point forces "
                f"(env, {num_agents}, {ACTION_DIM}) from -1 to 1"
            )
        return
    wanted_ndim = 3 if actions.is_floating_point() else 2
    if actions.ndim != wanted_ndim or actions.shape[1] != num_agents or (wanted_ndim == 3 and actions.shape[2] != 5):
        raise ValueError(
            f"actions have shape {tuple(actions.shape)} and type {actions.dtype}; expected integers "
            f"(env, {num_agents}) or floating point vectors (env, {num_agents}, {NUM_ACTIONS})"
        )


def plain_actions(actions: Tensor) -> Tensor:
    """The actions as a contiguous tensor of int64, float32 or float64, detached from the graph."""
    if not actions.is_floating_point():
        return actions.long().contiguous()
    known = actions.dtype in (torch.float32, torch.float64)
    return (actions if known else actions.float()).detach().contiguous()


def raise_bad_action(actions: Tensor) -> None:
    """Raise ValueError naming the first action that is out of range or not finite."""
    where = _bad(actions).nonzero()[0].tolist()
    expected = "finite numbers" if actions.is_floating_point() else f"indices from 0 to {NUM_ACTIONS - 1}"
    raise ValueError(f"the action at {where} is {actions[tuple(where)].item()}; expected {expected}")


def _bad(actions: Tensor) -> Tensor:
    """A mask of the actions that are out of range or not finite."""
    return ~torch.isfinite(actions) if actions.is_floating_point() else (actions < 0) | (actions >= NUM_ACTIONS)


def action_force_torch(actions: Tensor, acceleration: Float[Tensor, " agent"]) -> Float[Tensor, "env agent xy"]:
    """Forces of actions given as indices (env, agent), vectors (env, agent, 5) or forces (env, agent, 2)."""
    if not actions.is_floating_point():
        actions = torch.nn.functional.one_hot(actions, NUM_ACTIONS).to(acceleration.dtype)
    continuous = actions.shape[-1] == ACTION_DIM
    pushes = actions.clamp(-1, 1) if continuous else actions[..., 1::2] - actions[..., 2::2]
    return pushes.to(acceleration.dtype) * acceleration[:, None]


@kernel
def _index_force_numba(actions: np.ndarray, acceleration: np.ndarray, force: np.ndarray) -> bool:
    valid = True
    for env in range(actions.shape[0]):
        for agent in range(actions.shape[1]):
            action = actions[env, agent]
            if action < 0 or action > 4:
                valid = False
            elif action > 0:
                axis = (action - 1) // 2
                force[env, agent, axis] = acceleration[agent] if action % 2 == 1 else -acceleration[agent]
    return valid


@kernel
def _vector_force_numba(actions: np.ndarray, acceleration: np.ndarray, force: np.ndarray) -> bool:
    valid = True
    for env in range(actions.shape[0]):
        for agent in range(actions.shape[1]):
            across = actions[env, agent, 1] - actions[env, agent, 2]
            along = actions[env, agent, 3] - actions[env, agent, 4]
            if not math.isfinite(across + along + actions[env, agent, 0]):
                valid = False
            force[env, agent, 0] = acceleration[agent] * across
            force[env, agent, 1] = acceleration[agent] * along
    return valid


@kernel
def _push_force_numba(actions: np.ndarray, acceleration: np.ndarray, force: np.ndarray) -> bool:
    valid = True
    for env in range(actions.shape[0]):
        for agent in range(actions.shape[1]):
            for axis in range(2):
                push = actions[env, agent, axis]
                if not math.isfinite(push):
                    valid = False
                force[env, agent, axis] = acceleration[agent] * min(max(push, -1.0), 1.0)
    return valid


def advance_torch(
    position: Float[Tensor, "env entity xy"],
    velocity: Float[Tensor, "env entity xy"],
    force: Float[Tensor, "env movable xy"],
    radius: Float[Tensor, " entity"],
    collides: Bool[Tensor, " entity"],
    mass: Float[Tensor, " movable"],
    max_speed: Float[Tensor, " movable"],
) -> None:
    """Advance all copies by one step, in place; equal to `advance_numba`."""
    movable = mass.shape[0]
    total = force + contact_force_torch(position, radius, collides, movable)
    new = velocity[:, :movable] * (1 - DAMPING) + total / mass[:, None] * TIME_STEP
    new = limit_speed_torch(new, max_speed)
    velocity[:, :movable] = new
    position[:, :movable] += new * TIME_STEP


def contact_force_torch(
    position: Float[Tensor, "env entity xy"],
    radius: Float[Tensor, " entity"],
    collides: Bool[Tensor, " entity"],
    movable: int,
) -> Float[Tensor, "env movable xy"]:
    """Sum of the contact forces on the first `movable` entities; differentiable."""
    apart = position[:, :movable, None] - position[:, None]
    distance = apart.square().sum(-1).clamp(min=SMALLEST_DISTANCE**2).sqrt()
    pairs = collides[:movable, None] & collides
    pairs.diagonal().fill_(False)
    overlap = (radius[:movable, None] + radius - distance) / CONTACT_MARGIN
    softplus = torch.logaddexp(overlap, torch.zeros_like(overlap))
    strength = torch.where(pairs, CONTACT_FORCE * CONTACT_MARGIN * softplus / distance, 0.0)
    return (strength[..., None] * apart).sum(2)


def limit_speed_torch(
    velocity: Float[Tensor, "env movable xy"], max_speed: Float[Tensor, " movable"]
) -> Float[Tensor, "env movable xy"]:
    """Velocities limited to the maximum speeds; differentiable."""
    speed = velocity.square().sum(-1, keepdim=True).clamp(min=SMALLEST_DISTANCE**2).sqrt()
    limit = max_speed[:, None]
    return torch.where(speed > limit, velocity / speed * limit, velocity)


@kernel
def advance_numba(
    position: np.ndarray,
    velocity: np.ndarray,
    force: np.ndarray,
    radius: np.ndarray,
    collides: np.ndarray,
    mass: np.ndarray,
    max_speed: np.ndarray,
) -> None:
    """Advance all copies by one step, in place; equal to `advance_torch`."""
    columns = np.empty((2, position.shape[1]), position.dtype)
    squared = np.empty(position.shape[1], position.dtype)
    reach = radius + np.max(radius) + CONTACT_RANGE
    for env in range(position.shape[0]):
        split(position[env], columns)
        _add_contacts(columns, force[env], radius, collides, reach * reach, squared)
        for a in range(mass.shape[0]):
            vx = velocity[env, a, 0] * (1 - DAMPING) + force[env, a, 0] / mass[a] * TIME_STEP
            vy = velocity[env, a, 1] * (1 - DAMPING) + force[env, a, 1] / mass[a] * TIME_STEP
            speed = math.sqrt(vx * vx + vy * vy)
            if speed > max_speed[a]:
                vx = vx / speed * max_speed[a]
                vy = vy / speed * max_speed[a]
            velocity[env, a, 0] = vx
            velocity[env, a, 1] = vy
            position[env, a, 0] += vx * TIME_STEP
            position[env, a, 1] += vy * TIME_STEP


@kernel
def _add_contacts(
    columns: np.ndarray,
    force: np.ndarray,
    radius: np.ndarray,
    collides: np.ndarray,
    squared_reach: np.ndarray,
    squared: np.ndarray,
) -> None:
    """Add the contact forces of one copy to `force`. squared_reach[a] bounds the squared distance of a's contacts."""
    movable, stop = force.shape[0], collides.size
    while stop > 0 and not collides[stop - 1]:
        stop -= 1
    for a in range(movable):
        if not collides[a]:
            continue
        squared_distances(columns, columns[0, a], columns[1, a], a + 1, stop, squared)
        for slot in range(stop - a - 1):
            b = a + 1 + slot
            if squared[slot] > squared_reach[a] or not collides[b]:
                continue
            strength = _contact_strength(math.sqrt(squared[slot]), radius[a] + radius[b])
            for axis in range(2):
                push = strength * (columns[axis, a] - columns[axis, b])
                force[a, axis] += push
                if b < movable:
                    force[b, axis] -= push


@kernel
def _contact_strength(distance: float, contact_distance: float) -> float:
    """Magnitude of a contact force divided by the distance; 0 where the softplus is below exp(-45)."""
    overlap = (contact_distance - distance) / CONTACT_MARGIN
    if overlap < -CONTACT_RANGE / CONTACT_MARGIN:
        return 0.0
    softplus = max(overlap, 0.0) + math.log1p(math.exp(-abs(overlap)))
    return CONTACT_FORCE * CONTACT_MARGIN * softplus / max(distance, SMALLEST_DISTANCE)
