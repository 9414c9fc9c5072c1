"""The best joint action of agents on a chain or ring, by dynamic programming (Viterbi's algorithm)."""

from __future__ import annotations

import torch
from torch import Tensor

from envs.shapes import Float, Int


def best_joint_action(
    preference: Float[Tensor, "env agent action"], coupling: Float[Tensor, "action other"], closed: bool
) -> Int[Tensor, "env agent"]:
    """The joint action a that maximises sum_i preference_i(a_i) + sum_i coupling(a_i, a_i+1).

    The second sum runs along the chain and, if `closed`, from the last agent back to the first. The first agent's
    action f is fixed at each of its values in turn; best(f, a) is then the largest contribution of an agent that takes
    a and all agents behind it. There must be at least two agents.
    """
    end = coupling.T if closed else torch.zeros_like(coupling)  # (first, action)
    best = preference[:, -1, None] + end  # (env, first, action)
    choices: list[Tensor] = []
    for agent in range(preference.shape[1] - 2, 0, -1):
        behind, choice = (coupling + best[:, :, None]).max(-1)  # (env, first, action) over the next agent's action
        best = preference[:, agent, None] + behind
        choices.append(choice)
    behind, second = (coupling + best).max(-1)  # (env, first): the first agent's own action is the fixed one
    first = (preference[:, 0] + behind).argmax(-1)
    env = torch.arange(len(first), device=first.device)
    actions = [first, second[env, first]]
    for choice in reversed(choices):
        actions.append(choice[env, first, actions[-1]])
    return torch.stack(actions, dim=1)
