"""Graph convolutional reinforcement learning (DGN), Jiang et al. 2020: Q-learning on features that neighbours share.

    h_i^0 = relu(W relu(W' o_i))                                                                           (1)
    alpha_ij^m = softmax over j of (q_i^m . k_j^m) / sqrt(d),  j in N_i and i itself, m a head             (2)
    h_i^l = relu(W_o [sum_j alpha_ij^1 v_j^1, ..., sum_j alpha_ij^M v_j^M])   for two layers l             (3)
    Q_i = W_q [h_i^0, h_i^1, h_i^2]                                                                        (4)

with q, k, v = relu of a linear map of h^(l-1).

    L = mean over batch and agents of (y_i - Q_i(a_i))^2 + lambda KL(alpha_i(s) || alpha_i(s'))            (5)
    y_i = r_i + gamma max_a Qbar_i(s', a)                                                                  (6)

The second term of (5) is the temporal relation regularisation: the attention of the upper layer should change slowly.
It is a mean over heads; the attention at s' is that of the online network, without gradient. As published, the graph of
s is also used at s', so that both attentions run over the same agents.

Deviations from the papers (see DEVIATIONS.md): dgn-neighbours, dgn-encoder, q-learning-rate, exploration,
kind-encoders.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from algorithms.common.config import EpsilonGreedyConfig, Graphs, Kernels
from algorithms.common.graph import Neighbourhood, neighbourhood
from algorithms.common.learner import EpsilonGreedyLearner, Loss, gather_actions
from algorithms.common.networks import KindLinear, activated, head, linear_of_parts
from algorithms.protocols import Batch, EnvironmentSpec, Graph
from envs.fields import Count, Weight
from envs.shapes import Float


@dataclass(frozen=True, slots=True)
class Config(EpsilonGreedyConfig):
    """Settings of DGN: those of all Q-learners and of the published network."""

    layers: Count = 2
    """Relation layers; an agent receives information from that many edges away."""
    heads: Count = 8
    """Attention heads; must divide `hidden`."""
    relation_weight: Weight = 0.03
    """Weight lambda of the regularisation in eq. (5); 0 disables it (DGN-R)."""
    activated_relations: bool = True
    """Whether queries, keys and values go through a ReLU, as in the published program."""
    fixed_graph: bool = True
    """Whether targets use the graph of s at s', as published; False: the graph of s'."""
    graph: Graphs = "task"
    """task: the environment's graph (nearest agents or the road network); full: the complete graph."""
    kernel: Kernels = "auto"
    """Aggregation kernel: slots, dense, gather or auto. Results agree up to rounding; speeds differ."""

    def __post_init__(self) -> None:
        EpsilonGreedyConfig.__post_init__(self)
        if self.hidden % self.heads:
            raise ValueError(f"heads = {self.heads}: expected a divisor of hidden = {self.hidden}")


class RelationLayer(nn.Module):
    """Multi-head attention over an agent and its neighbours, eqs. (2) and (3)."""

    def __init__(self, hidden: int, heads: int, activated: bool) -> None:
        super().__init__()
        self.heads, self.activated = heads, activated
        self.projection = nn.Linear(hidden, 3 * hidden)  # queries, keys and values side by side
        self.output = nn.Linear(hidden, hidden)

    def forward(
        self, h: Float[Tensor, "batch agent hidden"], neighbours: Neighbourhood
    ) -> tuple[Float[Tensor, "batch agent hidden"], Float[Tensor, "batch agent head slot"]]:
        """The next features and the attention weights."""
        message, relation = neighbours.relate_within(self.projection(h), self.heads, self.activated)  # (2)
        return activated(self.output, message), relation  # (3)

    def relation(
        self, h: Float[Tensor, "batch agent hidden"], neighbours: Neighbourhood
    ) -> Float[Tensor, "batch agent head slot"]:
        """The attention weights alone."""
        rows = 2 * h.shape[-1]
        projected = nn.functional.linear(h, self.projection.weight[:rows], self.projection.bias[:rows])
        projected = torch.relu(projected) if self.activated else projected
        query, key = (part.unflatten(-1, (self.heads, -1)) for part in projected.chunk(2, dim=-1))
        return neighbours.attention(query, key)  # (2)


class RelationNetwork(nn.Module):
    """Encoder, relation layers, and a Q head that reads the features of all layers."""

    def __init__(self, spec: EnvironmentSpec, config: Config) -> None:
        super().__init__()
        self.encoder = KindLinear(spec.agent_kinds, spec.observation_dim, config.hidden)
        self.second = nn.Linear(config.hidden, config.hidden)
        self.relations = nn.ModuleList(
            RelationLayer(config.hidden, config.heads, config.activated_relations) for _ in range(config.layers)
        )
        self.head = head(config.hidden * (config.layers + 1), spec.num_actions)

    def forward(
        self, x: Float[Tensor, "batch agent feature"], neighbours: Neighbourhood
    ) -> tuple[Float[Tensor, "batch agent action"], Float[Tensor, "batch agent head slot"]]:
        """Q-values and the attention of the upper layer."""
        features = [self.encode(x)]
        for layer in self.relations:
            h, relation = layer(features[-1], neighbours)
            features.append(h)
        return linear_of_parts(self.head, features), relation  # (4)

    def encode(self, x: Float[Tensor, "batch agent feature"]) -> Float[Tensor, "batch agent hidden"]:
        """Features of each agent's observation."""
        return activated(self.second, activated(self.encoder, x))  # (1)

    def relation(
        self, x: Float[Tensor, "batch agent feature"], neighbours: Neighbourhood
    ) -> Float[Tensor, "batch agent head slot"]:
        """The attention of the upper layer alone."""
        h = self.encode(x)
        *lower, upper = self.relations
        for layer in lower:
            h, _ = layer(h, neighbours)
        assert isinstance(upper, RelationLayer)
        return upper.relation(h, neighbours)


class DGN(EpsilonGreedyLearner[Config]):
    """Shared relation network, epsilon-greedy behaviour, Q-learning."""

    uses_graph = True

    def build(self, spec: EnvironmentSpec, config: Config) -> None:
        self.q = self.action_network(RelationNetwork(spec, config))
        self.target_q = self.target_of(self.q)

    def neighbourhood(self, graph: Graph) -> Neighbourhood:
        """Aggregation over neighbours, the agent itself included."""
        config = self.config
        return neighbourhood(graph, config.kernel, config.graph, True, config.heads, self.fused)

    def action_values(
        self, observation: Float[Tensor, "env agent feature"], graph: Graph
    ) -> Float[Tensor, "env agent action"]:
        return self.q(observation, self.neighbourhood(graph))[0]

    def terms(self, batch: Batch) -> tuple[Float[Tensor, ""], Float[Tensor, ""], Float[Tensor, "batch agent"]]:
        """Both terms of eq. (5), without lambda, and the values of the actions taken."""
        neighbours = self.neighbourhood(batch.graph)
        values, relation = self.q(batch.observation, neighbours)
        value = gather_actions(values, batch.action)
        with torch.no_grad():
            following = neighbours if self.config.fixed_graph else self.neighbourhood(batch.next_graph)
            future = self.target_q(batch.next_observation, following)[0].amax(-1)
            future = future.masked_fill(batch.terminated[:, None], 0.0)
            target = batch.reward + self.config.gamma * future  # (6)
        change = torch.zeros((), device=values.device)
        if self.config.relation_weight:
            with torch.no_grad():
                next_relation = self.q.relation(batch.next_observation, neighbours)
            change = relation_change(relation, next_relation, batch.reward.numel())
        return (target - value).square().mean(), change, value

    def loss(self, batch: Batch) -> Loss:
        q_loss, change, value = self.terms(batch)
        loss = q_loss + self.config.relation_weight * change  # (5)
        return loss, {"loss/q": q_loss, "loss/relation": change, "value/q": value.mean()}


def relation_change(
    before: Float[Tensor, "batch agent head slot"], after: Float[Tensor, "batch agent head slot"], agents: int
) -> Float[Tensor, ""]:
    """KL(before || after) of attention weights over the last axis, averaged over heads and over `agents`, the number of
    agents in the whole batch. Masked neighbours have weight zero in both and do not count."""
    tiny = torch.finfo(before.dtype).tiny
    divergence = before * (before.clamp(min=tiny).log() - after.clamp(min=tiny).log())
    heads = before.numel() // before.shape[-1] // agents
    return divergence.sum() / (agents * heads)
