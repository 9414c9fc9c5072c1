"""Networks from which the algorithms are built. All parameters are shared by the agents."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from algorithms.common.edges import DirectedEdges
from algorithms.common.graph import Neighbourhood
from algorithms.protocols import EnvironmentSpec
from envs.shapes import Float

HEAD_SCALE = 0.1
"""Initial scale of output layers relative to torch's default, as in the PIC program: first values are near zero and
first policies near uniform."""


class LayerOptions(NamedTuple):
    """Aggregation of messages in a propagation layer."""

    aggregation: str
    """attention, mean, sum, or none (about the same size, but no messages)."""
    heads: int
    """Attention heads."""


class KindLinear(nn.Module):
    """A linear layer with separate weights for each kind of agent (paper B.2)."""

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


def activated(
    layer: nn.Module, x: Float[Tensor, "*batch agent feature"], message: Tensor | None = None
) -> Float[Tensor, "*batch agent hidden"]:
    """relu(layer(x) + message), computed in place on the layer's outputs. The inputs are flattened to a matrix first,
    because autograd copies tensors that are changed in place through a view."""
    if isinstance(layer, KindLinear) and len(layer.layers) == 1:
        layer = layer.layers[0]
    rows = layer(x.flatten(0, -2)) if isinstance(layer, nn.Linear) else layer(x)
    if message is not None:
        rows = rows.add_(message.reshape(rows.shape))
    return torch.relu_(rows).view(*x.shape[:-1], -1)


def linear_of_parts(layer: nn.Linear, parts: list[Tensor]) -> Float[Tensor, "*batch agent output"]:
    """The layer's outputs for the concatenation of `parts`, without concatenating them."""
    weights = layer.weight.split([part.shape[-1] for part in parts], dim=-1)
    result = nn.functional.linear(parts[0], weights[0], layer.bias)
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        result = result + nn.functional.linear(part, weight)
    return result


class AgentMLP(nn.Module):
    """Two hidden layers on each agent's input; the first has weights per kind of agent."""

    def __init__(self, agent_kinds: tuple[int, ...], input_dim: int, hidden: int, output_dim: int) -> None:
        super().__init__()
        self.encoder = KindLinear(agent_kinds, input_dim, hidden)
        self.hidden = nn.Linear(hidden, hidden)
        self.head = head(hidden, output_dim)

    def forward(self, x: Float[Tensor, "*batch agent feature"]) -> Float[Tensor, "*batch agent output"]:
        return self.head(activated(self.hidden, activated(self.encoder, x)))


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
        """The next embeddings. `x` holds node inputs, `asking` the receivers' embeddings, which give the queries, and
        `sent` the senders' embeddings, which give keys and values."""
        if self.aggregation == "none":
            message = self.received(asking)
        elif self.aggregation == "attention" and asking is sent:
            weights = torch.cat([self.query.weight, self.key.weight, self.received.weight])  # one product for three
            message, _ = neighbours.relate_within(nn.functional.linear(sent, weights), self.heads)
        elif self.aggregation == "attention":
            query, key, value = self.query(asking), self.key(sent), self.received(sent)
            message = neighbours.attend(*(part.unflatten(-1, (self.heads, -1)) for part in (query, key, value)))
        elif self.aggregation == "mean":
            message = neighbours.mean(self.received(sent))
        else:
            message = neighbours.total(self.received(sent))
        return activated(self.own, x, message)


Readout = Literal["all", "rounds", "last"]
"""Embeddings read by the head: all (mu^0 to mu^M), those of the rounds (mu^1 to mu^M), or the last one (mu^M)."""


class PropagationOptions(NamedTuple):
    """Shape of a propagation network."""

    hidden: int
    hops: int
    """Rounds M, after which an agent has information from up to M edges away."""
    layer: LayerOptions
    tied: bool = False
    """Whether all rounds share one set of weights, as in a fixed-point iteration."""
    readout: Readout = "all"
    """See `Readout`."""

    @property
    def features(self) -> int:
        """Input width of the head."""
        rounds = {"all": self.hops + 1, "rounds": max(self.hops, 1), "last": 1}
        return self.hidden * rounds[self.readout]

    def read(self, embeddings: list[Tensor]) -> list[Tensor]:
        """The embeddings among mu^0, ..., mu^M that the head reads."""
        start = {"all": 0, "rounds": min(1, self.hops), "last": self.hops}
        return embeddings[start[self.readout] :]


class RoundsNetwork(nn.Module):
    """An encoder with weights for each kind of agent, M rounds of messages, and a head that reads their embeddings."""

    round_type: ClassVar[type[PropagationLayer] | type[BeliefLayer]]
    """The layer of a round."""

    def __init__(
        self, agent_kinds: tuple[int, ...], input_dim: int, output_dim: int, options: PropagationOptions
    ) -> None:
        super().__init__()
        self.options = options
        self.encoder = KindLinear(agent_kinds, input_dim, options.hidden)
        different = min(options.hops, 1) if options.tied else options.hops
        self.rounds = nn.ModuleList(self.round_type(options.hidden, *options.layer) for _ in range(different))
        self.head = head(options.features, output_dim)

    def layers(self) -> list[nn.Module]:
        """The layer of every round; the same one where they are tied."""
        return [self.rounds[0 if self.options.tied else hop] for hop in range(self.options.hops)]


class PropagationNetwork(RoundsNetwork):
    """Embedded mean-field inference over the agents (structure2vec; paper 4.2 and B.2).

    mu_i^0 = relu(W s_i) with W of the agent's kind; M rounds of eq. (6); the head reads the concatenation of all
    rounds, [mu_i^0, ..., mu_i^M] (paper B.2: the final feature is the embeddings of all layers).
    """

    round_type = PropagationLayer

    def forward(
        self, x: Float[Tensor, "batch agent feature"], neighbours: Neighbourhood
    ) -> Float[Tensor, "batch agent output"]:
        embeddings = [activated(self.encoder, x)]  # mu^0: before any message
        for layer in self.layers():
            embeddings.append(layer(embeddings[0], embeddings[-1], embeddings[-1], neighbours))  # eq. (6)
        return linear_of_parts(self.head, self.options.read(embeddings))  # eq. (5)


class BeliefLayer(nn.Module):
    """One round of embedded loopy belief propagation (Dai et al. 2016): messages along edges and the resulting beliefs.

    nu_{j->i}' = relu(W1 x_j + W2 sum of nu_{k->j} over k in N_j without i)
    mu_i       = relu(W3 x_i + W4 sum of nu_{k->i}' over k in N_i)
    """

    def __init__(self, hidden: int, aggregation: str, heads: int) -> None:
        super().__init__()
        if heads != 1:
            raise ValueError(f"heads = {heads}: belief propagation attends with one head")
        self.aggregation = aggregation
        self.own = nn.Linear(hidden, hidden)  # W1
        self.received = nn.Linear(hidden, hidden, bias=False)  # W2
        self.belief_own = nn.Linear(hidden, hidden)  # W3
        self.belief_received = nn.Linear(hidden, hidden, bias=False)  # W4
        if aggregation == "attention":
            self.query = nn.Linear(hidden, hidden, bias=False)
            self.key = nn.Linear(hidden, hidden, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch agent hidden"],
        messages: Float[Tensor, "batch agent neighbour hidden"] | None,
        edges: DirectedEdges,
    ) -> tuple[Float[Tensor, "batch agent neighbour hidden"], Float[Tensor, "batch agent hidden"]]:
        """The new messages and beliefs. `x` holds node inputs and `messages` the previous round's messages in the slots
        of their receivers, None in the first round."""
        told = self.own(x)[:, :, None]
        if messages is None or self.aggregation == "none":
            told = torch.relu(told.expand(-1, -1, edges.slots + 1, -1))
        else:
            weights = self._weights(x, messages, edges)
            told = torch.relu(told + weights @ self.received(messages))
        messages = edges.to_receivers(told)
        if self.aggregation == "none":
            return messages, torch.relu(self.belief_own(x) + self.belief_received(x))
        weights = self._weights(x, messages, edges)[:, :, -1:]  # with nobody left out
        belief = (weights @ self.belief_received(messages)).squeeze(2)
        return messages, torch.relu(self.belief_own(x) + belief)

    def _weights(self, x: Tensor, messages: Tensor, edges: DirectedEdges) -> Tensor:
        if self.aggregation != "attention":
            return edges.incoming_weights(None, mean=self.aggregation == "mean")
        scores = (self.key(messages) @ self.query(x)[..., None]).squeeze(-1) / math.sqrt(x.shape[-1])
        return edges.incoming_weights(scores, mean=False)


class BeliefNetwork(RoundsNetwork):
    """Embedded loopy belief propagation: like `PropagationNetwork`, but an agent's message to a neighbour excludes the
    message it received from that neighbour (paper 4.2, last paragraph)."""

    round_type = BeliefLayer

    def forward(
        self, x: Float[Tensor, "batch agent feature"], edges: DirectedEdges
    ) -> Float[Tensor, "batch agent output"]:
        embeddings = [activated(self.encoder, x)]
        messages = None
        for layer in self.layers():
            messages, belief = layer(embeddings[0], messages, edges)
            embeddings.append(belief)
        return linear_of_parts(self.head, self.options.read(embeddings))


class JointActionValue(nn.Module):
    """Q_i(s, a_i, a_Ni): a function of observations up to `hops` edges away and of the actions of i and its neighbours.

    hops - 1 rounds of eq. (6) carry observations. In the last round every neighbour also sends its action, so that Q_i
    depends on actions within N_i only, as its arguments say, and a_i does not return through the neighbours. Without
    rounds it is Q_i(o_i, a_i).

    With discrete actions the network has one output for each action of agent i, and a_i only selects the output. With
    continuous actions there is one output, and a_i is an input.
    """

    def __init__(
        self, agent_kinds: tuple[int, ...], spec: EnvironmentSpec, hidden: int, layer: LayerOptions, hops: int = 1
    ) -> None:
        super().__init__()
        self.reads_action = spec.action_dim > 0
        self.hops = hops
        action_size = spec.action_dim or spec.num_actions
        joint = spec.observation_dim + action_size
        self.own = KindLinear(agent_kinds, joint if self.reads_action else spec.observation_dim, hidden)
        if hops:
            self.sent = KindLinear(agent_kinds, joint, hidden)
            self.round = PropagationLayer(hidden, *layer)
        if hops > 1:
            if self.reads_action:
                self.seen = KindLinear(agent_kinds, spec.observation_dim, hidden)
            self.rounds = nn.ModuleList(PropagationLayer(hidden, *layer) for _ in range(hops - 1))
            self.told = nn.Linear(hidden, hidden, bias=False)
        self.head = head((hops + 1) * hidden, 1 if self.reads_action else spec.num_actions)

    def forward(
        self,
        observation: Float[Tensor, "batch agent feature"],
        actions: Float[Tensor, "batch agent action"],
        neighbours: Neighbourhood,
        detach_neighbours: bool = False,
    ) -> Float[Tensor, "batch agent output"]:
        """Values of one-hot or continuous `actions`. `detach_neighbours` stops gradients to the neighbours' actions."""
        joint = torch.cat([observation, actions], dim=-1)
        node = activated(self.own, joint if self.reads_action else observation)
        if not self.hops:
            return self.head(node)
        embeddings, asking, told = [node], node, None
        if self.hops > 1:
            seen = mu = activated(self.seen, observation) if self.reads_action else node
            for layer in self.rounds:
                mu = layer(seen, mu, mu, neighbours)  # eq. (6)
                embeddings.append(mu)
            asking, told = mu, self.told(mu)
        sent = activated(self.sent, joint, told)
        embeddings.append(self.round(node, asking, sent.detach() if detach_neighbours else sent, neighbours))
        return linear_of_parts(self.head, embeddings)
