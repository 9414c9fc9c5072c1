"""The reference policy of third-party environments: `random`, uniform over the actions that agents have."""

from __future__ import annotations

import torch
from torch import Tensor

from envs.protocols import Environment, ReferencePolicy


class Random:
    """A uniform action for every agent at every step."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment

    def act(self, generator: torch.Generator) -> Tensor:
        """Action indices, or vectors in [-1, 1], drawn on the generator's device."""
        spec, device = self.environment.spec, generator.device
        shape = (self.environment.num_envs, spec.num_agents, spec.action_dim or spec.num_actions)
        draws = torch.rand(shape, generator=generator, device=device)
        if spec.action_dim:
            return (2 * draws - 1).to(self.environment.device)
        if spec.action_mask:
            draws = draws.masked_fill(~torch.tensor(spec.action_mask, device=device), -1.0)
        return draws.argmax(-1).to(self.environment.device)


REFERENCE_POLICIES: dict[str, type[ReferencePolicy]] = {"random": Random}
