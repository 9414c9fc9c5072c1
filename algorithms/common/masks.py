"""Masks of actions missing for some agents (`EnvironmentSpec.action_mask`), such as phases of a three-way intersection.

A network whose outputs are logits or values of actions is registered with `OffPolicyLearner.action_network`, which
masks its outputs, so that greedy choice, sampling, relaxed actions, entropies, means and maxima need no special case.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from algorithms.protocols import EnvironmentSpec
from envs.shapes import Bool, Float


def missing_actions(spec: EnvironmentSpec, device: torch.device) -> Bool[Tensor, "agent action"] | None:
    """True where an action is missing for an agent; None where no action is, so that masking costs nothing."""
    if all(all(row) for row in spec.action_mask):
        return None
    return ~torch.tensor(spec.action_mask, device=device)


def without_missing(
    outputs: Float[Tensor, "*batch agent action"],
    missing: Bool[Tensor, "agent action"] | None,
    fill: float | None = None,
) -> Float[Tensor, "*batch agent action"]:
    """Logits or values of actions, with missing actions set to `fill` or the lowest finite number of the type.

    Such an action is never the best, its probability under softmax is exactly zero, and no gradient passes through it.
    The number is finite because entropies and means multiply it by that zero.
    """
    if missing is None:
        return outputs
    return outputs.masked_fill(missing, torch.finfo(outputs.dtype).min if fill is None else fill)


def masking_hook(missing: Bool[Tensor, "agent action"]) -> Callable[..., Any]:
    """A forward hook that masks a network's output, or the first one of several.

    It refers to the mask only, not to the learner, so that copies of the network mask their outputs as well.
    """

    def mask(network: Any, inputs: Any, outputs: Any) -> Any:
        if isinstance(outputs, tuple):
            return without_missing(outputs[0], missing), *outputs[1:]
        return without_missing(outputs, missing)

    return mask


def largest_entropy(spec: EnvironmentSpec) -> float:
    """Entropy in nats of uniform policies over the available actions, averaged over agents."""
    everything = math.log(spec.num_actions)
    lacking = sum(everything - math.log(sum(row)) for row in spec.action_mask)
    return everything - lacking / spec.num_agents
