"""Actions that single agents lack (`EnvironmentSpec.action_mask`), such as the phases of a junction with three arms.

A network whose outputs are logits or values of actions is registered with `OffPolicyLearner.action_network`, which
masks them where they leave the network, so that all that follows - greedy choice, draws, relaxed actions, entropies,
means, maxima - needs to know of nothing.
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
    """True where an agent lacks an action; None where nobody lacks any, which then costs nothing."""
    if all(all(row) for row in spec.action_mask):
        return None
    return ~torch.tensor(spec.action_mask, device=device)


def without_missing(
    outputs: Float[Tensor, "*batch agent action"],
    missing: Bool[Tensor, "agent action"] | None,
    fill: float | None = None,
) -> Float[Tensor, "*batch agent action"]:
    """Logits or values of actions, with the lowest number of their type, or `fill`, for the actions that are missing.

    Such an action is never the best, its chance under softmax is exactly zero, and no gradient passes through it. The
    number is finite because entropies and means multiply it by that zero.
    """
    if missing is None:
        return outputs
    return outputs.masked_fill(missing, torch.finfo(outputs.dtype).min if fill is None else fill)


def masking_hook(missing: Bool[Tensor, "agent action"]) -> Callable[..., Any]:
    """A forward hook that masks what a network gives, or the first part of it where it gives several.

    It holds the mask alone, not the learner, so that copies of the network mask as it does.
    """

    def mask(network: Any, inputs: Any, outputs: Any) -> Any:
        if isinstance(outputs, tuple):
            return without_missing(outputs[0], missing), *outputs[1:]
        return without_missing(outputs, missing)

    return mask


def largest_entropy(spec: EnvironmentSpec) -> float:
    """Entropy of uniform policies over the actions that agents have, in nats, mean over agents."""
    everything = math.log(spec.num_actions)
    lacking = sum(everything - math.log(sum(row)) for row in spec.action_mask)
    return everything - lacking / spec.num_agents
