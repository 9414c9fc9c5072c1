"""Intention Propagation (IP), Qu et al.: a joint policy by embedded mean-field inference over the graph of agents.

Symbols: s state, a joint action, N_i neighbours of agent i, q_i policy of agent i (the output of the intention
propagation network Lambda_theta, eqs. (5) and (6)), H entropy, alpha its weight, V_eta value, Q_kappa twin
state-action values, bar a slowly moving copy. Policy and V are a `PropagationNetwork`, Q a `JointActionValue`; all
agents share them.

    J(eta)   = 1/2 (V_i(s) - E[min_k Q_i^k(s, a_i, a_Ni)] - alpha H(q_i))^2                   (4.3, loss of V_i)
    J(kappa) = 1/2 (Q_i(s, a_i, a_Ni) - r_i - gamma Vbar_i(s'))^2                             (4.3, loss of Q_i)
    J(theta) = sum_i [-alpha H(q_i) - E[min_k Q_i^k(s, a_i, a_Ni)]],  a ~ prod q_i            (4.3, loss of the policy)

Q_i has an output for each own action, so the mean over a_i is exact. The neighbours' actions come from one joint draw
that serves all agents' terms, as the paper remarks; it is a straight-through Gumbel one-hot, so that J(theta) reaches
theta through every Q_j that hears agent i.

Deviations from the paper (see DEVIATIONS.md): ip-entropy, ip-own-action, ip-aggregation, ip-credit, ip-head-scale.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.common.config import OffPolicyConfig, check_choice
from algorithms.common.exploration import sample_actions, straight_through_sample
from algorithms.common.graph import LARGEST_DENSE, Neighbourhood, neighbourhood
from algorithms.common.learner import OffPolicyLearner, frozen, polyak_update, take
from algorithms.common.networks import JointActionValue, LayerOptions, PropagationNetwork
from algorithms.protocols import Batch, EnvironmentSpec, Graph
from envs.shapes import Float, Int

AGGREGATIONS = ("attention", "mean", "sum", "none")


@dataclass(frozen=True, slots=True)
class Config(OffPolicyConfig):
    """Settings of IP; gamma, tau and the like come from `OffPolicyConfig` (paper, Table 2)."""

    alpha: float = 0.2
    """Weight of the entropy, for rewards in the scale the learner sees."""
    hops: int = 2
    """Rounds M of intention propagation in the policy and in V; 0 makes the policies independent."""
    aggregation: str = "attention"
    """How messages are joined: attention, mean, sum, or none (same size of network, but nobody hears anybody)."""
    heads: int = 1
    """Attention heads; must divide `hidden`."""
    credit: str = "team"
    """team: the policy gradient of agent i runs through every Q_j, as in the paper; own: through Q_i alone, which is
    what a difference reward needs."""
    kernel: str = "auto"
    """Aggregation kernel: dense, gather or auto. The results are equal; the speed is not."""

    def __post_init__(self) -> None:
        OffPolicyConfig.__post_init__(self)
        check_choice(self, "aggregation", AGGREGATIONS)
        check_choice(self, "credit", ("team", "own"))
        check_choice(self, "kernel", ("dense", "gather", "auto"))
        if self.hops < 0:
            raise ValueError(f"hops = {self.hops}: expected zero or more rounds")
        if self.heads < 1 or self.hidden % self.heads:
            raise ValueError(f"heads = {self.heads}: expected a divisor of hidden = {self.hidden}")
        if self.alpha < 0:
            raise ValueError(f"alpha = {self.alpha}: expected zero or more")


class IP(OffPolicyLearner):
    """Intention propagation network, V with a slow copy, twin Q."""

    def __init__(self, spec: EnvironmentSpec, config: Config, device: torch.device) -> None:
        super().__init__(config, device)
        self.config = config
        self.num_actions = spec.num_actions

        layer = LayerOptions(config.aggregation, config.heads)
        kinds, observed, hidden = spec.agent_kinds, spec.observation_dim, config.hidden
        self.policy = PropagationNetwork(kinds, observed, spec.num_actions, hidden, config.hops, layer).to(device)
        self.value = PropagationNetwork(kinds, observed, 1, hidden, config.hops, layer).to(device)
        self.target_value = copy.deepcopy(self.value).requires_grad_(False)
        self.q1, self.q2 = (
            JointActionValue(kinds, observed, spec.num_actions, hidden, layer).to(device) for _ in range(2)
        )
        self.optimiser = self.adam(self.policy, self.value, self.q1, self.q2)

    @torch.no_grad()
    def act(
        self, observation: Float[Tensor, "env agent feature"], graph: Graph, generator: torch.Generator, greedy: bool
    ) -> Int[Tensor, "env agent"]:
        logits = self.policy(observation, neighbourhood(graph, self.config.kernel))
        return logits.argmax(-1) if greedy else sample_actions(logits, generator)

    def q_loss(self, batch: Batch, here: Neighbourhood) -> tuple[Float[Tensor, ""], Float[Tensor, "batch agent"]]:
        """J(kappa) of both Q, and the values of the first."""
        with torch.no_grad():
            there = neighbourhood(batch.next_graph, self.config.kernel)
            future = self.target_value(batch.next_observation, there).squeeze(-1)
            future = future.masked_fill(batch.terminated[:, None], 0.0)
            target = batch.reward + self.config.gamma * future
        chosen = torch.nn.functional.one_hot(batch.action.long(), self.num_actions).to(batch.observation.dtype)
        values = [take(q(batch.observation, chosen, here), batch.action) for q in (self.q1, self.q2)]
        loss = torch.stack([0.5 * (value - target).square().mean() for value in values]).sum()
        return loss, values[0].detach()

    def policy_terms(
        self, observation: Float[Tensor, "batch agent feature"], here: Neighbourhood, generator: torch.Generator
    ) -> tuple[Float[Tensor, "batch agent"], Float[Tensor, "batch agent"]]:
        """E[min_k Q_i^k(s, a_i, a_Ni)] under the policy, and the entropies H(q_i).

        The mean over a_i is exact, that over a_Ni is one joint draw. Both results carry gradients to the policy, none
        to Q.
        """
        log_q = torch.log_softmax(self.policy(observation, here), dim=-1)
        entropy = -(log_q.exp() * log_q).sum(-1)
        joint = straight_through_sample(log_q, generator)  # a ~ prod_i q_i
        own_credit = self.config.credit == "own"
        values = [frozen(q)(observation, joint, here, own_credit=own_credit) for q in (self.q1, self.q2)]
        return (log_q.exp() * torch.minimum(*values)).sum(-1), entropy

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, Float[Tensor, ""]]:
        here = neighbourhood(batch.graph, self.config.kernel)
        self.optimiser.zero_grad()

        q_loss, q_value = self.q_loss(batch, here)
        q_loss.backward()

        q_joint, entropy = self.policy_terms(batch.observation, here, generator)
        policy_loss = (-self.config.alpha * entropy - q_joint).mean()  # J(theta), mean over agents for the sum
        policy_loss.backward()

        value = self.value(batch.observation, here).squeeze(-1)
        value_target = (q_joint + self.config.alpha * entropy).detach()
        value_loss = 0.5 * (value - value_target).square().mean()  # J(eta)
        value_loss.backward()

        networks = {"policy": self.policy, "value": self.value, "q1": self.q1, "q2": self.q2}
        norms = {f"gradient_norm/{name}": self.clip_gradient(network) for name, network in networks.items()}
        self.optimiser.step()
        polyak_update(self.target_value, self.value, self.config.tau)
        return {
            "loss/q": q_loss.detach(),
            "loss/value": value_loss.detach(),
            "loss/policy": policy_loss.detach(),
            "policy/entropy": entropy.detach().mean(),
            "value/q": q_value.mean(),
            "value/v": value.detach().mean(),
            **norms,
        }


def floats_per_transition(spec: EnvironmentSpec, config: Config) -> int:
    """Floats alive for each transition of a batch, at the policy's loss: the policy and both Q with their gradients,
    two observations, and the adjacency matrices or the neighbours' rows."""
    agents, hidden = spec.num_agents, config.hidden
    per_round = hidden * (6 if config.aggregation == "attention" else 4)
    rounds = config.hops + 2
    nodes = agents * (2 * spec.observation_dim + 2 * (rounds * per_round + 6 * hidden))
    dense = config.kernel == "dense" or (config.kernel == "auto" and agents <= LARGEST_DENSE)
    edges = (
        agents * agents * (6 + 4 * config.heads * rounds)
        if dense
        else (agents * spec.max_neighbours * hidden * 4 * rounds)
    )
    return nodes + edges
