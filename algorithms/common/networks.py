"""Networks that several algorithms are built from. All are shared by all agents."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from algorithms.common.graph import Neighbourhood
from envs.shapes import Float

HEAD_SCALE = 0.1
"""Initial scale of output layers relative to torch's default, as in the PIC program: first values are near zero and
first policies near uniform."""


class LayerOptions(NamedTuple):
    """How a propagation layer joins messages."""

    aggregation: str
    """attention, mean, sum or none (the same size, but nobody hears anybody)."""
    heads: int
    """Attention heads."""


class KindLinear(nn.Module):
    """A linear layer with weights of its own for each kind of agent (paper B.2); one shared layer for a single kind."""

    def __init__(self, agent_kinds: tuple[int, ...], input_dim: int, output_dim: int) -> None:
        super().__init__()
        kinds = sorted(set(agent_kinds))
        self.layers = nn.ModuleList(nn.Linear(input_dim, output_dim) for _ in kinds)
        members = [[i for i, kind in enumerate(agent_kinds) if kind == k] for k in kinds]
        self.sizes = [len(group) for group in members]
        order = torch.tensor([i for group in members for i in group])
        self.order: Tensor
        self.inverse: Tensor
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("inverse", order.argsort(), persistent=False)

    def forward(self, x: Float[Tensor, "*batch agent feature"]) -> Float[Tensor, "*batch agent hidden"]:
        if len(self.layers) == 1:
            return self.layers[0](x)
        groups = x.index_select(-2, self.order).split(self.sizes, dim=-2)
        mapped = [layer(group) for layer, group in zip(self.layers, groups, strict=True)]
        return torch.cat(mapped, dim=-2).index_select(-2, self.inverse)


def head(input_dim: int, output_dim: int) -> nn.Linear:
    """Output layer with small initial weights."""
    layer = nn.Linear(input_dim, output_dim)
    with torch.no_grad():
        layer.weight.mul_(HEAD_SCALE)
        layer.bias.mul_(HEAD_SCALE)
    return layer


class AgentMLP(nn.Module):
    """Two hidden layers on each agent's own input; the first has weights per kind of agent."""

    def __init__(self, agent_kinds: tuple[int, ...], input_dim: int, hidden: int, output_dim: int) -> None:
        super().__init__()
        self.encoder = KindLinear(agent_kinds, input_dim, hidden)
        self.hidden = nn.Linear(hidden, hidden)
        self.head = head(hidden, output_dim)

    def forward(self, x: Float[Tensor, "*batch agent feature"]) -> Float[Tensor, "*batch agent output"]:
        return self.head(torch.relu(self.hidden(torch.relu(self.encoder(x)))))


class PropagationLayer(nn.Module):
    """One round of embedded mean-field inference, eq. (6): mu_i' = relu(W1 x_i + W2 aggregate of mu_j over N_i)."""

    def __init__(self, hidden: int, aggregation: str, heads: int) -> None:
        super().__init__()
        self.aggregation = aggregation
        self.heads = heads
        self.own = nn.Linear(hidden, hidden)
        self.received = nn.Linear(hidden, hidden, bias=False)
        if aggregation == "attention":
            self.query = nn.Linear(hidden, hidden, bias=False)
            self.key = nn.Linear(hidden, hidden, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch agent hidden"],
        asking: Float[Tensor, "batch agent hidden"],
        sent: Float[Tensor, "batch agent hidden"],
        neighbours: Neighbourhood,
    ) -> Float[Tensor, "batch agent hidden"]:
        """x: node inputs; asking: embeddings of the receivers, which decide whom to attend to; sent: what each agent
        tells its neighbours."""
        if self.aggregation == "none":
            message = self.received(asking)
        elif self.aggregation == "attention":
            query, key, value = self.query(asking), self.key(sent), self.received(sent)
            message = neighbours.attend(*(part.unflatten(-1, (self.heads, -1)) for part in (query, key, value)))
        elif self.aggregation == "mean":
            message = neighbours.mean(self.received(sent))
        else:
            message = neighbours.total(self.received(sent))
        return torch.relu(self.own(x) + message)


class PropagationNetwork(nn.Module):
    """Embedded mean-field inference over the agents (structure2vec; paper 4.2 and B.2).

    mu_i^0 = relu(W s_i) with W of the agent's kind; `hops` rounds of eq. (6); the head reads the concatenation of all
    rounds, [mu_i^0, ..., mu_i^M] (paper B.2: the final feature is the embeddings of all layers).
    """

    def __init__(
        self, agent_kinds: tuple[int, ...], input_dim: int, output_dim: int, hidden: int, hops: int, layer: LayerOptions
    ) -> None:
        super().__init__()
        self.encoder = KindLinear(agent_kinds, input_dim, hidden)
        self.rounds = nn.ModuleList(PropagationLayer(hidden, *layer) for _ in range(hops))
        self.head = head(hidden * (hops + 1), output_dim)

    def forward(
        self, x: Float[Tensor, "batch agent feature"], neighbours: Neighbourhood
    ) -> Float[Tensor, "batch agent output"]:
        embeddings = [torch.relu(self.encoder(x))]  # mu^0: every agent's plan before it hears anybody
        for layer in self.rounds:
            embeddings.append(layer(embeddings[0], embeddings[-1], embeddings[-1], neighbours))  # eq. (6)
        return self.head(torch.cat(embeddings, dim=-1))  # eq. (5)


class JointActionValue(nn.Module):
    """Q_i(s, ., a_Ni): a value for each action of agent i, given what its neighbours see and do.

    One round of eq. (6) in which every agent sends its observation and action and receives with its observation alone,
    so that the own action enters through the choice of the output only.
    """

    def __init__(
        self, agent_kinds: tuple[int, ...], observation_dim: int, num_actions: int, hidden: int, layer: LayerOptions
    ) -> None:
        super().__init__()
        self.own = KindLinear(agent_kinds, observation_dim, hidden)
        self.sent = KindLinear(agent_kinds, observation_dim + num_actions, hidden)
        self.round = PropagationLayer(hidden, *layer)
        self.head = head(2 * hidden, num_actions)

    def forward(
        self,
        observation: Float[Tensor, "batch agent feature"],
        actions: Float[Tensor, "batch agent action"],
        neighbours: Neighbourhood,
        own_credit: bool = False,
    ) -> Float[Tensor, "batch agent action"]:
        """actions: one-hot. own_credit cuts the gradient to the neighbours' actions."""
        own = torch.relu(self.own(observation))
        sent = torch.relu(self.sent(torch.cat([observation, actions], dim=-1)))
        mu = self.round(own, own, sent.detach() if own_credit else sent, neighbours)
        return self.head(torch.cat([own, mu], dim=-1))
