"""Intention Propagation (IP), Qu et al.: a joint policy by embedded mean-field inference over the graph of agents.

Symbols: s state, a joint action, N_i neighbours of agent i, q_i policy of agent i (the output of the intention
propagation network Lambda_theta, eqs. (5) and (6)), H entropy, alpha its weight, V_eta value, Q_kappa twin
state-action values, bar a slowly moving copy. All agents share the networks.

    J(eta)   = 1/2 (V_i(s) - E[min_k Q_i^k(s, a_i, a_Ni)] - alpha H(q_i))^2                   (4.3, loss of V_i)
    J(kappa) = 1/2 (Q_i(s, a_i, a_Ni) - r_i - gamma Vbar_i(s'))^2                             (4.3, loss of Q_i)
    J(theta) = sum_i [-alpha H(q_i) - E[min_k Q_i^k(s, a_i, a_Ni)]],  a ~ prod q_i            (4.3, loss of the policy)

Derivation (appendix E, with alpha written out). With rewards r_i(s, a_i, a_Ni) the policy that maximises the sum of
rewards plus alpha times the entropy is pi* = exp(Q / alpha) / Z with Q = sum_i Q_i, a Markov random field over
the graph (proposition 1). E.2 replaces it by the nearest product of the q_i and splits Q and V over the agents:

  * Q_i = r_i + gamma E[V_i(s')] is the definition of Q_i (eq. 14 and below): J(kappa) fits it on stored transitions.
  * V_i = E[Q_i] + alpha H(q_i), eq. (15): J(eta) fits it under the present policy.
  * KL(prod q_i || pi*) = (1/alpha) sum_i (-alpha H(q_i) - E[Q_i]) + log Z: J(theta) is alpha times this divergence, up
    to a constant. Its minimiser over unconstrained q_i solves the mean-field equation (4); IP searches for it among the
    outputs of the propagation network, whose rounds are learned updates of that equation.

One joint sample of actions serves the terms of all agents, as the paper remarks. It carries gradients (a
straight-through Gumbel one-hot, or a reparametrised Gaussian), so that J(theta) reaches theta through every Q_j in
whose neighbourhood agent i is.

Deviations from the paper (see DEVIATIONS.md): ip-entropy, ip-own-action, ip-critic-rounds, ip-shared-critics,
ip-policy-value, ip-aggregation, ip-credit, ip-head-scale, ip-belief-propagation, ip-gradient-clip, kind-encoders.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from algorithms.common.actions import action_space
from algorithms.common.config import Graphs, Kernels, OffPolicyConfig, renamed
from algorithms.common.edges import DirectedEdges, full_graph
from algorithms.common.graph import Neighbourhood, neighbourhood
from algorithms.common.learner import Loss, OffPolicyLearner, Phase, without_parameter_gradients
from algorithms.common.masks import largest_entropy
from algorithms.common.micro_batches import Metrics
from algorithms.common.networks import (
    BeliefNetwork,
    JointActionValue,
    LayerOptions,
    PropagationNetwork,
    PropagationOptions,
    Readout,
)
from algorithms.protocols import Batch, EnvironmentSpec, Graph
from envs.fields import Count, Natural, Weight
from envs.shapes import Float, Int


@dataclass(frozen=True, slots=True)
class Config(OffPolicyConfig):
    """Settings of IP; gamma, tau and the like come from `OffPolicyConfig` (paper, Table 2)."""

    alpha: Weight = 0.2
    """Weight of the entropy, for rewards on the scale the learner sees; the initial value where alpha is tuned."""
    alpha_unit: Literal["reward", "advantage"] = "reward"
    """Unit of alpha: reward (the scale that the learner sees) or advantage (a running mean of the standard deviation of
    Q over an agent's actions), which makes alpha the same temperature for any number of agents."""
    tune_alpha: bool = False
    """Learn alpha such that the mean entropy of the policies approaches `target_entropy`."""
    target_entropy: float | None = None
    """Target entropy in nats per agent; none: half the log of the number of actions an agent has, or minus the size of
    a continuous action."""
    hops: Natural = 2
    """Rounds M of intention propagation in the policy (paper, B.2); with 0 the policies are independent."""
    critic_hops: Natural | None = 1
    """Rounds of Q, that is how many edges away the observations it uses may be; none: as many as the policy, the
    reading of B.2. From one round on, Q also uses the actions of agent i and its neighbours."""
    value_hops: Natural | None = None
    """Rounds of V; none: as many as the policy."""
    inference: Literal["mean_field", "belief_propagation"] = "mean_field"
    """Inference that the policy's rounds imitate: mean_field (one embedding per agent) or belief_propagation (one per
    directed edge)."""
    aggregation: Literal["attention", "mean", "sum"] = "attention"
    """Aggregation of messages: attention, mean or sum."""
    heads: Count = 1
    """Attention heads; must divide `hidden`."""
    tied: bool = False
    """One set of weights for all rounds, the reading of eq. (6) as a fixed-point iteration."""
    readout: Readout = "all"
    """Embeddings read by the output layer: all (mu^0 to mu^M), rounds (mu^1 to mu^M) or last (mu^M)."""
    graph: Graphs = "task"
    """task: the environment's graph (nearest agents or the road network); full: the complete graph."""
    policy_messages: bool = True
    """Whether agents receive messages in the policy network, whose size stays the same."""
    critic_messages: bool = True
    """Whether V_i and Q_i receive messages or see agent i alone; their sizes stay the same."""
    twin: bool = True
    """Two Q networks, of which the smaller value counts; False: one."""
    policy_value: Literal["minimum", "first"] = "minimum"
    """Q that the policy maximises: minimum (the smaller one) or first. The paper uses the minimum in the target of V
    and does not say which Q the policy's loss uses."""
    credit: Literal["team", "own"] = "team"
    """team: the policy gradient of agent i flows through every Q_j, as in the paper; own: through Q_i alone, as a
    difference reward requires."""
    kernel: Kernels = "auto"
    """Aggregation kernel: slots, dense, gather or auto. Results agree up to rounding; speeds differ."""

    def __post_init__(self) -> None:
        OffPolicyConfig.__post_init__(self)
        if self.hidden % self.heads:
            raise ValueError(f"heads = {self.heads}: expected a divisor of hidden = {self.hidden}")
        if self.heads > 1 and self.inference == "belief_propagation":
            raise ValueError(f"heads = {self.heads}: belief propagation attends with one head")
        if self.tune_alpha and self.alpha == 0:
            raise ValueError(f"alpha = {self.alpha}: expected a positive number where it is tuned")

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Config:
        """The settings of a recorded run. Records older than the setting `critic_hops` used one round of Q."""
        earlier = {} if "critic_hops" in record else {"critic_hops": 1}
        return cls(**{**earlier, **renamed(record)})

    def layer(self, messages: bool) -> LayerOptions:
        """Options of a propagation round, with or without messages."""
        return LayerOptions(self.aggregation if messages else "none", self.heads)

    @property
    def q_rounds(self) -> int:
        """Rounds of Q."""
        return self.hops if self.critic_hops is None else self.critic_hops

    @property
    def value_rounds(self) -> int:
        """Rounds of V."""
        return self.hops if self.value_hops is None else self.value_hops

    @property
    def policy_shape(self) -> PropagationOptions:
        """Shape of the policy's network."""
        return self._shape(self.hops, self.policy_messages)

    @property
    def value_shape(self) -> PropagationOptions:
        """Shape of V."""
        return self._shape(self.value_rounds, self.critic_messages)

    def _shape(self, hops: int, messages: bool) -> PropagationOptions:
        return PropagationOptions(self.hidden, hops, self.layer(messages), self.tied, self.readout)


class PolicyTerms(NamedTuple):
    """Terms of the losses of the policy and of V; `maximised` and `entropy` carry gradients to the policy."""

    maximised: Float[Tensor, "batch agent"]
    """E[Q_i(s, a_i, a_Ni)] of the Q that the policy maximises (`Config.policy_value`)."""
    smaller: Float[Tensor, "batch agent"]
    """E[min_k Q_i^k(s, a_i, a_Ni)]."""
    entropy: Float[Tensor, "batch agent"]
    """H(q_i)."""
    variance: Float[Tensor, ""] | None
    """Variance of min_k Q_i^k over the actions of agent i, averaged over batch and agents; None where alpha does not
    use it."""


class Temperature(nn.Module):
    """alpha: a constant, or the exponential of a parameter, in the unit of the rewards or of the advantages.

    The scale of the advantages is the square root of an exponential moving average of their variance (weight `DECAY`
    for the newest gradient step), so that alpha does not depend on the scale of the rewards or the number of agents.
    """

    DECAY = 0.01

    def __init__(self, alpha: float, tuned: bool, unit: str) -> None:
        super().__init__()
        self.constant = alpha
        self.log_alpha = nn.Parameter(torch.tensor(math.log(alpha))) if tuned else None
        self.variance: Tensor | None
        self.register_buffer("variance", torch.zeros(2) if unit == "advantage" else None)  # weighted sum, and weights

    def forward(self) -> float | Float[Tensor, ""]:
        """The current alpha, without gradient; zero until the first variance is observed."""
        alpha = self.constant if self.log_alpha is None else self.log_alpha.detach().exp()
        if self.variance is None:
            return alpha
        total, weights = self.variance.unbind()
        return alpha * (total / weights.clamp(min=torch.finfo(total.dtype).tiny)).sqrt()

    def observe(self, variance: Float[Tensor, ""]) -> None:
        """Update the moving average with the variance of the advantages in one gradient step."""
        if self.variance is not None:
            self.variance.lerp_(torch.stack([variance, torch.ones_like(variance)]), self.DECAY)


class IP(OffPolicyLearner[Config]):
    """Intention propagation policy, state value V with a target network, twin action values Q."""

    continuous_actions = True
    uses_graph = True

    def build(self, spec: EnvironmentSpec, config: Config) -> None:
        self.actions = action_space(spec)
        kinds, observed, outputs = spec.agent_kinds, spec.observation_dim, self.actions.policy_outputs
        network = BeliefNetwork if config.inference == "belief_propagation" else PropagationNetwork
        self.policy = self.action_network(network(kinds, observed, outputs, config.policy_shape))
        self.value = self.network(PropagationNetwork(kinds, observed, 1, config.value_shape))
        self.target_value = self.target_of(self.value)
        critic = (kinds, spec, config.hidden, config.layer(config.critic_messages), config.q_rounds)
        self.q1 = self.action_network(JointActionValue(*critic))
        self.q2 = self.action_network(JointActionValue(*critic)) if config.twin else None
        self.temperature = self.network(Temperature(config.alpha, config.tune_alpha, config.alpha_unit), clip=False)
        if spec.action_dim and config.alpha_unit == "advantage":
            raise ValueError("alpha_unit = 'advantage': needs discrete actions, whose advantages can be compared")
        usual = float(-spec.action_dim) if spec.action_dim else 0.5 * largest_entropy(spec)
        self.target_entropy = usual if config.target_entropy is None else config.target_entropy

    @property
    def critics(self) -> list[nn.Module]:
        """The one or two Q networks."""
        return [q for q in (self.q1, self.q2) if q is not None]

    def neighbourhood(self, graph: Graph) -> Neighbourhood:
        """Aggregation over neighbours in V, in Q and in a mean-field policy."""
        config = self.config
        return neighbourhood(graph, config.kernel, config.graph, heads=config.heads, fused=self.fused)

    def policy_outputs(
        self, observation: Float[Tensor, "batch agent feature"], graph: Graph, neighbours: Neighbourhood | None = None
    ) -> Float[Tensor, "batch agent output"]:
        """Lambda_theta: logits, or means and log standard deviations. `neighbours` is the aggregation over `graph` if
        it has been prepared already."""
        if self.config.inference == "belief_propagation":
            return self.policy(observation, DirectedEdges(full_graph(graph) if self.config.graph == "full" else graph))
        return self.policy(observation, self.neighbourhood(graph) if neighbours is None else neighbours)

    @torch.no_grad()
    def act(
        self, observation: Float[Tensor, "env agent feature"], graph: Graph, generator: torch.Generator, greedy: bool
    ) -> Int[Tensor, "env agent"] | Float[Tensor, "env agent action"]:
        return self.actions.act(self.policy_outputs(observation, graph), generator, greedy)

    def phases(self, generator: torch.Generator) -> Iterable[Phase]:
        """One gradient step of all networks."""
        yield Phase(self.optimiser, lambda batch: self.losses(batch, generator))

    def losses(self, batch: Batch, generator: torch.Generator) -> Iterator[Loss]:
        """The losses of Q, policy, V and, where it is tuned, alpha."""
        neighbours, alpha = self.neighbourhood(batch.graph), self.temperature()
        q_loss, q_value = self.q_loss(batch, neighbours)
        yield q_loss, {"loss/q": q_loss, "value/q": q_value.mean()}

        maximised, smaller, entropy, variance = self.policy_terms(batch, neighbours, generator)
        policy_loss = (-alpha * entropy - maximised).mean()  # J(theta), mean over agents for the sum
        logged = {"loss/policy": policy_loss, "policy/entropy": entropy.mean()}
        yield policy_loss, logged if variance is None else logged | {"value/advantage_variance": variance}

        value = self.value(batch.observation, neighbours).squeeze(-1)
        value_target = (smaller + alpha * entropy).detach()  # eq. (15)
        value_loss = 0.5 * (value - value_target).square().mean()  # J(eta)
        yield value_loss, {"loss/value": value_loss, "value/v": value.mean()}

        if self.temperature.log_alpha is not None:
            excess = entropy.detach().mean() - self.target_entropy
            yield self.temperature.log_alpha * excess, {"policy/alpha": self.temperature()}  # less entropy, less alpha

    def q_loss(self, batch: Batch, neighbours: Neighbourhood) -> tuple[Float[Tensor, ""], Float[Tensor, "batch agent"]]:
        """J(kappa) summed over the Q networks, and the values of the first one."""
        with torch.no_grad():
            future = self.target_value(batch.next_observation, self.neighbourhood(batch.next_graph)).squeeze(-1)
            future = future.masked_fill(batch.terminated[:, None], 0.0)
            target = batch.reward + self.config.gamma * future  # Qhat_i
        joint = self.actions.vectors(batch.action)
        values = [self.actions.value_of(q(batch.observation, joint, neighbours), batch.action) for q in self.critics]
        loss = torch.stack([0.5 * (value - target).square().mean() for value in values]).sum()
        return loss, values[0].detach()

    def policy_terms(self, batch: Batch, neighbours: Neighbourhood, generator: torch.Generator) -> PolicyTerms:
        """Values and entropies under the policy.

        With discrete actions the mean over a_i and the entropy are exact; everything else is estimated from one joint
        sample. No gradient reaches the parameters of Q.
        """
        sample = self.actions.sample(self.policy_outputs(batch.observation, batch.graph, neighbours), generator)
        detach = self.config.credit == "own"
        critics = [without_parameter_gradients(q) for q in self.critics]
        values = [q(batch.observation, sample.joint, neighbours, detach_neighbours=detach) for q in critics]
        smaller = torch.minimum(*values) if len(values) == 2 else values[0]
        maximised = values[0] if self.config.policy_value == "first" else smaller
        expected = [(sample.weights * value).sum(-1) for value in (maximised, smaller)]
        variance = self.advantage_variance(smaller.detach()) if self.config.alpha_unit == "advantage" else None
        return PolicyTerms(expected[0], expected[1].detach(), sample.entropy, variance)

    def advantage_variance(self, values: Float[Tensor, "batch agent action"]) -> Float[Tensor, ""]:
        """Variance of the values under a uniform distribution over the actions that an agent has, averaged over batch
        and agents."""
        present = self.without_missing(torch.ones_like(values), 0.0)
        share = present / present.sum(-1, keepdim=True)
        values = self.without_missing(values, 0.0)
        return (share * (values - (share * values).sum(-1, keepdim=True)).square()).sum(-1).mean()

    def after_update(self, metrics: Metrics) -> None:
        if self.config.alpha_unit == "advantage":
            self.temperature.observe(metrics["value/advantage_variance"])
