"""Evaluation with lost or late messages.

Losses apply to evaluations, never to training. They change the graph that a policy receives, so that all algorithms
with messages suffer the same losses; a policy without messages is unaffected.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from results.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from envs.protocols import EnvironmentSpec, Graph, Step


@dataclass(frozen=True, slots=True)
class Losses:
    """Losses and delays of messages. Raises UserError for shares outside [0, 1] and delays other than 0 or 1."""

    drop: float = 0.0
    """Probability that a message is lost, independently for each directed edge and step."""
    drop_agents: float = 0.0
    """Probability that an agent is silent: for a whole episode all its messages are lost, but it receives those of
    others."""
    delay: int = 0
    """Delay of messages in steps, 0 or 1. With 1 an agent acts on its current observation and on the messages that its
    neighbours of the previous step would have sent then; at the first step it receives none."""

    def __post_init__(self) -> None:
        for name in ("drop", "drop_agents"):
            share = getattr(self, name)
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
                option = name.replace("_", "-")
                raise UserError(f"--{option} {share}: expected a share of messages or agents, from 0 to 1, such as 0.2")
        if self.delay not in (0, 1):
            raise UserError(f"--delay {self.delay}: expected 0 (in time) or 1 (one step late)")

    @property
    def any(self) -> bool:
        """Whether any message is lost or late."""
        return bool(self.drop or self.drop_agents or self.delay)


NO_LOSSES = Losses()


class Received(NamedTuple):
    """The observation and graph that a policy receives in place of the environment's."""

    observation: Tensor
    graph: Graph


class Channel:
    """A lossy channel between an environment and a policy, for one episode in every copy.

    Late messages are computed by the agents of the previous step, which are appended to the current ones: agents N to
    2N - 1 are the same N agents one step earlier, and the current agents receive messages from these only. A policy
    that plays through a late channel therefore has a `spec` with twice as many agents, and the first half of its
    actions counts.
    """

    def __init__(self, losses: Losses, generator: torch.Generator) -> None:
        self.losses, self.generator = losses, generator
        self.audible: Tensor | None = None
        """False for silent agents (env, agent); sampled at the first step."""
        self.before: tuple[Received, Graph] | None = None
        """What the policy received in time at the previous step, and the complete graph of that step."""

    def __call__(self, observation: Tensor, graph: Graph) -> Received:
        """The policy's input at the current step."""
        now = Received(observation, self._thinned(graph))
        if not self.losses.delay:
            return now
        before, self.before = self.before, (now, graph)
        if before is None:  # no message has been sent yet
            nothing = graph._replace(mask=graph.mask & False)
            return _late(observation, nothing, Received(observation, nothing))
        then, sent = before
        return _late(observation, self._thinned(sent), then)

    def _thinned(self, graph: Graph) -> Graph:
        """The graph without lost messages, with separate neighbour lists for each copy."""
        import torch

        mask, neighbours = graph.mask.clone(), graph.neighbours.contiguous()
        if self.losses.drop_agents:
            if self.audible is None:
                draws = torch.rand(mask.shape[:2], generator=self.generator, device=mask.device)
                self.audible = draws >= self.losses.drop_agents
            mask &= self.audible.gather(1, neighbours.long().flatten(1)).view_as(mask)
        if self.losses.drop:
            draws = torch.rand(mask.shape, generator=self.generator, device=mask.device)
            mask &= draws >= self.losses.drop
        return graph._replace(neighbours=neighbours, mask=mask)


def _late(observation: Tensor, told: Graph, then: Received) -> Received:
    """The current agents, which receive messages from those of the previous step, followed by these with their
    graph."""
    import torch

    agents = observation.shape[1]
    neighbours = torch.cat([told.neighbours + agents, then.graph.neighbours + agents], dim=1)
    mask = torch.cat([told.mask, then.graph.mask], dim=1)
    return Received(torch.cat([observation, then.observation], dim=1), told._replace(neighbours=neighbours, mask=mask))


def received_spec(spec: EnvironmentSpec, losses: Losses) -> EnvironmentSpec:
    """The specification of a task as seen through a channel."""
    if not losses.delay:
        return spec
    return replace(
        spec,
        num_agents=2 * spec.num_agents,
        agent_kinds=spec.agent_kinds * 2,
        action_mask=spec.action_mask * 2,
        static_graph=False,
    )


def uses_messages(algorithm_settings: Any, uses_graph: bool) -> bool:
    """Whether the actions of a policy depend on messages at all."""
    rounds = getattr(algorithm_settings, "hops", getattr(algorithm_settings, "layers", math.inf))
    return uses_graph and rounds > 0 and getattr(algorithm_settings, "policy_messages", True)


def through(
    channel: Channel, act: Callable[[Tensor, Graph], Tensor], lists: Callable[[Graph], Graph]
) -> Callable[[Step], Tensor]:
    """Actions of a policy that receives its messages through a channel. `lists` converts the graph of a step to the
    neighbour lists that the policy uses."""

    def play(step: Step) -> Tensor:
        agents = step.observation.shape[1]
        return act(*channel(step.observation, lists(step.graph)))[:, :agents]

    return play
