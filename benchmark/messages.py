"""Messages that are lost or late: what becomes of a policy whose agents hear less than they were trained with.

Losses are of an evaluation, never of training. They act on the graph that a policy is given, so that every algorithm
that hears its neighbours suffers the same ones; one that hears nobody plays as if there were none.
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
    """What becomes of messages on their way. Raises UserError for shares outside [0, 1] and other delays than 0, 1."""

    drop: float = 0.0
    """Chance that a message is lost: each directed edge at each step by itself."""
    drop_agents: float = 0.0
    """Chance that an agent is silent: for a whole episode nobody hears it, though it hears the others."""
    delay: int = 0
    """Steps by which messages are late, 0 or 1. With 1 an agent acts on its present observation and on what its
    neighbours of the step before would have told it then; at the first step it hears nobody."""

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
        """Whether anything is lost or late."""
        return bool(self.drop or self.drop_agents or self.delay)


NO_LOSSES = Losses()


class Received(NamedTuple):
    """What a policy is given in the place of a step's observation and graph."""

    observation: Tensor
    graph: Graph


class Channel:
    """Between an environment and a policy, for one episode in every copy.

    A late message is computed by the agents of the step before, who are listed after those of now: agents N to 2N - 1
    are the same N one step earlier, and those of now hear them alone. A policy that plays through a late channel is
    therefore one for `spec` of twice as many agents, of whose actions the first half count.
    """

    def __init__(self, losses: Losses, generator: torch.Generator) -> None:
        self.losses, self.generator = losses, generator
        self.audible: Tensor | None = None
        """Whom nobody hears is False (env, agent); drawn at the first step."""
        self.before: tuple[Received, Graph] | None = None
        """What the policy was given at the step before, in time, and the graph then, from which nothing was lost."""

    def __call__(self, observation: Tensor, graph: Graph) -> Received:
        """What the policy is given now."""
        now = Received(observation, self._thinned(graph))
        if not self.losses.delay:
            return now
        before, self.before = self.before, (now, graph)
        if before is None:  # nobody has said anything yet
            nothing = graph._replace(mask=graph.mask & False)
            return _late(observation, nothing, Received(observation, nothing))
        then, sent = before
        return _late(observation, self._thinned(sent), then)

    def _thinned(self, graph: Graph) -> Graph:
        """The graph without the messages that are lost, each copy with lists of its own."""
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
    """The agents of now, who are told what those of the step before say, and these, who heard one another."""
    import torch

    agents = observation.shape[1]
    neighbours = torch.cat([told.neighbours + agents, then.graph.neighbours + agents], dim=1)
    mask = torch.cat([told.mask, then.graph.mask], dim=1)
    return Received(torch.cat([observation, then.observation], dim=1), told._replace(neighbours=neighbours, mask=mask))


def received_spec(spec: EnvironmentSpec, losses: Losses) -> EnvironmentSpec:
    """What a policy must know to act on what comes through a channel."""
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
    """Who acts in an environment through a channel. `lists` gives the graph that the policy listens to, written out
    as lists."""

    def play(step: Step) -> Tensor:
        agents = step.observation.shape[1]
        return act(*channel(step.observation, lists(step.graph)))[:, :agents]

    return play
