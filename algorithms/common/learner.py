"""Base classes of the learners.

An algorithm defines its networks (`build`), its losses (`loss`, or `phases` if there are several gradient steps) and
how it acts. The base class handles devices, action masks, micro-batches, clipped gradient steps, target networks,
schedules and state.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from algorithms.common.config import EpsilonGreedyConfig, OffPolicyConfig
from algorithms.common.exploration import epsilon_greedy, linear_schedule
from algorithms.common.masks import masking_hook, missing_actions, without_missing
from algorithms.common.memory import update_memory
from algorithms.common.micro_batches import SMALLEST, Metrics, fitting_size, memory_bound, micro_batches
from algorithms.protocols import Batch, EnvironmentSpec, Graph
from envs.shapes import Float, Int

ConfigT = TypeVar("ConfigT", bound=OffPolicyConfig)
EpsilonGreedyT = TypeVar("EpsilonGreedyT", bound=EpsilonGreedyConfig)
NetworkT = TypeVar("NetworkT", bound=nn.Module)

Loss = tuple[Tensor, Metrics]
"""A mean over transitions to minimise, and the metrics logged with it."""


class Phase(NamedTuple):
    """One step of one optimiser."""

    optimiser: torch.optim.Adam
    losses: Callable[[Batch], Iterable[Loss]]
    """The losses whose gradients are summed. Each is differentiated before the next one is requested, so that an
    iterator keeps one of them in memory at a time."""


class _Target(NamedTuple):
    """A target network: a slowly moving copy of an online network."""

    network: nn.Module
    online: nn.Module
    moves: int


class OffPolicyLearner(ABC, Generic[ConfigT]):
    """Base of the learners. Networks and optimisers are attributes; exactly those are saved, by attribute name."""

    continuous_actions: ClassVar[bool] = False
    """Whether the algorithm supports continuous actions."""
    uses_graph: ClassVar[bool] = False
    """Whether agents or critics receive messages from their neighbours."""

    optimiser: torch.optim.Adam
    """Adam over all networks, unless `build` creates optimisers."""

    def __init__(self, spec: EnvironmentSpec, config: ConfigT, device: torch.device, fused: bool = False) -> None:
        """Build the networks on `device`. With `fused`, messages on a GPU go through fused kernels (see
        `common/graph.py`). Raises TypeError where `build` registers no action network or keeps an unregistered network,
        and where the class defines no loss."""
        base, algorithm = OffPolicyLearner, type(self)
        if algorithm.loss is base.loss and algorithm.phases is base.phases:
            raise TypeError(
                f"{algorithm.__name__} has no loss: write `loss`, or `phases` where an update has several steps"
            )
        self.spec, self.config, self.device, self.fused = spec, config, device, fused
        self.action_width = self.action_width_for(spec, config)
        self.missing = missing_actions(spec, device)
        """Mask of missing actions (agent, action), or None. It follows from the task and is not saved."""
        self.action_networks: list[nn.Module] = []
        """Networks whose outputs are logits or values of actions; the first one determines behaviour."""
        self._online: list[nn.Module] = []
        self._unclipped: list[nn.Module] = []
        self._targets: list[_Target] = []
        self._optimisers: list[tuple[torch.optim.Adam, tuple[nn.Module, ...]]] = []
        self.build(spec, config)
        if not self.action_networks:
            raise TypeError(f"{type(self).__name__} has no network of actions: register it by self.action_network(...)")
        if not self._optimisers:
            self.optimiser = self.adam(*self._online)
        known = [*self._online, *(target.network for target in self._targets)]
        for name, network in self._networks().items():
            if not any(network is other for other in known):
                raise TypeError(
                    f"{type(self).__name__}.{name} is a network that the base does not know: register it in `build` "
                    f"by self.action_network(...) where its outputs are actions, self.network(...) where they are not"
                )

    # Defined by an algorithm

    @abstractmethod
    def build(self, spec: EnvironmentSpec, config: ConfigT) -> None:
        """Create the networks. Each is registered by `network`, `action_network` or `target_of` and assigned to an
        attribute."""

    @abstractmethod
    def act(
        self, observation: Float[Tensor, "env agent feature"], graph: Graph, generator: torch.Generator, greedy: bool
    ) -> Int[Tensor, "env agent"] | Float[Tensor, "env agent action"]:
        """Actions for all agents: a sample of the behaviour policy, or its most likely action if `greedy`."""

    def loss(self, batch: Batch) -> Loss:
        """The loss of all networks and its metrics, for algorithms with a single deterministic loss."""
        raise NotImplementedError("this algorithm defines its losses in `phases`")

    def phases(self, generator: torch.Generator) -> Iterable[Phase]:
        """The steps of an update in order; by default a single step on `loss`."""
        yield Phase(self.optimiser, lambda batch: [self.loss(batch)])

    def after_update(self, metrics: Metrics) -> None:
        """Hook that receives the metrics of an update, for instance for running averages; does nothing by default."""

    @classmethod
    def action_width_for(cls, spec: EnvironmentSpec, config: Any) -> int:
        """Size of the action vectors that `act` returns and the replay buffer stores; 0 for action indices."""
        return spec.action_dim

    # Called by `build`

    def network(self, network: NetworkT, clip: bool = True) -> NetworkT:
        """Register a network: it is moved to the device and trained, and its gradient norm is clipped and logged unless
        `clip` is False."""
        self._online.append(network.to(self.device))
        if not clip:
            self._unclipped.append(network)
        return network

    def action_network(self, network: NetworkT) -> NetworkT:
        """Register a network whose output, or the first of several, holds logits or values of actions.

        Missing actions get the lowest finite number (see `masks`), so that choices, maxima and means need no special
        case.
        """
        if self.missing is not None:
            network.register_forward_hook(masking_hook(self.missing))
        self.action_networks.append(network)
        return self.network(network)

    def target_of(self, network: NetworkT, moves: int = 1) -> NetworkT:
        """A target network: a copy of a registered network that follows it by Polyak averaging, `moves` times per
        update."""
        target = copy.deepcopy(network).requires_grad_(False)
        self._targets.append(_Target(target, network, moves))
        return target

    def adam(self, *networks: nn.Module) -> torch.optim.Adam:
        """Adam over the networks' parameters; its learning rate goes linearly from `learning_rate` to
        `learning_rate_end`."""
        on_gpu = self.device.type == "cuda"
        rate = torch.tensor(self.config.learning_rate, device=self.device) if on_gpu else self.config.learning_rate
        parameters = [p for network in networks for p in network.parameters()]
        fused = self.device.type in ("cpu", "cuda")
        optimiser = torch.optim.Adam(parameters, lr=rate, fused=fused, capturable=on_gpu)
        self._optimisers.append((optimiser, networks))
        return optimiser

    # Provided by the base

    def update(self, batch: Batch, generator: torch.Generator) -> Metrics:
        """One update: the phases in order, then the updates of the target networks. Returns metrics. Never synchronises
        with the host."""
        size = self.micro_batch_size(len(batch.reward))
        metrics: Metrics = {}
        for phase in self.phases(generator):
            metrics |= self._step(phase, batch, size)
        for target, online, moves in self._targets:
            for _ in range(moves):
                polyak_update(target, online, self.config.tau)
        self.after_update(metrics)
        return metrics

    def _step(self, phase: Phase, batch: Batch, size: int | None) -> Metrics:
        """One step along the clipped gradient of a phase's losses. Returns their metrics, averaged over the batch, and
        the gradient norms before clipping."""
        phase.optimiser.zero_grad()
        metrics: Metrics = {}
        for part, share in micro_batches(batch, size):
            for loss, logged in phase.losses(part):
                (share * loss).backward()
                for name, value in logged.items():
                    weighted = share * value.detach()
                    metrics[name] = metrics[name] + weighted if name in metrics else weighted
        for name, network in self._clipped_by(phase.optimiser):
            norm = nn.utils.clip_grad_norm_(network.parameters(), self.config.gradient_clip)
            metrics[f"gradient_norm/{name}"] = norm
        phase.optimiser.step()
        return metrics

    def micro_batch_size(self, batch_size: int) -> int | None:
        """Transitions per micro-batch; None for the whole batch."""
        return self.micro_batch_size_for(self.spec, self.config, batch_size, self.device)

    @classmethod
    def micro_batch_size_for(
        cls, spec: EnvironmentSpec, config: Any, batch_size: int, device: torch.device
    ) -> int | None:
        """Transitions per micro-batch: the setting, or the largest power of two within `memory_bound` of the device."""
        if config.micro_batch is not None or batch_size <= SMALLEST:
            return config.micro_batch
        return fitting_size(update_memory(cls, spec, config, device.type).per_transition, memory_bound(device))

    def schedule(self, environment_step: int, total_steps: int) -> None:
        """Set the learning rate for the coming gradient steps."""
        config = self.config
        rate = linear_schedule(config.learning_rate, config.learning_rate_end, total_steps, environment_step)
        for optimiser, _ in self._optimisers:
            for group in optimiser.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate

    def keep_in_tensors(self) -> None:
        """Hold scheduled values in tensors, for use in CUDA graphs. Restoring a learner undoes this."""
        for optimiser, _ in self._optimisers:
            for group in optimiser.param_groups:
                group["lr"] = torch.as_tensor(group["lr"], device=self.device)

    def without_missing(
        self, numbers: Float[Tensor, "batch agent action"], fill: float | None = None
    ) -> Float[Tensor, "batch agent action"]:
        """Numbers per action with missing actions set to `fill` or the lowest finite number; for numbers that are not
        outputs of a registered network."""
        return without_missing(numbers, self.missing, fill)

    def _networks(self) -> dict[str, nn.Module]:
        return {name: value for name, value in vars(self).items() if isinstance(value, nn.Module)}

    def _clipped_by(self, optimiser: torch.optim.Adam) -> list[tuple[str, nn.Module]]:
        """Names and networks trained by an optimiser whose gradients are clipped."""
        trained = next(networks for known, networks in self._optimisers if known is optimiser)
        clipped = [one for one in trained if not any(one is other for other in self._unclipped)]
        names = {id(network): name for name, network in self._networks().items()}
        return [(names[id(network)], network) for network in clipped if id(network) in names]

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
            part.load_state_dict(copy.deepcopy(state[name]))  # optimisers would otherwise share the given tensors

    def begin_with(self, weights: dict[str, Tensor]) -> None:
        """Start from the weights of a trained network of actions, targets too. Raises RuntimeError where it has other
        layers."""
        acting = self.action_networks[0]
        acting.load_state_dict(weights)
        for target, online, _ in self._targets:
            if online is acting:
                target.load_state_dict(weights)


class EpsilonGreedyLearner(OffPolicyLearner[EpsilonGreedyT]):
    """Base of the Q-learners with epsilon-greedy exploration; `epsilon` follows the schedule of the settings."""

    def __init__(
        self, spec: EnvironmentSpec, config: EpsilonGreedyT, device: torch.device, fused: bool = False
    ) -> None:
        super().__init__(spec, config, device, fused)
        self.epsilon: float | Tensor = config.epsilon_start

    def keep_in_tensors(self) -> None:
        super().keep_in_tensors()
        self.epsilon = torch.as_tensor(self.epsilon, device=self.device)

    def schedule(self, environment_step: int, total_steps: int) -> None:
        super().schedule(environment_step, total_steps)
        config = self.config
        duration = config.exploration_steps(total_steps)
        epsilon = linear_schedule(config.epsilon_start, config.epsilon_end, duration, environment_step)
        if isinstance(self.epsilon, Tensor):
            self.epsilon.fill_(epsilon)
        else:
            self.epsilon = epsilon

    @abstractmethod
    def action_values(
        self, observation: Float[Tensor, "env agent feature"], graph: Graph
    ) -> Float[Tensor, "env agent action"]:
        """Action values with respect to which each agent acts greedily."""

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


def without_parameter_gradients(network: nn.Module) -> Callable[..., Tensor]:
    """The network as a function that passes gradients to its inputs but not to its parameters."""
    weights = {name: parameter.detach() for name, parameter in network.named_parameters()}
    return lambda *inputs, **options: torch.func.functional_call(network, weights, inputs, options)


def gather_actions(
    values: Float[Tensor, "batch agent action"], action: Int[Tensor, "batch agent"]
) -> Float[Tensor, "batch agent"]:
    """Value of each agent's given action."""
    return values.gather(-1, action.long()[..., None]).squeeze(-1)
