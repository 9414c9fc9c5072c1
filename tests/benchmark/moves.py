"""Whether two trainings made the same steps, where sums round differently.

Adam divides by the size of a gradient: where that is rounding alone, its steps are as large as any and of either sign.
With a large epsilon a step follows the gradient continuously, so that rounding stays rounding, and a step that is lost,
doubled, or made on another batch or with another learning rate shows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmark.acceleration import state_tensors
from benchmark.training import Training

EPSILON = 1.0
SETTINGS: dict[str, Any] = {
    "training.gradient_steps": 3,
    "algorithm.learning_rate": 0.1,
    "algorithm.learning_rate_end": 0.0,
}
TOLERANCE = 0.01
"""Of the largest move in a tensor; an update of six is a sixth of it."""


def smooth_training(config: Any) -> Training:
    """A training whose optimisers step smoothly."""
    training = Training(config)
    for part in vars(training.learner).values():
        if isinstance(part, torch.optim.Optimizer):
            for group in part.param_groups:
                group["eps"] = EPSILON
    return training


def tensors(training: Training) -> dict[Any, Tensor]:
    """Copies of what networks and optimisers hold, on the CPU."""
    return {path: tensor.cpu().clone() for path, tensor in state_tensors(training.learner.state_dict())}


def unequal(before: dict[Any, Tensor], one: dict[Any, Tensor], two: dict[Any, Tensor]) -> list[Any]:
    """The tensors that ended elsewhere, and by how much of their move."""
    assert one.keys() == two.keys()
    found = []
    for path, end in one.items():
        start = before.get(path, torch.zeros_like(end))
        move = (end - start).abs().max().item()
        apart = (two[path] - end).abs().max().item()
        if not apart <= TOLERANCE * move + 1e-6:
            found.append((path, apart, move))
    return found
