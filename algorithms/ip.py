"""Intention Propagation (IP), Qu et al.: a joint policy by embedded mean-field inference over the graph of agents.

Symbols: s state, a joint action, N_i neighbours of agent i, q_i policy of agent i (the output of the intention
propagation network Lambda_theta, eqs. (5) and (6)), H entropy, alpha its weight, V_eta value, Q_kappa twin
state-action values, bar a slowly moving copy. All agents share the networks.

    J(eta)   = 1/2 (V_i(s) - E[min_k Q_i^k(s, a_i, a_Ni)] - alpha H(q_i))^2                   (4.3, loss of V_i)
    J(kappa) = 1/2 (Q_i(s, a_i, a_Ni) - r_i - gamma Vbar_i(s'))^2                             (4.3, loss of Q_i)
    J(theta) = sum_i [-alpha H(q_i) - E[min_k Q_i^k(s, a_i, a_Ni)]],  a ~ prod q_i            (4.3, loss of the policy)

Where they come from (appendix E, with alpha written out). With rewards r_i(s, a_i, a_Ni) the policy that maximises the
sum of rewards and alpha times the entropy is pi* = exp(Q / alpha) / Z with Q = sum_i Q_i, a Markov random field over
the graph (proposition 1). E.2 replaces it by the nearest product of the q_i and splits Q and V over the agents:

  * Q_i = r_i + gamma E[V_i(s')] is the definition of Q_i (eq. 14 and below): J(kappa) fits it on stored transitions.
  * V_i = E[Q_i] + alpha H(q_i), eq. (15): J(eta) fits it under the present policy.
  * KL(prod q_i || pi*) = (1/alpha) sum_i (-alpha H(q_i) - E[Q_i]) + log Z: J(theta) is alpha times this divergence, up
    to a constant. Its minimiser over free q_i solves the mean-field equation (4); here it is sought among the outputs
    of the propagation network, whose rounds are learned updates of that equation.

The neighbours' actions come from one joint draw that serves all agents' terms, as the paper remarks. It carries
gradients (a straight-through Gumbel one-hot, or a reparametrised Gaussian), so that J(theta) reaches theta through
every Q_j that hears agent i.

Deviations from the paper (see DEVIATIONS.md): ip-entropy, ip-own-action, ip-aggregation, ip-credit, ip-head-scale,
ip-belief-propagation, ip-gradient-clip, kind-encoders.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from algorithms.common.actions import action_space
from algorithms.common.config import OffPolicyConfig, check_choice
from algorithms.common.graph import (
    GRAPHS,
    KERNELS,
    DirectedEdges,
    Neighbourhood,
    full_graph,
    neighbourhood,
    takes_dense,
)
from algorithms.common.learner import OffPolicyLearner, frozen, polyak_update
from algorithms.common.masks import largest_entropy
from algorithms.common.networks import (
    READOUTS,
    BeliefNetwork,
    JointActionValue,
    LayerOptions,
    PropagationNetwork,
    PropagationOptions,
)
from algorithms.common.pieces import Metrics, in_pieces
from algorithms.protocols import Batch, EnvironmentSpec, Graph
from envs.shapes import Float, Int


@dataclass(frozen=True, slots=True)
class Config(OffPolicyConfig):
    """Settings of IP; gamma, tau and the like come from `OffPolicyConfig` (paper, Table 2)."""

    alpha: float = 0.2
    """Weight of the entropy, for rewards in the scale the learner sees; where it is tuned, its first value."""
    tune_alpha: bool = False
    """Learn alpha so that the mean entropy of the policies comes to `target_entropy`."""
    target_entropy: float | None = None
    """Entropy aimed at, in nats an agent; none: half of log(actions), of those an agent has, or minus the size of a
    continuous action."""
    hops: int = 2
    """Rounds M of intention propagation in the policy and in V; 0 makes the policies independent."""
    inference: str = "mean_field"
    """What the policy's rounds imitate: mean_field (one embedding for each agent) or belief_propagation (one for each
    direction of each edge)."""
    aggregation: str = "attention"
    """How messages are joined: attention, mean or sum."""
    heads: int = 1
    """Attention heads; must divide `hidden`."""
    tied: bool = False
    """One set of weights for all rounds, the reading of eq. (6) as a fixed-point iteration."""
    readout: str = "all"
    """What the output layer reads: all (mu^0 to mu^M), rounds (mu^1 to mu^M) or last (mu^M)."""
    graph: str = "task"
    """task: nearest agents or the road network, as the environment says; full: everybody hears everybody."""
    policy_messages: bool = True
    """False: the policy network keeps its size, but its agents hear nobody."""
    critic_messages: bool = True
    """False: V_i and Q_i keep their size, but know of agent i alone."""
    twin: bool = True
    """Two Q networks and the smaller of their values; False: one."""
    credit: str = "team"
    """team: the policy gradient of agent i runs through every Q_j, as in the paper; own: through Q_i alone, which is
    what a difference reward needs."""
    kernel: str = "auto"
    """Aggregation kernel: slots, dense, gather or auto. The results are equal to rounding; the speed is not."""

    def __post_init__(self) -> None:
        OffPolicyConfig.__post_init__(self)
        check_choice(self, "inference", ("mean_field", "belief_propagation"))
        check_choice(self, "aggregation", ("attention", "mean", "sum"))
        check_choice(self, "readout", READOUTS)
        check_choice(self, "graph", GRAPHS)
        check_choice(self, "credit", ("team", "own"))
        check_choice(self, "kernel", KERNELS)
        if self.hops < 0:
            raise ValueError(f"hops = {self.hops}: expected zero or more rounds")
        if self.heads < 1 or self.hidden % self.heads:
            raise ValueError(f"heads = {self.heads}: expected a divisor of hidden = {self.hidden}")
        if self.heads > 1 and self.inference == "belief_propagation":
            raise ValueError(f"heads = {self.heads}: belief propagation attends with one head")
        if self.alpha < 0 or (self.tune_alpha and self.alpha == 0):
            raise ValueError(f"alpha = {self.alpha}: expected zero or more, and more than zero where it is tuned")

    def layer(self, messages: bool) -> LayerOptions:
        """How a round joins messages, where there are any."""
        return LayerOptions(self.aggregation if messages else "none", self.heads)

    def propagation(self, messages: bool) -> PropagationOptions:
        """Shape of the networks of the policy and of V."""
        return PropagationOptions(self.hidden, self.hops, self.layer(messages), self.tied, self.readout)


class Temperature(nn.Module):
    """alpha: a constant, or the exponential of a parameter."""

    def __init__(self, alpha: float, tuned: bool) -> None:
        super().__init__()
        self.constant = alpha
        self.log_alpha = nn.Parameter(torch.tensor(math.log(alpha))) if tuned else None

    def forward(self) -> float | Float[Tensor, ""]:
        """The present alpha, without gradient."""
        return self.constant if self.log_alpha is None else self.log_alpha.detach().exp()


class IP(OffPolicyLearner):
    """Intention propagation network, V with a slow copy, twin Q."""

    continuous_actions = True

    def __init__(self, spec: EnvironmentSpec, config: Config, device: torch.device) -> None:
        super().__init__(spec, config, device)
        self.config = config
        self.actions = action_space(spec)

        kinds, observed, outputs = spec.agent_kinds, spec.observation_dim, self.actions.policy_outputs
        network = BeliefNetwork if config.inference == "belief_propagation" else PropagationNetwork
        self.policy = network(kinds, observed, outputs, config.propagation(config.policy_messages)).to(device)
        self.value = PropagationNetwork(kinds, observed, 1, config.propagation(config.critic_messages)).to(device)
        self.target_value = copy.deepcopy(self.value).requires_grad_(False)
        layer = config.layer(config.critic_messages)
        self.q1 = JointActionValue(kinds, spec, config.hidden, layer).to(device)
        self.q2 = JointActionValue(kinds, spec, config.hidden, layer).to(device) if config.twin else None
        self.temperature = Temperature(config.alpha, config.tune_alpha).to(device)
        usual = float(-spec.action_dim) if spec.action_dim else 0.5 * largest_entropy(spec)
        self.target_entropy = usual if config.target_entropy is None else config.target_entropy
        self.optimiser = self.adam(self.policy, self.value, *self.critics, self.temperature)

    @property
    def critics(self) -> list[nn.Module]:
        """The one or two Q networks."""
        return [q for q in (self.q1, self.q2) if q is not None]

    def hears(self, graph: Graph) -> Neighbourhood:
        """Who hears whom, for V and Q, and for a policy by mean-field inference."""
        return neighbourhood(graph, self.config.kernel, self.config.graph, heads=self.config.heads)

    def policy_outputs(
        self, observation: Float[Tensor, "batch agent feature"], graph: Graph, here: Neighbourhood | None = None
    ) -> Float[Tensor, "batch agent output"]:
        """Lambda_theta: logits, or means and log standard deviations."""
        heard: DirectedEdges | Neighbourhood
        if self.config.inference == "belief_propagation":
            heard = DirectedEdges(full_graph(graph) if self.config.graph == "full" else graph)
        else:
            heard = self.hears(graph) if here is None else here
        return self.masked(self.policy(observation, heard))

    @torch.no_grad()
    def act(
        self, observation: Float[Tensor, "env agent feature"], graph: Graph, generator: torch.Generator, greedy: bool
    ) -> Int[Tensor, "env agent"] | Float[Tensor, "env agent action"]:
        return self.actions.act(self.policy_outputs(observation, graph), generator, greedy)

    def q_loss(self, batch: Batch, here: Neighbourhood) -> tuple[Float[Tensor, ""], Float[Tensor, "batch agent"]]:
        """J(kappa) of every Q, and the values of the first."""
        with torch.no_grad():
            future = self.target_value(batch.next_observation, self.hears(batch.next_graph)).squeeze(-1)
            future = future.masked_fill(batch.terminated[:, None], 0.0)
            target = batch.reward + self.config.gamma * future  # Qhat_i
        joint = self.actions.vectors(batch.action)
        values = [self.actions.value_of(q(batch.observation, joint, here), batch.action) for q in self.critics]
        loss = torch.stack([0.5 * (value - target).square().mean() for value in values]).sum()
        return loss, values[0].detach()

    def policy_terms(
        self, batch: Batch, here: Neighbourhood, generator: torch.Generator
    ) -> tuple[Float[Tensor, "batch agent"], Float[Tensor, "batch agent"]]:
        """E[min_k Q_i^k(s, a_i, a_Ni)] under the policy, and the entropies H(q_i).

        With discrete actions the mean over a_i and the entropy are exact; everything else is one joint draw. Both
        results carry gradients to the policy, none to Q.
        """
        draw = self.actions.draw(self.policy_outputs(batch.observation, batch.graph, here), generator)
        own_credit = self.config.credit == "own"
        values = [frozen(q)(batch.observation, draw.joint, here, own_credit=own_credit) for q in self.critics]
        smaller = torch.minimum(*values) if len(values) == 2 else values[0]
        return (draw.weights * smaller).sum(-1), draw.entropy

    def backward(self, batch: Batch, share: float, generator: torch.Generator) -> Metrics:
        """Add `share` times the gradients of all losses to those that are there."""
        here, alpha = self.hears(batch.graph), self.temperature()
        q_loss, q_value = self.q_loss(batch, here)
        (share * q_loss).backward()

        q_joint, entropy = self.policy_terms(batch, here, generator)
        policy_loss = (-alpha * entropy - q_joint).mean()  # J(theta), mean over agents for the sum
        (share * policy_loss).backward()

        value = self.value(batch.observation, here).squeeze(-1)
        value_target = (q_joint + alpha * entropy).detach()  # eq. (15)
        value_loss = 0.5 * (value - value_target).square().mean()  # J(eta)
        (share * value_loss).backward()
        return {
            "loss/q": q_loss.detach(),
            "loss/value": value_loss.detach(),
            "loss/policy": policy_loss.detach(),
            "policy/entropy": entropy.detach().mean(),
            "value/q": q_value.mean(),
            "value/v": value.detach().mean(),
        }

    def update(self, batch: Batch, generator: torch.Generator) -> Metrics:
        self.optimiser.zero_grad()
        metrics = in_pieces(batch, self.piece_size, lambda piece, share: self.backward(piece, share, generator))
        networks = {"policy": self.policy, "value": self.value, "q1": self.q1, "q2": self.q2}
        metrics |= {f"gradient_norm/{name}": self.clip_gradient(part) for name, part in networks.items() if part}
        if self.temperature.log_alpha is not None:
            metrics["policy/alpha"] = self.temperature.log_alpha.detach().exp()
            excess = metrics["policy/entropy"] - self.target_entropy
            (self.temperature.log_alpha * excess).backward()  # alpha falls while there is more entropy than asked for
        self.optimiser.step()
        polyak_update(self.target_value, self.value, self.config.tau)
        return metrics


def floats_per_transition(spec: EnvironmentSpec, config: Config) -> int:
    """Floats alive for each transition of a batch, at the policy's loss: the policy and both Q with their gradients,
    two observations, and the adjacency matrices or the neighbours' rows."""
    agents, hidden = spec.num_agents, config.hidden
    slots = agents - 1 if config.graph == "full" else spec.max_neighbours
    per_round = hidden * (6 if config.aggregation == "attention" else 4)
    rounds = config.hops + 2
    nodes = agents * (2 * spec.observation_dim + 2 * (rounds * per_round + 6 * hidden))
    dense = takes_dense(agents, spec.max_neighbours, config.kernel, config.graph, config.heads)
    matrices = 0 if spec.static_graph else 6  # a static graph has its own once for the whole batch
    edges = agents * agents * (matrices + 4 * config.heads * rounds) if dense else agents * slots * hidden * 4 * rounds
    if config.inference == "belief_propagation":
        edges += agents * (slots + 1) * hidden * 8 * config.hops
    return nodes + edges
