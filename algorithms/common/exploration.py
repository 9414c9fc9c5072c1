"""Random sampling of actions and exploration schedules; all randomness comes from the generator passed in."""

from __future__ import annotations

import torch
from torch import Tensor

from envs.shapes import Bool, Float, Int


def gumbel_noise(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard Gumbel samples with the shape, type and device of `like`."""
    uniform = torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype)
    tiny = torch.finfo(like.dtype).tiny
    exponential = (-torch.log(uniform.clamp(min=tiny))).clamp(min=tiny)
    return -torch.log(exponential)


def normal_noise(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal samples with the shape, type and device of `like`."""
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)


def sample_actions(logits: Float[Tensor, "*batch action"], generator: torch.Generator) -> Int[Tensor, "*batch"]:
    """Samples from softmax(logits) by the Gumbel-max trick."""
    return (logits + gumbel_noise(logits, generator)).argmax(-1)


def straight_through_sample(
    logits: Float[Tensor, "*batch action"], generator: torch.Generator
) -> Float[Tensor, "*batch action"]:
    """One-hot samples from softmax(logits) with the gradient of the relaxed sample (temperature 1)."""
    relaxed = torch.softmax(logits + gumbel_noise(logits, generator), dim=-1)
    hard = torch.zeros_like(relaxed).scatter_(-1, relaxed.argmax(-1, keepdim=True), 1.0)
    return hard + (relaxed - relaxed.detach())  # in this order the value is one-hot to the last bit


def uniform_actions(
    shape: torch.Size, num_actions: int, missing: Bool[Tensor, "agent action"] | None, generator: torch.Generator
) -> Int[Tensor, "*batch agent"]:
    """Uniformly random actions (batch, agent) among those that are not `missing`, on the generator's device."""
    if missing is None:
        return torch.randint(num_actions, shape, generator=generator, device=generator.device)
    keys = torch.rand(*shape, num_actions, generator=generator, device=generator.device)
    return keys.masked_fill(missing, -1.0).argmax(-1)  # each of equally distributed keys is equally often the largest


def epsilon_greedy(
    values: Float[Tensor, "*batch agent action"],
    epsilon: float | Float[Tensor, ""],
    generator: torch.Generator,
    missing: Bool[Tensor, "agent action"] | None = None,
) -> Int[Tensor, "*batch agent"]:
    """The best action or, with probability `epsilon`, a uniformly random one that is not `missing`. Missing actions
    must already have the lowest of the `values`, see `masks`."""
    best = values.argmax(-1)
    explore = torch.rand(best.shape, generator=generator, device=best.device) < epsilon
    return torch.where(explore, uniform_actions(best.shape, values.shape[-1], missing, generator), best)


def linear_schedule(start: float, end: float, duration: float, step: float) -> float:
    """Linear interpolation at `step` between `start` at 0 and `end` at `duration`, constant afterwards."""
    if duration <= 0:
        return end
    return start + (end - start) * min(1.0, step / duration)
