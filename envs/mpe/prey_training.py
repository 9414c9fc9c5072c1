"""Training of the shipped prey; `python -m envs.mpe.train_prey` reproduces it.

The dynamics of a particle task are differentiable, and so are the prey's soft actions. The two small networks are
therefore trained by gradient descent through whole simulated episodes, without a value function: the network for
observations of 14 features in the task with 3 predators, the one for 26 features in the task with 6. The cost, summed
over steps and prey, is

    sum_i sigmoid((c - |x_q - x_i|)/w)                 smoothed captures: c is the capture distance plus w
    + 3 sum_axis max(|x_q| - b, 0)                     leaving the square of half width b

with w = 0.1 and b = 0.9; without the second term the prey would run away forever. In half of the copies the predators
chase their nearest prey; in the other half they move at random.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from envs.mpe.initial import starting_positions
from envs.mpe.observation import observe_torch
from envs.mpe.physics import Physics, contact_force_torch, limit_speed_torch
from envs.mpe.prey import LAYERS, PreyPolicy, prey_force, soft_action
from envs.mpe.reference_policies import drive
from envs.mpe.scenarios import DAMPING, EPISODE_LENGTH, NUM_ACTIONS, TIME_STEP, Scenario, TagReward
from envs.shapes import Float

SOFTNESS = 0.1
BORDER = 0.9
BORDER_COST = 3.0
HIDDEN = 32
BATCH = 64
ITERATIONS = 600
LEARNING_RATE = 5e-3
SEED = 0
TASKS = ("mpe/prey_and_predator_3", "mpe/prey_and_predator_6")


class Chase:
    """A differentiable simulation of the task: the published dynamics, with predators that chase or wander."""

    def __init__(self, task: Scenario, generator: torch.Generator) -> None:
        self.task, self.generator = task, generator
        self.physics = Physics(task, True, torch.float32, torch.device("cpu"), use_numba=False)
        self.mobile = task.num_agents + task.num_prey
        self.prey = range(task.num_agents, self.mobile)

    def cost(self, policy: PreyPolicy, position: Float[Tensor, "env entity xy"]) -> Float[Tensor, ""]:
        """Mean cost per prey and step over one episode starting at `position`."""
        velocity = torch.zeros_like(position)
        total = torch.zeros(())
        for _ in range(EPISODE_LENGTH):
            position, velocity = self._step(policy, position, velocity)
            total = total + self._step_cost(position)
        return total / EPISODE_LENGTH

    def _step(self, policy: PreyPolicy, position: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor]:
        seen = observe_torch(position, velocity, self.prey, tuple(s for s in self.task.prey_sections if s.count))
        noise = torch.rand(*seen.shape[:2], NUM_ACTIONS, generator=self.generator).clamp(1e-6, 1 - 1e-6)
        prey = prey_force(soft_action(policy.logits(seen), -(-noise.log()).log()))
        force = torch.cat([self._predator_force(position.detach(), velocity.detach()), prey], 1)
        force = force + contact_force_torch(position, self.physics.radius, self.physics.collides, self.mobile)
        moving = velocity[:, : self.mobile] * (1 - DAMPING) + force * TIME_STEP
        moving = limit_speed_torch(moving, self.physics.max_speed)
        moved = position[:, : self.mobile] + moving * TIME_STEP
        return (
            torch.cat([moved, position[:, self.mobile :]], 1),
            torch.cat([moving, velocity[:, self.mobile :]], 1),
        )

    def _predator_force(self, position: Tensor, velocity: Tensor) -> Tensor:
        """Forces of the predators, which chase in the first half of the copies and wander in the second."""
        predators = position[:, : self.task.num_agents]
        targets = position[:, self.prey.start : self.prey.stop]
        chosen = torch.cdist(predators, targets).argmin(-1)
        goal = targets.gather(1, chosen[..., None].expand(-1, -1, 2))
        chasing = drive(predators, velocity[:, : self.task.num_agents], goal)
        wandering = torch.randint(NUM_ACTIONS, predators.shape[:2], generator=self.generator)
        actions = torch.cat([chasing[: len(position) // 2], nn.functional.one_hot(wandering)[len(position) // 2 :]])
        return (actions[..., 1::2] - actions[..., 2::2]) * self.physics.acceleration[: self.task.num_agents, None]

    def _step_cost(self, position: Tensor) -> Tensor:
        assert isinstance(self.task.reward, TagReward)
        prey = position[:, self.prey.start : self.prey.stop]
        apart = prey[:, :, None] - position[:, None, : self.task.num_agents]
        distance = apart.square().sum(-1).clamp(min=1e-12).sqrt()
        caught = ((self.task.reward.capture_distance + SOFTNESS - distance) / SOFTNESS).sigmoid().sum(-1)
        outside = (prey.abs() - BORDER).clamp(min=0).sum(-1)
        return (caught + BORDER_COST * outside).mean()


def train(task: Scenario, iterations: int = ITERATIONS, seed: int = SEED) -> tuple[PreyPolicy, list[float]]:
    """Train a network for the prey of `task`; returns the network and the cost of every iteration."""
    generator = torch.Generator().manual_seed(seed)
    policy = initial_policy(task.prey_observation_dim, generator)
    parameters = [*policy.weights, *policy.biases]
    optimiser = torch.optim.Adam(parameters, lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, iterations)
    chase, costs = Chase(task, generator), []
    for iteration in range(iterations):
        episodes = range(iteration * BATCH, (iteration + 1) * BATCH)
        position = torch.from_numpy(starting_positions(task, seed, episodes)).float()
        cost = chase.cost(policy, position)
        optimiser.zero_grad()
        cost.backward()
        nn.utils.clip_grad_norm_(parameters, 0.5)
        optimiser.step()
        schedule.step()
        costs.append(cost.item())
    return policy, costs


def initial_policy(observation_dim: int, generator: torch.Generator) -> PreyPolicy:
    """Weights uniform in +-1/sqrt(inputs) and zero biases, requiring gradients."""
    sizes = (observation_dim, HIDDEN, HIDDEN, NUM_ACTIONS)
    weights, biases = [], []
    for inputs, outputs in itertools.pairwise(sizes):
        weight = (2 * torch.rand(outputs, inputs, generator=generator) - 1) / inputs**0.5
        weights.append(weight.requires_grad_())
        biases.append(torch.zeros(outputs, requires_grad=True))
    return PreyPolicy((weights[0], weights[1], weights[2]), (biases[0], biases[1], biases[2]))


def save(policies: dict[int, PreyPolicy], path: Path, note: str) -> None:
    """Write the policies, keyed by observation size, to one .npz file."""
    arrays = {"made_by": np.array(note)}
    for dim, policy in policies.items():
        for layer, weight, bias in zip(LAYERS, policy.weights, policy.biases, strict=True):
            arrays[f"dim{dim}_{layer}_weight"] = weight.detach().numpy()
            arrays[f"dim{dim}_{layer}_bias"] = bias.detach().numpy()
    temporary = path.with_suffix(".tmp.npz")
    np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
    temporary.replace(path)
