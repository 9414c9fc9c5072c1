"""What every learner has in common: optimisers, schedules and exact state."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from algorithms.common.config import EpsilonGreedyConfig, OffPolicyConfig
from algorithms.common.exploration import epsilon_greedy, linear_schedule
from algorithms.common.masks import missing_actions, without_missing
from algorithms.protocols import EnvironmentSpec, Graph
from envs.shapes import Float, Int


class OffPolicyLearner:
    """Base of the learners: keeps networks and optimisers as attributes and saves exactly those."""

    continuous_actions: ClassVar[bool] = False
    """Whether the algorithm can learn continuous actions too."""

    def __init__(self, spec: EnvironmentSpec, config: OffPolicyConfig, device: torch.device) -> None:
        self.base_config = config
        self.device = device
        self.action_width = self.action_width_for(spec, config)
        self.piece_size = config.piece
        """Transitions whose gradients are computed at once; None for the whole batch. `algorithms.make` chooses it."""
        self.optimisers: list[torch.optim.Adam] = []
        self.missing = missing_actions(spec, device)
        """Actions that agents lack (agent, action), or None. It follows from the task and is not saved."""

    @classmethod
    def action_width_for(cls, spec: EnvironmentSpec, config: Any) -> int:
        """Size of the action vectors that `act` gives and the replay stores; 0 for action indices."""
        return spec.action_dim

    def masked(
        self, outputs: Float[Tensor, "batch agent action"], fill: float | None = None
    ) -> Float[Tensor, "batch agent action"]:
        """Logits or action values in which actions that agents lack are as low as can be, or `fill`."""
        return without_missing(outputs, self.missing, fill)

    def adam(self, *networks: nn.Module) -> torch.optim.Adam:
        """Adam over the networks' parameters, its learning rate following `learning_rate` -> `learning_rate_end`."""
        on_gpu = self.device.type == "cuda"
        rate = (
            torch.tensor(self.base_config.learning_rate, device=self.device)
            if on_gpu
            else self.base_config.learning_rate
        )
        parameters = [p for network in networks for p in network.parameters()]
        optimiser = torch.optim.Adam(parameters, lr=rate, fused=True, capturable=on_gpu)
        self.optimisers.append(optimiser)
        return optimiser

    def schedule(self, environment_step: int, total_steps: int) -> None:
        """Set the learning rate for the coming gradient steps."""
        config = self.base_config
        rate = linear_schedule(config.learning_rate, config.learning_rate_end, total_steps, environment_step)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate

    def clip_gradient(self, network: nn.Module) -> Float[Tensor, ""]:
        """Limit the gradient norm of a network; returns the norm before."""
        return nn.utils.clip_grad_norm_(network.parameters(), self.base_config.gradient_clip)

    def _stateful(self) -> dict[str, Any]:
        kinds = (nn.Module, torch.optim.Optimizer)
        return {name: value for name, value in vars(self).items() if isinstance(value, kinds)}

    def state_dict(self) -> dict[str, Any]:
        """State of every network and optimiser by attribute name."""
        return {name: value.state_dict() for name, value in self._stateful().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`; raises KeyError or RuntimeError where names or shapes differ."""
        parts = self._stateful()
        if parts.keys() != state.keys():
            raise KeyError(f"expected the parts {sorted(parts)}, found {sorted(state)}")
        for name, part in parts.items():
            part.load_state_dict(copy.deepcopy(state[name]))  # optimisers would go on with the given tensors themselves


class EpsilonGreedyLearner(OffPolicyLearner, ABC):
    """Base of the learners that value actions and explore by chance; `epsilon` follows the settings."""

    def __init__(self, spec: EnvironmentSpec, config: EpsilonGreedyConfig, device: torch.device) -> None:
        super().__init__(spec, config, device)
        self.exploration = config
        self.epsilon = config.epsilon_start

    def schedule(self, environment_step: int, total_steps: int) -> None:
        super().schedule(environment_step, total_steps)
        config = self.exploration
        duration = min(config.epsilon_steps, config.epsilon_fraction * total_steps)
        self.epsilon = linear_schedule(config.epsilon_start, config.epsilon_end, duration, environment_step)

    @abstractmethod
    def action_values(
        self, observation: Float[Tensor, "env agent feature"], graph: Graph
    ) -> Float[Tensor, "env agent action"]:
        """What each agent's policy is greedy in, `masked`."""

    @torch.no_grad()
    def act(
        self, observation: Float[Tensor, "env agent feature"], graph: Graph, generator: torch.Generator, greedy: bool
    ) -> Int[Tensor, "env agent"]:
        values = self.action_values(observation, graph)
        return values.argmax(-1) if greedy else epsilon_greedy(values, self.epsilon, generator, self.missing)


@torch.no_grad()
def polyak_update(target: nn.Module, online: nn.Module, tau: float) -> None:
    """target <- tau * online + (1 - tau) * target, parameter by parameter."""
    torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), tau)


def frozen(network: nn.Module) -> Callable[..., Tensor]:
    """The network as a function through which gradients flow to the inputs but not to its weights."""
    weights = {name: parameter.detach() for name, parameter in network.named_parameters()}
    return lambda *inputs, **options: torch.func.functional_call(network, weights, inputs, options)


def take(
    values: Float[Tensor, "batch agent action"], action: Int[Tensor, "batch agent"]
) -> Float[Tensor, "batch agent"]:
    """Value of the action each agent took."""
    return values.gather(-1, action.long()[..., None]).squeeze(-1)
